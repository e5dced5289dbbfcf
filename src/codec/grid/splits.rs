//! The search that IQ1_S and IQ1_M share.
//!
//! With three levels the best quants can be found exactly. If the values are sorted, the lowest of them have the lowest
//! level and the highest have the highest level, so it is enough to try all ways to split them in three. In pseudo-code:
//!
//! ```text
//! for each low from 0 to n, for each high from low to n:           a high in each lane
//!     levels of the sorted values ← 0 before low, 1 before high, 2 from there on
//!     for each way to shift the groups' levels up or down by 1/8:
//!         q ← level − 1 + shift
//!         keep the split with the greatest (Σ w·x·q)² / Σ w·q·q, and scale ← Σ w·x·q / Σ w·q·q
//! if scale < 0: negate it, and reverse levels and shifts
//! for each group whose levels are off the grid:
//!     levels ← the neighbour with the least Σ w·(scale · q − x)²
//! if a group moved: scale ← Σ w·x·q / Σ w·q·q
//! ```

use super::map::{Map, Place};
use super::neighbours::Terms;
use crate::simd::{MAX_LANES, Simd};

/// The values of the levels, shifted up and shifted down.
const LEVELS: [[f32; 3]; 2] = [[-0.875, 0.125, 1.125], [-1.125, -0.125, 0.875]];

/// [`LEVELS`] in the order of [`Terms`].
const REPEATED: [[f32; 32]; 2] = {
    let mut repeated = [[0.0; 32]; 2];
    let mut at = 0;
    while at < 32 {
        if at % 4 < 3 {
            repeated[0][at] = LEVELS[0][at % 4];
            repeated[1][at] = LEVELS[1][at % 4];
        }
        at += 1;
    }
    repeated
};

/// The result for a sub-block.
#[derive(Debug, Clone, Copy)]
pub(in crate::codec) struct Fit<const GROUPS: usize> {
    /// 0 for a sub-block of zeros.
    pub(in crate::codec) scale: f32,
    /// The indices of the groups' points.
    pub(in crate::codec) indices: [u16; GROUPS],
    /// Whether the groups' levels are shifted down.
    pub(in crate::codec) down: [bool; GROUPS],
}

impl<const GROUPS: usize> Fit<GROUPS> {
    /// The result for a sub-block of zeros.
    pub(in crate::codec) const ZEROS: Self = Fit { scale: 0.0, indices: [0; GROUPS], down: [false; GROUPS] };
}

/// Returns the unscaled value of a group's level.
#[inline(always)]
pub(in crate::codec) fn stands_for(level: u8, down: bool) -> f32 {
    LEVELS[usize::from(down)][usize::from(level)]
}

/// The best split so far.
struct Best {
    score: f32,
    scale: f32,
    /// The positions where the middle begins and ends, and which of the shifts was used.
    way: Option<([usize; 2], usize)>,
}

impl Best {
    fn new() -> Self {
        Best { score: -f32::MAX, scale: 0.0, way: None }
    }

    /// Considers the splits whose middle begins at position `low`. Each lane has a split, whose middle ends at `high` or
    /// one of the following positions, up to `last`. The levels of each split are shifted in `MOVES` ways. `sums` are Σ
    /// w·x·q and Σ w·q·q for each.
    #[inline(always)]
    fn consider<S: Simd, const MOVES: usize>(
        &mut self,
        s: S,
        sums: &[[S::F; 2]; MOVES],
        [low, high, last]: [usize; 3],
    ) {
        let score = s.splat(self.score);
        let mut any = 0;
        for &[xq, qq] in sums {
            any |= s.mask_bits(s.both(s.lt(s.splat(0.0), qq), s.lt(s.mul(score, qq), s.mul(xq, xq))));
        }
        if any == 0 {
            return;
        }
        // Rounding can give a better split a lower score, so each is compared with the one before it.
        let mut lanes = [[[0.0; MAX_LANES]; 2]; MOVES];
        for (lanes, sums) in lanes.iter_mut().zip(sums) {
            s.store(sums[0], &mut lanes[0]);
            s.store(sums[1], &mut lanes[1]);
        }
        for lane in 0..S::LANES.min(last + 1 - high) {
            for (which, sums) in lanes.iter().enumerate() {
                let (xq, qq) = (sums[0][lane], sums[1][lane]);
                if qq > 0.0 && xq * xq > self.score * qq {
                    self.scale = xq / qq;
                    self.score = self.scale * xq;
                    self.way = Some(([low, high + lane], which));
                }
            }
        }
    }
}

