//! [`Disk`]: what a patch does, one step at a time; [`Files`] does it.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::record::Record;
use crate::container::Sink;
use crate::container::atomic::{AtomicFile, sync_folder};
use crate::container::opening::{expect_regular, read_regular};
use crate::error::{Error, Result};
use crate::file::{Existing, follow_links};

/// A file may be replaced while it is opened, but not as often as this.
const MOST_TRIES: u32 = 100;

/// A file and its undo record. Tests put one in its place that fails, or that ends the process, at any step.
pub(crate) trait Disk {
    /// The file's length.
    fn len(&self) -> Result<u64>;
    fn read(&mut self, buffer: &mut [u8], offset: u64) -> Result<()>;
    fn write(&mut self, bytes: &[u8], offset: u64) -> Result<()>;
    /// What was written outlasts a crash when this returns.
    fn sync(&mut self) -> Result<()>;
    fn record(&mut self) -> Result<Option<Vec<u8>>>;
    /// The record is there, whole, and outlasts a crash when this returns; before, it is whole or not there.
    fn keep_record(&mut self, bytes: &[u8]) -> Result<()>;
    /// It is gone, even after a crash, when this returns.
    fn drop_record(&mut self) -> Result<()>;
    /// For messages.
    fn record_name(&self) -> String;
}

/// The real one. As long as it lives nobody else has one of the same file.
pub(crate) struct Files {
    file: File,
    record: PathBuf,
    /// The file as the caller wrote it, for messages.
    shown: PathBuf,
}

impl Files {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Self::open_where(path, is_still_at)
    }

    /// With the question whether a file that was just locked is still the one that the path names.
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
                // Some network file systems have no locks.
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
                Err(TryLockError::Error(error)) => return Err(failed("lock", error)),
            }
            // Whoever held the lock may have put another file there meanwhile.
            if is_still_at(&file, &target).map_err(|error| failed("open", error))? {
                return Ok(Files { file, record: record_path(&target), shown: path.to_owned() });
            }
        }
        let message = "another file is there each time that it is opened, or the file system tells an open file from the \
                       one that its name stands for";
        Err(failed("edit", io::Error::other(message)))
    }

    fn failed(&self, what: &str, error: io::Error) -> Error {
        Error::io(format!("{what} '{}'", self.shown.display()), error)
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
        self.file.sync_all().map_err(|error| self.failed("sync", error))
    }

    fn record(&mut self) -> Result<Option<Vec<u8>>> {
        let most = Record::most_bytes(self.len()?);
        match read_regular(&self.record, most) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::OutOfMemory => {
                Err(Error::OutOfMemory { what: "the undo record" })
            }
            Err(error) => Err(Error::io(format!("read '{}'", self.record.display()), error)),
        }
    }

    fn keep_record(&mut self, bytes: &[u8]) -> Result<()> {
        // What is in it is nobody's business whose the file is not.
        let like = self.file.metadata().map_err(|error| self.failed("ask for the permissions of", error))?;
        let mut record = AtomicFile::create_like(&self.record, Some(like), Existing::ReplaceTarget)?;
        record.put(bytes).map_err(|error| Error::io(record.action(), error))?;
        record.complete()
    }

    fn drop_record(&mut self) -> Result<()> {
        let removed = fs::remove_file(&self.record).and_then(|()| sync_folder(&self.record));
        removed.map_err(|error| Error::io(format!("remove '{}'", self.record.display()), error))
    }

    fn record_name(&self) -> String {
        format!("'{}'", self.record.display())
    }
}

/// Whether there is an undo record beside the file.
pub(super) fn has_record(path: &Path) -> Result<bool> {
    let exists = follow_links(path).and_then(|target| fs::exists(record_path(&target)));
    exists.map_err(|error| Error::io(format!("look for an undo record of '{}'", path.display()), error))
}

/// The file, to be read and without a lock, where there is an undo record beside it.
pub(super) fn with_record(path: &Path) -> io::Result<Option<Files>> {
    let target = follow_links(path)?;
    let record = record_path(&target);
    if !fs::exists(&record).unwrap_or(false) {
        return Ok(None);
    }
    Ok(Some(Files { file: File::open(&target)?, record, shown: path.to_owned() }))
}

/// `.NAME.undo`, in the file's own folder, so that it is found again.
fn record_path(target: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(".undo");
    target.with_file_name(name)
}

#[cfg(unix)]
fn is_still_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let (here, there) = (file.metadata()?, fs::metadata(path)?);
    Ok((here.dev(), here.ino()) == (there.dev(), there.ino()))
}

/// Elsewhere a file that is open cannot be replaced.
#[cfg(not(unix))]
fn is_still_at(_file: &File, _path: &Path) -> io::Result<bool> {
    Ok(true)
}
