//! [`StagedFile`]: whole files that are moved to their places together.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::temporary::Temporary;
use crate::error::{Error, OutputProblem, Result};
use crate::file::{Commit, Existing};

/// A file that is whole and on the disk, under its temporary name: what
/// [`DataWriter::stage`](crate::DataWriter::stage) gives. It waits to be moved to its place with others, and is removed
/// when it is dropped.
///
/// ```no_run
/// use gguf_codec::{GgmlType, StagedFile, Writer};
/// let mut staged = Vec::new();
/// for no in 0..2 {
///     let mut writer = Writer::create(format!("model-{:05}-of-00002.gguf", no + 1))?;
///     writer.shard(no, 2, 2)?.tensor(&format!("t{no}"), &[1], GgmlType::I8)?;
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
    target: PathBuf,
    existing: Existing,
    shown: PathBuf,
    lock: Option<StagedLock>,
}

/// One of the few staged files that stay open for their locks.
///
/// A set may have more files than a process may have open. Those beyond these are without a lock while they wait, so that
/// another program that writes the same set at the same time may take them for leftovers; then this one fails.
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
    pub(super) fn new(temporary: Temporary, target: PathBuf, existing: Existing, shown: PathBuf) -> Self {
        let mut staged = StagedFile { temporary, target, existing, shown, lock: StagedLock::take() };
        if staged.lock.is_none() {
            staged.temporary.held = None;
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
    /// new cannot be opened.
    ///
    /// A crash between two renames leaves no first file, and so nothing that opens: the old set is gone, and of the new one
    /// some files are in their places and the others, whole as well, under their temporary names. There they stay until the next
    /// file is made for the same target, which takes them for leftovers. One file alone is replaced in one step.
    ///
    /// # Errors
    /// [`Error::Io`] where a file cannot be put at its place, and [`Error::Output`] where something exists there that may not be
    /// replaced. Those that were put there before are removed again, the others
    /// are removed as on a drop, and what was replaced is gone. An error at syncing the folder comes after all are in their
    /// places, where they stay.
    pub fn commit_all(files: impl IntoIterator<Item = StagedFile>) -> Result<()> {
        let files: Vec<StagedFile> = files.into_iter().collect();
        let tickets = files.iter().map(|file| file.temporary.ticket());
        let commit =
            Commit::begin(tickets).map_err(|error| Error::io("put the finished files in place", error))?;
        let mut files = files.into_iter();
        let Some(first) = files.next() else { return Ok(()) };
        let mut placed = Placed(Vec::new());
        let mut others = files.peekable();
        if others.peek().is_some() && first.existing != Existing::Refuse {
            match fs::remove_file(&first.target) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::io(format!("replace '{}'", first.shown.display()), error));
                }
                _ => {}
            }
        }
        for file in others.chain([first]) {
            let failed = |what: &str, error| Error::io(format!("{what} '{}'", file.shown.display()), error);
            let moved = file.temporary.rename_to(&file.target, file.existing);
            moved.map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => Error::Output {
                    output: file.shown.clone(),
                    problem: OutputProblem::Exists { leads_to: None },
                },
                _ => failed("put the finished file at", error),
            })?;
            placed.0.push((file.target, file.shown));
        }
        // They are in their places: nothing is taken back from here on.
        let placed = std::mem::take(&mut placed.0);
        drop(commit);
        let mut synced = None;
        for (target, shown) in &placed {
            if synced != Some(target.parent()) {
                let failed = |error| Error::io(format!("sync the folder of '{}'", shown.display()), error);
                sync_folder(target).map_err(failed)?;
                synced = Some(target.parent());
            }
        }
        Ok(())
    }
}

/// Files that were put in their places, and are removed there when this is dropped.
struct Placed(Vec<(PathBuf, PathBuf)>);

impl Drop for Placed {
    fn drop(&mut self) {
        for (target, _) in &self.0 {
            // Nobody is left to tell.
            let _ = fs::remove_file(target);
        }
    }
}

/// Makes the rename itself survive a crash.
#[cfg(unix)]
pub(crate) fn sync_folder(target: &Path) -> io::Result<()> {
    let Some(folder) = target.parent() else { return Ok(()) };
    unless_impossible(File::open(folder).and_then(|folder| folder.sync_all()))
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
mod tests {
    use super::*;
    use crate::AtomicFile;

    #[test]
    #[cfg(unix)]
    fn only_folders_that_could_be_synced_and_were_not_are_failures() {
        let failed = |kind: io::ErrorKind| unless_impossible(Err(kind.into()));
        failed(io::ErrorKind::PermissionDenied).unwrap();
        failed(io::ErrorKind::Unsupported).unwrap();
        failed(io::ErrorKind::InvalidInput).unwrap();
        failed(io::ErrorKind::StorageFull).unwrap_err();
        sync_folder(Path::new("/no such folder/file")).unwrap_err();
    }

    #[test]
    #[cfg(not(target_family = "wasm"))]
    fn few_of_many_staged_files_stay_open() {
        let folder = tempfile::tempdir().unwrap();
        // More than there are, twice, so that the first must have given back what they held.
        for round in 0..2 {
            let stage = |n| {
                AtomicFile::create(&folder.path().join(format!("{round}-{n}")), Existing::Refuse)
                    .unwrap()
                    .stage()
            };
            let staged: Vec<_> = (0..StagedLock::MOST + 20).map(|n| stage(n).unwrap()).collect();
            let held = staged.iter().filter(|staged| staged.temporary.held.is_some()).count();
            // Other tests may hold some.
            assert!((StagedLock::MOST - 40..=StagedLock::MOST).contains(&held), "{held}");
        }
    }
}
