//! Four lanes: WebAssembly's simd128, if the crate is compiled with it (`-Ctarget-feature=+simd128`). A module that
//! uses it runs only where it is supported, so there is nothing to detect.

use core::arch::wasm32::*;

use half::{bf16, f16};

use super::lanes::{Shared, Simd};
use super::wide::Wide;

/// The instructions are available wherever this is compiled, and all but loads and stores are safe to use.
#[derive(Clone, Copy)]
pub(crate) struct Simd128(());

/// Runs a kernel with simd128.
pub(super) fn run<K: super::Kernel>(kernel: K) -> K::Output {
    if const { K::COMPILED_FOR.any_vectors() } {
        kernel.run(Simd128(()))
    } else {
        unreachable!("a kernel that is not compiled for these lanes")
    }
}

/// Runs a kernel over bytes along with simd128's lanes.
pub(super) fn run_bytes<K: super::ByteKernel>(kernel: K, _dots: bool) -> K::Output {
    kernel.run(super::PlainBytes(Wide::<_, 2>(Simd128(()))))
}

/// There are no tiles with simd128.
pub(super) fn run_tiles<K: super::TileKernel>(_: K, _dots: bool) {
    unreachable!("an instruction set without tiles")
}

/// No instruction for dot products is used here.
pub(super) fn has_dots(_: bool) -> bool {
    false
}

/// No instruction here rounds to `bf16`.
pub(super) fn rounds_to_bf16() -> bool {
    false
}

/// Returns the first four elements as an array, which bounds the loads and stores below.
macro_rules! four {
    ($slice:expr) => {
        $slice.first_chunk::<4>().expect("a kernel passes four or more")
    };
    (mut $slice:expr) => {
        $slice.first_chunk_mut::<4>().expect("a kernel passes four or more")
    };
}

/// Loads four 16-bit numbers given as little-endian bytes, each widened with zeros.
#[inline(always)]
fn load_u16(from: &[[u8; 2]]) -> v128 {
    let bytes =
        u64::from_le_bytes(*four!(from).as_flattened().first_chunk().expect("four halves have eight bytes"));
    u32x4_extend_low_u16x8(u64x2(bytes, 0))
}

/// Narrows the lanes, each below 2^16, to 16-bit numbers in the low half.
#[inline(always)]
fn narrow(wide: v128) -> v128 {
    u16x8_narrow_i32x4(wide, wide)
}

#[inline(always)]
fn is_nan(value: v128) -> v128 {
    f32x4_ne(value, value)
}

/// Returns the positions of each float's four bytes in a table, for lanes that number its floats (below 64).
#[inline(always)]
fn byte_places(index: v128) -> v128 {
    i32x4_add(i32x4_mul(index, i32x4_splat(0x0404_0404)), i32x4_splat(0x0302_0100))
}

impl Simd for Simd128 {
    type F = v128;
    type I = v128;
    type M = v128;
    type Wide = Wide<Simd128, 4>;
    const LANES: usize = 4;

    #[inline(always)]
    fn wide(self) -> Self::Wide {
        Wide(self)
    }
    #[inline(never)]
    fn shared_in<S: Simd, W: Shared<S>>(self, s: S, work: W) -> W::Output {
        work.run(s)
    }

