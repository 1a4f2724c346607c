//! A directory of files that switch together: whoever opens it sees the whole of one credential, never half of the next.
//!
//! As a kubelet lays out its volumes: each file is a link into `..data`, which is itself a link to a directory with the files of one set. A
//! new set is written beside the old one and comes into force by renaming that one link. A step that fails leaves the old set in force and
//! nothing of the new one. One process at a time holds a directory. Called by the holder of a credential; the only place of the pod's side
//! that writes keys.

use std::{
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    time::Duration,
};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use data_encoding::HEXLOWER;

use crate::secret::Secret;

/// The link that switches.
const CURRENT: &str = "..data";
/// Held by the process that writes here.
const LOCK: &str = "..lock";

/// `O_NOFOLLOW`.
const NO_FOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits() as i32;

/// Files and what is in them.
pub type Files = Vec<(&'static str, Secret<String>)>;

/// Why files cannot be written or given up.
#[derive(Debug, thiserror::Error)]
pub enum SetError {
    /// Something failed.
    #[error("cannot {what} {path}: {error}{}", hint(.error))]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Another process writes here.
    #[error("{0} is held by another process: give each agent a directory of its own (--dir), or one agent several classes")]
    Held(PathBuf),
    /// No random name.
    #[error("the system gives no random numbers")]
    Random,
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => " (mount an emptyDir with medium: Memory there, writable by this user: see fsGroup)",
        io::ErrorKind::ReadOnlyFilesystem => " (mount an emptyDir with medium: Memory there)",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => " (raise the volume's sizeLimit)",
        _ => "",
    }
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SetError {
    let path = path.to_owned();
    move |error| SetError::Io { what, path, error }
}

/// A directory held by this process.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    mode: u32,
    lock: File,
}

impl Drop for Directory {
    /// Closing alone would leave it held for as long as a child that is just being started has its copy of the file.
    fn drop(&mut self) {
        let _ = self.lock.unlock();
    }
}

impl Directory {
    /// Takes a directory, making it if it is not there, and sweeps up what a killed process left half done. Files get this mode, for
    /// instance 0o600; directories get its read bits as search bits.
    pub fn hold(path: &Path, mode: u32) -> Result<Self, SetError> {
        fs::create_dir_all(path).map_err(failed("make", path))?;
        let lock_path = path.join(LOCK);
        // Whoever else writes to the volume must not choose what is opened here.
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).custom_flags(NO_FOLLOW).open(&lock_path);
        let lock = lock.map_err(failed("write", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(SetError::Held(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(failed("lock", &lock_path)(error)),
        }
        let directory = Self { path: path.to_owned(), mode, lock };
        directory.sweep(fs::read_link(path.join(CURRENT)).ok().as_deref())?;
        Ok(directory)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts a set of files in force in the place of the last one.
    pub fn put(&self, files: &Files) -> Result<(), SetError> {
        let name = format!("..{}", random()?);
        let fresh = self.path.join(&name);
        // The links come first: once the set is in force nothing can fail any more.
        if let Err(error) = self.write(&fresh, files).and_then(|()| self.link(files)).and_then(|()| self.switch(Path::new(&name))) {
            let _ = fs::remove_dir_all(&fresh);
            return Err(error);
        }
        // Old sets go last; if one cannot, the next time sweeps it up.
        let _ = self.sweep(Some(Path::new(&name)));
        self.unlink(files);
        Ok(())
    }

    /// A file of the set that is in force.
    pub fn read(&self, file: &str) -> Option<Secret<String>> {
        self.read_plain(file).map(Secret::new)
    }

    /// The same, of a file that is not secret.
    pub fn read_plain(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.path.join(CURRENT).join(file)).ok()
    }

    /// Removes the set that is in force, and the links to it.
    pub fn clear(&self) -> Result<(), SetError> {
        let current = self.path.join(CURRENT);
        let files: Vec<_> = fs::read_dir(&current).into_iter().flatten().filter_map(|entry| entry.ok().map(|e| e.file_name())).collect();
        for file in files {
            let link = self.path.join(file);
            if fs::read_link(&link).is_ok() {
                fs::remove_file(&link).map_err(failed("remove", &link))?;
            }
        }
        self.sweep(None)?;
        match fs::remove_file(&current) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", &current)(error)),
            _ => Ok(()),
        }
    }

    fn write(&self, fresh: &Path, files: &Files) -> Result<(), SetError> {
        fs::create_dir(fresh).map_err(failed("make", fresh))?;
        // A volume that containers share by its group (fsGroup) hands that on by the setgid bit; without it the files would be of our own.
        let shared = fs::metadata(fresh).map_err(failed("look at", fresh))?.permissions().mode() & 0o2000;
        let search = (self.mode & 0o444) >> 2;
        fs::set_permissions(fresh, Permissions::from_mode(shared | 0o700 | self.mode & 0o444 | search))
            .map_err(failed("set the mode of", fresh))?;
        for (name, content) in files {
            let path = fresh.join(name);
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed("write", &path))?;
            file.write_all(content.expose().as_bytes()).map_err(failed("write", &path))?;
            file.set_permissions(Permissions::from_mode(self.mode)).map_err(failed("set the mode of", &path))?;
        }
        Ok(())
    }

