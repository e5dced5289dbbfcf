//! [`Tiles`] of eight rows, with AVX2.

#![allow(clippy::needless_range_loop, reason = "several arrays are indexed alike")]

use core::arch::x86_64::*;

use super::lanes::Avx2;
use super::products::{Avx2Bytes, WITHOUT_DOT};
use crate::simd::bytes::{Bytes, Range};
use crate::simd::tiles::Tiles;
use crate::simd::x86::avx::transpose;

/// Returns 32 bytes of a panel.
#[inline(always)]
fn at(panel: &[u8], number: usize) -> &[u8; 32] {
    &panel.as_chunks().0[number]
}

impl<const DOT: u8> Tiles for Avx2Bytes<DOT> {
    type S = Avx2;
    const COLUMNS: usize = 4;
    const ADDED_TO_SIGNED: u8 = <Self as Bytes>::ADDED_TO_SIGNED as u8;

    #[inline(always)]
    fn lanes(self) -> Avx2 {
        Bytes::lanes(self)
    }

    #[inline(always)]
    fn dots<const C: usize, const N: usize>(
        self,
        range: Range,
        sums: &mut [__m256i; C],
        panel: &[u8],
        x: [&[[u8; 4]; N]; C],
    ) {
        registers!({
            if DOT == WITHOUT_DOT && range == Range::Four {
                let one = _mm256_set1_epi16(1);
                let shorts = self.short_sums(panel, x);
                for c in 0..C {
                    sums[c] = _mm256_add_epi32(sums[c], _mm256_madd_epi16(shorts[c], one));
                }
                return;
            }
            for n in 0..N {
                let w = self.load_b(at(panel, n));
                for c in 0..C {
                    sums[c] = self.dot(sums[c], range, w, self.splat_four(x[c][n]));
                }
            }
        })
    }

    #[inline(always)]
    fn scaled_dots<const C: usize, const N: usize>(
        self,
        range: Range,
        sums: &mut [__m256i; C],
        panel: &[u8],
        x: [&[[u8; 4]; N]; C],
        scale: __m256i,
    ) {
        registers!({
            if DOT != WITHOUT_DOT {
                let mut dots = [_mm256_setzero_si256(); C];
                self.dots(range, &mut dots, panel, x);
                for c in 0..C {
                    sums[c] = _mm256_add_epi32(sums[c], _mm256_mullo_epi32(dots[c], scale));
                }
                return;
            }
            // The scale becomes a factor of pairs, at no extra cost.
            let low = _mm256_and_si256(scale, _mm256_set1_epi32(0xffff));
            let scale = _mm256_or_si256(low, _mm256_slli_epi32::<16>(scale));
            if range == Range::Four {
                let shorts = self.short_sums(panel, x);
                for c in 0..C {
                    sums[c] = _mm256_add_epi32(sums[c], _mm256_madd_epi16(shorts[c], scale));
                }
                return;
            }
            for n in 0..N {
                let w = self.load_b(at(panel, n));
                for c in 0..C {
                    let pairs = self.pairs(range, w, self.splat_four(x[c][n]));
                    sums[c] = _mm256_add_epi32(sums[c], _mm256_madd_epi16(pairs, scale));
                }
            }
        })
    }

    #[inline(always)]
    fn add_pairs(self, sums: __m256i, a: __m256i, b: __m256i) -> __m256i {
        registers!(_mm256_add_epi32(sums, _mm256_madd_epi16(a, b)))
    }

    #[inline(always)]
    fn mul_i(self, a: __m256i, b: __m256i) -> __m256i {
        registers!(_mm256_mullo_epi32(a, b))
    }

    #[inline(always)]
    fn interleave<'a>(self, row: impl Fn(usize) -> &'a [u8; 32], to: &mut [u8]) {
        registers!({
            let mut rows = [_mm256_setzero_ps(); 8];
            for (r, to) in rows.iter_mut().enumerate() {
                *to = _mm256_castsi256_ps(self.load_b(row(r)));
            }
            for (four, to) in transpose(Bytes::lanes(self), rows).into_iter().zip(to.as_chunks_mut().0) {
                self.store_b(_mm256_castps_si256(four), to);
            }
        })
    }
}

impl<const DOT: u8> Avx2Bytes<DOT> {
    /// Returns sums of products in 16 bits. With four-bit weights there is room for eight pairs: 8 * 2 * 15 * 127.
    #[inline(always)]
    fn short_sums<const C: usize, const N: usize>(self, panel: &[u8], x: [&[[u8; 4]; N]; C]) -> [__m256i; C] {
        const { assert!(N <= 8) };
        registers!({
            let mut shorts = [_mm256_setzero_si256(); C];
            for n in 0..N {
                let w = self.load_b(at(panel, n));
                for c in 0..C {
                    let pairs = _mm256_maddubs_epi16(w, self.splat_four(x[c][n]));
                    shorts[c] = _mm256_add_epi16(shorts[c], pairs);
                }
            }
            shorts
        })
    }
}
