//! The grids of the IQ1, IQ2 and IQ3 formats, which define the values of their quants.
//!
//! These formats spend fewer than two bits, or three, on a value, too few for a quant of its own. Instead a quant
//! covers eight values, or four: it is the index of a point on a grid, which files do not contain. The signs of the
//! values are stored separately, except in IQ1, whose points have signs.

mod map;
mod neighbours;
#[cfg(not(feature = "std"))]
mod once;
mod points;
mod prepared;
mod search;
mod splits;

use crate::codec::float::Float;
use crate::simd::{Aligned, Bytes, Integers, Simd};

pub(super) use map::{iq1, iq2_s, iq2_xs, iq2_xxs, iq3_s, iq3_xxs};
pub(super) use prepared::{Prepared, Weighting, prepare, weights};
pub(super) use search::{Refit, Search, Trials, scale_of_scales};
pub(super) use splits::{Fit, apart, stands_for, together};

/// The magnitudes of 0, 1 and 2 in formats with eight coordinates to a point.
const OF_TWO_BITS: [u8; 3] = [8, 25, 43];

pub(super) static IQ2_XXS: [[u8; 8]; 256] = rows(&points::IQ2_XXS, OF_TWO_BITS);
pub(super) static IQ2_XS: [[u8; 8]; 512] = rows(&points::IQ2_XS, OF_TWO_BITS);
pub(super) static IQ2_S: [[u8; 8]; 1024] = rows(&points::IQ2_S, OF_TWO_BITS);
pub(super) static IQ3_XXS: [[u8; 4]; 256] = rows(&points::IQ3_XXS, [4, 12, 20, 28, 36, 44, 52, 62]);
pub(super) static IQ3_S: [[u8; 4]; 512] = rows(&points::IQ3_S, [1, 3, 5, 7, 9, 11, 13, 15]);
/// Each coordinate is one more than its value, -1 to 1.
pub(super) static IQ1: [[u8; 8]; 2048] = rows(&points::IQ1, [0, 1, 2]);

/// The amount by which the values of IQ1's points are shifted up or down.
const IQ1_SHIFT: f32 = 0.125;

/// Returns the points with their coordinates as bytes, each replaced by the value of its level.
const fn rows<const N: usize, const POINTS: usize, const LEVELS: usize>(
    points: &[u16; POINTS],
    values: [u8; LEVELS],
) -> [[u8; N]; POINTS] {
    let mut rows = [[0; N]; POINTS];
    let mut at = 0;
    while at < POINTS {
        let mut i = 0;
        while i < N {
            rows[at][i] = values[coordinate::<N>(points[at], i)];
            i += 1;
        }
        at += 1;
    }
    rows
}

/// Returns the number of bits of a coordinate in a packed point of `N`.
const fn bits<const N: usize>() -> usize {
    assert!(N == 8 || N == 4);
    if N == 8 { 2 } else { 3 }
}

/// Returns coordinate `i` of a packed point.
const fn coordinate<const N: usize>(point: u16, i: usize) -> usize {
    (point >> (bits::<N>() * i)) as usize & ((1 << bits::<N>()) - 1)
}

/// The signs of eight values, one bit each, by the seven stored bits: the number of minus signs is even.
const WHOLE_SIGNS: [u8; 128] = {
    let mut all = [0; 128];
    let mut stored = 0;
    while stored < 128 {
        all[stored] = stored as u8 | (stored.count_ones() as u8 & 1) << 7;
        stored += 1;
    }
    all
};

/// Returns the signs of 32 values, one bit each, from the seven bits stored for each eight.
#[inline(always)]
pub(super) fn whole_signs(stored: [u8; 4]) -> u32 {
    u32::from_le_bytes(stored.map(|stored| WHOLE_SIGNS[usize::from(stored & 127)]))
}

