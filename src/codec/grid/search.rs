//! The search that the IQ2 and IQ3 quantizers share: a scale for a sub-block, and a grid point for each group of 8 or 4
//! of its values.
//!
//! In pseudo-code:
//!
//! ```text
//! for each trial t from −last to last:
//!     inverse ← (levels + by · t) / the greatest magnitude
//!     for each group:
//!         point ← clamp(nearest((inverse · x − 1) / 2), 0, most)
//!         if the point is off the grid:
//!             point ← its neighbour with the least Σ √w·((2 · point + 1) / inverse − x)²
//!     q ← 2 · point + 1
//!     keep the trial with the greatest (Σ w·x·q)² / Σ w·q·q, and scale ← Σ w·x·q / Σ w·q·q
//! place the groups that `Refit` selects again, with this scale
//! scale ← Σ w·x·q / Σ w·q·q
//! ```
//!
//! ggml runs the trials one after the other. Here each trial has a lane, which executes ggml's operations in ggml's
//! order. In the refit, each neighbour of a point off the grid has a lane.

use super::map::{Map, Place};
use super::neighbours::{SCALES, Table, Terms};
use super::prepared::Prepared;
use crate::simd::{MAX_LANES, Shared, Simd, nearest};

/// At least the number of trials in any format, and a whole number of vectors.
const TRIALS: usize = SCALES;
/// The highest level that a fitted scale reaches, in IQ2_XXS.
const FITTED_LEVELS: f32 = 3.0;
/// The maximum number of groups in a sub-block.
const GROUPS: usize = 8;

/// The inverse scales to try: `(levels + by * step) / greatest` for the steps from `-last` to `last`.
#[derive(Debug, Clone, Copy)]
pub(in crate::codec) struct Trials {
    /// The value of a grid's greatest coordinate: 5 or 15.
    pub(in crate::codec) levels: f32,
    pub(in crate::codec) by: f32,
    pub(in crate::codec) last: i32,
}

/// Which groups are placed on the grid again, with the scale that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::codec) enum Refit {
    /// All of them.
    All,
    /// Those that were off the grid in the best trial.
    OffGrid,
    /// All if any was off the grid in the best trial, or if no trial won.
    AllIfAnyOffGrid,
}

/// A format's search.
#[derive(Clone, Copy)]
pub(in crate::codec) struct Search<const N: usize> {
    pub(in crate::codec) map: &'static Map<N>,
    /// Sub-blocks whose greatest magnitude is below this count as zero.
    pub(in crate::codec) least: f32,
    pub(in crate::codec) trials: Trials,
    pub(in crate::codec) refit: Refit,
}

/// The result of [`Search::run`] for a super-block.
pub(in crate::codec) struct Found {
    /// A scale for each sub-block, 0 for a sub-block of zeros.
    pub(in crate::codec) scales: [f32; 16],
    /// The indices of the groups' points. 0 in sub-blocks of zeros.
    pub(in crate::codec) indices: [u16; 64],
    /// One bit for each value, 1 is minus. 0 in sub-blocks of zeros.
    pub(in crate::codec) signs: [u8; 32],
}

/// A sub-block of `SUB` values.
struct Sub<'a, const SUB: usize> {
    x: &'a [f32; SUB],
    weights: &'a [f32; SUB],
    roots: &'a [f32; SUB],
}

struct Run<'a, const N: usize, const SUB: usize> {
    search: Search<N>,
    prepared: &'a Prepared,
    fitted: Option<&'a [f32; 8]>,
}

impl<S: Simd, const N: usize, const SUB: usize> Shared<S> for Run<'_, N, SUB> {
    type Output = Found;

    #[inline(always)]
    fn run(self, s: S) -> Found {
        let Run { search, prepared, fitted } = self;
        search.run_all::<S, SUB>(s, prepared, fitted)
    }
}

