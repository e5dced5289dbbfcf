//! [`Writer`]: declare, write the header, stream the data, finish. A type for each stage, so that misuse does
//! not compile.

mod copy;
mod data;
mod header;
mod shard;
pub(crate) mod stream;
mod tensor;
#[cfg(all(test, feature = "codecs"))]
mod tests;
#[cfg(feature = "codecs")]
mod values;

use std::fmt;
use std::io::{BufWriter, Write};
#[cfg(any(unix, windows))]
use std::ops::{ControlFlow, Range};
use std::path::Path;

pub use data::DataWriter;
pub(crate) use header::Kind;
pub use tensor::TensorWriter;

use crate::byte_order::ByteOrder;
use crate::error::{Error, Result, WriteProblem};
use crate::file::Existing;
use crate::file::atomic::AtomicFile;
#[cfg(any(unix, windows))]
use crate::file::read_at::ReadAt;
#[cfg(any(unix, windows))]
use crate::file::sink::put;
use crate::file::sink::{AsWrite, Sink, put_zeros};
use crate::gguf::encode::Stored;
use crate::gguf::layout::{ALIGNMENT_KEY, FinalPadding};
use crate::gguf::value::{Value, ValueRef};
use crate::{GgmlType, Limits, Shape};
use header::Header;
#[cfg(any(unix, windows))]
pub(crate) use header::Layout;

/// The first stage of writing a GGUF: metadata and the tensors to come.
///
/// The header stands before the data and says how much of it there is, so everything is declared first. Then
/// [`write_header`](Self::write_header) gives a [`DataWriter`], which takes the tensors' data in the same order.
/// No stage seeks, and none holds more than the header and a buffer of bounded size.
///
/// The same calls write the same bytes as gguf-py's `GGUFWriter` (whose constructor adds `general.architecture`),
/// except where gguf-py drops what it is given: empty strings and empty arrays are written here, and the key
/// `general.alignment` takes effect however it is set.
///
/// ```
/// use gguf_codec::{GgmlType, Value, Writer};
///
/// let mut writer = Writer::new(Vec::new());
/// writer
///     .set_metadata("general.architecture", Value::String(b"llama".to_vec()))?
///     .set_metadata("llama.block_count", Value::U32(1))?
///     .declare_tensor("output_norm.weight", &[2], GgmlType::F32)?;
/// let mut data = writer.write_header()?;
/// data.write_tensor("output_norm.weight", &[0, 0, 0x80, 0x3f, 0, 0, 0, 0x40])?;
/// let file: Vec<u8> = data.finish()?;
/// assert_eq!(&file[..4], b"GGUF");
/// # Ok::<(), gguf_codec::Error>(())
/// ```
///
/// Data cannot come before the header:
///
/// ```compile_fail,E0599
/// let mut writer = gguf_codec::Writer::new(Vec::new());
/// writer.declare_tensor("a", &[1], gguf_codec::GgmlType::I8)?;
/// writer.write_tensor("a", &[0])?;
/// # Ok::<(), gguf_codec::Error>(())
/// ```
///
/// Nor declarations after it:
///
/// ```compile_fail,E0382
/// let mut writer = gguf_codec::Writer::new(Vec::new());
/// let data = writer.write_header()?;
/// writer.declare_tensor("late", &[1], gguf_codec::GgmlType::I8)?;
/// # Ok::<(), gguf_codec::Error>(())
/// ```
#[must_use = "nothing is written before `write_header`"]
#[doc(alias = "GGUFWriter")]
pub struct Writer<S> {
    sink: S,
    header: Header,
}

impl<W: Write> Writer<W> {
    /// Writes to `stream`, from where it stands: a pipe, an upload, a `Vec<u8>`.
    ///
    /// Data goes out in the pieces in which it comes, so wrap a stream whose writes are costly in a
    /// [`BufWriter`]. For a file, [`create`](Writer::create) is safer.
    pub fn new(stream: W) -> Self {
        Writer { sink: stream, header: Header::new() }
    }
}

