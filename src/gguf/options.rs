//! [`GgufOptions`]: how a GGUF is opened when the defaults do not fit.

use alloc::format;
use alloc::vec::Vec;

use super::index::Gguf;
use super::layout::to_u64;
use super::parser::HeaderParser;
use crate::error::{Error, Measured, Result};
use crate::limits::Limits;

/// Options for opening a GGUF. Created by [`Gguf::options`] and used like [`std::fs::OpenOptions`].
///
/// ```
/// use gguf_codec::{Gguf, Limits};
///
/// # let mut bundle = vec![0; 100];
/// # bundle.extend(b"GGUF\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
/// // A GGUF that begins at byte 100 of something larger.
/// let limits = Limits { max_header_bytes: 1 << 20, ..Limits::default() };
/// let model = Gguf::options().offset(100).limits(limits).parse(&bundle)?;
/// # assert_eq!(model.version(), 3);
/// # Ok::<(), gguf_codec::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct GgufOptions {
    pub(super) limits: Limits,
    pub(super) offset: u64,
    pub(super) foreign: bool,
}

impl Gguf<Vec<u8>> {
    /// Returns options, for limits other than the default or a GGUF inside a larger file.
    pub fn options() -> GgufOptions {
        GgufOptions::default()
    }
}

impl<B: AsRef<[u8]>> Gguf<B> {
    /// Parses a complete GGUF held in memory. Trailing bytes are ignored.
    ///
    /// # Errors
    /// The errors of [`GgufOptions::parse`].
    pub fn parse(bytes: B) -> Result<Self> {
        GgufOptions::default().parse(bytes)
    }
}

impl GgufOptions {
    /// Limits what the header may request. Default: [`Limits::default`].
    pub fn limits(&mut self, limits: Limits) -> &mut Self {
        self.limits = limits;
        self
    }

    /// Sets where the GGUF begins, in bytes from the start of the file or buffer. Default: 0. Alignment and all
    /// positions in errors are relative to it.
    pub fn offset(&mut self, offset: u64) -> &mut Self {
        self.offset = offset;
        self
    }

    /// Lists unreadable tensors in [`Gguf::foreign_tensors`](Gguf::foreign_tensors), beside those that can be read. By default
    /// such a tensor is an error, as in ggml. With this option, tensor names may be 127 bytes long instead of 64.
    ///
    /// This gives access to the metadata and the other tensors in files of llama.cpp's forks, whose types ggml does not have.
    pub fn foreign_tensors(&mut self, listed: bool) -> &mut Self {
        self.foreign = listed;
        self
    }

    /// Like [`Gguf::parse`].
    ///
    /// # Errors
    /// [`Error::Malformed`] if the bytes break a rule of the format, end before the last tensor does, or contain an interrupted
    /// in-place edit ([`Problem::UnfinishedEdit`](crate::Problem::UnfinishedEdit)); [`Error::Limit`] if the header requests
    /// more than the limits allow; [`Error::Length`] if the bytes end before the [`offset`](Self::offset);
    /// [`Error::OutOfMemory`] if an index of the header cannot be allocated.
    pub fn parse<B: AsRef<[u8]>>(&self, bytes: B) -> Result<Gguf<B>> {
        let start = usize::try_from(self.offset).unwrap_or(usize::MAX);
        let all = bytes.as_ref();
        let gguf = all.get(start..).unwrap_or_default();
        self.check_offset(gguf, to_u64(all.len()))?;
        let mut parser = HeaderParser::new(self.limits).foreign_tensors(self.foreign);
        parser.complete(gguf)?;
        let header = parser.into_header();
        header.check_data(gguf, to_u64(gguf.len()))?;
        Ok(Gguf::whole(bytes, start, header))
    }

    /// Rejects an offset that leaves nothing of `len` bytes.
    pub(super) fn check_offset(&self, gguf: &[u8], len: u64) -> Result<()> {
        if self.offset == 0 || !gguf.is_empty() {
            return Ok(());
        }
        let wanted = format!("more than {}, where the GGUF is to begin", self.offset);
        Err(Error::Length { what: Measured::InputBytes, found: len, wanted })
    }
}
