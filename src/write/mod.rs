//! [`Writer`]: declare, write the header, stream the data, finish. Each stage is a type of its own, so that misuse does not
//! compile.

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
use crate::ggml_type::GgmlType;
use crate::gguf::encode::Stored;
use crate::gguf::layout::{ALIGNMENT_KEY, FinalPadding};
use crate::gguf::value::Value;
use crate::gguf::value_ref::ValueRef;
use crate::limits::Limits;
use crate::tensor::Shape;
use header::Header;
#[cfg(any(unix, windows))]
pub(crate) use header::Layout;

/// The first stage of writing a GGUF: metadata and tensor declarations.
///
/// The header precedes the data and states its size, so everything is declared first. Then
/// [`write_header`](Self::write_header) returns a [`DataWriter`], which takes the tensors' data in the same order. No
/// stage seeks, and none keeps more in memory than the header and a buffer of bounded size.
///
/// The same calls write the same bytes as gguf-py's `GGUFWriter` (whose constructor adds `general.architecture`),
/// with two exceptions: empty strings and empty arrays, which gguf-py drops, are written, and the key
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
/// Data cannot be written before the header:
///
/// ```compile_fail,E0599
/// let mut writer = gguf_codec::Writer::new(Vec::new());
/// writer.declare_tensor("a", &[1], gguf_codec::GgmlType::I8)?;
/// writer.write_tensor("a", &[0])?;
/// # Ok::<(), gguf_codec::Error>(())
/// ```
///
/// Tensors cannot be declared after it:
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
    /// Writes to `stream` at its current position: a pipe, an upload, a `Vec<u8>`.
    ///
    /// Each piece of data is passed on as it is given, so wrap a stream with costly writes in a [`BufWriter`]. For a
    /// file, [`create`](Writer::create) is safer.
    pub fn new(stream: W) -> Self {
        Writer { sink: stream, header: Header::new() }
    }
}

impl Writer<AtomicFile> {
    /// Writes a file that appears at `path` when [`DataWriter::finish`] succeeds. An existing file is replaced only then.
    ///
    /// The bytes go to a temporary file in the same folder, which is synced to disk and renamed. If the writer is
    /// dropped or fails before that, `path` is unchanged. A replaced file passes on its permissions (on Unix: its
    /// mode, but not its owner or access-control list). If `path` is a symbolic link, the file that it points to is
    /// replaced and the link stays.
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
    /// [`Error::Io`] if a file cannot be created in the folder, or if `path` is not a regular file or ends with a path separator.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        Self::create_with(path, Existing::ReplaceTarget)
    }

    /// Like [`create`](Self::create), with a choice of what happens if the file exists. For a job that also reads files,
    /// [`Inputs`](crate::Inputs) checks beforehand whether `path` is one of them.
    ///
    /// ```
    /// use gguf_codec::{Error, Existing, OutputProblem, Writer};
    ///
    /// let error = Writer::create_with("Cargo.toml", Existing::Refuse).unwrap_err();
    /// assert!(matches!(error, Error::Output { problem: OutputProblem::Exists { leads_to: None }, .. }));
    /// ```
    ///
    /// # Errors
    /// The errors of [`create`](Self::create), and [`Error::Output`] if a file exists and may not be replaced.
    /// [`DataWriter::finish`] returns the same error if one has appeared in the meantime.
    pub fn create_with(path: impl AsRef<Path>, existing: Existing) -> Result<Self> {
        Ok(Writer { sink: AtomicFile::create(path.as_ref(), existing)?, header: Header::new() })
    }
}

impl<S: Sink> Writer<S> {
    /// Sets the version of the format: 3, the default, or 2, which differs only in the number.
    ///
    /// # Errors
    /// [`Error::Write`] for any other version.
    pub fn set_version(&mut self, version: u32) -> Result<&mut Self> {
        if !(2..=3).contains(&version) {
            return Err(WriteProblem::Version { found: version }.error());
        }
        self.header.version = version;
        Ok(self)
    }

    /// Sets the limits of the file's readers: larger alignments and more deeply nested arrays are rejected from here
    /// on. The default is [`Limits::default`], which readers also have by default.
    pub fn set_limits(&mut self, limits: Limits) -> &mut Self {
        self.header.limits = limits;
        self
    }

    /// Sets the byte order of the header and of the numbers in the data. Little-endian is the default.
    pub fn set_byte_order(&mut self, order: ByteOrder) -> &mut Self {
        self.header.order = order;
        self
    }

