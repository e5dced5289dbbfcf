//! [`Experts`]: several matrices of one shape. Each column is multiplied with the matrices chosen for it.

use alloc::format;
use alloc::vec::Vec;

use super::activations::Activations;
use super::matrix::Matrix;
use crate::error::{Error, Measured, Result};
use crate::ggml_type::GgmlType;

/// The experts of a layer: a three-dimensional tensor with a matrix for each expert.
#[derive(Debug, Clone, Copy)]
pub struct Experts<'a> {
    all: Matrix<'a>,
    rows: usize,
}

impl<'a> Experts<'a> {
    /// Creates experts of `rows` rows of `row_len` values of type `ty`, stored consecutively.
    ///
    /// # Errors
    /// [`Error::Length`] if `row_len` is not whole blocks of `ty`, or `bytes` are not whole experts.
    pub fn new(ty: GgmlType, bytes: &'a [u8], row_len: usize, rows: usize) -> Result<Self> {
        let all = Matrix::new(ty, bytes, row_len)?;
        if (rows == 0 && all.row_count() != 0) || !all.row_count().is_multiple_of(rows.max(1)) {
            return Err(Error::Length {
                what: Measured::ExpertRows,
                found: all.row_count() as u64,
                wanted: format!("whole experts of {rows} rows"),
            });
        }
        Ok(Experts { all, rows })
    }

    /// Returns the number of experts.
    pub fn count(&self) -> usize {
        self.all.row_count() / self.rows.max(1)
    }

    /// Returns one expert.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for an expert past the last.
    pub fn expert(&self, expert: usize) -> Result<Matrix<'a>> {
        if expert >= self.count() {
            return Err(Error::OutOfRange {
                what: "expert",
                found: expert as u64,
                count: self.count() as u64,
            });
        }
        self.all.rows(expert * self.rows..(expert + 1) * self.rows)
    }

    /// Multiplies columns with the experts chosen for them. `out[i][row]` is the product of expert `experts[i]` with column
    /// `i / n`, where `n` is the number of experts for each column. Columns with the same expert are multiplied together.
    ///
    /// # Errors
    /// [`Error::Length`] if the number of experts is not a multiple of the number of columns, or `out` has another
    /// length; [`Error::OutOfRange`] for an expert past the last; and those of [`Matrix::matmul`].
    #[doc(alias = "mul_mat_id")]
    pub fn matmul(&self, x: &Activations, experts: &[usize], out: &mut [f32]) -> Result<()> {
        self.each(x, experts, out, |matrix, x, out| matrix.matmul(x, out))
    }

    /// Like [`matmul`](Self::matmul), on all cores. The result is the same to the bit.
    ///
    /// # Errors
    /// The errors of [`matmul`](Self::matmul).
    #[cfg(feature = "rayon")]
    pub fn par_matmul(&self, x: &Activations, experts: &[usize], out: &mut [f32]) -> Result<()> {
        self.each(x, experts, out, |matrix, x, out| matrix.par_matmul(x, out))
    }

    fn each(
        &self,
        x: &Activations,
        experts: &[usize],
        out: &mut [f32],
        multiply: impl Fn(Matrix<'a>, &Activations, &mut [f32]) -> Result<()>,
    ) -> Result<()> {
        super::activations::check_pair(self.all.ggml_type(), self.all.row_len(), x)?;
        if !experts.len().is_multiple_of(x.columns().max(1)) || (x.columns() == 0 && !experts.is_empty()) {
            return Err(Error::Length {
                what: Measured::Experts,
                found: experts.len() as u64,
                wanted: format!("as many for each of the {} columns", x.columns()),
            });
        }
        if experts.len().checked_mul(self.rows) != Some(out.len()) {
            return Err(Error::Length {
                what: Measured::OutputValues,
                found: out.len() as u64,
                wanted: format!("{} columns of {} rows", experts.len(), self.rows),
            });
        }
        for &expert in experts {
            self.expert(expert)?;
        }
        let chosen = experts.len() / x.columns().max(1);
        // Groups the outputs by expert, in order of the experts.
        let mut order: Vec<usize> = (0..experts.len()).collect();
        order.sort_by_key(|&i| experts[i]);
        let mut part = Vec::new();
        for group in order.chunk_by(|&a, &b| experts[a] == experts[b]) {
            let columns: Vec<usize> = group.iter().map(|&i| i / chosen).collect();
            part.clear();
            part.resize(group.len() * self.rows, 0.0);
            multiply(self.expert(experts[group[0]])?, &x.select(&columns)?, &mut part)?;
            for (&i, part) in group.iter().zip(part.chunks(self.rows.max(1))) {
                out[i * self.rows..][..self.rows].copy_from_slice(part);
            }
        }
        Ok(())
    }
}
