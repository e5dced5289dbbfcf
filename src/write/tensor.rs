//! [`TensorWriter`]: writes one tensor's data in pieces.

use std::fmt;

use super::data::DataWriter;
use super::stream::{Declared, wrong};
use crate::byte_order::ByteOrder;
use crate::codec::{BlockFormat, swap_byte_order};
use crate::error::{Error, Result, TensorProblem};
use crate::file::read_at::ReadAt;
use crate::file::sink::Sink;
use crate::tensor::{READ_BYTES, Tensor};

/// The number of bytes of blocks that are byte-swapped at a time, or one block if that is more.
const SWAP_BYTES: usize = 64 * 1024;

/// Writes one tensor in consecutive pieces: bytes, blocks or values.
///
/// ```
/// # use gguf_codec::blocks::{BlockQ8_0, Q8_0};
/// # use gguf_codec::{GgmlType, Writer};
/// # let mut writer = Writer::new(Vec::new());
/// writer.declare_tensor("w", &[64, 3], GgmlType::Q8_0)?; // three rows of two blocks
/// let mut data = writer.write_header()?;
/// let mut tensor = data.begin("w")?;
/// tensor.write_values(&[0.5; 64], None)?;
/// tensor.write_blocks::<Q8_0>(&[BlockQ8_0 { d: [0, 0x3c], qs: [1; 32] }; 2])?;
/// assert_eq!(tensor.remaining(), 68);
/// tensor.write_bytes(&[0; 68])?;
/// tensor.finish()?;
/// # data.finish()?;
/// # Ok::<(), gguf_codec::Error>(())
/// ```
///
/// Every error abandons the file, and so does dropping this before [`finish`](Self::finish).
#[must_use = "the tensor is not whole before `finish`"]
pub struct TensorWriter<'a, S: Sink> {
    pub(super) file: &'a mut DataWriter<S>,
}

impl<S: Sink> DataWriter<S> {
    /// Writes the next tensor from its bytes, which are in the file's byte order and without padding.
    ///
    /// # Errors
    /// The errors of [`begin`](Self::begin), and [`Error::Write`](crate::Error::Write) if the number of bytes is not the
    /// tensor's. These leave the file unchanged. [`Error::Io`](crate::Error::Io) abandons it.
    pub fn write_tensor(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let mut tensor = self.begin_of(name, bytes.len() as u64)?;
        tensor.write_bytes(bytes)?;
        tensor.finish()
    }

    /// Copies the next tensor from another file, under the same name, converting it to this file's byte order.
    ///
    /// # Errors
    /// The errors of [`begin`](Self::begin), and [`Error::Write`](crate::Error::Write) if the tensor was declared with another
    /// type or shape, ignoring trailing extents of 1. These leave the file unchanged. [`Error::Io`](crate::Error::Io)
    /// abandons it.
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

    /// Begins the next tensor, to write it in pieces.
    ///
    /// Only one tensor can be written at a time:
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
    /// [`Error::Write`](crate::Error::Write) if `name` is not the next tensor. The message names the next tensor, and the file is
    /// unchanged.
    pub fn begin(&mut self, name: &str) -> Result<TensorWriter<'_, S>> {
        self.stream.begin(name)?;
        Ok(TensorWriter { file: self })
    }

    fn begin_of(&mut self, name: &str, bytes: u64) -> Result<TensorWriter<'_, S>> {
        let declared = self.stream.expect(0, name)?;
        if declared.bytes != bytes {
            let (shape, ty) = (declared.kind.shape(), declared.kind.ggml_type());
            return Err(wrong(
                name,
                TensorProblem::Length { found: bytes, wanted: declared.bytes, ty, shape },
            ));
        }
        self.begin(name)
    }
}

