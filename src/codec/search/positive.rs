//! The search for a scale of scales or mins.
//!
//! In pseudo-code:
//!
//! ```text
//! for inverse in levels / max, then (levels + 0.1 · step) / max for steps from −4 to 4:
//!     q ← min(nearest(inverse · x), levels)
//!     keep the inverse with the least Σ w·(x − q / inverse)²
//! five times:
//!     for each value in order:
//!         xq, qq ← Σ w·x·q and Σ w·q·q over the other values
//!         new ← min(nearest(x · qq / xq), levels)
//!         if xq > 0, qq > 0 and new makes (Σ w·x·q)² / Σ w·q·q greater: q ← new
//! scale ← Σ w·x·q / Σ w·q·q
//! ```

use super::LEAST_MAGNITUDE;
use crate::simd::{Shared, Simd};

/// Finds the scale for a small number of values that are themselves scales or mins (not negative), with quants in
/// `0..=levels`. Tries nine inverse scales, then improves single quants in up to five rounds. `x ≈ scale * q`.
/// `quants` are truncated to their low bytes as in ggml. (ggml: `make_qp_quants`.)
#[inline(always)]
pub(in crate::codec) fn positive<S: Simd>(
    s: S,
    levels: i32,
    x: &[S::F],
    weights: &[S::F],
    quants: &mut [S::I],
) -> S::F {
    s.shared(Search::<S> { levels, x, weights, quants })
}

struct Search<'a, S: Simd> {
    levels: i32,
    x: &'a [S::F],
    weights: &'a [S::F],
    quants: &'a mut [S::I],
}

impl<S: Simd> Shared<S> for Search<'_, S> {
    type Output = S::F;

    #[inline(always)]
    fn run(self, s: S) -> S::F {
        search(s, self.levels, self.x, self.weights, self.quants)
    }
}

#[inline(always)]
fn search<S: Simd>(s: S, levels: i32, x: &[S::F], weights: &[S::F], quants: &mut [S::I]) -> S::F {
    let count = x.len();
    let (weights, quants) = (&weights[..count], &mut quants[..count]);
    let (zero, most, byte) = (s.splat(0.0), s.splat_i(levels), s.splat_i(255));
    let mut max = zero;
    for &x in x {
        max = s.max(max, x);
    }
    let is_zero = s.lt(max, s.splat(LEAST_MAGNITUDE));

    let mut inverse = s.div(s.splat(levels as f32), max);
    for i in 0..count {
        // The first error is computed with quants truncated to a byte instead of clamped.
        quants[i] = s.and(s.nearest(s.mul(inverse, x[i])), byte);
    }
    let mut least_error = positive_error(s, x, weights, quants, s.div(s.splat(1.0), inverse));
    for step in (-4..=4).filter(|&step| step != 0) {
        let candidate = s.div(s.splat(0.1 * step as f32 + levels as f32), max);
        for i in 0..count {
            quants[i] = s.min_i(s.nearest(s.mul(candidate, x[i])), most);
        }
        let error = positive_error(s, x, weights, quants, s.div(s.splat(1.0), candidate));
        let wins = s.lt(error, least_error);
        least_error = s.select(wins, error, least_error);
        inverse = s.select(wins, candidate, inverse);
    }

    let (mut sum_xq, mut sum_qq) = (zero, zero);
    for i in 0..count {
        let quant = s.min_i(s.nearest(s.mul(inverse, x[i])), most);
        let q = s.to_float(quant);
        sum_xq = s.add(sum_xq, s.mul(s.mul(weights[i], x[i]), q));
        sum_qq = s.add(sum_qq, s.mul(s.mul(weights[i], q), q));
        quants[i] = s.and(quant, byte);
    }
    // A lane that did not change in a round does not change in later rounds either.
    for _ in 0..5 {
        for i in 0..count {
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
    for quant in quants {
        *quant = s.select_i(is_zero, s.splat_i(0), *quant);
    }
    s.select(is_zero, zero, scale)
}

/// Σ w·(x - scale·q)²
#[inline(always)]
fn positive_error<S: Simd>(s: S, x: &[S::F], weights: &[S::F], quants: &[S::I], scale: S::F) -> S::F {
    let mut error = s.splat(0.0);
    for (&quant, (&x, &weight)) in quants.iter().zip(x.iter().zip(weights)) {
        let difference = s.sub(x, s.mul(scale, s.to_float(quant)));
        error = s.add(error, s.mul(s.mul(weight, difference), difference));
    }
    error
}