/// Returns the positions of the values in ascending order. The sort is stable.
#[inline(always)]
fn sorted<const SUB: usize>(x: &[f32; SUB]) -> [usize; SUB] {
    let mut keys: [u64; SUB] = core::array::from_fn(|i| {
        // Zeros compare as equal: the addition makes them all +0. Then a float's bits are turned into an integer with
        // the same order.
        let bits = (x[i] + 0.0).to_bits();
        let ordered = bits ^ if bits >> 31 == 1 { u32::MAX } else { 1 << 31 };
        u64::from(ordered) << 32 | i as u64
    });
    keys.sort_unstable();
    keys.map(|key| key as u32 as usize)
}

/// Searches a sub-block of 32 values. The levels of all its groups are shifted the same way.
#[inline(always)]
pub(in crate::codec) fn together<S: Simd>(s: S, map: &Map<8>, x: &[f32; 32], weights: &[f32; 32]) -> Fit<4> {
    const ALL: usize = 32;
    let order = sorted(x);
    // Past the last value the weights are NaN, which never compares as better.
    let mut sum_x = [f32::NAN; ALL + 1 + MAX_LANES];
    let mut sum_w = sum_x;
    (sum_x[0], sum_w[0]) = (0.0, 0.0);
    for (j, &i) in order.iter().enumerate() {
        sum_x[j + 1] = sum_x[j] + weights[i] * x[i];
        sum_w[j + 1] = sum_w[j] + weights[i];
    }
    let mut best = Best::new();
    let (all_x, all_w) = (s.splat(sum_x[ALL]), s.splat(sum_w[ALL]));
    for low in 0..=ALL {
        let (low_x, low_w) = (s.splat(sum_x[low]), s.splat(sum_w[low]));
        for high in (low..=ALL).step_by(S::LANES) {
            let (to_high_x, to_high_w) = (s.load(&sum_x[high..]), s.load(&sum_w[high..]));
            let (middle_x, middle_w) = (s.sub(to_high_x, low_x), s.sub(to_high_w, low_w));
            let (high_x, high_w) = (s.sub(all_x, to_high_x), s.sub(all_w, to_high_w));
            let mut sums = [[all_x; 2]; 2];
            for (sums, levels) in sums.iter_mut().zip(&LEVELS) {
                let [a, b, c] = [s.splat(levels[0]), s.splat(levels[1]), s.splat(levels[2])];
                sums[0] = s.add(s.add(s.mul(low_x, a), s.mul(middle_x, b)), s.mul(high_x, c));
                let low_and_middle = s.add(s.mul(s.mul(low_w, a), a), s.mul(s.mul(middle_w, b), b));
                sums[1] = s.add(low_and_middle, s.mul(s.mul(high_w, c), c));
            }
            best.consider(s, &sums, [low, high, ALL]);
        }
    }
    let Some((bounds, which)) = best.way else { return Fit::ZEROS };
    place(s, map, x, weights, &order, bounds, best.scale, [which == 1; 4])
}

