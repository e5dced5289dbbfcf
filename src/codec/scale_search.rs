//! The searches for scales that several quantizers share.
//!
//! Each runs *vertically*: a lane works on a block or sub-block of its own and does ggml's operations in ggml's
//! order, so the result has ggml's bits whatever the number of lanes. `x[i]` holds the i-th value of every lane's
//! block. A search returns how to quantize rather than quants, since most formats quantize once more with their
//! rounded scales: `inverse` (and `base`) give the search's own quants again, exactly, where they are needed.
//!
//! Lanes pass through functions marked `#[inline(always)]` and never through closures: a closure is compiled without
//! the instruction set of the kernel around it, and where it is not inlined each word in it becomes a call.

use super::format::Rows;
use crate::simd::{Simd, nearest};

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
    let (mut sum_xq, mut sum_qq) = (s.splat(0.0), s.splat(0.0));
    for i in 0..N {
        let q = s.to_float(s.nearest_within(s.mul(inverse, x[i]), -levels, levels - 1));
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
    min = s.select(s.lt(zero, min), zero, min);
    let least = min;
    let varies = s.lt(min, max);

    let mut inverse = s.div(s.splat(levels as f32), s.sub(max, min));
    let mut base = min;
    let mut scale = s.div(s.splat(1.0), inverse);
    let q = asymmetric_quants(s, levels, x, inverse, base);
    let mut least_error = asymmetric_error(s, x, weights, &q, scale, min);
    for step in 0..=steps.last {
        // `min` is the best candidate's so far, not the block's least value.
        let candidate = s.div(s.splat(steps.from + steps.by * step as f32 + levels as f32), s.sub(max, min));
        let q = asymmetric_quants(s, levels, x, candidate, min);
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

/// The quants, as floats, that an inverse scale and a min give.
#[inline(always)]
fn asymmetric_quants<S: Simd, const N: usize>(
    s: S,
    levels: i32,
    x: &[S::F; N],
    inverse: S::F,
    base: S::F,
) -> [S::F; N] {
    let mut quants = *x;
    for q in &mut quants {
        *q = s.to_float(s.nearest_within(s.mul(inverse, s.sub(*q, base)), 0, levels));
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

/// The scale for values that are themselves scales or mins (not negative), with quants in `0..=levels`, a few
/// in number: eight steps of the inverse scale, then up to five rounds of changing single quants for the better.
/// Returns the scale and fills `quants`. (ggml: `make_qp_quants`.)
pub(super) fn positive<const N: usize>(
    levels: i32,
    x: &[f32; N],
    weights: &[f32; N],
    quants: &mut [u8; N],
) -> f32 {
    let max = x.iter().fold(0.0, |max, &x| if max > x { max } else { x });
    if max < LEAST_MAGNITUDE {
        *quants = [0; N];
        return 0.0;
    }
    let error_of = |scale: f32, quant: &dyn Fn(f32) -> i32| {
        let mut error = 0.0;
        for (&x, &w) in x.iter().zip(weights) {
            let difference = x - scale * quant(x) as f32;
            error += w * difference * difference;
        }
        error
    };
    let mut inverse = levels as f32 / max;
    // The first error is taken with quants cut to a byte and not clamped.
    let mut least_error = error_of(1.0 / inverse, &|x| i32::from(nearest(inverse * x) as u8));
    for step in (-4..=4).filter(|&step| step != 0) {
        let candidate = (0.1 * step as f32 + levels as f32) / max;
        let error = error_of(1.0 / candidate, &|x| nearest(candidate * x).min(levels));
        if error < least_error {
            least_error = error;
            inverse = candidate;
        }
    }

    let (mut sum_xq, mut sum_qq) = (0.0, 0.0);
    for i in 0..N {
        let q = nearest(inverse * x[i]).min(levels);
        quants[i] = q as u8;
        sum_xq += weights[i] * x[i] * q as f32;
        sum_qq += weights[i] * q as f32 * q as f32;
    }
    for _ in 0..5 {
        let mut changed = false;
        for i in 0..N {
            let (w, q) = (weights[i], f32::from(quants[i]));
            let mut others_xq = sum_xq - w * x[i] * q;
            let mut others_qq = sum_qq - w * q * q;
            if others_xq > 0.0 && others_qq > 0.0 {
                let new = nearest(x[i] * others_qq / others_xq).min(levels);
                if new != i32::from(quants[i]) {
                    others_xq += w * x[i] * new as f32;
                    others_qq += w * new as f32 * new as f32;
                    if others_xq * others_xq * sum_qq > sum_xq * sum_xq * others_qq {
                        quants[i] = new as u8;
                        (sum_xq, sum_qq) = (others_xq, others_qq);
                        changed = true;
                    }
                }
            }
        }
        if !changed {
            break;
        }
    }
    if sum_qq > 0.0 { sum_xq / sum_qq } else { 0.0 }
}

/// The weights that the 32-value formats search with: `importance * sqrt(mean square of the row + x²)`.
pub(super) struct RowWeights<'a> {
    importance: &'a [f32],
    blocks_per_row: usize,
    mean_squares: Vec<f32>,
}

impl<'a> RowWeights<'a> {
    /// For blocks of 32.
    pub(super) fn new(rows: Rows<'_>, importance: &'a [f32]) -> Self {
        let mean_square = |row: &[f32]| row.iter().fold(0.0, |sum, x| sum + x * x) / row.len() as f32;
        RowWeights {
            importance,
            blocks_per_row: rows.row_len / 32,
            mean_squares: rows.values.chunks_exact(rows.row_len).map(mean_square).collect(),
        }
    }

    /// Of the blocks, one to a lane, whose values are `x`.
    #[inline(always)]
    pub(super) fn of_blocks<S: Simd>(
        &self,
        s: S,
        x: &[S::F; 32],
        block_of: impl Fn(usize) -> usize,
    ) -> [S::F; 32] {
        let mean_square = s.gather(|lane| self.mean_squares[block_of(lane) / self.blocks_per_row]);
        let mut weights = *x;
        for (i, weight) in weights.iter_mut().enumerate() {
            let importance = s.gather(|lane| self.importance[block_of(lane) % self.blocks_per_row * 32 + i]);
            *weight = s.mul(importance, s.sqrt(s.add(mean_square, s.mul(x[i], x[i]))));
        }
        weights
    }
}
