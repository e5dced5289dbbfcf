//! Code shared by IQ4_NL and IQ4_XS, whose quants denote sixteen unevenly spaced values.
//!
//! The search in pseudo-code, where `VALUES[0]` is −127:
//!
//! ```text
//! extreme ← the value of greatest magnitude
//! for inverse in 127 / extreme, then (step − 127) / extreme for steps from −7 to 7:
//!     q ← the nearest of VALUES to inverse · x
//!     keep scale ← Σ w·x·q / Σ w·q·q with the greatest (Σ w·x·q)² / Σ w·q·q
//! ```

use crate::codec::float::Float;
use crate::codec::search::LEAST_MAGNITUDE;
use crate::simd::{Bytes, Shared, Simd};

/// The values of the quants. They are closer together around 0, where most values of a model are.
pub(in crate::codec) const VALUES: [f32; 16] = [
    -127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0, 89.0, 113.0,
];

/// [`VALUES`] as bytes.
const BYTES: [u8; 16] = {
    let mut bytes = [0; 16];
    let mut i = 0;
    while i < 16 {
        bytes[i] = VALUES[i] as i8 as u8;
        i += 1;
    }
    bytes
};

/// Returns the unscaled values of 32 quants, as signed bytes.
#[inline(always)]
pub(in crate::codec) fn bytes<D: Bytes>(d: D, nibbles: &[u8; HALF]) -> D::B {
    d.lookup_b(&BYTES, d.nibbles(nibbles))
}

/// The number of values that share a scale. They have half as many bytes.
const LEN: usize = 32;
const HALF: usize = LEN / 2;

/// Decodes 32 values that share a scale: the low nibbles of the bytes, then the high ones.
#[inline(always)]
pub(in crate::codec) fn dequantize<S: Simd, T: Float>(
    s: S,
    scale: S::F,
    nibbles: &[u8; HALF],
    out: &mut [T; LEN],
) {
    let mut scaled = [0.0; 16];
    for at in (0..16).step_by(S::LANES) {
        s.store(s.mul(scale, s.load(&VALUES[at..])), &mut scaled[at..]);
    }
    for at in (0..HALF).step_by(S::LANES) {
        let both = s.load_u8(&nibbles[at..]);
        T::put(s, s.lookup(&scaled, both), &mut out[at..]);
        T::put(s, s.lookup(&scaled, s.shr::<4>(both)), &mut out[HALF + at..]);
    }
}

/// Quantizes 32 values that share a scale, given by its inverse.
#[inline(always)]
pub(in crate::codec) fn quantize<S: Simd>(s: S, inverse: f32, x: &[f32; LEN], nibbles: &mut [u8; HALF]) {
    let (inverse, nibble) = (s.splat(inverse), s.splat_i(15));
    for at in (0..HALF).step_by(S::LANES) {
        let low = nearest(s, s.mul(inverse, s.load(&x[at..])));
        let high = nearest(s, s.mul(inverse, s.load(&x[HALF + at..])));
        crate::codec::pack::bits4::pack(s, s.and(low, nibble), high, &mut nibbles[at..]);
    }
}

/// The number of inverse scales that a search tries on either side of the one that maps the extreme value to [`VALUES`]`[0]`.
const TRIES: i32 = 7;

/// Finds the scale with the least weighted squared error, with a block in each lane. Tries scales around the one that
/// maps the value of greatest magnitude to the first of [`VALUES`]. Blocks of zeros have scale 0. (ggml:
/// `quantize_row_iq4_nl_impl`.)
#[inline(always)]
pub(in crate::codec) fn search<S: Simd>(s: S, x: &[S::F; LEN], weights: &[S::F; LEN]) -> S::F {
    s.shared(Search::<S> { x, weights })
}

struct Search<'a, S: Simd> {
    x: &'a [S::F; LEN],
    weights: &'a [S::F; LEN],
}

impl<S: Simd> Shared<S> for Search<'_, S> {
    type Output = S::F;

    #[inline(always)]
    fn run(self, s: S) -> S::F {
        find(s, self.x, self.weights)
    }
}

#[inline(always)]
fn find<S: Simd>(s: S, x: &[S::F; LEN], weights: &[S::F; LEN]) -> S::F {
    let zero = s.splat(0.0);
    let (greatest, extreme) = super::extreme(s, x);
    let is_zero = s.lt(greatest, s.splat(LEAST_MAGNITUDE));

    let first = s.div(extreme, s.splat(-VALUES[0]));
    let (sum_xq, sum_qq) = sums(s, x, weights, s.div(s.splat(1.0), first));
    let mut scale = s.select(s.lt(zero, sum_qq), s.div(sum_xq, sum_qq), zero);
    let mut best = s.mul(scale, sum_xq);
    for step in -TRIES..=TRIES {
        let (sum_xq, sum_qq) = sums(s, x, weights, s.div(s.splat(step as f32 + VALUES[0]), extreme));
        let wins = s.both(s.lt(zero, sum_qq), s.lt(s.mul(best, sum_qq), s.mul(sum_xq, sum_xq)));
        let better = s.div(sum_xq, sum_qq);
        scale = s.select(wins, better, scale);
        best = s.select(wins, s.mul(better, sum_xq), best);
    }
    s.select(is_zero, zero, scale)
}

