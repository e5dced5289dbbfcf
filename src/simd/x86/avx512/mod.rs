//! AVX-512 with the extensions F, BW, VL and DQ: sixteen lanes.

/// Wraps intrinsics that use only registers.
macro_rules! registers {
    ($body:expr) => {
        // SAFETY: the instructions are available, since `self` is an `Avx512` or an `Avx512Tiles`, which only functions that
        // are compiled for these instructions create. They access no memory.
        unsafe { $body }
    };
}

mod lanes;
mod tiles;

use super::avx2::products;
use crate::simd::bytes::ByteKernel;
use crate::simd::tiles::TileKernel;

pub(in crate::simd) use self::lanes::{rounds_to_bf16, run};

/// Runs a kernel over tiles. Uses VNNI if it is available and `dots` allows it.
///
/// # Safety
/// AVX-512 F, BW, VL and DQ, AVX2 and F16C must be available.
pub(in crate::simd) unsafe fn run_tiles<K: TileKernel>(kernel: K, dots: bool) {
    if has_dots(dots) {
        if const { !K::NEEDS_NO_DOTS } {
            // SAFETY: VNNI has just been detected, and the caller guarantees the rest.
            unsafe { tiles::run(kernel) }
        } else {
            unreachable!("a kernel for a range that is not told from others");
        }
    } else {
        // SAFETY: guaranteed by the caller.
        unsafe { products::run_tiles(kernel) }
    }
}

/// Returns `true` if there is an instruction for dot products that may be used.
pub(in crate::simd) fn has_dots(dots: bool) -> bool {
    dots && here!("avx512vnni")
}

/// Runs a kernel over bytes. Uses VNNI if it is available, the kernel multiplies and `dots` allows it.
///
/// # Safety
/// AVX-512 F, BW, VL and DQ, AVX2 and F16C must be available.
pub(in crate::simd) unsafe fn run_bytes<K: ByteKernel>(kernel: K, dots: bool) -> K::Output {
    if K::MULTIPLIES && has_dots(dots) {
        // SAFETY: VNNI has just been detected, and the caller guarantees the rest.
        unsafe { products::run_with_avx512_vnni(kernel) }
    } else {
        // SAFETY: guaranteed by the caller.
        unsafe { products::run(kernel) }
    }
}