/// Searches a sub-block of 16 values. The levels of each of its groups are shifted independently.
///
/// The sums are those of ggml's library, whose compiled search differs from its source: neighbouring levels are 1 apart,
/// so Σ w·x·q of a group is the highest level times Σ w·x over all values, less Σ w·x below each bound.
#[inline(always)]
pub(in crate::codec) fn apart<S: Simd>(s: S, map: &Map<8>, x: &[f32; 16], weights: &[f32; 16]) -> Fit<2> {
    const ALL: usize = 16;
    let order = sorted(x);
    // Sums for each group over the positions before each bound. Past the last the weights are NaN, as above.
    let mut sum_x = [[f32::NAN; ALL + 1 + MAX_LANES]; 2];
    let mut sum_w = sum_x;
    for group in 0..2 {
        (sum_x[group][0], sum_w[group][0]) = (0.0, 0.0);
        for (j, &i) in order.iter().enumerate() {
            let its = i / 8 == group;
            let (before_x, before_w) = (sum_x[group][j], sum_w[group][j]);
            sum_x[group][j + 1] = if its { before_x + weights[i] * x[i] } else { before_x };
            sum_w[group][j + 1] = if its { before_w + weights[i] } else { before_w };
        }
    }
    let mut best = Best::new();
    for low in 0..=ALL {
        for high in (low..=ALL).step_by(S::LANES) {
            // For each group, with levels shifted up and down.
            let mut parts = [[[s.splat(0.0); 2]; 2]; 2];
            for (group, parts) in parts.iter_mut().enumerate() {
                let (sum_x, sum_w) = (&sum_x[group], &sum_w[group]);
                let below_x = s.add(s.load(&sum_x[high..]), s.splat(sum_x[low]));
                let to_high_w = s.load(&sum_w[high..]);
                for ([xq, qq], [a, b, c]) in parts.iter_mut().zip(LEVELS) {
                    let below_low = (a * a - b * b) * sum_w[low] + sum_w[ALL] * c * c;
                    *xq = s.sub(s.splat(sum_x[ALL] * c), below_x);
                    *qq = s.add(s.mul(s.splat(b * b - c * c), to_high_w), s.splat(below_low));
                }
            }
            let [first, second] = parts;
            let mut sums = [first[0]; 4];
            for (which, sums) in sums.iter_mut().enumerate() {
                let (first, second) = (first[which / 2], second[which % 2]);
                *sums = [s.add(first[0], second[0]), s.add(first[1], second[1])];
            }
            best.consider(s, &sums, [low, high, ALL]);
        }
    }
    let Some((bounds, which)) = best.way else { return Fit::ZEROS };
    place(s, map, x, weights, &order, bounds, best.scale, [which / 2 == 1, which % 2 == 1])
}

/// Places the groups of the best split on the grid, and fits the scale to the result.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "all that is known of a sub-block")]
fn place<S: Simd, const SUB: usize, const GROUPS: usize>(
    s: S,
    map: &Map<8>,
    x: &[f32; SUB],
    weights: &[f32; SUB],
    order: &[usize; SUB],
    [low, high]: [usize; 2],
    mut scale: f32,
    mut down: [bool; GROUPS],
) -> Fit<GROUPS> {
    let mut levels = [0u8; SUB];
    for (j, &i) in order.iter().enumerate() {
        levels[i] = u8::from(j >= low) + u8::from(j >= high);
    }
    if scale < 0.0 {
        scale = -scale;
        levels = levels.map(|level| 2 - level);
        down = down.map(|down| !down);
    }
    let mut indices = [0; GROUPS];
    let mut all_on_grid = true;
    let groups = x.as_chunks::<8>().0.iter().zip(weights.as_chunks::<8>().0);
    for (group, (x, weights)) in groups.enumerate() {
        let levels = &mut levels.as_chunks_mut::<8>().0[group];
        let point = (0..8).fold(0, |point, i| point | u16::from(levels[i]) << (2 * i));
        indices[group] = match map.place(point) {
            Place::On(index) => index,
            Place::Off(near) => {
                all_on_grid = false;
                let repeated = &REPEATED[usize::from(down[group])];
                let point = Terms::new(x, weights).best(s, near, repeated, scale);
                *levels = core::array::from_fn(|i| (point >> (2 * i)) as u8 & 3);
                match map.place(point) {
                    Place::On(index) => index,
                    Place::Off(_) => 0,
                }
            }
        };
    }
    if !all_on_grid {
        let (mut sum_xq, mut sum_qq) = (0.0, 0.0);
        for (i, (x, weight)) in x.iter().zip(weights).enumerate() {
            let q = stands_for(levels[i], down[i / 8]);
            sum_xq += weight * q * x;
            sum_qq += weight * q * q;
        }
        if sum_xq > 0.0 && sum_qq > 0.0 {
            scale = sum_xq / sum_qq;
        }
    }
    Fit { scale, indices, down }
}
