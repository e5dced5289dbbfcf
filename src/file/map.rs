//! [`Mapped`]: a file mapped into memory, and [`Advice`] about how it is read.

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

    /// Tells the operating system, if it takes advice, how a part of the file will be read.
    pub(crate) fn advise(&self, part: &[u8], advice: Advice) -> io::Result<()> {
        let start = part.as_ptr().addr().checked_sub(self.0.as_ptr().addr());
        let inside = start.filter(|start| start.saturating_add(part.len()) <= self.0.len());
        match inside {
            #[cfg(unix)]
            Some(start) if !part.is_empty() => self.0.advise_range(advice.into(), start, part.len()),
            _ => {
                let _ = advice;
                Ok(())
            }
        }
    }
}

/// How a tensor of a mapped file will be read, for [`Gguf::advise`](crate::Gguf::advise).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Advice {
    /// Nothing is known: the system reads ahead as it thinks best, which is how each mapping begins.
    Normal,
    /// From the first byte to the last: the system reads further ahead, and may soon forget what was read.
    Sequential,
    /// Here and there, like the rows of an embedding: the system reads nothing ahead.
    Random,
    /// Soon: the system starts reading now, which is what [`Gguf::prefetch`](crate::Gguf::prefetch) asks for.
    WillNeed,
}

#[cfg(unix)]
impl From<Advice> for memmap2::Advice {
    fn from(advice: Advice) -> Self {
        match advice {
            Advice::Normal => Self::Normal,
            Advice::Sequential => Self::Sequential,
            Advice::Random => Self::Random,
            Advice::WillNeed => Self::WillNeed,
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
