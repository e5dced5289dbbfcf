//! One lane, in portable Rust: the reference for every operation, and the fallback on machines without vectors.

use half::{bf16, f16};

use super::lanes::{Shared, Simd};
use super::wide::Wide;
use crate::math;

#[derive(Clone, Copy)]
pub(crate) struct Scalar;

impl Simd for Scalar {
    type F = f32;
    type I = i32;
    type M = bool;
    type Wide = Wide<Scalar, 4>;
    const LANES: usize = 1;

    #[inline(always)]
    fn wide(self) -> Self::Wide {
        Wide(self)
    }
    #[inline(never)]
    fn shared_in<S: Simd, W: Shared<S>>(self, s: S, work: W) -> W::Output {
        work.run(s)
    }

    #[inline(always)]
    fn splat(self, value: f32) -> f32 {
        value
    }
    #[inline(always)]
    fn splat_i(self, value: i32) -> i32 {
        value
    }
    #[inline(always)]
    fn load(self, from: &[f32]) -> f32 {
        from[0]
    }
    #[inline(always)]
    fn load_u8(self, from: &[u8]) -> i32 {
        i32::from(from[0])
    }
    #[inline(always)]
    fn load_i8(self, from: &[i8]) -> i32 {
        i32::from(from[0])
    }
    #[inline(always)]
    fn load_f16(self, from: &[[u8; 2]]) -> f32 {
        f16_to_f32(u16::from_le_bytes(from[0]))
    }
    #[inline(always)]
    fn load_bf16(self, from: &[[u8; 2]]) -> f32 {
        f32::from_bits(u32::from(u16::from_le_bytes(from[0])) << 16)
    }
    #[inline(always)]
    fn load_f32_bytes(self, from: &[[u8; 4]]) -> f32 {
        f32::from_le_bytes(from[0])
    }
    #[inline(always)]
    fn store(self, value: f32, to: &mut [f32]) {
        to[0] = value;
    }
    #[inline(always)]
    fn store_f16(self, value: f32, to: &mut [f16]) {
        let payload = (value.to_bits() >> 13) as u16 & 0x03ff;
        to[0] = f16::from_bits(f32_to_f16(value) | if value.is_nan() { payload } else { 0 });
    }
    #[inline(always)]
    fn store_bf16(self, value: f32, to: &mut [bf16]) {
        to[0] = bf16::from_bits(f32_to_bf16(value));
    }
    #[inline(always)]
    fn store_u8(self, value: i32, to: &mut [u8]) {
        to[0] = value as u8;
    }
    #[inline(always)]
    fn widen_f16(self, bits: [u8; 2]) -> f32 {
        f16_to_f32(u16::from_le_bytes(bits))
    }
    #[inline(always)]
    fn add(self, a: f32, b: f32) -> f32 {
        a + b
    }
    #[inline(always)]
    fn sub(self, a: f32, b: f32) -> f32 {
        a - b
    }
    #[inline(always)]
    fn mul(self, a: f32, b: f32) -> f32 {
        a * b
    }
    #[inline(always)]
    fn div(self, a: f32, b: f32) -> f32 {
        a / b
    }
    #[inline(always)]
    fn sqrt(self, a: f32) -> f32 {
        math::sqrt(a)
    }
    #[inline(always)]
    fn abs(self, a: f32) -> f32 {
        a.abs()
    }
    #[inline(always)]
    fn negate_by_bits(self, a: f32, bits: u32, first: usize) -> f32 {
        if bits >> first & 1 == 1 { -a } else { a }
    }
    #[inline(always)]
    fn copy_sign(self, magnitude: f32, sign: f32) -> f32 {
        magnitude.copysign(sign)
    }
    #[inline(always)]
    fn min(self, a: f32, b: f32) -> f32 {
        if a < b { a } else { b }
    }
    #[inline(always)]
    fn max(self, a: f32, b: f32) -> f32 {
        if a > b { a } else { b }
    }
    #[inline(always)]
    fn reduce_min(self, a: f32) -> f32 {
        a
    }
    #[inline(always)]
    fn reduce_max(self, a: f32) -> f32 {
        a
    }
    #[inline(always)]
    fn lt(self, a: f32, b: f32) -> bool {
        a < b
    }
    #[inline(always)]
    fn ne(self, a: f32, b: f32) -> bool {
        a != b
    }
    #[inline(always)]
    fn all(self, mask: bool) -> bool {
        mask
    }
    #[inline(always)]
    fn both(self, a: bool, b: bool) -> bool {
        a & b
    }
    #[inline(always)]
    fn select(self, mask: bool, yes: f32, no: f32) -> f32 {
        if mask { yes } else { no }
    }
    #[inline(always)]
    fn select_i(self, mask: bool, yes: i32, no: i32) -> i32 {
        if mask { yes } else { no }
    }
    #[inline(always)]
    fn and(self, a: i32, b: i32) -> i32 {
        a & b
    }
    #[inline(always)]
    fn or(self, a: i32, b: i32) -> i32 {
        a | b
    }
    #[inline(always)]
    fn add_i(self, a: i32, b: i32) -> i32 {
        a.wrapping_add(b)
    }
    #[inline(always)]
    fn sub_i(self, a: i32, b: i32) -> i32 {
        a.wrapping_sub(b)
    }
    #[inline(always)]
    fn min_i(self, a: i32, b: i32) -> i32 {
        a.min(b)
    }
    #[inline(always)]
    fn max_i(self, a: i32, b: i32) -> i32 {
        a.max(b)
    }
    #[inline(always)]
    fn shl<const BITS: i32>(self, a: i32) -> i32 {
        a << BITS
    }
    #[inline(always)]
    fn shr<const BITS: i32>(self, a: i32) -> i32 {
        (a as u32 >> BITS) as i32
    }
    #[inline(always)]
    fn to_float(self, a: i32) -> f32 {
        a as f32
    }
    #[inline(always)]
    fn bits(self, a: f32) -> i32 {
        a.to_bits() as i32
    }
    #[inline(always)]
    fn as_floats(self, a: i32) -> f32 {
        f32::from_bits(a as u32)
    }
    #[inline(always)]
    fn trunc(self, a: f32) -> i32 {
        // Rust saturates where x86 returns the "indefinite" integer.
        const LIMIT: f32 = 2_147_483_648.0;
        if (-LIMIT..LIMIT).contains(&a) { a as i32 } else { i32::MIN }
    }