impl<const N: usize> Search<N> {
    /// The number of bits of a coordinate in a packed point.
    const BITS: usize = super::bits::<N>();
    const ODD_LEVELS: [f32; 32] = odd_levels::<N>();
    /// The greatest level.
    const MOST: i32 = if N == 8 { 2 } else { 7 };

    /// Searches all sub-blocks of `SUB` values, starting from `fitted` scales if a format has them.
    #[inline(always)]
    pub(in crate::codec) fn run<S: Simd, const SUB: usize>(
        self,
        s: S,
        prepared: &Prepared,
        fitted: Option<&[f32; 8]>,
    ) -> Found {
        s.shared(Run::<N, SUB> { search: self, prepared, fitted })
    }

    #[inline(always)]
    fn run_all<S: Simd, const SUB: usize>(
        self,
        s: S,
        prepared: &Prepared,
        fitted: Option<&[f32; 8]>,
    ) -> Found {
        let mut table = Table::EMPTY;
        let mut found = Found { scales: [0.0; 16], indices: [0; 64], signs: [0; 32] };
        let subs = prepared.magnitudes.as_chunks::<SUB>().0.iter().zip(prepared.weights.as_chunks::<SUB>().0);
        for (at, ((x, weights), roots)) in subs.zip(prepared.roots.as_chunks::<SUB>().0).enumerate() {
            let sub = Sub { x, weights, roots };
            let greatest = greatest(sub.x);
            if greatest < self.least {
                continue;
            }
            let (greatest, scale) = match fitted {
                Some(fitted) => (fitted[at] * FITTED_LEVELS, fitted[at]),
                None => (greatest, greatest / self.trials.levels),
            };
            if greatest <= 0.0 {
                continue;
            }
            let indices = &mut found.indices[SUB / N * at..][..SUB / N];
            let scale = self.sub_block(s, &sub, (greatest, scale), &mut table, indices);
            // A fit can negate a sub-block if signs were changed to make their number even.
            let turn = if scale < 0.0 { u8::MAX } else { 0 };
            found.scales[at] = scale.abs();
            for group in SUB / 8 * at..SUB / 8 * (at + 1) {
                found.signs[group] = prepared.signs[group] ^ turn;
            }
        }
        found
    }

    /// Searches one sub-block, whose greatest magnitude is `greatest`. `scale` is the result if no trial wins. A
    /// negative result means that all signs are to be flipped.
    #[inline(always)]
    fn sub_block<S: Simd, const SUB: usize>(
        self,
        s: S,
        sub: &Sub<'_, SUB>,
        (greatest, mut scale): (f32, f32),
        table: &mut Table<N>,
        indices: &mut [u16],
    ) -> f32 {
        let groups = SUB / N;
        let Trials { levels, by, last } = self.trials;
        let count = (2 * last + 1) as usize;
        let [mut inverses, mut scales] = [[0.0; TRIALS]; 2];
        for (t, inverse) in inverses[..count].iter_mut().enumerate() {
            *inverse = (levels + (t as i32 - last) as f32 * by) / greatest;
        }
        for at in (0..TRIALS).step_by(S::LANES) {
            s.store(s.div(s.splat(1.0), s.load(&inverses[at..])), &mut scales[at..]);
        }

        // One bit for each group that is off the grid.
        let mut off = [0u8; TRIALS];
        let mut points = [[0.0; TRIALS]; GROUPS];
        for (group, points) in points[..groups].iter_mut().enumerate() {
            let x = &sub.x.as_chunks::<N>().0[group];
            for first in (0..count).step_by(S::LANES) {
                // Small integers, stored as the bits of floats.
                s.store(s.as_floats(self.round(s, x, s.load(&inverses[first..]))), &mut points[first..]);
            }
            let roots = &sub.roots.as_chunks().0[group];
            let is_off = self.place(s, x, roots, (&scales, count), table, points);
            for (t, off) in off.iter_mut().enumerate() {
                *off |= ((is_off >> t & 1) as u8) << group;
            }
        }

        let [mut sums_xq, mut sums_qq] = [[0.0; TRIALS]; 2];
        for first in (0..count).step_by(S::LANES) {
            let (xq, qq) = self.sums(s, sub, &points, first);
            s.store(xq, &mut sums_xq[first..]);
            s.store(qq, &mut sums_qq[first..]);
        }
        let (mut best, mut winner) = (0.0, None);
        for t in 0..count {
            let (xq, qq) = (sums_xq[t], sums_qq[t]);
            if qq > 0.0 && xq * xq > best * qq {
                scale = xq / qq;
                best = scale * xq;
                winner = Some(t);
            }
        }
        // Without a winner every group is at the origin, which is on all grids.
        let mut chosen = [0u16; GROUPS];
        for (chosen, points) in chosen.iter_mut().zip(&points) {
            *chosen = winner.map_or(0, |t| points[t].to_bits() as u16);
        }
        let off = match self.refit {
            Refit::All => u8::MAX,
            Refit::OffGrid => winner.map_or(0, |t| off[t]),
            Refit::AllIfAnyOffGrid if winner.is_none_or(|t| off[t] != 0) => u8::MAX,
            Refit::AllIfAnyOffGrid => 0,
        };
        if off != 0 && scale > 0.0 {
            scale = self.refit(s, sub, off, scale, &mut chosen);
        }
        for (index, &point) in indices.iter_mut().zip(&chosen) {
            if let Place::On(place) = self.map.place(point) {
                *index = place;
            }
        }
        scale
    }

