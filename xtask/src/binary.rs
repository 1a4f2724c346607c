//! Builds the operator and says where it is.

use std::{path::PathBuf, process::Stdio};

/// The `daypass` binary, built if anything changed. Optimised with `release`.
pub fn daypass(release: bool) -> Result<PathBuf, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = std::process::Command::new(cargo);
    command.args(["build", "--package", "daypass", "--bin", "daypass", "--message-format", "json-render-diagnostics"]);
    if release {
        command.arg("--release");
    }
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let output = command.current_dir(root).stderr(Stdio::inherit()).output().map_err(|error| format!("cannot run cargo: {error}"))?;
    if !output.status.success() {
        return Err("daypass does not build; the compiler says why above".into());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let executable = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()).find_map(|message| {
        let ours = message.pointer("/target/name")?.as_str()? == "daypass";
        message.get("executable")?.as_str().filter(|_| ours).map(PathBuf::from)
    });
    executable.ok_or_else(|| "cargo did not say where it put the daypass binary".into())
}
