//! File arithmetic that the reader and the writer share: alignment, padding, offsets. All of it checked.

/// The alignment of a file that does not name one.
pub(crate) const DEFAULT_ALIGNMENT: u32 = 32;

/// The metadata key that names the alignment.
pub(crate) const ALIGNMENT_KEY: &str = "general.alignment";

/// The longest tensor name in bytes, by the specification.
pub(crate) const MAX_NAME_BYTES: u64 = 64;

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
    debug_assert!(alignment.is_power_of_two());
    let mask = u64::from(alignment) - 1;
    Some(at.checked_add(mask)? & !mask)
}

/// A length or position in memory as one in a file: no machine has memory beyond 64 bits.
pub(crate) fn to_u64(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligns_up_and_never_wraps() {
        assert_eq!(align_up(0, 32), Some(0));
        assert_eq!(align_up(1, 32), Some(32));
        assert_eq!(align_up(32, 32), Some(32));
        assert_eq!(align_up(33, 1), Some(33));
        assert_eq!(align_up(u64::MAX - 31, 32), Some(u64::MAX - 31));
        assert_eq!(align_up(u64::MAX - 30, 32), None);
        assert_eq!(align_up(1, 1 << 31), Some(1 << 31));
    }

    /// All numbers near zero, near the greatest, and about every power of two, in every alignment there is.
    #[test]
    fn equals_arithmetic_of_more_bits_at_every_boundary() {
        for power in 0..32 {
            let alignment = 1u32 << power;
            let anchors = (0..64).map(|bit| 1u64 << bit).chain([0, u64::MAX]);
            let multiples = (0..3).map(|count| (u64::MAX - count * u64::from(alignment)) & !0xff);
            for anchor in anchors.chain(multiples) {
                for at in (0..=520).map(|step: u64| anchor.wrapping_add(step).wrapping_sub(260)) {
                    let wanted = u128::from(at).next_multiple_of(u128::from(alignment));
                    assert_eq!(align_up(at, alignment), u64::try_from(wanted).ok(), "{at} {alignment}");
                }
            }
        }
    }
}
