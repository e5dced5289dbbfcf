//! [`Writer`]: declare, write the header, stream the data, finish.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::io::Write;
use std::path::Path;

use super::dtype::Dtype;
use super::index::{Extents, byte_len, folded};
use super::json::METADATA;
use crate::error::{Error, Result, Shown};
use crate::file::Existing;
use crate::file::atomic::AtomicFile;
use crate::file::sink::{Sink, put};
use crate::ggml_type::GgmlType;
use crate::gguf::layout::FinalPadding;
use crate::tensor::Shape;
use crate::write::stream::{Declared, Stream};

/// Data begins at a multiple of this, so that values are aligned if the file is mapped.
const ALIGNMENT: usize = 8;

/// The first stage of writing a safetensors file: metadata and tensor declarations.
///
/// ```
/// use gguf_codec::safetensors::{Dtype, SafeTensors, Writer};
/// let mut writer = Writer::new(Vec::new());
/// writer.set_metadata("format", "pt").declare_tensor("w", &[2, 3], Dtype::F32)?;
/// let mut data = writer.write_header()?;
/// data.write_tensor("w", &[0; 24])?;
/// let file: Vec<u8> = data.finish()?;
/// assert_eq!(SafeTensors::parse(&file)?.tensor("w").unwrap().byte_len(), 24);
/// # Ok::<(), gguf_codec::Error>(())
/// ```
#[must_use = "nothing is written before `write_header`"]
#[derive(Debug)]
pub struct Writer<S> {
    sink: S,
    metadata: BTreeMap<String, String>,
    tensors: Vec<Declared<Kind>>,
    names: HashSet<String>,
}

/// What the header says of a tensor beside its name: its extents outermost first.
#[derive(Debug)]
pub struct Kind {
    dtype: Dtype,
    shape: Vec<u64>,
}

impl<W: Write> Writer<W> {
    /// Writes to `stream` at its current position.
    pub fn new(stream: W) -> Self {
        Writer::of(stream)
    }
}

impl Writer<AtomicFile> {
    /// Writes a file that appears at `path` when [`DataWriter::finish`] succeeds, like
    /// [`gguf_codec::Writer::create`](crate::Writer::create).
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        Self::create_with(path, Existing::ReplaceTarget)
    }

    /// Like [`create`](Self::create), with a choice of what happens if the file exists.
    ///
    /// # Errors
    /// The errors of [`gguf_codec::Writer::create_with`](crate::Writer::create_with).
    pub fn create_with(path: impl AsRef<Path>, existing: Existing) -> Result<Self> {
        Ok(Writer::of(AtomicFile::create(path.as_ref(), existing)?))
    }
}

impl<S: Sink> Writer<S> {
    fn of(sink: S) -> Self {
        Writer { sink, metadata: BTreeMap::new(), tensors: Vec::new(), names: HashSet::new() }
    }

    /// Adds a key to `__metadata__`, or replaces its value.
    pub fn set_metadata(&mut self, key: &str, value: &str) -> &mut Self {
        self.metadata.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Declares the next tensor, with its extents outermost first, as in PyTorch.
    ///
    /// Some readers require every value at a multiple of its size. This holds if tensors of larger types come first.
    ///
    /// # Errors
    /// [`Error::Write`] if the name has already been declared, or the number of bytes overflows.
    pub fn declare_tensor(&mut self, name: &str, shape: &[u64], dtype: Dtype) -> Result<&mut Self> {
        let shown = Shown(name);
        if name == METADATA {
            return Err(wrong(format!("no tensor can be called '{METADATA}'")));
        }
        let Some(bytes) = byte_len(dtype, shape) else {
            return Err(wrong(format!(
                "tensor '{shown}': {dtype} of shape {} is no whole number of bytes that 64 bits count",
                Extents(shape)
            )));
        };
        if !self.names.insert(name.to_owned()) {
            return Err(wrong(format!("tensor '{shown}' is declared twice; names must differ")));
        }
        let kind = Kind { dtype, shape: shape.to_vec() };
        self.tensors.push(Declared { name: name.to_owned(), bytes, kind });
        Ok(self)
    }

    /// Writes the header.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Write`] if the length of the data overflows.
    pub fn write_header(self) -> Result<DataWriter<S>> {
        let Writer { mut sink, metadata, tensors, .. } = self;
        let mut json = b"{".to_vec();
        if !metadata.is_empty() {
            json.extend(quoted(METADATA));
            json.extend(b":{");
            for (index, (key, value)) in metadata.iter().enumerate() {
                json.extend(if index > 0 { &b","[..] } else { b"" });
                json.extend(quoted(key));
                json.push(b':');
                json.extend(quoted(value));
            }
            json.push(b'}');
        }
        let mut start = 0u64;
        for Declared { name, bytes, kind: Kind { dtype, shape } } in &tensors {
            let end = start.checked_add(*bytes).ok_or_else(|| {
                wrong(format!("with tensor '{}' the file is longer than 64 bits can count", Shown(name)))
            })?;
            if json.len() > 1 {
                json.push(b',');
            }
            json.extend(quoted(name));
            let extents: Vec<_> = shape.iter().map(u64::to_string).collect();
            json.extend(
                format!(
                    r#":{{"dtype":"{dtype}","shape":[{}],"data_offsets":[{start},{end}]}}"#,
                    extents.join(",")
                )
                .into_bytes(),
            );
            start = end;
        }
        json.push(b'}');
        json.resize(json.len().next_multiple_of(ALIGNMENT), b' ');
        put(&mut sink, &(json.len() as u64).to_le_bytes())?;
        put(&mut sink, &json)?;
        Ok(DataWriter { stream: Stream::new(sink, tensors, 1, FinalPadding::Whole) })
    }
}

/// The second stage: takes the tensors' data, in the order of the declarations.
#[must_use = "the file is not whole before `finish`"]
pub struct DataWriter<S: Sink> {
    pub(crate) stream: Stream<S, Kind>,
}

impl<S: Sink> DataWriter<S> {
    /// Writes the next tensor: little-endian values, row after row.
    ///
    /// # Errors
    /// The errors of [`begin`](Self::begin), [`TensorWriter::write_bytes`] and [`TensorWriter::finish`].
    pub fn write_tensor(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let mut tensor = self.begin(name)?;
        tensor.write_bytes(bytes)?;
        tensor.finish()
    }