impl Writer<AtomicFile> {
    /// Writes a file that appears at `path` when [`DataWriter::finish`] succeeds, and replaces what is there only
    /// then.
    ///
    /// The bytes go to a temporary file in the same folder, which is synced to the disk and renamed. What is
    /// dropped or fails before leaves `path` as it was. A file that is replaced hands on its permissions (on Unix:
    /// its mode, but not its owner or access-control list); where `path` is a symbolic link, the file it points to
    /// is replaced and the link stays.
    ///
    /// ```no_run
    /// # use gguf_codec::{GgmlType, Writer};
    /// let mut writer = Writer::create("model.gguf")?;
    /// writer.declare_tensor("token_embd.weight", &[2048, 32000], GgmlType::Q8_0)?;
    /// let mut data = writer.write_header()?;
    /// let mut tensor = data.begin("token_embd.weight")?;
    /// for row in 0..32000 {
    ///     let values = vec![row as f32; 2048];
    ///     tensor.write_values(&values, None)?;
    /// }
    /// tensor.finish()?;
    /// data.finish()?;
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`] where the folder does not let a file be made, or `path` is something else than a regular
    /// file, or ends like a folder's, with a separator.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        Self::create_with(path, Existing::ReplaceTarget)
    }

    /// As [`create`](Self::create), with a choice of what happens to a file that exists. Before a job that reads files as well,
    /// [`Inputs`](crate::Inputs) tells whether `path` is one of them.
    ///
    /// ```
    /// use gguf_codec::{Error, Existing, OutputProblem, Writer};
    ///
    /// let error = Writer::create_with("Cargo.toml", Existing::Refuse).unwrap_err();
    /// assert!(matches!(error, Error::Output { problem: OutputProblem::Exists { leads_to: None }, .. }));
    /// ```
    ///
    /// # Errors
    /// As [`create`](Self::create), and [`Error::Output`] where a file exists that may not be replaced.
    /// [`DataWriter::finish`] gives the same error where one has appeared since.
    pub fn create_with(path: impl AsRef<Path>, existing: Existing) -> Result<Self> {
        Ok(Writer { sink: AtomicFile::create(path.as_ref(), existing)?, header: Header::new() })
    }
}

impl<S: Sink> Writer<S> {
    /// Sets the version of the format: 3, the default, or 2, which differs in the number alone.
    ///
    /// # Errors
    /// [`Error::Write`] for any other.
    pub fn set_version(&mut self, version: u32) -> Result<&mut Self> {
        if !(2..=3).contains(&version) {
            return Err(WriteProblem::Version { found: version }.error());
        }
        self.header.version = version;
        Ok(self)
    }

    /// Sets what those who read the file will allow: alignments and nested arrays beyond are refused from here on. By
    /// default these are [`Limits::default`], which readers have by default.
    pub fn set_limits(&mut self, limits: Limits) -> &mut Self {
        self.header.limits = limits;
        self
    }

    /// Sets the byte order of the header and of the numbers in the data. Little-endian is the default.
    pub fn set_byte_order(&mut self, order: ByteOrder) -> &mut Self {
        self.header.order = order;
        self
    }

    /// Sets the alignment of the tensors' data in bytes, by setting the key `general.alignment`, which has the
    /// same effect. Without it the alignment is 32. gguf-py calls this `add_custom_alignment`. Readers here allow 65,536 by
    /// [default](crate::Limits::max_alignment).
    ///
    /// # Errors
    /// [`Error::Write`] where it is not a power of two.
    pub fn set_alignment(&mut self, alignment: u32) -> Result<&mut Self> {
        self.set_metadata(ALIGNMENT_KEY, Value::U32(alignment))
    }

    /// Whether the file ends with padding to the alignment, as gguf-py and ggml write it. Yes by default.
    ///
    /// Readers do not need it. [`copy_header_from`](Self::copy_header_from) takes over as much of it as the other
    /// file has.
    pub fn set_final_padding(&mut self, padded: bool) -> &mut Self {
        self.header.final_padding = if padded { FinalPadding::Whole } else { FinalPadding::Zeros(0) };
        self
    }

