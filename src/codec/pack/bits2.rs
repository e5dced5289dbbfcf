//! Four 2-bit quants in a byte, as Q2_K and Q3_K store them.
//!
//! ```text
//! for each half of 128 values, with l = 0..32:
//!   byte l   q[l + 96], q[l + 64], q[l + 32], q[l], from the top
//! ```

use crate::simd::Simd;

/// Returns the quants in `LANES` bytes, from the lowest bits up.
#[inline(always)]
pub(in crate::codec) fn unpack<S: Simd>(s: S, bytes: &[u8]) -> [S::I; 4] {
    let (all, two_bits) = (s.load_u8(bytes), s.splat_i(3));
    [
        s.and(all, two_bits),
        s.and(s.shr::<2>(all), two_bits),
        s.and(s.shr::<4>(all), two_bits),
        s.shr::<6>(all),
    ]
}

/// Packs a super-block's quants. Only their lowest two bits are used.
#[inline(always)]
pub(in crate::codec) fn pack<S: Simd>(s: S, quants: &[u8; 256], to: &mut [u8; 64]) {
    let two_bits = s.splat_i(3);
    for (quants, to) in quants.as_chunks::<128>().0.iter().zip(to.as_chunks_mut::<32>().0) {
        for at in (0..32).step_by(S::LANES) {
            let mut all = s.splat_i(0);
            for quarter in quants.as_chunks::<32>().0.iter().rev() {
                all = s.or(s.shl::<2>(all), s.and(s.load_u8(&quarter[at..]), two_bits));
            }
            s.store_u8(all, &mut to[at..]);
        }
    }
}
