//! Eight lanes: AVX2 and F16C.

use core::arch::x86_64::*;

use half::{bf16, f16};

use crate::simd::Kernel;
use crate::simd::lanes::{Shared, Simd};
use crate::simd::wide::Wide;
use crate::simd::x86::avx::{ProvesAvx, fence, stream, transpose};

/// Proof that AVX2 and F16C are available. Only [`run`] creates one.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

/// Runs a kernel with AVX2 and F16C.
#[target_feature(enable = "avx2,f16c")]
pub(in crate::simd) fn run<K: Kernel>(kernel: K) -> K::Output {
    if const { !K::COMPILED_FOR.any_vectors() } {
        unreachable!("a kernel that is not compiled for AVX2")
    } else if K::WRITES_LINES {
        kernel.run(Wide::<_, 2>(Avx2(())))
    } else {
        kernel.run(Avx2(()))
    }
}

impl Avx2 {
    /// Creates the proof for bytes and tiles, which know otherwise that they are available.
    ///
    /// # Safety
    /// AVX2 and F16C must be available.
    pub(in crate::simd::x86) unsafe fn proven() -> Self {
        Avx2(())
    }
}

/// Implements [`Simd::shared_in`].
#[inline(never)]
#[target_feature(enable = "avx2,f16c")]
fn shared<S: Simd, W: Shared<S>>(s: S, work: W) -> W::Output {
    work.run(s)
}

/// No instruction here rounds to `bf16`.
pub(in crate::simd) fn rounds_to_bf16() -> bool {
    false
}

impl ProvesAvx for Avx2 {}

/// Returns the first eight elements as an array, which bounds the loads and stores below.
macro_rules! eight {
    ($slice:expr) => {
        $slice.first_chunk::<8>().expect("a kernel passes eight or more")
    };
    (mut $slice:expr) => {
        $slice.first_chunk_mut::<8>().expect("a kernel passes eight or more")
    };
}

/// Stores eight two-byte numbers.
#[inline(always)]
fn store_half_vector<T: bytemuck::Pod>(to: &mut [T; 8], value: __m128i) {
    const { assert!(size_of::<T>() == 2) };
    // SAFETY: SSE2 is part of x86-64; the array has the 16 bytes written, and the store requires no alignment.
    unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), value) }
}

impl Simd for Avx2 {
    type F = __m256;
    type I = __m256i;
    type M = __m256;
    type Wide = Wide<Self, 2>;
    const STREAMS: bool = true;
    const LANES: usize = 8;

    #[inline(always)]
    fn wide(self) -> Self::Wide {
        Wide(self)
    }
    #[inline(always)]
    fn shared_in<S: Simd, W: Shared<S>>(self, s: S, work: W) -> W::Output {
        #[allow(unused_unsafe, reason = "a build may take the instructions for granted")]
        // SAFETY: `self` proves AVX2 and F16C.
        unsafe {
            shared(s, work)
        }
    }

