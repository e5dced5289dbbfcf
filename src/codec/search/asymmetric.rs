//! The search for a scale and a min.
//!
//! In pseudo-code:
//!
//! ```text
//! base ← min ← the lesser of the least value and 0
//! inverse ← levels / (greatest value − min);  scale ← 1 / inverse
//! for each step:
//!     candidate ← (from + by · step + levels) / (greatest value − min)
//!     q ← clamp(nearest(candidate · (x − min)), 0, levels)
//!     s, m ← least squares of x ≈ s · q + m;  if m > 0, then m ← 0 and s is fitted alone
//!     if s, m have the least weighted error so far:
//!         base ← min;  inverse, scale, min ← candidate, s, m
//! ```

use super::MOST;
use crate::simd::{NEAREST_LIMIT, Shared, Simd};

/// The inverse scales that [`asymmetric`] tries, `(from + by * step + levels) / (max - min)` for each step, and how
/// it compares the results.
#[derive(Clone, Copy)]
pub(in crate::codec) struct Steps {
    pub(in crate::codec) from: f32,
    pub(in crate::codec) by: f32,
    pub(in crate::codec) last: i32,
    pub(in crate::codec) deviation: Deviation,
}

/// How a value's deviation counts before it is weighted and summed.
#[derive(Clone, Copy)]
pub(in crate::codec) enum Deviation {
    Squared,
    Magnitude,
}

impl Steps {
    /// The steps with importance.
    pub(in crate::codec) const WITH_IMPORTANCE: Steps =
        Steps { from: -0.9, by: 0.05, last: 36, deviation: Deviation::Squared };
}

/// The result of [`asymmetric`], for each lane.
pub(in crate::codec) struct Asymmetric<S: Simd> {
    /// `x ≈ scale * q + min`. 0 for a block of equal values.
    pub(in crate::codec) scale: S::F,
    /// At most 0.
    pub(in crate::codec) min: S::F,
    /// `q = nearest(inverse * (x - base))`, clamped to `0..=levels`.
    pub(in crate::codec) inverse: S::F,
    /// The min that was current when the winning quants were made. `min` then replaced it.
    pub(in crate::codec) base: S::F,
}

/// Finds the scale and min with the least weighted error for quants in `0..=levels`. For each step it makes quants,
/// fits scale and min to them by least squares, and keeps the best fit. (ggml: `make_qkx2_quants` and
/// `make_qkx3_quants`, which differ only in their callers' weights and steps.)
#[inline(always)]
pub(in crate::codec) fn asymmetric<S: Simd>(
    s: S,
    levels: i32,
    steps: Steps,
    x: &[S::F],
    weights: &[S::F],
) -> Asymmetric<S> {
    s.shared(Search::<S> { levels, steps, x, weights })
}

struct Search<'a, S: Simd> {
    levels: i32,
    steps: Steps,
    x: &'a [S::F],
    weights: &'a [S::F],
}

impl<S: Simd> Shared<S> for Search<'_, S> {
    type Output = Asymmetric<S>;

    #[inline(always)]
    fn run(self, s: S) -> Asymmetric<S> {
        search(s, self.levels, self.steps, self.x, self.weights)
    }
}

#[inline(always)]
fn search<S: Simd>(s: S, levels: i32, steps: Steps, x: &[S::F], weights: &[S::F]) -> Asymmetric<S> {
    let zero = s.splat(0.0);
    let (mut min, mut max) = (x[0], x[0]);
    let mut sum_w = weights[0];
    let mut sum_x = s.mul(weights[0], x[0]);
    for (&x, &weight) in x.iter().zip(weights).skip(1) {
        min = s.min(x, min);
        max = s.max(x, max);
        sum_w = s.add(sum_w, weight);
        sum_x = s.add(sum_x, s.mul(weight, x));
    }
    let lowest = min;
    min = s.select(s.lt(zero, min), zero, min);
    let least = min;
    let varies = s.lt(min, max);

    let mut inverse = s.div(s.splat(levels as f32), s.sub(max, min));
    let mut base = min;
    let mut scale = s.div(s.splat(1.0), inverse);
    // One array for all candidates' quants: an array passed by value is copied, which costs as much as a pass over it.
    let mut q = [zero; MOST];
    let q = &mut q[..x.len()];
    let values = Values { x, weights, least: lowest, greatest: max };
    values.quants(s, levels, s.select(varies, inverse, zero), base, q);
    let mut least_error = asymmetric_error(s, steps.deviation, x, weights, q, [scale, min]);
    for step in 0..=steps.last {
        // `min` is that of the best candidate so far, not the block's least value.
        let candidate = s.div(s.splat(steps.from + steps.by * step as f32 + levels as f32), s.sub(max, min));
        let candidate = s.select(varies, candidate, zero);
        let Sums { q: sum_q, qq: sum_qq, xq: sum_xq } = values.quants(s, levels, candidate, min, q);
        let determinant = s.sub(s.mul(sum_w, sum_qq), s.mul(sum_q, sum_q));
        let mut fit_scale = s.div(s.sub(s.mul(sum_w, sum_xq), s.mul(sum_x, sum_q)), determinant);
        let mut fit_min = s.div(s.sub(s.mul(sum_qq, sum_x), s.mul(sum_q, sum_xq)), determinant);
        let too_high = s.lt(zero, fit_min);
        // Rare, and takes a division.
        if s.mask_bits(too_high) != 0 {
            fit_scale = s.select(too_high, s.div(sum_xq, sum_qq), fit_scale);
            fit_min = s.select(too_high, zero, fit_min);
        }
        let error = asymmetric_error(s, steps.deviation, x, weights, q, [fit_scale, fit_min]);
        let wins = s.both(s.lt(zero, determinant), s.lt(error, least_error));
        inverse = s.select(wins, candidate, inverse);
        base = s.select(wins, min, base);
        least_error = s.select(wins, error, least_error);
        scale = s.select(wins, fit_scale, scale);
        min = s.select(wins, fit_min, min);
    }
    // Blocks of equal values are not searched: all quants are 0, and so is the scale.
    Asymmetric {
        scale: s.select(varies, scale, zero),
        min: s.select(varies, min, least),
        inverse: s.select(varies, inverse, zero),
        base: s.select(varies, base, least),
    }
}