    /// Adds a key, behind those that are there. One that is there already gets the new value and keeps its
    /// place.
    ///
    /// # Errors
    /// [`Error::Write`] where the key is empty, or is `general.alignment` and the value not a [`Value::U32`] that
    /// is a power of two, or where arrays nest more than 64 levels deep. Readers allow 4 by
    /// [default](crate::Limits::max_array_depth).
    pub fn set_metadata(&mut self, key: &str, value: impl Into<Value>) -> Result<&mut Self> {
        self.header.set(key, Stored::Value(value.into()))?;
        Ok(self)
    }

    /// Adds a key with a value of another file, copying its bytes: arrays are not decoded. Otherwise as
    /// [`set_metadata`](Self::set_metadata).
    ///
    /// # Errors
    /// As [`set_metadata`](Self::set_metadata).
    pub fn set_metadata_ref(&mut self, key: &str, value: ValueRef<'_>) -> Result<&mut Self> {
        self.header.set(key, Stored::from(value))?;
        Ok(self)
    }

    /// Takes a key away and says whether it was there. The others keep their order.
    pub fn remove_metadata(&mut self, key: &str) -> bool {
        self.header.remove(key)
    }

    /// Declares the next tensor. Its data comes later, in the order of the declarations.
    ///
    /// `extents` are in GGUF order: the first is the *innermost*, the length of a row.
    ///
    /// # Errors
    /// [`Error::Write`], naming the tensor, where the name is longer than 64 bytes or taken, there are more than
    /// four extents, the size cannot be counted, or rows are not whole blocks of `ty`. The writer stays as it was.
    pub fn declare_tensor(&mut self, name: &str, extents: &[u64], ty: GgmlType) -> Result<&mut Self> {
        self.header.declare(name, extents, ty)?;
        Ok(self)
    }

    /// The length in bytes that the file will have with what is declared so far, for an upload that must say it
    /// first.
    ///
    /// # Errors
    /// [`Error::Write`] where 64 bits cannot count it.
    pub fn file_len(&self) -> Result<u64> {
        Ok(self.header.layout()?.file)
    }

    /// The header without the padding after it, and where the data and its tensors will lie.
    #[cfg(any(unix, windows))]
    pub(crate) fn header_bytes(&self) -> Result<(Vec<u8>, Layout)> {
        let layout = self.header.layout()?;
        let mut bytes = Vec::new();
        self.header.write(&mut bytes, &layout).map_err(|error| Error::io("encode the header", error))?;
        Ok((bytes, layout))
    }

    /// Writes the header and the padding after it. What follows is the data.
    ///
    /// # Errors
    /// [`Error::Io`] where writing fails, and [`Error::Write`] where the file would be longer than 64 bits can
    /// count.
    pub fn write_header(self) -> Result<DataWriter<S>> {
        let Writer { mut sink, header } = self;
        let layout = header.layout()?;
        let action = sink.action();
        let mut out = BufWriter::new(AsWrite(&mut sink));
        let written = header.write(&mut out, &layout).and_then(|()| out.flush());
        // What is left in the buffer after an error must not follow what was already refused.
        let _ = out.into_parts();
        written.map_err(|error| Error::io(action, error))?;
        put_zeros(&mut sink, layout.padding)?;
        Ok(DataWriter::new(sink, header, layout.alignment))
    }
}

/// Writes a file of a header that is made already, its padding, and a part of another file as its data; gives its length.
#[cfg(any(unix, windows))]
pub(crate) fn write_around(
    output: &Path,
    existing: Existing,
    header: &[u8],
    padding: u64,
    (source, part): (&dyn ReadAt, Range<u64>),
    mut progress: impl FnMut(u64) -> ControlFlow<()>,
) -> Result<u64> {
    const STEP: u64 = 64 << 20;
    let mut sink = AtomicFile::create(output, existing)?;
    put(&mut sink, header)?;
    put_zeros(&mut sink, padding)?;
    let mut at = part.start;
    while at < part.end {
        let step = STEP.min(part.end - at);
        sink.put_from(source, at, step).map_err(|error| Error::io(sink.action(), error))?;
        at += step;
        if progress(step).is_break() {
            return Err(Error::Interrupted);
        }
    }
    sink.complete()?;
    Ok(header.len() as u64 + padding + (part.end - part.start))
}

impl<S> fmt::Debug for Writer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("header", &self.header).finish_non_exhaustive()
    }
}
