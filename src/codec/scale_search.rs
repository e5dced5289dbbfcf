//! The searches for scales that several quantizers share.
//!
//! Each runs *vertically*: a lane works on a block or sub-block of its own and does ggml's operations in ggml's
//! order, so the result has ggml's bits whatever the number of lanes. `x[i]` holds the i-th value of every lane's
//! block. A search returns how to quantize rather than quants, since most formats quantize once more with their
//! rounded scales: `inverse` (and `base`) give the search's own quants again, exactly, where they are needed.
//!
//! Lanes pass through functions marked `#[inline(always)]` and never through closures: a closure is compiled without
//! the instruction set of the kernel around it, and where it is not inlined each word in it becomes a call.

use std::ops::Range;

use super::format::Rows;
use crate::simd::{MAX_LANES, NEAREST_LIMIT, Simd};

/// Below this magnitude a block counts as all zero.
pub(super) const LEAST_MAGNITUDE: f32 = 1e-15;

/// What [`symmetric`] finds, for each lane.
pub(super) struct Symmetric<S: Simd> {
    /// `x ≈ scale * q`; 0 for a block of zeros.
    pub(super) scale: S::F,
    /// `q = nearest(inverse * x)`, clamped to `-levels..levels`. 0 for a block of zeros, and only there.
    pub(super) inverse: S::F,
}

/// Finds the scale with the least weighted squared error for quants in `-levels..levels`, trying 19 scales
/// around the one that maps the value of greatest magnitude to `-levels`. (ggml: `make_qx_quants`.)
#[inline(always)]
pub(super) fn symmetric<S: Simd, const N: usize>(
    s: S,
    levels: i32,
    x: &[S::F; N],
    weights: &[S::F; N],
) -> Symmetric<S> {
    let zero = s.splat(0.0);
    let (mut greatest, mut extreme) = (zero, zero);
    for &x in x {
        let magnitude = s.abs(x);
        let wins = s.lt(greatest, magnitude);
        greatest = s.select(wins, magnitude, greatest);
        extreme = s.select(wins, x, extreme);
    }
    let is_zero = s.lt(greatest, s.splat(LEAST_MAGNITUDE));

    let mut weighted = *weights;
    for i in 0..N {
        weighted[i] = s.mul(weights[i], x[i]);
    }

    let mut inverse = s.div(s.splat(-levels as f32), extreme);
    let (sum_xq, sum_qq) = symmetric_sums(s, levels, x, weights, &weighted, inverse);
    let mut scale = s.select(s.ne(sum_qq, zero), s.div(sum_xq, sum_qq), zero);
    let mut best = s.mul(scale, sum_xq);
    for step in (-9..=9).filter(|&step| step != 0) {
        let candidate = s.div(s.splat(-(levels as f32 + 0.1 * step as f32)), extreme);
        let (sum_xq, sum_qq) = symmetric_sums(s, levels, x, weights, &weighted, candidate);
        let wins = s.both(s.lt(zero, sum_qq), s.lt(s.mul(best, sum_qq), s.mul(sum_xq, sum_xq)));
        let better = s.div(sum_xq, sum_qq);
        scale = s.select(wins, better, scale);
        best = s.select(wins, s.mul(better, sum_xq), best);
        inverse = s.select(wins, candidate, inverse);
    }
    Symmetric { scale: s.select(is_zero, zero, scale), inverse: s.select(is_zero, zero, inverse) }
}

/// Σ w·x·q and Σ w·q·q over the quants that an inverse scale gives.
#[inline(always)]
fn symmetric_sums<S: Simd, const N: usize>(
    s: S,
    levels: i32,
    x: &[S::F; N],
    weights: &[S::F; N],
    weighted: &[S::F; N],
    inverse: S::F,
) -> (S::F, S::F) {
    let (lowest, highest) = (s.splat(-levels as f32), s.splat((levels - 1) as f32));
    let (mut sum_xq, mut sum_qq) = (s.splat(0.0), s.splat(0.0));
    for i in 0..N {
        // `inverse` maps no value further from 0 than the levels and a few, so that floats can be clamped and
        // rounded as ggml does with integers. (In a lane of zeros it may not, and what comes of it is dropped.)
        let q = s.round_even(s.max(s.min(s.mul(inverse, x[i]), highest), lowest));
        sum_xq = s.add(sum_xq, s.mul(weighted[i], q));
        sum_qq = s.add(sum_qq, s.mul(s.mul(weights[i], q), q));
    }
    (sum_xq, sum_qq)
}

/// Which inverse scales [`asymmetric`] tries: `(from + by * step + levels) / (max - min)` for each step.
#[derive(Clone, Copy)]
pub(super) struct Steps {
    from: f32,
    by: f32,
    last: i32,
}