    #[inline(always)]
    fn lookup(self, table: &[f32; 16], index: i32) -> f32 {
        table[(index & 15) as usize]
    }
    #[inline(always)]
    fn lookup4(self, table: &[f32; 4], index: i32) -> f32 {
        table[(index & 3) as usize]
    }
    #[inline(always)]
    fn lookup8(self, table: &[f32; 8], index: i32) -> f32 {
        table[(index & 7) as usize]
    }
    #[inline(always)]
    fn mask(self, bits: u32) -> bool {
        bits & 1 != 0
    }
    #[inline(always)]
    fn mask_bits(self, mask: bool) -> u32 {
        u32::from(mask)
    }
    #[inline(always)]
    fn two_bits(self, bits: u64) -> i32 {
        bits as i32
    }
}

/// Widens a half float exactly. A NaN keeps its sign and payload and becomes quiet, as in hardware.
#[inline(always)]
pub(crate) fn f16_to_f32(half: u16) -> f32 {
    let sign = u32::from(half & 0x8000) << 16;
    let magnitude = u32::from(half & 0x7fff);
    let bits = if magnitude >= 0x7c00 {
        let quiet = if magnitude > 0x7c00 { 0x0040_0000 } else { 0 };
        0x7f80_0000 | (magnitude & 0x03ff) << 13 | quiet
    } else if magnitude >= 0x0400 {
        // Exponent bias 15 becomes 127.
        (magnitude << 13) + ((127 - 15) << 23)
    } else {
        // Subnormal: the fraction counts units of 2^-24, and the product is exact.
        (magnitude as f32 * (1.0 / 16_777_216.0)).to_bits()
    };
    f32::from_bits(sign | bits)
}

/// Rounds a float to the nearest half, ties to even. NaN becomes `0x7E00` with its sign, as in ggml.
#[inline(always)]
pub(crate) fn f32_to_f16(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16) as u16 & 0x8000;
    let magnitude = bits & 0x7fff_ffff;
    let half = if magnitude > 0x7f80_0000 {
        0x7e00
    } else if magnitude >= 0x4780_0000 {
        // 2^16 and above, including infinity.
        0x7c00
    } else if magnitude >= 0x3880_0000 {
        // Normal: rebias, and round the 13 bits that are dropped. A carry goes into the exponent, up to infinity.
        let rebiased = magnitude - ((127 - 15) << 23);
        ((rebiased + 0x0fff + ((rebiased >> 13) & 1)) >> 13) as u16
    } else {
        // Subnormal: the last place of one half is 2^-24, so the addition itself rounds to it.
        (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(0.5f32.to_bits()) as u16
    };
    sign | half
}

/// Rounds a float to the nearest bfloat, ties to even. NaN keeps its upper bits and becomes quiet.
#[inline(always)]
pub(crate) fn f32_to_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    if bits & 0x7fff_ffff > 0x7f80_0000 {
        return (bits >> 16) as u16 | 0x0040;
    }
    ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_floats_widen_as_the_half_crate_does() {
        for bits in 0..=u16::MAX {
            assert_eq!(f16_to_f32(bits).to_bits(), f16::from_bits(bits).to_f32().to_bits(), "{bits:#06x}");
        }
    }

    #[test]
    fn floats_round_to_halves_and_bfloats_as_the_half_crate_does() {
        // Every exponent and sign, with fractions around every rounding boundary.
        for upper in 0..=u16::MAX {
            for lower in
                [0, 1, 0x0fff, 0x1000, 0x1001, 0x1fff, 0x2fff, 0x3000, 0x7fff, 0x8000, 0x8001, 0xffff]
            {
                let value = f32::from_bits(u32::from(upper) << 16 | lower);
                if value.is_nan() {
                    let sign = if value.is_sign_negative() { 0x8000 } else { 0 };
                    assert_eq!(f32_to_f16(value), 0x7e00 | sign);
                    assert_eq!(f32_to_bf16(value), upper | 0x0040);
                } else {
                    assert_eq!(f32_to_f16(value), f16::from_f32(value).to_bits(), "{value:e}");
                    assert_eq!(f32_to_bf16(value), bf16::from_f32(value).to_bits(), "{value:e}");
                }
            }
        }
    }
}
