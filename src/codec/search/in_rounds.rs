//! A scale only, by changing single quants.

use super::{LEAST_MAGNITUDE, extreme};
use crate::simd::Simd;

/// What [`symmetric_in_rounds`] finds, for each lane.
pub(in crate::codec) struct InRounds<S: Simd, const N: usize> {
    /// `x ≈ scale * (q - levels)`; 0 for a block of zeros.
    pub(in crate::codec) scale: S::F,
    /// `0..2 * levels`; those of a block of zeros are 0 and not `levels`, as ggml leaves them.
    pub(in crate::codec) quants: [S::I; N],
}

/// Finds a scale for quants in `-levels..levels` that has little squared error, each value weighed with its square:
/// begins with the scale that maps the value of greatest magnitude to `-levels`, and changes single quants for the
/// better in up to five rounds. (ggml: `make_q3_quants`.)
#[inline(always)]
pub(in crate::codec) fn symmetric_in_rounds<S: Simd, const N: usize>(
    s: S,
    levels: i32,
    x: &[S::F; N],
) -> InRounds<S, N> {
    let (zero, one) = (s.splat(0.0), s.splat(1.0));
    // Not in place: compilers make a masked store of it, which some processors take long for. Places by reference, since
    // an array passed by value is copied.
    let [mut quants, mut next] = [&mut [zero; N], &mut [zero; N]];
    let Rounds { is_zero, mut sum_xq, mut sum_qq } = Rounds::begin(s, levels, x, quants);
    for _ in 0..5 {
        let mut changed = zero;
        for i in 0..N {
            let (x, q) = (x[i], quants[i]);
            let weight = s.mul(x, x);
            let weighted = s.mul(weight, x);
            let ([others_xq, others_qq], new, possible) = proposal(s, levels, [sum_xq, sum_qq], x, q);
            let new_xq = s.add(others_xq, s.mul(weighted, new));
            let new_qq = s.add(others_qq, s.mul(s.mul(weight, new), new));
            let better = s.lt(s.mul(s.mul(sum_xq, sum_xq), new_qq), s.mul(s.mul(new_xq, new_xq), sum_qq));
            let changes = s.both(possible, s.both(s.lt(zero, new_qq), better));
            sum_xq = s.select(changes, new_xq, sum_xq);
            sum_qq = s.select(changes, new_qq, sum_qq);
            next[i] = s.select(changes, new, q);
            changed = s.select(changes, one, changed);
        }
        core::mem::swap(&mut quants, &mut next);
        // A lane in which a round changes nothing finds nothing to change in the rounds after it either.
        if s.all(s.lt(changed, one)) {
            break;
        }
    }
    Rounds { is_zero, sum_xq, sum_qq }.end(s, levels, quants)
}

/// What [`symmetric_in_rounds`] finds where its first round changes nothing, as with four of five blocks of a model,
/// and in which lanes it may change something: 1 there, else 0. As no value waits for those before it, this takes a
/// fraction of the time.
#[inline(always)]
pub(in crate::codec) fn symmetric_before_rounds<S: Simd, const N: usize>(
    s: S,
    levels: i32,
    x: &[S::F; N],
) -> (InRounds<S, N>, S::F) {
    let mut quants = [s.splat(0.0); N];
    let state = Rounds::begin(s, levels, x, &mut quants);
    let mut may_change = s.splat(0.0);
    for (&x, &q) in x.iter().zip(&quants) {
        let (_, _, possible) = proposal(s, levels, [state.sum_xq, state.sum_qq], x, q);
        may_change = s.select(possible, s.splat(1.0), may_change);
    }
    (state.end(s, levels, &quants), may_change)
}

/// What the rounds change.
struct Rounds<S: Simd> {
    is_zero: S::M,
    /// Σ w·x·q
    sum_xq: S::F,
    /// Σ w·q·q
    sum_qq: S::F,
}

impl<S: Simd> Rounds<S> {
    /// The first quants, as floats, and what holds of them.
    #[inline(always)]
    fn begin<const N: usize>(s: S, levels: i32, x: &[S::F; N], quants: &mut [S::F; N]) -> Self {
        let (greatest, extreme) = extreme(s, x);
        let inverse = s.div(s.splat(-levels as f32), extreme);
        let highest = s.splat((levels - 1) as f32);
        let [mut sum_xq, mut sum_qq] = [s.splat(0.0); 2];
        for (quant, &x) in quants.iter_mut().zip(x) {
            // No value is mapped further from 0 than the levels: floats are clamped, from above, and rounded as integers
            // are.
            let q = s.round_even(s.min(s.mul(inverse, x), highest));
            let weight = s.mul(x, x);
            sum_xq = s.add(sum_xq, s.mul(s.mul(weight, x), q));
            sum_qq = s.add(sum_qq, s.mul(s.mul(weight, q), q));
            *quant = q;
        }
        Rounds { is_zero: s.lt(greatest, s.splat(LEAST_MAGNITUDE)), sum_xq, sum_qq }
    }

    #[inline(always)]
    fn end<const N: usize>(&self, s: S, levels: i32, found: &[S::F; N]) -> InRounds<S, N> {
        let zero = s.splat(0.0);
        let scale = s.select(s.lt(zero, self.sum_qq), s.div(self.sum_xq, self.sum_qq), zero);
        let mut quants = [s.splat_i(0); N];
        for (quant, q) in quants.iter_mut().zip(found) {
            let q = s.add_i(s.trunc(*q), s.splat_i(levels));
            *quant = s.select_i(self.is_zero, *quant, q);
        }
        InRounds { scale: s.select(self.is_zero, zero, scale), quants }
    }
}

/// For a value and its quant: the sums over the others, the quant that fits these best, and whether it is another
/// that can be tried.
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
