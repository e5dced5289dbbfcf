//! NEON: four lanes.

/// Wraps intrinsics that use only registers.
macro_rules! registers {
    ($body:expr) => {
        // SAFETY: the instructions are available, since `self` is a `Neon` or a `NeonBytes`, which only functions that are
        // compiled for these instructions create. They access no memory.
        unsafe { $body }
    };
}

mod bytes;
mod lanes;

use super::bytes::ByteKernel;
use super::tiles::TileKernel;

pub(super) use self::lanes::{rounds_to_bf16, run};

/// Runs a kernel over bytes. Uses dot products if they are available, the kernel multiplies and `dots` allows it.
///
/// # Safety
/// The machine must have NEON.
pub(in crate::simd) unsafe fn run_bytes<K: ByteKernel>(kernel: K, dots: bool) -> K::Output {
    if K::MULTIPLIES && has_dots(dots) {
        // SAFETY: dot products have just been detected, and the caller guarantees NEON.
        unsafe { bytes::run_with_dots(kernel) }
    } else {
        #[allow(unused_unsafe, reason = "a build may take the instructions for granted")]
        // SAFETY: guaranteed by the caller.
        unsafe {
            bytes::run(kernel)
        }
    }
}

/// NEON has no tiles.
pub(in crate::simd) fn run_tiles<K: TileKernel>(_: K, _dots: bool) {
    unreachable!("an instruction set without tiles")
}

/// Returns `true` if there is an instruction for dot products that may be used.
pub(in crate::simd) fn has_dots(dots: bool) -> bool {
    #[cfg(feature = "std")]
    {
        dots && std::arch::is_aarch64_feature_detected!("dotprod")
    }
    #[cfg(not(feature = "std"))]
    {
        dots && cfg!(target_feature = "dotprod")
    }
}
