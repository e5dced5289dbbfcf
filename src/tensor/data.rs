//! [`Data`]: where a tensor's bytes are, in memory or still to be read.

use alloc::vec::Vec;
use core::fmt;

use crate::error::Result;

/// The bytes of a tensor, or of some of its rows.
#[derive(Clone, Copy)]
pub(crate) enum Data<'a> {
    Bytes(&'a [u8]),
    #[cfg_attr(not(feature = "std"), allow(dead_code, reason = "files need std"))]
    Stored(Stored<'a>),
}

/// A part of a tensor that is read when its values are requested.
#[derive(Clone, Copy)]
pub(crate) struct Stored<'a> {
    pub(crate) source: &'a dyn TensorSource,
    pub(crate) tensor: StoredTensor<'a>,
    /// The offset of the part, in bytes from the start of the tensor.
    pub(crate) at: u64,
    pub(crate) len: u64,
}

/// A whole tensor of a [`TensorSource`].
#[derive(Clone, Copy)]
#[cfg_attr(not(feature = "std"), allow(dead_code, reason = "files need std"))]
pub(crate) struct StoredTensor<'a> {
    /// The name, for messages.
    pub(crate) name: &'a str,
    /// The tensor's index in the source.
    pub(crate) index: usize,
    /// Where its data begins.
    pub(crate) offset: u64,
    /// The size of the data in bytes.
    pub(crate) len: u64,
}

/// A source of tensor bytes.
pub(crate) trait TensorSource: Send + Sync {
    /// Fills `buffer` with a tensor's bytes, starting at byte `at`.
    fn read(&self, tensor: StoredTensor<'_>, at: u64, buffer: &mut [u8]) -> Result<()>;

    /// Returns all bytes of a tensor, aligned for any plain type. They are read on the first request, and kept.
    fn load(&self, tensor: StoredTensor<'_>) -> Result<&[u8]>;

    /// Returns the bytes that [`load`](Self::load) has kept.
    fn loaded(&self, tensor: StoredTensor<'_>) -> Option<&[u8]>;
}

impl<'a> Data<'a> {
    pub(crate) fn len(self) -> u64 {
        match self {
            Data::Bytes(bytes) => bytes.len() as u64,
            Data::Stored(stored) => stored.len,
        }
    }

    /// Returns the part between two byte positions, or nothing if they are out of range.
    pub(crate) fn slice(self, start: u64, end: u64) -> Self {
        match self {
            Data::Bytes(bytes) => {
                let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
                Data::Bytes(range.and_then(|(start, end)| bytes.get(start..end)).unwrap_or_default())
            }
            Data::Stored(stored) if start <= end && end <= stored.len => {
                Data::Stored(Stored { at: stored.at + start, len: end - start, ..stored })
            }
            Data::Stored(stored) => Data::Stored(Stored { len: 0, ..stored }),
        }
    }

    /// Returns the bytes if they are in memory.
    pub(crate) fn in_memory(self) -> Option<&'a [u8]> {
        match self {
            Data::Bytes(bytes) => Some(bytes),
            Data::Stored(stored) => stored.source.loaded(stored.tensor).map(|bytes| stored.of(bytes)),
        }
    }

    /// Returns the bytes. If they are not in memory yet, reads them and keeps them there.
    pub(crate) fn load(self) -> Result<&'a [u8]> {
        match self {
            Data::Bytes(bytes) => Ok(bytes),
            Data::Stored(stored) => stored.source.load(stored.tensor).map(|bytes| stored.of(bytes)),
        }
    }

    /// Visits all bytes in order, in chunks of this length and a shorter last one. Chunks are read into `buffer`.
    pub(crate) fn for_each_chunk(
        self,
        chunk: u64,
        buffer: &mut Vec<u8>,
        mut visit: impl FnMut(&mut [u8]) -> Result<()>,
    ) -> Result<()> {
        let mut at = 0;
        while at < self.len() {
            let len = chunk.min(self.len() - at);
            buffer.resize(usize::try_from(len).unwrap_or(usize::MAX), 0);
            self.read(at, buffer)?;
            visit(buffer)?;
            at += len;
        }
        Ok(())
    }

    /// Fills `buffer` starting at byte `at`. The caller has checked that there are enough bytes.
    pub(crate) fn read(self, at: u64, buffer: &mut [u8]) -> Result<()> {
        match (self, self.in_memory()) {
            (Data::Stored(stored), None) => stored.source.read(stored.tensor, stored.at + at, buffer),
            (_, bytes) => {
                let part = Data::Bytes(bytes.unwrap_or_default()).slice(at, at + buffer.len() as u64);
                if let Data::Bytes(part) = part
                    && part.len() == buffer.len()
                {
                    buffer.copy_from_slice(part);
                }
                Ok(())
            }
        }
    }
}

impl Stored<'_> {
    /// Returns the part's bytes within all of the tensor's.
    fn of<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        let range = usize::try_from(self.at).ok().zip(usize::try_from(self.at + self.len).ok());
        range.and_then(|(start, end)| bytes.get(start..end)).unwrap_or_default()
    }
}

impl fmt::Debug for Data<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Data::Bytes(bytes) => write!(f, "{} bytes in memory", bytes.len()),
            Data::Stored(stored) => write!(f, "{} bytes in a file", stored.len),
        }
    }
}
