//! [`Avx2Bytes`], the proof for bytes and tiles, and the sums of products that both use.

use core::arch::x86_64::*;

use super::lanes::Avx2;
use crate::simd::bytes::{ByteKernel, Range};
use crate::simd::tiles::TileKernel;

/// No instruction multiplies and sums four bytes, so three are used.
pub(in crate::simd) const WITHOUT_DOT: u8 = 0;
/// AVX-VNNI has one.
pub(in crate::simd) const AVX_VNNI: u8 = 1;
/// AVX-512 VNNI and VL have one.
pub(in crate::simd) const AVX512_VNNI: u8 = 2;

/// Proof that AVX2 and F16C are available, and what the constant says. Only [`run`] and the similar functions create one.
#[derive(Clone, Copy)]
pub(crate) struct Avx2Bytes<const DOT: u8>(pub(super) Avx2);

/// Runs a kernel with AVX2 and F16C.
#[target_feature(enable = "avx2,f16c")]
pub(in crate::simd) fn run<K: ByteKernel>(kernel: K) -> K::Output {
    // SAFETY: the function is compiled for AVX2 and F16C, and its caller guarantees that they are available.
    kernel.run(Avx2Bytes::<WITHOUT_DOT>(unsafe { Avx2::proven() }))
}

/// Runs a kernel with AVX2, F16C and AVX-VNNI.
#[target_feature(enable = "avx2,f16c,avxvnni")]
pub(in crate::simd) fn run_with_avx_vnni<K: ByteKernel>(kernel: K) -> K::Output {
    // SAFETY: the function is compiled for AVX2 and F16C, and its caller guarantees that they are available.
    kernel.run(Avx2Bytes::<AVX_VNNI>(unsafe { Avx2::proven() }))
}

/// Runs a kernel with AVX2, F16C, AVX-512 F, BW, VL and VNNI.
#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
pub(in crate::simd) fn run_with_avx512_vnni<K: ByteKernel>(kernel: K) -> K::Output {
    // SAFETY: the function is compiled for AVX2 and F16C, and its caller guarantees that they are available.
    kernel.run(Avx2Bytes::<AVX512_VNNI>(unsafe { Avx2::proven() }))
}

/// Runs a kernel over tiles with AVX2 and F16C.
#[target_feature(enable = "avx2,f16c")]
pub(in crate::simd) fn run_tiles<K: TileKernel>(kernel: K) {
    // SAFETY: the function is compiled for AVX2 and F16C, and its caller guarantees that they are available.
    kernel.run(Avx2Bytes::<WITHOUT_DOT>(unsafe { Avx2::proven() }))
}

/// Runs a kernel over tiles with AVX2, F16C and AVX-VNNI.
#[target_feature(enable = "avx2,f16c,avxvnni")]
pub(in crate::simd) fn run_tiles_with_avx_vnni<K: TileKernel>(kernel: K) {
    // SAFETY: the function is compiled for AVX2 and F16C, and its caller guarantees that they are available.
    kernel.run(Avx2Bytes::<AVX_VNNI>(unsafe { Avx2::proven() }))
}

impl<const DOT: u8> Avx2Bytes<DOT> {
    /// Adds the sum of four products to each lane.
    #[inline(always)]
    pub(super) fn dot(self, sums: __m256i, range: Range, x: __m256i, y: __m256i) -> __m256i {
        registers!({
            match DOT {
                AVX_VNNI => _mm256_dpbusd_avx_epi32(sums, x, y),
                AVX512_VNNI => _mm256_dpbusd_epi32(sums, x, y),
                _ => {
                    let pairs = self.pairs(range, x, y);
                    _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
                }
            }
        })
    }

    /// Returns sums of two products in 16 bits each, which do not overflow: at most 2 * 128 * 127.
    #[inline(always)]
    pub(super) fn pairs(self, range: Range, x: __m256i, y: __m256i) -> __m256i {
        registers!({
            if range == Range::Signed {
                _mm256_maddubs_epi16(_mm256_abs_epi8(x), _mm256_sign_epi8(y, x))
            } else {
                _mm256_maddubs_epi16(x, y)
            }
        })
    }