    #[inline(always)]
    fn splat(self, value: f32) -> v128 {
        f32x4_splat(value)
    }
    #[inline(always)]
    fn splat_i(self, value: i32) -> v128 {
        i32x4_splat(value)
    }
    #[inline(always)]
    fn load(self, from: &[f32]) -> v128 {
        let from = four!(from);
        // SAFETY: the array has the 16 bytes read, and the load requires no alignment.
        unsafe { v128_load(from.as_ptr().cast()) }
    }
    #[inline(always)]
    fn load_u8(self, from: &[u8]) -> v128 {
        let bytes = u32x4(u32::from_le_bytes(*four!(from)), 0, 0, 0);
        u32x4_extend_low_u16x8(u16x8_extend_low_u8x16(bytes))
    }
    #[inline(always)]
    fn load_i8(self, from: &[i8]) -> v128 {
        let bytes = u32x4(u32::from_le_bytes(four!(from).map(|byte| byte as u8)), 0, 0, 0);
        i32x4_extend_low_i16x8(i16x8_extend_low_i8x16(bytes))
    }
    #[inline(always)]
    fn load_f16(self, from: &[[u8; 2]]) -> v128 {
        // Like `f16_to_f32`, except for subnormals: their bits, moved to a float's fields, are a subnormal float, and
        // a product with a power of two rebiases both kinds exactly.
        let half = load_u16(from);
        let sign = i32x4_shl(v128_and(half, i32x4_splat(0x8000)), 16);
        let magnitude = v128_and(half, i32x4_splat(0x7fff));
        let moved = i32x4_shl(magnitude, 13);
        let finite = f32x4_mul(moved, f32x4_splat(f32::from_bits((127 + 127 - 15) << 23)));
        let quiet = v128_and(i32x4_gt(magnitude, i32x4_splat(0x7c00)), i32x4_splat(0x0040_0000));
        let special = v128_or(v128_or(moved, i32x4_splat(0x7f80_0000)), quiet);
        let is_finite = i32x4_lt(magnitude, i32x4_splat(0x7c00));
        v128_or(sign, v128_bitselect(finite, special, is_finite))
    }
    #[inline(always)]
    fn load_bf16(self, from: &[[u8; 2]]) -> v128 {
        i32x4_shl(load_u16(from), 16)
    }
    #[inline(always)]
    fn load_f32_bytes(self, from: &[[u8; 4]]) -> v128 {
        let from = four!(from);
        // SAFETY: the array has the 16 bytes read, and the load requires no alignment.
        unsafe { v128_load(from.as_ptr().cast()) }
    }
    #[inline(always)]
    fn store(self, value: v128, to: &mut [f32]) {
        let to = four!(mut to);
        // SAFETY: the array has the 16 bytes written, and the store requires no alignment.
        unsafe { v128_store(to.as_mut_ptr().cast(), value) }
    }
    #[inline(always)]
    fn store_f16(self, value: v128, to: &mut [f16]) {
        let to = four!(mut to);
        // Like `f32_to_f16`, computing every case for every lane.
        let sign = v128_and(u32x4_shr(value, 16), i32x4_splat(0x8000));
        let magnitude = f32x4_abs(value);
        let rebiased = i32x4_sub(magnitude, i32x4_splat((127 - 15) << 23));
        let odd = v128_and(u32x4_shr(rebiased, 13), i32x4_splat(1));
        let normal = u32x4_shr(i32x4_add(rebiased, i32x4_add(odd, i32x4_splat(0x0fff))), 13);
        let half = f32x4_splat(0.5);
        let subnormal = i32x4_sub(f32x4_add(magnitude, half), half);
        let finite = v128_bitselect(normal, subnormal, i32x4_ge(magnitude, i32x4_splat(0x3880_0000)));
        let payload = v128_and(u32x4_shr(value, 13), i32x4_splat(0x03ff));
        let nan = v128_or(payload, i32x4_splat(0x7e00));
        let special = v128_bitselect(nan, i32x4_splat(0x7c00), is_nan(value));
        let fits = i32x4_lt(magnitude, i32x4_splat(0x4780_0000));
        let halves = narrow(v128_or(sign, v128_bitselect(finite, special, fits)));
        // SAFETY: the array has the 8 bytes written (`f16` is two bytes), and the store requires no alignment.
        unsafe { v128_store64_lane::<0>(halves, to.as_mut_ptr().cast()) }
    }
    #[inline(always)]
    fn store_bf16(self, value: v128, to: &mut [bf16]) {
        let to = four!(mut to);
        let upper = u32x4_shr(value, 16);
        let odd = v128_and(upper, i32x4_splat(1));
        let rounded = u32x4_shr(i32x4_add(value, i32x4_add(odd, i32x4_splat(0x7fff))), 16);
        let quiet = v128_or(upper, i32x4_splat(0x40));
        let bfloats = narrow(v128_bitselect(quiet, rounded, is_nan(value)));
        // SAFETY: the array has the 8 bytes written (`bf16` is two bytes), and the store requires no alignment.
        unsafe { v128_store64_lane::<0>(bfloats, to.as_mut_ptr().cast()) }
    }
    #[inline(always)]
    fn store_u8(self, value: v128, to: &mut [u8]) {
        let bytes = u8x16_shuffle::<0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12>(value, value);
        *four!(mut to) = u32x4_extract_lane::<0>(bytes).to_le_bytes();
    }
    #[inline(always)]
    fn widen_f16(self, bits: [u8; 2]) -> f32 {
        super::f16_to_f32(u16::from_le_bytes(bits))
    }
    #[inline(always)]
    fn add(self, a: v128, b: v128) -> v128 {
        f32x4_add(a, b)
    }
    #[inline(always)]
    fn sub(self, a: v128, b: v128) -> v128 {
        f32x4_sub(a, b)
    }
    #[inline(always)]
    fn mul(self, a: v128, b: v128) -> v128 {
        f32x4_mul(a, b)
    }
    #[inline(always)]
    fn div(self, a: v128, b: v128) -> v128 {
        f32x4_div(a, b)
    }
    #[inline(always)]
    fn sqrt(self, a: v128) -> v128 {
        f32x4_sqrt(a)
    }
    #[inline(always)]
    fn abs(self, a: v128) -> v128 {
        f32x4_abs(a)
    }
    #[inline(always)]
    fn negate_by_bits(self, a: v128, bits: u32, first: usize) -> v128 {
        let set = v128_and(i32x4_splat((bits >> first) as i32), i32x4(1, 2, 4, 8));
        let signs = v128_and(i32x4_ne(set, i32x4_splat(0)), i32x4_splat(i32::MIN));
        v128_xor(a, signs)
    }
    #[inline(always)]
    fn copy_sign(self, magnitude: v128, sign: v128) -> v128 {
        v128_bitselect(sign, magnitude, f32x4_splat(-0.0))
    }
    #[inline(always)]
    fn min(self, a: v128, b: v128) -> v128 {
        // `f32x4_pmin(x, y)` is `if y < x { y } else { x }`.
        f32x4_pmin(b, a)
    }
    #[inline(always)]
    fn max(self, a: v128, b: v128) -> v128 {
        // `f32x4_pmax(x, y)` is `if x < y { y } else { x }`.
        f32x4_pmax(b, a)
    }
    #[inline(always)]
    fn reduce_min(self, a: v128) -> f32 {
        let a = f32x4_pmin(a, i32x4_shuffle::<2, 3, 0, 1>(a, a));
        f32x4_extract_lane::<0>(f32x4_pmin(a, i32x4_shuffle::<1, 0, 3, 2>(a, a)))
    }
    #[inline(always)]
    fn reduce_max(self, a: v128) -> f32 {
        let a = f32x4_pmax(a, i32x4_shuffle::<2, 3, 0, 1>(a, a));
        f32x4_extract_lane::<0>(f32x4_pmax(a, i32x4_shuffle::<1, 0, 3, 2>(a, a)))
    }
    #[inline(always)]
    fn lt(self, a: v128, b: v128) -> v128 {
        f32x4_lt(a, b)
    }
    #[inline(always)]
    fn ne(self, a: v128, b: v128) -> v128 {
        f32x4_ne(a, b)
    }
    #[inline(always)]
    fn all(self, mask: v128) -> bool {
        i32x4_all_true(mask)
    }
    #[inline(always)]
    fn both(self, a: v128, b: v128) -> v128 {
        v128_and(a, b)
    }
    #[inline(always)]
    fn select(self, mask: v128, yes: v128, no: v128) -> v128 {
        v128_bitselect(yes, no, mask)
    }
    #[inline(always)]
    fn select_i(self, mask: v128, yes: v128, no: v128) -> v128 {
        v128_bitselect(yes, no, mask)
    }
    #[inline(always)]
    fn and(self, a: v128, b: v128) -> v128 {
        v128_and(a, b)
    }
    #[inline(always)]
    fn or(self, a: v128, b: v128) -> v128 {
        v128_or(a, b)
    }
    #[inline(always)]
    fn add_i(self, a: v128, b: v128) -> v128 {
        i32x4_add(a, b)
    }
    #[inline(always)]
    fn sub_i(self, a: v128, b: v128) -> v128 {
        i32x4_sub(a, b)
    }
    #[inline(always)]
    fn min_i(self, a: v128, b: v128) -> v128 {
        i32x4_min(a, b)
    }
    #[inline(always)]
    fn max_i(self, a: v128, b: v128) -> v128 {
        i32x4_max(a, b)
    }
    #[inline(always)]
    fn shl<const BITS: i32>(self, a: v128) -> v128 {
        i32x4_shl(a, BITS as u32)
    }
    #[inline(always)]
    fn shr<const BITS: i32>(self, a: v128) -> v128 {
        u32x4_shr(a, BITS as u32)
    }
    #[inline(always)]
    fn to_float(self, a: v128) -> v128 {
        f32x4_convert_i32x4(a)
    }
    #[inline(always)]
    fn bits(self, a: v128) -> v128 {
        a
    }
    #[inline(always)]
    fn as_floats(self, a: v128) -> v128 {
        a
    }
    #[inline(always)]
    fn trunc(self, a: v128) -> v128 {
        // The conversion saturates and makes NaN 0. Below the range it gives the same as x86.
        let in_range = f32x4_lt(a, f32x4_splat(2_147_483_648.0));
        v128_bitselect(i32x4_trunc_sat_f32x4(a), i32x4_splat(i32::MIN), in_range)
    }

