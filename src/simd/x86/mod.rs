//! The instruction sets of x86-64 processors.

/// Checks whether this machine, or without std the build, has an extension.
#[cfg(any(feature = "std", all(target_feature = "avx2", target_feature = "f16c")))]
macro_rules! here {
    ($extension:tt) => {{
        #[cfg(feature = "std")]
        {
            is_x86_feature_detected!($extension)
        }
        #[cfg(not(feature = "std"))]
        {
            cfg!(target_feature = $extension)
        }
    }};
}

// Without std nothing can be detected, and a build uses the instruction sets that it enables.
#[cfg(any(feature = "std", all(target_feature = "avx2", target_feature = "f16c")))]
mod avx;
#[cfg(any(feature = "std", all(target_feature = "avx2", target_feature = "f16c")))]
pub(super) mod avx2;
#[cfg(any(
    feature = "std",
    all(
        target_feature = "avx2",
        target_feature = "f16c",
        target_feature = "avx512f",
        target_feature = "avx512bw",
        target_feature = "avx512vl",
        target_feature = "avx512dq"
    )
))]
pub(super) mod avx512;
