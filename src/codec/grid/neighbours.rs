//! The best of the points near one that is not on the grid, a neighbour in each lane.

use crate::simd::Simd;

/// A group's values and how much they count, each repeated for all levels of its coordinate: four for each of eight
/// coordinates, or eight for each of four.
pub(super) struct Terms<const N: usize> {
    x: [f32; 32],
    weights: [f32; 32],
}

impl<const N: usize> Terms<N> {
    #[inline(always)]
    pub(super) fn new(x: &[f32; N], weights: &[f32; N]) -> Self {
        let levels = const { 32 / N };
        Terms {
            x: std::array::from_fn(|at| x[at / levels]),
            weights: std::array::from_fn(|at| weights[at / levels]),
        }
    }

    /// The neighbour with the least weighted squared error, the first one among equals. `levels` is what the levels of
    /// each coordinate stand for, before the scale. The nearest neighbour where no error is a number that can be
    /// compared, which ends ggml.
    #[inline(always)]
    pub(super) fn best<S: Simd>(&self, s: S, near: &[[u8; 2]], levels: &[f32; 32], scale: f32) -> u16 {
        // A coordinate adds one of as many terms as it has levels: each neighbour looks its own up.
        let mut terms = [0.0; 32];
        for at in (0..32).step_by(S::LANES) {
            let difference = s.sub(s.mul(s.splat(scale), s.load(&levels[at..])), s.load(&self.x[at..]));
            let term = s.mul(s.mul(s.load(&self.weights[at..]), difference), difference);
            s.store(term, &mut terms[at..]);
        }
        let mut least = s.splat(f32::MAX);
        let mut place = s.splat(0.0);
        let mut here = s.gather(|lane| lane as f32);
        for points in near.chunks_exact(S::LANES) {
            let mut points = s.load_u16(points);
            let mut error = Self::term(s, &terms, 0, points);
            for i in 1..N {
                points = if N == 8 { s.shr::<2>(points) } else { s.shr::<3>(points) };
                error = s.add(error, Self::term(s, &terms, i, points));
            }
            place = s.select(s.lt(error, least), here, place);
            least = s.min(error, least);
            here = s.add(here, s.splat(S::LANES as f32));
        }
        let least_of_all = s.splat(s.reduce_min(least));
        let places = s.select(s.lt(least_of_all, least), s.splat(f32::MAX), place);
        u16::from_le_bytes(near[s.reduce_min(places) as usize])
    }

    /// Coordinate `i`'s term, for the level in a packed point's lowest bits.
    #[inline(always)]
    fn term<S: Simd>(s: S, terms: &[f32; 32], i: usize, points: S::I) -> S::F {
        if N == 8 {
            s.lookup4(&terms.as_chunks().0[i], points)
        } else {
            s.lookup8(&terms.as_chunks().0[i], points)
        }
    }
}
