//! Code shared by TQ1_0 and TQ2_0, whose values are minus the scale, 0 or the scale.

use crate::codec::search::extremes::greatest_magnitude;
use crate::simd::Simd;

/// Returns the values of a block's quants: `d * (q - 1)`.
#[inline(always)]
pub(in crate::codec) fn scaled(d: f32) -> [f32; 4] {
    [-d, 0.0 * d, d, 2.0 * d]
}

/// Returns the scale of a block, which is its greatest magnitude, and its inverse.
#[inline(always)]
pub(in crate::codec) fn scale<S: Simd, const N: usize>(s: S, x: &[f32; N]) -> (f32, f32) {
    let d = greatest_magnitude(s, x);
    (d, if d != 0.0 { 1.0 / d } else { 0.0 })
}

/// Returns the quants of `LANES` values. An infinite inverse, from a scale below 2^-128, gives `i32::MIN` and 1, whose
/// low byte is 1 as in ggml.
#[inline(always)]
pub(in crate::codec) fn quants<S: Simd>(s: S, x: &[f32], inverse: S::F) -> S::I {
    s.add_i(s.round_half_away(s.mul(s.load(x), inverse)), s.splat_i(1))
}
