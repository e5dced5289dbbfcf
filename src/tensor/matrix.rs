//! Tensors as weights for matrix multiplication.

use alloc::borrow::ToOwned;

use super::Tensor;
use crate::byte_order::ByteOrder;
use crate::compute::{self, Experts, Matrix};
use crate::error::{Error, Measured, Result};

impl<'a> Tensor<'a> {
    /// Returns the tensor as a matrix of weights that is multiplied in place. Rows have [`row_len`](Self::row_len) values, and
    /// all dimensions but the first are combined.
    ///
    /// ```
    /// # let file = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/sample.gguf"));
    /// # let model = gguf_codec::Gguf::parse(file)?;
    /// use gguf_codec::compute::Activations;
    /// let w = model.tensor("blk.0.ffn_down.weight")?.matrix()?;
    /// let values = vec![0.5f32; w.row_len()];
    /// let mut out = vec![0.0; w.row_count()];
    /// w.matmul(&Activations::new(w.ggml_type(), &values, w.row_len())?, &mut out)?;
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::BigEndian`] for a tensor of a big-endian file; [`Error::NotMultipliable`] for integers; those of
    /// [`bytes`](Self::bytes).
    pub fn matrix(&self) -> Result<Matrix<'a>> {
        if compute::grain(self.ty).is_none() {
            return Err(Error::NotMultipliable { ty: self.ty });
        }
        if self.order != ByteOrder::Little && self.ty.block_bytes() > 1 {
            return Err(Error::BigEndian { tensor: self.name.to_owned() });
        }
        Matrix::new(self.ty, self.bytes()?, self.row_len())
    }

    /// Returns a three-dimensional tensor as the matrices of a layer's experts, one for each index of the last dimension.
    ///
    /// # Errors
    /// The errors of [`matrix`](Self::matrix); also [`Error::Length`] for a tensor that does not have three dimensions.
    pub fn experts(&self) -> Result<Experts<'a>> {
        let matrix = self.matrix()?;
        match *self.shape.dims() {
            [row_len, rows, _] => {
                // Both fit in `usize`, because the bytes are in memory.
                Experts::new(matrix.ggml_type(), matrix.bytes(), row_len as usize, rows as usize)
            }
            ref dims => Err(Error::Length {
                what: Measured::ExpertDimensions,
                found: dims.len() as u64,
                wanted: "3: values in a row, rows, experts".to_owned(),
            }),
        }
    }
}
