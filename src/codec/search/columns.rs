//! Blocks in lanes: the block of each lane, its values, and their weights.

use core::ops::Range;

use crate::simd::{MAX_LANES, Shared, Simd};

/// Returns the block of each lane. Lanes past the last block repeat it.
pub(in crate::codec) fn in_lanes(blocks: Range<usize>) -> [usize; MAX_LANES] {
    let mut places = [blocks.end - 1; MAX_LANES];
    for (place, block) in places.iter_mut().zip(blocks) {
        *place = block;
    }
    places
}

/// Transposes: the `i`-th vector contains the `i`-th value of each lane's block.
#[inline(always)]
pub(in crate::codec) fn columns<S: Simd, const N: usize>(
    s: S,
    blocks: &[[f32; N]],
    places: &[usize; MAX_LANES],
) -> [S::F; N] {
    s.shared(Columns { blocks, places })
}

struct Columns<'a, const N: usize> {
    blocks: &'a [[f32; N]],
    places: &'a [usize; MAX_LANES],
}

impl<S: Simd, const N: usize> Shared<S> for Columns<'_, N> {
    type Output = [S::F; N];

    #[inline(always)]
    fn run(self, s: S) -> [S::F; N] {
        let mut rows = [&[0.0; N]; MAX_LANES];
        for (row, &place) in rows[..S::LANES].iter_mut().zip(self.places) {
            *row = &self.blocks[place];
        }
        s.columns(&rows)
    }
}

/// A row's importance, in blocks of `N` values.
#[derive(Clone, Copy)]
pub(in crate::codec) struct Importance<'a, const N: usize> {
    row: &'a [[f32; N]],
    /// Where the values that are quantized together begin, in blocks from the start of the first row.
    first: usize,
}

impl<'a, const N: usize> Importance<'a, N> {
    /// Creates the importance of consecutive rows, each of which `row` weights. `first` is the position of block 0
    /// among the blocks of all rows.
    #[inline(always)]
    pub(in crate::codec) fn new(row: &'a [f32], first: usize) -> Self {
        Importance { row: row.as_chunks().0, first }
    }

    /// Returns the importance of the blocks at these positions.
    #[inline(always)]
    pub(in crate::codec) fn of<S: Simd>(self, s: S, places: &[usize; MAX_LANES]) -> [S::F; N] {
        s.shared(OfBlocks { importance: self, places, weighed: None })
    }

    /// Returns `importance * sqrt(mean square + x²)` for the blocks at these positions, whose values are `x`.
    #[inline(always)]
    pub(in crate::codec) fn weigh<S: Simd>(
        self,
        s: S,
        places: &[usize; MAX_LANES],
        mean_squares: S::F,
        x: &[S::F; N],
    ) -> [S::F; N] {
        s.shared(OfBlocks { importance: self, places, weighed: Some((mean_squares, x)) })
    }
}

struct OfBlocks<'a, S: Simd, const N: usize> {
    importance: Importance<'a, N>,
    places: &'a [usize; MAX_LANES],
    weighed: Option<(S::F, &'a [S::F; N])>,
}

impl<S: Simd, const N: usize> Shared<S> for OfBlocks<'_, S, N> {
    type Output = [S::F; N];

    #[inline(always)]
    fn run(self, s: S) -> [S::F; N] {
        let Importance { row, first } = self.importance;
        let mut rows = [&[0.0; N]; MAX_LANES];
        for (to, &place) in rows[..S::LANES].iter_mut().zip(self.places) {
            *to = &row[(first + place) % row.len()];
        }
        let mut weights = s.columns(&rows);
        if let Some((mean_squares, x)) = self.weighed {
            for (weight, &x) in weights.iter_mut().zip(x) {
                *weight = s.mul(*weight, s.sqrt(s.add(mean_squares, s.mul(x, x))));
            }
        }
        weights
    }
}

/// Returns each lane's number, where `each` consecutive blocks share one.
#[inline(always)]
pub(in crate::codec) fn in_common<S: Simd>(
    s: S,
    numbers: &[f32],
    each: usize,
    places: &[usize; MAX_LANES],
) -> S::F {
    let mut lanes = [0.0; MAX_LANES];
    for (lane, &place) in lanes[..S::LANES].iter_mut().zip(places) {
        *lane = numbers[place / each];
    }
    s.load(&lanes)
}
