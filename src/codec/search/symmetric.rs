//! The search for a scale only.
//!
//! In pseudo-code:
//!
//! ```text
//! extreme ← the value of greatest magnitude
//! for inverse in −levels / extreme, then −(levels + 0.1 · step) / extreme for steps from −9 to 9:
//!     q ← clamp(nearest(inverse · x), −levels, levels − 1)
//!     keep the inverse with the greatest (Σ w·x·q)² / Σ w·q·q, and scale ← Σ w·x·q / Σ w·q·q
//! ```

use super::{LEAST_MAGNITUDE, extreme};
use crate::simd::{Shared, Simd};

/// The result of [`symmetric`], for each lane.
pub(in crate::codec) struct Symmetric<S: Simd> {
    /// `x ≈ scale * q`. 0 for a block of zeros.
    pub(in crate::codec) scale: S::F,
    /// `q = nearest(inverse * x)`, clamped to `-levels..levels`. 0 for a block of zeros, and if all values are finite
    /// only for that.
    pub(in crate::codec) inverse: S::F,
}

/// Finds the scale with the least weighted squared error for quants in `-levels..levels`. Tries 19 scales around the
/// one that maps the value of greatest magnitude to `-levels`. (ggml: `make_qx_quants`.)
#[inline(always)]
pub(in crate::codec) fn symmetric<S: Simd, const N: usize>(
    s: S,
    levels: i32,
    x: &[S::F; N],
    weights: &[S::F; N],
) -> Symmetric<S> {
    s.shared(Search::<S, N, true> { levels, x, weights })
}

/// Like [`symmetric`], for values that are themselves computed and may be infinite or NaN.
#[inline(always)]
pub(in crate::codec) fn symmetric_of_any<S: Simd, const N: usize>(
    s: S,
    levels: i32,
    x: &[S::F; N],
    weights: &[S::F; N],
) -> Symmetric<S> {
    s.shared(Search::<S, N, false> { levels, x, weights })
}

/// `FINITE` says that all values are finite. The few other searches would slow down the rest.
struct Search<'a, S: Simd, const N: usize, const FINITE: bool> {
    levels: i32,
    x: &'a [S::F; N],
    weights: &'a [S::F; N],
}

impl<S: Simd, const N: usize, const FINITE: bool> Shared<S> for Search<'_, S, N, FINITE> {
    type Output = Symmetric<S>;

    #[inline(always)]
    fn run(self, s: S) -> Symmetric<S> {
        search::<S, N, FINITE>(s, self.levels, self.x, self.weights)
    }
}

#[inline(always)]
fn search<S: Simd, const N: usize, const FINITE: bool>(
    s: S,
    levels: i32,
    x: &[S::F; N],
    weights: &[S::F; N],
) -> Symmetric<S> {
    let zero = s.splat(0.0);
    let (greatest, extreme) = extreme(s, x);
    let is_zero = s.lt(greatest, s.splat(LEAST_MAGNITUDE));

    let mut weighted = *weights;
    for (weighted, (&x, &weight)) in weighted.iter_mut().zip(x.iter().zip(weights)) {
        *weighted = s.mul(weight, x);
    }
    let values = Values { x, weights, weighted: &weighted };

    let mut inverse = s.div(s.splat(-levels as f32), extreme);
    let (sum_xq, sum_qq) = sums::<S, N, FINITE>(s, levels, &values, inverse, 0);
    let mut scale = s.select(s.ne(sum_qq, zero), s.div(sum_xq, sum_qq), zero);
    let mut best = s.mul(scale, sum_xq);
    for step in (-9..=9).filter(|&step| step != 0) {
        let candidate = s.div(s.splat(-(levels as f32 + 0.1 * step as f32)), extreme);
        let (sum_xq, sum_qq) = sums::<S, N, FINITE>(s, levels, &values, candidate, step);
        let wins = s.both(s.lt(zero, sum_qq), s.lt(s.mul(best, sum_qq), s.mul(sum_xq, sum_xq)));
        let better = s.div(sum_xq, sum_qq);
        scale = s.select(wins, better, scale);
        best = s.select(wins, s.mul(better, sum_xq), best);
        inverse = s.select(wins, candidate, inverse);
    }
    Symmetric { scale: s.select(is_zero, zero, scale), inverse: s.select(is_zero, zero, inverse) }
}