impl Steps {
    /// Without importance, in Q4_K and Q5_K.
    pub(super) const PLAIN: Steps = Steps { from: -1.0, by: 0.1, last: 20 };
    /// With importance.
    pub(super) const WITH_IMPORTANCE: Steps = Steps { from: -0.9, by: 0.05, last: 36 };
}

/// What [`asymmetric`] finds, for each lane.
pub(super) struct Asymmetric<S: Simd> {
    /// `x ≈ scale * q + min`; 0 for a block of equal values.
    pub(super) scale: S::F,
    /// Not above 0.
    pub(super) min: S::F,
    /// `q = nearest(inverse * (x - base))`, clamped to `0..=levels`.
    pub(super) inverse: S::F,
    /// The min that was in force when the winning quants were made, which `min` then replaced.
    pub(super) base: S::F,
}

/// Finds the scale and min with the least weighted squared error for quants in `0..=levels`: for each step makes
/// quants, fits scale and min to them by least squares, and keeps the best fit. (ggml: `make_qkx2_quants` and
/// `make_qkx3_quants`, which differ in nothing else than their callers' weights and steps.)
#[inline(always)]
pub(super) fn asymmetric<S: Simd, const N: usize>(
    s: S,
    levels: i32,
    steps: Steps,
    x: &[S::F; N],
    weights: &[S::F; N],
) -> Asymmetric<S> {
    let zero = s.splat(0.0);
    let (mut min, mut max) = (x[0], x[0]);
    let mut sum_w = weights[0];
    let mut sum_x = s.mul(weights[0], x[0]);
    for i in 1..N {
        min = s.min(x[i], min);
        max = s.max(x[i], max);
        sum_w = s.add(sum_w, weights[i]);
        sum_x = s.add(sum_x, s.mul(weights[i], x[i]));
    }
    let lowest = min;
    min = s.select(s.lt(zero, min), zero, min);
    let least = min;
    let varies = s.lt(min, max);

    let mut inverse = s.div(s.splat(levels as f32), s.sub(max, min));
    let mut base = min;
    let mut scale = s.div(s.splat(1.0), inverse);
    let q = asymmetric_quants(s, levels, x, (lowest, max), s.select(varies, inverse, zero), base);
    let mut least_error = asymmetric_error(s, x, weights, &q, scale, min);
    for step in 0..=steps.last {
        // `min` is the best candidate's so far, not the block's least value.
        let candidate = s.div(s.splat(steps.from + steps.by * step as f32 + levels as f32), s.sub(max, min));
        let candidate = s.select(varies, candidate, zero);
        let q = asymmetric_quants(s, levels, x, (lowest, max), candidate, min);
        let (mut sum_q, mut sum_qq, mut sum_xq) = (zero, zero, zero);
        for i in 0..N {
            let weighted = s.mul(weights[i], q[i]);
            sum_q = s.add(sum_q, weighted);
            sum_qq = s.add(sum_qq, s.mul(weighted, q[i]));
            sum_xq = s.add(sum_xq, s.mul(weighted, x[i]));
        }
        let determinant = s.sub(s.mul(sum_w, sum_qq), s.mul(sum_q, sum_q));
        let fit_scale = s.div(s.sub(s.mul(sum_w, sum_xq), s.mul(sum_x, sum_q)), determinant);
        let fit_min = s.div(s.sub(s.mul(sum_qq, sum_x), s.mul(sum_q, sum_xq)), determinant);
        let too_high = s.lt(zero, fit_min);
        let fit_scale = s.select(too_high, s.div(sum_xq, sum_qq), fit_scale);
        let fit_min = s.select(too_high, zero, fit_min);
        let error = asymmetric_error(s, x, weights, &q, fit_scale, fit_min);
        let wins = s.both(s.lt(zero, determinant), s.lt(error, least_error));
        inverse = s.select(wins, candidate, inverse);
        base = s.select(wins, min, base);
        least_error = s.select(wins, error, least_error);
        scale = s.select(wins, fit_scale, scale);
        min = s.select(wins, fit_min, min);
    }
    // Equal values end the search before it begins: all quants 0, no scale.
    Asymmetric {
        scale: s.select(varies, scale, zero),
        min: s.select(varies, min, least),
        inverse: s.select(varies, inverse, zero),
        base: s.select(varies, base, least),
    }
}

