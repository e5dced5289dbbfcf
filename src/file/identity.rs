//! [`FileId`]: identifies a file independently of its name.

use std::fs::Metadata;
use std::io;
#[cfg(not(unix))]
use std::time::SystemTime;

/// Identifies a file uniquely as long as something keeps it open or mapped. Once a file is gone, its number may be reused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileId {
    #[cfg(unix)]
    device: u64,
    #[cfg(unix)]
    inode: u64,
    /// std does not provide a file's number on other systems.
    #[cfg(not(unix))]
    len: u64,
    #[cfg(not(unix))]
    times: [Option<SystemTime>; 2],
}

impl FileId {
    #[cfg(unix)]
    pub(crate) fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        FileId { device: metadata.dev(), inode: metadata.ino() }
    }

    #[cfg(not(unix))]
    pub(crate) fn of(metadata: &Metadata) -> Self {
        FileId { len: metadata.len(), times: [metadata.modified().ok(), metadata.created().ok()] }
    }
}

/// Repeats a call that a signal interrupted. std does so for reads, writes and syncs, but not for locks, renames and
/// copies between files.
pub(crate) fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interrupted_calls_are_made_again_and_others_are_not() {
        let mut interruptions = 3;
        let mut call = |last: io::Result<u8>| {
            uninterrupted(|| {
                if interruptions > 0 {
                    interruptions -= 1;
                    return Err(io::ErrorKind::Interrupted.into());
                }
                match &last {
                    Ok(value) => Ok(*value),
                    Err(error) => Err(error.kind().into()),
                }
            })
        };
        assert_eq!(call(Ok(7)).unwrap(), 7);
        assert_eq!(call(Err(io::ErrorKind::NotFound.into())).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(interruptions, 0);
    }
}
