//! [`StagedFile`]: whole files that are moved to their places together.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::locks::SetLock;
use super::temporary::Temporary;
use crate::error::{Error, OutputProblem, Result};
use crate::file::identity::{FileId, uninterrupted};
use crate::file::{Commit, Existing, put_new};

/// A file that is whole and on the disk, under its temporary name: what
/// [`DataWriter::stage`](crate::DataWriter::stage) gives. It waits to be moved to its place with others, and is removed
/// when it is dropped.
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

/// One of the few staged files that stay open for their locks.
///
/// A set may have more files than a process may have open. For those beyond these a witness says that they have an owner.
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
    /// Of a file that is synced.
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

    /// Moves the file to its place, in one step.
    ///
    /// # Errors
    /// As [`commit_all`](Self::commit_all).
    pub fn commit(self) -> Result<()> {
        Self::commit_all([self])
    }

    /// Moves the files of a set to their places. The first is the one that readers begin with, such as a model's first
    /// shard: it comes last, and an old one is removed before the others come, so that a set that is partly old and partly
    /// new cannot be opened. Each of these three steps is on the disk before the next begins.
    ///
    /// One writer of a set does so at a time: others wait, and the set is that of the last. The lock is a file beside the
    /// first, `.NAME.gguf-codec.lock`, and goes with its writer. On a file system without locks, a writer that finds another's
    /// file in the place of its own fails, so that the set is that of one, or of none.
    ///
    /// A crash between two renames leaves no first file, and so nothing that opens: the old set is gone, and of the new one
    /// some files are in their places and the others, whole as well, under their temporary names. There they stay until the next
    /// file is made for the same target, which takes them for leftovers. One file alone is replaced in one step.
    ///
    /// # Errors
    /// [`Error::Io`] where a file cannot be put at its place, or synced there, and [`Error::Output`] where something exists there
    /// that may not be replaced. Those that were put there before are removed
    /// again, the others are removed as on a drop, and what was replaced is gone. Only an error at syncing the folder of the
    /// first comes after all are in their places, where they stay.
    pub fn commit_all(files: impl IntoIterator<Item = StagedFile>) -> Result<()> {
        commit(files.into_iter().collect(), &mut FileSystem)
    }

    fn failed(&self, what: &str, error: io::Error) -> Error {
        Error::io(format!("{what} '{}'", self.shown.display()), error)
    }
}

/// The steps of a commit. Tests put one in the place of the file system that fails, or ends the process, at any of them.
trait Steps {
    fn lock(&mut self, first: &Path) -> io::Result<Option<SetLock>>;
    fn remove(&mut self, path: &Path) -> io::Result<()>;
    /// Fails with `AlreadyExists` where something has the name and may not be replaced.
    fn rename(&mut self, from: &Path, to: &Path, existing: Existing) -> io::Result<()>;
    /// What was renamed and removed beside `path` outlasts a crash when this returns.
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
    // Until all are in their places, a program that is interrupted leaves them.
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
    // Held to the end.
    let _lock = steps.lock(&first.target).map_err(|error| first.failed("lock the set of", error))?;
    if first.existing != Existing::Refuse {
        match steps.remove(&first.target) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(first.failed("replace", error));
            }
            // Where an earlier commit was cut off it is gone, though perhaps not yet on the disk.
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
    // Once more: without locks, another may have begun since.
    placed.check()?;
    // They are in their places: nothing is taken back from here on.
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

    /// Whether the file is the one at its target. Where the system does not give files numbers, whether there is one.
    fn is_in_place(&self) -> bool {
        if !cfg!(unix) {
            return self.target.exists();
        }
        fs::symlink_metadata(&self.target).is_ok_and(|metadata| FileId::of(&metadata) == self.id)
    }
}

/// Files that were put in their places, and are removed there when this is dropped.
struct Placed(Vec<StagedFile>);

impl Placed {
    /// Refuses where another writer has been at the set.
    fn check(&self) -> Result<()> {
        let Some(other) = self.0.iter().find(|file| !file.is_in_place()) else { return Ok(()) };
        let message =
            "another program replaced or removed it before all files of the set were in their places";
        Err(other.failed("put the finished file at", io::Error::other(message)))
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        // The one that readers begin with goes first. What is another's by now stays.
        for file in self.0.iter().rev().filter(|file| file.is_in_place()) {
            // Nobody is left to tell.
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

/// Some network file systems cannot sync a folder, and need not; and a folder that may be written to and not be
/// read cannot be opened. The file is in its place by then, so neither is a failure.
#[cfg(unix)]
fn unless_impossible(synced: io::Result<()>) -> io::Result<()> {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    match synced {
        Err(error) if matches!(error.kind(), InvalidInput | PermissionDenied | Unsupported) => Ok(()),
        synced => synced,
    }
}

/// Other systems do not let a folder be synced.
#[cfg(not(unix))]
pub(crate) fn sync_folder(_target: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests;
