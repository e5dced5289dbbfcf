//! [`Tiles`] of sixteen rows, with AVX-512 and VNNI.

use core::arch::x86_64::*;

use super::lanes::Avx512;
use crate::simd::bytes::Range;
use crate::simd::tiles::{TileKernel, Tiles};
use crate::simd::x86::avx::transpose;
use crate::simd::x86::avx2::lanes::Avx2;

/// Proof that AVX-512 F, BW, VL, DQ and VNNI are available, and AVX2 and F16C. Only [`run`] creates one.
#[derive(Clone, Copy)]
pub(crate) struct Avx512Tiles(Avx512<false>, Avx2);

/// Runs a kernel.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,f16c")]
pub(in crate::simd) fn run<K: TileKernel>(kernel: K) {
    // SAFETY: the function is compiled for all of these, and its caller guarantees that they are available.
    let (wide, narrow) = unsafe { (Avx512::proven(), Avx2::proven()) };
    kernel.run(Avx512Tiles(wide, narrow));
}

impl Tiles for Avx512Tiles {
    type S = Avx512<false>;
    const COLUMNS: usize = 8;
    const ADDED_TO_SIGNED: u8 = 128;

    #[inline(always)]
    fn lanes(self) -> Avx512<false> {
        self.0
    }

    #[inline(always)]
    fn dots<const C: usize, const N: usize>(
        self,
        _: Range,
        sums: &mut [__m512i; C],
        panel: &[u8],
        x: [&[[u8; 4]; N]; C],
    ) {
        for (n, w) in panel.as_chunks::<64>().0.iter().take(N).enumerate() {
            // SAFETY: the token proves AVX-512; the array has the 64 bytes read, and the load requires no alignment.
            let w = unsafe { _mm512_loadu_si512(w.as_ptr().cast()) };
            for c in 0..C {
                let x = i32::from_le_bytes(x[c][n]);
                sums[c] = registers!(_mm512_dpbusd_epi32(sums[c], w, _mm512_set1_epi32(x)));
            }
        }
    }

    #[inline(always)]
    fn add_pairs(self, sums: __m512i, a: __m512i, b: __m512i) -> __m512i {
        registers!(_mm512_dpwssd_epi32(sums, a, b))
    }

    #[inline(always)]
    fn mul_i(self, a: __m512i, b: __m512i) -> __m512i {
        registers!(_mm512_mullo_epi32(a, b))
    }

    #[inline(always)]
    fn interleave<'a>(self, row: impl Fn(usize) -> &'a [u8; 32], to: &mut [u8]) {
        // Processes eight rows at a time, each into half of the result of sixteen.
        for first in [0, 8] {
            let mut rows = registers!([_mm256_setzero_ps(); 8]);
            for (r, to) in rows.iter_mut().enumerate() {
                // SAFETY: the token proves AVX; the array has the 32 bytes read, and the load requires no alignment.
                *to = unsafe { _mm256_loadu_ps(row(first + r).as_ptr().cast()) };
            }
            for (four, to) in transpose(self.1, rows).into_iter().zip(to.as_chunks_mut::<64>().0) {
                let to: &mut [u8; 32] = &mut to.as_chunks_mut().0[first / 8];
                // SAFETY: the token proves AVX; the array has the 32 bytes written, and the store requires no alignment.
                unsafe { _mm256_storeu_ps(to.as_mut_ptr().cast(), four) }
            }
        }
    }
}