/// How quants are made equal to ggml's, which rounds to integers and then clamps.
#[derive(Clone, Copy)]
enum Rounding {
    /// No quant needs clamping.
    InRange,
    /// Clamped from above as floats, then rounded.
    ClampedAbove,
    /// Clamped as floats, then rounded.
    Clamped,
    /// Like ggml, whose rounding wraps.
    Wrapping,
}

/// A block's values, their weights, and the products of both.
struct Values<'a, S: Simd, const N: usize> {
    x: &'a [S::F; N],
    weights: &'a [S::F; N],
    weighted: &'a [S::F; N],
}

/// Returns Σ w·x·q and Σ w·q·q over the quants of a step's inverse scale.
#[inline(always)]
fn sums<S: Simd, const N: usize, const FINITE: bool>(
    s: S,
    levels: i32,
    values: &Values<'_, S, N>,
    inverse: S::F,
    step: i32,
) -> (S::F, S::F) {
    // No value is mapped further from 0 than the levels plus a tenth for each step, so floats can be rounded just as
    // ggml rounds integers. No clamping is needed with half a level to spare. (In a lane of zeros there is no such
    // bound, and its result is discarded.) There is a loop for each case.
    if !FINITE {
        rounded_sums(s, levels, values, inverse, Rounding::Wrapping)
    } else if step < -5 {
        rounded_sums(s, levels, values, inverse, Rounding::InRange)
    } else if step < 5 {
        rounded_sums(s, levels, values, inverse, Rounding::ClampedAbove)
    } else {
        rounded_sums(s, levels, values, inverse, Rounding::Clamped)
    }
}

#[inline(always)]
fn rounded_sums<S: Simd, const N: usize>(
    s: S,
    levels: i32,
    values: &Values<'_, S, N>,
    inverse: S::F,
    rounding: Rounding,
) -> (S::F, S::F) {
    let (lowest, highest) = (s.splat(-levels as f32), s.splat((levels - 1) as f32));
    let (mut sum_xq, mut sum_qq) = (s.splat(0.0), s.splat(0.0));
    let all = values.x.iter().zip(values.weights).zip(values.weighted);
    for ((&x, &weight), &weighted) in all {
        let scaled = s.mul(inverse, x);
        let q = match rounding {
            Rounding::InRange => s.round_even(scaled),
            Rounding::ClampedAbove => s.round_even(s.min(scaled, highest)),
            Rounding::Clamped => s.round_even(s.max(s.min(scaled, highest), lowest)),
            Rounding::Wrapping => s.to_float(s.nearest_within(scaled, -levels, levels - 1)),
        };
        sum_xq = s.add(sum_xq, s.mul(weighted, q));
        sum_qq = s.add(sum_qq, s.mul(s.mul(weight, q), q));
    }
    (sum_xq, sum_qq)
}

/// Returns the quants for the `inverse` of a [`Symmetric`], biased to `0..2 * levels`. Those of a block of zeros are
/// 0 instead of `levels`, as in ggml.
#[inline(always)]
pub(in crate::codec) fn symmetric_quants<S: Simd, const N: usize>(
    s: S,
    levels: i32,
    x: &[S::F; N],
    inverse: S::F,
) -> [S::I; N] {
    s.shared(Quants::<S, N> { levels, x, inverse })
}

struct Quants<'a, S: Simd, const N: usize> {
    levels: i32,
    x: &'a [S::F; N],
    inverse: S::F,
}

impl<S: Simd, const N: usize> Shared<S> for Quants<'_, S, N> {
    type Output = [S::I; N];

    #[inline(always)]
    fn run(self, s: S) -> [S::I; N] {
        let Quants { levels, x, inverse } = self;
        let (zero, bias) = (s.splat_i(0), s.splat_i(levels));
        // The inverse cannot be used for this, because it is 0 for an infinite value too.
        let is_zero = s.lt(extreme(s, x).0, s.splat(LEAST_MAGNITUDE));
        let mut quants = [zero; N];
        for (quant, &x) in quants.iter_mut().zip(x) {
            let q = s.add_i(s.nearest_within(s.mul(inverse, x), -levels, levels - 1), bias);
            *quant = s.select_i(is_zero, zero, q);
        }
        quants
    }
}
