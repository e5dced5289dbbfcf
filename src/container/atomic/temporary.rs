//! [`Temporary`]: a file beside its target, under a name of its own.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::stale;
use crate::file::{Existing, Ticket, put_new};

/// Cleaners may come between a file and its lock, but hardly twice. Where it is the file system that gives a file two
/// identities, each try leaves one behind.
const MOST_LOST: u32 = 16;

/// A file that is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Temporary {
    path: PathBuf,
    renamed: bool,
    /// Lets the file be removed where the process ends before this is dropped.
    ticket: Ticket,
    /// Keeps the lock that says that the file has an owner, until it has its own name or none.
    pub(super) held: Option<File>,
}

impl Temporary {
    /// Makes a file in `target`'s folder, since a rename is atomic only within one file system, with the
    /// permissions of the file it will replace.
    pub(super) fn create_beside(target: &Path, replaced: Option<&Metadata>) -> io::Result<(File, Self)> {
        Self::create_where(target, replaced, stale::hold)
    }

    /// With the step that locks a file that was just made and says whether it is still there.
    fn create_where(
        target: &Path,
        replaced: Option<&Metadata>,
        hold: impl Fn(&File, &Path) -> bool,
    ) -> io::Result<(File, Self)> {
        let name = target.file_name().ok_or(io::ErrorKind::IsADirectory)?;
        let mut lost = 0;
        while lost < MOST_LOST {
            let path = target.with_file_name(temporary_name(&name.to_string_lossy(), next_number()));
            let mut options = OpenOptions::new();
            options.write(true).create_new(true);
            restrict(&mut options, replaced);
            match crate::file::create(path.clone(), false, |path| options.open(path)) {
                Ok((file, ticket)) => {
                    let mut temporary = Temporary { path, renamed: false, ticket, held: None };
                    if !hold(&file, &temporary.path) {
                        // It is not ours any more, and its name may be another's.
                        temporary.renamed = true;
                        lost += 1;
                        continue;
                    }
                    temporary.held = Some(file.try_clone()?);
                    keep_permissions(&file, replaced)?;
                    return Ok((file, temporary));
                }
                // Left by a crashed process that had the same id, or made by one in another namespace.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            }
        }
        let message = "each temporary file is lost as soon as it is made: another program takes them away, or the file \
                       system tells an open file from the one that its name stands for";
        Err(io::Error::other(message))
    }

    /// What a commit is begun with.
    pub(super) fn ticket(&self) -> &Ticket {
        &self.ticket
    }

    /// Gives the file its own name. With [`Existing::Refuse`], the error is of the kind `AlreadyExists` where something has
    /// that name.
    pub(super) fn rename_to(mut self, target: &Path, existing: Existing) -> io::Result<()> {
        match existing {
            Existing::Refuse => put_new(&self.path, target)?,
            Existing::Replace | Existing::ReplaceTarget => fs::rename(&self.path, target)?,
        }
        self.renamed = true;
        if let Some(file) = self.held.take() {
            // Closing it would do, but for a moment a child process that another thread starts has it open as well, and then
            // the file under its new name is locked.
            let _ = file.unlock();
        }
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.renamed {
            // Nobody is left to tell.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Distinguishes the files and folders of one process.
pub(super) fn next_number() -> u64 {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    COUNTER.fetch_add(1, Ordering::Relaxed)
}

/// `.NAME.PID-N.tmp`, with NAME cut so that the whole stays within the 255 bytes that file systems allow.
pub(super) fn temporary_name(name: &str, number: u64) -> OsString {
    // WebAssembly has no processes, and asking for one's id panics. A name that is taken is only tried in vain.
    let process = if cfg!(target_family = "wasm") { 0 } else { std::process::id() };
    format!("{}{process}-{number}.tmp", temporary_start(name)).into()
}

/// How the temporary names of a target begin.
pub(super) fn temporary_start(name: &str) -> String {
    const MAX_NAME_BYTES: usize = 200;
    let end = (0..=name.len().min(MAX_NAME_BYTES)).rev().find(|&end| name.is_char_boundary(end)).unwrap_or(0);
    format!(".{}.", &name[..end])
}

/// Creates the file with no more permissions than the one it replaces: setting them later would leave a moment
/// in which others can open a private model.
#[cfg(unix)]
fn restrict(options: &mut OpenOptions, replaced: Option<&Metadata>) {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    if let Some(metadata) = replaced {
        options.mode(metadata.permissions().mode() & 0o777);
    }
}

/// Gives back the permissions that the process's umask took away.
#[cfg(unix)]
fn keep_permissions(file: &File, replaced: Option<&Metadata>) -> io::Result<()> {
    replaced.map_or(Ok(()), |metadata| file.set_permissions(metadata.permissions()))
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
            // As it is made, before its permissions are set.
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
        // Other tests may take numbers meanwhile, but not so many.
        let taken: Vec<_> =
            (1..500).map(|n| target.with_file_name(temporary_name("model.gguf", number + n))).collect();
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
        // As often as cleaners may come, and once more.
        let tries = std::cell::Cell::new(0);
        let held = |_: &File, _: &Path| {
            tries.set(tries.get() + 1);
            tries.get() == MOST_LOST
        };
        Temporary::create_where(&target, None, held).unwrap();
        assert_eq!(tries.get(), MOST_LOST);
    }

    #[test]
    fn temporary_names_are_cut_at_a_character() {
        assert!(temporary_name("model.gguf", 3).to_string_lossy().starts_with(".model.gguf."));
        let long = temporary_name(&format!("a{}", "é".repeat(150)), u64::MAX);
        assert!(long.len() <= 255 && long.to_string_lossy().contains("éé."), "{long:?}");
    }
}
