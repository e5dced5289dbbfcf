//! Tests each rule of the format on both sides of its boundary, in every version and byte order. The names use the numbers
//! of the table of rules in `docs/format.md`.

use crate::common;
use common::raw::*;
use gguf_codec::{ByteOrder, GgmlType, Gguf, Limits, Place, Problem};

#[test]
fn rule_1_magic() {
    every_format(|format| {
        Raw::new(format, 0, 0).ok();
        for found in [*b"GGUf", *b"FUGG", [0; 4]] {
            let mut raw = Raw::new(format, 0, 0);
            raw.bytes[..4].copy_from_slice(&found);
            assert_eq!(raw.fails(0, Problem::Magic { found }), Place::Start);
        }
    });
    let empty = Raw { version: 3, big: false, bytes: Vec::new() };
    assert_eq!(empty.fails(0, Problem::Empty), Place::Start);
    let error = Gguf::parse(b"GGML\x01\0\0\0").unwrap_err();
    assert_eq!(error.to_string(), "byte 0, in the start of the header: the magic is 'GGML', not 'GGUF'");
}

#[test]
fn rule_2_version_and_byte_order() {
    every_format(|(version, big)| {
        let raw = Raw::new((version, big), 0, 0);
        let gguf = raw.ok();
        assert_eq!(gguf.version(), version);
        assert_eq!(gguf.byte_order(), if big { ByteOrder::Big } else { ByteOrder::Little });
        assert_eq!(gguf.header_len(), if version == 1 { 16 } else { 24 });
    });
    for big in [false, true] {
        for found in [0, 4, 5, 255, 65535] {
            Raw::new((found, big), 0, 0).fails(4, Problem::Version { found });
        }
    }
}

#[test]
fn rule_3_counts_are_compared_with_the_bytes_that_remain() {
    every_format(|format| {
        let least = if format.0 == 1 { (10, 20) } else { (14, 24) };
        let counts = Raw::new(format, 0, 0).at();
        let (tensors_at, keys_at) = (8, 8 + (counts - 8) / 2);

        // One pair of minimum size, and one byte less.
        let one = Raw::new(format, 0, 1).key("k", U8).u8(1);
        assert_eq!(one.at() - counts, least.0);
        one.ok();
        let mut short = one.clone();
        short.bytes.pop();
        let remaining = least.0 - 1;
        let problem = Problem::Count { what: "keys", count: 1, needed: least.0, remaining };
        assert_eq!(short.fails(keys_at, problem), Place::Start);

        let one = Raw::new(format, 1, 0).tensor("", &[], 0, 0);
        assert_eq!(one.at() - counts, least.1);
        one.clone().pad(32).zeros(4).ok();
        let mut short = one.clone();
        short.bytes.pop();
        let remaining = least.1 - 1;
        let problem = Problem::Count { what: "tensors", count: 1, needed: least.1, remaining };
        short.fails(tensors_at, problem);

        // The bytes that the keys need are not available for tensors.
        let both = Raw::new(format, 1, 1).key("k", U8).u8(1).zeros(least.1 as usize - 1);
        let problem = Problem::Count { what: "tensors", count: 1, needed: least.1, remaining };
        both.fails(tensors_at, problem);

        // Arrays of each kind, without any of their elements.
        for (element, size) in [(U8, 1), (U16, 2), (F32, 4), (F64, 8), (BOOL, 1)] {
            let raw = Raw::new(format, 0, 1).array("k", element, 100).zeros(100 * size);
            raw.ok();
            let mut short = raw.clone();
            short.bytes.pop();
            let needed = 100 * size as u64;
            let remaining = 100 * size as u64 - 1;
            let len_at = raw.at() - 100 * size as u64 - raw.len_bytes();
            let problem = Problem::Count { what: "array elements", count: 100, needed, remaining };
            let place = short.fails(len_at, problem);
            assert_eq!(place, Place::Key { index: 0, key: Some("k".into()) });
        }
    });
}

