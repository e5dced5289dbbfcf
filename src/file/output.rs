//! [`Inputs`]: checks whether a file may be written. An output is never one of the inputs, and replaces an existing file only
//! with permission.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use super::identity::FileId;
use crate::error::{Error, OutputProblem, Result};

/// The maximum number of symbolic links that may lead to a file, as on Linux.
const MAX_LINKS: usize = 40;

/// What happens if a file already exists where another is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::exhaustive_enums, reason = "a caller decides among all there are")]
pub enum Existing {
    /// The file stays, and writing returns [`Error::Output`]. Nothing may exist at the path when the job begins, nor when
    /// the finished file is moved there. A symbolic link counts as existing, even if it is dangling.
    #[default]
    Refuse,
    /// The file is replaced. If the path is a symbolic link, the link is replaced and its target stays: in a cache, the
    /// target may be named after its contents.
    Replace,
    /// The file is replaced. If the path is a symbolic link, the link stays and its target is replaced or created, as
    /// by [`File::create`](std::fs::File::create).
    ReplaceTarget,
}

/// The files that a job reads, none of which it may write.
///
/// A job adds all of them while it is planned and then checks each output before opening anything for writing.
///
/// Two paths denote the same file if they lead to the same location, following symbolic links, or to the same device and
/// inode, so that hard links count as well (on Unix; elsewhere only the location is compared). A dangling link denotes the
/// file that would be created.
///
/// ```
/// use gguf_codec::{Error, Existing, Inputs, OutputProblem};
///
/// let mut inputs = Inputs::new();
/// inputs.add("examples/sample.gguf");
/// inputs.check("examples/out.gguf", Existing::Replace)?;
/// // By another name, and with permission to replace what exists.
/// let error = inputs.check("src/../examples/sample.gguf", Existing::Replace).unwrap_err();
/// assert!(matches!(error, Error::Output { problem: OutputProblem::Input { .. }, .. }));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Inputs(Vec<(PathBuf, Identity)>);

impl Inputs {
    /// Creates an empty set of files.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file. If it does not exist, no output may create it.
    pub fn add(&mut self, path: impl AsRef<Path>) -> &mut Self {
        let path = path.as_ref();
        // A file that cannot be examined cannot be read either, which is reported when it is opened.
        if let Ok(identity) = Identity::of(path) {
            self.0.push((path.to_owned(), identity));
        }
        self
    }

    /// Adds several files, such as the shards of a model.
    pub fn add_all<P: AsRef<Path>>(&mut self, paths: impl IntoIterator<Item = P>) -> &mut Self {
        for path in paths {
            self.add(path);
        }
        self
    }

    /// Checks that a file may be written at `output`: it is not an input, `existing` permits writing it, and its folder exists.
    ///
    /// # Errors
    /// [`Error::Output`] describes the obstacle. [`Error::Io`] if the path cannot be examined, is not a regular file, or
    /// ends with a path separator.
    pub fn check(&self, output: impl AsRef<Path>, existing: Existing) -> Result<()> {
        let output = output.as_ref();
        self.spare(output)?;
        let target = placed_at(output, existing).map_err(|error| creating(output, error))?;
        check_parent(output, &target)?;
        FileTarget::new(output, existing).map(|_| ())
    }

    /// Checks several outputs of one job, such as the shards of a model: each like [`check`](Self::check), and that no two
    /// are the same file.
    ///
    /// # Errors
    /// The errors of [`check`](Self::check), and [`Error::Output`] if two outputs are the same file.
    pub fn check_all<P: AsRef<Path>>(
        &self,
        outputs: impl IntoIterator<Item = P>,
        existing: Existing,
    ) -> Result<()> {
        let mut seen = std::collections::HashMap::new();
        for output in outputs {
            let output = output.as_ref();
            self.check(output, existing)?;
            let target = placed_at(output, existing).map_err(|error| creating(output, error))?;
            let place = canonical(&target).unwrap_or(target);
            if let Some(other) = seen.insert(place, output.to_owned()) {
                return Err(problem(output, OutputProblem::Same { other }));
            }
        }
        Ok(())
    }

    /// Checks that a folder may be written at `output` by [`OutputFolder`](crate::OutputFolder): it contains no input, and
    /// does not exist or is empty.
    ///
    /// # Errors
    /// [`Error::Output`] and [`Error::Io`], as for [`check`](Self::check).
    pub fn check_folder(&self, output: impl AsRef<Path>, existing: Existing) -> Result<()> {
        let output = output.as_ref();
        self.spare(output)?;
        if let Ok(folder) = fs::canonicalize(output) {
            let inside =
                |(_, identity): &&(PathBuf, Identity)| identity.file.is_some() && identity.is_in(&folder);
            if let Some((input, _)) = self.0.iter().find(inside) {
                return Err(problem(output, OutputProblem::HoldsInput { input: input.clone() }));
            }
        }
        FolderTarget::new(output, existing).map(|_| ())
    }

