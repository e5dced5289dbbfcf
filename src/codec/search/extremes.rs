//! The extremes of a block's values, from which formats without a search derive their scale.

use crate::simd::Simd;

/// Returns the greatest magnitude.
#[inline(always)]
pub(crate) fn greatest_magnitude<S: Simd, const N: usize>(s: S, x: &[f32; N]) -> f32 {
    let mut greatest = s.splat(0.0);
    for at in (0..N).step_by(S::LANES) {
        greatest = s.max(s.abs(s.load(&x[at..])), greatest);
    }
    s.reduce_max(greatest)
}

/// Returns the first value of greatest magnitude, or 0 if all values are zeros.
#[inline(always)]
pub(in crate::codec) fn first_of_greatest_magnitude<S: Simd, const N: usize>(s: S, x: &[f32; N]) -> f32 {
    let mut least = s.load(x);
    let mut greatest = least;
    for at in (S::LANES..N).step_by(S::LANES) {
        let v = s.load(&x[at..]);
        least = s.min(v, least);
        greatest = s.max(v, greatest);
    }
    let (least, greatest) = (s.reduce_min(least), s.reduce_max(greatest));
    if greatest == -least {
        // Whatever the signs of the zeros, ggml starts with +0 and finds nothing greater.
        return if greatest == 0.0 { 0.0 } else { first_of_magnitude(x, greatest) };
    }
    // The sign is effectively random, so a branch here would be mispredicted about half the time.
    core::hint::select_unpredictable(greatest > -least, greatest, least)
}

/// Rare, so kept out of the surrounding loops.
#[cold]
#[inline(never)]
fn first_of_magnitude(x: &[f32], magnitude: f32) -> f32 {
    x.iter().copied().find(|v| v.abs() == magnitude).unwrap_or(magnitude)
}

/// Returns the least and the greatest value. A least value of zero has the sign of the first zero, which ggml stores.
#[inline(always)]
pub(in crate::codec) fn range<S: Simd, const N: usize>(s: S, x: &[f32; N]) -> (f32, f32) {
    let mut least = s.load(x);
    let mut greatest = least;
    for at in (S::LANES..N).step_by(S::LANES) {
        let v = s.load(&x[at..]);
        least = s.min(v, least);
        greatest = s.max(v, greatest);
    }
    let (mut least, mut greatest) = (s.reduce_min(least), s.reduce_max(greatest));
    if least == 0.0 {
        least = x.iter().copied().find(|&v| v == 0.0).unwrap_or(least);
        if greatest == 0.0 {
            greatest = least;
        }
    }
    (least, greatest)
}
