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

/// What rustc is told beside the profile, as the Containerfile does: link the libc in, and keep relocations short (glibc 2.36 reads them so).
pub const FLAGS: &[&str] = &["-Ctarget-feature=+crt-static", "-Clink-arg=-Wl,-z,pack-relative-relocs"];

/// Builds it, for the processor of this machine.
pub fn daypass(workspace: &Workspace) -> Result<PathBuf, Error> {
    let host = workspace.rustc.host.as_str();
    if ![Architecture::Amd64, Architecture::Arm64].iter().any(|architecture| architecture.target() == host) {
        return Err(Error::Host("daypass", host.to_owned()));
    }
    let renamed = renamed(workspace);
    let mut flags: Vec<OsString> = FLAGS.iter().map(OsString::from).collect();
    flags.extend(renamed.iter().map(|(from, to)| flag("--remap-path-prefix=", from, "", to)));
    // The C compiler compares text, not names of directories: without the slash a neighbour that begins alike would be renamed too.
    let c_flags = renamed.iter().map(|(from, to)| flag("-ffile-prefix-map=", from, "/", to)).collect::<Vec<_>>().join(" ".as_ref());
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

/// An option that renames a place, and everything below it.
fn flag(option: &str, from: &Path, end: &str, to: &str) -> OsString {
    [option.as_ref(), from.as_os_str(), end.as_ref(), "=".as_ref(), to.as_ref(), end.as_ref()].into_iter().collect()
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
    // Of a place within another the inner one says what something is.
    renamed.sort_by_key(|(place, _)| place.as_os_str().len());
    renamed
}

/// Fails if a place of this machine is named anywhere in the binary.
pub fn names_no_place_of(workspace: &Workspace, binary: &[u8]) -> Result<(), Error> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_of_this_machine_is_found_wherever_it_stands() {
        let workspace = Workspace::read().unwrap();
        let places = [&workspace.root, &workspace.target, &workspace.sysroot, workspace.cargo_home.as_ref().unwrap()];
        for place in places {
            let binary = [b"\x7fELF \0".as_slice(), place.as_os_str().as_bytes(), b"/src/lib.rs\0"].concat();
            assert!(matches!(names_no_place_of(&workspace, &binary), Err(Error::Leak(_))), "{}", place.display());
        }
        names_no_place_of(&workspace, b"\0crates/serde-1.0.0/src/lib.rs\0/etc/hosts\0").unwrap();
    }

    #[test]
    fn what_lies_deeper_is_renamed_after_what_it_lies_in() {
        let renamed = renamed(&Workspace::read().unwrap());
        for (at, (place, _)) in renamed.iter().enumerate() {
            let later = renamed.iter().skip(at + 1).find(|(other, _)| place != other && place.starts_with(other));
            assert_eq!(later, None, "{} would be called what it lies in", place.display());
        }
    }

    #[test]
    fn a_neighbour_whose_name_begins_alike_keeps_its_own_name() {
        // As gcc reads its options: the last whose text fits wins.
        let called = |path: &str, options: &[OsString]| {
            let options = options.iter().rev().filter_map(|option| option.to_str()?.split_once('=')?.1.split_once('='));
            let found = options.filter_map(|(from, to)| Some(format!("{to}{}", path.strip_prefix(from)?))).next();
            found.unwrap_or_else(|| path.to_owned())
        };
        let flags =
            [("/home/me/.cargo", "cargo"), ("/home/me", "daypass")].map(|(from, to)| flag("-ffile-prefix-map=", from.as_ref(), "/", to));
        assert_eq!(called("/home/me/src/main.c", &flags), "daypass/src/main.c");
        assert_eq!(called("/home/me-too/main.c", &flags), "/home/me-too/main.c");
    }
}