#[test]
fn rule_3_limits_on_counts() {
    every_format(|format| {
        let limits = Limits { max_keys: 1, max_tensors: 1, ..Limits::default() };
        let raw = Raw::new(format, 1, 1).key("k", U8).u8(1).tensor("t", &[1], 0, 0).pad(32).zeros(4);
        agree(&raw.bytes, limits).unwrap();
        let keys_at = 8 + raw.len_bytes();
        assert_eq!(Raw::new(format, 1, 2).exceeds(limits), (keys_at, 2, 1));
        assert_eq!(Raw::new(format, 2, 1).exceeds(limits), (8, 2, 1));
    });
    // Counts that are negative as signed numbers.
    let huge = Raw::new((3, false), u64::MAX, 0);
    assert_eq!(huge.exceeds(Limits::default()), (8, u64::MAX, 1 << 20));
    let none =
        Limits { max_keys: u64::MAX, max_tensors: u64::MAX, max_header_bytes: u64::MAX, ..Limits::default() };
    assert_eq!(huge.exceeds(none), (8, u64::MAX, u32::MAX.into()));
}

#[test]
fn rule_4_strings() {
    every_format(|format| {
        let raw = Raw::new(format, 0, 1).key("k", STRING).string([0xff; 9]);
        let gguf = raw.ok();
        assert_eq!(gguf.metadata().require::<&[u8]>("k").unwrap(), [0xff; 9]);
        gguf.metadata().require::<&str>("k").unwrap_err();
        let at = raw.at() - 9 - raw.len_bytes();
        let mut short = raw.clone();
        short.bytes.pop();
        short.fails(at, Problem::Truncated { what: "string", needed: 9, remaining: 8 });
        let at_limit = |max| Limits { max_string_bytes: max, ..Limits::default() };
        agree(&raw.bytes, at_limit(9)).unwrap();
        assert_eq!(raw.exceeds(at_limit(8)), (at, 9, 8));

        let keys = Raw::new(format, 0, 0).at();
        Raw::new(format, 0, 1).key([0xff], U8).u8(0).fails(keys, Problem::NotUtf8 { what: "key" });
        let place = Raw::new(format, 1, 0)
            .tensor([0xff], &[], 0, 0)
            .fails(keys, Problem::NotUtf8 { what: "tensor's name" });
        assert_eq!(place, Place::Tensor { index: 0, name: None });
        let raw = Raw::new(format, 1, 1).key("\u{fc}", U8).u8(0).tensor("\u{fc}", &[], 0, 0).pad(32).zeros(4);
        assert_eq!(raw.ok().tensor("\u{fc}").unwrap().bytes().unwrap(), [0; 4]);

        // Also in arrays.
        let raw = Raw::new(format, 0, 1).array("k", STRING, 2).string("abc").string("de");
        let at = raw.at() - 2 - raw.len_bytes();
        raw.ok();
        let mut short = raw.clone();
        short.bytes.pop();
        short.fails(at, Problem::Truncated { what: "string", needed: 2, remaining: 1 });
        agree(&raw.bytes, at_limit(3)).unwrap();
        assert_eq!(raw.exceeds(at_limit(2)), (at - 3 - raw.len_bytes(), 3, 2));
    });
    Raw::new((3, false), 0, 1).key("k", STRING).u64(u64::MAX).exceeds(Limits::default());
    // An error's own copy of a name is no longer than 256 bytes.
    for (len, shown) in [(255, "k".repeat(255)), (256, "k".repeat(256)), (257, "k".repeat(256) + "…")] {
        let raw = Raw::new((3, false), 0, 1).key("k".repeat(len), 13);
        let place = raw.fails(raw.at() - 4, Problem::ValueType { found: 13 });
        assert_eq!(place, Place::Key { index: 0, key: Some(shown) });
    }
    let limits = Limits { max_string_bytes: u64::MAX, max_header_bytes: u64::MAX, ..Limits::default() };
    let raw = Raw::new((3, false), 0, 1).key("k", STRING).u64(u64::MAX);
    assert!(agree(&raw.bytes, limits).unwrap_err().contains("Truncated"));
}

