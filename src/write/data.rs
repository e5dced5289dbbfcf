//! [`DataWriter`]: the tensors' data, in the order in which they were declared.

use std::fmt;

use super::Shape;
use super::header::{Declared, Header, wrong};
use super::tensor::TensorWriter;
use crate::byte_order::ByteOrder;
use crate::error::Result;
use crate::file::atomic::{AtomicFile, StagedFile};
use crate::file::sink::Sink;
use crate::gguf::layout::FinalPadding;
use crate::tensor::READ_BYTES;
use crate::{GgmlType, Tensor};

/// The second stage of writing a GGUF: the header is written, and the tensors' data follows, in the order in
/// which the tensors were declared.
///
/// The file is whole when [`finish`](Self::finish) succeeds. After an error inside a tensor, or a tensor begun
/// and not finished, the file is given up: everything else fails with a message that names that tensor.
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
    pub(super) sink: S,
    pub(super) tensors: Vec<Declared>,
    /// Position in `tensors` of the first that is not finished.
    pub(super) next: usize,
    /// Whether that one was begun.
    pub(super) begun: bool,
    /// Its bytes that are in the file.
    pub(super) written: u64,
    pub(super) order: ByteOrder,
    pub(super) alignment: u32,
    pub(super) final_padding: FinalPadding,
    /// Why the file is given up.
    pub(super) broken: Option<String>,
    /// Blocks on their way into the file; kept between calls for its memory, not for what is in it.
    pub(super) buffer: Vec<u8>,
}

impl<S: Sink> DataWriter<S> {
    pub(super) fn new(sink: S, header: Header, alignment: u32) -> Self {
        DataWriter {
            sink,
            next: 0,
            begun: false,
            written: 0,
            order: header.order,
            alignment,
            final_padding: header.final_padding,
            tensors: header.into_tensors(),
            broken: None,
            buffer: Vec::new(),
        }
    }

    /// The tensor whose data comes next, or `None` when all are written.
    pub fn next_tensor(&self) -> Option<(&str, Shape, GgmlType)> {
        self.tensors.get(self.next).map(|tensor| (tensor.name.as_str(), tensor.shape, tensor.ty))
    }

    /// The byte order of the file, which is that of the bytes that [`write_tensor`](Self::write_tensor) and
    /// [`TensorWriter::write_bytes`] take.
    pub fn byte_order(&self) -> ByteOrder {
        self.order
    }

    /// Every tensor's data begins at a multiple of this many bytes.
    pub(crate) fn alignment(&self) -> u32 {
        self.alignment
    }

    /// Writes the next tensor from its bytes, which are in the file's byte order and without padding.
    ///
    /// # Errors
    /// As [`begin`](Self::begin), and [`Error::Write`](crate::Error::Write) where the number of bytes is not the tensor's.
    /// These leave the file as it was. [`Error::Io`](crate::Error::Io) gives it up.
    pub fn write_tensor(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let mut tensor = self.begin_of(name, bytes.len() as u64)?;
        tensor.write_bytes(bytes)?;
        tensor.finish()
    }

    /// Writes the next tensor as another file has it, under the same name, in this file's byte order.
    ///
    /// # Errors
    /// As [`begin`](Self::begin), and [`Error::Write`](crate::Error::Write) where it was declared with another type or
    /// shape, extents of 1 at the end aside. These leave the file as it was. [`Error::Io`](crate::Error::Io) gives it up.
    pub fn copy_tensor(&mut self, tensor: &Tensor<'_>) -> Result<()> {
        let name = tensor.name();
        self.expect(0, name, tensor.shape(), tensor.ggml_type())?;
        let mut writer = self.begin_of(name, tensor.byte_len())?;
        writer.guarded(|writer| {
            let block = tensor.ggml_type().block_bytes();
            let whole_blocks = (READ_BYTES / block).max(1) * block;
            tensor.for_each_chunk(whole_blocks, |bytes| writer.put_blocks(bytes, tensor.byte_order()))
        })?;
        writer.finish()
    }