/// The quants, as floats, that an inverse scale and a min give. `range` is the least and the greatest value.
#[inline(always)]
fn asymmetric_quants<S: Simd, const N: usize>(
    s: S,
    levels: i32,
    x: &[S::F; N],
    range: (S::F, S::F),
    inverse: S::F,
    base: S::F,
) -> [S::F; N] {
    let limit = s.splat(NEAREST_LIMIT);
    let first = s.lt(s.abs(s.mul(inverse, s.sub(range.0, base))), limit);
    let last = s.lt(s.abs(s.mul(inverse, s.sub(range.1, base))), limit);
    let mut quants = *x;
    if s.all(s.both(first, last)) {
        // Subtraction and multiplication round monotonically, so no value between the two leaves the range either,
        // and floats can be clamped and rounded as ggml does with integers.
        let (lowest, highest) = (s.splat(0.0), s.splat(levels as f32));
        for q in &mut quants {
            *q = s.round_even(s.max(s.min(s.mul(inverse, s.sub(*q, base)), highest), lowest));
        }
    } else {
        // A fit can leave hardly any room between `base` and the greatest value. ggml's rounding wraps then.
        for q in &mut quants {
            *q = s.to_float(s.nearest_within(s.mul(inverse, s.sub(*q, base)), 0, levels));
        }
    }
    quants
}

/// Σ w·(scale·q + min - x)²
#[inline(always)]
fn asymmetric_error<S: Simd, const N: usize>(
    s: S,
    x: &[S::F; N],
    weights: &[S::F; N],
    q: &[S::F; N],
    scale: S::F,
    min: S::F,
) -> S::F {
    let mut error = s.splat(0.0);
    for i in 0..N {
        let difference = s.sub(s.add(s.mul(scale, q[i]), min), x[i]);
        error = s.add(error, s.mul(weights[i], s.mul(difference, difference)));
    }
    error
}

/// What [`positive`] finds, for each lane.
pub(super) struct Positive<S: Simd, const N: usize> {
    /// `x ≈ scale * q`
    pub(super) scale: S::F,
    /// ggml keeps their low bytes.
    pub(super) quants: [S::I; N],
}

/// The scale for values that are themselves scales or mins (not negative), with quants in `0..=levels`, a few
/// in number: eight steps of the inverse scale, then up to five rounds of changing single quants for the better.
/// (ggml: `make_qp_quants`.)
#[inline(always)]
pub(super) fn positive<S: Simd, const N: usize>(
    s: S,
    levels: i32,
    x: &[S::F; N],
    weights: &[S::F; N],
) -> Positive<S, N> {
    let (zero, most, byte) = (s.splat(0.0), s.splat_i(levels), s.splat_i(255));
    let mut max = zero;
    for &x in x {
        max = s.max(max, x);
    }
    let is_zero = s.lt(max, s.splat(LEAST_MAGNITUDE));

    let mut inverse = s.div(s.splat(levels as f32), max);
    let mut quants = [s.splat_i(0); N];
    for i in 0..N {
        // The first error is taken with quants cut to a byte and not clamped.
        quants[i] = s.and(s.nearest(s.mul(inverse, x[i])), byte);
    }
    let mut least_error = positive_error(s, x, weights, &quants, s.div(s.splat(1.0), inverse));
    for step in (-4..=4).filter(|&step| step != 0) {
        let candidate = s.div(s.splat(0.1 * step as f32 + levels as f32), max);
        for i in 0..N {
            quants[i] = s.min_i(s.nearest(s.mul(candidate, x[i])), most);
        }
        let error = positive_error(s, x, weights, &quants, s.div(s.splat(1.0), candidate));
        let wins = s.lt(error, least_error);
        least_error = s.select(wins, error, least_error);
        inverse = s.select(wins, candidate, inverse);
    }

    let (mut sum_xq, mut sum_qq) = (zero, zero);
    for i in 0..N {
        let quant = s.min_i(s.nearest(s.mul(inverse, x[i])), most);
        let q = s.to_float(quant);
        sum_xq = s.add(sum_xq, s.mul(s.mul(weights[i], x[i]), q));
        sum_qq = s.add(sum_qq, s.mul(s.mul(weights[i], q), q));
        quants[i] = s.and(quant, byte);
    }
    // A lane in which a round changes nothing finds nothing to change in the rounds after it either.
    for _ in 0..5 {
        for i in 0..N {
            let (weight, q) = (weights[i], s.to_float(quants[i]));
            let weighted = s.mul(weight, x[i]);
            let others_xq = s.sub(sum_xq, s.mul(weighted, q));
            let others_qq = s.sub(sum_qq, s.mul(s.mul(weight, q), q));
            let possible = s.both(s.lt(zero, others_xq), s.lt(zero, others_qq));
            let new = s.min_i(s.nearest(s.div(s.mul(x[i], others_qq), others_xq)), most);
            let new_q = s.to_float(new);
            let new_xq = s.add(others_xq, s.mul(weighted, new_q));
            let new_qq = s.add(others_qq, s.mul(s.mul(weight, new_q), new_q));
            let better = s.lt(s.mul(s.mul(sum_xq, sum_xq), new_qq), s.mul(s.mul(new_xq, new_xq), sum_qq));
            let changes = s.both(s.both(possible, s.ne(new_q, q)), better);
            sum_xq = s.select(changes, new_xq, sum_xq);
            sum_qq = s.select(changes, new_qq, sum_qq);
            quants[i] = s.select_i(changes, s.and(new, byte), quants[i]);
        }
    }
    let scale = s.select(s.lt(zero, sum_qq), s.div(sum_xq, sum_qq), zero);
    for quant in &mut quants {
        *quant = s.select_i(is_zero, s.splat_i(0), *quant);
    }
    Positive { scale: s.select(is_zero, zero, scale), quants }
}

