//! [`Mapped`]: a file mapped into memory.

use std::fmt;
use std::fs::File;
use std::io;

use super::read_at::ReadAt;

/// A whole file, mapped read-only: pages are read from disk when they are first touched.
pub struct Mapped(memmap2::Mmap);

impl Mapped {
    /// Maps a file.
    ///
    /// # Safety
    /// As long as the mapping, or anything borrowed from it, lives:
    /// - nothing writes to the file in place, in this process or another;
    /// - nothing cuts it short.
    ///
    /// Bytes that were checked once would otherwise change in their users' hands: a `&str` may stop being UTF-8. A page that
    /// is gone ends the process by a signal (an exception on Windows).
    pub(crate) unsafe fn new(file: &File) -> io::Result<Self> {
        // SAFETY: bytes of a mapping must not change while anything borrows them. Through the mapping they cannot: it is
        // read-only and private to `Mapped`, which hands out `&[u8]` alone. That nothing else changes the file is what the
        // caller has promised; no operating system lets a reader forbid it.
        unsafe { memmap2::Mmap::map(file) }.map(Mapped)
    }

    /// Asks the operating system, where it can be asked, to begin reading a part of the file.
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
