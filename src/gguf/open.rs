//! [`Gguf`] from files and streams: all of opening that needs an operating system.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use super::index::Gguf;
use super::layout::to_u64;
use super::options::GgufOptions;
use super::parser::{HeaderParser, HeaderProgress};
use crate::error::{Error, Result};
#[cfg(feature = "mmap")]
use crate::file::map::Mapped;
use crate::file::regular::{READ_HEADER, expect_regular};

impl Gguf<Vec<u8>> {
    /// Reads a whole file into memory, where nobody can change it. Where the `mmap` feature is on, `Gguf::open`
    /// avoids the copy, and asks that nobody change the file.
    ///
    /// ```
    /// use gguf_codec::Gguf;
    ///
    /// let model = Gguf::read("examples/sample.gguf")?;
    /// let layers: u32 = model.metadata().require("llama.block_count")?;
    /// assert_eq!((layers, model.tensor_count()), (2, 20));
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`], and those of [`GgufOptions::parse`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        Self::options().read(path)
    }

    /// Reads a header from any reader and stops at its exact end, the end of the tensor table.
    ///
    /// Metadata and the table are there then, and asking for a tensor's data is [`Error::HeaderOnly`].
    /// Whether the file is as long as the tensors need cannot be known from its header, and is not checked.
    /// Few reads are made, each as large as the header is sure to have left; the memory held grows with the
    /// bytes that really come, whatever the header promises.
    ///
    /// ```
    /// use gguf_codec::Gguf;
    ///
    /// let model = Gguf::read_header(std::fs::File::open("examples/sample.gguf")?)?; // or a pipe, or a download
    /// let tensor = model.tensor_info("output_norm.weight")?;
    /// assert_eq!(tensor.byte_len(), 64 * 4);
    /// assert!(tensor.tensor().is_err(), "the data was not read");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Malformed`] and [`Error::Limit`].
    pub fn read_header(reader: impl Read) -> Result<Self> {
        Self::options().read_header(reader)
    }
}

#[cfg(feature = "mmap")]
impl Gguf<Mapped> {
    /// Maps a file into memory and parses its header. Tensors are read from disk when they are touched.
    ///
    /// **Nothing may change the file in place as long as this, or anything borrowed from it, lives.** Names, keys
    /// and strings are checked once and handed out as `&str`, values as `&[f32]` and the like; a program that
    /// writes into the file changes them in their users' hands, which is undefined behaviour, as with every
    /// mapped file. One that truncates it makes later access end this process (SIGBUS). Neither can be
    /// prevented from here: ruling both out is the caller's part. Replacing the file by renaming another over it
    /// is safe, as [`Writer::create`](crate::Writer::create) does. Where others may write to the file, use
    /// [`Gguf::read`].
    ///
    /// ```
    /// use gguf_codec::Gguf;
    ///
    /// let model = Gguf::open("examples/sample.gguf")?;
    /// let norm: Vec<f32> = model.tensor("output_norm.weight")?.dequantize()?;
    /// assert_eq!(norm.len(), 64);
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`], and those of [`GgufOptions::parse`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        GgufOptions::default().open(path)
    }

    /// With the file that is mapped, so that nothing need be opened twice.
    #[cfg(any(unix, windows))]
    pub(crate) fn open_with_file(path: &Path) -> Result<(fs::File, Self)> {
        GgufOptions::default().open_with_file(path)
    }
}

impl GgufOptions {
    /// As [`Gguf::open`].
    ///
    /// # Errors
    /// [`Error::Io`], and those of [`parse`](Self::parse).
    #[cfg(feature = "mmap")]
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Gguf<Mapped>> {
        self.open_with_file(path.as_ref()).map(|(_, model)| model)
    }

    #[cfg(feature = "mmap")]
    fn open_with_file(&self, path: &Path) -> Result<(fs::File, Gguf<Mapped>)> {
        let failed = |error| Error::io(format!("open '{}'", path.display()), error);
        expect_regular(path, READ_HEADER).map_err(failed)?;
        let file = fs::File::open(path).map_err(failed)?;
        let mapped =
            Mapped::new(&file).map_err(|source| Error::io(format!("map '{}'", path.display()), source))?;
        Ok((file, self.parse(mapped)?))
    }

    /// As [`Gguf::read`].
    ///
    /// # Errors
    /// [`Error::Io`], and those of [`parse`](Self::parse).
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Gguf<Vec<u8>>> {
        let path = path.as_ref();
        let read = || {
            expect_regular(path, READ_HEADER)?;
            fs::read(path)
        };
        self.parse(read().map_err(|error| Error::io(format!("read '{}'", path.display()), error))?)
    }

    /// As [`Gguf::read_header`]. With an [`offset`](Self::offset), that many bytes of the reader are discarded
    /// first.
    ///
    /// # Errors
    /// [`Error::Io`], those of [`HeaderParser::advance`], and [`Error::Length`] where the reader ends before the
    /// [`offset`](Self::offset).
    pub fn read_header(&self, mut reader: impl Read) -> Result<Gguf<Vec<u8>>> {
        let skipped = io::copy(&mut reader.by_ref().take(self.offset), &mut io::sink()).map_err(failed)?;
        let mut parser = HeaderParser::new(self.limits).foreign_tensors(self.foreign);
        let mut bytes = Vec::new();
        while let HeaderProgress::NeedMore(more) = parser.advance(&bytes)? {
            if !read_more(&mut reader, &mut bytes, more)? {
                break;
            }
        }
        self.check_offset(&bytes, skipped.saturating_add(to_u64(bytes.len())))?;
        parser.finish(bytes)
    }
}

fn failed(source: io::Error) -> Error {
    Error::io("read the header", source)
}

/// Reads `more` bytes, or fewer where the reader ends; says whether it got them all.
///
/// `more` is the header's word for it, so memory grows by half of what has really come each time.
fn read_more(reader: &mut impl Read, bytes: &mut Vec<u8>, more: u64) -> Result<bool> {
    const LEAST: usize = 64;
    let mut more = more;
    while more > 0 {
        let len = bytes.len();
        let chunk = (len / 2).max(LEAST).min(usize::try_from(more).unwrap_or(usize::MAX));
        if bytes.capacity() - len < chunk {
            bytes
                .try_reserve_exact((len / 2).max(chunk))
                .map_err(|_| Error::OutOfMemory { what: "the header" })?;
        }
        // Zeroed once for a chunk, not once for a read: a pipe may give a few bytes at a time.
        bytes.resize(len + chunk, 0);
        let filled = fill(reader, bytes.get_mut(len..).unwrap_or_default()).map_err(failed)?;
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
