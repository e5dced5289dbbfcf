//! [`Job`]: a tensor of a file that is written, and [`Origin`], where its values come from.

use std::fmt;

use crate::codec::quantize;
use crate::file::read_at::ReadAt;
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
        shape: Shape,
        ty: GgmlType,
        order: ByteOrder,
    ) -> Result<Self> {
        if !shape.row_len().is_multiple_of(ty.block_len() as u64) {
            return Err(Error::Length {
                what: "a row, in values,",
                found: shape.row_len(),
                wanted: format!("a multiple of {}, the block length of {ty}", ty.block_len()),
            });
        }
        let byte_len = ty.bytes_for(shape.element_count());
        match byte_len.filter(|byte_len| offset.checked_add(*byte_len).is_some()) {
            Some(byte_len) => Ok(Origin { source, offset, ty, shape, order, byte_len }),
            None => Err(Error::Length {
                what: "the number of values",
                found: shape.element_count(),
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

    /// Weighs the errors of the values: a weight for each value of a row, as in [`quantize`](crate::quantize), for all
    /// rows alike or for each of the matrices that the tensor stacks (experts, as the third dimension counts them).
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
    ///
    /// # Errors
    /// [`Error::Write`], naming the tensor: see [`Convert::run`](super::Convert::run).
    pub fn check(&self) -> Result<()> {
        if self.copies() {
            return Ok(());
        }
        // Of no rows everything is checked but their values.
        let checked = match self.importance {
            None => quantize(self.ty, &[], self.ty.block_len(), None, &mut []),
            Some(weights) => self.row_len_of(weights).and_then(|row_len| {
                let mut matrices = weights.chunks(row_len.max(1));
                let first = matrices.next().unwrap_or_default();
                let check = |weights| quantize(self.ty, &[], row_len, Some(weights), &mut []);
                check(first).and_then(|()| matrices.try_for_each(check))
            }),
        };
        checked.map_err(|error| Error::Write {
            message: format!("tensor '{}': {error}", self.name.escape_debug()),
        })
    }

    /// The length of a row, of which there are weights for all rows or for those of each matrix.
    fn row_len_of(&self, weights: &[f32]) -> Result<usize> {
        let row_len = in_memory(self.shape().row_len())?;
        let matrices = self.matrices();
        if weights.len() == row_len || row_len.checked_mul(matrices) == Some(weights.len()) {
            return Ok(row_len);
        }
        let each = if matrices > 1 {
            format!(", or {matrices} times as many, for each matrix")
        } else {
            String::new()
        };
        Err(Error::Length {
            what: "the importance, in weights,",
            found: weights.len() as u64,
            wanted: format!("{row_len}, a weight for each value of a row{each}"),
        })
    }

    /// How many matrices the tensor stacks.
    fn matrices(&self) -> usize {
        let matrices = self.shape().dims().get(2).copied().unwrap_or(1);
        usize::try_from(matrices).unwrap_or(usize::MAX)
    }

    /// Rows that share their weights, before the next have others: of one matrix, or all.
    pub(super) fn rows_alike(&self) -> u64 {
        let shape = self.shape();
        let own = self.importance.is_some_and(|weights| weights.len() as u64 > shape.row_len());
        if own { shape.dims().get(1).copied().unwrap_or(1) } else { shape.row_count() }
    }

    /// The weights of a row.
    pub(super) fn weights_of(&self, row: u64) -> Option<&'a [f32]> {
        let weights = self.importance?;
        let row_len = usize::try_from(self.shape().row_len()).ok().filter(|&row_len| row_len > 0)?;
        let matrix = (row / self.rows_alike().max(1)) as usize % (weights.len() / row_len).max(1);
        weights.get(matrix * row_len..(matrix + 1) * row_len)
    }
}

pub(super) fn in_memory(len: u64) -> Result<usize> {
    usize::try_from(len).map_err(|_| Error::Length {
        what: "a row that has to be in memory at once",
        found: len,
        wanted: format!("not more than {}", usize::MAX),
    })
}
