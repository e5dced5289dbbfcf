//! Sixteen lanes: AVX-512 with the extensions F, BW, VL and DQ.

use core::arch::x86_64::*;

use half::{bf16, f16};

use crate::simd::Kernel;
use crate::simd::lanes::{Shared, Simd};
use crate::simd::wide::Wide;
use crate::simd::x86::avx::{ProvesAvx, fence, stream, transpose};
use crate::simd::x86::avx2::lanes as avx2;

/// Proof that AVX-512 F, BW, VL and DQ are available, and BF16 if the constant says so. Only [`with_bf16`] and
/// [`without_bf16`] create one.
#[derive(Clone, Copy)]
pub(crate) struct Avx512<const BF16: bool>(());

impl<const BF16: bool> ProvesAvx for Avx512<BF16> {}

/// Runs a kernel with AVX-512, and with BF16 if it is available and the kernel benefits.
///
/// # Safety
/// AVX-512 F, BW, VL and DQ, AVX2 and F16C must be available.
pub(in crate::simd) unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
    if K::STORES_BF16 && rounds_to_bf16() {
        // SAFETY: BF16 has just been detected, and the caller guarantees the rest.
        unsafe { with_bf16(kernel) }
    } else if const { !K::GAINS_FROM_AVX512 } {
        #[allow(unused_unsafe, reason = "a build may take the instructions for granted")]
        // SAFETY: the caller guarantees AVX2 and F16C too.
        unsafe {
            avx2::run(kernel)
        }
    } else if const { K::COMPILED_FOR.any_vectors() } {
        // SAFETY: guaranteed by the caller.
        unsafe { without_bf16(kernel) }
    } else {
        unreachable!("a kernel that is only compiled for AVX-512 with BF16")
    }
}

/// Returns `true` if BF16 is available.
pub(in crate::simd) fn rounds_to_bf16() -> bool {
    here!("avx512bf16")
}

impl Avx512<false> {
    /// Creates the proof for tiles, which know otherwise that they are available.
    ///
    /// # Safety
    /// AVX-512 F, BW, VL and DQ must be available.
    pub(super) unsafe fn proven() -> Self {
        Avx512(())
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,f16c")]
fn without_bf16<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx512::<false>(()))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,f16c")]
fn with_bf16<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx512::<true>(()))
}

/// Implements [`Simd::shared_in`].
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,f16c")]
fn shared<S: Simd, W: Shared<S>>(s: S, work: W) -> W::Output {
    work.run(s)
}

/// Returns the first sixteen elements as an array, which bounds the loads and stores below.
macro_rules! sixteen {
    ($slice:expr) => {
        $slice.first_chunk::<16>().expect("a kernel passes sixteen or more")
    };
    (mut $slice:expr) => {
        $slice.first_chunk_mut::<16>().expect("a kernel passes sixteen or more")
    };
}

/// Stores sixteen two-byte numbers. The token proves AVX.
#[inline(always)]
fn store_halves<const BF16: bool, T: bytemuck::Pod>(_: Avx512<BF16>, to: &mut [T; 16], value: __m256i) {
    const { assert!(size_of::<T>() == 2) };
    // SAFETY: the token proves AVX; the array has the 32 bytes written, and the store requires no alignment.
    unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), value) }
}

/// Rounds to bfloats, to nearest even, without an instruction for it. A NaN must be quiet. The token proves AVX-512.
#[inline(always)]
fn rounded_by_integers<const BF16: bool>(_: Avx512<BF16>, value: __m512) -> __m256i {
    registers!({
        let bits = _mm512_castps_si512(value);
        let upper = _mm512_srli_epi32(bits, 16);
        let odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
        let up = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
        let is_number = _mm512_cmp_ps_mask::<_CMP_ORD_Q>(value, value);
        let rounded = _mm512_mask_add_epi32(bits, is_number, bits, up);
        // Takes the upper half of each lane in one instruction. Shifting and narrowing would take three.
        #[rustfmt::skip]
        let upper_halves = _mm512_set_epi16(
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1,
        );
        _mm512_castsi512_si256(_mm512_permutexvar_epi16(upper_halves, rounded))
    })
}

impl<const BF16: bool> Simd for Avx512<BF16> {
    type F = __m512;
    type I = __m512i;
    type M = __mmask16;
    type Wide = Wide<Self, 2>;
    const STREAMS: bool = true;
    const LANES: usize = 16;

