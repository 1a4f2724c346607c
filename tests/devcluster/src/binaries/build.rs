//! Builds programs from their pinned Go module into the cache, one build at a time per user.
//!
//! Called by `binaries` alone, with what is missing.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use super::{Error, Program, Release, find};
use crate::supervisor::{Exit, Process, Spec, tail};

/// The oldest Go that builds the pinned modules.
pub(super) const NEEDED_GO: &str = "1.26";
/// Between two signs of life.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// Builds what is missing of a release.
pub(super) async fn build<const N: usize>(
    release: &Release<N>,
    missing: &[&Program],
    assets: Option<&Path>,
    cache: &Path,
) -> Result<(), Error> {
    if let Some(problem) = toolchain_problem(release) {
        let names: Vec<_> = missing.iter().map(|program| program.name).collect();
        let assets = assets.map_or_else(|| "not set".to_owned(), |path| path.display().to_string());
        return Err(Error::Nowhere { missing: names.join(", "), release: release.title, assets, cache: cache.to_owned(), problem });
    }
    fs::create_dir_all(cache).map_err(|source| Error::Cache { path: cache.to_owned(), source })?;
    let _lock = lock(&cache.join(".lock")).await?;
    // Whoever held the lock may have built it.
    let missing: Vec<_> = missing.iter().filter(|program| find(program.name, assets, cache).is_none()).collect();
    for (done, program) in missing.iter().enumerate() {
        let rest: u32 = missing[done..].iter().map(|program| program.takes).sum();
        let minutes = rest.div_ceil(60);
        say(&format!(
            "[{}/{}] building {} of {} (once; about {minutes} min left on two cores)",
            done + 1,
            missing.len(),
            program.name,
            release.title
        ));
        build_one(release, program, cache).await?;
    }
    Ok(())
}

async fn build_one<const N: usize>(release: &Release<N>, program: &Program, cache: &Path) -> Result<(), Error> {
    let (part, log) = (cache.join(format!("{}.part", program.name)), cache.join(format!("{}.log", program.name)));
    let started = Instant::now();
    let args = ["build", "-mod=readonly", "-trimpath", "-ldflags", release.ldflags, "-o"];
    // A user's own workspace or flags must not change what is built.
    let spec = Spec::new("go", &log).args(args).args([part.as_os_str()]).args([program.package]).dir(release.module);
    let spec = spec.env("CGO_ENABLED", "0").env("GOFLAGS", "").env("GOWORK", "off");
    let build = Process::start(spec)?;
    let exit = loop {
        match tokio::time::timeout(PROGRESS_EVERY, build.exited()).await {
            Ok(exit) => break exit,
            Err(_) => say(&format!("      {}: {} s", program.name, started.elapsed().as_secs())),
        }
    };
    if exit != Exit::Code(0) {
        let tail = tail(&log, 20).unwrap_or_default();
        return Err(Error::Build { program: program.name, exit: format!("{exit:?}"), log, tail });
    }
    let path = cache.join(program.name);
    // Only a complete program ever has its final name.
    fs::rename(&part, &path).map_err(|source| Error::Cache { path, source })?;
    // The log is of use only where the build failed.
    let _ = fs::remove_file(&log);
    say(&format!("      {}: done in {} s", program.name, started.elapsed().as_secs()));
    Ok(())
}

/// What keeps this machine from building, if anything.
fn toolchain_problem<const N: usize>(release: &Release<N>) -> Option<String> {
    // Asked in the module's directory, an older Go answers with the newer one that it would fetch and use.
    let version = Command::new("go").args(["env", "GOVERSION"]).env("GOWORK", "off").current_dir(release.module).output();
    match version {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some("there is no `go` on PATH".into()),
        Err(error) => Some(format!("`go env GOVERSION` cannot be run: {error}")),
        Ok(output) if !output.status.success() => {
            Some(format!("`go env GOVERSION` fails: {}", String::from_utf8_lossy(&output.stderr).trim()))
        }
        Ok(output) => {
            let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            (!new_enough(&version)).then(|| format!("`go` is {version}, which is older than {NEEDED_GO}"))
        }
    }
}

/// Whether a version such as `go1.26.8` can build the modules; development builds are taken at their word.
fn new_enough(version: &str) -> bool {
    let numbers = |version: &str| -> Option<(u32, u32)> {
        let mut parts = version.split(['.', 'r', 'b', '-', ' ']).map(str::parse);
        Some((parts.next()?.ok()?, parts.next()?.ok()?))
    };
    match version.strip_prefix("go").and_then(numbers) {
        Some(found) => Some(found) >= numbers(NEEDED_GO),
        None => version.starts_with("devel"),
    }
}

/// Waits for the lock, and says so.
async fn lock(path: &Path) -> Result<File, Error> {
    let cache = |source| Error::Cache { path: path.to_owned(), source };
    let file = File::create(path).map_err(cache)?;
    let mut waited = 0u64;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(source)) => return Err(cache(source)),
            Err(TryLockError::WouldBlock) => {
                if waited.is_multiple_of(PROGRESS_EVERY.as_secs()) {
                    say(&format!("another process is building; waiting for it ({waited} s)"));
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
                waited += 1;
            }
        }
    }
}

fn say(line: &str) {
    eprintln!("devcluster: {line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_which_go_is_new_enough() {
        for (version, enough) in [
            ("go1.26.8", true),
            ("go1.26", true),
            ("go1.27rc1", true),
            ("go2.0", true),
            ("go1.25.9", false),
            ("devel +abc", true),
            ("", false),
        ] {
            assert_eq!(new_enough(version), enough, "{version:?}");
        }
    }
}
