//! [`AtomicFile`]: a file that appears complete or not at all; and [`StagedFile`], for several of them.

mod folder;
mod locks;
mod names;
mod staged;
mod stale;
mod temporary;

use std::fs::{File, Metadata};
#[cfg(any(unix, windows))]
use std::io::Seek;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

pub use self::folder::OutputFolder;
pub use self::staged::StagedFile;
#[cfg(any(unix, windows))]
pub(crate) use self::staged::sync_folder;
use self::temporary::Temporary;
use super::copy;
use super::read_at::ReadAt;
use super::sink::{Sealed, Sink, put_through_memory};
use crate::error::{Error, Result};
use crate::file::identity::FileId;
use crate::file::output::{Existing, FileTarget};

/// The buffer size for small writes.
const BUFFER_BYTES: usize = 64 * 1024;

/// The file that [`Writer::create`](crate::Writer::create) creates: written beside its target under a temporary name, and
/// moved there when it is complete.
///
/// Until then, and forever after a drop, an error or a crash, the target is unchanged. A drop or an error also removes the
/// temporary file. Only a crash leaves it, as `.NAME.PID-N.tmp`, and the next file created for the same target removes
/// what crashes left. Files that are still being written are locked, and stay. On a file system without locks all stay.
#[derive(Debug)]
pub struct AtomicFile {
    // Before `temporary`, so that the file is closed when its name is removed.
    file: BufWriter<File>,
    temporary: Temporary,
    target: PathBuf,
    existing: Existing,
    /// The target as the caller wrote it, for messages.
    shown: PathBuf,
}

impl AtomicFile {
    /// Writes a file of any kind at once, the way [`Writer`](crate::Writer) writes models: the file at `path` is
    /// unchanged until all bytes are on disk.
    ///
    /// ```
    /// use gguf_codec::AtomicFile;
    ///
    /// # let folder = std::env::temp_dir().join(format!("gguf-codec-doc-{}", std::process::id()));
    /// # std::fs::create_dir_all(&folder)?;
    /// let path = folder.join("report.html");
    /// AtomicFile::write(&path, b"<!DOCTYPE html>")?;
    /// assert_eq!(std::fs::read(&path)?, b"<!DOCTYPE html>");
    /// # std::fs::remove_dir_all(&folder)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`]. The file at `path` then still exists. Only an error in syncing the folder occurs after it has
    /// been replaced.
    pub fn write(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
        Self::write_with(path, bytes, Existing::ReplaceTarget)
    }

    /// Like [`write`](Self::write), with a choice of what happens if the file exists.
    ///
    /// # Errors
    /// The errors of [`write`](Self::write), and [`Error::Output`] if a file exists and may not be replaced.
    pub fn write_with(path: impl AsRef<Path>, bytes: &[u8], existing: Existing) -> Result<()> {
        let mut file = AtomicFile::create(path.as_ref(), existing)?;
        file.put(bytes).map_err(|error| Error::io(file.action(), error))?;
        file.complete()
    }

    pub(crate) fn create(path: &Path, existing: Existing) -> Result<Self> {
        Self::create_like(path, None, existing)
    }

    /// Creates the file with the permissions of another file, unless a file at `path` provides its own.
    pub(crate) fn create_like(path: &Path, other: Option<Metadata>, existing: Existing) -> Result<Self> {
        let FileTarget { path: target, replaced } = FileTarget::new(path, existing)?;
        let replaced = replaced.or(other);
        let (file, temporary) = Temporary::create_beside(&target, replaced.as_ref())
            .map_err(|error| Error::io(format!("create '{}'", path.display()), error))?;
        let file = BufWriter::with_capacity(BUFFER_BYTES, file);
        Ok(AtomicFile { file, temporary, target, existing, shown: path.to_owned() })
    }

    /// Continues at byte `at` of the file, which is extended to this length if it is shorter. Bytes that were skipped are zeros,
    /// which take no space if the file system supports that.
    #[cfg(any(unix, windows))]
    pub(crate) fn skip_to(&mut self, at: u64) -> Result<()> {
        let skipped = (|| {
            self.file.flush()?;
            let file = self.file.get_mut();
            file.set_len(at.max(file.metadata()?.len()))?;
            file.seek(io::SeekFrom::Start(at))
        })();
        skipped.map(drop).map_err(|error| Error::io(self.action(), error))
    }

    /// Syncs before any rename: otherwise a crash could leave the name pointing at an empty file.
    pub(crate) fn stage(self) -> Result<StagedFile> {
        let AtomicFile { file, temporary, target, existing, shown } = self;
        let failed = |what: &str, error| Error::io(format!("{what} '{}'", shown.display()), error);
        let file = file.into_inner().map_err(|error| failed("write", error.into_error()))?;
        file.sync_all().map_err(|error| failed("sync", error))?;
        let metadata = file.metadata().map_err(|error| failed("look at", error))?;
        drop(file);
        Ok(StagedFile::new(temporary, FileId::of(&metadata), target, existing, shown))
    }
}

impl Sealed for AtomicFile {}

impl Sink for AtomicFile {
    type Output = ();

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    fn put_from(&mut self, source: &dyn ReadAt, offset: u64, len: u64) -> io::Result<()> {
        match source.as_file().and_then(copy::reopen) {
            Some(source) => {
                self.file.flush()?;
                copy::copy(source, offset, self.file.get_mut(), len)
            }
            None => put_through_memory(self, source, offset, len),
        }
    }

    fn leaves_files_to_the_kernel(&self) -> bool {
        copy::IS_THERE
    }

    fn action(&self) -> String {
        format!("write '{}'", self.shown.display())
    }

    fn complete(self) -> Result<()> {
        StagedFile::commit_all([self.stage()?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(not(target_family = "wasm"))]
    fn errors_of_writing_name_the_target() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        let file = AtomicFile::create(&path, Existing::Refuse).unwrap();
        assert_eq!(file.action(), format!("write '{}'", path.display()));
    }
}
