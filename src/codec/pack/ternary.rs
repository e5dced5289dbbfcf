//! What TQ1_0 and TQ2_0 share: values that are minus the scale, 0 or the scale.

use crate::codec::search::extremes::greatest_magnitude;
use crate::simd::Simd;

/// What the quants of a block stand for: `d * (q - 1)`.
#[inline(always)]
pub(in crate::codec) fn scaled(d: f32) -> [f32; 4] {
    [-d, 0.0 * d, d, 2.0 * d]
}

/// The scale of a block, its greatest magnitude, and the inverse of that.
#[inline(always)]
pub(in crate::codec) fn scale<S: Simd, const N: usize>(s: S, x: &[f32; N]) -> (f32, f32) {
    let d = greatest_magnitude(s, x);
    (d, if d != 0.0 { 1.0 / d } else { 0.0 })
}

/// The quants of `LANES` values. An infinite inverse, of a scale below 2^-128, gives `i32::MIN` and 1, whose low byte is
/// ggml's 1.
#[inline(always)]
pub(in crate::codec) fn quants<S: Simd>(s: S, x: &[f32], inverse: S::F) -> S::I {
    s.add_i(s.round_half_away(s.mul(s.load(x), inverse)), s.splat_i(1))
}
