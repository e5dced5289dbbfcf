//! The arithmetic of shapes, sizes and places in a file, all of it checked: the reader and the writer share it.
//!
//! It is written once for integers of any width. Files count in 64 bits, where no test can try everything; in 8 bits the
//! tests try every input that there is, against arithmetic in which nothing can overflow.

macro_rules! arithmetic {
    ($module:ident, $number:ident) => {
        mod $module {
            /// `at` rounded up to a multiple of `alignment`, a power of two; `None` where that is beyond what can be counted.
            pub(crate) const fn align_up(at: $number, alignment: $number) -> Option<$number> {
                debug_assert!(alignment.is_power_of_two());
                let mask = alignment - 1;
                match at.checked_add(mask) {
                    Some(up) => Some(up & !mask),
                    None => None,
                }
            }

            /// Where `bytes` bytes that begin at `start` end, and where what follows them begins; `None` where either is
            /// beyond what can be counted.
            pub(crate) const fn place(
                start: $number,
                bytes: $number,
                alignment: $number,
            ) -> Option<($number, $number)> {
                let Some(end) = start.checked_add(bytes) else { return None };
                match align_up(end, alignment) {
                    Some(next) => Some((end, next)),
                    None => None,
                }
            }

            /// Bytes of `values` values, or `None` where they are not whole blocks, or the bytes beyond what can be counted.
            pub(crate) const fn bytes_of(
                values: $number,
                block_len: $number,
                block_bytes: $number,
            ) -> Option<$number> {
                if !values.is_multiple_of(block_len) {
                    return None;
                }
                (values / block_len).checked_mul(block_bytes)
            }

            /// Whether no extent is above `most`, half of what can be counted at most, and the product stays below it. Checked as
            /// ggml does, by dividing, which also refuses a few products just below; but without its overflow.
            pub(crate) const fn is_countable([a, b, c, d]: [$number; 4], most: $number) -> bool {
                if a > most || b > most || c > most || d > most {
                    return false;
                }
                if a == 0 || b == 0 || c == 0 || d == 0 {
                    return true;
                }
                // Each product is below `most` by the check to its left, so none of them can overflow.
                most / b > a && most / c > a * b && most / d > a * b * c
            }
        }
    };
}

arithmetic!(in_64_bits, u64);
#[cfg(test)]
arithmetic!(in_8_bits, u8);

pub(crate) use in_64_bits::{align_up, bytes_of, is_countable, place};

#[cfg(test)]
mod tests {
    use super::{align_up, in_8_bits};

    const ALIGNMENTS: [u8; 8] = [1, 2, 4, 8, 16, 32, 64, 128];

    #[test]
    fn everything_is_aligned_as_in_more_bits() {
        for at in 0..=u8::MAX {
            for alignment in ALIGNMENTS {
                let wanted = u32::from(at).next_multiple_of(alignment.into());
                assert_eq!(in_8_bits::align_up(at, alignment), u8::try_from(wanted).ok(), "{at} {alignment}");
            }
        }
    }

    #[test]
    fn everything_is_placed_as_in_more_bits() {
        for start in 0..=u8::MAX {
            for bytes in 0..=u8::MAX {
                for alignment in ALIGNMENTS {
                    let end = u32::from(start) + u32::from(bytes);
                    let next = end.next_multiple_of(alignment.into());
                    // An end that can be counted is never behind what follows it.
                    let wanted = u8::try_from(next).ok().map(|next| (end as u8, next));
                    assert_eq!(
                        in_8_bits::place(start, bytes, alignment),
                        wanted,
                        "{start} {bytes} {alignment}"
                    );
                }
            }
        }
    }

    #[test]
    fn every_number_of_values_takes_as_many_bytes_as_in_more_bits() {
        for values in 0..=u8::MAX {
            for block_len in 1..=u8::MAX {
                for block_bytes in 0..=u8::MAX {
                    let (values_, len, bytes) =
                        (u32::from(values), u32::from(block_len), u32::from(block_bytes));
                    let wanted =
                        (values_ % len == 0).then(|| u8::try_from(values_ / len * bytes).ok()).flatten();
                    let found = in_8_bits::bytes_of(values, block_len, block_bytes);
                    assert_eq!(found, wanted, "{values} {block_len} {block_bytes}");
                }
            }
        }
    }

    /// Of 2^32 shapes those that have no extent above the bound, which are refused at once wherever it stands.
    #[test]
    fn every_shape_is_countable_or_refused_as_in_more_bits() {
        const MOST: u8 = i8::MAX as u8;
        let mut counts = [0u32; 2];
        for a in 0..=MOST {
            for b in 0..=MOST {
                for c in 0..=MOST {
                    let three = u32::from(a) * u32::from(b) * u32::from(c);
                    let largest = a.max(b).max(c);
                    for d in 0..=MOST {
                        let product = three * u32::from(d);
                        let most = u32::from(MOST);
                        let countable = in_8_bits::is_countable([a, b, c, d], MOST);
                        // ggml's division refuses what is below by less than an extent.
                        let right = match countable {
                            true => product < most,
                            false => product > most - u32::from(largest.max(d)),
                        };
                        assert!(right, "{a} {b} {c} {d}");
                        counts[usize::from(countable)] += 1;
                    }
                }
            }
        }
        assert!(counts.iter().all(|count| *count > 1_000_000), "{counts:?}");
        for large in MOST + 1..=u8::MAX {
            for other in 0..=u8::MAX {
                for at in 0..4 {
                    let mut extents = [other; 4];
                    extents[at] = large;
                    assert!(!in_8_bits::is_countable(extents, MOST));
                }
            }
        }
    }

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

    /// In 64 bits, all numbers near zero, near the greatest, and about every power of two, in every alignment there is.
    #[test]
    fn equals_arithmetic_of_more_bits_at_every_boundary() {
        for power in 0..32 {
            let alignment = 1u64 << power;
            let anchors = (0..64).map(|bit| 1u64 << bit).chain([0, u64::MAX]);
            let multiples = (0..3).map(|count| (u64::MAX - count * alignment) & !0xff);
            for anchor in anchors.chain(multiples) {
                for at in (0..=520).map(|step: u64| anchor.wrapping_add(step).wrapping_sub(260)) {
                    let wanted = u128::from(at).next_multiple_of(u128::from(alignment));
                    assert_eq!(align_up(at, alignment), u64::try_from(wanted).ok(), "{at} {alignment}");
                }
            }
        }
    }
}