    /// Returns the levels of a group for the inverse scales, packed, with an inverse scale in each lane.
    #[inline(always)]
    fn round<S: Simd>(self, s: S, x: &[f32; N], inverse: S::F) -> S::I {
        let (half, one) = (s.splat(0.5), s.splat(1.0));
        let mut packed = s.splat_i(0);
        for &x in x.iter().rev() {
            let level = s.nearest_within(s.mul(half, s.sub(s.mul(inverse, s.splat(x)), one)), 0, Self::MOST);
            let moved = if N == 8 { s.shl::<2>(packed) } else { s.shl::<3>(packed) };
            packed = s.or(moved, level);
        }
        packed
    }

    /// Moves a group's points to the grid, by trial. Returns a bit for each trial whose point was off the grid.
    #[inline(always)]
    fn place<S: Simd>(
        self,
        s: S,
        x: &[f32; N],
        roots: &[f32; N],
        scales: (&[f32; TRIALS], usize),
        table: &mut Table<N>,
        points: &mut [f32; TRIALS],
    ) -> u32 {
        let count = scales.1;
        let mut is_off = 0;
        let mut first = 0;
        while first < count {
            // Adjacent trials often have the same point, and then the same neighbours.
            let point = points[first].to_bits();
            let mut end = first + 1;
            while end < count && points[end].to_bits() == point {
                end += 1;
            }
            if let Place::Off(near) = self.map.place(point as u16) {
                if is_off == 0 {
                    table.fill(s, x, roots, &ODD[..=Self::MOST as usize], scales);
                }
                for at in (first..end).step_by(S::LANES) {
                    let mut best = [0.0; MAX_LANES];
                    s.store(s.as_floats(table.best(s, near.all(), at)), &mut best);
                    for (point, best) in points[at..end].iter_mut().zip(best).take(S::LANES) {
                        *point = best;
                    }
                }
                is_off |= (u32::MAX >> (32 - (end - first))) << first;
            }
            first = end;
        }
        is_off
    }

