//! [`Matrix`]: weights as stored in a file, to be multiplied.

use alloc::format;
use alloc::vec::Vec;
use core::ops::Range;

use bytemuck::Zeroable;

use super::activations::{Activations, check_pair};
use super::chunk::Column;
use super::decode::Decoded;
use super::dot::Rows;
use super::floats::{self, FloatRows};
use super::matmul::{Panel, Product};
use super::table::{grain, products};
use super::{Grain, check_row, decoded, matmul, whole_columns};
use crate::codec::{self, Float};
use crate::error::{Error, Measured, Result};
use crate::ggml_type::GgmlType;
use crate::simd::Isa;

/// A matrix of weights: a view of rows of blocks, in the bytes of a little-endian file.
///
/// [`Tensor::matrix`](crate::Tensor::matrix) creates one from a tensor, without copying.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    ty: GgmlType,
    bytes: &'a [u8],
    rows: usize,
    row_len: usize,
}

/// Scratch memory for computing products, which can be reused.
#[derive(Default)]
pub struct Scratch {
    decoded: Vec<Decoded>,
    panel: Panel,
    columns: Vec<Column>,
    floats: Vec<f32>,
}

impl core::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Scratch").finish_non_exhaustive()
    }
}

impl Scratch {
    /// Creates empty scratch memory. It grows with the first product.
    pub fn new() -> Self {
        Scratch::default()
    }
}

impl<'a> Matrix<'a> {
    /// Creates a matrix of consecutive rows of `row_len` values of type `ty`.
    ///
    /// # Errors
    /// [`Error::Length`] if `row_len` is not whole blocks of `ty`, or `bytes` are not whole rows.
    pub fn new(ty: GgmlType, bytes: &'a [u8], row_len: usize) -> Result<Self> {
        check_row(ty, row_len)?;
        let row_bytes = ty.bytes_in(row_len);
        if (row_bytes == 0 && !bytes.is_empty()) || !bytes.len().is_multiple_of(row_bytes.max(1)) {
            return Err(Error::Length {
                what: Measured::WeightBytes,
                found: bytes.len() as u64,
                wanted: format!("whole rows of {row_bytes} bytes, which {row_len} values of {ty} take"),
            });
        }
        Ok(Matrix { ty, bytes, rows: bytes.len() / row_bytes.max(1), row_len })
    }

    /// Returns the type of the blocks.
    pub fn ggml_type(&self) -> GgmlType {
        self.ty
    }

    /// Returns the number of rows, which is that of values in a column of the output.
    pub fn row_count(&self) -> usize {
        self.rows
    }

    /// Returns the number of values in a row, which is that of a column of activations.
    pub fn row_len(&self) -> usize {
        self.row_len
    }