    /// The one step by which a set comes into force.
    fn switch(&self, name: &Path) -> Result<(), SetError> {
        let (beside, current) = (self.path.join("..data_tmp"), self.path.join(CURRENT));
        let _ = fs::remove_file(&beside);
        symlink(name, &beside).map_err(failed("link", &beside))?;
        fs::rename(&beside, &current).map_err(failed("switch", &current))
    }

    /// The names that applications open.
    fn link(&self, files: &Files) -> Result<(), SetError> {
        for (name, _) in files {
            let (link, target) = (self.path.join(name), Path::new(CURRENT).join(name));
            if fs::read_link(&link).is_ok_and(|found| found == target) {
                continue;
            }
            // Something else of that name is not ours to remove.
            symlink(&target, &link).map_err(failed("link", &link))?;
        }
        Ok(())
    }

    /// Removes links to files that the set in force does not have: one of another kind had them.
    fn unlink(&self, files: &Files) {
        for entry in fs::read_dir(&self.path).into_iter().flatten().flatten() {
            let (name, path) = (entry.file_name(), entry.path());
            let is_ours = fs::read_link(&path).is_ok_and(|target| target == Path::new(CURRENT).join(&name));
            if is_ours && !files.iter().any(|(file, _)| name == *file) {
                let _ = fs::remove_file(&path);
            }
        }
    }

    /// Removes every set but one.
    fn sweep(&self, keep: Option<&Path>) -> Result<(), SetError> {
        for entry in fs::read_dir(&self.path).map_err(failed("list", &self.path))?.flatten() {
            let (name, path) = (entry.file_name(), entry.path());
            let is_set = name.to_str().and_then(|name| name.strip_prefix("..")).is_some_and(is_random);
            if is_set && Some(Path::new(&name)) != keep && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                fs::remove_dir_all(&path).map_err(failed("remove", &path))?;
            }
        }
        Ok(())
    }
}

/// A directory in memory that nobody else knows of, removed in the end.
#[derive(Debug)]
pub struct OwnDirectory(PathBuf);

impl OwnDirectory {
    /// Makes one in /dev/shm, which every container has.
    pub fn make() -> Result<Self, SetError> {
        let path = Path::new("/dev/shm").join(format!("daypass-{}", random()?));
        // Exclusive: whoever may write there cannot have made it before.
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(failed("make", &path))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Removes what processes of this pod that were killed left in /dev/shm, which outlives a container, and returns the plain files of this
    /// name in the sets that they held. A directory whose lock somebody holds is in use, one that is hardly older than this one may be about
    /// to be, and one with a file that is not `ours` is left to whose it is.
    pub fn sweep(&self, file: &str, ours: impl Fn(&str) -> bool) -> Vec<String> {
        let made = |path: &Path| fs::metadata(path).and_then(|found| found.modified());
        let Ok(now) = made(&self.0) else { return Vec::new() };
        let entries = fs::read_dir("/dev/shm").into_iter().flatten().flatten();
        let alike =
            entries.filter(|entry| entry.file_name().to_str().and_then(|name| name.strip_prefix("daypass-")).is_some_and(is_random));
        let mut found = Vec::new();
        for entry in alike.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            let mut held = Vec::new();
            let old = made(&entry.path()).is_ok_and(|then| now.duration_since(then).is_ok_and(|age| age > SETTLED));
            if old && abandoned(&entry.path(), file, 4, &mut held) && held.iter().all(|text| ours(text)) {
                let _ = fs::remove_dir_all(entry.path());
                found.extend(held);
            }
        }
        found
    }
}

/// A directory is locked well before it is this old.
const SETTLED: Duration = Duration::from_secs(10);

