//! [`TensorLayout`]: the shape of a tensor, its type, and the bytes that follow from both. The rule that rows are whole
//! blocks is checked here and nowhere else.

use alloc::format;

use crate::error::{Error, Measured};
use crate::ggml_type::GgmlType;
use crate::tensor::shape::Shape;

/// The shape and type of a tensor whose rows are whole blocks and whose bytes 64 bits can count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "std"), allow(unreachable_pub, reason = "with std it is a type of a sealed trait"))]
pub struct TensorLayout {
    shape: Shape,
    ty: GgmlType,
    byte_len: u64,
}

/// Why there is no tensor of a shape and a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// A row is not whole blocks.
    PartialBlock,
    /// The size in bytes overflows.
    Bytes,
}

impl TensorLayout {
    pub(crate) fn new(shape: Shape, ty: GgmlType) -> Result<Self, Misfit> {
        let byte_len = bytes_of_rows(ty, shape.row_len(), shape.element_count())?;
        Ok(TensorLayout { shape, ty, byte_len })
    }

    pub(crate) fn shape(self) -> Shape {
        self.shape
    }

    pub(crate) fn ggml_type(self) -> GgmlType {
        self.ty
    }

    /// Returns the size of the data in bytes, without padding.
    pub(crate) fn byte_len(self) -> u64 {
        self.byte_len
    }
}

/// Returns the bytes of `elements` values of `ty` in rows of `row_len`, for a tensor of any number of dimensions.
pub(crate) fn bytes_of_rows(ty: GgmlType, row_len: u64, elements: u64) -> Result<u64, Misfit> {
    if !ty.fits_rows(row_len) {
        return Err(Misfit::PartialBlock);
    }
    ty.bytes_for(elements).ok_or(Misfit::Bytes)
}

impl Misfit {
    /// Returns the error for a caller who asked for this shape and type.
    pub(crate) fn error(self, shape: Shape, ty: GgmlType) -> Error {
        match self {
            Misfit::PartialBlock => Error::Length {
                what: Measured::Row,
                found: shape.row_len(),
                wanted: format!("a multiple of {}, the values in a block of {ty}", ty.block_len()),
            },
            Misfit::Bytes => Error::Length {
                what: Measured::TensorValues,
                found: shape.element_count(),
                wanted: format!("so few that 64 bits can count their bytes in {ty}"),
            },
        }
    }
}