#[test]
fn rule_5_keys_are_unique_and_not_empty() {
    every_format(|format| {
        let keys = Raw::new(format, 0, 0).at();
        let raw = Raw::new(format, 0, 1).key("", U16).u8(0).u8(0);
        assert_eq!(raw.fails(keys, Problem::EmptyKey), Place::Key { index: 0, key: None });
        let two = Raw::new(format, 0, 3).key("a", U8).u8(0).key("b", U8).u8(0);
        two.clone().key("aa", U8).u8(0).ok();
        let place = two.clone().key("b", I8).u8(9).fails(two.at(), Problem::DuplicateKey { first: 1 });
        assert_eq!(place, Place::Key { index: 2, key: Some("b".into()) });
    });
}

#[test]
fn rule_6_value_types_and_nested_arrays() {
    every_format(|format| {
        everything(format).ok();
        let raw = Raw::new(format, 0, 1);
        let type_at = raw.at() + raw.len_bytes() + 1;
        for found in [13, 255, u32::MAX] {
            raw.clone().key("k", found).zeros(16).fails(type_at, Problem::ValueType { found });
            raw.clone().array("k", found, 0).fails(type_at + 4, Problem::ValueType { found });
        }

        // Four levels are allowed by default, and five are not.
        let nested = |depth| {
            let start = Raw::new(format, 0, 1).key("k", ARRAY);
            (1..depth).fold(start, |raw, _| raw.u32(ARRAY).len(1)).u32(U8).len(1).u8(7)
        };
        nested(4).ok();
        let (offset, found, limit) = nested(5).exceeds(Limits::default());
        assert_eq!((found, limit), (5, 4));
        assert_eq!(offset, nested(5).at() - 1 - raw.len_bytes() - 4);
        let depth = |max_array_depth| Limits { max_array_depth, ..Limits::default() };
        agree(&nested(5).bytes, depth(5)).unwrap();
        agree(&nested(1).bytes, depth(1)).unwrap();
        assert_eq!(nested(2).exceeds(depth(1)).1, 2);
        assert_eq!(nested(1).exceeds(depth(0)).1, 1);
        agree(&nested(64).bytes, depth(u32::MAX)).unwrap();
        assert_eq!(nested(65).exceeds(depth(u32::MAX)), (nested(65).at() - 5 - raw.len_bytes(), 65, 64));

        let len = |max_array_len| Limits { max_array_len, ..Limits::default() };
        let raw = Raw::new(format, 0, 1).array("k", U8, 3).zeros(3);
        agree(&raw.bytes, len(3)).unwrap();
        assert_eq!(raw.exceeds(len(2)), (raw.at() - 3 - raw.len_bytes(), 3, 2));
    });
}

#[test]
fn rule_7_bools() {
    every_format(|format| {
        let raw = |value| Raw::new(format, 0, 1).key("k", BOOL).u8(value);
        assert!(!raw(0).ok().metadata().require::<bool>("k").unwrap());
        assert!(raw(1).ok().metadata().require::<bool>("k").unwrap());
        assert!(raw(2).ok().metadata().require::<bool>("k").unwrap());
        let array = |value| Raw::new(format, 0, 1).array("k", BOOL, 3).u8(1).u8(value).u8(0);
        for value in [1, 255] {
            assert_eq!(array(value).ok().metadata().require::<Vec<bool>>("k").unwrap(), [true, true, false]);
        }
        let nested = Raw::new(format, 0, 1).array("k", ARRAY, 1).u32(BOOL).len(1).u8(3);
        assert_eq!(nested.ok().metadata().require::<Vec<Vec<bool>>>("k").unwrap(), [[true]]);
    });
}