/// Returns Σ w·q·x and Σ w·q·q, where q is the nearest value to x times the inverse scale.
#[inline(always)]
fn sums<S: Simd>(s: S, x: &[S::F; LEN], weights: &[S::F; LEN], inverse: S::F) -> (S::F, S::F) {
    let (mut sum_xq, mut sum_qq) = (s.splat(0.0), s.splat(0.0));
    for i in 0..LEN {
        let q = s.lookup(&VALUES, nearest(s, s.mul(inverse, x[i])));
        let weighted = s.mul(weights[i], q);
        sum_xq = s.add(sum_xq, s.mul(weighted, x[i]));
        sum_qq = s.add(sum_qq, s.mul(weighted, q));
    }
    (sum_xq, sum_qq)
}

/// Returns the index of the nearest of [`VALUES`] in the four lowest bits, with other bits above them. Ties go to the
/// greater value, and NaN gives 15, as in ggml.
///
/// Near the midpoint between two values their distances are exact in single precision, so the midpoint is the only
/// threshold between them. Cells of equal width contain at most one threshold each.
#[inline(always)]
fn nearest<S: Simd>(s: S, x: S::F) -> S::I {
    // For NaN, the minimum is the other operand: the last cell.
    let cell = s.min(s.add(s.mul(x, s.splat(CELLS_PER_UNIT)), s.splat(FIRST_CELL)), s.splat(15.0));
    let cell = s.bits(s.lookup(&CELLS, s.trunc(s.max(cell, s.splat(0.0)))));
    let threshold = s.as_floats(s.and(cell, s.splat_i(!0xffff)));
    s.add_i(cell, s.select_i(s.lt(x, threshold), s.splat_i(-1), s.splat_i(0)))
}

/// Cells are 13.35 wide, starting at -117.85. These numbers were found by experiment. They keep thresholds as far as possible
/// from the cells' borders (2.3), so that it does not matter to which of two cells rounding assigns a number at their border.
const CELLS_PER_UNIT: f32 = 1.0 / 13.35;
const FIRST_CELL: f32 = 117.85 / 13.35;

/// Each cell has its threshold in the upper half of the bits, and in the lower half the index of the value above the
/// threshold. A float without its lower half is exact for halves of integers below 128. The one cell without a
/// threshold has one above all numbers in it.
const CELLS: [f32; 16] = {
    const NONE: f32 = 1024.0;
    let mut cells = [NONE; 16];
    let mut below = 0;
    while below < 15 {
        let threshold = (VALUES[below] + VALUES[below + 1]) / 2.0;
        let cell = (threshold * CELLS_PER_UNIT + FIRST_CELL) as usize;
        let cell = if cell < 16 { cell } else { 15 };
        assert!(cells[cell] == NONE && threshold.to_bits() & 0xffff == 0);
        cells[cell] = threshold;
        below += 1;
    }
    let (mut cell, mut above) = (0, 1);
    while cell < 16 {
        let threshold = cells[cell].to_bits();
        cells[cell] = f32::from_bits(threshold | above);
        if threshold != NONE.to_bits() {
            above += 1;
        }
        cell += 1;
    }
    cells
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Isa, Kernel, MAX_LANES};

    /// Finds the nearest value by distance, with ggml's tie-breaking.
    fn nearest_by_distance(x: f32) -> u8 {
        if x.is_nan() {
            return 15;
        }
        let above = VALUES.iter().position(|&value| x < value).unwrap_or(15).max(1);
        let (low, high) = (VALUES[above - 1], VALUES[above]);
        (if x - low < high - x { above - 1 } else { above }) as u8
    }

    struct Nearest<'a>(&'a [f32]);

    impl Kernel for Nearest<'_> {
        type Output = Vec<u8>;
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> Vec<u8> {
            let mut all = Vec::new();
            for chunk in self.0.chunks(S::LANES) {
                let mut bytes = [0; MAX_LANES];
                s.store_u8(s.and(nearest(s, s.load(chunk)), s.splat_i(15)), &mut bytes);
                all.extend_from_slice(&bytes[..S::LANES]);
            }
            all
        }
    }

    #[test]
    fn the_nearest_value_is_found_without_looking_at_all() {
        // These include every cell's borders and every threshold, with their neighbours.
        let mut floats: Vec<f32> = (-140 * 256..140 * 256).map(|x| x as f32 / 256.0).collect();
        floats.extend((0..16).map(|cell| (cell as f32 - FIRST_CELL) / CELLS_PER_UNIT));
        floats.extend([0.0, -0.0, 1e-40, 1e30, -1e30, f32::MAX, f32::MIN]);
        let around = |x: &f32| [x.next_up(), x.next_down(), x.next_up().next_up(), x.next_down().next_down()];
        let neighbours: Vec<f32> = floats.iter().flat_map(around).collect();
        floats.extend(neighbours);
        floats.extend([f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -f32::NAN]);
        floats.resize(floats.len().next_multiple_of(MAX_LANES), 0.0);
        let want: Vec<u8> = floats.iter().map(|&x| nearest_by_distance(x)).collect();
        for isa in Isa::available() {
            let got = isa.run(Nearest(&floats));
            for ((x, got), want) in floats.iter().zip(got).zip(&want) {
                assert_eq!(got, *want, "{x} on {isa:?}");
            }
        }
    }
}
