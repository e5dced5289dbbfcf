//! [`Mapped`]: a file mapped into memory.

use std::fmt;
use std::fs::File;
use std::io;

/// A whole file, mapped read-only: pages are read from disk when they are first touched.
pub struct Mapped(memmap2::Mmap);

impl Mapped {
    pub(crate) fn new(file: &File) -> io::Result<Self> {
        // SAFETY: the bytes of a mapping must not change while anything borrows them. This process cannot break
        // that through the mapping: it is read-only and private to `Mapped`, which hands out `&[u8]` alone. It
        // cannot rule out that somebody writes to the file or cuts it short, either, and no operating system lets
        // a reader forbid it. So the rest of the proof is the caller's, and the documentation of `Gguf::open`
        // asks for it: nothing changes the file in place while the `Gguf` or anything borrowed from it lives. Where
        // that is broken, what was checked once may no longer hold: a `&str` of the metadata may stop being
        // UTF-8 in its user's hands, which is undefined behaviour, and a missing page ends the process by a signal
        // (an exception on Windows). `Gguf::read` needs none of this.
        unsafe { memmap2::Mmap::map(file) }.map(Mapped)
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