#[test]
fn rule_8_alignment() {
    every_format(|format| {
        let with = |alignment| {
            let raw = Raw::new(format, 2, 1).alignment(alignment);
            raw.tensor("a", &[1], 24, 0).tensor("b", &[1], 24, u64::from(alignment))
        };
        for alignment in [1, 2, 4, 8, 32, 64, 4096] {
            let raw = with(alignment).pad(alignment as usize).u8(1).pad(alignment as usize).u8(2);
            let gguf = raw.ok();
            assert_eq!(gguf.alignment(), alignment);
            assert_eq!(gguf.tensor("b").unwrap().bytes().unwrap(), [2]);
            assert_eq!(gguf.data_offset() % u64::from(alignment), 0);
        }
        Raw::new(format, 0, 1).alignment(1 << 16).ok();
        let raw = Raw::new(format, 0, 1).alignment(1 << 17);
        assert_eq!(raw.exceeds(Limits::default()), (raw.at() - 4, 1 << 17, 1 << 16));
        let raw = Raw::new(format, 0, 1).alignment(1 << 31);
        agree(&raw.bytes, Limits { max_alignment: 1 << 31, ..Limits::default() }).unwrap();
        assert_eq!(Raw::new(format, 0, 0).ok().alignment(), 32);
        for found in [0, 3, 33, u32::MAX] {
            let raw = Raw::new(format, 0, 1).alignment(found);
            let place = raw.fails(raw.at() - 4, Problem::Alignment { found });
            assert_eq!(place, Place::Key { index: 0, key: Some("general.alignment".into()) });
        }
        for (ty, found) in [(U16, "u16"), (U64, "u64"), (I32, "i32"), (STRING, "string"), (ARRAY, "array")] {
            let raw = Raw::new(format, 0, 1).key("general.alignment", ty);
            raw.clone().zeros(64).fails(raw.at() - 4, Problem::AlignmentType { found });
        }
    });
}

#[test]
fn rule_9_tensor_names() {
    every_format(|format| {
        let named = |len: usize| Raw::new(format, 1, 0).tensor("n".repeat(len), &[1], 24, 0).pad(32).u8(7);
        for len in [0, 1, 63, 64] {
            assert_eq!(named(len).ok().tensor(&"n".repeat(len)).unwrap().bytes().unwrap(), [7]);
        }
        let tensors = Raw::new(format, 0, 0).at();
        for len in [65, 255, 256, 300] {
            named(len as usize).fails(tensors, Problem::NameLength { len });
        }
        let one = Raw::new(format, 2, 0).tensor("a", &[0], 0, 0);
        one.clone().tensor("b", &[0], 0, 0).pad(32).ok();
        let place =
            one.clone().tensor("a", &[0], 1, 0).fails(one.at(), Problem::DuplicateTensor { first: 0 });
        assert_eq!(place, Place::Tensor { index: 1, name: Some("a".into()) });
    });
}

#[test]
fn rule_10_dimensions() {
    every_format(|format| {
        for dims in [&[][..], &[2], &[2, 3], &[2, 3, 1], &[2, 3, 1, 1], &[0], &[2, 0, 5]] {
            let raw = Raw::new(format, 1, 0).tensor("t", dims, 0, 0).pad(32).zeros(24);
            let gguf = raw.ok();
            let tensor = gguf.tensor("t").unwrap();
            assert_eq!(tensor.shape().dims(), dims);
            assert_eq!(tensor.bytes().unwrap().len() as u64, 4 * dims.iter().product::<u64>());
        }
        let dims_at = Raw::new(format, 1, 0).string("t").at();
        let place = Raw::new(format, 1, 0)
            .tensor("t", &[1; 5], 0, 0)
            .fails(dims_at, Problem::Dimensions { found: 5 });
        assert_eq!(place, Place::Tensor { index: 0, name: Some("t".into()) });
        let raw = Raw::new(format, 1, 0).string("t").u32(u32::MAX).zeros(64);
        raw.fails(dims_at, Problem::Dimensions { found: u32::MAX });
    });
}