    #[inline(always)]
    fn wide(self) -> Self::Wide {
        Wide(self)
    }
    #[inline(always)]
    fn shared_in<S: Simd, W: Shared<S>>(self, s: S, work: W) -> W::Output {
        #[allow(unused_unsafe, reason = "a build may take the instructions for granted")]
        // SAFETY: `self` proves AVX-512.
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
    fn splat(self, value: f32) -> __m512 {
        registers!(_mm512_set1_ps(value))
    }
    #[inline(always)]
    fn splat_i(self, value: i32) -> __m512i {
        registers!(_mm512_set1_epi32(value))
    }
    #[inline(always)]
    fn load(self, from: &[f32]) -> __m512 {
        let from = sixteen!(from);
        // SAFETY: `self` proves AVX-512; the array has the 64 bytes read, and the load requires no alignment.
        unsafe { _mm512_loadu_ps(from.as_ptr()) }
    }
    #[inline(always)]
    fn columns<const N: usize>(self, rows: &[&[f32; N]]) -> [__m512; N] {
        let (upper, lower) = sixteen!(rows).split_at(8);
        let mut columns = [self.splat(0.0); N];
        for (i, columns) in columns.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let [mut first, mut second] = [registers!([_mm256_setzero_ps(); 8]); 2];
            for (rows, square) in [(upper, &mut first), (lower, &mut second)] {
                for (vector, row) in square.iter_mut().zip(rows) {
                    let row = row[8 * i..].first_chunk::<8>().expect("N is a multiple of 8");
                    // SAFETY: `self` proves AVX; the array has the 32 bytes read, and the load requires no alignment.
                    *vector = unsafe { _mm256_loadu_ps(row.as_ptr()) };
                }
            }
            let (first, second) = (transpose(self, first), transpose(self, second));
            for (column, (first, second)) in columns.iter_mut().zip(first.into_iter().zip(second)) {
                *column = registers!(_mm512_insertf32x8::<1>(_mm512_castps256_ps512(first), second));
            }
        }
        columns
    }
    #[inline(always)]
    fn load_u8(self, from: &[u8]) -> __m512i {
        let from = sixteen!(from);
        // SAFETY: `self` proves AVX-512; the array has the 16 bytes read, and the load requires no alignment.
        unsafe { _mm512_cvtepu8_epi32(_mm_loadu_si128(from.as_ptr().cast())) }
    }
    #[inline(always)]
    fn load_i8(self, from: &[i8]) -> __m512i {
        let from = sixteen!(from);
        // SAFETY: `self` proves AVX-512; the array has the 16 bytes read, and the load requires no alignment.
        unsafe { _mm512_cvtepi8_epi32(_mm_loadu_si128(from.as_ptr().cast())) }
    }
    #[inline(always)]
    fn load_rows<'a, const N: usize>(self, first: usize, row: impl Fn(usize) -> &'a [u8; N]) -> __m512i {
        let part = |k: usize| row(first / N + k).as_slice();
        let bytes = if N == 8 {
            let half = |k: usize| i64::from_le_bytes(*part(k).first_chunk().expect("N is 8"));
            registers!(_mm_set_epi64x(half(1), half(0)))
        } else {
            let quarter = |k: usize| i32::from_le_bytes(*part(k).first_chunk().expect("N is 4"));
            registers!(_mm_setr_epi32(quarter(0), quarter(1), quarter(2), quarter(3)))
        };
        registers!(_mm512_cvtepu8_epi32(bytes))
    }
    #[inline(always)]
    fn load_f16(self, from: &[[u8; 2]]) -> __m512 {
        let from = sixteen!(from);
        // SAFETY: `self` proves AVX-512; the array has the 32 bytes read, and the load requires no alignment.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.as_ptr().cast())) }
    }
    #[inline(always)]
    fn load_bf16(self, from: &[[u8; 2]]) -> __m512 {
        let from = sixteen!(from);
        // SAFETY: `self` proves AVX-512; the array has the 32 bytes read, and the load requires no alignment.
        let wide = unsafe { _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.as_ptr().cast())) };
        registers!(_mm512_castsi512_ps(_mm512_slli_epi32(wide, 16)))
    }
    #[inline(always)]
    fn load_f32_bytes(self, from: &[[u8; 4]]) -> __m512 {
        let from = sixteen!(from);
        // SAFETY: `self` proves AVX-512; the array has the 64 bytes read, and the load requires no alignment.
        unsafe { _mm512_loadu_ps(from.as_ptr().cast()) }
    }
    #[inline(always)]
    fn store(self, value: __m512, to: &mut [f32]) {
        let to = sixteen!(mut to);
        // SAFETY: `self` proves AVX-512; the array has the 64 bytes written, and the store requires no alignment.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), value) }
    }
    #[inline(always)]
    fn store_f16(self, value: __m512, to: &mut [f16]) {
        let to = sixteen!(mut to);
        let halves = registers!(_mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(value));
        store_halves(self, to, halves);
    }
    #[inline(always)]
    fn store_bf16(self, value: __m512, to: &mut [bf16]) {
        let to = sixteen!(mut to);
        let bfloats = if BF16 {
            // SAFETY: `self` proves BF16 if the constant says so; both types are 32 bytes of sixteen bfloats.
            unsafe { core::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(value)) }
        } else {
            rounded_by_integers(self, value)
        };
        store_halves(self, to, bfloats);
    }
    #[inline(always)]
    fn store_bf16_any(self, value: __m512, to: &mut [bf16]) {
        let to = sixteen!(mut to);
        store_halves(self, to, rounded_by_integers(self, self.quiet(value)));
    }
    #[inline(always)]
    fn store_u8(self, value: __m512i, to: &mut [u8]) {
        let to = sixteen!(mut to);
        let bytes = registers!(_mm512_cvtepi32_epi8(value));
        // SAFETY: `self` proves AVX; the array has the 16 bytes written, and the store requires no alignment.
        unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), bytes) }
    }
    #[inline(always)]
    fn narrow_f16(self, value: f32) -> [u8; 2] {
        let half = registers!(_mm_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(_mm_set_ss(value)));
        let bits = registers!(_mm_extract_epi16(half, 0)) as u16;
        // The hardware keeps a NaN's payload.
        if value.is_nan() { (bits & 0x8000 | 0x7e00).to_le_bytes() } else { bits.to_le_bytes() }
    }
    #[inline(always)]
    fn splat_f16(self, bits: [u8; 2]) -> __m512 {
        // Broadcast first: a scalar would be inserted into a register, and would wait for its old value.
        registers!(_mm512_cvtph_ps(_mm256_set1_epi16(i16::from_le_bytes(bits))))
    }
    #[inline(always)]
    fn widen_f16(self, bits: [u8; 2]) -> f32 {
        registers!(_mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(u16::from_le_bytes(bits))))))
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        registers!(_mm512_add_ps(a, b))
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        registers!(_mm512_sub_ps(a, b))
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        registers!(_mm512_mul_ps(a, b))
    }
    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        registers!(_mm512_div_ps(a, b))
    }
    #[inline(always)]
    fn sqrt(self, a: __m512) -> __m512 {
        registers!(_mm512_sqrt_ps(a))
    }
    #[inline(always)]
    fn abs(self, a: __m512) -> __m512 {
        registers!(_mm512_andnot_ps(_mm512_set1_ps(-0.0), a))
    }
    #[inline(always)]
    fn negate_by_bits(self, a: __m512, bits: u32, first: usize) -> __m512 {
        registers!(_mm512_mask_xor_ps(a, (bits >> first) as __mmask16, a, _mm512_set1_ps(-0.0)))
    }
    #[inline(always)]
    fn copy_sign(self, magnitude: __m512, sign: __m512) -> __m512 {
        registers!(_mm512_or_ps(magnitude, _mm512_and_ps(_mm512_set1_ps(-0.0), sign)))
    }
    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        registers!(_mm512_min_ps(a, b))
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        registers!(_mm512_max_ps(a, b))
    }
    #[inline(always)]
    fn reduce_min(self, a: __m512) -> f32 {
        registers!(_mm512_reduce_min_ps(a))
    }
    #[inline(always)]
    fn reduce_max(self, a: __m512) -> f32 {
        registers!(_mm512_reduce_max_ps(a))
    }
    #[inline(always)]
    fn lt(self, a: __m512, b: __m512) -> __mmask16 {
        registers!(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b))
    }
    #[inline(always)]
    fn ne(self, a: __m512, b: __m512) -> __mmask16 {
        registers!(_mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(a, b))
    }
    #[inline(always)]
    fn all(self, mask: __mmask16) -> bool {
        mask == 0xffff
    }
    #[inline(always)]
    fn both(self, a: __mmask16, b: __mmask16) -> __mmask16 {
        a & b
    }
    #[inline(always)]
    fn select(self, mask: __mmask16, yes: __m512, no: __m512) -> __m512 {
        registers!(_mm512_mask_blend_ps(mask, no, yes))
    }
    #[inline(always)]
    fn select_i(self, mask: __mmask16, yes: __m512i, no: __m512i) -> __m512i {
        registers!(_mm512_mask_blend_epi32(mask, no, yes))
    }
    #[inline(always)]
    fn and(self, a: __m512i, b: __m512i) -> __m512i {
        registers!(_mm512_and_si512(a, b))
    }
    #[inline(always)]
    fn or(self, a: __m512i, b: __m512i) -> __m512i {
        registers!(_mm512_or_si512(a, b))
    }
    #[inline(always)]
    fn add_i(self, a: __m512i, b: __m512i) -> __m512i {
        registers!(_mm512_add_epi32(a, b))
    }
    #[inline(always)]
    fn sub_i(self, a: __m512i, b: __m512i) -> __m512i {
        registers!(_mm512_sub_epi32(a, b))
    }
    #[inline(always)]
    fn min_i(self, a: __m512i, b: __m512i) -> __m512i {
        registers!(_mm512_min_epi32(a, b))
    }
    #[inline(always)]
    fn max_i(self, a: __m512i, b: __m512i) -> __m512i {
        registers!(_mm512_max_epi32(a, b))
    }
    #[inline(always)]
    fn shl<const BITS: i32>(self, a: __m512i) -> __m512i {
        registers!(_mm512_sll_epi32(a, _mm_cvtsi32_si128(BITS)))
    }
    #[inline(always)]
    fn shr<const BITS: i32>(self, a: __m512i) -> __m512i {
        registers!(_mm512_srl_epi32(a, _mm_cvtsi32_si128(BITS)))
    }
    #[inline(always)]
    fn to_float(self, a: __m512i) -> __m512 {
        registers!(_mm512_cvtepi32_ps(a))
    }
    #[inline(always)]
    fn bits(self, a: __m512) -> __m512i {
        registers!(_mm512_castps_si512(a))
    }
    #[inline(always)]
    fn as_floats(self, a: __m512i) -> __m512 {
        registers!(_mm512_castsi512_ps(a))
    }
    #[inline(always)]
    fn trunc(self, a: __m512) -> __m512i {
        registers!(_mm512_cvttps_epi32(a))
    }

    #[inline(always)]
    fn lookup(self, table: &[f32; 16], index: __m512i) -> __m512 {
        // The permutation uses the four lowest bits.
        let table = self.load(table);
        registers!(_mm512_permutexvar_ps(index, table))
    }
    #[inline(always)]
    fn lookup4(self, table: &[f32; 4], index: __m512i) -> __m512 {
        // SAFETY: SSE is part of x86-64; the array has the 16 bytes read, and the load requires no alignment.
        let table = unsafe { _mm_loadu_ps(table.as_ptr()) };
        registers!(_mm512_permutevar_ps(_mm512_broadcast_f32x4(table), index))
    }
    #[inline(always)]
    fn lookup8(self, table: &[f32; 8], index: __m512i) -> __m512 {
        // SAFETY: `self` proves AVX; the array has the 32 bytes read, and the load requires no alignment.
        let table = unsafe { _mm256_loadu_ps(table.as_ptr()) };
        // The permutation uses the four lowest bits, of which the highest selects between two copies of the table.
        registers!(_mm512_permutexvar_ps(index, _mm512_broadcast_f32x8(table)))
    }
    #[inline(always)]
    fn mask(self, bits: u32) -> __mmask16 {
        bits as __mmask16
    }
    #[inline(always)]
    fn mask_bits(self, mask: __mmask16) -> u32 {
        u32::from(mask)
    }
    #[inline(always)]
    fn two_bits(self, bits: u64) -> __m512i {
        registers!({
            let shifts = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
            _mm512_srlv_epi32(_mm512_set1_epi32(bits as i32), shifts)
        })
    }
}