/// Σ w·(x - scale·q)²
#[inline(always)]
fn positive_error<S: Simd, const N: usize>(
    s: S,
    x: &[S::F; N],
    weights: &[S::F; N],
    quants: &[S::I; N],
    scale: S::F,
) -> S::F {
    let mut error = s.splat(0.0);
    for i in 0..N {
        let difference = s.sub(x[i], s.mul(scale, s.to_float(quants[i])));
        error = s.add(error, s.mul(s.mul(weights[i], difference), difference));
    }
    error
}

/// The weights that the 32-value formats search with: `importance * sqrt(mean square of the row + x²)`.
pub(super) struct RowWeights<'a> {
    importance: &'a [[f32; 32]],
    mean_squares: Vec<f32>,
}

impl<'a> RowWeights<'a> {
    /// For blocks of 32.
    pub(super) fn new(rows: Rows<'_>, importance: &'a [f32]) -> Self {
        let mean_square = |row: &[f32]| row.iter().fold(0.0, |sum, x| sum + x * x) / row.len() as f32;
        RowWeights {
            importance: importance.as_chunks().0,
            mean_squares: rows.values.chunks_exact(rows.row_len).map(mean_square).collect(),
        }
    }

    /// Of the blocks, one to a lane, whose values are `x`; `blocks` are their places among all rows' blocks.
    #[inline(always)]
    fn of_blocks<S: Simd>(&self, s: S, x: &[S::F; 32], blocks: &[usize; MAX_LANES]) -> [S::F; 32] {
        let in_row = blocks.map(|block| &self.importance[block % self.importance.len()]);
        let mean_square = s.gather(|lane| self.mean_squares[blocks[lane] / self.importance.len()]);
        let mut weights = s.columns(&in_row);
        for (weight, &x) in weights.iter_mut().zip(x) {
            *weight = s.mul(*weight, s.sqrt(s.add(mean_square, s.mul(x, x))));
        }
        weights
    }

    /// [`symmetric`] for some blocks of all rows, as many as there are lanes at most.
    #[inline(always)]
    pub(super) fn symmetric<S: Simd>(
        &self,
        s: S,
        levels: i32,
        x: &[[f32; 32]],
        blocks: Range<usize>,
    ) -> SymmetricBlocks {
        let blocks = in_lanes(blocks);
        let values = s.columns(&blocks.map(|block| &x[block]));
        let found = symmetric(s, levels, &values, &self.of_blocks(s, &values, &blocks));
        let [mut scales, mut inverses] = [[0.0; MAX_LANES]; 2];
        s.store(found.scale, &mut scales);
        s.store(found.inverse, &mut inverses);
        SymmetricBlocks { scales, inverses }
    }

    /// [`asymmetric`] for some blocks of all rows, as many as there are lanes at most.
    #[inline(always)]
    pub(super) fn asymmetric<S: Simd>(
        &self,
        s: S,
        levels: i32,
        x: &[[f32; 32]],
        blocks: Range<usize>,
    ) -> AsymmetricBlocks {
        let blocks = in_lanes(blocks);
        let values = s.columns(&blocks.map(|block| &x[block]));
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

/// What [`Symmetric`] holds, of one block after another.
pub(super) struct SymmetricBlocks {
    pub(super) scales: [f32; MAX_LANES],
    pub(super) inverses: [f32; MAX_LANES],
}

/// What [`Asymmetric`] holds, of one block after another.
pub(super) struct AsymmetricBlocks {
    pub(super) scales: [f32; MAX_LANES],
    pub(super) mins: [f32; MAX_LANES],
    pub(super) inverses: [f32; MAX_LANES],
    pub(super) bases: [f32; MAX_LANES],
}

/// The block of each lane. Lanes beyond the last block repeat it.
#[inline(always)]
pub(super) fn in_lanes(blocks: Range<usize>) -> [usize; MAX_LANES] {
    std::array::from_fn(|lane| (blocks.start + lane).min(blocks.end - 1))
}
