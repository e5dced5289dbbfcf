//! [`OutputFolder`]: a folder that appears complete or not at all.

use std::fs::{self, DirBuilder, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use super::names::{next_number, temporary_name};
use super::staged::sync_folder;
use super::stale;
use crate::error::{Error, OutputProblem, Result};
use crate::file::output::{Existing, FolderTarget};
use crate::file::unfinished::{Commit, Ticket};

/// A cleaner may intervene between creating a folder and locking it, but hardly twice.
const MOST_LOST: u32 = 16;

/// A folder that is created beside its target under a temporary name, and moved there when it is complete.
///
/// Until then the target does not exist, or is the empty folder that was there before, whose permissions and owner the new one
/// gets. Dropping this removes the temporary folder with all its contents. Only a crash leaves it, as `.NAME.PID-N.tmp`, and the
/// next folder created for the same target removes what crashes left, unless the file system has no locks.
///
/// ```
/// use gguf_codec::{AtomicFile, Existing, OutputFolder};
///
/// # let folder = std::env::temp_dir().join(format!("gguf-codec-doc-folder-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// let target = folder.join("model");
/// let output = OutputFolder::create(&target, Existing::Refuse)?;
/// AtomicFile::write(output.path().join("config.json"), b"{}")?;
/// assert!(!target.exists());
/// output.finish()?;
/// assert_eq!(std::fs::read(target.join("config.json"))?, b"{}");
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "the folder is removed unless it is finished"]
pub struct OutputFolder {
    path: PathBuf,
    target: PathBuf,
    existing: Existing,
    /// The target as the caller wrote it, for messages.
    shown: PathBuf,
    finished: bool,
    ticket: Ticket,
    /// Locked while the process lives, so that no other process takes the folder for a leftover.
    held: Option<File>,
}

impl OutputFolder {
    /// Creates a temporary folder for `target`, which must not exist or must be an empty folder.
    ///
    /// A symbolic link at `target` is an error, wherever it leads. With [`Existing::Replace`] the finished folder replaces
    /// the link, and the link's target stays. A folder that is not empty is never replaced.
    ///
    /// # Errors
    /// [`Error::Output`] if something exists at `target`, or its parent is not a folder. [`Error::Io`] for other errors,
    /// including an empty folder whose owner cannot be kept, or on which a file system is mounted.
    pub fn create(target: impl AsRef<Path>, existing: Existing) -> Result<Self> {
        let shown = target.as_ref();
        let FolderTarget { path: target, replaced } = FolderTarget::new(shown, existing)?;
        let failed = |error| Error::io(format!("create a folder beside '{}'", shown.display()), error);
        let name = target.file_name().unwrap_or_default().to_owned();
        stale::remove_folders(&target);
        let mut lost = 0;
        while lost < MOST_LOST {
            let path = target.with_file_name(temporary_name(&name, next_number()));
            let mut builder = DirBuilder::new();
            restrict(&mut builder, replaced.as_ref());
            let ticket = match crate::file::create(path.clone(), true, |path| builder.create(path)) {
                Ok(((), ticket)) => ticket,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(failed(error)),
            };
            let held = File::open(&path).ok().filter(|folder| stale::hold(folder, &path));
            // Before it was locked, another process may have taken it for a leftover.
            if !path.is_dir() {
                lost += 1;
                continue;
            }
            let shown = shown.to_owned();
            let folder = OutputFolder { path, target, existing, shown, finished: false, ticket, held };
            keep_owner(&folder.path, replaced.as_ref()).map_err(|error| {
                Error::io(format!("keep the owner and permissions of '{}'", folder.shown.display()), error)
            })?;
            return Ok(folder);
        }
        Err(failed(io::Error::other("each temporary folder is lost as soon as it is made")))
    }

    /// Returns the folder's path until it is finished.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Moves the folder to its final path, in one step.
    ///
    /// # Errors
    /// [`Error::Output`] if a nonempty folder or a file has appeared there in the meantime, which then stays. [`Error::Io`] if
    /// the folder cannot be moved for another reason. Only an error in syncing the parent occurs after the folder is in place.
    pub fn finish(mut self) -> Result<()> {
        let failed =
            |what: &str, shown: &Path, error| Error::io(format!("{what} '{}'", shown.display()), error);
        let commit = Commit::begin([&self.ticket]);
        let commit = commit.map_err(|error| failed("put the finished folder at", &self.shown, error))?;
        let is_link = || fs::symlink_metadata(&self.target).is_ok_and(|metadata| metadata.is_symlink());
        if self.existing == Existing::Replace && is_link() {
            let removed = fs::remove_file(&self.target);
            removed.map_err(|error| failed("replace", &self.shown, error))?;
        }
        // This replaces an empty folder, and nothing else.
        fs::rename(&self.path, &self.target).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty => {
                Error::Output { output: self.shown.clone(), problem: OutputProblem::NotEmpty }
            }
            io::ErrorKind::NotADirectory => {
                Error::Output { output: self.shown.clone(), problem: OutputProblem::NotFolder }
            }
            _ => failed("put the finished folder at", &self.shown, error),
        })?;
        self.finished = true;
        drop(commit);
        drop(self.held.take());
        sync_folder(&self.target).map_err(|error| failed("sync the folder of", &self.shown, error))
    }
}

impl Drop for OutputFolder {
    fn drop(&mut self) {
        if !self.finished {
            // There is no one to report an error to.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Creates the folder with no more permissions than the one it replaces.
#[cfg(unix)]
fn restrict(builder: &mut DirBuilder, replaced: Option<&Metadata>) {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    if let Some(metadata) = replaced {
        // Its owner must be able to write into it.
        builder.mode(metadata.permissions().mode() & 0o777 | 0o700);
    }
}

#[cfg(not(unix))]
fn restrict(_builder: &mut DirBuilder, _replaced: Option<&Metadata>) {}

/// Gives the folder the owner, group and mode of the one it replaces, if they differ.
#[cfg(unix)]
fn keep_owner(path: &Path, replaced: Option<&Metadata>) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let Some(replaced) = replaced else { return Ok(()) };
    let made = fs::metadata(path)?;
    let unless_same = |wanted: u32, found: u32| (wanted != found).then_some(wanted);
    let (owner, group) = (unless_same(replaced.uid(), made.uid()), unless_same(replaced.gid(), made.gid()));
    if owner.is_some() || group.is_some() {
        std::os::unix::fs::chown(path, owner, group)?;
    }
    let mode = replaced.permissions().mode() & 0o7777;
    if fs::metadata(path)?.permissions().mode() & 0o7777 != mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn keep_owner(_path: &Path, _replaced: Option<&Metadata>) -> io::Result<()> {
    Ok(())
}