    /// Returns the blocks.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    fn row_bytes(&self) -> usize {
        self.ty.bytes_in(self.row_len)
    }

    /// Returns some of the rows as a matrix. Engines can use this to split work among their own threads.
    ///
    /// # Errors
    /// [`Error::Reversed`] or [`Error::OutOfRange`] for an invalid range.
    pub fn rows(&self, range: Range<usize>) -> Result<Matrix<'a>> {
        if range.start > range.end {
            return Err(Error::Reversed { what: "rows", start: range.start as u64, end: range.end as u64 });
        }
        if range.end > self.rows {
            return Err(Error::OutOfRange { what: "row", found: range.end as u64, count: self.rows as u64 });
        }
        let bytes = &self.bytes[range.start * self.row_bytes()..range.end * self.row_bytes()];
        Ok(Matrix { bytes, rows: range.len(), ..*self })
    }

    /// Returns the product of one row with the first column of activations.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a row past the last, or if there is no column; [`Error::Length`] if columns are not as long as
    /// rows; [`Error::WrongActivations`] if they were quantized for another granularity.
    pub fn dot(&self, row: usize, x: &Activations) -> Result<f32> {
        self.dot_with(Isa::detect(), row, x)
    }

    /// Like [`dot`](Self::dot), with the given instruction set. The result is the same to the bit; only the speed differs.
    ///
    /// # Errors
    /// The errors of [`dot`](Self::dot).
    #[doc(hidden)]
    pub fn dot_with(&self, isa: Isa, row: usize, x: &Activations) -> Result<f32> {
        check_pair(self.ty, self.row_len, x)?;
        if row >= self.rows {
            return Err(Error::OutOfRange { what: "row", found: row as u64, count: self.rows as u64 });
        }
        if x.columns() == 0 {
            return Err(Error::OutOfRange { what: "column", found: 0, count: 0 });
        }
        let mut out = [0.0];
        let row =
            Matrix { bytes: &self.bytes[row * self.row_bytes()..][..self.row_bytes()], rows: 1, ..*self };
        row.some_columns(isa, x, 1, &mut out, 1, &mut Scratch::new())?;
        Ok(out[0])
    }

    /// Computes the product of every row with every column as `out[column][row]`: consecutive columns of
    /// [`row_count`](Self::row_count) values.
    ///
    /// ```
    /// # use gguf_codec::compute::{Activations, Matrix};
    /// # use gguf_codec::{Codec, GgmlType};
    /// let identity: Vec<f32> = (0..32 * 32).map(|i| f32::from(i % 33 == 0)).collect();
    /// let blocks = Codec::new(GgmlType::Q8_0).quantize_to_vec(&identity, 32)?;
    /// let values: Vec<f32> = (0..3 * 32).map(|i| i as f32).collect();
    ///
    /// let mut out = vec![0.0; 3 * 32];
    /// let x = Activations::new(GgmlType::Q8_0, &values, 32)?;
    /// Matrix::new(GgmlType::Q8_0, &blocks, 32)?.matmul(&x, &mut out)?;
    /// assert!(values.iter().zip(&out).all(|(x, y)| (x - y).abs() < 0.5));
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Length`] if columns are not as long as rows, or `out` has another length; [`Error::WrongActivations`] if the
    /// activations were quantized for another granularity.
    #[doc(alias("mul_mat", "gemm", "gemv", "matvec"))]
    pub fn matmul(&self, x: &Activations, out: &mut [f32]) -> Result<()> {
        self.matmul_with(Isa::detect(), x, out)
    }

    /// Like [`matmul`](Self::matmul), with the given instruction set. The result is the same to the bit; only the speed differs.
    ///
    /// # Errors
    /// The errors of [`matmul`](Self::matmul).
    #[doc(hidden)]
    pub fn matmul_with(&self, isa: Isa, x: &Activations, out: &mut [f32]) -> Result<()> {
        self.check(x, out.len())?;
        self.some_columns(isa, x, x.columns(), out, self.rows, &mut Scratch::new())
    }

    /// Like [`matmul`](Self::matmul), writing into the output of a larger matrix that contains these rows. Row `r` of column `c`
    /// is written to `out[c * stride + r]`, and nothing else is written. Computes in `scratch`, so that calls allocate nothing
    /// once it has grown.
    ///
    /// # Errors
    /// The errors of [`matmul`](Self::matmul); also [`Error::Length`] if `stride` is less than the number of rows, or `out` ends
    /// before the last product.
    pub fn matmul_strided(
        &self,
        x: &Activations,
        out: &mut [f32],
        stride: usize,
        scratch: &mut Scratch,
    ) -> Result<()> {
        check_pair(self.ty, self.row_len, x)?;
        if stride < self.rows {
            return Err(Error::Length {
                what: Measured::Stride,
                found: stride as u64,
                wanted: format!("{} or more, the rows", self.rows),
            });
        }
        let least = match x.columns() {
            0 => 0,
            columns => (columns as u128 - 1) * stride as u128 + self.rows as u128,
        };
        if (out.len() as u128) < least {
            return Err(Error::Length {
                what: Measured::OutputValues,
                found: out.len() as u64,
                wanted: format!("{least} or more, for {} columns {stride} apart", x.columns()),
            });
        }
        self.some_columns(Isa::detect(), x, x.columns(), out, stride, scratch)
    }

    /// Like [`matmul`](Self::matmul), on all cores. The result is the same to the bit.
    ///
    /// An engine that makes hundreds of such calls for a token makes them on a thread of rayon's
    /// (`rayon::ThreadPool::install`, or within `rayon::scope`): a call from any other thread waits for one of rayon's to wake.
    ///
    /// # Errors
    /// The errors of [`matmul`](Self::matmul).
    #[cfg(feature = "rayon")]
    pub fn par_matmul(&self, x: &Activations, out: &mut [f32]) -> Result<()> {
        par_matmul(&mut [(*self, out)], x)
    }

    /// Computes the product of every row with columns of floats that are not rounded: `out[column][row]`.
    ///
    /// This is slower than [`matmul`](Self::matmul), since weights are converted to floats, and as exact as single precision. It
    /// supports any type that can be dequantized. An output has sixteen accumulators, initially zero. The product of value `i`
    /// is added to accumulator `i mod 16` in order of `i`, and each operation is rounded separately. At the end accumulators 8
    /// to 15 are added to 0 to 7, and those are added up as in [`compute`](super). The result is the same to the bit on every
    /// instruction set, for any number of columns and threads.
    ///
    /// # Errors
    /// [`Error::Length`] if `values` are not whole columns or `out` has another length.
    pub fn matmul_f32<T: Float>(&self, values: &[T], out: &mut [f32]) -> Result<()> {
        self.matmul_f32_with(Isa::detect(), values, out)
    }

    /// Like [`matmul_f32`](Self::matmul_f32), with the given instruction set. The result is the same to the bit; only
    /// the speed differs.
    ///
    /// # Errors
    /// The errors of [`matmul_f32`](Self::matmul_f32).
    #[doc(hidden)]
    pub fn matmul_f32_with<T: Float>(&self, isa: Isa, values: &[T], out: &mut [f32]) -> Result<()> {
        let columns = whole_columns(Measured::Activations, values.len(), self.row_len)?;
        self.check_out(columns, out.len())?;
        self.floats(isa, &floats::widened(values), out, self.rows, &mut Vec::new())
    }

    /// Like [`matmul_f32`](Self::matmul_f32), on all cores. The result is the same to the bit.
    ///
    /// # Errors
    /// The errors of [`matmul_f32`](Self::matmul_f32).
    #[cfg(feature = "rayon")]
    pub fn par_matmul_f32<T: Float>(&self, values: &[T], out: &mut [f32]) -> Result<()> {
        let columns = whole_columns(Measured::Activations, values.len(), self.row_len)?;
        self.check_out(columns, out.len())?;
        let values = floats::widened(values);
        parallel::run(&mut [(*self, out)], columns, |part, out| {
            part.floats(Isa::detect(), &values, out, part.rows, &mut Vec::new())
        })
    }

    /// Writes some rows as floats to `out`, in the order given, as in an embedding look-up. `out` must have exactly their values.
    ///
    /// # Errors
    /// [`Error::Length`] if `out` has another length; [`Error::OutOfRange`] for a row past the last.
    #[doc(alias = "get_rows")]
    pub fn gather_rows<T: Float>(&self, rows: &[usize], out: &mut [T]) -> Result<()> {
        if rows.len().checked_mul(self.row_len) != Some(out.len()) {
            return Err(Error::Length {
                what: Measured::OutputValues,
                found: out.len() as u64,
                wanted: format!("{} rows of {}", rows.len(), self.row_len),
            });
        }
        for (&row, out) in rows.iter().zip(out.chunks_mut(self.row_len.max(1))) {
            codec::dequantize(self.ty, self.rows(row..row.saturating_add(1))?.bytes, out)?;
        }
        Ok(())
    }

    fn check(&self, x: &Activations, out: usize) -> Result<()> {
        check_pair(self.ty, self.row_len, x)?;
        self.check_out(x.columns(), out)
    }

    fn check_out(&self, columns: usize, out: usize) -> Result<()> {
        if self.rows as u128 * columns as u128 == out as u128 {
            return Ok(());
        }
        Err(Error::Length {
            what: Measured::OutputValues,
            found: out as u64,
            wanted: format!(
                "{}, {columns} columns of {} rows",
                self.rows as u128 * columns as u128,
                self.rows
            ),
        })
    }

    /// Multiplies with the first `columns`.
    fn some_columns(
        &self,
        isa: Isa,
        x: &Activations,
        columns: usize,
        out: &mut [f32],
        stride: usize,
        scratch: &mut Scratch,
    ) -> Result<()> {
        if grain(self.ty) == Some(Grain::Floats) {
            let values = &x.all_floats()[..columns * self.row_len];
            return self.floats(isa, values, out, stride, &mut scratch.floats);
        }
        let products = products(self.ty).ok_or(Error::NotMultipliable { ty: self.ty })?;
        if self.row_len == 0 {
            out.fill(0.0);
            return Ok(());
        }
        let Scratch { decoded: row, panel, columns: places, .. } = scratch;
        let (bytes, row_bytes) = (self.bytes, self.row_bytes());
        if columns == x.columns() && columns >= matmul::LEAST_COLUMNS && isa.has_tiles() {
            matmul::multiply(Product { isa, products, bytes, row_bytes, x, out, stride, panel });
            return Ok(());
        }
        row.resize(x.chunks_in_row(), Decoded::zeroed());
        places.clear();
        places.extend((0..columns).map(|column| x.column(column)));
        let rows = Rows { bytes, row_bytes, chunks: x.chunks(), columns: places, out, stride, decoded: row };
        if columns >= decoded::least_columns(products.shape) {
            decoded::multiply(isa, products, rows);
        } else {
            (products.dot)(isa, rows);
        }
        Ok(())
    }

    fn floats(
        &self,
        isa: Isa,
        columns: &[f32],
        out: &mut [f32],
        stride: usize,
        floats: &mut Vec<f32>,
    ) -> Result<()> {
        let rows = FloatRows {
            ty: self.ty,
            bytes: self.bytes,
            row_bytes: self.row_bytes(),
            row_len: self.row_len,
            columns,
            out,
            stride,
            floats,
        };
        floats::matmul(isa, rows)
    }
}

/// Multiplies several matrices with the same activations on all cores, as one job: for example, the query, key and value
/// weights of a layer, or a gate and what it gates. Each matrix comes with its output, as in [`Matrix::matmul`]. The
/// result is the same to the bit.
///
/// ```
/// # use gguf_codec::compute::{Activations, Matrix, par_matmul};
/// # fn show(wq: Matrix<'_>, wk: Matrix<'_>, x: &Activations) -> gguf_codec::Result<()> {
/// let (mut q, mut k) = (vec![0.0; wq.row_count()], vec![0.0; wk.row_count()]);
/// par_matmul(&mut [(wq, &mut q), (wk, &mut k)], x)?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// The errors of [`Matrix::matmul`], returned before anything is computed.
#[cfg(feature = "rayon")]
pub fn par_matmul(products: &mut [(Matrix<'_>, &mut [f32])], x: &Activations) -> Result<()> {
    for (matrix, out) in products.iter() {
        matrix.check(x, out.len())?;
    }
    parallel::run(products, x.columns(), |part, out| {
        part.some_columns(Isa::detect(), x, x.columns(), out, part.rows, &mut Scratch::new())
    })
}

#[cfg(feature = "rayon")]
mod parallel {
    use rayon::prelude::*;

    use super::*;

    /// The minimum size of a task, in bytes of weights times columns.
    const LEAST_TASK: usize = 256 * 1024;
    /// The number of tasks for each thread, so that no thread waits long for the last task.
    const TASKS_OF_THREAD: usize = 4;
    /// The number of rows in a task is a multiple of this.
    const ROWS: usize = 16;

    /// Divides matrices into tasks of whole rows. `multiply` receives rows and their part of the output.
    pub(super) fn run(
        products: &mut [(Matrix<'_>, &mut [f32])],
        columns: usize,
        multiply: impl Fn(Matrix<'_>, &mut [f32]) -> Result<()> + Sync,
    ) -> Result<()> {
        if columns == 0 {
            return Ok(());
        }
        let total: usize = products.iter().map(|(matrix, _)| matrix.bytes.len()).sum();
        let tasks = rayon::current_num_threads() * TASKS_OF_THREAD;
        let task_bytes = (total / tasks).max(LEAST_TASK / columns);
        let rows_of =
            |matrix: &Matrix<'_>| (task_bytes / matrix.row_bytes().max(1)).max(1).next_multiple_of(ROWS);
        if columns == 1 {
            // The rows of an output are contiguous.
            return products
                .par_iter_mut()
                .flat_map(|(matrix, out)| {
                    let (matrix, rows) = (*matrix, rows_of(matrix));
                    out.par_chunks_mut(rows).enumerate().map(move |(task, out)| (matrix, task * rows, out))
                })
                .try_for_each(|(matrix, first, out)| multiply(matrix.rows(first..first + out.len())?, out));
        }
        let parts: Vec<(usize, usize, Vec<f32>)> = products
            .par_iter()
            .enumerate()
            .flat_map(|(i, (matrix, _))| {
                let (matrix, rows) = (*matrix, rows_of(matrix));
                (0..matrix.rows.div_ceil(rows))
                    .into_par_iter()
                    .map(move |task| (i, matrix, task * rows..((task + 1) * rows).min(matrix.rows)))
            })
            .map(|(i, matrix, rows)| {
                let mut out = vec![0.0; rows.len() * columns];
                multiply(matrix.rows(rows.clone())?, &mut out)?;
                Ok((i, rows.start, out))
            })
            .collect::<Result<_>>()?;
        for (i, (matrix, out)) in products.iter_mut().enumerate() {
            out.par_chunks_mut(matrix.rows.max(1)).enumerate().for_each(|(column, out)| {
                for (_, first, part) in parts.iter().filter(|(of, ..)| *of == i) {
                    let rows = part.len() / columns;
                    out[*first..first + rows].copy_from_slice(&part[column * rows..][..rows]);
                }
            });
        }
        Ok(())
    }
}
