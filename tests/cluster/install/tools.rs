//! Helm, and what it and kubectl render, as objects.

use std::{collections::BTreeMap, ffi::OsStr, path::PathBuf};

use devcluster::binaries;
use serde_json::Value;

/// What tells objects apart: apiVersion, kind, namespace, name.
pub type Identity = [String; 4];

/// A file or directory of this repository.
pub fn source(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A directory for this test alone, empty.
pub fn scratch(name: &str) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

/// Helm with none of the user's settings; `Err` is what it says when it fails.
pub async fn helm(kubeconfig: Option<PathBuf>, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<String, String> {
    let home = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("helm");
    let mut command = tokio::process::Command::new(binaries::helm().await.unwrap());
    for (name, directory) in [("HELM_CACHE_HOME", "cache"), ("HELM_CONFIG_HOME", "config"), ("HELM_DATA_HOME", "data")] {
        command.env(name, home.join(directory));
    }
    command.env("KUBECONFIG", kubeconfig.unwrap_or_else(|| "/dev/null".into()));
    let output = command.args(args).kill_on_drop(true).output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// What the chart installs with these further arguments.
pub async fn template(args: &[&str]) -> Result<BTreeMap<Identity, Value>, String> {
    render(&["--no-hooks"], args).await
}

/// What the chart runs before its deletion, with these further arguments.
pub async fn hooks(args: &[&str]) -> Result<BTreeMap<Identity, Value>, String> {
    render(&["--show-only", "templates/drain.yaml"], args).await
}

async fn render(what: &[&str], args: &[&str]) -> Result<BTreeMap<Identity, Value>, String> {
    let chart = source("charts/daypass").display().to_string();
    let fixed = ["template", "daypass", &chart, "--namespace", "daypass-system", "--kube-version", "1.37.2"];
    helm(None, fixed.iter().chain(what).chain(args)).await.map(|text| objects(&text))
}

/// What kustomize makes of a directory.
pub async fn kustomize(directory: PathBuf) -> BTreeMap<Identity, Value> {
    let kubectl = binaries::control_plane().await.unwrap().kubectl;
    let output = tokio::process::Command::new(kubectl).arg("kustomize").arg(&directory).output().await.unwrap();
    assert!(output.status.success(), "{}: {}", directory.display(), String::from_utf8_lossy(&output.stderr));
    objects(&String::from_utf8(output.stdout).unwrap())
}

/// The objects of a stream of YAML, by identity; none may come twice.
fn objects(yaml: &str) -> BTreeMap<Identity, Value> {
    let mut objects = BTreeMap::new();
    for object in serde_saphyr::from_multiple::<Value>(yaml).unwrap().into_iter().filter(|object| !object.is_null()) {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let identity = ["/apiVersion", "/kind", "/metadata/namespace", "/metadata/name"].map(text);
        assert!(objects.insert(identity.clone(), whole(object)).is_none(), "twice: {identity:?}");
    }
    objects
}

/// The same with 1.0 written as 1: one printer does, the other does not.
fn whole(value: Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 => Value::from(float as i64),
            _ => Value::Number(number),
        },
        Value::Array(items) => items.into_iter().map(whole).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, whole(value))).collect(),
        other => other,
    }
}
