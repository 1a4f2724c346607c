//! Builds the binary of the image: linked with its libc, and with no trace of the machine that built it.

use std::{
    ffi::OsString,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::{
    Error,
    elf::Architecture,
    workspace::{Workspace, cargo},
};

/// What rustc is told beside the profile. The Containerfile says the same.
pub const FLAGS: &[&str] = &["-Ctarget-feature=+crt-static"];

/// Builds it, for the processor of this machine.
pub fn daypass(workspace: &Workspace) -> Result<PathBuf, Error> {
    let host = workspace.rustc.host.as_str();
    if ![Architecture::Amd64, Architecture::Arm64].iter().any(|architecture| architecture.target() == host) {
        return Err(Error::Host("daypass", host.to_owned()));
    }
    let mut flags: Vec<OsString> = FLAGS.iter().map(OsString::from).collect();
    let mut c_flags = OsString::new();
    for (from, to) in renamed(workspace) {
        let with = |option: &str| {
            let parts = [option.as_ref(), from.as_os_str(), "=".as_ref(), to.as_ref()];
            parts.into_iter().collect::<OsString>()
        };
        flags.push(with("--remap-path-prefix="));
        c_flags.push(with("-ffile-prefix-map="));
        c_flags.push(" ");
    }
    let mut command = cargo(&workspace.root);
    // Said by whoever calls us, these would make another binary.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_bytes().starts_with(b"CARGO_PROFILE_")) {
        command.env_remove(name);
    }
    command
        .args(["build", "--locked", "--release", "--package", "daypass", "--bin", "daypass", "--target", host])
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f".as_ref()))
        .env(format!("CFLAGS_{host}"), c_flags)
        .env("CARGO_INCREMENTAL", "0")
        .env("CARGO_TARGET_DIR", &workspace.target);
    let status = command.status().map_err(|error| Error::Start("cargo".into(), error))?;
    let built = workspace.target.join(host).join("release/daypass");
    status.success().then_some(built).ok_or_else(|| Error::Command("cargo build".into()))
}

/// Places of this machine, and what the binary calls them instead. Of two that fit the compilers take the last.
fn renamed(workspace: &Workspace) -> Vec<(PathBuf, String)> {
    let mut renamed: Vec<(PathBuf, String)> = Vec::new();
    renamed.extend(workspace.cargo_home.clone().map(|home| (home, "cargo".to_owned())));
    // Where the packages lie: below cargo's home, or wherever they are vendored.
    let lies = |manifest: &Path| manifest.parent()?.parent().map(Path::to_owned);
    let outside = workspace.packages.values().filter(|package| package.source.is_some());
    let mut crates: Vec<PathBuf> = outside.filter_map(|package| lies(&package.manifest_path)).collect();
    crates.sort();
    crates.dedup();
    renamed.extend(crates.into_iter().map(|place| (place, "crates".to_owned())));
    renamed.push((workspace.root.clone(), "daypass".to_owned()));
    renamed.push((workspace.target.clone(), "target".to_owned()));
    // The standard library's sources, where they are installed, are called what they are called where they are not.
    renamed.push((workspace.sysroot.join("lib/rustlib/src/rust"), format!("/rustc/{}", workspace.rustc.commit)));
    renamed
}

/// Fails if a place of this machine is named anywhere in the binary.
pub fn keeps_its_places(binary: &[u8], workspace: &Workspace) -> Result<(), Error> {
    let mut places: Vec<PathBuf> = renamed(workspace).into_iter().map(|(place, _)| place).collect();
    places.push(workspace.sysroot.clone());
    places.extend(std::env::home_dir());
    places.push(std::env::temp_dir());
    let leaked =
        places.iter().find(|place| place.components().count() > 1 && contains(binary, &[place.as_os_str().as_bytes(), b"/"].concat()));
    leaked.map_or(Ok(()), |place| Err(Error::Leak(place.display().to_string())))
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
