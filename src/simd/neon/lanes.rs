//! Four lanes: NEON, which every 64-bit Arm processor has. Little-endian only.

use core::arch::aarch64::*;
use core::arch::asm;

use half::{bf16, f16};

use crate::simd::Kernel;
use crate::simd::lanes::{Shared, Simd};
use crate::simd::wide::Wide;

/// Proof that NEON is available. Only [`run`] creates one.
#[derive(Clone, Copy)]
pub(crate) struct Neon(());

/// Runs a kernel with NEON.
///
/// # Safety
/// The machine must have NEON.
#[target_feature(enable = "neon")]
pub(in crate::simd) fn run<K: Kernel>(kernel: K) -> K::Output {
    if const { K::COMPILED_FOR.any_vectors() } {
        kernel.run(Neon(()))
    } else {
        unreachable!("a kernel that is not compiled for these lanes")
    }
}

impl Neon {
    /// Creates the proof for bytes, which know otherwise that NEON is available.
    ///
    /// # Safety
    /// NEON must be available.
    pub(super) unsafe fn proven() -> Self {
        Neon(())
    }
}

/// Implements [`Simd::shared_in`].
#[inline(never)]
#[target_feature(enable = "neon")]
fn shared<S: Simd, W: Shared<S>>(s: S, work: W) -> W::Output {
    work.run(s)
}