    /// Sets the alignment of tensor data in bytes, by setting the key `general.alignment`; setting the key has the same
    /// effect. The default is 32. gguf-py calls this `add_custom_alignment`. This crate's readers allow 65,536 by
    /// [default](crate::Limits::max_alignment).
    ///
    /// # Errors
    /// [`Error::Write`] if it is not a power of two.
    pub fn set_alignment(&mut self, alignment: u32) -> Result<&mut Self> {
        self.set_metadata(ALIGNMENT_KEY, Value::U32(alignment))
    }

    /// Sets whether the file ends with padding to the alignment, as in gguf-py and ggml. Default: true.
    ///
    /// Readers do not need it. [`copy_header_from`](Self::copy_header_from) copies as much of it as the other file has.
    pub fn set_final_padding(&mut self, padded: bool) -> &mut Self {
        self.header.final_padding = if padded { FinalPadding::Whole } else { FinalPadding::Zeros(0) };
        self
    }

    /// Appends a key after the existing ones. If the key exists, it gets the new value and keeps its place.
    ///
    /// Where no type is given, Rust makes an integer literal an `i32` and a float literal an `f64`. llama.cpp expects
    /// `u32` and `f32` for its keys: write `4096u32`.
    ///
    /// # Errors
    /// [`Error::Write`] if the key is empty, if it is `general.alignment` and the value is not a [`Value::U32`] that
    /// is a power of two, or if arrays nest more than 64 levels deep. Readers allow 4 by
    /// [default](crate::Limits::max_array_depth).
    pub fn set_metadata(&mut self, key: &str, value: impl Into<Value>) -> Result<&mut Self> {
        self.header.set(key, Stored::Value(value.into()))?;
        Ok(self)
    }

    /// Appends a key with a value of another file, copying its bytes without decoding arrays. Otherwise like
    /// [`set_metadata`](Self::set_metadata).
    ///
    /// # Errors
    /// The errors of [`set_metadata`](Self::set_metadata).
    pub fn set_metadata_ref(&mut self, key: &str, value: ValueRef<'_>) -> Result<&mut Self> {
        self.header.set(key, Stored::from(value))?;
        Ok(self)
    }

    /// Removes a key. Returns whether it existed. The others keep their order.
    pub fn remove_metadata(&mut self, key: &str) -> bool {
        self.header.remove(key)
    }

    /// Declares the next tensor. Its data is written later, in the order of the declarations.
    ///
    /// `extents` are in GGUF order: the first is the *innermost*, the length of a row.
    ///
    /// # Errors
    /// [`Error::Write`], naming the tensor, if the name is longer than 64 bytes or taken, there are more than four
    /// extents, the size overflows, or rows are not whole blocks of `ty`. The writer is unchanged.
    pub fn declare_tensor(&mut self, name: &str, extents: &[u64], ty: GgmlType) -> Result<&mut Self> {
        self.header.declare(name, extents, ty)?;
        Ok(self)
    }

    /// Returns the length in bytes that the file will have with the current declarations, for uploads that must state
    /// it up front.
    ///
    /// # Errors
    /// [`Error::Write`] if it exceeds 64 bits.
    pub fn file_len(&self) -> Result<u64> {
        Ok(self.header.layout()?.file)
    }

    /// Returns the header without the padding after it, and the layout of the data and its tensors.
    #[cfg(any(unix, windows))]
    pub(crate) fn header_bytes(&self) -> Result<(Vec<u8>, Layout)> {
        let layout = self.header.layout()?;
        let mut bytes = Vec::new();
        self.header.write(&mut bytes, &layout).map_err(|error| Error::io("encode the header", error))?;
        Ok((bytes, layout))
    }

    /// Writes the header and the padding after it. Tensor data comes next.
    ///
    /// # Errors
    /// [`Error::Io`] if writing fails, and [`Error::Write`] if the length of the file exceeds 64 bits.
    pub fn write_header(self) -> Result<DataWriter<S>> {
        let Writer { mut sink, header } = self;
        let layout = header.layout()?;
        let action = sink.action();
        let mut out = BufWriter::new(AsWrite(&mut sink));
        let written = header.write(&mut out, &layout).and_then(|()| out.flush());
        // After an error, the rest of the buffer must not be written after the part that was refused.
        let _ = out.into_parts();
        written.map_err(|error| Error::io(action, error))?;
        put_zeros(&mut sink, layout.padding)?;
        Ok(DataWriter::new(sink, header, layout.alignment))
    }
}

/// Writes a file from a prepared header, its padding, and a part of another file as its data. Returns its length.
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
