//! One lane, in portable Rust: the reference for every operation, and the fallback on machines without vectors.

use half::{bf16, f16};

use super::halves::{f16_to_f32, f32_to_bf16, f32_to_f16};
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
