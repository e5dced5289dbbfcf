//! [`Mapped`]: a file mapped into memory.

use std::fmt;
use std::fs::File;
use std::io;

use super::read_at::ReadAt;

/// A whole file, mapped read-only. Pages are read from disk on first access.
pub struct Mapped(memmap2::Mmap);

impl Mapped {
    /// Maps a file.
    ///
    /// # Safety
    /// As long as the mapping, or anything borrowed from it, lives:
    /// - nothing may write to the file in place, in this process or another;
    /// - nothing may truncate it.
    ///
    /// Otherwise bytes that were validated once would change while they are borrowed: a `&str` may stop being UTF-8. Access
    /// to a page that is gone terminates the process by a signal (an exception on Windows).
    pub(crate) unsafe fn new(file: &File) -> io::Result<Self> {
        // SAFETY: bytes of a mapping must not change while anything borrows them. They cannot change through the mapping:
        // it is read-only and private to `Mapped`, which provides only `&[u8]`. The caller guarantees that nothing else
        // changes the file. No operating system lets a reader prevent that.
        unsafe { memmap2::Mmap::map(file) }.map(Mapped)
    }

    /// Asks the operating system, if it offers this, to start reading a part of the file.
    pub(crate) fn prefetch(&self, part: &[u8]) -> io::Result<()> {
        let start = part.as_ptr().addr().checked_sub(self.0.as_ptr().addr());
        let inside = start.filter(|start| start.saturating_add(part.len()) <= self.0.len());
        match inside {
            #[cfg(unix)]
            Some(start) if !part.is_empty() => {
                self.0.advise_range(memmap2::Advice::WillNeed, start, part.len())
            }
            _ => Ok(()),
        }
    }
}

impl ReadAt for Mapped {
    fn fill_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.as_ref().fill_at(buffer, offset)
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Mapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mapped({} bytes)", self.0.len())
    }
}
