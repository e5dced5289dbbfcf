//! [`Bytes`] with AVX2, and with an instruction for sums of products if there is one.

use core::arch::x86_64::*;

use super::lanes::Avx2;
use super::products::{AVX512_VNNI, Avx2Bytes, WITHOUT_DOT};
use crate::simd::bytes::{Aligned, Bytes, Range};

/// Returns the bits that each byte keeps when all bytes are shifted as parts of wider numbers.
const fn kept(bits: i32, left: bool) -> i8 {
    (if left { 255u8 << bits } else { 255u8 >> bits }) as i8
}

/// Returns the positions of the two bytes of number `number`, as a two-byte number.
const fn two_bytes(number: usize) -> i16 {
    ((2 * number) | ((2 * number + 1) << 8)) as i16
}

/// Sets byte `i` of each half to `of[control[i]]`. It is written in assembly because compilers use two instructions for it
/// if they know the control.
#[inline]
#[target_feature(enable = "avx2")]
fn shuffle(of: __m256i, control: __m256i) -> __m256i {
    let shuffled;
    // SAFETY: the function is compiled for AVX2, and the instruction accesses only these registers.
    unsafe {
        core::arch::asm!(
            "vpshufb {}, {}, {}",
            lateout(ymm_reg) shuffled,
            in(ymm_reg) of,
            in(ymm_reg) control,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    shuffled
}

/// Returns the same bytes. Hides their origin from the compiler, so that it does not replace the instructions that use them.
#[inline]
#[target_feature(enable = "avx2")]
fn hidden(mut bytes: __m256i) -> __m256i {
    // SAFETY: the assembly is empty.
    unsafe {
        core::arch::asm!("/* {0} */", inlateout(ymm_reg) bytes, options(pure, nomem, nostack, preserves_flags));
    }
    bytes
}

impl<const DOT: u8> Bytes for Avx2Bytes<DOT> {
    type S = Avx2;
    type B = __m256i;
    const ADDED_TO_SIGNED: i32 = if DOT == WITHOUT_DOT { 0 } else { 128 };

    #[inline(always)]
    fn lanes(self) -> Avx2 {
        self.0
    }
    #[inline(always)]
    fn load_b(self, from: &[u8; 32]) -> __m256i {
        self.load_32(from)
    }
    #[inline(always)]
    fn store_b(self, value: __m256i, to: &mut [u8; 32]) {
        // SAFETY: the token proves AVX; the array has the 32 bytes written, and the store requires no alignment.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), value) }
    }
    #[inline(always)]
    fn splat_b(self, value: u8) -> __m256i {
        registers!(_mm256_set1_epi8(value as i8))
    }
    #[inline(always)]
    fn twice(self, from: &[u8; 16]) -> __m256i {
        let from = self.load_16(from);
        registers!(_mm256_broadcastsi128_si256(from))
    }
    #[inline(always)]
    fn nibbles(self, from: &[u8; 16]) -> __m256i {
        let low = self.load_16(from);
        registers!({
            let both = _mm256_set_m128i(_mm_srli_epi16::<4>(low), low);
            _mm256_and_si256(both, _mm256_set1_epi8(15))
        })
    }
    #[inline(always)]
    fn rows_b<'a, const N: usize>(self, row: impl Fn(usize) -> &'a [u8; N]) -> __m256i {
        const { assert!(N == 4 || N == 8) };
        if DOT == AVX512_VNNI {
            return self.rows_by_masks(row);
        }
        if N == 8 {
            let eight = |k| i64::from_le_bytes(*row(k).first_chunk().expect("a row has eight bytes"));
            let [a, b, c, d] = [eight(0), eight(1), eight(2), eight(3)];
            registers!(_mm256_set_epi64x(d, c, b, a))
        } else {
            let four = |k| i32::from_le_bytes(*row(k).first_chunk().expect("a row has four bytes"));
            let [a, b, c, d] = [four(0), four(1), four(2), four(3)];
            let [e, f, g, h] = [four(4), four(5), four(6), four(7)];
            registers!(_mm256_set_epi32(h, g, f, e, d, c, b, a))
        }
    }
    #[inline(always)]
    fn bits_b(self, bits: u32) -> __m256i {
        registers!({
            // Byte i selects byte i / 8 of the bits, and bit i % 8 in it.
            #[rustfmt::skip]
            let which = _mm256_setr_epi8(
                0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1,
                2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3,
            );
            let its = _mm256_set1_epi64x(0x8040_2010_0804_0201u64 as i64);
            let spread = _mm256_shuffle_epi8(_mm256_set1_epi32(bits as i32), which);
            _mm256_cmpeq_epi8(_mm256_and_si256(spread, its), its)
        })
    }
    #[inline(always)]
    fn and_b(self, a: __m256i, b: __m256i) -> __m256i {
        registers!(_mm256_and_si256(a, b))
    }
    #[inline(always)]
    fn or_b(self, a: __m256i, b: __m256i) -> __m256i {
        registers!(_mm256_or_si256(a, b))
    }
    #[inline(always)]
    fn xor_b(self, a: __m256i, b: __m256i) -> __m256i {
        registers!(_mm256_xor_si256(a, b))
    }
    #[inline(always)]
    fn add_b(self, a: __m256i, b: __m256i) -> __m256i {
        registers!(_mm256_add_epi8(a, b))
    }
    #[inline(always)]
    fn sub_b(self, a: __m256i, b: __m256i) -> __m256i {
        registers!(_mm256_sub_epi8(a, b))
    }
    #[inline(always)]
    fn shr_b<const BITS: i32>(self, a: __m256i) -> __m256i {
        registers!(_mm256_and_si256(_mm256_srli_epi16::<BITS>(a), _mm256_set1_epi8(kept(BITS, false))))
    }
    #[inline(always)]
    fn shl_b<const BITS: i32>(self, a: __m256i) -> __m256i {
        registers!(_mm256_and_si256(_mm256_slli_epi16::<BITS>(a), _mm256_set1_epi8(kept(BITS, true))))
    }
    #[inline(always)]
    fn lookup_b(self, table: &[u8; 16], index: __m256i) -> __m256i {
        let table = self.twice(table);
        registers!(_mm256_shuffle_epi8(table, index))
    }
    #[inline(always)]
    fn second_words(self, of: &[[[u8; 4]; 2]; 8]) -> __m256i {
        let halves: &[[u8; 32]; 2] = bytemuck::cast_ref(of);
        let [a, b] = [self.load_32(&halves[0]), self.load_32(&halves[1])];
        registers!({
            let second = _mm256_shuffle_ps::<0b11_01_11_01>(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b));
            _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_castps_si256(second))
        })
    }
    #[inline(always)]
    fn second_bytes(self, of: &[[u8; 2]; 32]) -> __m256i {
        let halves: &[[u8; 32]; 2] = bytemuck::cast_ref(of);
        let [a, b] = [self.load_32(&halves[0]), self.load_32(&halves[1])];
        registers!({
            let second = _mm256_packus_epi16(_mm256_srli_epi16::<8>(a), _mm256_srli_epi16::<8>(b));
            _mm256_permute4x64_epi64::<0b11_01_10_00>(second)
        })
    }
    #[inline(always)]
    fn many_rows<const N: usize, const ROWS: usize, const VECTORS: usize>(
        self,
        table: &[[u8; N]; ROWS],
        low: &[u8; 32],
        high: __m256i,
    ) -> [__m256i; VECTORS] {
        const { assert!(ROWS.is_power_of_two() && ROWS <= 1 << 15 && VECTORS == N) };
        let low = self.load_32(low);
        let [first, second] = registers!({
            let low = _mm256_permute4x64_epi64::<0b11_01_10_00>(low);
            let high = _mm256_permute4x64_epi64::<0b11_01_10_00>(high);
            let mask = _mm256_set1_epi16((ROWS - 1) as i16);
            [
                _mm256_and_si256(_mm256_unpacklo_epi8(low, high), mask),
                _mm256_and_si256(_mm256_unpackhi_epi8(low, high), mask),
            ]
        });
        let mut indices = Aligned([0u16; 32]);
        let halves: &mut [[u8; 32]; 2] = bytemuck::cast_mut(&mut indices.0);
        self.store_b(first, &mut halves[0]);
        self.store_b(second, &mut halves[1]);
        // SAFETY: the assembly is empty. A compiler that knew the memory's contents would take the vectors apart, which costs
        // more than reading.
        unsafe {
            core::arch::asm!("/* {0} */", in(reg) indices.0.as_mut_ptr(), options(nostack, preserves_flags));
        }
        let mut vectors = [registers!(_mm256_setzero_si256()); VECTORS];
        for (v, vector) in vectors.iter_mut().enumerate() {
            *vector = self.rows_b(|k| {
                let index = usize::from(indices.0[v * (32 / VECTORS) + k]);
                // SAFETY: each index was masked above, so it is below the number of rows.
                unsafe { table.get_unchecked(index) }
            });
        }
        vectors
    }
    #[inline(always)]
    fn spread_nibbles(self, from: &[u8; 16]) -> __m256i {
        let from = self.load_16(from);
        registers!({
            let wide = _mm256_cvtepu8_epi16(from);
            _mm256_and_si256(_mm256_or_si256(wide, _mm256_slli_epi16::<4>(wide)), _mm256_set1_epi8(15))
        })
    }
    #[inline(always)]
    fn times_3(self, a: __m256i) -> __m256i {
        // In 16-bit vectors, the compiler would multiply by 9 or 27.
        let twice = registers!(_mm256_add_epi8(a, a));
        registers!(hidden(_mm256_add_epi8(twice, a)))
    }
    #[inline(always)]
    fn shl_within_b<const BITS: i32>(self, a: __m256i) -> __m256i {
        registers!(_mm256_slli_epi16::<BITS>(a))
    }
    #[inline(always)]
    fn negate_b(self, a: __m256i, bits: u32) -> __m256i {
        if DOT == AVX512_VNNI {
            return registers!(_mm256_mask_sub_epi8(a, bits, _mm256_setzero_si256(), a));
        }
        registers!({
            // The signs of ones and minus ones.
            let ones = _mm256_set1_epi8(1);
            _mm256_sign_epi8(a, _mm256_or_si256(self.bits_b(bits), ones))
        })
    }
    #[inline(always)]
    fn add_where_b(self, a: __m256i, bits: u32, value: u8) -> __m256i {
        let value = self.splat_b(value);
        if DOT == AVX512_VNNI {
            return registers!(_mm256_mask_add_epi8(a, bits, a, value));
        }
        registers!(_mm256_add_epi8(a, _mm256_and_si256(self.bits_b(bits), value)))
    }
    #[inline(always)]
    fn times_3_high(self, a: __m256i) -> __m256i {
        registers!({
            // 3 * 86 is the first product of 256 or more, and 3 * 171 the first of 512.
            let reaches = |bound: u8| _mm256_cmpgt_epi8(a, _mm256_set1_epi8((bound ^ 128) as i8 - 1));
            _mm256_sub_epi8(_mm256_sub_epi8(_mm256_setzero_si256(), reaches(86)), reaches(171))
        })
    }

    #[inline(always)]
    fn sums(self, range: Range, x: &[__m256i; 8], y: &[[u8; 32]; 8]) -> [__m256i; 2] {
        registers!({
            let mut dots = [_mm256_setzero_si256(); 8];
            let [first, second] = if DOT == WITHOUT_DOT && range == Range::Four {
                // Eight sums of two products are at most 16 * 15 * 127, which fits in 16 bits.
                for u in 0..8 {
                    dots[u] = self.pairs(range, x[u], self.load_32(&y[u]));
                }
                let [low, high] = self.short_sums_within_halves(&dots);
                return [low, high];
            } else {
                for u in 0..8 {
                    dots[u] = self.dot(dots[u], range, x[u], self.load_32(&y[u]));
                }
                self.sums_within_halves(&dots)
            };
            [
                _mm256_permute2x128_si256::<0x20>(first, second),
                _mm256_permute2x128_si256::<0x31>(first, second),
            ]
        })
    }
    #[inline(always)]
    fn totals(self, of: &[__m256i; 8]) -> __m256i {
        let [first, second] = self.sums_within_halves(of);
        registers!(_mm256_add_epi32(
            _mm256_permute2x128_si256::<0x20>(first, second),
            _mm256_permute2x128_si256::<0x31>(first, second)
        ))
    }
    #[inline(always)]
    fn bytes_of(self, lanes: __m256i) -> __m256i {
        lanes
    }
    #[inline(always)]
    fn swap_middle(self, a: __m256i) -> __m256i {
        registers!(_mm256_permute4x64_epi64::<0b11_01_10_00>(a))
    }
    #[inline(always)]
    fn widen_eight(self, bytes: u64) -> __m256i {
        registers!(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(bytes as i64)))
    }
    #[inline(always)]
    fn halves_of_units(self, bytes: [u64; 2]) -> __m256i {
        registers!({
            let both = _mm_set_epi64x(bytes[1] as i64, bytes[0] as i64);
            let even = _mm_and_si128(both, _mm_set1_epi16(255));
            _mm256_set_m128i(_mm_srli_epi16::<8>(both), even)
        })
    }
    #[inline(always)]
    fn both_of_units(self, bytes: u64) -> __m256i {
        registers!(_mm256_cvtepu8_epi16(_mm_set1_epi64x(bytes as i64)))
    }
    #[inline(always)]
    fn splat_short(self, value: i16) -> __m256i {
        registers!(_mm256_set1_epi16(value))
    }
    #[inline(always)]
    fn sub_shorts(self, a: __m256i, b: __m256i) -> __m256i {
        registers!(_mm256_sub_epi16(a, b))
    }
    #[inline(always)]
    fn mul_shorts(self, a: __m256i, b: __m256i) -> __m256i {
        registers!(_mm256_mullo_epi16(a, b))
    }
    #[inline(always)]
    fn dot_shorts(self, a: __m256i, b: __m256i) -> __m256i {
        registers!(_mm256_madd_epi16(a, b))
    }
    #[inline(always)]
    fn scaled_sums(self, range: Range, x: &[__m256i; 8], y: &[[u8; 32]; 8], scales: __m256i) -> __m256i {
        registers!({
            let mut sums = _mm256_setzero_si256();
            if DOT == WITHOUT_DOT {
                for u in 0..8 {
                    // Broadcasts this unit's scale within each half.
                    let scale = shuffle(scales, _mm256_set1_epi16(two_bytes(u)));
                    let pairs = self.pairs(range, x[u], self.load_32(&y[u]));
                    sums = _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, scale));
                }
                return sums;
            }
            let mut dots = [_mm256_setzero_si256(); 8];
            for u in 0..8 {
                dots[u] = self.dot(dots[u], range, x[u], self.load_32(&y[u]));
            }
            if let Range::Four | Range::Six = range {
                // Sums of four products fit in 16 bits. Each half has two units side by side, and their scales.
                for u in [0, 2, 4, 6] {
                    let (first, second) = (i64::from(two_bytes(u)), i64::from(two_bytes(u + 1)));
                    let [first, second] = [first * 0x0001_0001_0001_0001, second * 0x0001_0001_0001_0001];
                    let scale = shuffle(scales, _mm256_set_epi64x(second, first, second, first));
                    let fours = _mm256_packs_epi32(dots[u], dots[u + 1]);
                    sums = _mm256_add_epi32(sums, _mm256_madd_epi16(fours, scale));
                }
                return sums;
            }
            let [first, second] = self.sums_within_halves(&dots);
            let low = _mm256_permute2x128_si256::<0x20>(first, second);
            let high = _mm256_permute2x128_si256::<0x31>(first, second);
            let low_scales = _mm256_cvtepi16_epi32(_mm256_castsi256_si128(scales));
            let high_scales = _mm256_cvtepi16_epi32(_mm256_extracti128_si256::<1>(scales));
            _mm256_add_epi32(_mm256_mullo_epi32(low, low_scales), _mm256_mullo_epi32(high, high_scales))
        })
    }
    #[inline(always)]
    fn sums_of_all(self, range: Range, x: &[__m256i; 8], y: &[[u8; 32]; 8]) -> __m256i {
        registers!({
            if DOT == WITHOUT_DOT && range == Range::Four {
                // Eight sums of two products fit in 16 bits.
                let mut shorts = _mm256_setzero_si256();
                for u in 0..8 {
                    shorts = _mm256_add_epi16(shorts, self.pairs(range, x[u], self.load_32(&y[u])));
                }
                return _mm256_madd_epi16(shorts, _mm256_set1_epi16(1));
            }
            let mut sums = [_mm256_setzero_si256(); 2];
            for u in 0..8 {
                sums[u % 2] = self.dot(sums[u % 2], range, x[u], self.load_32(&y[u]));
            }
            _mm256_add_epi32(sums[0], sums[1])
        })
    }
    #[inline(always)]
    fn gather_f16(self, lane: impl Fn(usize) -> [u8; 2]) -> __m256 {
        let half = |j| i16::from_le_bytes(lane(j));
        let [a, b, c, d] = [half(0), half(1), half(2), half(3)];
        let [e, f, g, h] = [half(4), half(5), half(6), half(7)];
        registers!(_mm256_cvtph_ps(_mm_set_epi16(h, g, f, e, d, c, b, a)))
    }
}