/// Whether nobody holds this directory or one below it; takes note of the file of this name in each set.
fn abandoned(path: &Path, file: &str, depth: u32, held: &mut Vec<String>) -> bool {
    match OpenOptions::new().write(true).custom_flags(NO_FOLLOW).open(path.join(LOCK)) {
        Ok(lock) if lock.try_lock().is_err() => return false,
        Ok(_) => held.extend(fs::read_to_string(path.join(CURRENT).join(file))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        // Somebody else's.
        Err(_) => return false,
    }
    let Ok(entries) = fs::read_dir(path) else { return false };
    let mut below = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    depth == 0 || below.all(|entry| abandoned(&entry.path(), file, depth - 1, held))
}

impl Drop for OwnDirectory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What [`random`] makes.
fn is_random(text: &str) -> bool {
    text.len() == 16 && HEXLOWER.decode(text.as_bytes()).is_ok()
}

fn random() -> Result<String, SetError> {
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).map_err(|_| SetError::Random)?;
    Ok(HEXLOWER.encode(&bytes))
}

/// Whether what is written there stays in memory; `None` if the system does not say.
pub fn in_memory(path: &Path) -> Option<bool> {
    /// `TMPFS_MAGIC` and `RAMFS_MAGIC` of linux/magic.h.
    const MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];
    // The type's width differs between architectures; the magic numbers fit 32 bits.
    let found = rustix::fs::statfs(path).ok()?.f_type as u64 & 0xffff_ffff;
    Some(MEMORY.contains(&found))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Self {
            static MADE: AtomicU32 = AtomicU32::new(0);
            let path = std::env::temp_dir().join(format!("daypass-set-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed)));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn names(&self) -> Vec<String> {
            let mut names: Vec<_> = fs::read_dir(&self.0).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }

        fn sets(&self) -> usize {
            self.names().iter().filter(|name| name.len() == 18 && name.starts_with("..")).count()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    fn files(generation: u32) -> Files {
        vec![("tls.crt", Secret::new(format!("crt {generation}"))), ("tls.key", Secret::new(format!("key {generation}")))]
    }

    #[test]
    fn a_set_replaces_the_last_one_and_leaves_nothing_of_it() {
        let scratch = Scratch::new();
        let directory = Directory::hold(&scratch.0, 0o600).unwrap();
        for generation in 0..3 {
            directory.put(&files(generation)).unwrap();
            assert_eq!(fs::read_to_string(scratch.0.join("tls.crt")).unwrap(), format!("crt {generation}"));
            assert_eq!(directory.read("tls.key").unwrap().expose(), &format!("key {generation}"));
            assert_eq!(scratch.sets(), 1);
        }
        directory.clear().unwrap();
        assert_eq!(scratch.names(), [LOCK]);
    }

    #[test]
    fn a_set_of_another_kind_leaves_no_names_of_the_last_one() {
        let scratch = Scratch::new();
        let directory = Directory::hold(&scratch.0, 0o600).unwrap();
        fs::write(scratch.0.join("theirs"), "somebody's").unwrap();
        directory.put(&files(0)).unwrap();
        directory.put(&vec![("token", Secret::new("t".to_owned()))]).unwrap();
        let names: Vec<_> = scratch.names().into_iter().filter(|name| !name.starts_with("..")).collect();
        assert_eq!(names, ["theirs", "token"]);
    }

    #[test]
    fn a_reader_of_the_whole_set_never_sees_half_of_the_next() {
        let scratch = Scratch::new();
        let directory = Directory::hold(&scratch.0, 0o600).unwrap();
        directory.put(&files(0)).unwrap();
        let path = scratch.0.clone();
        let reader = std::thread::spawn(move || {
            let mut seen = 0;
            while seen < 400 {
                // One look at the link, then all files of that set: how a careful reader does it.
                let Ok(set) = fs::read_link(path.join(CURRENT)) else { continue };
                let read = |file: &str| fs::read_to_string(path.join(&set).join(file));
                if let (Ok(crt), Ok(key)) = (read("tls.crt"), read("tls.key")) {
                    assert_eq!(crt.trim_start_matches("crt "), key.trim_start_matches("key "));
                }
                assert!(path.join("tls.crt").exists(), "at no moment is there no file");
                seen += 1;
            }
        });
        let mut generation = 1;
        while !reader.is_finished() {
            directory.put(&files(generation)).unwrap();
            generation += 1;
        }
        reader.join().unwrap();
    }

    #[test]
    fn files_have_the_mode_that_was_asked_for_and_no_other() {
        for (mode, directory_mode) in [(0o600, 0o700), (0o640, 0o750), (0o444, 0o755)] {
            let scratch = Scratch::new();
            Directory::hold(&scratch.0, mode).unwrap().put(&files(0)).unwrap();
            let mode_of = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode_of(&scratch.0.join("tls.key")), mode);
            assert_eq!(mode_of(&scratch.0.join(CURRENT)), directory_mode);
        }
    }

    #[test]
    fn the_group_of_a_shared_volume_is_handed_on() {
        let scratch = Scratch::new();
        fs::set_permissions(&scratch.0, Permissions::from_mode(0o2777)).unwrap();
        Directory::hold(&scratch.0, 0o640).unwrap().put(&files(0)).unwrap();
        let mode = fs::metadata(scratch.0.join(CURRENT)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o2750, "what is made in it gets its group");
    }

    #[test]
    fn what_fails_leaves_the_old_set_in_force_and_nothing_of_the_new_one() {
        let scratch = Scratch::new();
        let directory = Directory::hold(&scratch.0, 0o600).unwrap();
        directory.put(&files(0)).unwrap();
        // A name that cannot be a file stands for a disk that is full in the middle of a set.
        let mut broken = files(1);
        broken.push(("no/such", Secret::new(String::new())));
        let problem = directory.put(&broken).unwrap_err().to_string();
        assert!(problem.contains("no/such"), "{problem}");
        assert_eq!(directory.read("tls.crt").unwrap().expose(), "crt 0");
        assert_eq!(scratch.sets(), 1);
    }

    #[test]
    fn a_full_volume_is_said_with_what_to_do() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let problem = failed("write", Path::new("/run/daypass/tls.crt"))(full).to_string();
        assert!(problem.contains("/run/daypass/tls.crt") && problem.contains("sizeLimit"), "{problem}");
    }

    #[test]
    fn one_process_at_a_time_holds_a_directory() {
        let scratch = Scratch::new();
        let first = Directory::hold(&scratch.0, 0o600).unwrap();
        assert!(matches!(Directory::hold(&scratch.0, 0o600), Err(SetError::Held(path)) if path == scratch.0));
        drop(first);
        assert!(Directory::hold(&scratch.0, 0o600).is_ok());
    }

    #[test]
    fn what_a_killed_process_left_is_swept_up_and_its_last_set_kept() {
        let scratch = Scratch::new();
        Directory::hold(&scratch.0, 0o600).unwrap().put(&files(7)).unwrap();
        fs::create_dir(scratch.0.join("..0011223344556677")).unwrap();
        fs::write(scratch.0.join("..0011223344556677/tls.key"), "half").unwrap();
        let again = Directory::hold(&scratch.0, 0o600).unwrap();
        assert_eq!((again.read("tls.crt").unwrap().expose().as_str(), scratch.sets()), ("crt 7", 1));
    }

    #[test]
    fn a_file_that_is_not_ours_is_not_overwritten() {
        let scratch = Scratch::new();
        fs::write(scratch.0.join("tls.key"), "somebody's").unwrap();
        let directory = Directory::hold(&scratch.0, 0o600).unwrap();
        let problem = directory.put(&files(0)).unwrap_err().to_string();
        assert!(problem.contains("tls.key"), "{problem}");
        assert_eq!(fs::read_to_string(scratch.0.join("tls.key")).unwrap(), "somebody's");
        assert_eq!((directory.read_plain("tls.crt"), scratch.sets()), (None, 0), "no half of it is in force, and nothing lies about");
        // One that comes between two sets does not bring the second into force, nor take the first away.
        fs::remove_file(scratch.0.join("tls.key")).unwrap();
        directory.put(&files(0)).unwrap();
        fs::remove_file(scratch.0.join("tls.key")).unwrap();
        fs::write(scratch.0.join("tls.key"), "somebody's").unwrap();
        assert!(directory.put(&files(1)).is_err());
        assert_eq!((directory.read_plain("tls.crt").unwrap().as_str(), scratch.sets()), ("crt 0", 1));
    }

    #[test]
    fn whoever_else_writes_to_the_volume_cannot_have_other_directories_removed_or_files_opened() {
        let (scratch, precious) = (Scratch::new(), Scratch::new());
        fs::write(precious.0.join("data"), "precious").unwrap();
        symlink(&precious.0, scratch.0.join(CURRENT)).unwrap();
        symlink(&precious.0, scratch.0.join("..0011223344556677")).unwrap();
        let directory = Directory::hold(&scratch.0, 0o600).unwrap();
        directory.put(&files(0)).unwrap();
        directory.clear().unwrap();
        assert_eq!(fs::read_to_string(precious.0.join("data")).unwrap(), "precious");
        drop(directory);
        fs::remove_file(scratch.0.join(LOCK)).unwrap();
        symlink(precious.0.join("data"), scratch.0.join(LOCK)).unwrap();
        assert!(matches!(Directory::hold(&scratch.0, 0o600), Err(SetError::Io { .. })));
    }

    #[test]
    fn memory_and_disk_are_told_apart() {
        assert_eq!(in_memory(Path::new("/dev/shm")), Some(true));
        assert_eq!(in_memory(Path::new("/proc")), Some(false));
        assert_eq!(in_memory(Path::new("/no/such/place")), None);
    }
}
