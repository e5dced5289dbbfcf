//! The instruction sets of x86-64 processors.

// Without std nothing can be detected, and a build has the instruction sets that it takes for granted.
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
