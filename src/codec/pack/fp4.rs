//! Code shared by MXFP4 and NVFP4: 4-bit floats (E2M1), with a scale for a few values.

use crate::codec::float::Float;
use crate::simd::{Bytes, Simd};

/// Twice the value of each code, which makes it an integer: a sign, two bits of exponent and one of mantissa. There is
/// no negative zero; code 8 is a second 0.
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

/// The bias added to [`VALUES`] in [`bytes`].
pub(in crate::codec) const BIAS: i32 = 16;

/// Returns twice the value of each code plus [`BIAS`], which is never negative.
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

/// Returns the value of each code, given half the scale.
#[inline(always)]
pub(in crate::codec) fn scaled<S: Simd>(s: S, half_scale: f32) -> [f32; 16] {
    let (mut scaled, half_scale) = ([0.0; 16], s.splat(half_scale));
    for at in (0..16).step_by(S::LANES) {
        s.store(s.mul(s.load(&VALUES[at..]), half_scale), &mut scaled[at..]);
    }
    scaled
}

/// Writes the values of `LANES` codes. Bits above the lowest four are ignored. `scaled` may contain subnormal numbers only
/// if `subnormal` is set.
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

/// Returns the codes of the nearest values. Ties go to the value closer to 0. `scaled` are the values of the codes.
///
/// Distances are computed as in ggml, between magnitudes. If values are far beyond the greatest, or so small that the
/// scale is 0, rounding makes several distances equal, and the first of them wins.
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
    // A value nearest to 0 becomes 0, whatever its sign.
    let negative = s.both(s.lt(x, s.splat(0.0)), s.lt(least, magnitude));
    s.or(code, s.select_i(negative, s.splat_i(8), zero))
}
