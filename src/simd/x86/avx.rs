//! What AVX2 and AVX-512 share: vectors of eight floats.

use core::arch::x86_64::*;

use crate::simd::lanes::Simd;

/// A proof of AVX, for the functions below.
pub(in crate::simd) trait ProvesAvx: Simd {}

/// Implements [`Simd::stream`]. The token proves AVX.
#[inline(always)]
pub(in crate::simd) fn stream<Proof: ProvesAvx>(_: Proof, from: &[[u8; 64]], to: &mut [[u8; 64]]) {
    if !to.as_ptr().addr().is_multiple_of(32) {
        return to.copy_from_slice(from);
    }
    for (to, from) in to.iter_mut().zip(from) {
        // SAFETY: the token proves AVX; both arrays have the 64 bytes read and written. The loads require no alignment.
        // The stores require a multiple of 32, which the address of the first is, and so that of each. `Streaming`,
        // which calls this, ends with a fence.
        unsafe {
            let from: *const __m256i = from.as_ptr().cast();
            let to: *mut __m256i = to.as_mut_ptr().cast();
            let halves = [_mm256_loadu_si256(from), _mm256_loadu_si256(from.add(1))];
            _mm256_stream_si256(to, halves[0]);
            _mm256_stream_si256(to.add(1), halves[1]);
        }
    }
}

/// Implements [`Simd::fence`].
#[inline(always)]
pub(in crate::simd) fn fence() {
    // SAFETY: SSE is part of x86-64.
    unsafe { _mm_sfence() }
}

/// Transposes eight rows of eight. The token proves AVX.
#[inline(always)]
pub(in crate::simd) fn transpose<Proof: ProvesAvx>(_: Proof, r: [__m256; 8]) -> [__m256; 8] {
    // SAFETY: the token proves AVX; the instructions access no memory.
    unsafe {
        // Interleaves pairs of rows, then fours, in each half of a register. Then joins the halves.
        let (ab, cd) = (_mm256_unpacklo_ps(r[0], r[1]), _mm256_unpacklo_ps(r[2], r[3]));
        let (ef, gh) = (_mm256_unpacklo_ps(r[4], r[5]), _mm256_unpacklo_ps(r[6], r[7]));
        let (ab_high, cd_high) = (_mm256_unpackhi_ps(r[0], r[1]), _mm256_unpackhi_ps(r[2], r[3]));
        let (ef_high, gh_high) = (_mm256_unpackhi_ps(r[4], r[5]), _mm256_unpackhi_ps(r[6], r[7]));
        let first = [
            _mm256_shuffle_ps::<0x44>(ab, cd),
            _mm256_shuffle_ps::<0xee>(ab, cd),
            _mm256_shuffle_ps::<0x44>(ab_high, cd_high),
            _mm256_shuffle_ps::<0xee>(ab_high, cd_high),
        ];
        let second = [
            _mm256_shuffle_ps::<0x44>(ef, gh),
            _mm256_shuffle_ps::<0xee>(ef, gh),
            _mm256_shuffle_ps::<0x44>(ef_high, gh_high),
            _mm256_shuffle_ps::<0xee>(ef_high, gh_high),
        ];
        [
            _mm256_permute2f128_ps::<0x20>(first[0], second[0]),
            _mm256_permute2f128_ps::<0x20>(first[1], second[1]),
            _mm256_permute2f128_ps::<0x20>(first[2], second[2]),
            _mm256_permute2f128_ps::<0x20>(first[3], second[3]),
            _mm256_permute2f128_ps::<0x31>(first[0], second[0]),
            _mm256_permute2f128_ps::<0x31>(first[1], second[1]),
            _mm256_permute2f128_ps::<0x31>(first[2], second[2]),
            _mm256_permute2f128_ps::<0x31>(first[3], second[3]),
        ]
    }
}