impl<S: Sink> TensorWriter<'_, S> {
    /// Returns the number of bytes still to be written.
    pub fn remaining(&self) -> u64 {
        self.file.stream.remaining()
    }

    /// Writes bytes unchanged. They must be in the file's byte order. Pieces may be split anywhere.
    ///
    /// # Errors
    /// [`Error::Write`] if there are more than [`remaining`](Self::remaining), and [`Error::Io`].
    pub fn write_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.stream.write(bytes)
    }

    /// Writes blocks, in the file's byte order.
    ///
    /// # Errors
    /// [`Error::WrongType`] if the tensor is not of the blocks' type. [`Error::Write`] if there are more than remain,
    /// or if earlier pieces ended within a block. [`Error::Io`].
    pub fn write_blocks<F: BlockFormat>(&mut self, blocks: &[F::Block]) -> Result<()> {
        self.guarded(|tensor| {
            let Declared { name, kind, .. } = tensor.file.stream.current();
            if kind.ggml_type() != F::TYPE {
                return Err(Error::WrongType {
                    tensor: name.clone(),
                    found: kind.ggml_type(),
                    wanted: F::TYPE,
                });
            }
            tensor.put_blocks(bytemuck::cast_slice(blocks), ByteOrder::Little)
        })
    }

    /// Finishes the tensor and writes the padding after it.
    ///
    /// # Errors
    /// [`Error::Write`] where bytes are missing, and [`Error::Io`].
    pub fn finish(self) -> Result<()> {
        self.file.stream.end()
    }

    /// Copies `bytes` bytes of `source`, which begin at `offset` and must be in this file's byte order.
    ///
    /// From a [`File`](std::fs::File) into the file of [`Writer::create`](crate::Writer::create), Linux copies by
    /// itself (`copy_file_range`): the bytes do not pass through this process, and file systems that can share storage
    /// between files (btrfs, XFS) do so where the bytes lie equally far from a multiple of 4096 in both. Elsewhere they
    /// go through 1 MiB of memory.
    ///
    /// ```no_run
    /// # use gguf_codec::{Gguf, Result, Writer};
    /// # fn copy(model: &Gguf<Vec<u8>>, source: &std::fs::File) -> Result<()> {
    /// let mut writer = Writer::create("copy.gguf")?;
    /// writer.copy_header_from(model)?;
    /// let mut data = writer.write_header()?;
    /// for tensor in model.tensors() {
    ///     let mut out = data.begin(tensor.name())?;
    ///     out.copy_from(source, tensor.file_offset(), tensor.byte_len())?;
    ///     out.finish()?;
    /// }
    /// data.finish()
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Write`] where there are more than [`remaining`](Self::remaining), and [`Error::Io`], which names the
    /// tensor where the source ends too early.
    pub fn copy_from(&mut self, source: &dyn ReadAt, offset: u64, bytes: u64) -> Result<()> {
        self.file.stream.copy_from(source, offset, bytes)
    }

    /// Fails if the file has been abandoned. Abandons it on an error: part of the data may have been written.
    pub(super) fn guarded(&mut self, write: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        self.file.stream.check_not_broken()?;
        write(self).inspect_err(|error| self.file.stream.give_up(error))
    }

    /// Writes whole blocks whose byte order is `from`.
    pub(super) fn put_blocks(&mut self, bytes: &[u8], from: ByteOrder) -> Result<()> {
        let stream = &mut self.file.stream;
        let ty = stream.current().kind.ggml_type();
        stream.expect_boundary("block", ty.block_bytes() as u64)?;
        stream.expect_room(bytes.len() as u64)?;
        if from == self.file.order {
            return stream.put(bytes);
        }
        let mut buffer = std::mem::take(&mut self.file.buffer);
        for blocks in bytes.chunks((SWAP_BYTES / ty.block_bytes()).max(1) * ty.block_bytes()) {
            buffer.clear();
            buffer.extend_from_slice(blocks);
            swap_byte_order(ty, &mut buffer);
            stream.put(&buffer)?;
        }
        self.file.buffer = buffer;
        Ok(())
    }
}

impl<S: Sink> fmt::Debug for TensorWriter<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TensorWriter")
            .field("tensor", &self.file.stream.current().name)
            .field("written", &self.file.stream.written())
            .finish_non_exhaustive()
    }
}
