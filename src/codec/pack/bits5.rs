//! Thirty-two 5-bit quants, as Q5_0 and Q5_1 store them: nibbles, and all fifth bits in one number.

use crate::codec::pack::bits4;
use crate::simd::{Bytes, Simd};

/// Returns the quants `at..at + LANES` of a block, and those half a block later. Bit `j` of `fifth` belongs to quant `j`.
#[inline(always)]
pub(in crate::codec) fn unpack<S: Simd>(s: S, nibbles: &[u8; 16], fifth: u32, at: usize) -> (S::I, S::I) {
    let (zero, sixteen) = (s.splat_i(0), s.splat_i(16));
    let (low, high) = bits4::unpack(s, &nibbles[at..]);
    let low_fifth = s.select_i(s.mask(fifth >> at), sixteen, zero);
    let high_fifth = s.select_i(s.mask(fifth >> (16 + at)), sixteen, zero);
    (s.or(low, low_fifth), s.or(high, high_fifth))
}

/// Returns the quants as bytes.
#[inline(always)]
pub(in crate::codec) fn bytes<D: Bytes>(d: D, nibbles: &[u8; 16], fifth: [u8; 4]) -> D::B {
    let fifth = d.and_b(d.bits_b(u32::from_le_bytes(fifth)), d.splat_b(16));
    d.or_b(d.nibbles(nibbles), fifth)
}

/// Writes the nibbles of the quants `at..at + LANES` and of those half a block later, and returns their fifth bits. A
/// quant is in 0..32, or `i32::MIN`, which counts as 0.
#[inline(always)]
pub(in crate::codec) fn pack<S: Simd>(s: S, low: S::I, high: S::I, nibbles: &mut [u8; 16], at: usize) -> u32 {
    bits4::pack(s, s.and(low, s.splat_i(15)), high, &mut nibbles[at..]);
    let below = s.splat(15.5);
    let low_fifth = s.mask_bits(s.lt(below, s.to_float(low)));
    let high_fifth = s.mask_bits(s.lt(below, s.to_float(high)));
    low_fifth << at | high_fifth << (16 + at)
}