    /// Returns an error if the output is an input.
    fn spare(&self, output: &Path) -> Result<()> {
        let identity = Identity::of(output).map_err(|error| creating(output, error))?;
        match self.0.iter().find(|(_, input)| input.is_same(&identity)) {
            Some((input, _)) => Err(problem(output, OutputProblem::Input { input: input.clone() })),
            None => Ok(()),
        }
    }
}

/// Checks that a file may be changed in place by [`Edit::in_place`](crate::model). Changing it through a symbolic link
/// requires permission, since other links may lead to the same file, and a cache may have named it after its contents.
///
/// # Errors
/// [`Error::Output`] if `path` is a symbolic link and `existing` is [`Existing::Refuse`].
pub fn check_in_place(path: impl AsRef<Path>, existing: Existing) -> Result<()> {
    let path = path.as_ref();
    if existing == Existing::Refuse && is_link(path) {
        let target = follow_links(path).map_err(|error| Error::io(quoted("open", path), error))?;
        return Err(problem(path, OutputProblem::Exists { leads_to: Some(target) }));
    }
    Ok(())
}

/// The identity of a file. Two paths whose identities have anything in common denote the same file.
#[derive(Debug, Clone)]
struct Identity {
    /// Its location, with symbolic links resolved.
    place: Option<PathBuf>,
    /// Which file it is, if it exists and the system can tell.
    file: Option<Option<FileId>>,
}

impl Identity {
    fn of(path: &Path) -> io::Result<Self> {
        let file = fs::metadata(path).ok().map(|metadata| file_id(&metadata));
        Ok(Identity { place: canonical(&follow_links(path)?), file })
    }

    fn is_same(&self, other: &Identity) -> bool {
        let is_file =
            matches!((&self.file, &other.file), (Some(Some(ours)), Some(Some(theirs))) if ours == theirs);
        is_file || self.place.is_some() && self.place == other.place
    }

    fn is_in(&self, folder: &Path) -> bool {
        self.place.as_ref().is_some_and(|place| place.starts_with(folder))
    }
}

/// On other systems, files with equal metadata cannot be distinguished.
fn file_id(metadata: &Metadata) -> Option<FileId> {
    cfg!(unix).then(|| FileId::of(metadata))
}

/// Returns the canonical path of a file that need not exist, though its folder must.
fn canonical(path: &Path) -> Option<PathBuf> {
    fs::canonicalize(path)
        .ok()
        .or_else(|| Some(fs::canonicalize(path.parent()?).ok()?.join(path.file_name()?)))
}

/// Returns the absolute path of the file that `path` denotes, which need not exist. It is absolute so that the target
/// does not change with the current directory.
pub(crate) fn follow_links(path: &Path) -> io::Result<PathBuf> {
    let mut target = std::path::absolute(path)?;
    for _ in 0..MAX_LINKS {
        match fs::read_link(&target) {
            // Joining an absolute link replaces the whole path.
            Ok(link) => target = target.parent().unwrap_or(Path::new("")).join(link),
            // Not a link, or nothing exists there. Any problem shows when the path is used.
            Err(_) => return Ok(target),
        }
    }
    Err(io::Error::other("too many symbolic links"))
}

fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink())
}

/// Returns the path at which the new file is placed.
fn placed_at(output: &Path, existing: Existing) -> io::Result<PathBuf> {
    match existing {
        Existing::Refuse | Existing::Replace => std::path::absolute(output),
        Existing::ReplaceTarget => follow_links(output),
    }
}

/// Where a finished file is placed.
#[derive(Debug)]
pub(crate) struct FileTarget {
    pub(crate) path: PathBuf,
    /// The metadata of the file that exists there, or that a link there leads to.
    pub(crate) replaced: Option<Metadata>,
}

