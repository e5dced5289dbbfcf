//! What the searches of the IQ2 and IQ3 formats are given of a super-block: magnitudes, signs, weights and their roots.

use crate::simd::{Shared, Simd};

/// The number of values in a super-block.
const LEN: usize = 256;

/// How values are weighted.
#[derive(Debug, Clone, Copy)]
pub(in crate::codec) struct Weighting {
    /// The factor of the mean square in weights with importance.
    pub(in crate::codec) spread: f32,
    /// The factor of the mean square, which is added to the value's square in weights without importance.
    pub(in crate::codec) alone: f32,
}

/// A super-block's values, prepared for the search.
pub(in crate::codec) struct Prepared {
    /// Not negative, except for one of eight values if its sign was changed.
    pub(in crate::codec) magnitudes: [f32; LEN],
    pub(in crate::codec) weights: [f32; LEN],
    /// The square roots of the weights, which are used to choose among neighbours.
    pub(super) roots: [f32; LEN],
    /// One bit for each value. 1 is minus.
    pub(in crate::codec) signs: [u8; LEN / 8],
}

/// Returns the weight of each value of a super-block.
#[inline(always)]
pub(in crate::codec) fn weights<S: Simd>(
    s: S,
    x: &[f32; LEN],
    importance: Option<&[f32; LEN]>,
    weighting: Weighting,
) -> [f32; LEN] {
    s.shared(Weigh { x, importance, weighting })
}

struct Weigh<'a> {
    x: &'a [f32; LEN],
    importance: Option<&'a [f32; LEN]>,
    weighting: Weighting,
}

impl<S: Simd> Shared<S> for Weigh<'_> {
    type Output = [f32; LEN];

    #[inline(always)]
    fn run(self, s: S) -> [f32; LEN] {
        let Weigh { x, importance, weighting } = self;
        let sum = x.iter().fold(0.0, |sum, x| sum + x * x);
        let mean_square = weighting.spread * sum / LEN as f32;
        // A factor of 0 must give 0, even if the squares overflow.
        let alone = if weighting.alone == 0.0 { 0.0 } else { weighting.alone * mean_square };
        let mut weights = [0.0; LEN];
        for at in (0..LEN).step_by(S::LANES) {
            let x = s.load(&x[at..]);
            let square = s.mul(x, x);
            let weight = match importance {
                Some(importance) => {
                    s.mul(s.load(&importance[at..]), s.sqrt(s.add(s.splat(mean_square), square)))
                }
                None => s.add(s.splat(alone), square),
            };
            s.store(weight, &mut weights[at..]);
        }
        weights
    }
}

/// Computes the weights and signs of a super-block. With `even`, if the number of minus signs among eight values is
/// odd, the sign of the value with the least weighted square is flipped.
#[inline(always)]
pub(in crate::codec) fn prepare<S: Simd>(
    s: S,
    x: &[f32; LEN],
    importance: Option<&[f32; LEN]>,
    weighting: Weighting,
    even: bool,
) -> Prepared {
    s.shared(Prepare { x, weights: &weights(s, x, importance, weighting), even })
}

struct Prepare<'a> {
    x: &'a [f32; LEN],
    weights: &'a [f32; LEN],
    even: bool,
}

impl<S: Simd> Shared<S> for Prepare<'_> {
    type Output = Prepared;

    #[inline(always)]
    fn run(self, s: S) -> Prepared {
        let Prepare { x, weights, even } = self;
        let mut p =
            Prepared { magnitudes: [0.0; LEN], weights: *weights, roots: [0.0; LEN], signs: [0; LEN / 8] };
        for at in (0..LEN).step_by(S::LANES) {
            s.store(s.abs(s.load(&x[at..])), &mut p.magnitudes[at..]);
            s.store(s.sqrt(s.load(&weights[at..])), &mut p.roots[at..]);
        }
        let groups = x.as_chunks::<8>().0.iter().zip(p.magnitudes.as_chunks_mut::<8>().0);
        for (at, (x, magnitudes)) in groups.enumerate() {
            let mut signs = (0..8).fold(0, |signs, i| signs | u8::from(x[i] < 0.0) << i);
            if even && signs.count_ones() % 2 == 1 {
                let weights = &p.weights[8 * at..];
                let (mut least, mut place) = (weights[0] * x[0] * x[0], 0);
                for i in 1..8 {
                    let counts = weights[i] * x[i] * x[i];
                    if counts < least {
                        (least, place) = (counts, i);
                    }
                }
                magnitudes[place] = -magnitudes[place];
                signs ^= 1 << place;
            }
            p.signs[at] = signs;
        }
        p
    }
}
