//! One file that its owner alone may read: a key that never takes the place of another, or an opened credential that appears whole.
//!
//! Owns how such a file is read, made and put in place. Must never write one that others may read, nor through a link. Called by `daypass
//! open`; the files of a holder are those of [`super::set`].

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use data_encoding::HEXLOWER;

use crate::secret::Secret;

/// A file that is longer than this is no key, in bytes.
const LONGEST: u64 = 16 * 1024;

/// Why a file was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Something failed.
    #[error("cannot {what} {path}: {error}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// There is a file already.
    #[error("{0} is there already, and a key is never overwritten: give another name, or remove it if nothing is sealed to it any more")]
    Exists(PathBuf),
    /// What is there is no file.
    #[error("{0} is not a regular file: leave --output out to print, or give the name of a file")]
    NotAFile(PathBuf),
    /// Far too long.
    #[error("{0} is longer than any key: give the file of the private key")]
    TooLong(PathBuf),
    /// No random name.
    #[error("the system gives no random numbers")]
    Random,
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_owned();
    move |error| FileError::Io { what, path, error }
}

/// The text of a file, and whether others than its owner and its group may read it.
pub fn read(path: &Path) -> Result<(Secret<String>, bool), FileError> {
    let file = File::open(path).map_err(failed("read", path))?;
    let metadata = file.metadata().map_err(failed("read", path))?;
    // Of one piece: a text that grows leaves copies of itself behind.
    let mut text = String::with_capacity(LONGEST as usize + 1);
    let length = file.take(LONGEST + 1).read_to_string(&mut text);
    let text = Secret::new(text);
    let length = length.map_err(failed("read", path))?;
    if length as u64 > LONGEST {
        return Err(FileError::TooLong(path.to_owned()));
    }
    Ok((text, metadata.is_file() && metadata.permissions().mode() & 0o004 != 0))
}

/// Makes a file with this text, mode 0600, where there is none.
pub fn create(path: &Path, text: &Secret<String>) -> Result<(), FileError> {
    let made = write_new(path, text);
    match made {
        Err(FileError::Io { error, .. }) if error.kind() == io::ErrorKind::AlreadyExists => Err(FileError::Exists(path.to_owned())),
        other => other,
    }
}

/// Puts a file with this text, mode 0600, in the place of the one that is there, if there is one: whoever opens it sees the old or the new
/// text, whole.
pub fn replace(path: &Path, text: &Secret<String>) -> Result<(), FileError> {
    // A name like /dev/stdout is there to be written to, not to be replaced.
    if fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(FileError::NotAFile(path.to_owned()));
    }
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).map_err(|_| FileError::Random)?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).ok_or_else(|| FileError::NotAFile(path.to_owned()))?;
    let beside = path.with_file_name(format!(".{name}.{}", HEXLOWER.encode(&bytes)));
    write_new(&beside, text)?;
    fs::rename(&beside, path).map_err(|error| {
        let _ = fs::remove_file(&beside);
        failed("write", path)(error)
    })
}

/// The whole of it, or nothing.
fn write_new(path: &Path, text: &Secret<String>) -> Result<(), FileError> {
    // Exclusive: nobody chooses what is opened here by putting a link there.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed("write", path))?;
    let written = file.write_all(text.expose().as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|error| {
        let _ = fs::remove_file(path);
        failed("write", path)(error)
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("daypass-private-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_key_is_its_owner_s_alone_and_is_never_overwritten() {
        let scratch = Scratch::new("key");
        let path = scratch.0.join("key.pem");
        create(&path, &secret("first")).unwrap();
        assert_eq!((mode(&path), read(&path).unwrap().0.expose().as_str()), (0o600, "first"));
        assert!(matches!(create(&path, &secret("second")), Err(FileError::Exists(found)) if found == path));
        assert_eq!(read(&path).unwrap().0.expose(), "first");
        let (link, elsewhere) = (scratch.0.join("link"), scratch.0.join("elsewhere"));
        symlink(&elsewhere, &link).unwrap();
        assert!(create(&link, &secret("second")).is_err() && !elsewhere.exists(), "not through a link either");
    }

    #[test]
    fn a_credential_takes_the_place_of_the_last_one_whole_and_leaves_nothing_beside_it() {
        let scratch = Scratch::new("output");
        let path = scratch.0.join("token");
        fs::write(&path, "a longer one that was there").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        replace(&path, &secret("new")).unwrap();
        assert_eq!((mode(&path), fs::read_to_string(&path).unwrap().as_str()), (0o600, "new"));
        assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 1);
        let missing = scratch.0.join("no/such/token");
        let said = replace(&missing, &secret("new")).unwrap_err().to_string();
        assert!(said.contains("no/such"), "{said}");
    }

    #[test]
    fn what_is_no_file_is_not_replaced() {
        let scratch = Scratch::new("links");
        let (link, target) = (scratch.0.join("stdout"), scratch.0.join("target"));
        fs::write(&target, "somebody's").unwrap();
        symlink(&target, &link).unwrap();
        for path in [&link, &scratch.0] {
            assert!(matches!(replace(path, &secret("new")), Err(FileError::NotAFile(_))), "{path:?}");
        }
        assert_eq!(fs::read_to_string(&target).unwrap(), "somebody's");
    }

    #[test]
    fn a_key_that_others_may_read_is_noticed_and_a_long_file_is_not_taken_in() {
        let scratch = Scratch::new("modes");
        let path = scratch.0.join("key.pem");
        create(&path, &secret("key")).unwrap();
        for (mode, open) in [(0o600, false), (0o640, false), (0o644, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read(&path).unwrap().1, open, "{mode:o}");
        }
        fs::write(&path, "x".repeat(LONGEST as usize + 1)).unwrap();
        assert!(matches!(read(&path), Err(FileError::TooLong(_))));
        assert!(read(Path::new("/no/such/file")).unwrap_err().to_string().contains("/no/such/file"));
    }
}
