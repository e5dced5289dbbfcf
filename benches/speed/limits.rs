//! The machine's limits: filling, copying and reading memory with plain instructions.

use gguf_codec::Isa;

/// How memory is written.
#[derive(Clone, Copy)]
pub(crate) enum Stores {
    /// Into the caches.
    Ordinary,
    /// Around them, where the instruction set can.
    Streaming,
}

/// Whether there are functions in `isa`'s own vectors. All others are measured in the vectors that the build target guarantees.
#[cfg(target_arch = "x86_64")]
fn is_wide(isa: Isa) -> bool {
    // Detected again, so that the safety of the calls below does not depend on a name.
    match isa.name() {
        "avx512" => is_x86_feature_detected!("avx512f"),
        "avx2" => is_x86_feature_detected!("avx2"),
        _ => false,
    }
}

/// Fills `out`, whose address is a multiple of 64, with the vectors of `isa`.
pub(crate) fn fill(isa: Isa, stores: Stores, out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if is_wide(isa) {
        // SAFETY: the instruction set was detected.
        return unsafe {
            if isa.name() == "avx512" { avx512::fill(stores, out) } else { avx2::fill(stores, out) }
        };
    }
    let _ = (isa, stores);
    out.fill(std::hint::black_box(1.5));
    std::hint::black_box(out);
}

/// Copies `from` to `out`, which have the same length, with the vectors of `isa`. `out`'s address is a multiple of 64.
pub(crate) fn copy(isa: Isa, stores: Stores, from: &[f32], out: &mut [f32]) {
    assert_eq!(from.len(), out.len());
    #[cfg(target_arch = "x86_64")]
    if is_wide(isa) {
        // SAFETY: the instruction set was detected.
        return unsafe {
            if isa.name() == "avx512" {
                avx512::copy(stores, from, out)
            } else {
                avx2::copy(stores, from, out)
            }
        };
    }
    let _ = (isa, stores);
    out.copy_from_slice(std::hint::black_box(from));
    std::hint::black_box(out);
}

/// Reads all of `values` and nothing else, with the vectors of `isa`.
pub(crate) fn read(isa: Isa, values: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    if is_wide(isa) {
        // SAFETY: the instruction set was detected.
        return unsafe { if isa.name() == "avx512" { avx512::read(values) } else { avx2::read(values) } };
    }
    let _ = isa;
    read_all(values);
}

#[inline(always)]
fn read_all(values: &[f32]) {
    let mut sums = [0u32; 64];
    for chunk in values.as_chunks::<64>().0 {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum ^= value.to_bits();
        }
    }
    std::hint::black_box(sums);
}

/// Writes a vector to a chunk of its length, cut from a buffer that is aligned to 64.
#[cfg(target_arch = "x86_64")]
macro_rules! put {
    ($stores:ident, $chunk:ident, $value:ident, $store:ident, $stream:ident) => {
        match $stores {
            // SAFETY: the chunk is the vector that is written.
            Stores::Ordinary => unsafe { $store($chunk.as_mut_ptr(), $value) },
            // SAFETY: the same; the first chunk is aligned to 64, and so each to its own length, which divides 64.
            Stores::Streaming => unsafe { $stream($chunk.as_mut_ptr(), $value) },
        }
    };
}

/// The same functions for one instruction set's vectors of `$lanes` floats.
#[cfg(target_arch = "x86_64")]
macro_rules! limits {
    ($module:ident, $feature:literal, $lanes:literal, $splat:ident, $load:ident, $store:ident, $stream:ident) => {
        mod $module {
            use std::arch::x86_64::*;

            use super::Stores;

            #[target_feature(enable = $feature)]
            pub(super) fn fill(stores: Stores, out: &mut [f32]) {
                assert!(out.as_ptr().addr().is_multiple_of(64));
                let value = $splat(std::hint::black_box(1.5));
                for chunk in out.as_chunks_mut::<$lanes>().0 {
                    put!(stores, chunk, value, $store, $stream);
                }
                _mm_sfence();
                std::hint::black_box(out);
            }

            #[target_feature(enable = $feature)]
            pub(super) fn copy(stores: Stores, from: &[f32], out: &mut [f32]) {
                assert!(out.as_ptr().addr().is_multiple_of(64));
                let pairs = from.as_chunks::<$lanes>().0.iter().zip(out.as_chunks_mut::<$lanes>().0);
                for (from, chunk) in pairs {
                    // SAFETY: the chunk is the vector that is read.
                    let value = unsafe { $load(from.as_ptr()) };
                    put!(stores, chunk, value, $store, $stream);
                }
                _mm_sfence();
                std::hint::black_box(out);
            }

            #[target_feature(enable = $feature)]
            pub(super) fn read(values: &[f32]) {
                super::read_all(values);
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
limits!(avx2, "avx2", 8, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_stream_ps);
#[cfg(target_arch = "x86_64")]
limits!(avx512, "avx512f", 16, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_stream_ps);