/// No instruction here rounds to `bf16`.
pub(in crate::simd) fn rounds_to_bf16() -> bool {
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

const fn lanes_of(lanes: [i32; 4]) -> int32x4_t {
    // SAFETY: both are 16 bytes, and all bit patterns are valid.
    unsafe { core::mem::transmute(lanes) }
}

const ONE_BIT_EACH: uint32x4_t = {
    // SAFETY: both are 16 bytes, and all bit patterns are valid.
    unsafe { core::mem::transmute([1u32, 2, 4, 8]) }
};

/// Returns the positions of each float's four bytes in a table, for lanes that number its floats (below 64). The token
/// proves NEON.
#[inline(always)]
fn byte_places(_: Neon, index: int32x4_t) -> uint8x16_t {
    registers!({
        let first = vmulq_n_s32(index, 0x0404_0404);
        vreinterpretq_u8_s32(vaddq_s32(first, vdupq_n_s32(0x0302_0100)))
    })
}

impl Simd for Neon {
    type F = float32x4_t;
    type I = int32x4_t;
    type M = uint32x4_t;
    type Wide = Wide<Neon, 4>;
    const LANES: usize = 4;

    #[inline(always)]
    fn wide(self) -> Self::Wide {
        Wide(self)
    }
    #[inline(always)]
    fn shared_in<S: Simd, W: Shared<S>>(self, s: S, work: W) -> W::Output {
        #[allow(unused_unsafe, reason = "a build may take the instructions for granted")]
        // SAFETY: `self` proves NEON.
        unsafe {
            shared(s, work)
        }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> float32x4_t {
        registers!(vdupq_n_f32(value))
    }
    #[inline(always)]
    fn splat_i(self, value: i32) -> int32x4_t {
        registers!(vdupq_n_s32(value))
    }
    #[inline(always)]
    fn load(self, from: &[f32]) -> float32x4_t {
        let from = four!(from);
        // SAFETY: `self` proves NEON; the array has the 16 bytes read, and the load requires only an element's
        // alignment.
        unsafe { vld1q_f32(from.as_ptr()) }
    }
    #[inline(always)]
    fn load_u8(self, from: &[u8]) -> int32x4_t {
        let bytes = u32::from_le_bytes(*four!(from));
        registers!({
            let wide = vmovl_u8(vcreate_u8(u64::from(bytes)));
            vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(wide)))
        })
    }
    #[inline(always)]
    fn load_i8(self, from: &[i8]) -> int32x4_t {
        let bytes = u32::from_le_bytes(four!(from).map(|byte| byte as u8));
        registers!({
            let wide = vmovl_s8(vcreate_s8(u64::from(bytes)));
            vmovl_s16(vget_low_s16(wide))
        })
    }
    #[inline(always)]
    fn load_f16(self, from: &[[u8; 2]]) -> float32x4_t {
        let halves = u64::from_le_bytes(
            *four!(from).as_flattened().first_chunk().expect("four halves have eight bytes"),
        );
        let wide: float32x4_t;
        // SAFETY: `self` proves NEON, which includes this instruction; it accesses only the two registers. The
        // intrinsic for it was stabilized after this crate's oldest supported compiler.
        unsafe {
            asm!(
                "fcvtl {wide:v}.4s, {halves:v}.4h",
                wide = lateout(vreg) wide,
                halves = in(vreg) vcreate_u16(halves),
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        wide
    }
    #[inline(always)]
    fn load_bf16(self, from: &[[u8; 2]]) -> float32x4_t {
        let bfloats = u64::from_le_bytes(
            *four!(from).as_flattened().first_chunk().expect("four halves have eight bytes"),
        );
        registers!(vreinterpretq_f32_u32(vshll_n_u16::<16>(vcreate_u16(bfloats))))
    }
    #[inline(always)]
    fn load_f32_bytes(self, from: &[[u8; 4]]) -> float32x4_t {
        let from = four!(from);
        // SAFETY: `self` proves NEON; the array has the 16 bytes read, and a load of bytes requires no alignment.
        unsafe { vreinterpretq_f32_u8(vld1q_u8(from.as_ptr().cast())) }
    }
    #[inline(always)]
    fn store(self, value: float32x4_t, to: &mut [f32]) {
        let to = four!(mut to);
        // SAFETY: `self` proves NEON; the array has the 16 bytes written, and the store requires only an element's
        // alignment.
        unsafe { vst1q_f32(to.as_mut_ptr(), value) }
    }
    #[inline(always)]
    fn store_f16(self, value: float32x4_t, to: &mut [f16]) {
        let to = four!(mut to);
        let halves: uint16x4_t;
        // SAFETY: `self` proves NEON, which includes this instruction; it accesses only the two registers, and rounds
        // to nearest even, which is the mode of every Rust thread.
        unsafe {
            asm!(
                "fcvtn {halves:v}.4h, {value:v}.4s",
                halves = lateout(vreg) halves,
                value = in(vreg) value,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        // SAFETY: `self` proves NEON; the array has the 8 bytes written, and `f16` is an aligned `u16`.
        unsafe { vst1_u16(to.as_mut_ptr().cast(), halves) }
    }
    #[inline(always)]
    fn store_bf16(self, value: float32x4_t, to: &mut [bf16]) {
        let to = four!(mut to);
        let bfloats = registers!({
            let bits = vreinterpretq_u32_f32(value);
            let odd = vandq_u32(vshrq_n_u32::<16>(bits), vdupq_n_u32(1));
            let rounded = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
            let quiet = vorrq_u32(bits, vdupq_n_u32(0x0040_0000));
            vshrn_n_u32::<16>(vbslq_u32(vceqq_f32(value, value), rounded, quiet))
        });
        // SAFETY: `self` proves NEON; the array has the 8 bytes written, and `bf16` is an aligned `u16`.
        unsafe { vst1_u16(to.as_mut_ptr().cast(), bfloats) }
    }
    #[inline(always)]
    fn store_u8(self, value: int32x4_t, to: &mut [u8]) {
        let bytes = registers!({
            let halves = vmovn_u32(vreinterpretq_u32_s32(value));
            let bytes = vmovn_u16(vcombine_u16(halves, halves));
            vget_lane_u32::<0>(vreinterpret_u32_u8(bytes))
        });
        *four!(mut to) = bytes.to_le_bytes();
    }
    #[inline(always)]
    fn widen_f16(self, bits: [u8; 2]) -> f32 {
        let half = f32::from_bits(u32::from(u16::from_le_bytes(bits)));
        let wide: f32;
        // SAFETY: the instruction is part of the floating point of every 64-bit Arm. It accesses only the two
        // registers, of which it reads the low 16 bits.
        unsafe {
            asm!(
                "fcvt {wide:s}, {half:h}",
                wide = lateout(vreg) wide,
                half = in(vreg) half,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        wide
    }
    #[inline(always)]
    fn add(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        registers!(vaddq_f32(a, b))
    }
    #[inline(always)]
    fn sub(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        registers!(vsubq_f32(a, b))
    }
    #[inline(always)]
    fn mul(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        registers!(vmulq_f32(a, b))
    }
    #[inline(always)]
    fn div(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        registers!(vdivq_f32(a, b))
    }
    #[inline(always)]
    fn sqrt(self, a: float32x4_t) -> float32x4_t {
        registers!(vsqrtq_f32(a))
    }
    #[inline(always)]
    fn abs(self, a: float32x4_t) -> float32x4_t {
        registers!(vabsq_f32(a))
    }
    #[inline(always)]
    fn negate_by_bits(self, a: float32x4_t, bits: u32, first: usize) -> float32x4_t {
        // Moves each lane's bit to the position of a float's sign.
        let up = 31 - first as i64;
        let pair = |up: i64| (up as u64) | ((up - 1) as u64) << 32;
        registers!({
            let shifts =
                vreinterpretq_s32_u64(vcombine_u64(vcreate_u64(pair(up)), vcreate_u64(pair(up - 2))));
            let signs = vandq_u32(vshlq_u32(vdupq_n_u32(bits), shifts), vdupq_n_u32(1 << 31));
            vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(a), signs))
        })
    }
    #[inline(always)]
    fn copy_sign(self, magnitude: float32x4_t, sign: float32x4_t) -> float32x4_t {
        registers!(vbslq_f32(vdupq_n_u32(1 << 31), sign, magnitude))
    }
    // Arm's own minimum and maximum order the zeros and prefer NaN.
    #[inline(always)]
    fn min(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        registers!(vbslq_f32(vcltq_f32(a, b), a, b))
    }
    #[inline(always)]
    fn max(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        registers!(vbslq_f32(vcgtq_f32(a, b), a, b))
    }
    #[inline(always)]
    fn reduce_min(self, a: float32x4_t) -> f32 {
        registers!(vminvq_f32(a))
    }
    #[inline(always)]
    fn reduce_max(self, a: float32x4_t) -> f32 {
        registers!(vmaxvq_f32(a))
    }
    #[inline(always)]
    fn lt(self, a: float32x4_t, b: float32x4_t) -> uint32x4_t {
        registers!(vcltq_f32(a, b))
    }
    #[inline(always)]
    fn ne(self, a: float32x4_t, b: float32x4_t) -> uint32x4_t {
        registers!(vmvnq_u32(vceqq_f32(a, b)))
    }
    #[inline(always)]
    fn all(self, mask: uint32x4_t) -> bool {
        registers!(vminvq_u32(mask)) != 0
    }
    #[inline(always)]
    fn both(self, a: uint32x4_t, b: uint32x4_t) -> uint32x4_t {
        registers!(vandq_u32(a, b))
    }
    #[inline(always)]
    fn select(self, mask: uint32x4_t, yes: float32x4_t, no: float32x4_t) -> float32x4_t {
        registers!(vbslq_f32(mask, yes, no))
    }
    #[inline(always)]
    fn select_i(self, mask: uint32x4_t, yes: int32x4_t, no: int32x4_t) -> int32x4_t {
        registers!(vbslq_s32(mask, yes, no))
    }
    #[inline(always)]
    fn and(self, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        registers!(vandq_s32(a, b))
    }
    #[inline(always)]
    fn or(self, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        registers!(vorrq_s32(a, b))
    }
    #[inline(always)]
    fn add_i(self, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        registers!(vaddq_s32(a, b))
    }
    #[inline(always)]
    fn sub_i(self, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        registers!(vsubq_s32(a, b))
    }
    #[inline(always)]
    fn min_i(self, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        registers!(vminq_s32(a, b))
    }
    #[inline(always)]
    fn max_i(self, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        registers!(vmaxq_s32(a, b))
    }
    #[inline(always)]
    fn shl<const BITS: i32>(self, a: int32x4_t) -> int32x4_t {
        registers!(vshlq_n_s32::<BITS>(a))
    }
    #[inline(always)]
    fn shr<const BITS: i32>(self, a: int32x4_t) -> int32x4_t {
        // The intrinsic that takes BITS as a constant does not accept 0. In this one a negative shift is to the right.
        registers!(vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(a), vdupq_n_s32(-BITS))))
    }
    #[inline(always)]
    fn to_float(self, a: int32x4_t) -> float32x4_t {
        registers!(vcvtq_f32_s32(a))
    }
    #[inline(always)]
    fn bits(self, a: float32x4_t) -> int32x4_t {
        registers!(vreinterpretq_s32_f32(a))
    }
    #[inline(always)]
    fn as_floats(self, a: int32x4_t) -> float32x4_t {
        registers!(vreinterpretq_f32_s32(a))
    }
    #[inline(always)]
    fn trunc(self, a: float32x4_t) -> int32x4_t {
        registers!({
            // The conversion saturates and makes NaN 0. Below the range it gives the same as x86.
            let in_range = vcltq_f32(a, vdupq_n_f32(2_147_483_648.0));
            vbslq_s32(in_range, vcvtq_s32_f32(a), vdupq_n_s32(i32::MIN))
        })
    }

    #[inline(always)]
    fn lookup(self, table: &[f32; 16], index: int32x4_t) -> float32x4_t {
        let quarters = table.as_chunks::<4>().0;
        let bytes = registers!(uint8x16x4_t(
            vreinterpretq_u8_f32(self.load(&quarters[0])),
            vreinterpretq_u8_f32(self.load(&quarters[1])),
            vreinterpretq_u8_f32(self.load(&quarters[2])),
            vreinterpretq_u8_f32(self.load(&quarters[3])),
        ));
        let at = byte_places(self, self.and(index, self.splat_i(15)));
        registers!(vreinterpretq_f32_u8(vqtbl4q_u8(bytes, at)))
    }
    #[inline(always)]
    fn lookup4(self, table: &[f32; 4], index: int32x4_t) -> float32x4_t {
        let at = byte_places(self, self.and(index, self.splat_i(3)));
        let table = self.load(table);
        registers!(vreinterpretq_f32_u8(vqtbl1q_u8(vreinterpretq_u8_f32(table), at)))
    }
    #[inline(always)]
    fn lookup8(self, table: &[f32; 8], index: int32x4_t) -> float32x4_t {
        let at = byte_places(self, self.and(index, self.splat_i(7)));
        let (low, high) = (self.load(&table[..4]), self.load(&table[4..]));
        registers!({
            let bytes = uint8x16x2_t(vreinterpretq_u8_f32(low), vreinterpretq_u8_f32(high));
            vreinterpretq_f32_u8(vqtbl2q_u8(bytes, at))
        })
    }
    #[inline(always)]
    fn mask(self, bits: u32) -> uint32x4_t {
        registers!(vtstq_u32(vdupq_n_u32(bits), ONE_BIT_EACH))
    }
    #[inline(always)]
    fn mask_bits(self, mask: uint32x4_t) -> u32 {
        registers!(vaddvq_u32(vandq_u32(mask, ONE_BIT_EACH)))
    }
    #[inline(always)]
    fn two_bits(self, bits: u64) -> int32x4_t {
        // A negative left shift is a right shift.
        const SHIFTS: int32x4_t = lanes_of([0, -2, -4, -6]);
        registers!(vreinterpretq_s32_u32(vshlq_u32(vdupq_n_u32(bits as u32), SHIFTS)))
    }
}
