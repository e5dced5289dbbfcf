//! Weights from a row's importance.

use crate::codec::format::Rows;
use crate::simd::{MAX_LANES, Simd};

/// The weights that the 32-value formats search with: `importance * sqrt(mean square of the row + x²)`.
pub(in crate::codec) struct RowWeights<'a> {
    importance: &'a [[f32; 32]],
    mean_squares: Vec<f32>,
}

impl<'a> RowWeights<'a> {
    /// For blocks of 32.
    pub(in crate::codec) fn new(rows: Rows<'_>, importance: &'a [f32]) -> Self {
        let mean_square = |row: &[f32]| row.iter().fold(0.0, |sum, x| sum + x * x) / row.len() as f32;
        RowWeights {
            importance: importance.as_chunks().0,
            mean_squares: rows.values.chunks_exact(rows.row_len).map(mean_square).collect(),
        }
    }

    /// Of the blocks, one to a lane, whose values are `x`; `blocks` are their places among all rows' blocks.
    #[inline(always)]
    pub(in crate::codec) fn of_blocks<S: Simd>(
        &self,
        s: S,
        x: &[S::F; 32],
        blocks: &[usize; MAX_LANES],
    ) -> [S::F; 32] {
        let in_row = blocks.map(|block| &self.importance[block % self.importance.len()]);
        let mean_square = s.gather(|lane| self.mean_squares[blocks[lane] / self.importance.len()]);
        let mut weights = s.columns(&in_row);
        for (weight, &x) in weights.iter_mut().zip(x) {
            *weight = s.mul(*weight, s.sqrt(s.add(mean_square, s.mul(x, x))));
        }
        weights
    }
}
