//! [`Data`]: where a tensor's bytes are, in memory or to be read.

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

/// A part of a tensor that is read when its values are asked for.
#[derive(Clone, Copy)]
pub(crate) struct Stored<'a> {
    pub(crate) source: &'a dyn TensorSource,
    pub(crate) tensor: StoredTensor<'a>,
    /// The part, in bytes from the start of the tensor.
    pub(crate) at: u64,
    pub(crate) len: u64,
}

/// A whole tensor of a [`TensorSource`].
#[derive(Clone, Copy)]
#[cfg_attr(not(feature = "std"), allow(dead_code, reason = "files need std"))]
pub(crate) struct StoredTensor<'a> {
    /// For messages.
    pub(crate) name: &'a str,
    /// Its number in the source.
    pub(crate) index: usize,
    /// Where its data begins.
    pub(crate) offset: u64,
    /// Bytes of its data.
    pub(crate) len: u64,
}

/// What tensors' bytes are read from.
pub(crate) trait TensorSource: Send + Sync {
    /// Fills `buffer` from byte `at` of a tensor.
    fn read(&self, tensor: StoredTensor<'_>, at: u64, buffer: &mut [u8]) -> Result<()>;

    /// Returns all bytes of a tensor, aligned for any plain type. They are read when they are first asked for, and kept.
    fn load(&self, tensor: StoredTensor<'_>) -> Result<&[u8]>;

    /// Returns what [`load`](Self::load) has kept.
    fn loaded(&self, tensor: StoredTensor<'_>) -> Option<&[u8]>;
}

impl<'a> Data<'a> {
    pub(crate) fn len(self) -> u64 {
        match self {
            Data::Bytes(bytes) => bytes.len() as u64,
            Data::Stored(stored) => stored.len,
        }
    }

    /// The part from one byte to another; nothing where they do not lie within.
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

    /// The bytes, where they are in memory.
    pub(crate) fn in_memory(self) -> Option<&'a [u8]> {
        match self {
            Data::Bytes(bytes) => Some(bytes),
            Data::Stored(stored) => stored.source.loaded(stored.tensor).map(|bytes| stored.of(bytes)),
        }
    }

    /// The bytes, which are read into memory and kept there where they are not yet.
    pub(crate) fn load(self) -> Result<&'a [u8]> {
        match self {
            Data::Bytes(bytes) => Ok(bytes),
            Data::Stored(stored) => stored.source.load(stored.tensor).map(|bytes| stored.of(bytes)),
        }
    }

    /// Visits all bytes in their order, in chunks of this length and one of the rest, each read into `buffer`.
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

    /// Fills `buffer` from the byte `at` on. The caller has checked that there are as many.
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
    /// The part's bytes among all of the tensor's.
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
