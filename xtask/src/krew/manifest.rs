//! The manifest by which krew finds the plugin, in the form that <https://krew.sigs.k8s.io/docs/developer-guide/plugin-manifest> documents.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::archive::{LICENSE, PROGRAM, Platform};

/// What follows `kubectl`. krew wants the manifest's file to bear it.
pub const NAME: &str = "daypass";

/// An archive that is about to be released.
pub struct Packed {
    /// Where it will be.
    pub uri: String,
    /// Its checksum.
    pub sha256: String,
}

/// What the manifest says.
pub struct Manifest<'a> {
    /// Version of the plugin, without a `v`.
    pub version: &'a str,
    /// The project's page.
    pub homepage: Option<&'a str>,
    /// The archives.
    pub packed: &'a BTreeMap<Platform, Packed>,
}

impl Manifest<'_> {
    /// The object.
    pub fn object(&self) -> Value {
        let platforms: Vec<Value> = self.packed.iter().map(|(platform, packed)| self::platform(*platform, packed)).collect();
        let mut object = json!({
            "apiVersion": "krew.googlecontainertools.github.com/v1alpha2",
            "kind": "Plugin",
            "metadata": {"name": NAME},
            "spec": {
                "version": format!("v{}", self.version),
                "shortDescription": "Show and explain short-lived credentials of workloads",
                "description": "Shows what became of the requests for short-lived credentials that workloads make of Daypass: who got what and how\n\
                                long it still lives, who was denied, why, and what would make it pass. Uses your own rights and nothing else.\n",
                "caveats": "Daypass has to be installed on the cluster, and you need the ClusterRole daypass-viewer.\n\
                            To complete its commands, make a link once:\n  \
                            ln -s kubectl-daypass \"${KREW_ROOT:-$HOME/.krew}/bin/kubectl_complete-daypass\"\n",
                "platforms": platforms,
            },
        });
        if let Some(homepage) = self.homepage {
            object["spec"]["homepage"] = homepage.into();
        }
        object
    }
}

fn platform(platform: Platform, packed: &Packed) -> Value {
    json!({
        "selector": {"matchLabels": {"os": "linux", "arch": platform.arch()}},
        "uri": packed.uri,
        "sha256": packed.sha256,
        "files": [{"from": PROGRAM, "to": "."}, {"from": LICENSE, "to": "."}],
        "bin": PROGRAM,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object() -> Value {
        let packed = |arch: &str| Packed { uri: format!("https://releases.example/{arch}.tar.gz"), sha256: "0a".repeat(32) };
        let packed = BTreeMap::from([(Platform::Arm64, packed("arm64")), (Platform::Amd64, packed("amd64"))]);
        Manifest { version: env!("CARGO_PKG_VERSION"), homepage: Some("https://daypass.example"), packed: &packed }.object()
    }

    /// What krew refuses, rule by rule (its documentation, and `validate-krew-manifest`).
    fn refused(object: &Value) -> Vec<String> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut problems = Vec::new();
        let mut must = |holds: bool, rule: &str| {
            if !holds {
                problems.push(rule.to_owned());
            }
        };
        must(text("/apiVersion") == "krew.googlecontainertools.github.com/v1alpha2", "apiVersion");
        must(text("/kind") == "Plugin", "kind");
        let name = text("/metadata/name");
        must(
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
            "name: lower case and hyphens",
        );
        must(!name.starts_with("kubectl"), "name: without kubectl");
        let version = text("/spec/version");
        let parts = version.strip_prefix('v').map(|rest| rest.split('.').filter(|part| part.parse::<u32>().is_ok()).count());
        must(parts == Some(3), "version: v and three numbers");
        let short = text("/spec/shortDescription");
        must(!short.is_empty() && !short.contains('\n') && short.len() <= 60 && !short.ends_with('.'), "shortDescription: a few words");
        must(!text("/spec/description").is_empty(), "description");
        must(text("/spec/homepage").starts_with("https://"), "homepage");
        let platforms = object["spec"]["platforms"].as_array().cloned().unwrap_or_default();
        must(!platforms.is_empty(), "platforms");
        for platform in &platforms {
            let text = |field: &str| platform[field].as_str().unwrap_or_default().to_owned();
            must(text("uri").ends_with(".tar.gz"), "uri: an archive");
            let sha256 = text("sha256");
            must(
                sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)),
                "sha256: 64 lower-case digits",
            );
            let labels = platform["selector"]["matchLabels"].as_object().cloned().unwrap_or_default();
            must(!labels.is_empty() && labels.keys().all(|key| key == "os" || key == "arch"), "selector: os and arch");
            let files: Vec<&str> = platform["files"].as_array().into_iter().flatten().filter_map(|file| file["from"].as_str()).collect();
            must(files.contains(&text("bin").as_str()), "bin: one of the files");
            must(files.contains(&"LICENSE"), "files: the licence");
        }
        problems
    }

    #[test]
    fn krew_would_take_it() {
        assert_eq!(refused(&object()), Vec::<String>::new());
    }

    #[test]
    fn each_rule_that_is_checked_can_be_broken() {
        for (pointer, value, rule) in [
            ("/apiVersion", json!("v1"), "apiVersion"),
            ("/kind", json!("Pod"), "kind"),
            ("/metadata/name", json!("Daypass"), "name: lower"),
            ("/metadata/name", json!("kubectl-daypass"), "name: without"),
            ("/spec/version", json!("0.1.0"), "version"),
            ("/spec/shortDescription", json!("a\nb"), "shortDescription"),
            ("/spec/homepage", json!(null), "homepage"),
            ("/spec/platforms", json!([]), "platforms"),
            ("/spec/platforms/0/sha256", json!("TODO"), "sha256"),
            ("/spec/platforms/1/uri", json!("https://x.example/daypass"), "uri"),
            ("/spec/platforms/0/selector/matchLabels", json!({"cpu": "amd64"}), "selector"),
            ("/spec/platforms/0/bin", json!("daypass"), "bin"),
            ("/spec/platforms/0/files", json!([{"from": "kubectl-daypass", "to": "."}]), "files"),
        ] {
            let mut object = object();
            *object.pointer_mut(pointer).unwrap() = value;
            let problems = refused(&object);
            assert!(problems.len() == 1 && problems[0].starts_with(rule), "{pointer}: {problems:?}");
        }
    }

    #[test]
    fn both_platforms_are_there_once() {
        let archs: Vec<Value> =
            object()["spec"]["platforms"].as_array().unwrap().iter().map(|p| p["selector"]["matchLabels"]["arch"].clone()).collect();
        assert_eq!(archs, [json!("amd64"), json!("arm64")]);
    }
}
