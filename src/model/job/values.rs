//! Jobs that convert values to another type.

use std::io;

use super::{Job, Origin, in_memory, write_floats};
use crate::byte_order::ByteOrder;
use crate::codec::swap_byte_order;
use crate::codec::values::{dequantize, quantize};
use crate::error::{Error, Measured, Result};
use crate::file::read_at::Units;
use crate::ggml_type::GgmlType;

/// The number of values to process at a time, whole blocks of every type, so that they stay in cache.
const PART: u64 = 16 * 1024;

impl Origin<'_> {
    /// Fills `buffer`, which is whole blocks, from byte `at` of the tensor on, in little-endian order whatever the file's order.
    pub(in crate::model) fn fill_little_endian(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        self.source.fill_at(buffer, self.offset + at)?;
        if self.order == ByteOrder::Big {
            swap_byte_order(self.ggml_type(), buffer);
        }
        Ok(())
    }

    /// Fills `values`, which are whole blocks, from value `first` on.
    fn values(&self, first: u64, stored: &mut Vec<u8>, values: &mut [f32]) -> io::Result<()> {
        let (len, bytes) = (self.ggml_type().block_len(), self.ggml_type().block_bytes());
        stored.resize(values.len() / len * bytes, 0);
        self.fill_little_endian(stored, first / len as u64 * bytes as u64)?;
        dequantize(self.ggml_type(), stored, values).map_err(io::Error::other)
    }

    /// Like [`ReadAt::fill_at`](crate::ReadAt::fill_at) for the tensor converted to `ty`. `change` is applied to its values
    /// first, and is given the index of the first of them.
    pub(in crate::model) fn fill_as(
        &self,
        ty: GgmlType,
        buffer: &mut [u8],
        offset: u64,
        mut change: impl FnMut(u64, &mut [f32]),
    ) -> io::Result<()> {
        // Whole blocks of both types. The length of one is a multiple of the other's.
        let unit = ty.block_len().max(self.ggml_type().block_len()) as u64;
        let units = Units {
            bytes: ty.long_bytes_in(unit),
            count: self.shape().element_count() / unit,
            at_once: PART / unit,
        };
        let (mut stored, mut values) = (Vec::new(), Vec::new());
        units.fill(buffer, offset, |first, out| {
            values.resize(ty.values_in(out.len()), 0.0);
            let first = first * unit;
            self.values(first, &mut stored, &mut values)?;
            change(first, &mut values);
            if ty == GgmlType::F32 {
                write_floats(&values, out);
                return Ok(());
            }
            quantize(ty, &values, values.len(), None, out).map_err(io::Error::other)
        })
    }
}

impl<'a> Job<'a> {
    /// Creates a job that converts the values to `ty`. If that is their type already, their bytes are copied.
    pub fn new(name: &'a str, origin: Origin<'a>, ty: GgmlType) -> Self {
        Job { name, origin, ty, importance: None }
    }

    /// Weights the errors of the values: a weight for each value of a row, as in [`quantize`](crate::quantize), for
    /// all rows alike or for each of the matrices that the tensor stacks (experts, by the third dimension).
    #[must_use]
    pub fn importance(self, weights: Option<&'a [f32]>) -> Self {
        Job { importance: weights, ..self }
    }

    /// Returns an error for a job that is impossible whatever the values. After this check a row takes no memory just
    /// because a header declares it: it is as long as the importance, or is not kept whole.
    ///
    /// # Errors
    /// [`Error::Write`], naming the tensor: see [`Convert::run`](crate::model::Convert::run).
    pub fn check(&self) -> Result<()> {
        if self.copies() {
            return Ok(());
        }
        // Quantizing zero rows validates everything except the values.
        let checked = match self.importance {
            None => quantize(self.ty, &[], self.ty.block_len(), None, &mut []),
            Some(weights) => self.row_len_of(weights).and_then(|row_len| {
                let mut matrices = weights.chunks(row_len.max(1));
                let first = matrices.next().unwrap_or_default();
                let check = |weights| quantize(self.ty, &[], row_len, Some(weights), &mut []);
                check(first).and_then(|()| matrices.try_for_each(check))
            }),
        };
        checked.map_err(|error| Error::write(format!("tensor '{}': {error:?}", self.name.escape_debug())))
    }

    /// Returns the length of a row. `weights` are for all rows, or for those of each matrix.
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
            what: Measured::Importance,
            found: weights.len() as u64,
            wanted: format!("{row_len}, a weight for each value of a row{each}"),
        })
    }

    /// Returns the number of matrices that the tensor stacks.
    fn matrices(&self) -> usize {
        let matrices = self.shape().dims().get(2).copied().unwrap_or(1);
        usize::try_from(matrices).unwrap_or(usize::MAX)
    }

    /// Returns the weights of a row.
    pub(in crate::model) fn weights_of(&self, row: u64) -> Option<&'a [f32]> {
        let weights = self.importance?;
        let row_len = usize::try_from(self.shape().row_len()).ok().filter(|&row_len| row_len > 0)?;
        let matrix = (row / self.rows_alike().max(1)) as usize % (weights.len() / row_len).max(1);
        weights.get(matrix * row_len..(matrix + 1) * row_len)
    }
}
