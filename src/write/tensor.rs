//! [`TensorWriter`]: one tensor's data, in pieces.

use std::fmt;

use super::data::DataWriter;
use super::header::{Declared, wrong};
use crate::byte_order::ByteOrder;
use crate::codec::{BlockFormat, swap_byte_order};
use crate::error::{Error, Result};
use crate::file::sink::{Sink, put, put_zeros};
use crate::gguf::layout::align_up;

/// Blocks are turned into the other byte order this many bytes at a time, or one block where that is more.
const SWAP_BYTES: usize = 64 * 1024;

/// One tensor, written in pieces that follow each other: bytes, blocks or values.
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
/// Every error gives the file up, and so does a drop before [`finish`](Self::finish).
#[must_use = "the tensor is not whole before `finish`"]
pub struct TensorWriter<'a, S: Sink> {
    pub(super) file: &'a mut DataWriter<S>,
}

impl<S: Sink> TensorWriter<'_, S> {
    /// Bytes that are still to come.
    pub fn remaining(&self) -> u64 {
        self.declared().bytes - self.file.written
    }

    /// Writes bytes as they are: they must be in the file's byte order. Pieces may be cut anywhere.
    ///
    /// # Errors
    /// [`Error::Write`] where there are more than [`remaining`](Self::remaining), and [`Error::Io`].
    pub fn write_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.guarded(|tensor| {
            tensor.expect_room(bytes.len() as u64)?;
            tensor.put(bytes)
        })
    }

    /// Writes blocks, in the file's byte order.
    ///
    /// # Errors
    /// [`Error::WrongType`] where the tensor is not of the blocks' type. [`Error::Write`] where there are more
    /// than remain, or pieces before ended within a block. [`Error::Io`].
    pub fn write_blocks<F: BlockFormat>(&mut self, blocks: &[F::Block]) -> Result<()> {
        self.guarded(|tensor| {
            let Declared { name, ty, .. } = tensor.declared();
            if *ty != F::TYPE {
                return Err(Error::WrongType { tensor: name.clone(), found: *ty, wanted: F::TYPE });
            }
            tensor.put_blocks(bytemuck::cast_slice(blocks), ByteOrder::Little)
        })
    }

    /// Ends the tensor and writes the padding after it.
    ///
    /// # Errors
    /// [`Error::Write`] where bytes are missing, and [`Error::Io`].
    pub fn finish(mut self) -> Result<()> {
        self.guarded(|tensor| {
            let missing = tensor.remaining();
            if missing > 0 {
                let Declared { bytes, .. } = tensor.declared();
                return Err(
                    tensor.wrong(format!("ends too early: {missing} of its {bytes} bytes are missing"))
                );
            }
            let is_last = tensor.file.next + 1 == tensor.file.tensors.len();
            // The layout has checked that the padded file can be counted.
            let written = tensor.file.written;
            let padding = align_up(written, tensor.file.alignment).unwrap_or(written) - written;
            let padding = if is_last { tensor.file.final_padding.of(padding) } else { padding };
            put_zeros(&mut tensor.file.sink, padding)?;
            tensor.file.next += 1;
            tensor.file.begun = false;
            tensor.file.written = 0;
            Ok(())
        })
    }

    /// The tensor being written: `begin` has found it there, and only `finish` moves on.
    pub(super) fn declared(&self) -> &Declared {
        &self.file.tensors[self.file.next]
    }

    pub(super) fn wrong(&self, problem: impl fmt::Display) -> Error {
        wrong(format!("tensor '{}' {problem}", self.declared().name.escape_debug()))
    }

    /// Refuses when the file is given up, and gives it up on an error: part of the data may then be in it.
    pub(super) fn guarded(&mut self, write: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        self.file.check_not_broken()?;
        write(self).inspect_err(|error| {
            let name = self.declared().name.escape_debug();
            self.file.broken = Some(format!("writing tensor '{name}' failed: {error}"));
        })
    }

    pub(super) fn expect_room(&self, bytes: u64) -> Result<()> {
        let remaining = self.remaining();
        if bytes <= remaining {
            return Ok(());
        }
        let whole = self.declared().bytes;
        Err(self.wrong(format!("was given {bytes} more bytes, and only {remaining} of its {whole} remain")))
    }

    /// Refuses where the pieces before do not end at a whole number of `unit`s.
    pub(super) fn expect_boundary(&self, unit: &str, unit_bytes: u64) -> Result<()> {
        let over = self.file.written.checked_rem(unit_bytes).unwrap_or(0);
        if over == 0 {
            return Ok(());
        }
        Err(self
            .wrong(format!("stands {over} bytes within a {unit} of {unit_bytes}, and must be at its end")))
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<()> {
        put(&mut self.file.sink, bytes)?;
        self.file.written += bytes.len() as u64;
        Ok(())
    }

    /// Writes whole blocks that are in byte order `from`.
    pub(super) fn put_blocks(&mut self, bytes: &[u8], from: ByteOrder) -> Result<()> {
        let ty = self.declared().ty;
        self.expect_boundary("block", ty.block_bytes() as u64)?;
        self.expect_room(bytes.len() as u64)?;
        if from == self.file.order {
            return self.put(bytes);
        }
        let mut buffer = std::mem::take(&mut self.file.buffer);
        for blocks in bytes.chunks((SWAP_BYTES / ty.block_bytes()).max(1) * ty.block_bytes()) {
            buffer.clear();
            buffer.extend_from_slice(blocks);
            swap_byte_order(ty, &mut buffer);
            self.put(&buffer)?;
        }
        self.file.buffer = buffer;
        Ok(())
    }
}

impl<S: Sink> fmt::Debug for TensorWriter<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TensorWriter")
            .field("tensor", &self.declared().name)
            .field("written", &self.file.written)
            .finish_non_exhaustive()
    }
}
