//! Temporary files whose writers died, and how they are told from those that are alive: by a lock, which the system
//! takes back when a process ends, however it ends.
//!
//! A writer makes its file, locks it, and then looks whether it is still there. A cleaner locks what it finds and
//! removes it under the lock. So whoever is first, no file is removed that a writer goes on with.

use std::fs::{self, File, FileType, TryLockError};
use std::io;
use std::path::Path;

use super::temporary::temporary_start;

/// Locks a file just made at `path`; `false` where a cleaner came between, and the file is lost.
///
/// A file system without locks answers with an error. Its cleaners get no lock either and remove nothing, so that is
/// no reason not to write.
pub(super) fn hold(file: &File, path: &Path) -> bool {
    !matches!(file.try_lock(), Err(TryLockError::WouldBlock)) && is_at(file, path)
}

/// Removes the temporary files for `target` that nobody writes any more. What cannot be looked at, locked or removed
/// stays: leftovers are no reason not to write.
pub(super) fn remove(target: &Path) {
    remove_where(target, |kind| kind.is_file(), |path| fs::remove_file(path));
}

/// The same for temporary folders.
pub(super) fn remove_folders(target: &Path) {
    remove_where(target, |kind| kind.is_dir(), |path| fs::remove_dir_all(path));
}

fn remove_where(target: &Path, is_kind: impl Fn(FileType) -> bool, remove: impl Fn(&Path) -> io::Result<()>) {
    let (Some(folder), Some(name)) = (target.parent(), target.file_name()) else { return };
    let start = temporary_start(&name.to_string_lossy());
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if is_temporary(&entry.file_name().to_string_lossy(), &start) && entry.file_type().is_ok_and(&is_kind)
        {
            remove_unowned(&entry.path(), &remove);
        }
    }
}

fn remove_unowned(path: &Path, remove: impl Fn(&Path) -> io::Result<()>) {
    let Ok(file) = File::open(path) else { return };
    if file.try_lock().is_ok() && is_at(&file, path) {
        let _ = remove(path);
    }
}

/// Whether a name is `.NAME.PID-N.tmp`, where `start` is `.NAME.`, and nothing else that begins and ends so.
fn is_temporary(name: &str, start: &str) -> bool {
    let numbers = name.strip_prefix(start).and_then(|rest| rest.strip_suffix(".tmp"));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    numbers.and_then(|numbers| numbers.split_once('-')).is_some_and(|(pid, n)| is_number(pid) && is_number(n))
}

/// Whether the open file is the one that the path names now.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let (open, named) = (file.metadata().map(id), fs::symlink_metadata(path).map(id));
    matches!((open, named), (Ok(open), Ok(named)) if open == named)
}

/// Elsewhere a file's identity is not to be had, and a file that is open keeps its name.
#[cfg(not(unix))]
fn is_at(_file: &File, path: &Path) -> bool {
    path.exists()
}

#[cfg(all(test, not(target_family = "wasm")))]
mod tests {
    use super::*;

    #[test]
    fn only_temporary_names_are_taken_for_them() {
        let is = |name| is_temporary(name, &temporary_start("model.gguf"));
        assert!(is(".model.gguf.1-0.tmp") && is(".model.gguf.4194304-18446744073709551615.tmp"));
        for name in [
            "model.gguf",
            ".model.gguf.1-0",
            ".model.gguf.1.tmp",
            ".model.gguf.-0.tmp",
            ".model.gguf.1-.tmp",
            ".model.gguf.1-0.tmp.bak",
            ".model.gguf.a-0.tmp",
            ".model.gguf.1-0-0.tmp",
            ".model.gguf.+1-0.tmp",
            ".other.gguf.1-0.tmp",
            ".model.gguf.old.gguf.1-0.tmp",
        ] {
            assert!(!is(name), "{name}");
        }
    }

    #[test]
    fn a_lock_is_held_once_and_only_on_the_file_that_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".model.gguf.1-0.tmp");
        let mine = File::create(&path).unwrap();
        assert!(hold(&mine, &path));
        let again = File::open(&path).unwrap();
        assert!(!hold(&again, &path), "it is locked");
        remove_unowned(&path, |path| fs::remove_file(path));
        assert!(path.exists(), "it has an owner");

        drop((mine, again));
        remove_unowned(&path, |path| fs::remove_file(path));
        assert!(!path.exists(), "its owner is gone");

        // A cleaner was faster than the lock.
        let lost = File::create(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(!hold(&lost, &path));
        #[cfg(unix)]
        {
            let other = File::create(&path).unwrap();
            assert!(!hold(&lost, &path), "another file has its name");
            assert!(hold(&other, &path));
        }
    }
}
