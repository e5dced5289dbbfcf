//! [`StagedFile`]: complete files that are moved to their final paths together.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::locks::SetLock;
use super::temporary::Temporary;
use crate::error::{Error, OutputProblem, Result};
use crate::file::identity::{FileId, uninterrupted};
use crate::file::output::{Existing, put_new};
use crate::file::unfinished::Commit;

/// A complete file on disk under its temporary name, returned by [`DataWriter::stage`](crate::DataWriter::stage). It is
/// waiting to be moved to its final path with others, and is removed if it is dropped.
///
/// ```no_run
/// use gguf_codec::{GgmlType, StagedFile, Writer};
/// let mut staged = Vec::new();
/// for no in 0..2 {
///     let mut writer = Writer::create(format!("model-{:05}-of-00002.gguf", no + 1))?;
///     writer.set_shard(no, 2, 2)?.declare_tensor(&format!("t{no}"), &[1], GgmlType::I8)?;
///     let mut data = writer.write_header()?;
///     data.write_tensor(&format!("t{no}"), &[7])?;
///     staged.push(data.stage()?);
/// }
/// StagedFile::commit_all(staged)?; // both, or neither
/// # Ok::<(), gguf_codec::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "the file is removed unless it is committed"]
pub struct StagedFile {
    temporary: Temporary,
    id: FileId,
    target: PathBuf,
    existing: Existing,
    shown: PathBuf,
    lock: Option<StagedLock>,
}

/// One of the limited number of staged files that stay open to keep their locks.
///
/// A set may have more files than a process may open. For the rest a witness shows that they have an owner.
#[derive(Debug)]
struct StagedLock;

static STAGED_LOCKS: AtomicUsize = AtomicUsize::new(0);

impl StagedLock {
    const MOST: usize = 100;

    fn take() -> Option<Self> {
        let more = |held: usize| (held < Self::MOST).then(|| held + 1);
        STAGED_LOCKS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(|_| StagedLock)
    }
}

impl Drop for StagedLock {
    fn drop(&mut self) {
        STAGED_LOCKS.fetch_sub(1, Ordering::Relaxed);
    }
}

impl StagedFile {
    /// Creates a staged file from a file that has been synced.
    pub(super) fn new(
        temporary: Temporary,
        id: FileId,
        target: PathBuf,
        existing: Existing,
        shown: PathBuf,
    ) -> Self {
        let mut staged = StagedFile { temporary, id, target, existing, shown, lock: StagedLock::take() };
        if staged.lock.is_none() {
            staged.temporary.let_go();
        }
        staged
    }

    /// Moves the file to its final path, in one step.
    ///
    /// # Errors
    /// The errors of [`commit_all`](Self::commit_all).
    pub fn commit(self) -> Result<()> {
        Self::commit_all([self])
    }

    /// Moves the files of a set to their final paths. The first is the one that readers open first, such as a model's first
    /// shard. It is moved last, and an old one is removed before the others are moved, so that a set that is partly old and
    /// partly new cannot be opened. Each of these three steps is on disk before the next begins.
    ///
    /// Only one writer of a set does so at a time. Others wait, and the last one's set remains. The lock is a file beside the
    /// first, `.NAME.gguf-codec.lock`, which is removed with its writer. On a file system without locks, a writer that finds
    /// another's file in place of its own fails, so that the set is that of one writer, or of none.
    ///
    /// After a crash between two renames there is no first file, and so nothing that can be opened: the old set is gone, and
    /// some files of the new one are in place and the others, also complete, have their temporary names. These stay until the
    /// next file is created for the same target, which takes them for leftovers. A single file is replaced in one step.
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be moved to its final path, or synced there, and [`Error::Output`] if a file exists there
    /// and may not be replaced. Files that were already in place are removed again, the others are removed as on a drop, and what
    /// was replaced is gone. Only an error in syncing the folder of the first occurs after all are in place, where they stay.
    pub fn commit_all(files: impl IntoIterator<Item = StagedFile>) -> Result<()> {
        commit(files.into_iter().collect(), &mut FileSystem)
    }

    fn failed(&self, what: &str, error: io::Error) -> Error {
        Error::io(format!("{what} '{}'", self.shown.display()), error)
    }
}

/// The steps of a commit. Tests substitute a file system that fails, or ends the process, at any of them.
trait Steps {
    fn lock(&mut self, first: &Path) -> io::Result<Option<SetLock>>;
    fn remove(&mut self, path: &Path) -> io::Result<()>;
    /// Fails with `AlreadyExists` if the name is taken and may not be replaced.
    fn rename(&mut self, from: &Path, to: &Path, existing: Existing) -> io::Result<()>;
    /// When this returns, renames and removals beside `path` survive a crash.
    fn sync(&mut self, path: &Path) -> io::Result<()>;
}

