//! Eight lanes: AVX2 and F16C.

use std::arch::x86_64::*;

use half::{bf16, f16};

use super::lanes::Simd;
use super::wide::Wide;

/// Proof that AVX2 and F16C are there: only [`run`] makes one.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

/// Runs a kernel with AVX2 and F16C.
///
/// # Safety
/// The machine must have both.
#[target_feature(enable = "avx2,f16c")]
pub(super) fn run<K: super::Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx2(()))
}

/// Intrinsics that touch registers only.
macro_rules! registers {
    ($body:expr) => {
        // SAFETY: the instructions are there, since `self` is an `Avx2`, which only `run` makes; they touch no
        // memory.
        unsafe { $body }
    };
}

/// The first eight elements as an array, which the loads and stores below stay inside.
macro_rules! eight {
    ($slice:expr) => {
        $slice.first_chunk::<8>().expect("a kernel passes eight or more")
    };
    (mut $slice:expr) => {
        $slice.first_chunk_mut::<8>().expect("a kernel passes eight or more")
    };
}

impl Simd for Avx2 {
    type F = __m256;
    type I = __m256i;
    type M = __m256;
    type Wide = Wide<Avx2, 2>;
    const LANES: usize = 8;

    #[inline(always)]
    fn wide(self) -> Self::Wide {
        Wide(self)
    }

