//! [`Temporary`]: a file beside its target, under a name of its own.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::names::{next_number, temporary_name};
use super::stale::{self, InFolder};
use crate::file::unfinished::Ticket;

/// A cleaner may intervene between creating a file and locking it, but hardly twice. If a faulty file system gives a
/// file two identities, each attempt leaves one behind.
const MOST_LOST: u32 = 16;

/// A file that is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Temporary {
    path: PathBuf,
    renamed: bool,
    /// Allows the file to be removed if the process ends before this is dropped.
    ticket: Ticket,
    /// Keeps the lock that shows that the file has an owner, until it is renamed or removed.
    pub(super) held: Option<File>,
    folder: InFolder,
}

impl Temporary {
    /// Creates a file in `target`'s folder, since a rename is atomic only within one file system, with the
    /// permissions of the file that it will replace.
    pub(super) fn create_beside(target: &Path, replaced: Option<&Metadata>) -> io::Result<(File, Self)> {
        Self::create_where(target, replaced, stale::hold)
    }

    /// The same, with a function that locks a newly created file and returns whether it still exists.
    fn create_where(
        target: &Path,
        replaced: Option<&Metadata>,
        hold: impl Fn(&File, &Path) -> bool,
    ) -> io::Result<(File, Self)> {
        let name = target.file_name().ok_or(io::ErrorKind::IsADirectory)?;
        let parent = target.parent().ok_or(io::ErrorKind::IsADirectory)?;
        let folder = InFolder::enter(parent);
        folder.clean(target);
        let mut lost = 0;
        while lost < MOST_LOST {
            let path = target.with_file_name(temporary_name(name, next_number()));
            let mut options = OpenOptions::new();
            options.write(true).create_new(true);
            restrict(&mut options, replaced);
            match crate::file::create(path.clone(), false, |path| options.open(path)) {
                Ok((file, ticket)) => {
                    if !hold(&file, &path) {
                        // It no longer belongs to this process, and its name may be that of another file.
                        lost += 1;
                        continue;
                    }
                    let mut temporary = Temporary { path, renamed: false, ticket, held: None, folder };
                    temporary.held = Some(file.try_clone()?);
                    keep_permissions(&file, replaced)?;
                    return Ok((file, temporary));
                }
                // Left by a crashed process with the same id, or created by one in another namespace.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            }
        }
        let message = "each temporary file is lost as soon as it is made: another program takes them away, or the file \
                       system tells an open file from the one that its name stands for";
        Err(io::Error::other(message))
    }

    /// Returns the ticket for beginning a commit.
    pub(super) fn ticket(&self) -> &Ticket {
        &self.ticket
    }

    /// Moves the file to its final path with `rename`.
    pub(super) fn rename_with(
        &mut self,
        target: &Path,
        rename: impl FnOnce(&Path, &Path) -> io::Result<()>,
    ) -> io::Result<()> {
        rename(&self.path, target)?;
        self.renamed = true;
        if let Some(file) = self.held.take() {
            // Closing it would suffice, except that a child process that another thread starts has it open too for a moment.
            // The file would then be locked under its new name.
            let _ = file.unlock();
        }
        Ok(())
    }

    /// Keeps the file but closes it. A witness shows that it has an owner.
    pub(super) fn let_go(&mut self) {
        // In this order, so that no cleaner can intervene.
        self.folder.witness();
        self.held = None;
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.renamed {
            // There is no one to report an error to.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Creates the file with no more permissions than the one it replaces. If they were set later, others could open a
/// private model for a moment.
#[cfg(unix)]
fn restrict(options: &mut OpenOptions, replaced: Option<&Metadata>) {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    if let Some(metadata) = replaced {
        options.mode(metadata.permissions().mode() & 0o777);
    }
}

/// Restores the permissions that the process's umask removed: those of the owner, the group and others. The set-user-ID
/// and set-group-ID bits are not copied, since the new file may have another owner.
#[cfg(unix)]
fn keep_permissions(file: &File, replaced: Option<&Metadata>) -> io::Result<()> {
    keep_permissions_with(file, replaced, |file, permissions| file.set_permissions(permissions))
}

/// Some file systems have no permissions to set. The file is acceptable there unless it grants others more than the
/// previous one did.
#[cfg(unix)]
fn keep_permissions_with(
    file: &File,
    replaced: Option<&Metadata>,
    set: impl FnOnce(&File, fs::Permissions) -> io::Result<()>,
) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let Some(replaced) = replaced else { return Ok(()) };
    let wanted = replaced.permissions().mode() & 0o777;
    set(file, fs::Permissions::from_mode(wanted)).or_else(|error| {
        let found = file.metadata()?.permissions().mode() & 0o777;
        if found & !wanted == 0 { Ok(()) } else { Err(error) }
    })
}

#[cfg(not(unix))]
fn restrict(_options: &mut OpenOptions, _replaced: Option<&Metadata>) {}

#[cfg(not(unix))]
fn keep_permissions(_file: &File, _replaced: Option<&Metadata>) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn a_file_is_never_open_to_more_than_the_one_it_replaces() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let old = File::create(folder.path().join("old")).unwrap();
        for permissions in [0o600, 0o640, 0o400, 0o700] {
            old.set_permissions(fs::Permissions::from_mode(permissions)).unwrap();
            let mut options = OpenOptions::new();
            options.write(true).create_new(true);
            restrict(&mut options, Some(&old.metadata().unwrap()));
            // The state at creation, before its permissions are set.
            let new = options.open(folder.path().join(format!("{permissions:o}"))).unwrap();
            let mode = new.metadata().unwrap().permissions().mode() & 0o7777;
            assert_eq!(mode & !permissions, 0, "{mode:o} for {permissions:o}");
        }
    }

    #[test]
    #[cfg(not(target_family = "wasm"))]
    fn names_that_are_taken_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("model.gguf");
        let (_, first) = Temporary::create_beside(&target, None).unwrap();
        let name = first.path.file_name().unwrap().to_string_lossy();
        let number: u64 = name.strip_suffix(".tmp").unwrap().rsplit('-').next().unwrap().parse().unwrap();
        // Other tests may take numbers in the meantime, but not so many.
        let taken: Vec<_> = (1..500)
            .map(|n| target.with_file_name(temporary_name("model.gguf".as_ref(), number + n)))
            .collect();
        taken.iter().for_each(|path| fs::write(path, "another's").unwrap());
        let (_, second) = Temporary::create_beside(&target, None).unwrap();
        assert!(second.path != first.path && !taken.contains(&second.path));
        drop(second);
        assert!(taken.iter().all(|path| fs::read(path).unwrap() == b"another's"));
    }

