//! The search for a scale only, by coordinate descent: single quants are changed as long as that helps.
//!
//! In pseudo-code, with w = x²:
//!
//! ```text
//! q ← min(nearest(x · −levels / the value of greatest magnitude), levels − 1)
//! up to five times, until nothing changes:
//!     for each value in order:
//!         xq, qq ← Σ w·x·q and Σ w·q·q over the other values
//!         new ← clamp(nearest(x · qq / xq), −levels, levels − 1)
//!         if xq > 0 and new makes (Σ w·x·q)² / Σ w·q·q greater: q ← new
//! scale ← Σ w·x·q / Σ w·q·q
//! ```

use super::{LEAST_MAGNITUDE, MOST, extreme};
use crate::simd::{Shared, Simd};

/// Finds a scale with a small squared error for quants in `-levels..levels`, each value weighted with its square. Starts
/// with the scale that maps the value of greatest magnitude to `-levels`, and improves single quants in up to five rounds.
/// (ggml: `make_q3_quants`.)
///
/// `x ≈ scale * (q - levels)`, and the scale of a block of zeros is 0. `found` receives the quants, `0..2 * levels`. Those
/// of a block of zeros are 0 instead of `levels`, as in ggml.
#[inline(always)]
pub(in crate::codec) fn symmetric_in_rounds<S: Simd>(
    s: S,
    levels: i32,
    x: &[S::F],
    found: &mut [S::I],
) -> S::F {
    s.shared(InRounds::<S> { levels, x, found })
}

struct InRounds<'a, S: Simd> {
    levels: i32,
    x: &'a [S::F],
    found: &'a mut [S::I],
}

impl<S: Simd> Shared<S> for InRounds<'_, S> {
    type Output = S::F;

    #[inline(always)]
    fn run(self, s: S) -> S::F {
        in_rounds(s, self.levels, self.x, self.found)
    }
}

#[inline(always)]
fn in_rounds<S: Simd>(s: S, levels: i32, x: &[S::F], found: &mut [S::I]) -> S::F {
    let (zero, one) = (s.splat(0.0), s.splat(1.0));
    // Not in place: compilers would use a masked store, which is slow on some processors. The buffers are passed by
    // reference, since an array passed by value is copied.
    let count = x.len();
    let [first, second] = [&mut [zero; MOST], &mut [zero; MOST]];
    let (mut quants, mut next) = (&mut first[..count], &mut second[..count]);
    let Rounds { is_zero, mut sum_xq, mut sum_qq } = Rounds::begin(s, levels, x, quants);
    for _ in 0..5 {
        let mut changed = zero;
        for ((&x, &q), next) in x.iter().zip(quants.iter()).zip(next.iter_mut()) {
            let weight = s.mul(x, x);
            let weighted = s.mul(weight, x);
            let ([others_xq, others_qq], new, possible) = proposal(s, levels, [sum_xq, sum_qq], x, q);
            let new_xq = s.add(others_xq, s.mul(weighted, new));
            let new_qq = s.add(others_qq, s.mul(s.mul(weight, new), new));
            let better = s.lt(s.mul(s.mul(sum_xq, sum_xq), new_qq), s.mul(s.mul(new_xq, new_xq), sum_qq));
            let changes = s.both(possible, s.both(s.lt(zero, new_qq), better));
            sum_xq = s.select(changes, new_xq, sum_xq);
            sum_qq = s.select(changes, new_qq, sum_qq);
            *next = s.select(changes, new, q);
            changed = s.select(changes, one, changed);
        }
        core::mem::swap(&mut quants, &mut next);
        // A lane that did not change in a round does not change in later rounds either.
        if s.all(s.lt(changed, one)) {
            break;
        }
    }
    Rounds { is_zero, sum_xq, sum_qq }.end(s, levels, quants, found)
}

