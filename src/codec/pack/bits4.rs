//! Two 4-bit quants in a byte, as Q4_0, Q4_1 and Q4_K store them.

use crate::simd::Simd;

/// Returns the low and the high nibbles of `LANES` bytes.
#[inline(always)]
pub(in crate::codec) fn unpack<S: Simd>(s: S, bytes: &[u8]) -> (S::I, S::I) {
    let both = s.load_u8(bytes);
    (s.and(both, s.splat_i(15)), s.shr::<4>(both))
}

/// Writes `LANES` bytes: `low` in the low nibbles, `high` in the high ones. If a quant is outside 0..16, its other
/// bits overflow as in ggml.
#[inline(always)]
pub(in crate::codec) fn pack<S: Simd>(s: S, low: S::I, high: S::I, to: &mut [u8]) {
    s.store_u8(s.or(low, s.shl::<4>(high)), to);
}
