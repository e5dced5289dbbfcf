//! [`Disk`]: the individual steps of a patch. [`Files`] implements them.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::record::{Number, Record};
use crate::error::{Error, Result};
use crate::file::atomic::sync_folder;
use crate::file::output::follow_links;
use crate::file::regular::{READ_HEADER, expect_regular, read_regular};
use crate::gguf::edit_marker;

/// A file may be replaced while it is being opened, but not this often.
const MOST_TRIES: u32 = 100;

/// A file and its undo record. Tests substitute one that fails, or ends the process, at any step.
pub(crate) trait Disk {
    /// Returns the file's length.
    fn len(&self) -> Result<u64>;
    fn read(&mut self, buffer: &mut [u8], offset: u64) -> Result<()>;
    fn write(&mut self, bytes: &[u8], offset: u64) -> Result<()>;
    /// When this returns, all writes survive a crash.
    fn sync(&mut self) -> Result<()>;
    /// Returns everything beside the file whose name is that of a record, and the number in that name.
    fn records(&mut self) -> Result<Vec<(PathBuf, Number)>>;
    /// Returns those of them that were made for a file of this one's name.
    fn own_records(&mut self) -> Vec<PathBuf>;
    fn read_record(&mut self, path: &Path) -> Result<Vec<u8>>;
    /// Creates a record. When this returns, it survives a crash. If it fails, the record is removed if possible.
    fn keep_record(&mut self, number: &Number, bytes: &[u8]) -> Result<PathBuf>;
    fn drop_record(&mut self, path: &Path) -> Result<()>;
    /// Returns the file's name, in quotes, for messages.
    fn file_name(&self) -> String;
}

/// The real implementation. As long as it lives, no other process has one for the same file.
pub(crate) struct Files {
    file: File,
    /// The file's path, with links resolved.
    target: PathBuf,
    /// The file as the caller wrote it, for messages.
    shown: PathBuf,
}

impl Files {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Self::open_where(path, is_still_at)
    }

    /// The same, with a function that checks whether a newly locked file is still the one that the path names.
    pub(super) fn open_where(
        path: &Path,
        is_still_at: impl Fn(&File, &Path) -> io::Result<bool>,
    ) -> Result<Self> {
        let failed = |what: &str, error| Error::io(format!("{what} '{}'", path.display()), error);
        for _ in 0..MOST_TRIES {
            let target = follow_links(path).map_err(|error| failed("open", error))?;
            let open = || {
                expect_regular(&target, "")
                    .and_then(|()| File::options().read(true).write(true).open(&target))
            };
            let file = open().map_err(|error| failed("edit", error))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let error = io::Error::new(io::ErrorKind::WouldBlock, "another process is editing it");
                    return Err(failed("edit", error));
                }
                // The file system has no locks (EOPNOTSUPP), or none at the moment (ENOLCK). Writers continue without one too.
                Err(TryLockError::Error(_)) => {}
            }
            // The previous holder of the lock may have placed another file there.
            if is_still_at(&file, &target).map_err(|error| failed("open", error))? {
                return Ok(Files { file, target, shown: path.to_owned() });
            }
        }
        let message = "another file is there each time that it is opened, or the file system tells an open file from the \
                       one that its name stands for";
        Err(failed("edit", io::Error::other(message)))
    }

    /// Returns the locked file, for reading.
    pub(crate) fn file(&self) -> Result<File> {
        self.file.try_clone().map_err(|error| self.failed("open", error))
    }

    fn failed(&self, what: &str, error: io::Error) -> Error {
        Error::io(format!("{what} '{}'", self.shown.display()), error)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // Closing it would suffice, except that a child process that another thread starts has it open too for a moment.
        let _ = self.file.unlock();
    }
}

impl Disk for Files {
    fn len(&self) -> Result<u64> {
        self.file
            .metadata()
            .map(|metadata| metadata.len())
            .map_err(|error| self.failed("ask the length of", error))
    }

    fn read(&mut self, buffer: &mut [u8], offset: u64) -> Result<()> {
        let read = self.file.seek(SeekFrom::Start(offset)).and_then(|_| self.file.read_exact(buffer));
        read.map_err(|error| self.failed("read", error))
    }

    fn write(&mut self, bytes: &[u8], offset: u64) -> Result<()> {
        let written = self.file.seek(SeekFrom::Start(offset)).and_then(|_| self.file.write_all(bytes));
        written.map_err(|error| self.failed("write", error))
    }

    fn sync(&mut self) -> Result<()> {
        self.file.sync_data().map_err(|error| self.failed("sync", error))
    }