/// Returns the result of [`symmetric_in_rounds`] if its first round changes nothing, which is the case for four out
/// of five blocks of a model, and which lanes it may change: 1 for these, otherwise 0. Since no value depends on
/// those before it, this takes a fraction of the time.
#[inline(always)]
pub(in crate::codec) fn symmetric_before_rounds<S: Simd>(
    s: S,
    levels: i32,
    x: &[S::F],
    found: &mut [S::I],
) -> (S::F, S::F) {
    s.shared(BeforeRounds::<S> { levels, x, found })
}

struct BeforeRounds<'a, S: Simd> {
    levels: i32,
    x: &'a [S::F],
    found: &'a mut [S::I],
}

impl<S: Simd> Shared<S> for BeforeRounds<'_, S> {
    type Output = (S::F, S::F);

    #[inline(always)]
    fn run(self, s: S) -> (S::F, S::F) {
        let BeforeRounds { levels, x, found } = self;
        let mut quants = [s.splat(0.0); MOST];
        let quants = &mut quants[..x.len()];
        let state = Rounds::begin(s, levels, x, quants);
        let mut may_change = s.splat(0.0);
        for (&x, &q) in x.iter().zip(quants.iter()) {
            let (_, _, possible) = proposal(s, levels, [state.sum_xq, state.sum_qq], x, q);
            may_change = s.select(possible, s.splat(1.0), may_change);
        }
        (state.end(s, levels, quants, found), may_change)
    }
}

/// The state that rounds change.
struct Rounds<S: Simd> {
    is_zero: S::M,
    /// Σ w·x·q
    sum_xq: S::F,
    /// Σ w·q·q
    sum_qq: S::F,
}

impl<S: Simd> Rounds<S> {
    /// Computes the first quants, as floats, and their state.
    #[inline(always)]
    fn begin(s: S, levels: i32, x: &[S::F], quants: &mut [S::F]) -> Self {
        let (greatest, extreme) = extreme(s, x);
        let inverse = s.div(s.splat(-levels as f32), extreme);
        let highest = s.splat((levels - 1) as f32);
        let [mut sum_xq, mut sum_qq] = [s.splat(0.0); 2];
        for (quant, &x) in quants.iter_mut().zip(x) {
            // No value is mapped further from 0 than the levels, so floats can be clamped, from above, and rounded like integers.
            let q = s.round_even(s.min(s.mul(inverse, x), highest));
            let weight = s.mul(x, x);
            sum_xq = s.add(sum_xq, s.mul(s.mul(weight, x), q));
            sum_qq = s.add(sum_qq, s.mul(s.mul(weight, q), q));
            *quant = q;
        }
        Rounds { is_zero: s.lt(greatest, s.splat(LEAST_MAGNITUDE)), sum_xq, sum_qq }
    }

    #[inline(always)]
    fn end(&self, s: S, levels: i32, quants: &[S::F], found: &mut [S::I]) -> S::F {
        let zero = s.splat(0.0);
        for (found, &q) in found.iter_mut().zip(quants) {
            let q = s.add_i(s.trunc(q), s.splat_i(levels));
            *found = s.select_i(self.is_zero, s.splat_i(0), q);
        }
        let scale = s.select(s.lt(zero, self.sum_qq), s.div(self.sum_xq, self.sum_qq), zero);
        s.select(self.is_zero, zero, scale)
    }
}

/// For a value and its quant, returns the sums over the other values, the quant that fits these best, and whether it
/// differs and can be tried.
#[inline(always)]
fn proposal<S: Simd>(
    s: S,
    levels: i32,
    [sum_xq, sum_qq]: [S::F; 2],
    x: S::F,
    q: S::F,
) -> ([S::F; 2], S::F, S::M) {
    let weight = s.mul(x, x);
    let others_xq = s.sub(sum_xq, s.mul(s.mul(weight, x), q));
    let others_qq = s.sub(sum_qq, s.mul(s.mul(weight, q), q));
    let best = s.div(s.mul(x, others_qq), others_xq);
    let new = s.to_float(s.nearest_within(best, -levels, levels - 1));
    ([others_xq, others_qq], new, s.both(s.lt(s.splat(0.0), others_xq), s.ne(new, q)))
}
