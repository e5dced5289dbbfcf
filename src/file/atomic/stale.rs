//! Temporary files whose writers died. They are distinguished from live ones by a lock, which the system releases when a
//! process ends for any reason.
//!
//! A writer creates its file, locks it, and then checks that it still exists. A cleaner locks the files it finds and
//! removes them while they are locked. So whichever is first, no file is removed that a writer continues to use. Staged
//! files that are too many to stay open have a [`Witness`] instead.
//!
//! As long as this process has temporary files in a folder, the folder is read only once: a set of thousands of shards
//! would otherwise read it thousands of times.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::locks::{Witness, has_witness, is_at, is_witness, remove_unheld, set_lock_path};
use super::names::{parts, temporary_start};

/// The folders in which this process has temporary files.
static FOLDERS: Mutex<BTreeMap<PathBuf, Folder>> = Mutex::new(BTreeMap::new());

#[derive(Default)]
struct Folder {
    /// The number of [`InFolder`] values for it.
    users: usize,
    /// Temporary files that existed before this process had any, by the start of their names.
    found: HashMap<String, Vec<OsString>>,
    witness: Option<Witness>,
}

fn folders() -> MutexGuard<'static, BTreeMap<PathBuf, Folder>> {
    FOLDERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shows that this process has a temporary file in the folder, as long as it lives.
#[derive(Debug)]
pub(super) struct InFolder(PathBuf);

impl InFolder {
    pub(super) fn enter(folder: &Path) -> Self {
        let known = folders().contains_key(folder);
        // Not while holding the mutex, which writers in other folders wait for.
        let found = if known { HashMap::new() } else { find(folder) };
        let mut folders = folders();
        let its = folders.entry(folder.to_owned()).or_insert_with(|| Folder { found, ..Folder::default() });
        its.users += 1;
        InFolder(folder.to_owned())
    }

    /// Removes the temporary files for `target` that no process is writing. Files that cannot be examined, locked or
    /// removed stay: leftovers are no reason not to write.
    pub(super) fn clean(&self, target: &Path) {
        let Some(name) = target.file_name() else { return };
        let start = temporary_start(name);
        let names = folders().get_mut(&self.0).and_then(|folder| folder.found.remove(&start));
        for name in names.into_iter().flatten() {
            remove_unowned(&self.0.join(name));
        }
        if let Some(lock) = set_lock_path(target) {
            remove_unheld(&lock);
        }
    }

    /// Shows other processes that this one is alive and owns temporary files without a lock.
    pub(super) fn witness(&self) {
        if let Some(folder) = folders().get_mut(&self.0)
            && folder.witness.is_none()
        {
            folder.witness = Witness::hold(&self.0);
        }
    }
}

impl Drop for InFolder {
    fn drop(&mut self) {
        let mut folders = folders();
        if let Some(folder) = folders.get_mut(&self.0) {
            folder.users -= 1;
            if folder.users == 0 {
                folders.remove(&self.0);
            }
        }
    }
}

/// Locks a file that was just created at `path`. Returns `false` if a cleaner intervened and the file is lost.
///
/// On a file system without locks, locking fails. Cleaners get no lock either and remove nothing, so that is no
/// reason not to write.
pub(super) fn hold(file: &File, path: &Path) -> bool {
    !matches!(file.try_lock(), Err(TryLockError::WouldBlock)) && is_at(file, path)
}

/// Returns the temporary files of a folder. Removes the witnesses of dead processes.
fn find(folder: &Path) -> HashMap<String, Vec<OsString>> {
    let mut found: HashMap<String, Vec<OsString>> = HashMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let text = name.to_string_lossy();
        if let Some((start, _)) = parts(&text) {
            let start = start.to_owned();
            found.entry(start).or_default().push(name);
        } else if is_witness(&text) {
            remove_unheld(&entry.path());
        }
    }
    found
}

/// Removes the temporary folders for `target` that no process is filling.
pub(super) fn remove_folders(target: &Path) {
    let (Some(folder), Some(name)) = (target.parent(), target.file_name()) else { return };
    let start = temporary_start(name);
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_its = parts(&name.to_string_lossy()).is_some_and(|(found, _)| found == start);
        if !is_its || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let path = entry.path();
        if File::open(&path).is_ok_and(|file| file.try_lock().is_ok() && is_at(&file, &path)) {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

fn remove_unowned(path: &Path) {
    // Neither a link nor anything that could wait for a writer.
    if !fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file()) {
        return;
    }
    let Ok(file) = File::open(path) else { return };
    if file.try_lock().is_ok() && is_at(&file, path) && !may_be_staged(path) {
        let _ = fs::remove_file(path);
    }
}

/// Returns `true` if a live process may have staged the file without keeping it open.
fn may_be_staged(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let process = parts(&name).and_then(|(_, process)| process.parse().ok());
    path.parent().zip(process).is_some_and(|(folder, process)| has_witness(folder, process))
}

#[cfg(all(test, not(target_family = "wasm")))]
mod tests {
    use super::*;

    #[test]
    fn only_temporary_names_are_taken_for_them() {
        let is = |name| parts(name).is_some_and(|(start, _)| start == temporary_start("model.gguf".as_ref()));
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
            "model.gguf.1-0.tmp",
            "..1-0.tmp",
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
        remove_unowned(&path);
        assert!(path.exists(), "it has an owner");

        drop((mine, again));
        remove_unowned(&path);
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

    #[test]
    fn a_folder_is_read_once_and_again_when_nothing_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let leave = |number: u32| {
            let path = folder.path().join(format!(".m.gguf.1-{number}.tmp"));
            fs::write(&path, "left").unwrap();
            path
        };
        let target = folder.path().join("m.gguf");
        let before = leave(0);
        let first = InFolder::enter(folder.path());
        let after = leave(1);
        let second = InFolder::enter(folder.path());
        first.clean(&target);
        second.clean(&target);
        assert!(!before.exists() && after.exists());
        drop((first, second));
        InFolder::enter(folder.path()).clean(&target);
        assert!(!after.exists());
    }
}