    /// Begins the next tensor, for writing it in pieces.
    ///
    /// One tensor is written at a time:
    ///
    /// ```compile_fail,E0499
    /// # use gguf_codec::{GgmlType, Writer};
    /// # let mut writer = Writer::new(Vec::new());
    /// # writer.declare_tensor("a", &[1], GgmlType::I8)?.declare_tensor("b", &[1], GgmlType::I8)?;
    /// let mut data = writer.write_header()?;
    /// let mut a = data.begin("a")?;
    /// let mut b = data.begin("b")?;
    /// a.write_bytes(&[1])?;
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Write`](crate::Error::Write) where `name` is not the next tensor; the message says which is, and the file stays as it
    /// was.
    pub fn begin(&mut self, name: &str) -> Result<TensorWriter<'_, S>> {
        self.expect_next(name)?;
        self.begun = true;
        Ok(TensorWriter { file: self })
    }

    /// Ends the file: flushes a stream and gives it back, or syncs a file and moves it to its place.
    ///
    /// # Errors
    /// [`Error::Write`](crate::Error::Write) where a tensor is not written, and [`Error::Io`](crate::Error::Io) where writing fails. What
    /// [`Writer::create`](crate::Writer::create) was to replace is then still there, and whole; only an error at
    /// syncing the folder comes after it was replaced.
    pub fn finish(self) -> Result<S::Output> {
        self.check_whole()?;
        self.sink.complete()
    }

    fn check_whole(&self) -> Result<()> {
        self.check_between_tensors()?;
        if let Some(missing) = self.tensors.get(self.next) {
            let (name, left) = (missing.name.escape_debug(), self.tensors.len() - self.next);
            return Err(wrong(format!(
                "tensor '{name}' was declared and is not written: {left} of {} tensors are missing",
                self.tensors.len()
            )));
        }
        Ok(())
    }

    pub(super) fn check_not_broken(&self) -> Result<()> {
        self.broken.as_ref().map_or(Ok(()), |why| Err(wrong(format!("the file is given up: {why}"))))
    }

    /// Refuses where a tensor was begun and left, which the borrow of its [`TensorWriter`] having ended shows.
    fn check_between_tensors(&self) -> Result<()> {
        self.check_not_broken()?;
        match self.tensors.get(self.next) {
            Some(Declared { name, bytes, .. }) if self.begun => Err(wrong(format!(
                "the file is given up: tensor '{}' was dropped before its `finish`, after {} of {bytes} bytes",
                name.escape_debug(),
                self.written
            ))),
            _ => Ok(()),
        }
    }

    fn begin_of(&mut self, name: &str, bytes: u64) -> Result<TensorWriter<'_, S>> {
        let declared = self.expect_next(name)?;
        if declared.bytes != bytes {
            let Declared { shape, ty, bytes: wanted, .. } = declared;
            return Err(wrong(format!(
                "tensor '{}' was given {bytes} bytes, and {ty} of shape {shape} takes {wanted}",
                name.escape_debug()
            )));
        }
        self.begin(name)
    }

    pub(super) fn expect_next(&self, name: &str) -> Result<&Declared> {
        self.expect_name(0, name)
    }

    /// Refuses where the tensor that comes after `ahead` others is not this one.
    pub(crate) fn expect(&self, ahead: usize, name: &str, shape: Shape, ty: GgmlType) -> Result<()> {
        let declared = self.expect_name(ahead, name)?;
        if declared.shape.counts_as(shape) && declared.ty == ty {
            return Ok(());
        }
        let Declared { shape: wanted_shape, ty: wanted_ty, .. } = declared;
        Err(wrong(format!(
            "tensor '{}' is {ty} of shape {shape}, and was declared as {wanted_ty} of shape {wanted_shape}",
            name.escape_debug()
        )))
    }

    fn expect_name(&self, ahead: usize, name: &str) -> Result<&Declared> {
        self.check_between_tensors()?;
        let shown = name.escape_debug();
        let at = self.next.saturating_add(ahead);
        match self.tensors.get(at) {
            Some(next) if next.name == name => Ok(next),
            next => Err(wrong(match (self.tensors.iter().position(|tensor| tensor.name == name), next) {
                (None, _) => format!("tensor '{shown}' was not declared before the header was written"),
                (Some(its), Some(next)) if its > at => format!(
                    "tensor '{shown}' cannot be written yet: '{}' was declared before it and comes first",
                    next.name.escape_debug()
                ),
                (Some(_), _) => format!("tensor '{shown}' is written already"),
            })),
        }
    }
}

impl DataWriter<AtomicFile> {
    /// Ends the file but leaves it under its temporary name, synced to the disk, so that it can be moved to its place
    /// together with others: see [`StagedFile::commit_all`].
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub fn stage(self) -> Result<StagedFile> {
        self.check_whole()?;
        self.sink.stage()
    }
}

impl<S: Sink> fmt::Debug for DataWriter<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataWriter")
            .field("next", &self.next_tensor())
            .field("broken", &self.broken)
            .finish_non_exhaustive()
    }
}
