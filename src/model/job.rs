//! [`Job`]: a tensor to be written, and [`Origin`], the source of its values.

#[cfg(feature = "codecs")]
mod values;

use std::fmt;

use crate::byte_order::ByteOrder;
use crate::error::{Error, Measured, Result};
use crate::file::read_at::ReadAt;
use crate::ggml_type::GgmlType;
use crate::gguf::TensorInfo;
use crate::tensor::{Shape, TensorLayout};

/// Where the values of a tensor are read from, and how they are stored there.
#[derive(Clone, Copy)]
pub struct Origin<'a> {
    pub(super) source: &'a dyn ReadAt,
    pub(super) offset: u64,
    pub(super) order: ByteOrder,
    layout: TensorLayout,
}

impl<'a> Origin<'a> {
    /// Returns the origin of a tensor in a GGUF that begins at the start of `source`.
    pub fn of(source: &'a dyn ReadAt, tensor: &TensorInfo<'_>) -> Self {
        Origin { source, offset: tensor.file_offset(), layout: tensor.layout, order: tensor.order }
    }

    /// Returns the origin of a tensor in any file: consecutive rows of `ty` in `order`, from byte `offset` of `source`.
    ///
    /// # Errors
    /// [`Error::Length`] if rows are not whole blocks, or the position of the last byte overflows.
    pub fn new(
        source: &'a dyn ReadAt,
        offset: u64,
        shape: Shape,
        ty: GgmlType,
        order: ByteOrder,
    ) -> Result<Self> {
        let layout = TensorLayout::new(shape, ty).map_err(|misfit| misfit.error(shape, ty))?;
        if offset.checked_add(layout.byte_len()).is_none() {
            return Err(Error::Length {
                what: Measured::TensorValues,
                found: shape.element_count(),
                wanted: format!("so few that they end below byte 2^64, beginning at {offset}"),
            });
        }
        Ok(Origin { source, offset, layout, order })
    }

    /// Returns the type in which the values are stored.
    pub fn ggml_type(&self) -> GgmlType {
        self.layout.ggml_type()
    }

    /// Returns the tensor's extents, innermost first.
    pub fn shape(&self) -> Shape {
        self.layout.shape()
    }

    /// Returns the number of bytes to read.
    pub fn byte_len(&self) -> u64 {
        self.layout.byte_len()
    }
}

impl fmt::Debug for Origin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin")
            .field("offset", &self.offset)
            .field("type", &self.ggml_type())
            .field("shape", &self.shape())
            .field("order", &self.order)
            .finish_non_exhaustive()
    }
}

/// A tensor to be written: its name in the output, its values, and their type in the output.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    pub(super) name: &'a str,
    pub(super) origin: Origin<'a>,
    pub(super) ty: GgmlType,
    pub(super) importance: Option<&'a [f32]>,
}

impl<'a> Job<'a> {
    /// Creates a job that copies the values unchanged.
    pub fn copy(name: &'a str, origin: Origin<'a>) -> Self {
        Job { name, origin, ty: origin.ggml_type(), importance: None }
    }

    /// Returns the tensor's name in the output.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Returns where its values come from.
    pub fn origin(&self) -> Origin<'a> {
        self.origin
    }

    /// Returns its extents, innermost first.
    pub fn shape(&self) -> Shape {
        self.origin.shape()
    }

    /// Returns its type in the output.
    pub fn ggml_type(&self) -> GgmlType {
        self.ty
    }

    /// Returns `true` if its bytes are copied because its type does not change.
    pub fn copies(&self) -> bool {
        self.origin.ggml_type() == self.ty
    }

    /// Returns the number of consecutive rows with the same weights: those of one matrix, or all.
    pub(super) fn rows_alike(&self) -> u64 {
        let shape = self.shape();
        let own = self.importance.is_some_and(|weights| weights.len() as u64 > shape.row_len());
        if own { shape.dims().get(1).copied().unwrap_or(1) } else { shape.row_count() }
    }
}

/// Writes single-precision values as bytes, four for each.
pub(super) fn write_floats(values: &[f32], out: &mut [u8]) {
    for (out, value) in out.as_chunks_mut().0.iter_mut().zip(values) {
        *out = value.to_le_bytes();
    }
}

pub(super) fn in_memory(len: u64) -> Result<usize> {
    usize::try_from(len).map_err(|_| Error::Length {
        what: Measured::InMemory,
        found: len,
        wanted: format!("not more than {}", usize::MAX),
    })
}
