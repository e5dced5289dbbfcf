//! [`AtomicFile`]: a file that appears whole or not at all; and [`StagedFile`], several of them.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::kernel_copy;
use super::read_at::ReadAt;
use super::stale;
use super::writer::{Sealed, Sink, put_through_memory};
use crate::error::{Error, Result};

/// Small writes are gathered to this many bytes.
const BUFFER_BYTES: usize = 64 * 1024;

/// How many symbolic links may lead to the target, as Linux counts.
const MAX_LINKS: usize = 40;

/// The file that [`Writer::create`](crate::Writer::create) makes: written beside its target under a temporary
/// name, and moved there when it is whole.
///
/// Until then, and for ever after a drop, an error or a crash, the target stays as it was. A drop or an error
/// also removes the temporary file; only a crash leaves it, as `.NAME.PID-N.tmp`, and the next file made for the same
/// target removes what crashes left. Those that are still being written are locked, and stay; so does everything on a file
/// system that knows no locks.
#[derive(Debug)]
pub struct AtomicFile {
    // Before `temporary`, so that the file is closed when its name is removed.
    file: BufWriter<File>,
    temporary: Temporary,
    target: PathBuf,
    /// The target as the caller wrote it, for messages.
    shown: PathBuf,
}

impl AtomicFile {
    pub(crate) fn create(path: &Path) -> Result<Self> {
        Self::create_like(path, None)
    }

    /// With the permissions of another file, where there is none at `path` to hand on its own.
    pub(super) fn create_like(path: &Path, other: Option<Metadata>) -> Result<Self> {
        let failed = |error| Error::io(format!("create '{}'", path.display()), error);
        let target = follow_links(path).map_err(failed)?;
        if names_folder(path) || names_folder(&target) {
            let message = "a path that ends like this can only be a folder's";
            return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, message)));
        }
        let replaced = match fs::metadata(&target) {
            Ok(metadata) if metadata.is_file() => Some(metadata),
            Ok(_) => {
                let message = "there is something that is not a regular file; to write into a device or a pipe, \
                               open it and give it to Writer::new";
                return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, message)));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => other,
            Err(error) => return Err(failed(error)),
        };
        stale::remove(&target);
        let (file, temporary) = Temporary::create_beside(&target, replaced.as_ref()).map_err(failed)?;
        let file = BufWriter::with_capacity(BUFFER_BYTES, file);
        Ok(AtomicFile { file, temporary, target, shown: path.to_owned() })
    }
}

impl AtomicFile {
    /// Syncs before any rename: the other way round, a crash can leave the name pointing at an empty file.
    pub(super) fn stage(self) -> Result<StagedFile> {
        let AtomicFile { file, temporary, target, shown } = self;
        let failed = |what: &str, error| Error::io(format!("{what} '{}'", shown.display()), error);
        let file = file.into_inner().map_err(|error| failed("write", error.into_error()))?;
        file.sync_all().map_err(|error| failed("sync", error))?;
        drop(file);
        let mut staged = StagedFile { temporary, target, shown, lock: StagedLock::take() };
        if staged.lock.is_none() {
            staged.temporary.held = None;
        }
        Ok(staged)
    }
}

impl Sealed for AtomicFile {}

impl Sink for AtomicFile {
    type Output = ();

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    fn put_from(&mut self, source: &dyn ReadAt, offset: u64, len: u64) -> io::Result<()> {
        match source.as_file().and_then(kernel_copy::reopen) {
            Some(source) => {
                self.file.flush()?;
                kernel_copy::copy(source, offset, self.file.get_mut(), len)
            }
            None => put_through_memory(self, source, offset, len),
        }
    }

    fn leaves_files_to_the_kernel(&self) -> bool {
        kernel_copy::IS_THERE
    }

    fn action(&self) -> String {
        format!("write '{}'", self.shown.display())
    }

    fn complete(self) -> Result<()> {
        StagedFile::commit_all([self.stage()?])
    }
}

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
    /// A crash between two renames leaves no first file, and the new ones partly under their temporary names; the data is
    /// all there. One file alone is replaced in one step.
    ///
    /// # Errors
    /// [`Error::Io`] where a file cannot be put at its place. Those that were put there before are removed again, the others
    /// are removed as on a drop, and what was replaced is gone.
    pub fn commit_all(files: impl IntoIterator<Item = StagedFile>) -> Result<()> {
        let mut files = files.into_iter();
        let Some(first) = files.next() else { return Ok(()) };
        let mut placed = Placed(Vec::new());
        let mut others = files.peekable();
        if others.peek().is_some() {
            match fs::remove_file(&first.target) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::io(format!("replace '{}'", first.shown.display()), error));
                }
                _ => {}
            }
        }
        for file in others.chain([first]) {
            let failed = |what: &str, error| Error::io(format!("{what} '{}'", file.shown.display()), error);
            let moved = file.temporary.rename_to(&file.target);
            moved.map_err(|error| failed("put the finished file at", error))?;
            placed.0.push((file.target, file.shown));
        }
        // They are in their places: nothing is taken back from here on.
        let placed = std::mem::take(&mut placed.0);
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

