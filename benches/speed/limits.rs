//! What the machine can do at most: filling and reading memory with its widest plain instructions.

/// A way to fill floats.
#[derive(Clone, Copy)]
pub(crate) enum Limit {
    /// Ordinary stores.
    Fill,
    /// Stores around the caches, where the processor has them.
    StreamingFill,
}

/// Fills `out`, whose address is a multiple of 64.
pub(crate) fn run(limit: Limit, out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: AVX-512 F was detected; the slice is aligned by `data::aligned`, which the function checks.
            unsafe { x86::fill_avx512(limit, out) }
            return;
        }
        if is_x86_feature_detected!("avx") {
            // SAFETY: AVX was detected; the slice is aligned by `data::aligned`, which the function checks.
            unsafe { x86::fill_avx(limit, out) }
            return;
        }
    }
    let _ = limit;
    out.fill(std::hint::black_box(1.5));
    std::hint::black_box(out);
}

/// Reads all of `values` and nothing else.
pub(crate) fn read(values: &[f32]) {
    let mut sums = [0u32; 64];
    for chunk in values.as_chunks::<64>().0 {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum ^= value.to_bits();
        }
    }
    std::hint::black_box(sums);
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Limit;

    #[target_feature(enable = "avx")]
    pub(super) fn fill_avx(limit: Limit, out: &mut [f32]) {
        assert!(out.as_ptr().addr().is_multiple_of(64));
        let value = _mm256_set1_ps(std::hint::black_box(1.5));
        for chunk in out.as_chunks_mut::<8>().0 {
            match limit {
                // SAFETY: the chunk has the 32 bytes written.
                Limit::Fill => unsafe { _mm256_storeu_ps(chunk.as_mut_ptr(), value) },
                // SAFETY: the chunk has the 32 bytes written, and is aligned to 32.
                Limit::StreamingFill => unsafe { _mm256_stream_ps(chunk.as_mut_ptr(), value) },
            }
        }
        _mm_sfence();
        std::hint::black_box(out);
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn fill_avx512(limit: Limit, out: &mut [f32]) {
        assert!(out.as_ptr().addr().is_multiple_of(64));
        let value = _mm512_set1_ps(std::hint::black_box(1.5));
        for chunk in out.as_chunks_mut::<16>().0 {
            match limit {
                // SAFETY: the chunk has the 64 bytes written.
                Limit::Fill => unsafe { _mm512_storeu_ps(chunk.as_mut_ptr(), value) },
                // SAFETY: the chunk has the 64 bytes written, and is aligned to 64.
                Limit::StreamingFill => unsafe { _mm512_stream_ps(chunk.as_mut_ptr(), value) },
            }
        }
        _mm_sfence();
        std::hint::black_box(out);
    }
}
