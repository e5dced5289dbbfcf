//! [`Bytes`] with NEON, and with its instruction for dot products if the processor has it.

use core::arch::aarch64::*;
use core::arch::asm;

use super::lanes::Neon;
use crate::simd::bytes::{ByteKernel, Bytes, Range};
use crate::simd::lanes::Simd;
use crate::simd::wide::Wide;

/// Proof that NEON is available, and its dot products if the constant says so. Only [`run`] and [`run_with_dots`] create one.
#[derive(Clone, Copy)]
pub(crate) struct NeonBytes<const DOTS: bool>(Wide<Neon, 2>);

/// Runs a kernel with NEON.
#[target_feature(enable = "neon")]
pub(super) fn run<K: ByteKernel>(kernel: K) -> K::Output {
    // SAFETY: the function is compiled for NEON, and its caller guarantees that it is available.
    kernel.run(NeonBytes::<false>(Wide(unsafe { Neon::proven() })))
}

/// Runs a kernel with NEON and its dot products.
#[target_feature(enable = "neon,dotprod")]
pub(super) fn run_with_dots<K: ByteKernel>(kernel: K) -> K::Output {
    // SAFETY: the function is compiled for NEON, and its caller guarantees that it is available.
    kernel.run(NeonBytes::<true>(Wide(unsafe { Neon::proven() })))
}

/// Applies the same operation to both halves.
macro_rules! both {
    ($a:ident $(, $b:ident)? => $half:expr) => {{
        let [first, second] = $a;
        $(let [other_first, other_second] = $b;)?
        [
            { let $a = first; $(let $b = other_first;)? registers!($half) },
            { let $a = second; $(let $b = other_second;)? registers!($half) },
        ]
    }};
}

impl<const DOTS: bool> NeonBytes<DOTS> {
    /// Returns sums of four products of signed bytes.
    #[inline(always)]
    fn dot(self, x: uint8x16_t, y: uint8x16_t) -> int32x4_t {
        if DOTS {
            let mut sums = registers!(vdupq_n_s32(0));
            // SAFETY: the token proves that the instruction is available; it uses only registers.
            unsafe {
                asm!(
                    "sdot {sums:v}.4s, {x:v}.16b, {y:v}.16b",
                    sums = inout(vreg) sums,
                    x = in(vreg) x,
                    y = in(vreg) y,
                    options(pure, nomem, nostack, preserves_flags),
                );
            }
            return sums;
        }
        registers!({
            let (x, y) = (vreinterpretq_s8_u8(x), vreinterpretq_s8_u8(y));
            let low = vmull_s8(vget_low_s8(x), vget_low_s8(y));
            let high = vmull_high_s8(x, y);
            vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high))
        })
    }

    /// Sets lane `u` to the sum of the lanes of vector `u`.
    #[inline(always)]
    fn tree(self, of: &[int32x4_t; 8]) -> [int32x4_t; 2] {
        registers!([
            vpaddq_s32(vpaddq_s32(of[0], of[1]), vpaddq_s32(of[2], of[3])),
            vpaddq_s32(vpaddq_s32(of[4], of[5]), vpaddq_s32(of[6], of[7])),
        ])
    }

    #[inline(always)]
    fn load_16(self, from: &[u8; 16]) -> uint8x16_t {
        // SAFETY: the token proves NEON; the array has the 16 bytes read, and the load requires no alignment.
        unsafe { vld1q_u8(from.as_ptr()) }
    }

    #[inline(always)]
    fn shorts(self, bytes: uint8x16_t) -> int16x8_t {
        registers!(vreinterpretq_s16_u8(bytes))
    }
}

impl<const DOTS: bool> Bytes for NeonBytes<DOTS> {
    type S = Wide<Neon, 2>;
    type B = [uint8x16_t; 2];
    const ADDED_TO_SIGNED: i32 = 0;

