//! Checked arithmetic for shapes, sizes and file positions, shared by the reader and the writer.
//!
//! It is written once for integers of any width. File sizes have 64 bits, which cannot be tested exhaustively. In 8 bits
//! the tests try every possible input, against arithmetic that cannot overflow.

macro_rules! arithmetic {
    ($module:ident, $number:ident) => {
        mod $module {
            /// Rounds `at` up to a multiple of `alignment`, a power of two. Returns `None` on overflow.
            pub(crate) const fn align_up(at: $number, alignment: $number) -> Option<$number> {
                debug_assert!(alignment.is_power_of_two());
                let mask = alignment - 1;
                match at.checked_add(mask) {
                    Some(up) => Some(up & !mask),
                    None => None,
                }
            }

            /// Returns where `bytes` bytes that begin at `start` end, and where what follows them begins. Returns `None`
            /// if either overflows.
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

            /// Returns the size in bytes of `values` values, or `None` if they are not whole blocks or the size overflows.
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

            /// Returns `true` if no extent exceeds `most`, which is at most half of the number range, and the product is below
            /// it. Checks by division like ggml, which also rejects a few products just below `most`, but without ggml's
            /// overflow.
            pub(crate) const fn is_countable([a, b, c, d]: [$number; 4], most: $number) -> bool {
                if a > most || b > most || c > most || d > most {
                    return false;
                }
                if a == 0 || b == 0 || c == 0 || d == 0 {
                    return true;
                }
                // Each product is below `most` by the check to its left, so none of them overflows.
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
                    // An end that can be represented is never past what follows it.
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

    /// Tests the shapes, of 2^32, that have no extent above the bound. Any extent above it is rejected at once, in any position.
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
                        // ggml's division rejects products that are less than an extent below the bound.
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

    /// Tests 64-bit numbers near zero, near the maximum and around every power of two, with every alignment.
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