    fn records(&mut self) -> Result<Vec<(PathBuf, Number)>> {
        let folder = self.target.parent().unwrap_or(Path::new(""));
        let failed = |error| Error::io(format!("look for an undo record in '{}'", folder.display()), error);
        let mut records = Vec::new();
        for entry in fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if let Some((_, number)) = split_record_name(&entry.file_name().to_string_lossy()) {
                records.push((entry.path(), number));
            }
        }
        Ok(records)
    }

    fn own_records(&mut self) -> Vec<PathBuf> {
        own_records(&self.target)
    }

    fn read_record(&mut self, path: &Path) -> Result<Vec<u8>> {
        let most = Record::most_bytes(self.len()?);
        // What was delivered along with the file may be a link to anything.
        let is_link = || fs::symlink_metadata(path).map(|metadata| metadata.is_symlink());
        let read = is_link().and_then(|is_link| match is_link {
            true => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a symbolic link")),
            false => read_regular(path, most),
        });
        match read {
            Err(error) if error.kind() == io::ErrorKind::OutOfMemory => {
                Err(Error::OutOfMemory { what: "the undo record" })
            }
            read => read.map_err(|error| Error::io(format!("read '{}'", path.display()), error)),
        }
    }

    fn keep_record(&mut self, number: &Number, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.target.with_file_name(record_name(&self.target, number));
        let mut options = File::options();
        // No link is followed, and no existing file is opened.
        options.write(true).create_new(true);
        let metadata =
            self.file.metadata().map_err(|error| self.failed("ask for the permissions of", error))?;
        restrict(&mut options, &metadata);
        let failed = |error| Error::io(format!("keep the undo record '{}'", path.display()), error);
        let mut record = options.open(&path).map_err(failed)?;
        let kept = record.write_all(bytes).and_then(|()| record.sync_all()).and_then(|()| sync_folder(&path));
        drop(record);
        if kept.is_err() {
            // It has no meaning for a file that is not marked. If this cannot remove it, the next edit does.
            let _ = fs::remove_file(&path);
        }
        kept.map_err(failed)?;
        Ok(path)
    }

    fn drop_record(&mut self, path: &Path) -> Result<()> {
        // If a power failure restores it, it has no meaning.
        fs::remove_file(path).map_err(|error| Error::io(format!("remove '{}'", path.display()), error))
    }

    fn file_name(&self) -> String {
        format!("'{}'", self.shown.display())
    }
}

/// Returns `true` if the file begins with a marker.
pub(super) fn is_marked(path: &Path) -> Result<bool> {
    let start = || {
        expect_regular(path, READ_HEADER)?;
        let mut start = Vec::new();
        File::open(path)?.take(4).read_to_end(&mut start)?;
        Ok(start)
    };
    let start = start().map_err(|error| Error::io(format!("open '{}'", path.display()), error))?;
    Ok(edit_marker::is_marked(&start))
}

/// Returns `true` if anything beside the file has the name of one of its records.
pub(super) fn may_have_orphans(path: &Path) -> bool {
    follow_links(path).is_ok_and(|target| !own_records(&target).is_empty())
}

fn own_records(target: &Path) -> Vec<PathBuf> {
    let (Some(folder), Some(name)) = (target.parent(), target.file_name()) else { return Vec::new() };
    let own = shorten(&name.to_string_lossy());
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| {
            split_record_name(&entry.file_name().to_string_lossy()).is_some_and(|(name, _)| name == own)
        })
        .map(|entry| entry.path())
        .collect()
}

/// Returns `.NAME.NUMBER.undo`.
fn record_name(target: &Path, number: &Number) -> String {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    format!(".{}.{}.undo", shorten(&name), hexadecimal(number))
}

/// Splits a record's name into the name of its file, as [`shorten`] leaves it, and its number.
fn split_record_name(name: &str) -> Option<(&str, Number)> {
    let (name, digits) = name.strip_prefix('.')?.strip_suffix(".undo")?.rsplit_once('.')?;
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if digits.len() != 32 || !digits.bytes().all(is_digit) {
        return None;
    }
    Some((name, u128::from_str_radix(digits, 16).ok()?.to_be_bytes()))
}

pub(super) fn hexadecimal(number: impl AsRef<[u8]>) -> String {
    number.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Shortens a name so that a record's name stays within the 255 bytes that file systems allow. Names with the same start
/// stay distinct.
fn shorten(name: &str) -> String {
    const MOST: usize = 200;
    const KEPT: usize = 180;
    if name.len() <= MOST {
        return name.to_owned();
    }
    let end = (0..=KEPT).rev().find(|&end| name.is_char_boundary(end)).unwrap_or(0);
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{}~{hash:016x}", &name[..end])
}

/// The contents of a record must be as private as the file.
#[cfg(unix)]
fn restrict(options: &mut fs::OpenOptions, like: &fs::Metadata) {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    options.mode(like.permissions().mode() & 0o666 | 0o600);
}

#[cfg(not(unix))]
fn restrict(_options: &mut fs::OpenOptions, _like: &fs::Metadata) {}

#[cfg(unix)]
fn is_still_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let (here, there) = (file.metadata()?, fs::metadata(path)?);
    Ok((here.dev(), here.ino()) == (there.dev(), there.ino()))
}

/// On other systems an open file cannot be replaced.
#[cfg(not(unix))]
fn is_still_at(_file: &File, _path: &Path) -> io::Result<bool> {
    Ok(true)
}