/// Returns four seven-bit numbers from the lower 28 bits of a 32-bit number.
#[inline(always)]
pub(super) fn sevens(packed: u32) -> [u8; 4] {
    [0, 7, 14, 21].map(|at| (packed >> at) as u8 & 127)
}

/// The inverse: packs seven bits of each of four groups of eight, and four bits of scale above them.
#[inline(always)]
pub(super) fn sevens_and_scale(signs: [u8; 4], scale: u8) -> u32 {
    let sevens = (0..4).fold(0, |packed, k| packed | u32::from(signs[k] & 127) << (7 * k));
    sevens | u32::from(scale) << 28
}

/// The bias added to signed coordinates in [`bytes`].
pub(super) const BIAS: i32 = 64;

/// Returns the signs of all values of a super-block, one bit each, from the seven stored for each eight. There is a byte
/// for each seven.
#[inline(always)]
pub(super) fn all_whole_signs<D: Bytes>(d: D, stored: D::B) -> [u32; 8] {
    /// 128 for a number with an odd count of ones.
    const ODD: [u8; 16] = [0, 128, 128, 0, 128, 0, 0, 128, 128, 0, 0, 128, 0, 128, 128, 0];
    let folded = d.and_b(d.xor_b(stored, d.shr_b::<4>(stored)), d.splat_b(15));
    let mut whole = Aligned([0; 32]);
    d.store_b(d.or_b(stored, d.lookup_b(&ODD, folded)), &mut whole.0);
    words(whole.0)
}

/// Reads the bytes as numbers.
#[inline(always)]
pub(super) fn words(bytes: [u8; 32]) -> [u32; 8] {
    let mut words: [u32; 8] = bytemuck::cast(bytes);
    for word in &mut words {
        *word = u32::from_le(*word);
    }
    words
}

/// Like [`sevens`], for eight numbers.
#[inline(always)]
pub(super) fn sevens_of_eight<D: Bytes>(d: D, packed: Integers<D>) -> D::B {
    let s = d.lanes();
    let masked = |a, mask: u32| s.and(a, s.splat_i(mask as i32));
    // First splits into two fourteen-bit halves, then each into two of seven bits.
    let twice = s.or(masked(packed, 0x3fff), s.shl::<2>(masked(packed, 0x0fff_c000)));
    d.bytes_of(s.or(masked(twice, 0x007f_007f), s.shl::<1>(masked(twice, 0x3f80_3f80))))
}

/// Writes 32 values: `scales[i / 16] * magnitude[i]`, negative if bit `i` of `signs` is 1. The magnitudes are
/// consecutive rows of a grid.
#[inline(always)]
pub(super) fn put_signed<'a, S: Simd, T: Float, const N: usize>(
    s: S,
    row: impl Fn(usize) -> &'a [u8; N],
    signs: u32,
    scales: [f32; 2],
    out: &mut [T; 32],
) {
    for first in (0..32).step_by(S::LANES) {
        let magnitude = s.to_float(s.load_rows(first, &row));
        let value = s.mul(s.splat(scales[first / 16]), magnitude);
        T::put(s, s.negate_by_bits(value, signs, first), &mut out[first..]);
    }
}

/// Writes 32 values of IQ1: `scales[i / 16] * (point[i] + shift)`, where the shift is 1/8, or -1/8 if bit `i` of `negative` is 1.
#[inline(always)]
pub(super) fn put_shifted<'a, S: Simd, T: Float>(
    s: S,
    row: impl Fn(usize) -> &'a [u8; 8],
    negative: u32,
    scales: [f32; 2],
    out: &mut [T; 32],
) {
    for first in (0..32).step_by(S::LANES) {
        // The coordinates are stored one too large. These sums of small multiples of 1/8 are exact.
        let shift = s.sub(s.negate_by_bits(s.splat(IQ1_SHIFT), negative, first), s.splat(1.0));
        let value = s.add(s.to_float(s.load_rows(first, &row)), shift);
        T::put(s, s.mul(s.splat(scales[first / 16]), value), &mut out[first..]);
    }
}
