//! `cargo xtask image`: the one static binary, packed as an OCI image without a container engine, and its bill of materials.
//!
//! The same commit and the same toolchain give the same bytes, wherever they are built. docs/image.md is for those who use it.

mod archive;
mod build;
mod elf;
mod sbom;
mod workspace;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use clap::Args;
use daypass::install::Values;

use workspace::Workspace;

/// What the binary may have at most, in bytes: each node pulls it, and `daypass install` copies it into volumes that are in memory.
const MOST: usize = 20_000_000;

/// Arguments of `cargo xtask image`.
#[derive(Args, Debug)]
pub struct ImageArgs {
    /// The archive [default: image/daypass.tar in the target directory]; the bill of materials is written to FILE.cdx.json.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Pack this binary instead of building one. It must need no libc; what it was built from is not checked.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0} cannot be run: {1}")]
    Start(String, io::Error),
    #[error("{0} failed and says why above")]
    Command(String),
    #[error("{command} says something else than expected: {problem}")]
    Answer { command: &'static str, problem: String },
    #[error("{0}: {1}")]
    File(PathBuf, io::Error),
    #[error("{0}: {1}")]
    Binary(PathBuf, elf::Unfit),
    #[error("{0} cannot be built for an image on {1}: only x86_64-unknown-linux-gnu and aarch64-unknown-linux-gnu are; see docs/image.md")]
    Host(&'static str, String),
    #[error("the binary names a place of this machine, {0}: map it away in xtask/src/image/build.rs")]
    Leak(String),
    #[error("the binary holds code of {0}, which the bill of materials does not list: see xtask/src/image/sbom.rs")]
    Unlisted(String),
    #[error("the binary has {0} bytes, more than {MOST}: docs/design/0011-one-small-static-binary.md says what makes it small")]
    Large(usize),
    #[error("SOURCE_DATE_EPOCH={0} is not a number of seconds since 1970")]
    Epoch(String),
    #[error("JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Builds, packs, and says what came out.
pub fn run(args: &ImageArgs) -> Result<(), Error> {
    let workspace = Workspace::read()?;
    let epoch = epoch()?;
    let path = match &args.binary {
        Some(path) => path.clone(),
        None => build::daypass(&workspace)?,
    };
    let binary = fs::read(&path).map_err(|error| Error::File(path.clone(), error))?;
    let architecture = elf::architecture(&binary).map_err(|unfit| Error::Binary(path.clone(), unfit))?;
    if args.binary.is_none() {
        build::names_no_place_of(&workspace, &binary)?;
        if binary.len() > MOST {
            return Err(Error::Large(binary.len()));
        }
        // A static program that its libc cannot relocate is built without complaint and dies at once.
        output(Command::new(&path).arg("--version"))?;
    }

    let out = args.out.clone().unwrap_or_else(|| workspace.target.join("image/daypass.tar"));
    let bill = sbom::Bill::of(&workspace, architecture)?;
    bill.lists_all_of(&binary)?;
    let image = archive::Image { binary: &binary, architecture, reference: Values::default().image, labels: labels(&workspace), epoch };
    let (archive, summary) = archive::write(&image).map_err(|error| Error::File(out.clone(), error))?;
    let sbom = bill.to_json(&binary, epoch)?;

    let beside = beside(&out);
    write(&out, &archive)?;
    write(&beside, sbom.as_bytes())?;
    println!("binary   {:>10} bytes  {}", binary.len(), path.display());
    println!("layer    {:>10} bytes  {} (compressed)", summary.layer.size, summary.layer.digest);
    println!("archive  {:>10} bytes  {}", archive.len(), out.display());
    println!("sbom     {:>10} bytes  {}", sbom.len(), beside.display());
    println!("image    {} {}@{}", architecture.oci(), image.reference, summary.manifest.digest);
    Ok(())
}

/// The standard labels: what this is and from what it was built.
fn labels(workspace: &Workspace) -> BTreeMap<String, String> {
    let said = [
        ("title", Some(workspace.daypass.name.clone())),
        ("description", workspace.daypass.description.clone()),
        ("version", Some(workspace.daypass.version.clone())),
        ("licenses", workspace.daypass.license.clone()),
        ("revision", revision(&workspace.root)),
    ];
    said.into_iter().filter_map(|(key, value)| Some((format!("org.opencontainers.image.{key}"), value?))).collect()
}

/// The commit, where the sources are exactly those of one.
fn revision(root: &Path) -> Option<String> {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).current_dir(root).stderr(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    git(&["status", "--porcelain", "--untracked-files=no"]).filter(String::is_empty)?;
    git(&["rev-parse", "HEAD"])
}

/// Seconds since 1970 that everything is dated with; without it nothing is dated.
fn epoch() -> Result<Option<u32>, Error> {
    let Some(said) = std::env::var_os("SOURCE_DATE_EPOCH") else { return Ok(None) };
    let said = said.to_string_lossy();
    said.parse().map(Some).map_err(|_| Error::Epoch(said.into_owned()))
}

/// As RFC 3339, for JSON.
fn date(epoch: u32) -> String {
    jiff::Timestamp::UNIX_EPOCH.saturating_add(jiff::SignedDuration::from_secs(epoch.into())).unwrap_or_default().to_string()
}

fn beside(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".cdx.json");
    name.into()
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let directory = path.parent().map_or(Ok(()), fs::create_dir_all);
    directory.and_then(|()| fs::write(path, bytes)).map_err(|error| Error::File(path.to_owned(), error))
}

/// What a command prints; what it complains of goes to ours.
fn output(command: &mut Command) -> Result<Vec<u8>, Error> {
    let shown = command.get_program().to_string_lossy().into_owned();
    let output = command.stderr(Stdio::inherit()).output().map_err(|error| Error::Start(shown.clone(), error))?;
    output.status.success().then_some(output.stdout).ok_or(Error::Command(shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chart_runs_the_image_under_its_name_as_its_user() {
        let objects = daypass::install::workload::objects(&Values::default());
        let pod = &objects[0]["spec"]["template"]["spec"];
        let user = format!("{}:{}", pod["securityContext"]["runAsUser"], pod["securityContext"]["runAsGroup"]);
        assert_eq!(user, archive::USER);
        assert_eq!(pod["containers"][0].get("command"), None, "the entrypoint is the image's");
    }

    #[test]
    fn dates_are_those_of_the_epoch() {
        assert_eq!(date(0), "1970-01-01T00:00:00Z");
        assert_eq!(date(1_790_000_000), "2026-09-21T14:13:20Z");
    }
}
