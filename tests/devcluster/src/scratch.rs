//! A temporary directory that goes away with the process, however that ends.
//!
//! Tests keep their cluster in a static, which is never dropped, and test runs get killed: so a shell removes the directory when its pipe
//! from us closes. With DAYPASS_KEEP set the directory stays, for a look at the logs.

use std::{
    fs, io,
    os::unix::{fs::DirBuilderExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

/// Removes `$1` when stdin ends. Processes that still write there are being stopped at the same time: tries again for ten seconds.
const REMOVE: &str = r#"
while read -r _; do :; done
tries=100
while [ -e "$1" ] && [ "$tries" -gt 0 ]; do
    rm -rf -- "$1" 2>/dev/null || sleep 0.1
    tries=$((tries - 1))
done
"#;

/// The directory.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    remover: Option<Child>,
}

impl Scratch {
    /// Makes a directory that only this user can read.
    pub fn new() -> io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let path = loop {
            let name = format!("devcluster-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
            let path = std::env::temp_dir().join(name);
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => break path,
                // Left by an earlier process with the same id.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            }
        };
        let remover = match std::env::var_os("DAYPASS_KEEP") {
            Some(_) => None,
            None => Some(remover(&path)?),
        };
        Ok(Self { path, remover })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(mut remover) = self.remover.take() {
            drop(remover.stdin.take());
            let _ = remover.wait();
        }
    }
}

fn remover(path: &Path) -> io::Result<Child> {
    let mut shell = Command::new("sh");
    shell.args(["-c", REMOVE, "remove"]).arg(path);
    shell.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_private_and_gone_when_dropped() {
        use std::os::unix::fs::PermissionsExt;
        let scratch = Scratch::new().unwrap();
        let path = scratch.path().to_owned();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        fs::write(path.join("file"), "content").unwrap();
        drop(scratch);
        assert!(std::env::var_os("DAYPASS_KEEP").is_some() || !path.exists());
    }
}
