//! What cargo and rustc say of this workspace and this machine.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;

use super::{Error, output};

/// The workspace, its packages and the toolchain.
pub struct Workspace {
    /// Where it lies.
    pub root: PathBuf,
    /// Where cargo builds.
    pub target: PathBuf,
    /// `~/.cargo` or what stands for it.
    pub cargo_home: Option<PathBuf>,
    /// Where the toolchain lies.
    pub sysroot: PathBuf,
    /// Version, commit and host of rustc.
    pub rustc: Rustc,
    /// The package that is shipped.
    pub daypass: Package,
    /// All packages, by name and version.
    pub packages: BTreeMap<(String, String), Package>,
}

/// Of `rustc -vV`.
pub struct Rustc {
    /// For instance `1.95.0`.
    pub release: String,
    /// Its commit, which stands in the paths of the standard library.
    pub commit: String,
    /// The target that it builds for by itself.
    pub host: String,
}

/// Of `cargo metadata`.
#[derive(Clone, Debug, Deserialize)]
pub struct Package {
    /// Name on the registry.
    pub name: String,
    /// Version.
    pub version: String,
    /// SPDX expression.
    pub license: Option<String>,
    /// One line, or more.
    pub description: Option<String>,
    /// Where its sources are kept.
    pub repository: Option<String>,
    /// `None` for those of this workspace.
    pub source: Option<String>,
    /// Its Cargo.toml.
    pub manifest_path: PathBuf,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

impl Workspace {
    /// Asks cargo and rustc.
    pub fn read() -> Result<Self, Error> {
        let answer = output(cargo(Path::new(env!("CARGO_MANIFEST_DIR"))).args(["metadata", "--locked", "--format-version", "1"]))?;
        let Metadata { packages, workspace_root: root, target_directory: target } = serde_json::from_slice(&answer)?;
        let daypass = packages.iter().find(|package| package.name == "daypass" && package.source.is_none()).cloned();
        let daypass = daypass.ok_or_else(|| Error::Answer { command: "cargo metadata", problem: "no package daypass".into() })?;
        let packages = packages.into_iter().map(|package| ((package.name.clone(), package.version.clone()), package)).collect();
        let sysroot = output(rustc(&root).args(["--print", "sysroot"]))?;
        let sysroot = String::from_utf8_lossy(&sysroot).trim().into();
        let rustc = Rustc::parse(&String::from_utf8_lossy(&output(rustc(&root).arg("-vV"))?))?;
        let home = || std::env::home_dir().map(|home| home.join(".cargo"));
        let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home);
        Ok(Self { root, target, cargo_home, sysroot, rustc, daypass, packages })
    }
}

impl Rustc {
    fn parse(text: &str) -> Result<Self, Error> {
        let field = |name: &str| {
            let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            found.map(str::to_owned).ok_or_else(|| Error::Answer { command: "rustc -vV", problem: format!("no {name} in {text}") })
        };
        Ok(Self { release: field("release")?, commit: field("commit-hash")?, host: field("host")? })
    }
}

/// The cargo that runs us.
pub fn cargo(directory: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(directory);
    command
}

/// The rustc that it would use.
fn rustc(directory: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    command.current_dir(directory);
    command
}
