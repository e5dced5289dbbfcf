//! What MXFP4 and NVFP4 share: floats of four bits (E2M1), with a scale for a few values.

use crate::Float;
use crate::simd::{Bytes, Simd};

/// Twice the number that each code stands for, which makes them whole: a sign, two bits of exponent and one of mantissa.
/// There is no negative zero; code 8 is a second 0.
const VALUES: [f32; 16] = {
    let mut values = [0.0; 16];
    let mut code = 1;
    while code < 8 {
        let (exponent, mantissa) = (code >> 1, code & 1);
        let magnitude = if exponent == 0 { mantissa } else { (2 + mantissa) << (exponent - 1) };
        values[code] = magnitude as f32;
        values[code + 8] = -(magnitude as f32);
        code += 1;
    }
    values
};

/// What is added to [`VALUES`] in [`bytes`].
pub(in crate::codec) const BIAS: i32 = 16;

/// Twice the number that each code stands for, and [`BIAS`] more, which is not negative.
#[inline(always)]
pub(in crate::codec) fn bytes<D: Bytes>(d: D, codes: D::B) -> D::B {
    const BIASED: [u8; 16] = {
        let mut biased = [0; 16];
        let mut code = 0;
        while code < 16 {
            biased[code] = (VALUES[code] as i32 + BIAS) as u8;
            code += 1;
        }
        biased
    };
    d.lookup_b(&BIASED, codes)
}

/// What each code stands for, with half the scale.
#[inline(always)]
pub(in crate::codec) fn scaled<S: Simd>(s: S, half_scale: f32) -> [f32; 16] {
    let (mut scaled, half_scale) = ([0.0; 16], s.splat(half_scale));
    for at in (0..16).step_by(S::LANES) {
        s.store(s.mul(s.load(&VALUES[at..]), half_scale), &mut scaled[at..]);
    }
    scaled
}

/// Writes what `LANES` codes stand for; bits above the lowest four do not matter. `scaled` may have subnormal numbers only
/// where `subnormal` says so.
#[inline(always)]
pub(in crate::codec) fn put<S: Simd, T: Float>(
    s: S,
    scaled: &[f32; 16],
    subnormal: bool,
    codes: S::I,
    out: &mut [T],
) {
    let value = s.lookup(scaled, codes);
    if subnormal { T::put_any(s, value, out) } else { T::put(s, value, out) }
}

/// The codes of the nearest values, of two as near the one closer to 0. `scaled` is what the codes stand for.
///
/// Distances are computed as ggml does, of all magnitudes: among values that are far beyond the greatest, or so small that
/// the scale is 0, rounding makes several distances equal, and the first of them counts.
#[inline(always)]
pub(in crate::codec) fn nearest<S: Simd>(s: S, scaled: &[f32; 16], x: S::F) -> S::I {
    let zero = s.splat_i(0);
    let magnitude = s.abs(x);
    let (mut least, mut code) = (magnitude, zero);
    for (candidate, value) in (1..).zip(&scaled[1..8]) {
        let distance = s.abs(s.sub(s.splat(*value), magnitude));
        let nearer = s.lt(distance, least);
        least = s.min(distance, least);
        code = s.select_i(nearer, s.splat_i(candidate), code);
    }
    // What is nearest to 0 is 0, whatever its sign.
    let negative = s.both(s.lt(x, s.splat(0.0)), s.lt(least, magnitude));
    s.or(code, s.select_i(negative, s.splat_i(8), zero))
}