    /// Begins the next tensor, to write it in pieces.
    ///
    /// # Errors
    /// [`Error::Write`] if `name` is not the next tensor.
    pub fn begin(&mut self, name: &str) -> Result<TensorWriter<'_, S>> {
        self.stream.begin(name)?;
        Ok(TensorWriter { stream: &mut self.stream })
    }

    /// Finishes the file: flushes and returns a stream, or syncs a file and moves it to its final path.
    ///
    /// # Errors
    /// [`Error::Write`] if a tensor was not written, and [`Error::Io`].
    pub fn finish(self) -> Result<S::Output> {
        self.stream.complete()
    }

    /// Returns an error unless this is the tensor that comes after `ahead` others.
    pub(crate) fn expect(&self, ahead: usize, name: &str, shape: Shape, ty: GgmlType) -> Result<()> {
        let declared = &self.stream.expect(ahead, name)?.kind;
        let is_folded = declared.shape.len() > Shape::MAX_DIMS && folded(&declared.shape) == Some(shape);
        let same = declared.shape.iter().rev().eq(shape.dims()) || is_folded;
        // For safetensors types that GGUF lacks, the bytes in GGUF are the same as these.
        let is_bytes =
            ty == GgmlType::I8 && declared.dtype.ggml_type().is_none() && declared.dtype.bits() == 8;
        if (declared.dtype.ggml_type() == Some(ty) || is_bytes) && same {
            return Ok(());
        }
        Err(wrong(format!(
            "tensor '{}' is {ty} of shape {}, and was declared as {} of shape {}",
            Shown(name),
            Extents(&shape.dims().iter().rev().copied().collect::<Vec<_>>()),
            declared.dtype,
            Extents(&declared.shape)
        )))
    }
}

impl<S: Sink> fmt::Debug for DataWriter<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DataWriter").field(&self.stream).finish()
    }
}

/// Writes one tensor in consecutive pieces. Every error abandons the file, and so does dropping this before
/// [`finish`](Self::finish).
#[must_use = "the tensor is not whole before `finish`"]
pub struct TensorWriter<'a, S: Sink> {
    stream: &'a mut Stream<S, Kind>,
}

impl<S: Sink> TensorWriter<'_, S> {
    /// Writes little-endian values. Pieces may be split anywhere.
    ///
    /// # Errors
    /// [`Error::Write`] if there are more bytes than remain, and [`Error::Io`].
    pub fn write_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write(bytes)
    }

    /// Finishes the tensor.
    ///
    /// # Errors
    /// [`Error::Write`] if bytes are missing.
    pub fn finish(self) -> Result<()> {
        self.stream.end()
    }
}

impl<S: Sink> fmt::Debug for TensorWriter<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TensorWriter").field("written", &self.stream.written()).finish_non_exhaustive()
    }
}

fn quoted(text: &str) -> Vec<u8> {
    // Text can always be encoded as JSON.
    serde_json::to_vec(text).unwrap_or_default()
}

fn wrong(message: String) -> Error {
    Error::write(message)
}
