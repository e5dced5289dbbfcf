//! Compares the arithmetic of files with arithmetic of twice the bits: block sizes and shapes exhaustively around every
//! boundary, and tables of tensors whose sizes almost overflow.

use crate::common;
use common::raw::{ANY, FORMATS, Raw};
use gguf_codec::{ByteOrder, Error, GgmlType, HeaderParser, Problem, Shape};
use proptest::prelude::*;

/// Numbers from 0 to 1200 and around every power of two.
fn near_boundaries() -> impl Iterator<Item = u64> {
    let about = |anchor: u64| (0..=600).map(move |step: u64| anchor.wrapping_add(step).wrapping_sub(300));
    (0..1200).chain((0..64).flat_map(move |bit| about(1 << bit))).chain(about(0))
}

#[test]
fn bytes_of_values_equal_those_counted_in_more_bits() {
    for ty in GgmlType::ALL {
        let (len, size) = (ty.block_len() as u128, ty.block_bytes() as u128);
        // The largest number of blocks whose bytes fit 64 bits, and its neighbours.
        let last = (u128::from(u64::MAX) / size * len).min(u64::MAX.into()) as u64;
        let about_last =
            (0..4 * ty.block_len() as u64).map(|step| last.saturating_add(step).wrapping_sub(step / 2));
        for values in near_boundaries().chain(about_last) {
            let whole = u128::from(values).is_multiple_of(len);
            let bytes = u128::from(values) / len * size;
            let wanted = u64::try_from(bytes).ok().filter(|_| whole);
            assert_eq!(ty.bytes_for(values), wanted, "{values} of {ty}");
        }
    }
}

/// ggml divides to check whether a product is below 2^63 - 1, and so refuses a few that are below by less than an extent.
#[test]
fn shapes_are_countable_or_refused() {
    const BOUND: u128 = i64::MAX as u128;
    let about = |anchor: u64| [anchor - 1, anchor, anchor + 1];
    let mut extents = vec![0, 1, 2, 3, 7, i64::MAX as u64, u64::MAX];
    extents.extend([16, 21, 31, 32, 61, 62, 63].into_iter().flat_map(|bit| about(1 << bit)));
    let mut counts = [0, 0];
    for &a in &extents {
        for &b in &extents {
            for &c in &extents {
                for &d in &extents {
                    let dims = [a, b, c, d];
                    let product = dims.iter().fold(1, |all: u128, &dim| all.saturating_mul(dim.into()));
                    let most = dims.into_iter().max().map_or(0, u128::from);
                    let shape = Shape::new(&dims);
                    counts[usize::from(shape.is_some())] += 1;
                    match shape {
                        Some(shape) => {
                            assert_eq!(u128::from(shape.element_count()), product, "{dims:?}");
                            assert!(product < BOUND && most <= BOUND, "{dims:?}");
                        }
                        None => assert!(most > BOUND || product > BOUND - most, "{dims:?}"),
                    }
                }
            }
        }
    }
    assert!(counts.iter().all(|&count| count > 1000), "{counts:?}");
}

/// A number of elements: small, or so large that a few make the sum overflow.
fn elements() -> impl Strategy<Value = u64> {
    prop_oneof![
        3 => 0u64..100,
        2 => (50u32..63, 0u64..5).prop_map(|(bit, more)| (1 << bit) - more),
        1 => (58u32..63, 0u64..1000).prop_map(|(bit, more)| (1 << bit) + more),
    ]
}

proptest! {
    #![proptest_config(common::property(4000))]

    /// Each tensor begins at the sum of the padded sizes before it, computed in 128 bits. The header is refused if and only if the end
    /// of a tensor, or its end in the file, does not fit 64 bits.
    #[test]
    fn tables_are_laid_out_as_in_more_bits(
        format in prop::sample::select(FORMATS[1..3].to_vec()),
        power in prop_oneof![Just(5u32), 0..32u32],
        tensors in prop::collection::vec((elements(), prop::sample::select(vec![0u32, 1, 24, 27, 8, 12])), 1..7),
    ) {
        let alignment = 1u32 << power;
        let mut raw = Raw::new(format, tensors.len() as u64, 1).alignment(alignment);
        let (mut end, mut fits, mut offsets) = (0u128, true, Vec::new());
        for (i, &(elements, id)) in tensors.iter().enumerate() {
            let ty = GgmlType::try_from(id).unwrap();
            let rows = elements / ty.block_len() as u64 * ty.block_len() as u64;
            raw = raw.tensor(format!("t{i}"), &[rows], id, end as u64);
            let bytes = u128::from(rows) / ty.block_len() as u128 * ty.block_bytes() as u128;
            offsets.push((end, bytes));
            fits &= bytes <= u64::MAX.into();
            end = (end + bytes).next_multiple_of(alignment.into());
            fits &= end <= u64::MAX.into();
        }
        let data = u128::from(raw.at()).next_multiple_of(alignment.into());
        fits &= data + end <= u64::MAX.into();

        match HeaderParser::new(ANY).finish(&raw.bytes[..]) {
            Ok(gguf) => {
                prop_assert!(fits);
                prop_assert_eq!(gguf.byte_order() == ByteOrder::Big, format.1);
                for (info, (offset, bytes)) in gguf.tensors().zip(offsets) {
                    prop_assert_eq!(u128::from(info.offset()), offset);
                    prop_assert_eq!(u128::from(info.byte_len()), bytes);
                    prop_assert_eq!(u128::from(info.file_offset()), data + offset);
                }
            }
            Err(Error::Malformed { problem: Problem::TotalBytes | Problem::Bytes { .. }, .. }) => prop_assert!(!fits),
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        }
    }
}