    #[inline(always)]
    fn prefetch(self, bytes: &[u8]) {
        for line in bytes.chunks(64) {
            // SAFETY: a prefetch is part of x86-64 and has no effect that a program can observe.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) }
        }
    }
    #[inline(always)]
    fn stream(self, from: &[[u8; 64]], to: &mut [[u8; 64]]) {
        stream(self, from, to);
    }
    #[inline(always)]
    fn fence(self) {
        fence();
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
        // SAFETY: `self` proves AVX; the array has the 32 bytes read, and the load requires no alignment.
        unsafe { _mm256_loadu_ps(from.as_ptr()) }
    }
    #[inline(always)]
    fn columns<const N: usize>(self, rows: &[&[f32; N]]) -> [__m256; N] {
        let rows = eight!(rows);
        let mut columns = [self.splat(0.0); N];
        for (i, columns) in columns.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let mut square = *columns;
            for (vector, row) in square.iter_mut().zip(rows) {
                *vector = self.load(&row[8 * i..]);
            }
            *columns = transpose(self, square);
        }
        columns
    }
    #[inline(always)]
    fn load_u8(self, from: &[u8]) -> __m256i {
        let from = eight!(from);
        // SAFETY: `self` proves AVX2; the array has the 8 bytes read, and the load requires no alignment.
        unsafe { _mm256_cvtepu8_epi32(_mm_loadl_epi64(from.as_ptr().cast())) }
    }
    #[inline(always)]
    fn load_i8(self, from: &[i8]) -> __m256i {
        let from = eight!(from);
        // SAFETY: `self` proves AVX2; the array has the 8 bytes read, and the load requires no alignment.
        unsafe { _mm256_cvtepi8_epi32(_mm_loadl_epi64(from.as_ptr().cast())) }
    }
    #[inline(always)]
    fn load_rows<'a, const N: usize>(self, first: usize, row: impl Fn(usize) -> &'a [u8; N]) -> __m256i {
        if N == 8 {
            return self.load_u8(row(first / N).as_slice());
        }
        let quarter = |k: usize| i32::from_le_bytes(*row(first / N + k).first_chunk().expect("N is 4"));
        let bytes = registers!(_mm_insert_epi32::<1>(_mm_cvtsi32_si128(quarter(0)), quarter(1)));
        registers!(_mm256_cvtepu8_epi32(bytes))
    }
    #[inline(always)]
    fn load_f16(self, from: &[[u8; 2]]) -> __m256 {
        let from = eight!(from);
        // SAFETY: `self` proves F16C; the array has the 16 bytes read, and the load requires no alignment.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.as_ptr().cast())) }
    }
    #[inline(always)]
    fn load_bf16(self, from: &[[u8; 2]]) -> __m256 {
        let from = eight!(from);
        // SAFETY: `self` proves AVX2; the array has the 16 bytes read, and the load requires no alignment.
        let wide = unsafe { _mm256_cvtepu16_epi32(_mm_loadu_si128(from.as_ptr().cast())) };
        registers!(_mm256_castsi256_ps(_mm256_slli_epi32(wide, 16)))
    }
    #[inline(always)]
    fn load_f32_bytes(self, from: &[[u8; 4]]) -> __m256 {
        let from = eight!(from);
        // SAFETY: `self` proves AVX; the array has the 32 bytes read, and the load requires no alignment.
        unsafe { _mm256_loadu_ps(from.as_ptr().cast()) }
    }
    #[inline(always)]
    fn store(self, value: __m256, to: &mut [f32]) {
        let to = eight!(mut to);
        // SAFETY: `self` proves AVX; the array has the 32 bytes written, and the store requires no alignment.
        unsafe { _mm256_storeu_ps(to.as_mut_ptr(), value) }
    }
    #[inline(always)]
    fn store_f16(self, value: __m256, to: &mut [f16]) {
        let to = eight!(mut to);
        let halves = registers!(_mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(value));
        store_half_vector(to, halves);
    }
    #[inline(always)]
    fn store_bf16(self, value: __m256, to: &mut [bf16]) {
        let to = eight!(mut to);
        let bfloats = registers!({
            let bits = _mm256_castps_si256(value);
            let upper = _mm256_srli_epi32(bits, 16);
            let odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
            let up = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff));
            let is_nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(value, value));
            let rounded = _mm256_add_epi32(bits, _mm256_andnot_si256(is_nan, up));
            let wide = _mm256_srli_epi32(rounded, 16);
            _mm_packus_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1))
        });
        store_half_vector(to, bfloats);
    }
    #[inline(always)]
    fn store_u8(self, value: __m256i, to: &mut [u8]) {
        let to = eight!(mut to);
        let bytes = registers!({
            // Moves the lowest byte of each lane to the front of its half, then appends the second half to the first.
            let pick = _mm256_set1_epi64x(0x0c08_0400);
            let picked = _mm256_shuffle_epi8(value, pick);
            _mm_unpacklo_epi32(_mm256_castsi256_si128(picked), _mm256_extracti128_si256(picked, 1))
        });
        // SAFETY: `self` proves AVX; the array has the 8 bytes written, and the store requires no alignment.
        unsafe { _mm_storel_epi64(to.as_mut_ptr().cast(), bytes) }
    }
    #[inline(always)]
    fn narrow_f16(self, value: f32) -> [u8; 2] {
        let half = registers!(_mm_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(_mm_set_ss(value)));
        let bits = registers!(_mm_extract_epi16(half, 0)) as u16;
        // The hardware keeps a NaN's payload.
        if value.is_nan() { (bits & 0x8000 | 0x7e00).to_le_bytes() } else { bits.to_le_bytes() }
    }
    #[inline(always)]
    fn splat_f16(self, bits: [u8; 2]) -> __m256 {
        // Broadcast first: a scalar would be inserted into a register, and would wait for its old value.
        registers!(_mm256_cvtph_ps(_mm_set1_epi16(i16::from_le_bytes(bits))))
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
    fn negate_by_bits(self, a: __m256, bits: u32, first: usize) -> __m256 {
        // Moves each lane's bit to the position of a float's sign.
        let up = 31 - first as i32;
        registers!({
            let shifts = _mm256_setr_epi32(up, up - 1, up - 2, up - 3, up - 4, up - 5, up - 6, up - 7);
            let signs = _mm256_castsi256_ps(_mm256_sllv_epi32(_mm256_set1_epi32(bits as i32), shifts));
            _mm256_xor_ps(a, _mm256_and_ps(signs, _mm256_set1_ps(-0.0)))
        })
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
    fn as_floats(self, a: __m256i) -> __m256 {
        registers!(_mm256_castsi256_ps(a))
    }
    #[inline(always)]
    fn trunc(self, a: __m256) -> __m256i {
        registers!(_mm256_cvttps_epi32(a))
    }

    #[inline(always)]
    fn lookup(self, table: &[f32; 16], index: __m256i) -> __m256 {
        let (low, high) = (self.load(&table[..8]), self.load(&table[8..]));
        registers!({
            // The permutation uses the three lowest bits. The fourth, moved to the sign, selects the half.
            let from_low = _mm256_permutevar8x32_ps(low, index);
            let from_high = _mm256_permutevar8x32_ps(high, index);
            let fourth = _mm256_castsi256_ps(_mm256_slli_epi32(index, 28));
            _mm256_blendv_ps(from_low, from_high, fourth)
        })
    }
    #[inline(always)]
    fn lookup4(self, table: &[f32; 4], index: __m256i) -> __m256 {
        // SAFETY: SSE is part of x86-64; the array has the 16 bytes read, and the load requires no alignment.
        let table = unsafe { _mm_loadu_ps(table.as_ptr()) };
        registers!(_mm256_permutevar_ps(_mm256_set_m128(table, table), index))
    }
    #[inline(always)]
    fn lookup8(self, table: &[f32; 8], index: __m256i) -> __m256 {
        // The permutation uses the three lowest bits.
        registers!(_mm256_permutevar8x32_ps(self.load(table), index))
    }
    #[inline(always)]
    fn mask(self, bits: u32) -> __m256 {
        registers!({
            let one_each = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
            let found = _mm256_and_si256(_mm256_set1_epi32(bits as i32), one_each);
            _mm256_castsi256_ps(_mm256_cmpeq_epi32(found, one_each))
        })
    }
    #[inline(always)]
    fn mask_bits(self, mask: __m256) -> u32 {
        registers!(_mm256_movemask_ps(mask)) as u32
    }
    #[inline(always)]
    fn two_bits(self, bits: u64) -> __m256i {
        registers!({
            let shifts = _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14);
            _mm256_srlv_epi32(_mm256_set1_epi32(bits as i32), shifts)
        })
    }
}