    /// Loads consecutive rows of a table. Each is put in its place by a mask, which more of the processor's ports can
    /// execute than an insertion.
    #[inline(always)]
    pub(super) fn rows_by_masks<'a, const N: usize>(self, row: impl Fn(usize) -> &'a [u8; N]) -> __m256i {
        registers!({
            if N == 8 {
                let eight = |k: usize| {
                    _mm_cvtsi64_si128(i64::from_le_bytes(
                        *row(k).first_chunk().expect("a row has eight bytes"),
                    ))
                };
                let mut rows = _mm256_broadcastq_epi64(eight(0));
                rows = _mm256_mask_broadcastq_epi64(rows, 2, eight(1));
                rows = _mm256_mask_broadcastq_epi64(rows, 4, eight(2));
                _mm256_mask_broadcastq_epi64(rows, 8, eight(3))
            } else {
                let four = |k: usize| {
                    _mm_cvtsi32_si128(i32::from_le_bytes(
                        *row(k).first_chunk().expect("a row has four bytes"),
                    ))
                };
                let mut rows = _mm256_broadcastd_epi32(four(0));
                rows = _mm256_mask_broadcastd_epi32(rows, 2, four(1));
                rows = _mm256_mask_broadcastd_epi32(rows, 4, four(2));
                rows = _mm256_mask_broadcastd_epi32(rows, 8, four(3));
                rows = _mm256_mask_broadcastd_epi32(rows, 16, four(4));
                rows = _mm256_mask_broadcastd_epi32(rows, 32, four(5));
                rows = _mm256_mask_broadcastd_epi32(rows, 64, four(6));
                _mm256_mask_broadcastd_epi32(rows, 128, four(7))
            }
        })
    }

    /// Returns the same four bytes everywhere.
    #[inline(always)]
    pub(super) fn splat_four(self, value: [u8; 4]) -> __m256i {
        registers!(_mm256_set1_epi32(i32::from_le_bytes(value)))
    }

    #[inline(always)]
    pub(super) fn load_32(self, from: &[u8; 32]) -> __m256i {
        // SAFETY: the token proves AVX; the array has the 32 bytes read, and the load requires no alignment.
        unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
    }

    #[inline(always)]
    pub(super) fn load_16(self, from: &[u8; 16]) -> __m128i {
        // SAFETY: SSE2 is part of x86-64; the array has the 16 bytes read, and the load requires no alignment.
        unsafe { _mm_loadu_si128(from.as_ptr().cast()) }
    }

    /// Adds two lanes of each half of `a` and of `b`. Used on four vectors for a tree of sums.
    #[inline(always)]
    fn neighbours(self, a: __m256i, b: __m256i) -> __m256i {
        registers!(_mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b)))
    }

    /// Returns the sums within halves of eight vectors: each half has those of vectors 0 to 3 in the first, and of 4 to
    /// 7 in the second.
    #[inline(always)]
    pub(super) fn sums_within_halves(self, of: &[__m256i; 8]) -> [__m256i; 2] {
        registers!({
            // a0+a2, b0+b2, a1+a3, b1+b3 in each half.
            let (ab, cd) = (self.neighbours(of[0], of[1]), self.neighbours(of[2], of[3]));
            let (ef, gh) = (self.neighbours(of[4], of[5]), self.neighbours(of[6], of[7]));
            let fours =
                |ab, cd| _mm256_add_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));
            [fours(ab, cd), fours(ef, gh)]
        })
    }

    /// Like [`sums_within_halves`](Self::sums_within_halves), for 16-bit numbers whose sums fit in 16 bits.
    #[inline(always)]
    pub(super) fn short_sums_within_halves(self, of: &[__m256i; 8]) -> [__m256i; 2] {
        registers!({
            let twos = |a, b| _mm256_add_epi16(_mm256_unpacklo_epi16(a, b), _mm256_unpackhi_epi16(a, b));
            let fours = |a, b| _mm256_add_epi16(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
            let eights = |a, b| _mm256_add_epi16(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
            let all = eights(
                fours(twos(of[0], of[1]), twos(of[2], of[3])),
                fours(twos(of[4], of[5]), twos(of[6], of[7])),
            );
            [
                _mm256_cvtepi16_epi32(_mm256_castsi256_si128(all)),
                _mm256_cvtepi16_epi32(_mm256_extracti128_si256::<1>(all)),
            ]
        })
    }
}
