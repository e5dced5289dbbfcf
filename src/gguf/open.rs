//! [`Gguf`] from files and streams: all of opening that needs an operating system.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use super::file_data::{self, FileData};
use super::index::Gguf;
use super::layout::to_u64;
use super::options::GgufOptions;
use super::parser::{HeaderParser, HeaderProgress};
use crate::error::{Error, Result};
#[cfg(feature = "mmap")]
use crate::file::map::Mapped;
use crate::file::read_at::ReadAt;
use crate::file::regular::{READ_HEADER, expect_regular};
#[cfg(any(unix, windows))]
use crate::file::source::SourceFile;

impl Gguf<Vec<u8>> {
    /// Reads a whole file into memory. [`open`](Self::open) reads only what is asked for.
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

impl Gguf<Vec<u8>> {
    /// Opens a file: reads its header into memory. What tensors hold is read from the file when it is asked for.
    ///
    /// Others may write to the file meanwhile: tensors have then the values that the file has when they are read, and reading
    /// beyond the end of a file that was cut short is an error. Replacing the file by renaming another over it changes
    /// nothing here. [`Tensor`](crate::Tensor) says what is kept in memory.
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
    /// The file is kept open. Beyond a hundred such files in a process, each is opened for each read, and it is an error where
    /// another has taken its name. Where the operating system cannot read a file at an offset (neither Unix nor Windows), this
    /// is [`read`](Self::read).
    ///
    /// # Errors
    /// [`Error::Io`], and those of [`GgufOptions::parse`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        GgufOptions::default().open(path)
    }

    /// Opens a GGUF in anything that can be read at an offset, such as a cache of ranges that come over a network: reads its
    /// header into memory. What tensors hold is read when it is asked for, as by [`open`](Self::open).
    ///
    /// `len` is the source's length in bytes.
    ///
    /// ```
    /// use gguf_codec::Gguf;
    ///
    /// let bytes = std::fs::read("examples/sample.gguf")?;
    /// let len = bytes.len() as u64;
    /// let model = Gguf::read_at(bytes, len)?;
    /// assert_eq!(model.tensor("output_norm.weight")?.dequantize::<f32>()?.len(), 64);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`], and those of [`GgufOptions::parse`].
    pub fn read_at(source: impl ReadAt + 'static, len: u64) -> Result<Self> {
        GgufOptions::default().read_at(source, len)
    }
}

#[cfg(feature = "mmap")]
impl Gguf<Mapped> {
    /// Maps a file into memory and parses its header. Tensors are read by the operating system when they are touched, and are
    /// slices of the mapping: nothing is copied.
    ///
    /// [`open`](Gguf::open) does the same without a promise. `docs/performance.md` says where mapping pays: for what goes
    /// through slices of many tensors again and again.
    ///
    /// # Safety
    /// As long as this, or anything borrowed from it, lives:
    /// - nothing writes to the file in place, in this process or another;
    /// - nothing cuts it short.
    ///
    /// Names, keys and strings are checked once and handed out as `&str`, values as `&[f32]` and the like; a program that
    /// writes into the file changes them in their users' hands, which is undefined behaviour. One that truncates it makes
    /// later access end this process (SIGBUS). Replacing the file by renaming another over it is safe, as
    /// [`Writer::create`](crate::Writer::create) does.
    ///
    /// ```
    /// use gguf_codec::Gguf;
    ///
    /// // SAFETY: nothing changes the sample while this runs.
    /// let model = unsafe { Gguf::map("examples/sample.gguf") }?;
    /// let norm: &[f32] = model.tensor("output_norm.weight")?.as_slice()?;
    /// assert_eq!(norm.len(), 64);
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`], and those of [`GgufOptions::parse`].
    #[allow(unsafe_code, reason = "what mapping needs is the caller's to promise")]
    pub unsafe fn map(path: impl AsRef<Path>) -> Result<Self> {
        // SAFETY: the caller's promise is the one that is asked for.
        unsafe { GgufOptions::default().map(path) }
    }

    /// Asks the operating system to begin reading a tensor's data from disk, and returns at once: a layer's weights are read while
    /// the one before is computed with. Without it pages are read when they are first touched.
    ///
    /// Where the system cannot be asked (other than Unix) nothing happens.
    ///
    /// ```
    /// use gguf_codec::Gguf;
    ///
    /// // SAFETY: nothing changes the sample while this runs.
    /// let model = unsafe { Gguf::map("examples/sample.gguf") }?;
    /// model.prefetch("blk.1.ffn_down.weight")?;
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`tensor`](Self::tensor), and [`Error::Io`] where the system refuses.
    pub fn prefetch(&self, name: &str) -> Result<()> {
        let bytes = self.tensor(name)?.bytes()?;
        self.bytes.prefetch(bytes).map_err(|error| Error::io(format!("read ahead tensor '{name}'"), error))
    }
}

impl GgufOptions {
    /// As [`Gguf::open`].
    ///
    /// # Errors
    /// [`Error::Io`], and those of [`parse`](Self::parse).
    #[cfg(any(unix, windows))]
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Gguf<Vec<u8>>> {
        let path = path.as_ref();
        let failed = |error| Error::io(format!("open '{}'", path.display()), error);
        expect_regular(path, READ_HEADER).map_err(failed)?;
        let file = fs::File::open(path).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        let source = SourceFile::new(file, path).map_err(failed)?;
        self.open_source(Box::new(source), len, format!(" of '{}'", path.display()))
    }

    /// As [`Gguf::open`], which reads the whole file here.
    ///
    /// # Errors
    /// [`Error::Io`], and those of [`parse`](Self::parse).
    #[cfg(not(any(unix, windows)))]
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Gguf<Vec<u8>>> {
        self.read(path)
    }

    /// As [`Gguf::read_at`].
    ///
    /// # Errors
    /// [`Error::Io`], and those of [`parse`](Self::parse).
    pub fn read_at(&self, source: impl ReadAt + 'static, len: u64) -> Result<Gguf<Vec<u8>>> {
        self.open_source(Box::new(source), len, String::new())
    }

    fn open_source(&self, source: Box<dyn ReadAt>, len: u64, of: String) -> Result<Gguf<Vec<u8>>> {
        let (model, end) = file_data::read_header(&*source, len, self)?;
        let tensors = model.tensor_count();
        Ok(model.with_file(FileData::new(source, of, self.offset, end, tensors)))
    }

    /// As [`Gguf::map`].
    ///
    /// # Safety
    /// That of [`Gguf::map`].
    ///
    /// # Errors
    /// [`Error::Io`], and those of [`parse`](Self::parse).
    #[cfg(feature = "mmap")]
    #[allow(unsafe_code, reason = "what mapping needs is the caller's to promise")]
    pub unsafe fn map(&self, path: impl AsRef<Path>) -> Result<Gguf<Mapped>> {
        let path = path.as_ref();
        let failed = |error| Error::io(format!("open '{}'", path.display()), error);
        expect_regular(path, READ_HEADER).map_err(failed)?;
        let file = fs::File::open(path).map_err(failed)?;
        // SAFETY: the caller's promise is the one that is asked for.
        let mapped = unsafe { Mapped::new(&file) };
        self.parse(mapped.map_err(|source| Error::io(format!("map '{}'", path.display()), source))?)
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
