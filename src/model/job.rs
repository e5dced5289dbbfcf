//! [`Job`]: a tensor of a file that is written, and [`Origin`], where its values come from.

use std::fmt;

use crate::codec::quantize;
use crate::container::ReadAt;
use crate::{ByteOrder, Error, GgmlType, Result, Shape, TensorInfo};

/// Where the values of a tensor are read from, and how they are stored there.
#[derive(Clone, Copy)]
pub struct Origin<'a> {
    pub(super) source: &'a dyn ReadAt,
    pub(super) offset: u64,
    pub(super) ty: GgmlType,
    pub(super) shape: Shape,
    pub(super) order: ByteOrder,
    byte_len: u64,
}

impl<'a> Origin<'a> {
    /// A tensor of a GGUF that begins where `source` begins.
    pub fn of(source: &'a dyn ReadAt, tensor: &TensorInfo<'_>) -> Self {
        Origin {
            source,
            offset: tensor.file_offset(),
            ty: tensor.ggml_type(),
            shape: tensor.shape(),
            order: tensor.order,
            byte_len: tensor.byte_len(),
        }
    }

    /// Rows of `ty` in `order`, one after the other from byte `offset` of `source`: a tensor of any file.
    ///
    /// # Errors
    /// [`Error::Length`] where rows are not whole blocks, or the last byte is beyond what can be counted.
    pub fn new(
        source: &'a dyn ReadAt,
        offset: u64,
        ty: GgmlType,
        shape: Shape,
        order: ByteOrder,
    ) -> Result<Self> {
        if !shape.row_len().is_multiple_of(ty.block_len() as u64) {
            return Err(Error::Length {
                what: "a row, in values,",
                found: shape.row_len(),
                wanted: format!("a multiple of {}, the block length of {ty}", ty.block_len()),
            });
        }
        let byte_len = ty.bytes_for(shape.elements());
        match byte_len.filter(|byte_len| offset.checked_add(*byte_len).is_some()) {
            Some(byte_len) => Ok(Origin { source, offset, ty, shape, order, byte_len }),
            None => Err(Error::Length {
                what: "the number of values",
                found: shape.elements(),
                wanted: format!("so few that they end below byte 2^64, beginning at {offset}"),
            }),
        }
    }

    /// How the values are stored.
    pub fn ggml_type(&self) -> GgmlType {
        self.ty
    }

    /// The tensor's extents, innermost first.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Bytes that are read.
    pub fn byte_len(&self) -> u64 {
        self.byte_len
    }
}

impl fmt::Debug for Origin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin")
            .field("offset", &self.offset)
            .field("type", &self.ty)
            .field("shape", &self.shape)
            .field("order", &self.order)
            .finish_non_exhaustive()
    }
}

/// A tensor of the file that is written: what it is called there, what its values are and which type they get.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    pub(super) name: &'a str,
    pub(super) origin: Origin<'a>,
    pub(super) ty: GgmlType,
    pub(super) importance: Option<&'a [f32]>,
}

impl<'a> Job<'a> {
    /// The values become `ty`. Where that is the type they have, their bytes are copied.
    pub fn new(name: &'a str, origin: Origin<'a>, ty: GgmlType) -> Self {
        Job { name, origin, ty, importance: None }
    }

    /// The values stay as they are.
    pub fn copy(name: &'a str, origin: Origin<'a>) -> Self {
        Job::new(name, origin, origin.ty)
    }

    /// Weighs the errors of the values: a weight for each value of a row, as in [`quantize`](crate::quantize).
    #[must_use]
    pub fn importance(self, weights: Option<&'a [f32]>) -> Self {
        Job { importance: weights, ..self }
    }

    /// What the tensor is called in the file that is written.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Where its values come from.
    pub fn origin(&self) -> Origin<'a> {
        self.origin
    }

    /// Its extents, innermost first.
    pub fn shape(&self) -> Shape {
        self.origin.shape
    }

    /// The type that it has in the file that is written.
    pub fn ggml_type(&self) -> GgmlType {
        self.ty
    }

    /// Whether its bytes are copied, since its type stays.
    pub fn copies(&self) -> bool {
        self.origin.ty == self.ty
    }

    /// Refuses what cannot be done whatever the values are. After that no row takes memory because a header says so: it
    /// is as long as the importance, or not kept whole.
    pub(super) fn check(&self) -> Result<()> {
        if self.copies() {
            return Ok(());
        }
        let row_len = match self.importance {
            Some(_) => in_memory(self.shape().row_len()),
            None => Ok(self.ty.block_len()),
        };
        // Of no rows everything is checked but their values.
        row_len.and_then(|row_len| quantize(self.ty, &[], row_len, self.importance, &mut [])).map_err(
            |error| Error::Write { message: format!("tensor '{}': {error}", self.name.escape_debug()) },
        )
    }
}

pub(super) fn in_memory(len: u64) -> Result<usize> {
    usize::try_from(len).map_err(|_| Error::Length {
        what: "a row that has to be in memory at once",
        found: len,
        wanted: format!("not more than {}", usize::MAX),
    })
}
