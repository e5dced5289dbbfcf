//! [`Sink`]: where the bytes of a file are written, and how it is finished.

use std::io::{self, Write};

use crate::error::{Error, Result};
use crate::file::read_at::ReadAt;

/// Keeps [`Sink`] sealed, so that its methods may change.
pub trait Sealed {}

impl<W: Write> Sealed for W {}

/// A destination of a writer's bytes: any [`Write`], or the [`AtomicFile`](crate::AtomicFile) of
/// [`Writer::create`](crate::Writer::create).
///
/// A stream is finished by flushing it, a file by moving it to its final path. With this trait one `finish` method
/// does whichever applies, so that the latter cannot be forgotten. Every `Write` implements it; other types cannot.
pub trait Sink: Sealed {
    /// The result of `finish`: the stream itself, or `()` for a file.
    type Output;

    #[doc(hidden)]
    fn put(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Describes what [`put`](Self::put) does, for error messages.
    #[doc(hidden)]
    fn action(&self) -> String;

    /// Writes bytes of a source.
    #[doc(hidden)]
    fn put_from(&mut self, source: &dyn ReadAt, offset: u64, len: u64) -> io::Result<()> {
        put_through_memory(self, source, offset, len)
    }

    /// Returns `true` if [`put_from`](Self::put_from) lets the kernel copy the bytes of a file.
    #[doc(hidden)]
    fn leaves_files_to_the_kernel(&self) -> bool {
        false
    }

    #[doc(hidden)]
    fn complete(self) -> Result<Self::Output>;
}

impl<W: Write> Sink for W {
    type Output = W;

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn action(&self) -> String {
        "write the GGUF".into()
    }

    fn complete(mut self) -> Result<W> {
        self.flush().map_err(|error| Error::io("flush the GGUF", error))?;
        Ok(self)
    }
}

/// Reads and writes piece by piece.
pub(crate) fn put_through_memory<S: Sink + ?Sized>(
    sink: &mut S,
    source: &dyn ReadAt,
    offset: u64,
    len: u64,
) -> io::Result<()> {
    const PART_BYTES: u64 = 1024 * 1024;
    let mut buffer = vec![0; len.min(PART_BYTES) as usize];
    let mut done = 0;
    while done < len {
        let part = &mut buffer[..(len - done).min(PART_BYTES) as usize];
        source.fill_at(part, offset.saturating_add(done))?;
        sink.put(part)?;
        done += part.len() as u64;
    }
    Ok(())
}

/// Writes `count` zero bytes.
pub(crate) fn put_zeros(sink: &mut impl Sink, mut count: u64) -> Result<()> {
    const ZEROS: [u8; 4096] = [0; 4096];
    while count > 0 {
        let now = count.min(ZEROS.len() as u64);
        put(sink, &ZEROS[..now as usize])?;
        count -= now;
    }
    Ok(())
}

pub(crate) fn put(sink: &mut impl Sink, bytes: &[u8]) -> Result<()> {
    sink.put(bytes).map_err(|error| Error::io(sink.action(), error))
}

/// A [`Sink`] as a `Write`, for encoders.
pub(crate) struct AsWrite<'a, S>(pub(crate) &'a mut S);

impl<S: Sink> Write for AsWrite<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.put(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Counts bytes without keeping them.
#[derive(Default)]
pub(crate) struct Counter(pub(crate) u64);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
