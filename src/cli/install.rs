//! `daypass install DIR`: copies this binary, so that a container whose image knows nothing of Daypass can start its command through it.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;

use super::exit;

/// Copies this program into a directory, best a volume that an init container shares with others: they start their command with
/// `DIR/daypass exec`.
///
/// The program needs no libc where it was linked without one, as in Daypass's image.
#[derive(Args, Debug)]
pub struct InstallArgs {
    /// The directory.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Runs it.
pub fn run(args: &InstallArgs) -> ExitCode {
    if !cfg!(target_feature = "crt-static") {
        eprintln!("daypass install: this build needs the libc that it was linked with; the one in Daypass's image needs none");
    }
    match copy(&args.dir) {
        Ok(path) => {
            println!("{}", path.display());
            ExitCode::SUCCESS
        }
        Err(error) => exit::with(exit::CANNOT_WRITE, "install", format_args!("cannot copy to {}: {error}", args.dir.display())),
    }
}

/// In place by renaming: whoever starts it meanwhile starts the old one or the new one, whole.
fn copy(directory: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(directory)?;
    let (beside, path) = (directory.join(format!(".daypass-{}", std::process::id())), directory.join("daypass"));
    // What an earlier one left; and nobody else's link is followed.
    let _ = fs::remove_file(&beside);
    let copied = (|| {
        // The running program itself, whatever has become of the file that it was started from.
        io::copy(&mut File::open("/proc/self/exe")?, &mut File::create_new(&beside)?)?;
        fs::set_permissions(&beside, Permissions::from_mode(0o755))?;
        fs::rename(&beside, &path)
    })();
    if copied.is_err() {
        let _ = fs::remove_file(&beside);
    }
    copied.map(|()| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_copied_runs_and_replaces_what_was_there() {
        let directory = std::env::temp_dir().join(format!("daypass-install-{}", std::process::id()));
        for _ in 0..2 {
            let path = copy(&directory).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o755);
            assert_eq!(fs::metadata(&path).unwrap().len(), fs::metadata("/proc/self/exe").unwrap().len());
        }
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "nothing is left beside it");
        fs::remove_dir_all(directory).ok();
        assert!(copy(Path::new("/proc/nowhere")).is_err());
    }
}