impl AtomicFile {
    /// Writes a file of any kind in one go, as [`Writer`](crate::Writer) writes models: until all its bytes are on disk,
    /// and after any error, what is at `path` stays as it was.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
        let mut file = AtomicFile::create(path.as_ref())?;
        file.put(bytes).map_err(|error| Error::io(file.action(), error))?;
        file.complete()
    }
}

/// A file that is removed when this is dropped.
#[derive(Debug)]
struct Temporary {
    path: PathBuf,
    renamed: bool,
    /// Keeps the lock that says that the file has an owner, until it has its own name or none.
    held: Option<File>,
}

impl Temporary {
    /// Makes a file in `target`'s folder, since a rename is atomic only within one file system, with the
    /// permissions of the file it will replace.
    fn create_beside(target: &Path, replaced: Option<&Metadata>) -> io::Result<(File, Self)> {
        /// Distinguishes the files of one process.
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let name = target.file_name().ok_or(io::ErrorKind::IsADirectory)?;
        loop {
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            let path = target.with_file_name(temporary_name(&name.to_string_lossy(), number));
            let mut options = OpenOptions::new();
            options.write(true).create_new(true);
            restrict(&mut options, replaced);
            match options.open(&path) {
                Ok(file) => {
                    let mut temporary = Temporary { path, renamed: false, held: None };
                    if !stale::hold(&file, &temporary.path) {
                        // It is not ours any more, and its name may be another's.
                        temporary.renamed = true;
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
    }

    fn rename_to(mut self, target: &Path) -> io::Result<()> {
        fs::rename(&self.path, target)?;
        self.renamed = true;
        drop(self.held.take());
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

/// `.NAME.PID-N.tmp`, with NAME cut so that the whole stays within the 255 bytes that file systems allow.
fn temporary_name(name: &str, number: u64) -> OsString {
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

/// Whether the path ends with a separator or with `.`: the system takes such a name for folders alone, but
/// [`Path::file_name`] does not see the difference.
fn names_folder(path: &Path) -> bool {
    let bytes = path.as_os_str().as_encoded_bytes();
    let last = bytes.rsplit(|&byte| std::path::is_separator(char::from(byte))).next();
    matches!(last, Some(b"" | b"."))
}

/// The absolute path of the file that `path` stands for, which need not exist. Absolute, so that the target
/// does not move with the current directory.
pub(super) fn follow_links(path: &Path) -> io::Result<PathBuf> {
    let mut target = std::path::absolute(path)?;
    for _ in 0..MAX_LINKS {
        match fs::read_link(&target) {
            // Joining replaces the whole where the link is absolute.
            Ok(link) => target = target.parent().unwrap_or(Path::new("")).join(link),
            // Not a link, or nothing there: what is wrong with it, if anything, shows when it is used.
            Err(_) => return Ok(target),
        }
    }
    Err(io::Error::other("too many symbolic links"))
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

/// Makes the rename itself survive a crash.
#[cfg(unix)]
pub(super) fn sync_folder(target: &Path) -> io::Result<()> {
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
pub(super) fn sync_folder(_target: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn few_of_many_staged_files_stay_open() {
        let folder = tempfile::tempdir().unwrap();
        // More than there are, twice, so that the first must have given back what they held.
        for round in 0..2 {
            let stage = |n| AtomicFile::create(&folder.path().join(format!("{round}-{n}"))).unwrap().stage();
            let staged: Vec<_> = (0..StagedLock::MOST + 20).map(|n| stage(n).unwrap()).collect();
            let held = staged.iter().filter(|staged| staged.temporary.held.is_some()).count();
            // Other tests may hold some.
            assert!((StagedLock::MOST - 40..=StagedLock::MOST).contains(&held), "{held}");
        }
    }

    #[test]
    #[cfg(not(target_family = "wasm"))]
    fn errors_of_writing_name_the_target() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        let file = AtomicFile::create(&path).unwrap();
        assert_eq!(file.action(), format!("write '{}'", path.display()));
    }

    #[test]
    fn temporary_names_are_cut_at_a_character() {
        assert!(temporary_name("model.gguf", 3).to_string_lossy().starts_with(".model.gguf."));
        let long = temporary_name(&format!("a{}", "é".repeat(150)), u64::MAX);
        assert!(long.len() <= 255 && long.to_string_lossy().contains("éé."), "{long:?}");
    }
}
