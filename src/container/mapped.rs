//! [`Mapped`]: a file mapped into memory.

use std::fmt;
use std::fs::File;
use std::io;

/// A whole file, mapped read-only: pages are read from disk when they are first touched.
pub struct Mapped(memmap2::Mmap);

impl Mapped {
    pub(crate) fn new(file: &File) -> io::Result<Self> {
        // SAFETY: a mapping must not be changed while `&[u8]` borrow it, and no operating system lets a reader
        // enforce that. This process never writes to the mapping (it is read-only and private to `Mapped`),
        // so the invariant rests with other holders of the file, and `Gguf::open` hands it to its caller in
        // its documentation, as every mapping reader must. What breaks when they fail: a file cut short makes
        // access to the missing pages end the process by a signal (an exception on Windows, which mostly refuses
        // to truncate mapped files), and a file written to in place shows new bytes under the slice. The second
        // cannot lead this crate out of bounds: nothing it parsed is trusted again without a check (each
        // look-up is checked against the slice's length, which does not change, and UTF-8 and bools are judged
        // from the bytes that are then used), and it keeps no reference with a narrower validity than bytes.
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