    #[inline(always)]
    fn splat(self, value: f32) -> __m256 {
        registers!(_mm256_set1_ps(value))
    }
    #[inline(always)]
    fn splat_i(self, value: i32) -> __m256i {
        registers!(_mm256_set1_epi32(value))
    }
    #[inline(always)]
    fn load(self, from: &[f32]) -> __m256 {
        let from = eight!(from);
        // SAFETY: `self` proves AVX; the array has the 32 bytes read, and the load asks for no alignment.
        unsafe { _mm256_loadu_ps(from.as_ptr()) }
    }
    #[inline(always)]
    fn load_u8(self, from: &[u8]) -> __m256i {
        let from = eight!(from);
        // SAFETY: `self` proves AVX2; the array has the 8 bytes read, and the load asks for no alignment.
        unsafe { _mm256_cvtepu8_epi32(_mm_loadl_epi64(from.as_ptr().cast())) }
    }
    #[inline(always)]
    fn load_i8(self, from: &[i8]) -> __m256i {
        let from = eight!(from);
        // SAFETY: `self` proves AVX2; the array has the 8 bytes read, and the load asks for no alignment.
        unsafe { _mm256_cvtepi8_epi32(_mm_loadl_epi64(from.as_ptr().cast())) }
    }
    #[inline(always)]
    fn load_f16(self, from: &[[u8; 2]]) -> __m256 {
        let from = eight!(from);
        // SAFETY: `self` proves F16C; the array has the 16 bytes read, and the load asks for no alignment.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.as_ptr().cast())) }
    }
    #[inline(always)]
    fn load_bf16(self, from: &[[u8; 2]]) -> __m256 {
        let from = eight!(from);
        // SAFETY: `self` proves AVX2; the array has the 16 bytes read, and the load asks for no alignment.
        let wide = unsafe { _mm256_cvtepu16_epi32(_mm_loadu_si128(from.as_ptr().cast())) };
        registers!(_mm256_castsi256_ps(_mm256_slli_epi32(wide, 16)))
    }
    #[inline(always)]
    fn load_f32_bytes(self, from: &[[u8; 4]]) -> __m256 {
        let from = eight!(from);
        // SAFETY: `self` proves AVX; the array has the 32 bytes read, and the load asks for no alignment.
        unsafe { _mm256_loadu_ps(from.as_ptr().cast()) }
    }
    #[inline(always)]
    fn store(self, value: __m256, to: &mut [f32]) {
        let to = eight!(mut to);
        // SAFETY: `self` proves AVX; the array has the 32 bytes written, and the store asks for no alignment.
        unsafe { _mm256_storeu_ps(to.as_mut_ptr(), value) }
    }
    #[inline(always)]
    fn store_f16(self, value: __m256, to: &mut [f16]) {
        let to = eight!(mut to);
        let halves = registers!({
            // The hardware keeps a NaN's payload; give every NaN the one that ggml writes.
            let sign = _mm256_and_ps(value, _mm256_set1_ps(-0.0));
            let nan = _mm256_or_ps(sign, _mm256_set1_ps(f32::from_bits(0x7fc0_0000)));
            let is_nan = _mm256_cmp_ps::<_CMP_UNORD_Q>(value, value);
            _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(_mm256_blendv_ps(value, nan, is_nan))
        });
        // SAFETY: `self` proves AVX; the array has the 16 bytes written (`f16` is two bytes), unaligned store.
        unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), halves) }
    }
    #[inline(always)]
    fn store_bf16(self, value: __m256, to: &mut [bf16]) {
        let to = eight!(mut to);
        let bfloats = registers!({
            let bits = _mm256_castps_si256(value);
            let upper = _mm256_srli_epi32(bits, 16);
            let odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
            let rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
            let quiet = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
            let is_nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(value, value));
            let wide = _mm256_blendv_epi8(_mm256_srli_epi32(rounded, 16), quiet, is_nan);
            _mm_packus_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1))
        });
        // SAFETY: `self` proves AVX; the array has the 16 bytes written (`bf16` is two bytes), unaligned store.
        unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), bfloats) }
    }
    #[inline(always)]
    fn store_u8(self, value: __m256i, to: &mut [u8]) {
        let to = eight!(mut to);
        let bytes = registers!({
            // The lowest byte of each lane to the front of its half, then the second half behind the first.
            let pick = _mm256_set1_epi64x(0x0c08_0400);
            let picked = _mm256_shuffle_epi8(value, pick);
            _mm_unpacklo_epi32(_mm256_castsi256_si128(picked), _mm256_extracti128_si256(picked, 1))
        });
        // SAFETY: `self` proves AVX; the array has the 8 bytes written, and the store asks for no alignment.
        unsafe { _mm_storel_epi64(to.as_mut_ptr().cast(), bytes) }
    }
    #[inline(always)]
    fn widen_f16(self, bits: [u8; 2]) -> f32 {
        registers!(_mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(u16::from_le_bytes(bits))))))
    }
    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        registers!(_mm256_add_ps(a, b))
    }
    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        registers!(_mm256_sub_ps(a, b))
    }
    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        registers!(_mm256_mul_ps(a, b))
    }
    #[inline(always)]
    fn div(self, a: __m256, b: __m256) -> __m256 {
        registers!(_mm256_div_ps(a, b))
    }
    #[inline(always)]
    fn sqrt(self, a: __m256) -> __m256 {
        registers!(_mm256_sqrt_ps(a))
    }
    #[inline(always)]
    fn abs(self, a: __m256) -> __m256 {
        registers!(_mm256_andnot_ps(_mm256_set1_ps(-0.0), a))
    }
    #[inline(always)]
    fn copy_sign(self, magnitude: __m256, sign: __m256) -> __m256 {
        registers!(_mm256_or_ps(magnitude, _mm256_and_ps(_mm256_set1_ps(-0.0), sign)))
    }
    #[inline(always)]
    fn min(self, a: __m256, b: __m256) -> __m256 {
        registers!(_mm256_min_ps(a, b))
    }
    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        registers!(_mm256_max_ps(a, b))
    }
    #[inline(always)]
    fn reduce_min(self, a: __m256) -> f32 {
        registers!({
            let a = _mm_min_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
            let a = _mm_min_ps(a, _mm_movehl_ps(a, a));
            _mm_cvtss_f32(_mm_min_ss(a, _mm_movehdup_ps(a)))
        })
    }
    #[inline(always)]
    fn reduce_max(self, a: __m256) -> f32 {
        registers!({
            let a = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
            let a = _mm_max_ps(a, _mm_movehl_ps(a, a));
            _mm_cvtss_f32(_mm_max_ss(a, _mm_movehdup_ps(a)))
        })
    }
    #[inline(always)]
    fn lt(self, a: __m256, b: __m256) -> __m256 {
        registers!(_mm256_cmp_ps::<_CMP_LT_OQ>(a, b))
    }
    #[inline(always)]
    fn ne(self, a: __m256, b: __m256) -> __m256 {
        registers!(_mm256_cmp_ps::<_CMP_NEQ_UQ>(a, b))
    }
    #[inline(always)]
    fn all(self, mask: __m256) -> bool {
        registers!(_mm256_movemask_ps(mask)) == 0xff
    }
    #[inline(always)]
    fn both(self, a: __m256, b: __m256) -> __m256 {
        registers!(_mm256_and_ps(a, b))
    }
    #[inline(always)]
    fn select(self, mask: __m256, yes: __m256, no: __m256) -> __m256 {
        registers!(_mm256_blendv_ps(no, yes, mask))
    }
    #[inline(always)]
    fn select_i(self, mask: __m256, yes: __m256i, no: __m256i) -> __m256i {
        registers!(_mm256_blendv_epi8(no, yes, _mm256_castps_si256(mask)))
    }
    #[inline(always)]
    fn and(self, a: __m256i, b: __m256i) -> __m256i {
        registers!(_mm256_and_si256(a, b))
    }
    #[inline(always)]
    fn or(self, a: __m256i, b: __m256i) -> __m256i {
        registers!(_mm256_or_si256(a, b))
    }
    #[inline(always)]
    fn add_i(self, a: __m256i, b: __m256i) -> __m256i {
        registers!(_mm256_add_epi32(a, b))
    }
    #[inline(always)]
    fn sub_i(self, a: __m256i, b: __m256i) -> __m256i {
        registers!(_mm256_sub_epi32(a, b))
    }
    #[inline(always)]
    fn min_i(self, a: __m256i, b: __m256i) -> __m256i {
        registers!(_mm256_min_epi32(a, b))
    }
    #[inline(always)]
    fn max_i(self, a: __m256i, b: __m256i) -> __m256i {
        registers!(_mm256_max_epi32(a, b))
    }
    #[inline(always)]
    fn shl<const BITS: i32>(self, a: __m256i) -> __m256i {
        registers!(_mm256_slli_epi32::<BITS>(a))
    }
    #[inline(always)]
    fn shr<const BITS: i32>(self, a: __m256i) -> __m256i {
        registers!(_mm256_srli_epi32::<BITS>(a))
    }
    #[inline(always)]
    fn to_float(self, a: __m256i) -> __m256 {
        registers!(_mm256_cvtepi32_ps(a))
    }
    #[inline(always)]
    fn bits(self, a: __m256) -> __m256i {
        registers!(_mm256_castps_si256(a))
    }
    #[inline(always)]
    fn trunc(self, a: __m256) -> __m256i {
        registers!(_mm256_cvttps_epi32(a))
    }
}