struct FileSystem;

impl Steps for FileSystem {
    fn lock(&mut self, first: &Path) -> io::Result<Option<SetLock>> {
        SetLock::wait(first)
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        uninterrupted(|| fs::remove_file(path))
    }

    fn rename(&mut self, from: &Path, to: &Path, existing: Existing) -> io::Result<()> {
        uninterrupted(|| match existing {
            Existing::Refuse => put_new(from, to),
            Existing::Replace | Existing::ReplaceTarget => fs::rename(from, to),
        })
    }

    fn sync(&mut self, path: &Path) -> io::Result<()> {
        sync_folder(path)
    }
}

fn commit(files: Vec<StagedFile>, steps: &mut impl Steps) -> Result<()> {
    // If the program is interrupted, it keeps the files until all are in place.
    let tickets = files.iter().map(|file| file.temporary.ticket());
    let committing =
        Commit::begin(tickets).map_err(|error| Error::io("put the finished files in place", error))?;
    let mut others = files.into_iter();
    let Some(mut first) = others.next() else { return Ok(()) };
    let synced = |file: &StagedFile, steps: &mut _| {
        Steps::sync(steps, &file.target).map_err(|error| file.failed("sync the folder of", error))
    };
    if others.len() == 0 {
        first.place(steps)?;
        drop(committing);
        return synced(&first, steps);
    }
    // Held until the end.
    let _lock = steps.lock(&first.target).map_err(|error| first.failed("lock the set of", error))?;
    if first.existing != Existing::Refuse {
        match steps.remove(&first.target) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(first.failed("replace", error));
            }
            // If an earlier commit was interrupted, it is gone, though perhaps not yet on disk.
            _ => synced(&first, steps)?,
        }
    }
    let mut placed = Placed(Vec::new());
    for mut file in others {
        file.place(steps)?;
        placed.0.push(file);
    }
    for (at, file) in placed.0.iter().enumerate() {
        if at == 0 || placed.0[at - 1].target.parent() != file.target.parent() {
            synced(file, steps)?;
        }
    }
    placed.check()?;
    first.place(steps)?;
    placed.0.push(first);
    // Check again: without locks, another writer may have begun in the meantime.
    placed.check()?;
    // They are in place. Nothing is undone from here on.
    let placed = std::mem::take(&mut placed.0);
    drop(committing);
    placed.last().map_or(Ok(()), |first| synced(first, steps))
}

impl StagedFile {
    fn place(&mut self, steps: &mut impl Steps) -> Result<()> {
        let existing = self.existing;
        let moved = self.temporary.rename_with(&self.target, |from, to| steps.rename(from, to, existing));
        moved.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists if existing == Existing::Refuse => Error::Output {
                output: self.shown.clone(),
                problem: OutputProblem::Exists { leads_to: None },
            },
            _ => self.failed("put the finished file at", error),
        })
    }

    /// Returns `true` if the file at its target is this one. On systems without file numbers, returns `true` if any
    /// file exists there.
    fn is_in_place(&self) -> bool {
        if !cfg!(unix) {
            return self.target.exists();
        }
        fs::symlink_metadata(&self.target).is_ok_and(|metadata| FileId::of(&metadata) == self.id)
    }
}

/// Files that have been moved into place, and are removed again if this is dropped.
struct Placed(Vec<StagedFile>);

impl Placed {
    /// Returns an error if another writer has changed the set.
    fn check(&self) -> Result<()> {
        let Some(other) = self.0.iter().find(|file| !file.is_in_place()) else { return Ok(()) };
        let message =
            "another program replaced or removed it before all files of the set were in their places";
        Err(other.failed("put the finished file at", io::Error::other(message)))
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        // The file that readers open first is removed first. Files that now belong to another writer stay.
        for file in self.0.iter().rev().filter(|file| file.is_in_place()) {
            // There is no one to report an error to.
            let _ = uninterrupted(|| fs::remove_file(&file.target));
        }
    }
}

/// Makes the rename itself survive a crash.
#[cfg(unix)]
pub(crate) fn sync_folder(target: &Path) -> io::Result<()> {
    let Some(folder) = target.parent() else { return Ok(()) };
    unless_impossible(fs::File::open(folder).and_then(|folder| folder.sync_all()))
}

/// Some network file systems cannot sync a folder, and need not. A folder that is writable but not readable cannot be
/// opened. The file is in place by then, so neither is an error.
#[cfg(unix)]
fn unless_impossible(synced: io::Result<()>) -> io::Result<()> {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    match synced {
        Err(error) if matches!(error.kind(), InvalidInput | PermissionDenied | Unsupported) => Ok(()),
        synced => synced,
    }
}

/// Other systems do not allow a folder to be synced.
#[cfg(not(unix))]
pub(crate) fn sync_folder(_target: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests;
