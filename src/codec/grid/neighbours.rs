//! Selects the best grid point near one that is off the grid: for one scale, with a neighbour in each lane ([`Terms`]), or
//! for many scales, with a scale in each lane ([`Table`]).

use super::map::Near;
use crate::simd::{MAX_LANES, Shared, Simd};

/// The number of scales in a [`Table`].
pub(super) const SCALES: usize = 32;

/// The term that each level of each coordinate of a group adds to the error under each scale.
pub(super) struct Table<const N: usize> {
    /// Padded at the end, so that a vector that begins at any term stays in bounds.
    terms: [f32; (32 + 1) * SCALES],
}

impl<const N: usize> Table<N> {
    /// An empty table.
    pub(super) const EMPTY: Self = Table { terms: [0.0; (32 + 1) * SCALES] };

    /// Fills the table for a group and the first `count` scales. `levels` are the unscaled values of a coordinate's levels.
    #[inline(always)]
    pub(super) fn fill<S: Simd>(
        &mut self,
        s: S,
        x: &[f32; N],
        weights: &[f32; N],
        levels: &[f32],
        (scales, count): (&[f32; SCALES], usize),
    ) {
        let rows = self.terms.as_chunks_mut::<SCALES>().0;
        for (i, rows) in rows.chunks_exact_mut(32 / N).take(N).enumerate() {
            let (x, weight) = (s.splat(x[i]), s.splat(weights[i]));
            for (row, &level) in rows.iter_mut().zip(levels) {
                let level = s.splat(level);
                for at in (0..count.min(SCALES)).step_by(S::LANES) {
                    let difference = s.sub(s.mul(s.load(&scales[at..]), level), x);
                    s.store(s.mul(s.mul(weight, difference), difference), &mut row[at..]);
                }
            }
        }
    }

    /// For each of the scales from `first` on, returns the neighbour with the least weighted squared error, the first
    /// one among equals. If no error is comparable, which makes ggml abort, returns the nearest neighbour.
    #[inline(always)]
    pub(super) fn best<S: Simd>(&self, s: S, near: &[[u8; 2]], first: usize) -> S::I {
        let mut least = s.splat(f32::MAX);
        let mut best = s.splat_i(near.first().map_or(0, |&point| i32::from(u16::from_le_bytes(point))));
        for &point in near {
            let point = usize::from(u16::from_le_bytes(point));
            let mut error = s.load(self.term(point, 0, first));
            for i in 1..N {
                error = s.add(error, s.load(self.term(point, i, first)));
            }
            best = s.select_i(s.lt(error, least), s.splat_i(point as i32), best);
            least = s.min(error, least);
        }
        best
    }

    /// Returns the terms of coordinate `i` under the scales from `first` on, for its level in a packed point.
    #[inline(always)]
    fn term(&self, point: usize, i: usize, first: usize) -> &[f32] {
        let (bits, levels) = const { (super::bits::<N>(), 32 / N) };
        let level = point >> (bits * i) & (levels - 1);
        &self.terms[(i * levels + level) * SCALES + first % SCALES..][..SCALES]
    }
}

/// A group's values and weights, each repeated for all levels of its coordinate: four for each of eight coordinates,
/// or eight for each of four.
pub(super) struct Terms<const N: usize> {
    x: [f32; 32],
    weights: [f32; 32],
}

impl<const N: usize> Terms<N> {
    #[inline(always)]
    pub(super) fn new(x: &[f32; N], weights: &[f32; N]) -> Self {
        let mut terms = Terms { x: [0.0; 32], weights: [0.0; 32] };
        let levels = const { 32 / N };
        for i in 0..N {
            terms.x[levels * i..][..levels].fill(x[i]);
            terms.weights[levels * i..][..levels].fill(weights[i]);
        }
        terms
    }

    /// Returns the neighbour with the least weighted squared error, the first one among equals. `levels` are the unscaled values
    /// of each coordinate's levels. If no error is comparable, which makes ggml abort, returns the nearest neighbour.
    #[inline(always)]
    pub(super) fn best<S: Simd>(&self, s: S, near: Near<'_>, levels: &[f32; 32], scale: f32) -> u16 {
        s.shared(Nearest { terms: self, near, levels, scale })
    }

    #[inline(always)]
    fn nearest<S: Simd>(&self, s: S, near: Near<'_>, levels: &[f32; 32], scale: f32) -> u16 {
        // Each coordinate adds one of as many terms as it has levels. Each neighbour looks up its own.
        let mut terms = [0.0; 32];
        for at in (0..32).step_by(S::LANES) {
            let difference = s.sub(s.mul(s.splat(scale), s.load(&levels[at..])), s.load(&self.x[at..]));
            let term = s.mul(s.mul(s.load(&self.weights[at..]), difference), difference);
            s.store(term, &mut terms[at..]);
        }
        let near = near.vectors(S::LANES);
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
        // Lanes whose result is not as good.
        let worse = s.mask_bits(s.lt(least_of_all, least));
        let mut places = [0.0; MAX_LANES];
        s.store(place, &mut places);
        let mut first = f32::MAX;
        let mut equal = !worse & (u32::MAX >> (32 - S::LANES));
        while equal != 0 {
            first = first.min(places[equal.trailing_zeros() as usize]);
            equal &= equal - 1;
        }
        u16::from_le_bytes(near[first as usize])
    }

    /// Returns coordinate `i`'s term, for the level in a packed point's lowest bits.
    #[inline(always)]
    fn term<S: Simd>(s: S, terms: &[f32; 32], i: usize, points: S::I) -> S::F {
        if N == 8 {
            s.lookup4(&terms.as_chunks().0[i], points)
        } else {
            s.lookup8(&terms.as_chunks().0[i], points)
        }
    }
}

struct Nearest<'a, const N: usize> {
    terms: &'a Terms<N>,
    near: Near<'a>,
    levels: &'a [f32; 32],
    scale: f32,
}

impl<S: Simd, const N: usize> Shared<S> for Nearest<'_, N> {
    type Output = u16;

    #[inline(always)]
    fn run(self, s: S) -> u16 {
        self.terms.nearest(s, self.near, self.levels, self.scale)
    }
}