    #[inline(always)]
    fn lanes(self) -> Wide<Neon, 2> {
        self.0
    }
    #[inline(always)]
    fn load_b(self, from: &[u8; 32]) -> [uint8x16_t; 2] {
        let halves = from.as_chunks::<16>().0;
        [self.load_16(&halves[0]), self.load_16(&halves[1])]
    }
    #[inline(always)]
    fn store_b(self, value: [uint8x16_t; 2], to: &mut [u8; 32]) {
        for (value, to) in value.into_iter().zip(to.as_chunks_mut::<16>().0) {
            // SAFETY: the token proves NEON; the array has the 16 bytes written, and the store requires no alignment.
            unsafe { vst1q_u8(to.as_mut_ptr(), value) }
        }
    }
    #[inline(always)]
    fn splat_b(self, value: u8) -> [uint8x16_t; 2] {
        registers!([vdupq_n_u8(value); 2])
    }
    #[inline(always)]
    fn twice(self, from: &[u8; 16]) -> [uint8x16_t; 2] {
        [self.load_16(from); 2]
    }
    #[inline(always)]
    fn nibbles(self, from: &[u8; 16]) -> [uint8x16_t; 2] {
        let from = self.load_16(from);
        registers!([vandq_u8(from, vdupq_n_u8(15)), vshrq_n_u8::<4>(from)])
    }
    #[inline(always)]
    fn rows_b<'a, const N: usize>(self, row: impl Fn(usize) -> &'a [u8; N]) -> [uint8x16_t; 2] {
        const { assert!(N == 4 || N == 8) };
        let mut eights = [0u64; 4];
        for (k, eight) in eights.iter_mut().enumerate() {
            *eight = if N == 8 {
                u64::from_le_bytes(*row(k).first_chunk().expect("a row has eight bytes"))
            } else {
                let four = |k| u32::from_le_bytes(*row(k).first_chunk().expect("a row has four bytes"));
                u64::from(four(2 * k)) | u64::from(four(2 * k + 1)) << 32
            };
        }
        let [a, b, c, d] = eights;
        registers!([vcombine_u8(vcreate_u8(a), vcreate_u8(b)), vcombine_u8(vcreate_u8(c), vcreate_u8(d))])
    }
    #[inline(always)]
    fn bits_b(self, bits: u32) -> [uint8x16_t; 2] {
        let [a, b, c, d] = bits.to_le_bytes();
        registers!({
            let its = vreinterpretq_u8_u64(vdupq_n_u64(0x8040_2010_0804_0201));
            [
                vtstq_u8(vcombine_u8(vdup_n_u8(a), vdup_n_u8(b)), its),
                vtstq_u8(vcombine_u8(vdup_n_u8(c), vdup_n_u8(d)), its),
            ]
        })
    }
    #[inline(always)]
    fn and_b(self, a: [uint8x16_t; 2], b: [uint8x16_t; 2]) -> [uint8x16_t; 2] {
        both!(a, b => vandq_u8(a, b))
    }
    #[inline(always)]
    fn or_b(self, a: [uint8x16_t; 2], b: [uint8x16_t; 2]) -> [uint8x16_t; 2] {
        both!(a, b => vorrq_u8(a, b))
    }
    #[inline(always)]
    fn xor_b(self, a: [uint8x16_t; 2], b: [uint8x16_t; 2]) -> [uint8x16_t; 2] {
        both!(a, b => veorq_u8(a, b))
    }
    #[inline(always)]
    fn add_b(self, a: [uint8x16_t; 2], b: [uint8x16_t; 2]) -> [uint8x16_t; 2] {
        both!(a, b => vaddq_u8(a, b))
    }
    #[inline(always)]
    fn sub_b(self, a: [uint8x16_t; 2], b: [uint8x16_t; 2]) -> [uint8x16_t; 2] {
        both!(a, b => vsubq_u8(a, b))
    }
    #[inline(always)]
    fn shr_b<const BITS: i32>(self, a: [uint8x16_t; 2]) -> [uint8x16_t; 2] {
        both!(a => vshrq_n_u8::<BITS>(a))
    }
    #[inline(always)]
    fn shl_b<const BITS: i32>(self, a: [uint8x16_t; 2]) -> [uint8x16_t; 2] {
        both!(a => vshlq_n_u8::<BITS>(a))
    }
    #[inline(always)]
    fn lookup_b(self, table: &[u8; 16], index: [uint8x16_t; 2]) -> [uint8x16_t; 2] {
        let table = self.load_16(table);
        both!(index => vqtbl1q_u8(table, index))
    }
    #[inline(always)]
    fn bytes_of(self, lanes: [int32x4_t; 2]) -> [uint8x16_t; 2] {
        both!(lanes => vreinterpretq_u8_s32(lanes))
    }
    #[inline(always)]
    fn swap_middle(self, a: [uint8x16_t; 2]) -> [uint8x16_t; 2] {
        let [a, b] = a;
        registers!([
            vcombine_u8(vget_low_u8(a), vget_low_u8(b)),
            vcombine_u8(vget_high_u8(a), vget_high_u8(b))
        ])
    }
    #[inline(always)]
    fn times_3_high(self, a: [uint8x16_t; 2]) -> [uint8x16_t; 2] {
        both!(a => {
            // 3 * 86 is the first product of 256 or more, and 3 * 171 the first of 512.
            let a = vreinterpretq_s8_u8(a);
            let reaches = |bound: u8| vcgeq_s8(a, vdupq_n_s8((bound ^ 128) as i8));
            vsubq_u8(vdupq_n_u8(0), vaddq_u8(reaches(86), reaches(171)))
        })
    }

    #[inline(always)]
    fn sums(self, _: Range, x: &[[uint8x16_t; 2]; 8], y: &[[u8; 32]; 8]) -> [[int32x4_t; 2]; 2] {
        let [mut low, mut high] = registers!([[vdupq_n_s32(0); 8]; 2]);
        for u in 0..8 {
            let [y_low, y_high] = self.load_b(&y[u]);
            low[u] = self.dot(x[u][0], y_low);
            high[u] = self.dot(x[u][1], y_high);
        }
        [self.tree(&low), self.tree(&high)]
    }
    #[inline(always)]
    fn totals(self, of: &[[int32x4_t; 2]; 8]) -> [int32x4_t; 2] {
        let mut sums = registers!([vdupq_n_s32(0); 8]);
        for (sum, [a, b]) in sums.iter_mut().zip(of) {
            *sum = registers!(vaddq_s32(*a, *b));
        }
        self.tree(&sums)
    }
    #[inline(always)]
    fn widen_eight(self, bytes: u64) -> [int32x4_t; 2] {
        registers!({
            let shorts = vmovl_u8(vcreate_u8(bytes));
            [
                vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(shorts))),
                vreinterpretq_s32_u32(vmovl_high_u16(shorts)),
            ]
        })
    }
    #[inline(always)]
    fn halves_of_units(self, bytes: [u64; 2]) -> [uint8x16_t; 2] {
        registers!({
            let both = vreinterpretq_u16_u8(vcombine_u8(vcreate_u8(bytes[0]), vcreate_u8(bytes[1])));
            let (even, odd) = (vandq_u16(both, vdupq_n_u16(255)), vshrq_n_u16::<8>(both));
            [vreinterpretq_u8_u16(even), vreinterpretq_u8_u16(odd)]
        })
    }
    #[inline(always)]
    fn both_of_units(self, bytes: u64) -> [uint8x16_t; 2] {
        registers!([vreinterpretq_u8_u16(vmovl_u8(vcreate_u8(bytes))); 2])
    }
    #[inline(always)]
    fn splat_short(self, value: i16) -> [uint8x16_t; 2] {
        registers!([vreinterpretq_u8_s16(vdupq_n_s16(value)); 2])
    }
    #[inline(always)]
    fn sub_shorts(self, a: [uint8x16_t; 2], b: [uint8x16_t; 2]) -> [uint8x16_t; 2] {
        both!(a, b => vreinterpretq_u8_s16(vsubq_s16(self.shorts(a), self.shorts(b))))
    }
    #[inline(always)]
    fn mul_shorts(self, a: [uint8x16_t; 2], b: [uint8x16_t; 2]) -> [uint8x16_t; 2] {
        both!(a, b => vreinterpretq_u8_s16(vmulq_s16(self.shorts(a), self.shorts(b))))
    }
    #[inline(always)]
    fn dot_shorts(self, a: [uint8x16_t; 2], b: [uint8x16_t; 2]) -> [int32x4_t; 2] {
        both!(a, b => {
            let (a, b) = (self.shorts(a), self.shorts(b));
            vpaddq_s32(vmull_s16(vget_low_s16(a), vget_low_s16(b)), vmull_high_s16(a, b))
        })
    }
    #[inline(always)]
    fn scaled_sums(
        self,
        range: Range,
        x: &[[uint8x16_t; 2]; 8],
        y: &[[u8; 32]; 8],
        scales: [uint8x16_t; 2],
    ) -> [int32x4_t; 2] {
        let [low, high] = self.sums(range, x, y);
        let [low_scales, high_scales] = both!(scales => vreinterpretq_s16_u8(scales));
        registers!([
            vmlaq_s32(
                vmulq_s32(low[0], vmovl_s16(vget_low_s16(low_scales))),
                high[0],
                vmovl_s16(vget_low_s16(high_scales))
            ),
            vmlaq_s32(vmulq_s32(low[1], vmovl_high_s16(low_scales)), high[1], vmovl_high_s16(high_scales)),
        ])
    }
    #[inline(always)]
    fn gather_f16(self, lane: impl Fn(usize) -> [u8; 2]) -> [float32x4_t; 2] {
        let half = |j| u64::from(u16::from_le_bytes(lane(j)));
        let four = |j| half(j) | half(j + 1) << 16 | half(j + 2) << 32 | half(j + 3) << 48;
        let halves: [[u8; 2]; 8] = bytemuck::cast([four(0).to_le_bytes(), four(4).to_le_bytes()]);
        self.0.load_f16(&halves)
    }
}