impl FileTarget {
    pub(crate) fn new(output: &Path, existing: Existing) -> Result<Self> {
        let failed = |error| creating(output, error);
        let leads_to = follow_links(output).map_err(failed)?;
        if names_folder(output) || names_folder(&leads_to) {
            return Err(failed(invalid("a path that ends like this can only be a folder's")));
        }
        let replaced = match fs::metadata(output) {
            Ok(metadata) if metadata.is_file() => Some(metadata),
            Ok(_) => {
                let message = "there is something that is not a regular file; to write into a device or a pipe, \
                               open it and give it to Writer::new";
                return Err(failed(invalid(message)));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        let is_link = is_link(output);
        if existing == Existing::Refuse && (replaced.is_some() || is_link) {
            return Err(problem(output, OutputProblem::Exists { leads_to: is_link.then_some(leads_to) }));
        }
        Ok(FileTarget { path: placed_at(output, existing).map_err(failed)?, replaced })
    }
}

/// Where a finished folder is placed.
#[derive(Debug)]
pub(crate) struct FolderTarget {
    pub(crate) path: PathBuf,
    /// The metadata of the empty folder that exists there.
    pub(crate) replaced: Option<Metadata>,
}

impl FolderTarget {
    pub(crate) fn new(output: &Path, existing: Existing) -> Result<Self> {
        let failed = |error| Error::io(quoted("create the folder", output), error);
        let wanted = std::path::absolute(output).map_err(failed)?;
        let Some(name) = wanted.file_name() else {
            return Err(failed(invalid("the path has no name for a folder")));
        };
        // Without a trailing separator or `.`, after which a link would be followed.
        let path = match wanted.parent() {
            Some(parent) => parent.join(name),
            None => return Err(failed(invalid("the path has no name for a folder"))),
        };
        check_parent(output, &path)?;
        let there = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(FolderTarget { path, replaced: None });
            }
            Err(error) => return Err(failed(error)),
        };
        if there.is_symlink() {
            if existing == Existing::Replace {
                return Ok(FolderTarget { path, replaced: None });
            }
            let leads_to = follow_links(&path).map_err(failed)?;
            return Err(problem(output, OutputProblem::Exists { leads_to: Some(leads_to) }));
        }
        if !there.is_dir() {
            return Err(problem(output, OutputProblem::NotFolder));
        }
        if fs::read_dir(&path).map_err(failed)?.next().is_some() {
            return Err(problem(output, OutputProblem::NotEmpty));
        }
        if is_mounted(&path, &there) {
            return Err(failed(invalid(
                "a file system is mounted there, which a finished folder cannot replace",
            )));
        }
        Ok(FolderTarget { path, replaced: Some(there) })
    }
}

#[cfg(unix)]
fn is_mounted(folder: &Path, metadata: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    let parent = folder.parent().and_then(|parent| fs::metadata(parent).ok());
    parent.is_some_and(|parent| parent.dev() != metadata.dev())
}

#[cfg(not(unix))]
fn is_mounted(_folder: &Path, _metadata: &Metadata) -> bool {
    false
}

/// Returns an error if the path's folder does not exist or is a file.
fn check_parent(output: &Path, target: &Path) -> Result<()> {
    let Some(parent) = target.parent() else { return Ok(()) };
    // A link's target is shown as it is, and all else as the caller wrote it.
    let shown = match output.parent() {
        Some(shown) if !shown.as_os_str().is_empty() && fs::symlink_metadata(output).is_err() => shown,
        _ => parent,
    };
    match fs::metadata(parent) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(problem(output, OutputProblem::ParentNotFolder { parent: shown.to_owned() })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(problem(output, OutputProblem::NoParent { parent: shown.to_owned() }))
        }
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            Err(problem(output, OutputProblem::ParentNotFolder { parent: shown.to_owned() }))
        }
        Err(error) => Err(creating(output, error)),
    }
}

/// Returns `true` if the path ends with a separator or with `.`. The system accepts such a name only for folders, but
/// [`Path::file_name`] ignores the ending.
fn names_folder(path: &Path) -> bool {
    let bytes = path.as_os_str().as_encoded_bytes();
    let last = bytes.rsplit(|&byte| std::path::is_separator(char::from(byte))).next();
    matches!(last, Some(b"" | b"."))
}

/// Renames a file unless the name is taken. If it is, the error has the kind `AlreadyExists`, and both files stay.
pub(crate) fn put_new(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => {
            // The file is complete and in place. A second name that stays is a leftover like any other.
            let _ = fs::remove_file(from);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        // The file system has no hard links. Another file may appear between the check and the rename, but that is unlikely.
        Err(_) => match fs::symlink_metadata(to) {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(_) => fs::rename(from, to),
        },
    }
}

fn problem(output: &Path, problem: OutputProblem) -> Error {
    Error::Output { output: output.to_owned(), problem }
}

fn creating(output: &Path, error: io::Error) -> Error {
    Error::io(quoted("create", output), error)
}

fn quoted(action: &str, path: &Path) -> String {
    format!("{action} '{}'", path.display())
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}