    /// Returns Σ w·x·q and Σ w·q·q for the trials from `first` on, with a trial in each lane.
    #[inline(always)]
    fn sums<S: Simd, const SUB: usize>(
        self,
        s: S,
        sub: &Sub<'_, SUB>,
        points: &[[f32; TRIALS]; GROUPS],
        first: usize,
    ) -> (S::F, S::F) {
        let (mut sum_xq, mut sum_qq) = (s.splat(0.0), s.splat(0.0));
        let groups = sub.x.as_chunks::<N>().0.iter().zip(sub.weights.as_chunks::<N>().0);
        for ((x, weights), points) in groups.zip(points) {
            let mut points = s.bits(s.load(&points[first..]));
            for (&x, &weight) in x.iter().zip(weights) {
                let q =
                    if N == 8 { s.lookup4(&[1.0, 3.0, 5.0, 7.0], points) } else { s.lookup8(&ODD, points) };
                sum_xq = s.add(sum_xq, s.mul(s.splat(weight * x), q));
                sum_qq = s.add(sum_qq, s.mul(s.mul(s.splat(weight), q), q));
                points = if N == 8 { s.shr::<2>(points) } else { s.shr::<3>(points) };
            }
        }
        (sum_xq, sum_qq)
    }

    /// Places groups again and returns the scale that fits all best.
    #[inline(always)]
    fn refit<S: Simd, const SUB: usize>(
        self,
        s: S,
        sub: &Sub<'_, SUB>,
        off: u8,
        scale: f32,
        points: &mut [u16; GROUPS],
    ) -> f32 {
        let inverse = 1.0 / scale;
        let groups = sub.x.as_chunks::<N>().0.iter().zip(sub.roots.as_chunks::<N>().0);
        for (group, ((x, roots), point)) in groups.zip(points.iter_mut()).enumerate() {
            if off >> group & 1 == 0 {
                continue;
            }
            *point = 0;
            for (i, x) in x.iter().enumerate() {
                let level = nearest(0.5 * (inverse * x - 1.0)).clamp(0, Self::MOST);
                *point |= (level as u16) << (Self::BITS * i);
            }
            if let Place::Off(near) = self.map.place(*point) {
                *point = Terms::new(x, roots).best(s, near, &Self::ODD_LEVELS, scale);
            }
        }
        let (mut sum_xq, mut sum_qq) = (0.0, 0.0);
        for (i, (x, weight)) in sub.x.iter().zip(sub.weights).enumerate() {
            let q = (2 * super::coordinate::<N>(points[i / N], i % N) + 1) as f32;
            sum_xq += weight * x * q;
            sum_qq += weight * q * q;
        }
        if sum_qq > 0.0 { sum_xq / sum_qq } else { scale }
    }
}

/// The values of the levels.
const ODD: [f32; 8] = [1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 13.0, 15.0];

/// The values of each coordinate's levels, in the order of [`Terms`].
const fn odd_levels<const N: usize>() -> [f32; 32] {
    let mut levels = [0.0; 32];
    let mut at = 0;
    while at < 32 {
        levels[at] = ODD[at % (32 / N)];
        at += 1;
    }
    levels
}

/// Returns the greatest of a sub-block's magnitudes.
#[inline(always)]
pub(in crate::codec) fn greatest(x: &[f32]) -> f32 {
    x.iter().copied().fold(x[0], f32::max)
}

/// Returns the scale of a super-block's scales, and these as quants from 0 to `MOST`. A quant `q` denotes `2q + 1`.
/// Returns `None` if all scales are 0.
#[inline(always)]
pub(in crate::codec) fn scale_of_scales<const SUBS: usize, const MOST: i32>(
    scales: &[f32],
) -> Option<(f32, [u8; SUBS])> {
    let scales: &[f32; SUBS] = scales.first_chunk()?;
    let greatest = greatest(scales);
    if greatest == 0.0 {
        return None;
    }
    let d = greatest / (2 * MOST + 1) as f32;
    let inverse = 1.0 / d;
    Some((d, scales.map(|scale| nearest(0.5 * (inverse * scale - 1.0)).clamp(0, MOST) as u8)))
}
