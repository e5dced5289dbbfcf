//! Opening a [`Gguf`] from files and streams: the parts that need an operating system.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use super::file_data::FileData;
use super::header_at;
use super::index::Gguf;
use super::layout::to_u64;
use super::options::GgufOptions;
use super::parser::{HeaderParser, HeaderProgress};
use crate::error::{Error, Result};
#[cfg(feature = "mmap")]
use crate::file::map::{Advice, Mapped};
use crate::file::read_at::ReadAt;
use crate::file::regular::{READ_HEADER, expect_regular};
#[cfg(any(unix, windows))]
use crate::file::source::SourceFile;

impl Gguf<Vec<u8>> {
    /// Reads a whole file into memory. [`open`](Self::open) reads only what is requested.
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

    /// Reads a header from any reader and stops exactly at its end, the end of the tensor table.
    ///
    /// The result has metadata and the table. Requesting a tensor's data returns [`Error::HeaderOnly`]. The header
    /// does not reveal whether the file is as long as the tensors need, so this is not checked. The parser makes few
    /// reads, each as large as the rest of the header is certain to be. Memory grows with the bytes actually
    /// received, whatever the header declares.
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
    /// Opens a file and reads its header into memory. Tensor data is read from the file on request.
    ///
    /// The file may be written to in the meantime. Tensors then have the values that the file has when they are read, and
    /// reading past the end of a truncated file is an error. Replacing the file by renaming another over it has no effect on
    /// this handle. [`Tensor`](crate::Tensor) documents what is kept in memory.
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
    /// The file is kept open. If a process has more than a hundred such files, each further one is opened for each read, and
    /// it is an error if another file has taken its name. If the operating system cannot read a file at an offset (neither
    /// Unix nor Windows), this is [`read`](Self::read).
    ///
    /// # Errors
    /// [`Error::Io`], and those of [`GgufOptions::parse`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        GgufOptions::default().open(path)
    }

    /// Opens a GGUF from any source that can be read at an offset, such as a cache of ranges fetched over a network. Reads
    /// its header into memory. Tensor data is read on request, as by [`open`](Self::open).
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
    /// Maps a file into memory and parses its header. Tensors are slices of the mapping, so nothing is copied. The operating
    /// system reads them on first access.
    ///
    /// [`open`](Gguf::open) does the same without a safety contract. `docs/performance.md` describes when mapping pays: for
    /// programs that go through slices of many tensors repeatedly.
    ///
    /// # Safety
    /// As long as this value, or anything borrowed from it, lives:
    /// - nothing may write to the file in place, in this process or another;
    /// - nothing may truncate it.
    ///
    /// Names, keys and strings are validated once and returned as `&str`, values as `&[f32]` and so on. A program that
    /// writes to the file changes them while they are borrowed, which is undefined behaviour. If a program truncates the
    /// file, later access terminates this process (SIGBUS). Replacing the file by renaming another over it is safe, as
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
        // SAFETY: the caller upholds the same contract.
        unsafe { GgufOptions::default().map(path) }
    }

    /// Asks the operating system to start reading a tensor's data from disk, and returns immediately, so that one layer's weights
    /// are read while the previous layer is computed. Without it pages are read on first access.
    ///
    /// Does nothing on systems that offer no such request (other than Unix).
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
    /// The errors of [`advise`](Self::advise).
    pub fn prefetch(&self, name: &str) -> Result<()> {
        self.advise(name, Advice::WillNeed)
    }

    /// Tells the operating system how a tensor's data will be read. That holds until other advice is given, and changes how fast
    /// the data comes from disk, not what is read.
    ///
    /// Does nothing on systems that take no advice (other than Unix).
    ///
    /// ```
    /// use gguf_codec::{Advice, Gguf};
    ///
    /// // SAFETY: nothing changes the sample while this runs.
    /// let model = unsafe { Gguf::map("examples/sample.gguf") }?;
    /// // Of the embedding a model reads one row for each token.
    /// model.advise("token_embd.weight", Advice::Random)?;
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`tensor`](Self::tensor), and [`Error::Io`] if the system refuses.
    pub fn advise(&self, name: &str, advice: Advice) -> Result<()> {
        let bytes = self.tensor(name)?.bytes()?;
        let advised = self.bytes.advise(bytes, advice);
        advised.map_err(|error| Error::io(format!("say how tensor '{name}' will be read"), error))
    }
}

impl GgufOptions {
    /// Like [`Gguf::open`].
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
            .map_err(|error| error.of(path))
    }

    /// Like [`Gguf::open`], which reads the whole file on this platform.
    ///
    /// # Errors
    /// [`Error::Io`], and those of [`parse`](Self::parse).
    #[cfg(not(any(unix, windows)))]
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Gguf<Vec<u8>>> {
        self.read(path)
    }

    /// Like [`Gguf::read_at`].
    ///
    /// # Errors
    /// [`Error::Io`], and those of [`parse`](Self::parse).
    pub fn read_at(&self, source: impl ReadAt + 'static, len: u64) -> Result<Gguf<Vec<u8>>> {
        self.open_source(Box::new(source), len, String::new())
    }

    fn open_source(&self, source: Box<dyn ReadAt>, len: u64, of: String) -> Result<Gguf<Vec<u8>>> {
        let (model, end) = header_at::read_header(&*source, len, self)?;
        let tensors = model.tensor_count();
        Ok(model.with_file(FileData::new(source, of, self.offset, end, tensors)))
    }

    /// Like [`Gguf::map`].
    ///
    /// # Safety
    /// The contract of [`Gguf::map`].
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
        // SAFETY: the caller upholds the same contract.
        let mapped = unsafe { Mapped::new(&file) };
        let mapped = mapped.map_err(|source| Error::io(format!("map '{}'", path.display()), source))?;
        self.parse(mapped).map_err(|error| error.of(path))
    }

    /// Like [`Gguf::read`].
    ///
    /// # Errors
    /// [`Error::Io`], and those of [`parse`](Self::parse).
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Gguf<Vec<u8>>> {
        let path = path.as_ref();
        let read = || {
            expect_regular(path, READ_HEADER)?;
            fs::read(path)
        };
        let bytes = read().map_err(|error| Error::io(format!("read '{}'", path.display()), error))?;
        self.parse(bytes).map_err(|error| error.of(path))
    }

    /// Like [`Gguf::read_header`]. With an [`offset`](Self::offset), that many bytes of the reader are discarded first.
    ///
    /// # Errors
    /// [`Error::Io`], those of [`HeaderParser::advance`], and [`Error::Length`] if the reader ends before the
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

/// Reads `more` bytes, or fewer if the reader ends. Returns `true` if it read all of them.
///
/// `more` comes from the header and is untrusted, so memory grows by half of what has been received each time.
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
        // Zeroed once per chunk, not once per read: a pipe may deliver a few bytes at a time.
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

/// Reads until the buffer is full or the reader ends. Returns the number of bytes read.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
        match reader.read(room) {
            Ok(0) => break,
            // A reader that claims more than it was given room for is broken. Do not trust the excess.
            Ok(read) => filled += read.min(room.len()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
