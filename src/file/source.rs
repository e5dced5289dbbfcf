//! [`SourceFile`]: a file that tensors are read from as long as a model is in use.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::identity::FileId;
use super::read_at::ReadAt;

/// The maximum number of files to keep open. A process may usually have about a thousand, and a model may have more shards.
/// Further files are opened for each read.
const MOST_OPEN: usize = 100;

static OPEN: AtomicUsize = AtomicUsize::new(0);

/// A file that is guaranteed to be the same one for each read, even if its name now belongs to another.
pub(crate) struct SourceFile {
    path: PathBuf,
    file: Kept,
}

enum Kept {
    Open(File),
    Closed { id: FileId, len: u64 },
}

impl SourceFile {
    pub(crate) fn new(file: File, path: &Path) -> io::Result<Self> {
        let path = path.to_owned();
        if OPEN.fetch_add(1, Ordering::Relaxed) < MOST_OPEN {
            return Ok(SourceFile { path, file: Kept::Open(file) });
        }
        OPEN.fetch_sub(1, Ordering::Relaxed);
        let metadata = file.metadata()?;
        Ok(SourceFile { path, file: Kept::Closed { id: FileId::of(&metadata), len: metadata.len() } })
    }
}

impl Drop for SourceFile {
    fn drop(&mut self) {
        if matches!(self.file, Kept::Open(_)) {
            OPEN.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl ReadAt for SourceFile {
    fn fill_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match &self.file {
            Kept::Open(file) => file.fill_at(buffer, offset),
            Kept::Closed { id, len } => {
                let file = File::open(&self.path)?;
                let metadata = file.metadata()?;
                if FileId::of(&metadata) != *id || metadata.len() != *len {
                    return Err(io::Error::other("it is not the file that was opened"));
                }
                file.fill_at(buffer, offset)
            }
        }
    }

    fn as_file(&self) -> Option<&File> {
        match &self.file {
            Kept::Open(file) => Some(file),
            Kept::Closed { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_closed_is_read_only_while_it_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "0123456789").unwrap();
        let metadata = std::fs::metadata(&path).unwrap();
        let closed = Kept::Closed { id: FileId::of(&metadata), len: metadata.len() };
        let source = SourceFile { path: path.clone(), file: closed };
        let mut two = [0; 2];
        source.fill_at(&mut two, 8).unwrap();
        assert_eq!((&two, source.as_file().is_none()), (b"89", true));
        assert_eq!(source.fill_at(&mut two, 9).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);

        // Another file of the same length takes the name, while the first one's number is in use.
        std::fs::hard_link(&path, folder.path().join("kept")).unwrap();
        std::fs::write(folder.path().join("other"), "9876543210").unwrap();
        std::fs::rename(folder.path().join("other"), &path).unwrap();
        let error = source.fill_at(&mut two, 0).unwrap_err();
        assert!(error.to_string().contains("not the file that was opened"), "{error}");
    }

    #[test]
    fn files_beyond_the_most_are_closed_and_dropping_one_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "0123456789").unwrap();
        let open = || SourceFile::new(File::open(&path).unwrap(), &path).unwrap();
        let mut files: Vec<_> = (0..MOST_OPEN + 1).map(|_| open()).collect();
        let mut two = [0; 2];
        for file in &files {
            file.fill_at(&mut two, 3).unwrap();
            assert_eq!(&two, b"34");
        }
        assert!(files.last().unwrap().as_file().is_none());
        files.clear();
        assert!(open().as_file().is_some());
    }
}
