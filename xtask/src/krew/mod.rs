//! `cargo xtask krew`: archives of the plugin of kubectl, one a platform, and the manifest by which krew finds and checks them.
//!
//! Nothing in the manifest is made up: checksums are those of the archives that are packed here, and where they will lie has to be said.
//! docs/kubectl-plugin.md is for those who release.

mod archive;
mod manifest;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use clap::Args;
use daypass::install::yaml::{YamlError, to_yaml};

use archive::{Platform, Unfit};
use manifest::{Manifest, Packed};

/// Arguments of `cargo xtask krew`.
#[derive(Args, Debug)]
pub struct KrewArgs {
    /// Where the archives will be, as https://…: they are put there under the names that they have here.
    #[arg(long, value_name = "URL", value_parser = https)]
    url: String,
    /// A binary to pack; repeat for several platforms, each is read off its file. Default: one that is built here, for this machine.
    #[arg(long = "binary", value_name = "FILE")]
    binaries: Vec<PathBuf>,
    /// The page of the project, as https://…; krew's own index wants one.
    #[arg(long, value_name = "URL", value_parser = https)]
    homepage: Option<String>,
    /// Directory for the archives and daypass.yaml.
    #[arg(long, value_name = "DIR", default_value = "target/krew")]
    dir: PathBuf,
}

/// Why there is nothing for krew.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Build(String),
    #[error("--binary {0}: {1}")]
    Binary(PathBuf, Unfit),
    #[error("--binary {0}: another one is for {1} already")]
    Twice(PathBuf, Platform),
    #[error("{0}: {1}")]
    File(PathBuf, io::Error),
    #[error(transparent)]
    Yaml(#[from] YamlError),
}

/// Packs, writes, and says what came out.
pub fn run(args: &KrewArgs) -> Result<(), Error> {
    let binaries = match args.binaries.as_slice() {
        [] => vec![crate::binary::daypass(true).map_err(Error::Build)?],
        said => said.to_vec(),
    };
    let license = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../LICENSE"))?;
    let version = env!("CARGO_PKG_VERSION");
    let mut packed: BTreeMap<Platform, Packed> = BTreeMap::new();
    for path in binaries {
        let binary = read(&path)?;
        let platform = Platform::of(&binary).map_err(|unfit| Error::Binary(path.clone(), unfit))?;
        let name = format!("kubectl-daypass-v{version}-linux-{}.tar.gz", platform.arch());
        let out = args.dir.join(&name);
        let archive = archive::pack(&binary, &license).map_err(|error| Error::File(out.clone(), error))?;
        write(&out, &archive)?;
        let uri = format!("{}/{name}", args.url.trim_end_matches('/'));
        let sha256 = archive::sha256(&archive);
        println!("{sha256}  {}", out.display());
        if packed.insert(platform, Packed { uri, sha256 }).is_some() {
            return Err(Error::Twice(path, platform));
        }
    }
    let manifest = Manifest { version, homepage: args.homepage.as_deref(), packed: &packed };
    let out = args.dir.join(format!("{}.yaml", manifest::NAME));
    write(&out, to_yaml(&[manifest.object()])?.as_bytes())?;
    println!("{}", out.display());
    Ok(())
}

fn https(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("https://").and_then(|rest| rest.split('/').next()).filter(|host| !host.is_empty());
    host.filter(|_| !text.contains(char::is_whitespace))
        .map(|_| text.to_owned())
        .ok_or_else(|| "give a URL that begins with https://".into())
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|error| Error::File(path.to_owned(), error))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let directory = path.parent().map_or(Ok(()), fs::create_dir_all);
    directory.and_then(|()| fs::write(path, bytes)).map_err(|error| Error::File(path.to_owned(), error))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use serde_json::Value;

    use super::*;

    /// A directory, and in it what looks like a program for 64-bit Arm.
    fn program(name: &str) -> (PathBuf, PathBuf) {
        let dir = std::env::temp_dir().join(format!("daypass-krew-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let program = dir.join("program");
        fs::write(&program, b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\xb7\0 and so on").unwrap();
        (dir, program)
    }

    fn args(dir: &Path, binaries: Vec<PathBuf>) -> KrewArgs {
        KrewArgs { url: "https://releases.example/v1/".into(), binaries, homepage: None, dir: dir.to_owned() }
    }

    #[test]
    fn the_checksum_is_that_of_the_archive_and_the_archive_holds_plugin_and_licence() {
        let (dir, program) = program("packed");
        run(&args(&dir, vec![program.clone()])).unwrap();
        assert!(dir.join("kubectl-daypass-v0.1.0-linux-arm64.tar.gz".replace("0.1.0", env!("CARGO_PKG_VERSION"))).exists());
        let manifest: Value = serde_saphyr::from_str(&fs::read_to_string(dir.join("daypass.yaml")).unwrap()).unwrap();
        let platform = &manifest["spec"]["platforms"][0];
        let name = platform["uri"].as_str().unwrap().strip_prefix("https://releases.example/v1/").unwrap();
        let archive = dir.join(name);

        // The judges are programs of others.
        let output = |program: &str, args: &[&str]| {
            let output = Command::new(program).args(args).output().unwrap();
            assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        let sum = output("sha256sum", &[archive.to_str().unwrap()]);
        assert_eq!(platform["sha256"].as_str(), sum.split(' ').next());
        assert_eq!(output("tar", &["-tzf", archive.to_str().unwrap()]), "kubectl-daypass\nLICENSE\n");
        output("tar", &["-xzf", archive.to_str().unwrap(), "-C", dir.to_str().unwrap()]);
        assert!(fs::read(dir.join("kubectl-daypass")).unwrap() == fs::read(program).unwrap());
        assert!(output("ls", &["-l", dir.join("kubectl-daypass").to_str().unwrap()]).starts_with("-rwxr-xr-x"));
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn what_cannot_be_released_is_refused_by_name() {
        let (dir, program) = program("refused");
        let told = run(&args(&dir, vec![program.clone(), program])).unwrap_err().to_string();
        assert!(told.contains("another one is for linux/arm64"), "{told}");
        let told = run(&args(&dir, vec!["/bin/sh/nowhere".into()])).unwrap_err().to_string();
        assert!(told.starts_with("/bin/sh/nowhere: "), "{told}");
        let told = run(&args(&dir, vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")])).unwrap_err().to_string();
        assert!(told.contains("no 64-bit"), "{told}");
        fs::remove_dir_all(dir).unwrap();
        for wrong in ["http://x.example", "https://", "https:///x", "https://x example", "releases"] {
            assert!(https(wrong).is_err(), "{wrong}");
        }
    }
}
