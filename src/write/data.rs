//! [`DataWriter`]: writes tensor data in the order of the declarations.

use std::fmt;

use super::Shape;
use super::header::Header;
use super::stream::{Stream, wrong};
use crate::byte_order::ByteOrder;
use crate::error::{Result, TensorProblem};
use crate::file::atomic::{AtomicFile, StagedFile};
use crate::file::sink::Sink;
use crate::ggml_type::GgmlType;
use crate::tensor::TensorLayout;

/// The second stage of writing a GGUF. The header has been written, and the tensors' data follows in the order in
/// which they were declared.
///
/// The file is complete when [`finish`](Self::finish) succeeds. If an error occurs inside a tensor, or a tensor is
/// begun and not finished, the file is abandoned: all further calls fail with a message that names that tensor.
///
/// ```
/// # use gguf_codec::{GgmlType, Writer};
/// # let mut writer = Writer::new(Vec::new());
/// writer.declare_tensor("a", &[2], GgmlType::I8)?.declare_tensor("b", &[32], GgmlType::Q4_0)?;
/// let mut data = writer.write_header()?;
/// data.write_tensor("a", &[1, 2])?;
/// let (name, shape, ty) = data.next_tensor().unwrap();
/// assert_eq!((name, shape.dims(), ty), ("b", &[32][..], GgmlType::Q4_0));
/// let mut tensor = data.begin("b")?; // in pieces
/// tensor.write_values(&[0.25; 32], None)?;
/// tensor.finish()?;
/// let file = data.finish()?;
/// # assert_eq!(file.len() % 32, 0);
/// # Ok::<(), gguf_codec::Error>(())
/// ```
#[must_use = "the file is not whole before `finish`"]
pub struct DataWriter<S: Sink> {
    pub(crate) stream: Stream<S, TensorLayout>,
    pub(super) order: ByteOrder,
    /// Blocks on their way into the file; kept between calls for its memory, not for what is in it.
    pub(super) buffer: Vec<u8>,
}

impl<S: Sink> DataWriter<S> {
    pub(super) fn new(sink: S, header: Header, alignment: u32) -> Self {
        let (order, final_padding) = (header.order, header.final_padding);
        let stream = Stream::new(sink, header.into_tensors(), alignment, final_padding);
        DataWriter { stream, order, buffer: Vec::new() }
    }

    /// Returns the tensor whose data comes next, or `None` if all have been written.
    pub fn next_tensor(&self) -> Option<(&str, Shape, GgmlType)> {
        self.stream.next().map(|tensor| (tensor.name.as_str(), tensor.kind.shape(), tensor.kind.ggml_type()))
    }

    /// Returns the byte order of the file. [`write_tensor`](Self::write_tensor) and
    /// [`TensorWriter::write_bytes`](crate::TensorWriter::write_bytes)
    /// take bytes in this order.
    pub fn byte_order(&self) -> ByteOrder {
        self.order
    }

    /// Finishes the file: flushes and returns a stream, or syncs a file and moves it to its final path.
    ///
    /// # Errors
    /// [`Error::Write`](crate::Error::Write) if a tensor was not written, and [`Error::Io`](crate::Error::Io) if writing fails.
    /// The file that [`Writer::create`](crate::Writer::create) was to replace is then still intact. Only an error in syncing the
    /// folder occurs after it has been replaced.
    pub fn finish(self) -> Result<S::Output> {
        self.stream.complete()
    }

    /// Refuses where the tensor that comes after `ahead` others is not this one.
    pub(crate) fn expect(&self, ahead: usize, name: &str, shape: Shape, ty: GgmlType) -> Result<()> {
        let declared = self.stream.expect(ahead, name)?.kind;
        let (declared_shape, declared_ty) = (declared.shape(), declared.ggml_type());
        if declared_shape.counts_as(shape) && declared_ty == ty {
            return Ok(());
        }
        Err(wrong(name, TensorProblem::Declared { ty, shape, declared_ty, declared_shape }))
    }
}

impl DataWriter<AtomicFile> {
    /// Finishes the file but leaves it under its temporary name, synced to disk, so that it can be moved to its final
    /// path together with others: see [`StagedFile::commit_all`].
    ///
    /// # Errors
    /// The errors of [`finish`](Self::finish).
    pub fn stage(self) -> Result<StagedFile> {
        self.stream.stage()
    }
}

impl<S: Sink> fmt::Debug for DataWriter<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DataWriter").field(&self.stream).finish()
    }
}
