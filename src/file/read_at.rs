//! [`ReadAt`]: reading bytes at an offset, from several threads at once.

use std::fs::File;
use std::io;

/// A source of bytes that several threads can read at any offset: a [`File`](std::fs::File) (on Unix and Windows), a
/// slice, or a cache of ranges fetched over a network.
///
/// ```
/// use gguf_codec::ReadAt;
/// use std::io;
///
/// /// A file that was received in parts of 1 MiB, of which some are missing.
/// struct Received(Vec<Option<Vec<u8>>>);
///
/// impl ReadAt for Received {
///     fn fill_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
///         for (byte, at) in buffer.iter_mut().zip(offset..) {
///             let part = self.0.get((at >> 20) as usize).and_then(Option::as_ref);
///             let found = part.and_then(|part| part.get((at & 0xf_ffff) as usize));
///             *byte = *found.ok_or(io::ErrorKind::UnexpectedEof)?;
///         }
///         Ok(())
///     }
/// }
/// # let mut two = [0; 2];
/// # Received(vec![Some(vec![1, 2, 3])]).fill_at(&mut two, 1)?;
/// # assert_eq!(two, [2, 3]);
/// # Ok::<(), io::Error>(())
/// ```
pub trait ReadAt: Send + Sync {
    /// Fills `buffer` with the bytes that begin at `offset`.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] if there are not enough bytes, and any error of the source itself.
    fn fill_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Returns the file that contains these bytes at the same offsets, if there is one. The kernel can then copy them
    /// to another file. The default implementation returns `None`.
    fn as_file(&self) -> Option<&File> {
        None
    }
}

impl ReadAt for [u8] {
    fn fill_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..));
        let bytes = rest.and_then(|rest| rest.get(..buffer.len())).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

impl ReadAt for Vec<u8> {
    fn fill_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.as_slice().fill_at(buffer, offset)
    }
}

impl<R: ReadAt + ?Sized> ReadAt for &R {
    fn fill_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).fill_at(buffer, offset)
    }

    fn as_file(&self) -> Option<&File> {
        (**self).as_file()
    }
}

#[cfg(unix)]
impl ReadAt for File {
    fn fill_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, buffer, offset)
    }

    fn as_file(&self) -> Option<&File> {
        Some(self)
    }
}

/// Moves the file's position, so nothing else should rely on it meanwhile.
#[cfg(windows)]
impl ReadAt for File {
    fn fill_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            match std::os::windows::fs::FileExt::seek_read(self, buffer, offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    buffer = &mut buffer[read..];
                    offset += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Bytes that are computed when they are read, in whole units: rows or blocks.
#[derive(Clone, Copy)]
pub(crate) struct Units {
    /// The size of a unit in bytes. Not 0.
    pub(crate) bytes: u64,
    pub(crate) count: u64,
    /// The maximum number of units to compute at a time. 0 counts as 1.
    pub(crate) at_once: u64,
}

impl Units {
    /// Like [`ReadAt::fill_at`]. `make` fills its second argument with units, starting at the unit given by its first. Units
    /// that are wanted whole are computed in place.
    pub(crate) fn fill(
        self,
        mut buffer: &mut [u8],
        mut offset: u64,
        mut make: impl FnMut(u64, &mut [u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut made = Vec::new();
        while !buffer.is_empty() {
            let (first, within) = (offset / self.bytes, offset % self.bytes);
            let whole = buffer.len() as u64 / self.bytes;
            let left = self.count.saturating_sub(first).min(self.at_once.max(1));
            let len = if within == 0 && whole > 0 && left > 0 {
                let len = (whole.min(left) * self.bytes) as usize;
                make(first, &mut buffer[..len])?;
                len
            } else {
                let needed = within.saturating_add(buffer.len() as u64).div_ceil(self.bytes);
                let count = needed.min(left);
                if count == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let bytes = count.checked_mul(self.bytes).and_then(|bytes| usize::try_from(bytes).ok());
                made.resize(bytes.ok_or(io::ErrorKind::OutOfMemory)?, 0);
                make(first, &mut made)?;
                let made = &made[within as usize..];
                let len = made.len().min(buffer.len());
                buffer[..len].copy_from_slice(&made[..len]);
                len
            };
            buffer = &mut buffer[len..];
            offset += len as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_made_whole_and_end() {
        for at_once in 0..5 {
            let units = Units { bytes: 3, count: 7, at_once };
            let read = |offset: usize, len| {
                let mut buffer = vec![0; len];
                let made = units.fill(&mut buffer, offset as u64, |first, out| {
                    assert!(!out.is_empty() && out.len() % 3 == 0 && out.len() as u64 <= 3 * at_once.max(1));
                    out.iter_mut().zip(3 * first..).for_each(|(byte, at)| *byte = at as u8);
                    Ok(())
                });
                made.map(|()| buffer)
            };
            for start in 0..=21 {
                for end in start..=21 {
                    assert!(read(start, end - start).unwrap().into_iter().eq(start as u8..end as u8));
                }
                let error = read(start, 22 - start).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            }
        }
    }

    #[test]
    fn a_slice_is_read_inside_its_bounds() {
        let bytes = [1u8, 2, 3, 4];
        let mut two = [0; 2];
        bytes.fill_at(&mut two, 2).unwrap();
        assert_eq!(two, [3, 4]);
        for offset in [3, 5, u64::MAX] {
            let error = bytes.fill_at(&mut two, offset).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
        bytes.fill_at(&mut [], 4).unwrap();
    }
}
