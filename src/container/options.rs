//! [`GgufOptions`]: how a GGUF is opened when the defaults do not fit.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use super::gguf::Gguf;
use super::incremental::{HeaderParser, HeaderProgress};
use super::layout::to_u64;
#[cfg(feature = "mmap")]
use super::mapped::Mapped;
use crate::Limits;
use crate::error::{Error, Result};

/// How to open a GGUF: made by [`Gguf::options`], used like [`std::fs::OpenOptions`].
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
    limits: Limits,
    offset: u64,
}

impl GgufOptions {
    /// What the header may ask for. Default: [`Limits::default`].
    pub fn limits(&mut self, limits: Limits) -> &mut Self {
        self.limits = limits;
        self
    }

    /// Where the GGUF begins, in bytes from the start of the file or buffer. Default: 0. Alignment and all
    /// positions in errors count from there.
    pub fn offset(&mut self, offset: u64) -> &mut Self {
        self.offset = offset;
        self
    }

    /// As [`Gguf::open`].
    ///
    /// # Errors
    /// [`Error::Io`], and those of [`parse`](Self::parse).
    #[cfg(feature = "mmap")]
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Gguf<Mapped>> {
        let path = path.as_ref();
        let failed = |error| Error::io(format!("open '{}'", path.display()), error);
        expect_regular(path).map_err(failed)?;
        let file = fs::File::open(path).map_err(failed)?;
        let mapped =
            Mapped::new(&file).map_err(|source| Error::io(format!("map '{}'", path.display()), source))?;
        self.parse(mapped)
    }

    /// As [`Gguf::read`].
    ///
    /// # Errors
    /// [`Error::Io`], and those of [`parse`](Self::parse).
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Gguf<Vec<u8>>> {
        let path = path.as_ref();
        let read = || expect_regular(path).and_then(|()| fs::read(path));
        self.parse(read().map_err(|error| Error::io(format!("read '{}'", path.display()), error))?)
    }

    /// As [`Gguf::parse`].
    ///
    /// # Errors
    /// [`Error::Malformed`] where the bytes break a rule of the format, or end before the last tensor does;
    /// [`Error::Limit`] where the header asks for more than the limits allow; [`Error::Length`] where the bytes end
    /// before the [`offset`](Self::offset).
    pub fn parse<B: AsRef<[u8]>>(&self, bytes: B) -> Result<Gguf<B>> {
        let start = usize::try_from(self.offset).unwrap_or(usize::MAX);
        let all = bytes.as_ref();
        let gguf = all.get(start..).unwrap_or_default();
        self.check_offset(gguf, to_u64(all.len()))?;
        let mut parser = HeaderParser::new(self.limits);
        parser.complete(gguf)?;
        let header = parser.into_header();
        header.check_data(gguf, to_u64(gguf.len()))?;
        Ok(Gguf::whole(bytes, start, header))
    }

    /// As [`Gguf::read_header`]. With an [`offset`](Self::offset), that many bytes of the reader are discarded
    /// first.
    ///
    /// # Errors
    /// [`Error::Io`], those of [`HeaderParser::advance`], and [`Error::Length`] where the reader ends before the
    /// [`offset`](Self::offset).
    pub fn read_header(&self, mut reader: impl Read) -> Result<Gguf<Vec<u8>>> {
        let failed = |source| Error::io("read the header", source);
        let skipped = io::copy(&mut reader.by_ref().take(self.offset), &mut io::sink()).map_err(failed)?;
        let mut parser = HeaderParser::new(self.limits);
        let mut bytes = Vec::new();
        while let HeaderProgress::NeedMore(more) = parser.advance(&bytes)? {
            if !read_more(&mut reader, &mut bytes, more).map_err(failed)? {
                break;
            }
        }
        self.check_offset(&bytes, skipped.saturating_add(to_u64(bytes.len())))?;
        parser.finish(bytes)
    }

    /// Refuses an offset that leaves nothing of `len` bytes.
    fn check_offset(&self, gguf: &[u8], len: u64) -> Result<()> {
        if self.offset == 0 || !gguf.is_empty() {
            return Ok(());
        }
        let wanted = format!("more than {}, where the GGUF is to begin", self.offset);
        Err(Error::Length { what: "the input, in bytes,", found: len, wanted })
    }
}

/// Refuses what has no end that can be known: opening a pipe waits for somebody to write into it, and a device
/// may never end.
pub(super) fn expect_regular(path: &Path) -> io::Result<()> {
    let metadata = fs::metadata(path)?;
    let problem = if metadata.is_dir() {
        "it is a directory"
    } else if !metadata.is_file() {
        "it is not a regular file; open it and give it to Gguf::read_header"
    } else {
        return Ok(());
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, problem))
}

/// Reads `more` bytes, or fewer where the reader ends; says whether it got them all.
///
/// `more` is the header's word for it, so memory grows by half of what has really come each time.
fn read_more(reader: &mut impl Read, bytes: &mut Vec<u8>, more: u64) -> io::Result<bool> {
    const LEAST: usize = 64;
    let mut more = more;
    while more > 0 {
        let len = bytes.len();
        let chunk = (len / 2).max(LEAST).min(usize::try_from(more).unwrap_or(usize::MAX));
        if bytes.capacity() - len < chunk {
            bytes.try_reserve_exact((len / 2).max(chunk)).map_err(|_| io::ErrorKind::OutOfMemory)?;
        }
        // Zeroed once for a chunk, not once for a read: a pipe may give a few bytes at a time.
        bytes.resize(len + chunk, 0);
        let filled = fill(reader, bytes.get_mut(len..).unwrap_or_default())?;
        bytes.truncate(len + filled);
        if filled < chunk {
            return Ok(false);
        }
        more = more.saturating_sub(to_u64(filled));
    }
    Ok(true)
}

/// Reads until the buffer is full or the reader ends; returns how many bytes of it are full.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
        match reader.read(room) {
            Ok(0) => break,
            // A reader that claims more than it was given room for is broken; believe it no further.
            Ok(read) => filled += read.min(room.len()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