    #[inline(always)]
    fn lookup(self, table: &[f32; 16], index: v128) -> v128 {
        // A swizzle reads 16 bytes and gives 0 for positions past them, including those that the subtraction wraps.
        let mut at = byte_places(v128_and(index, i32x4_splat(15)));
        let mut found = i32x4_splat(0);
        for quarter in table.as_chunks::<4>().0 {
            found = v128_or(found, i8x16_swizzle(self.load(quarter), at));
            at = i8x16_sub(at, i8x16_splat(16));
        }
        found
    }
    #[inline(always)]
    fn lookup4(self, table: &[f32; 4], index: v128) -> v128 {
        i8x16_swizzle(self.load(table), byte_places(v128_and(index, i32x4_splat(3))))
    }
    #[inline(always)]
    fn lookup8(self, table: &[f32; 8], index: v128) -> v128 {
        // A swizzle gives 0 for positions past its 16 bytes, including those that the subtraction wraps.
        let at = byte_places(v128_and(index, i32x4_splat(7)));
        let low = i8x16_swizzle(self.load(&table[..4]), at);
        v128_or(low, i8x16_swizzle(self.load(&table[4..]), i8x16_sub(at, i8x16_splat(16))))
    }
    #[inline(always)]
    fn mask(self, bits: u32) -> v128 {
        let one_each = i32x4(1, 2, 4, 8);
        i32x4_eq(v128_and(u32x4_splat(bits), one_each), one_each)
    }
    #[inline(always)]
    fn mask_bits(self, mask: v128) -> u32 {
        u32::from(i32x4_bitmask(mask))
    }
    #[inline(always)]
    fn two_bits(self, bits: u64) -> v128 {
        let bits = bits as u32;
        u32x4(bits, bits >> 2, bits >> 4, bits >> 6)
    }
}
