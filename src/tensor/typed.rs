//! [`TypedTensor`]: a tensor whose format is known at compile time.

use core::marker::PhantomData;
use core::ops::RangeBounds;

use super::Tensor;
use super::data::Data;
use super::shape::Shape;
use crate::byte_order::ByteOrder;
use crate::codec::BlockFormat;
use crate::error::{Error, Result};

/// A tensor in format `F`, over the file's own blocks. It is cheap to copy, and nothing is decoded until requested.
///
/// ```
/// # use gguf_codec::{Gguf, Result};
/// # fn show(model: &Gguf<Vec<u8>>) -> Result<()> {
/// use gguf_codec::blocks::{BlockQ4_K, Q4_K};
/// let tensor = model.tensor("blk.0.ffn_down.weight")?.typed::<Q4_K>()?;
/// let blocks: &[BlockQ4_K] = tensor.blocks();
/// let first_row: &[BlockQ4_K] = tensor.row(0)?.blocks();
/// # Ok(()) }
/// ```
pub struct TypedTensor<'a, F: BlockFormat> {
    tensor: Tensor<'a>,
    format: PhantomData<F>,
}

impl<F: BlockFormat> Clone for TypedTensor<'_, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F: BlockFormat> Copy for TypedTensor<'_, F> {}

impl<F: BlockFormat> core::fmt::Debug for TypedTensor<'_, F> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("TypedTensor").field(&self.tensor).finish()
    }
}

impl<'a, F: BlockFormat> TypedTensor<'a, F> {
    pub(super) fn new(tensor: Tensor<'a>) -> Result<Self> {
        if tensor.ggml_type() != F::TYPE {
            let (found, wanted) = (tensor.ggml_type(), F::TYPE);
            return Err(Error::WrongType { tensor: tensor.name().into(), found, wanted });
        }
        if tensor.byte_order() != ByteOrder::Little && F::TYPE.block_bytes() > 1 {
            let why = "its blocks are big-endian";
            return Err(Error::NotViewable { tensor: tensor.name().into(), why });
        }
        let data = Data::Bytes(tensor.bytes()?);
        Ok(TypedTensor { tensor: Tensor { data, ..tensor }, format: PhantomData })
    }

    /// Returns the tensor with its type known at run time.
    pub fn tensor(&self) -> Tensor<'a> {
        self.tensor
    }

    /// Returns the extents, innermost first.
    pub fn shape(&self) -> Shape {
        self.tensor.shape()
    }

    /// Returns all blocks, row after row.
    pub fn blocks(&self) -> &'a [F::Block] {
        // Blocks have alignment 1, and `Tensor` contains whole blocks.
        bytemuck::try_cast_slice(self.tensor.data.in_memory().unwrap_or_default()).unwrap_or_default()
    }

    /// Returns one row.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] past the last row.
    pub fn row(&self, row: usize) -> Result<Self> {
        Ok(TypedTensor { tensor: self.tensor.row(row)?, ..*self })
    }

    /// Returns a range of rows.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if the range ends past the last row; [`Error::Reversed`] if it ends before it begins.
    pub fn rows(&self, range: impl RangeBounds<usize>) -> Result<Self> {
        Ok(TypedTensor { tensor: self.tensor.rows(range)?, ..*self })
    }
}