    #[test]
    #[cfg(not(target_family = "wasm"))]
    fn files_that_are_lost_each_time_are_an_error_and_do_not_fill_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("model.gguf");
        let error = Temporary::create_where(&target, None, |_, _| false).unwrap_err().to_string();
        assert!(error.contains("lost as soon as it is made"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), MOST_LOST as usize);
        // As often as cleaners may intervene, and once more.
        let tries = std::cell::Cell::new(0);
        let held = |_: &File, _: &Path| {
            tries.set(tries.get() + 1);
            tries.get() == MOST_LOST
        };
        Temporary::create_where(&target, None, held).unwrap();
        assert_eq!(tries.get(), MOST_LOST);
    }

    #[test]
    #[cfg(unix)]
    fn bits_of_privilege_are_not_handed_on() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("model.gguf");
        fs::write(&target, "old").unwrap();
        fs::set_permissions(&target, fs::Permissions::from_mode(0o7751)).unwrap();
        let (file, _temporary) =
            Temporary::create_beside(&target, Some(&fs::metadata(&target).unwrap())).unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o7777, 0o751);
    }

    #[test]
    #[cfg(unix)]
    fn where_permissions_cannot_be_set_no_more_may_be_allowed() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old"), File::create(folder.path().join("new")).unwrap());
        fs::write(&old, "old").unwrap();
        let refuse = |_: &File, _| Err(io::ErrorKind::PermissionDenied.into());
        for (was, is, good) in [(0o644, 0o644, true), (0o644, 0o600, true), (0o600, 0o644, false)] {
            fs::set_permissions(&old, fs::Permissions::from_mode(was)).unwrap();
            new.set_permissions(fs::Permissions::from_mode(is)).unwrap();
            let kept = keep_permissions_with(&new, Some(&fs::metadata(&old).unwrap()), refuse);
            assert_eq!(kept.is_ok(), good, "{was:o} {is:o}");
        }
    }
}
