//! Weights derived from a row's importance.

use alloc::vec::Vec;
use core::ops::Range;

use super::asymmetric::Steps;
use super::columns::{Importance, in_common, in_lanes};
use super::{asymmetric, columns, symmetric};
use crate::codec::format::Rows;
use crate::simd::{MAX_LANES, Simd};

/// The weights of the searches in 32-value formats: `importance * sqrt(mean square of the row + x²)`.
pub(in crate::codec) struct RowWeights<'a> {
    importance: Importance<'a, 32>,
    blocks_in_row: usize,
    mean_squares: Vec<f32>,
}

impl<'a> RowWeights<'a> {
    /// Creates the weights for blocks of 32.
    pub(in crate::codec) fn new(rows: Rows<'_>, importance: &'a [f32]) -> Self {
        let mean_square = |row: &[f32]| row.iter().fold(0.0, |sum, x| sum + x * x) / row.len() as f32;
        RowWeights {
            importance: Importance::new(importance, 0),
            blocks_in_row: importance.len() / 32,
            mean_squares: rows.values.chunks_exact(rows.row_len).map(mean_square).collect(),
        }
    }

    /// Returns the weights of blocks with values `x`, one block to a lane. `blocks` are their positions among the
    /// blocks of all rows.
    #[inline(always)]
    fn of_blocks<S: Simd>(&self, s: S, x: &[S::F; 32], blocks: &[usize; MAX_LANES]) -> [S::F; 32] {
        let mean_squares = in_common(s, &self.mean_squares, self.blocks_in_row, blocks);
        self.importance.weigh(s, blocks, mean_squares, x)
    }

    /// Runs [`symmetric`] for some blocks of all rows, at most as many as there are lanes.
    #[inline(always)]
    pub(in crate::codec) fn symmetric<S: Simd>(
        &self,
        s: S,
        levels: i32,
        x: &[[f32; 32]],
        blocks: Range<usize>,
    ) -> SymmetricBlocks {
        let blocks = in_lanes(blocks);
        let values = columns(s, x, &blocks);
        let found = symmetric(s, levels, &values, &self.of_blocks(s, &values, &blocks));
        let [mut scales, mut inverses] = [[0.0; MAX_LANES]; 2];
        s.store(found.scale, &mut scales);
        s.store(found.inverse, &mut inverses);
        SymmetricBlocks { scales, inverses }
    }

    /// Runs [`asymmetric`] for some blocks of all rows, at most as many as there are lanes.
    #[inline(always)]
    pub(in crate::codec) fn asymmetric<S: Simd>(
        &self,
        s: S,
        levels: i32,
        x: &[[f32; 32]],
        blocks: Range<usize>,
    ) -> AsymmetricBlocks {
        let blocks = in_lanes(blocks);
        let values = columns(s, x, &blocks);
        let weights = self.of_blocks(s, &values, &blocks);
        let found = asymmetric(s, levels, Steps::WITH_IMPORTANCE, &values, &weights);
        let [mut scales, mut mins, mut inverses, mut bases] = [[0.0; MAX_LANES]; 4];
        s.store(found.scale, &mut scales);
        s.store(found.min, &mut mins);
        s.store(found.inverse, &mut inverses);
        s.store(found.base, &mut bases);
        AsymmetricBlocks { scales, mins, inverses, bases }
    }
}

/// The contents of [`Symmetric`], block by block.
pub(in crate::codec) struct SymmetricBlocks {
    pub(in crate::codec) scales: [f32; MAX_LANES],
    pub(in crate::codec) inverses: [f32; MAX_LANES],
}

/// The contents of [`Asymmetric`], block by block.
pub(in crate::codec) struct AsymmetricBlocks {
    pub(in crate::codec) scales: [f32; MAX_LANES],
    pub(in crate::codec) mins: [f32; MAX_LANES],
    pub(in crate::codec) inverses: [f32; MAX_LANES],
    pub(in crate::codec) bases: [f32; MAX_LANES],
}