#[test]
fn rule_11_sizes_do_not_wrap() {
    for format in [(2, false), (3, false), (2, true), (3, true)] {
        let raw = |dims: &[u64], ty| Raw::new(format, 1, 0).tensor("t", dims, ty, 0).pad(32);
        let dims_at = Raw::new(format, 1, 0).string("t").u32(1).at();
        for dims in [&[1 << 32, 1 << 32][..], &[1 << 63], &[i64::MAX as u64, 2], &[u64::MAX, 0]] {
            raw(dims, 0).fails(dims_at, Problem::Elements { shape: dims.to_vec() });
        }
        // The number of elements fits, but not the bytes: 2^61 values of 8 bytes wrap to 0.
        let problem = Problem::Bytes { shape: vec![1 << 61], ty: GgmlType::F64 };
        raw(&[1 << 61], 28).fails(dims_at, problem);
        // A size that wraps to 0 when it is padded, one that wraps when the header's length is added, and one
        // that is only too long.
        raw(&[(1 << 62) - 1], 0).fails(dims_at, Problem::TotalBytes);
        let header_len = Raw::new(format, 1, 0).tensor("t", &[0], 0, 0).at();
        let place = raw(&[(1 << 62) - 16], 0).fails(dims_at, Problem::TotalBytes);
        assert_eq!(place, Place::Tensor { index: 0, name: Some("t".into()) });
        let file_len = raw(&[0], 0).at();
        let end = 4 * ((1 << 62) - 32) + file_len;
        raw(&[(1 << 62) - 32], 0).data_fails(header_len - 8, Problem::DataBeyondEnd { end, file_len });
        let two = Raw::new(format, 5, 0);
        let quarter = (1 << 62) - 32;
        let names = ["a", "b", "c", "d", "e"];
        let raw = names
            .iter()
            .enumerate()
            .fold(two, |raw, (i, name)| raw.tensor(name, &[quarter], 24, (i as u64).wrapping_mul(quarter)));
        let last = raw.at() - 8 - 4 - 8;
        raw.fails(last, Problem::TotalBytes);
        // Zero stays zero, whatever the other extents are.
        let raw = Raw::new(format, 1, 0).tensor("t", &[0, 1 << 62, 1 << 62], 0, 0).pad(32);
        assert!(raw.ok().tensor("t").unwrap().bytes().unwrap().is_empty());
    }
    // With the start of the data added, it wraps; the data alone does not.
    let rest = u64::MAX - 31 - 4 * ((1 << 62) - 16);
    let raw = Raw::new((3, false), 2, 0).tensor("a", &[(1 << 62) - 16], 0, 0).tensor(
        "b",
        &[rest],
        24,
        4 * ((1 << 62) - 16),
    );
    // The type and the offset follow the extent.
    let place = raw.fails(raw.at() - 8 - 4 - 8, Problem::TotalBytes);
    assert_eq!(place, Place::Tensor { index: 1, name: Some("b".into()) });
}

#[test]
fn rule_12_types_and_whole_blocks() {
    every_format(|format| {
        let raw = |row: u64, ty| Raw::new(format, 1, 0).tensor("t", &[row, 1], ty, 0).pad(32).zeros(512);
        let dims_at = Raw::new(format, 1, 0).string("t").u32(1).at();
        let type_at = Raw::new(format, 1, 0).string("t").u32(1).len(1).len(1).at();
        for ty in GgmlType::ALL {
            let row_len = ty.block_len() as u64;
            assert_eq!(raw(row_len, ty.id()).ok().tensor("t").unwrap().ggml_type(), *ty);
            if row_len > 1 {
                raw(row_len - 1, ty.id())
                    .fails(dims_at, Problem::PartialBlock { ty: *ty, row_len: row_len - 1 });
            }
        }
        raw(1, 43).fails(type_at, Problem::TypeUnknown { id: 43 });
        raw(1, u32::MAX).fails(type_at, Problem::TypeUnknown { id: u32::MAX });
        for (id, name) in [(4, "Q4_2"), (5, "Q4_3"), (31, "Q4_0_4_4"), (38, "IQ4_NL_8_8")] {
            raw(32, id).fails(type_at, Problem::TypeRemoved { id, name });
        }
    });
}