/// The input of the quants.
struct Values<'a, S: Simd> {
    x: &'a [S::F],
    weights: &'a [S::F],
    least: S::F,
    greatest: S::F,
}

/// Weighted sums over quants.
struct Sums<S: Simd> {
    q: S::F,
    qq: S::F,
    xq: S::F,
}

/// How quants are made equal to ggml's, which rounds to integers and then clamps.
#[derive(Clone, Copy)]
enum Rounding {
    /// No quant needs clamping.
    InRange,
    /// Clamped as floats, then rounded.
    Clamped,
    /// Like ggml, whose rounding wraps. This is needed because a fit can leave hardly any distance between `base` and
    /// the greatest value.
    Wrapping,
}

impl<S: Simd> Values<'_, S> {
    /// Computes the quants, as floats, for an inverse scale and a min.
    #[inline(always)]
    fn quants(&self, s: S, levels: i32, inverse: S::F, base: S::F, quants: &mut [S::F]) -> Sums<S> {
        // Subtraction and multiplication round monotonically, so if the least and the greatest value are in range,
        // all others are too.
        let first = s.mul(inverse, s.sub(self.least, base));
        let last = s.mul(inverse, s.sub(self.greatest, base));
        let (low, high) = (s.splat(-0.5), s.splat(levels as f32 + 0.5));
        let above = s.both(s.lt(low, first), s.lt(low, last));
        let below = s.both(s.lt(first, high), s.lt(last, high));
        let limit = s.splat(NEAREST_LIMIT);
        // There is a loop for each.
        if s.all(s.both(above, below)) {
            self.rounded(s, levels, inverse, base, quants, Rounding::InRange)
        } else if s.all(s.both(s.lt(s.abs(first), limit), s.lt(s.abs(last), limit))) {
            self.rounded(s, levels, inverse, base, quants, Rounding::Clamped)
        } else {
            self.rounded(s, levels, inverse, base, quants, Rounding::Wrapping)
        }
    }

    #[inline(always)]
    fn rounded(
        &self,
        s: S,
        levels: i32,
        inverse: S::F,
        base: S::F,
        quants: &mut [S::F],
        rounding: Rounding,
    ) -> Sums<S> {
        let (lowest, highest) = (s.splat(0.0), s.splat(levels as f32));
        let mut sums = Sums { q: s.splat(0.0), qq: s.splat(0.0), xq: s.splat(0.0) };
        for (quant, (&x, &weight)) in quants.iter_mut().zip(self.x.iter().zip(self.weights)) {
            let scaled = s.mul(inverse, s.sub(x, base));
            let q = match rounding {
                Rounding::InRange => s.round_even(scaled),
                Rounding::Clamped => s.round_even(s.max(s.min(scaled, highest), lowest)),
                Rounding::Wrapping => s.to_float(s.nearest_within(scaled, 0, levels)),
            };
            *quant = q;
            let weighted = s.mul(weight, q);
            sums.q = s.add(sums.q, weighted);
            sums.qq = s.add(sums.qq, s.mul(weighted, q));
            sums.xq = s.add(sums.xq, s.mul(weighted, x));
        }
        sums
    }
}

/// Returns Σ w·(scale·q + min - x)², or the same sum with magnitudes instead of squares.
#[inline(always)]
fn asymmetric_error<S: Simd>(
    s: S,
    deviation: Deviation,
    x: &[S::F],
    weights: &[S::F],
    q: &[S::F],
    [scale, min]: [S::F; 2],
) -> S::F {
    let mut error = s.splat(0.0);
    for (&q, (&x, &weight)) in q.iter().zip(x.iter().zip(weights)) {
        let difference = s.sub(s.add(s.mul(scale, q), min), x);
        let counts = match deviation {
            Deviation::Squared => s.mul(difference, difference),
            Deviation::Magnitude => s.abs(difference),
        };
        error = s.add(error, s.mul(weight, counts));
    }
    error
}
