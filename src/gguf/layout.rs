//! What the reader and the writer share about a file's layout: alignment, padding, offsets.

use crate::arithmetic;

/// The alignment of a file that does not name one.
pub(crate) const DEFAULT_ALIGNMENT: u32 = 32;

/// The metadata key that names the alignment.
pub(crate) const ALIGNMENT_KEY: &str = "general.alignment";

/// The longest tensor name in bytes, by the specification.
pub(crate) const MAX_NAME_BYTES: u64 = 64;

/// The longest that ggml reads, whose room for it ends with a zero byte.
#[cfg(all(feature = "std", any(unix, windows)))]
pub(crate) const GGML_MAX_NAME_BYTES: usize = 63;

/// The longest that some programs have been built with, stable-diffusion.cpp among them.
pub(crate) const MAX_FOREIGN_NAME_BYTES: u64 = 127;

/// What a file has behind its last tensor, or behind a header without tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FinalPadding {
    /// All zeros up to the alignment.
    Whole,
    /// This many zeros, or those up to the alignment where that is fewer.
    Zeros(u64),
}

#[cfg(feature = "std")]
impl FinalPadding {
    /// Zeros to write where `whole` of them reach the alignment.
    pub(crate) fn of(self, whole: u64) -> u64 {
        match self {
            FinalPadding::Whole => whole,
            FinalPadding::Zeros(zeros) => zeros.min(whole),
        }
    }
}

/// `at` rounded up to a multiple of `alignment`, a power of two; `None` where that is beyond 64 bits.
pub(crate) fn align_up(at: u64, alignment: u32) -> Option<u64> {
    arithmetic::align_up(at, alignment.into())
}

/// Where `bytes` bytes that begin at `start` end, and where what follows them begins; `None` where either is beyond 64 bits.
pub(crate) fn place(start: u64, bytes: u64, alignment: u32) -> Option<(u64, u64)> {
    arithmetic::place(start, bytes, alignment.into())
}

/// A length or position in memory as one in a file: no machine has memory beyond 64 bits.
pub(crate) fn to_u64(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
