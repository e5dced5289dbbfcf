//! File layout shared by the reader and the writer: alignment, padding, offsets.

use crate::arithmetic;

/// The alignment of a file that does not specify one.
pub(crate) const DEFAULT_ALIGNMENT: u32 = 32;

/// The metadata key of the alignment.
pub(crate) const ALIGNMENT_KEY: &str = "general.alignment";

/// The longest tensor name in bytes that the specification allows.
pub(crate) const MAX_NAME_BYTES: u64 = 64;

/// The longest tensor name that ggml reads: its buffer ends with a zero byte.
#[cfg(all(feature = "std", any(unix, windows)))]
pub(crate) const GGML_MAX_NAME_BYTES: usize = 63;

/// The longest tensor name that some builds of other programs accept, such as stable-diffusion.cpp.
pub(crate) const MAX_FOREIGN_NAME_BYTES: u64 = 127;

/// What a file has after its last tensor, or after a header without tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FinalPadding {
    /// All zeros up to the alignment.
    Whole,
    /// This many zeros, but none past the alignment.
    Zeros(u64),
}

#[cfg(feature = "std")]
impl FinalPadding {
    /// Returns the number of zeros to write if `whole` zeros reach the alignment.
    pub(crate) fn of(self, whole: u64) -> u64 {
        match self {
            FinalPadding::Whole => whole,
            FinalPadding::Zeros(zeros) => zeros.min(whole),
        }
    }
}

/// Rounds `at` up to a multiple of `alignment`, a power of two. Returns `None` if the result exceeds 64 bits.
pub(crate) fn align_up(at: u64, alignment: u32) -> Option<u64> {
    arithmetic::align_up(at, alignment.into())
}

/// Returns where `bytes` bytes that begin at `start` end, and where what follows them begins. Returns `None` if either
/// exceeds 64 bits.
pub(crate) fn place(start: u64, bytes: u64, alignment: u32) -> Option<(u64, u64)> {
    arithmetic::place(start, bytes, alignment.into())
}

/// Converts a length or position in memory to one in a file. No machine has memory beyond 64 bits.
pub(crate) fn to_u64(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
