//! Lock files: [`SetLock`], held while a set's files are moved to their final paths, and [`Witness`], which shows that a
//! process is alive whose staged files are too many to stay open.
//!
//! Both are removed while locked, and a process that gets a lock checks that the file still exists. So no process continues
//! with a lock on a file that no longer has a name.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::names::{process_id, temporary_start};
#[cfg(unix)]
use crate::file::identity::FileId;
use crate::file::identity::uninterrupted;

/// A lock file may be removed between opening and locking it, but hardly this often.
const MOST_TRIES: u32 = 1000;

/// Held by the only writer that may move the files of a set. Other writers wait.
#[derive(Debug)]
pub(super) struct SetLock {
    path: PathBuf,
    // Closed after the file is removed.
    _file: File,
}

impl SetLock {
    /// Waits until no other writer is moving files of the set that begins with `first`. Returns `None` if the file system
    /// has no locks, or does not allow the file to be created.
    pub(super) fn wait(first: &Path) -> io::Result<Option<Self>> {
        let Some(path) = set_lock_path(first) else { return Ok(None) };
        let file = lock_at(&path, |file| uninterrupted(|| file.lock()))?;
        Ok(file.map(|file| SetLock { path, _file: file }))
    }
}

impl Drop for SetLock {
    fn drop(&mut self) {
        // There is no one to report an error to.
        let _ = fs::remove_file(&self.path);
    }
}

/// Returns `.NAME.gguf-codec.lock` beside the set's first file.
pub(super) fn set_lock_path(first: &Path) -> Option<PathBuf> {
    let start = temporary_start(first.file_name()?);
    Some(first.with_file_name(format!("{start}gguf-codec.lock")))
}

/// Shared by all processes with the same id, which processes in different containers may have.
#[derive(Debug)]
pub(super) struct Witness {
    path: PathBuf,
    file: Option<File>,
}

impl Witness {
    /// Returns `None` if the file system has no locks. Cleaners get none either then, and remove nothing.
    pub(super) fn hold(folder: &Path) -> Option<Self> {
        let path = folder.join(witness_name(process_id()));
        let file = lock_at(&path, |file| uninterrupted(|| file.lock_shared())).ok()??;
        Some(Witness { path, file: Some(file) })
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        drop(self.file.take());
        remove_unheld(&self.path);
    }
}

const WITNESS_START: &str = ".gguf-codec-";
const WITNESS_END: &str = ".lock";

fn witness_name(process: u32) -> OsString {
    format!("{WITNESS_START}{process}{WITNESS_END}").into()
}

pub(super) fn is_witness(name: &str) -> bool {
    let number = name.strip_prefix(WITNESS_START).and_then(|rest| rest.strip_suffix(WITNESS_END));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Returns `true` if a process with this id declares that it has files in the folder.
pub(super) fn has_witness(folder: &Path, process: u32) -> bool {
    let path = folder.join(witness_name(process));
    remove_unheld(&path);
    // If it cannot be examined, it may be held.
    !matches!(fs::symlink_metadata(&path), Err(error) if error.kind() == io::ErrorKind::NotFound)
}

/// Removes a lock file that no process holds, such as one left by a crash.
pub(super) fn remove_unheld(path: &Path) {
    // Follows no link, and opens nothing that could wait for a writer.
    if !fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file()) {
        return;
    }
    let Ok(file) = File::open(path) else { return };
    if file.try_lock().is_ok() && is_at(&file, path) {
        let _ = fs::remove_file(path);
    }
}

/// Creates or opens the file at `path`, and locks it while it exists there.
fn lock_at(path: &Path, lock: impl Fn(&File) -> io::Result<()>) -> io::Result<Option<File>> {
    for _ in 0..MOST_TRIES {
        // A link that an archive placed there must not lead elsewhere: no file is created through a link, and no link is opened.
        let made = OpenOptions::new().write(true).create_new(true).open(path);
        let is_mine = made.is_ok();
        let file = match made {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match fs::symlink_metadata(path) {
                Ok(metadata) if metadata.is_file() => {
                    // A file of another user may be readable only.
                    OpenOptions::new().write(true).open(path).or_else(|_| File::open(path))
                }
                Ok(_) => {
                    let message = format!("'{}' is there and is not a lock file", path.display());
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
                }
                Err(error) => Err(error),
            },
            made => made,
        };
        match file {
            Ok(file) => match lock(&file) {
                Ok(()) if is_at(&file, path) => return Ok(Some(file)),
                // The previous holder removed it.
                Ok(()) => {}
                // There are no locks here.
                Err(_) => {
                    if is_mine {
                        let _ = fs::remove_file(path);
                    }
                    return Ok(None);
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => return Ok(None),
        }
    }
    Ok(None)
}

/// Returns `true` if a lock file exists and is held. For tests.
/// Returns `true` if the open file is the one that the path now names.
#[cfg(unix)]
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    let (open, named) = (file.metadata(), fs::symlink_metadata(path));
    matches!((open, named), (Ok(open), Ok(named)) if FileId::of(&open) == FileId::of(&named))
}

/// On other systems, files have no available identity, and an open file keeps its name.
#[cfg(not(unix))]
pub(super) fn is_at(_file: &File, path: &Path) -> bool {
    path.exists()
}

#[cfg(test)]
pub(super) fn is_held(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock)))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_lock_file_is_held_once_and_gone_after() {
        let folder = tempfile::tempdir().unwrap();
        let first = folder.path().join("m-00001-of-00002.gguf");
        let path = set_lock_path(&first).unwrap();
        // A lock file that a crash left.
        fs::write(&path, "").unwrap();
        let held = SetLock::wait(&first).unwrap().unwrap();
        assert!(is_held(&path));
        remove_unheld(&path);
        assert!(path.exists());
        let waiting = std::thread::spawn({
            let first = first.clone();
            move || drop(SetLock::wait(&first).unwrap().unwrap())
        });
        drop(held);
        waiting.join().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_lock_file_is_never_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (first, elsewhere) = (folder.path().join("m.gguf"), folder.path().join("elsewhere"));
        std::os::unix::fs::symlink(&elsewhere, set_lock_path(&first).unwrap()).unwrap();
        let error = SetLock::wait(&first).unwrap_err().to_string();
        assert!(error.contains("is not a lock file"), "{error}");
        assert!(!elsewhere.exists());
    }

    #[test]
    fn a_process_is_witnessed_as_long_as_one_of_its_witnesses_is_held() {
        let folder = tempfile::tempdir().unwrap();
        let process = process_id();
        let (one, two) = (Witness::hold(folder.path()).unwrap(), Witness::hold(folder.path()).unwrap());
        assert!(has_witness(folder.path(), process));
        drop(one);
        assert!(has_witness(folder.path(), process));
        drop(two);
        assert!(!has_witness(folder.path(), process));
        fs::write(folder.path().join(witness_name(7)), "").unwrap();
        assert!(!has_witness(folder.path(), 7), "its process is gone");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(
            is_witness(".gguf-codec-12.lock")
                && !is_witness(".gguf-codec-.lock")
                && !is_witness(".gguf-codec-1a.lock")
        );
    }
}
