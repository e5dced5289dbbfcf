//! The cases that `tests/test-gguf.cpp` of llama.cpp makes by hand, under the same names. Their contents differ:
//! theirs are random, ours are always the same. Ten keys, and five tensors if there are any.

use crate::cases::{Cases, Wanted};
use crate::common::raw::*;

/// The name of one of these cases, and its difference from a valid file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Twist {
    None,
    /// Each key has this length, followed by its normal bytes.
    KeyLength,
    EmptyKeys,
    ValueType,
    KeysInPairs,
    NameLength,
    FiveDimensions,
    /// Every extent has this value.
    Extents(u64),
    NoRows,
    Int64(u64),
    TensorType,
    Offset,
    SameNames,
    /// Offsets as if the alignment were 1, where it is 32.
    OffsetsUnpadded,
}

/// A value type, and the type of its elements if it is an array.
const KEYS: [(u32, u32); 10] = [
    (U8, 0),
    (STRING, 0),
    (ARRAY, STRING),
    (F64, 0),
    (BOOL, 0),
    (ARRAY, I16),
    (U64, 0),
    (ARRAY, BOOL),
    (F32, 0),
    (ARRAY, F64),
];

/// Extents and a type, with 20, 136, 144, 66 and 8 bytes: none is a multiple of 32.
const TENSORS: [(&[u64], u32); 5] =
    [(&[5], 0), (&[32, 2, 2], 8), (&[256], 12), (&[11, 3], 1), (&[2, 1, 1, 4], 24)];

fn value(raw: Raw, ty: u32, element: u32) -> Raw {
    match ty {
        U8 => raw.u8(200),
        BOOL => raw.u8(1),
        F32 => raw.f32(-1.5),
        F64 => raw.f64(2.5),
        U64 => raw.u64(1 << 40),
        STRING => raw.string("a value"),
        _ => match element {
            STRING => raw.u32(element).len(3).string("ab").string("").string("abcd"),
            I16 => raw.u32(element).len(2).u16(1).u16(0xffff),
            BOOL => raw.u32(element).len(4).raw(&[0, 1, 1, 0]),
            _ => raw.u32(element).len(0),
        },
    }
}

fn keys(mut raw: Raw, twist: Twist) -> Raw {
    let most = if raw.version == 1 { u32::MAX.into() } else { u64::MAX };
    for (i, (ty, element)) in KEYS.into_iter().enumerate() {
        let key = match twist {
            Twist::EmptyKeys => String::new(),
            Twist::KeysInPairs => format!("my_key_{}", i / 2),
            _ => format!("my_key_{i}"),
        };
        raw = raw.len(if twist == Twist::KeyLength { most } else { key.len() as u64 }).raw(key.as_bytes());
        raw = match twist {
            Twist::ValueType => raw.u32(13).u8(1),
            _ => value(raw.u32(ty), ty, element),
        };
    }
    raw
}

/// The table, its padding, and how many bytes the data takes.
fn tensors(mut raw: Raw, twist: Twist, alignment: u64) -> (Raw, usize) {
    let mut offset = 0u64;
    for (i, (dims, ty)) in TENSORS.into_iter().enumerate() {
        let name = match twist {
            Twist::SameNames => "my_tensor".to_owned(),
            Twist::NameLength => format!("my_tensor_{i}_{}", "with_a_name_that_is_too_long".repeat(3)),
            _ => format!("my_tensor_{i}"),
        };
        let two_of = |extent| vec![extent; 2];
        let (dims, ty) = match twist {
            Twist::FiveDimensions => (vec![1; 5], ty),
            Twist::Extents(extent) => (two_of(extent), ty),
            Twist::NoRows => (vec![dims[0], 0], ty),
            Twist::Int64(extent) => (two_of(extent), 27),
            Twist::TensorType => (dims.to_vec(), 43),
            _ => (dims.to_vec(), ty),
        };
        let written = if twist == Twist::Offset { u64::MAX } else { offset };
        raw = raw.tensor(name, &dims, ty, written);
        let padded = if twist == Twist::OffsetsUnpadded { 1 } else { alignment };
        let bytes = [20, 136, 144, 66, 8][i];
        offset += if twist == Twist::NoRows { 0 } else { u64::next_multiple_of(bytes, padded) };
    }
    (raw.pad(if twist == Twist::OffsetsUnpadded { 1 } else { alignment as usize }), offset as usize)
}

pub(crate) fn add(cases: &mut Cases) {
    cases.rule = "llama.cpp";
    let format = cases.format;
    let (most, wide) = (cases.most(), cases.wide());
    let raw = |tensors, keys| Raw::new(format, tensors, keys);

    let mut fugg = raw(0, 0);
    fugg.bytes[..4].copy_from_slice(b"FUGG");
    cases.bad("HEADER_BAD_MAGIC", "Magic", fugg.pad(32));
    let version = |version| Raw::new((version, format.1), 0, 0).zeros(8).pad(32);
    cases.bad("HEADER_BAD_VERSION_0", "Version", version(0));
    // ggml reads no file of version 1, whose counts have 32 bits.
    cases.ok("HEADER_BAD_VERSION_1", version(1));
    cases.bad("HEADER_BAD_VERSION_FUTURE", "Version", version(4));
    cases.add("HEADER_BAD_N_TENSORS", raw(most, 0).pad(32), Default::default(), Wanted::Limit);
    cases.add("HEADER_BAD_N_KV", raw(0, most).pad(32), Default::default(), Wanted::Limit);
    cases.ok("HEADER_EMPTY", raw(0, 0).pad(32));

    let twisted = |twist| keys(raw(0, 10), twist).pad(32);
    cases.add("KV_BAD_KEY_SIZE", twisted(Twist::KeyLength), Default::default(), Wanted::Limit);
    cases.bad("KV_EMPTY_KEY", "EmptyKey", twisted(Twist::EmptyKeys));
    cases.bad("KV_BAD_TYPE", "ValueType", twisted(Twist::ValueType));
    cases.bad("KV_DUPLICATE_KEY", "DuplicateKey", twisted(Twist::KeysInPairs));
    cases.bad("KV_BAD_ALIGN", "Alignment", keys(raw(0, 11), Twist::None).alignment(13).pad(13));
    let signed = keys(raw(0, 11), Twist::None).key("general.alignment", I32).u32(13);
    cases.bad("KV_WRONG_TYPE_ALIGN", "AlignmentType", signed.pad(13));
    cases.ok("KV_RANDOM_KV", twisted(Twist::None));

    let table = |twist| tensors(keys(raw(5, 10), Twist::None), twist, 32);
    cases.bad("TENSORS_BAD_NAME_SIZE", "NameLength", table(Twist::NameLength).0);
    cases.bad("TENSORS_BAD_N_DIMS", "Dimensions", table(Twist::FiveDimensions).0);
    // -1, as a signed number.
    cases.bad("TENSORS_BAD_SHAPE", "Elements", table(Twist::Extents(most)).0);
    cases.ok("TENSORS_ZERO_DIM", table(Twist::NoRows).0);
    let too_big = if wide { 4 * i32::MAX as u64 } else { u32::MAX.into() };
    cases.bad("TENSORS_NE_TOO_BIG", "Elements", table(Twist::Extents(too_big)).0);
    // Squared, with 8 bytes each, these just exceed 64 bits.
    cases.bad("TENSORS_NBYTES_TOO_BIG", "Bytes", table(Twist::Int64(1_533_916_891)).0);
    cases.bad("TENSORS_BAD_TYPE", "TypeUnknown", table(Twist::TensorType).0);
    cases.bad("TENSORS_BAD_OFFSET", "Offset", table(Twist::Offset).0);
    cases.bad("TENSORS_DUPLICATE_NAME", "DuplicateTensor", table(Twist::SameNames).0);
    let aligned = |alignment| {
        tensors(keys(raw(5, 11), Twist::None).alignment(alignment), Twist::None, alignment.into())
    };
    cases.bad("TENSORS_BAD_ALIGN", "Alignment", aligned(13).0);
    cases.bad("TENSORS_INCONSISTENT_ALIGN", "Offset", table(Twist::OffsetsUnpadded).0);
    // In this case only the table is read, which needs no data.
    cases.bad_data("TENSORS_SUCCESS", "DataBeyondEnd", table(Twist::None).0);
    cases.bad_data("TENSORS_CUSTOM_ALIGN", "DataBeyondEnd", aligned(1).0);

    let with_data = |(raw, len): (Raw, usize)| {
        let data: Vec<u8> = (0..len).map(|i| i as u8).collect();
        raw.raw(&data)
    };
    let (head, len) = table(Twist::None);
    // One byte less than the data and its padding: ggml requires the final padding too.
    let padding_short = with_data((head.clone(), len - 1));
    cases.ok("DATA_NOT_ENOUGH_DATA", padding_short);
    cases.bad_data("DATA_NOT_ENOUGH_DATA/but-padding", "DataBeyondEnd", with_data((head, len - 32 + 8 - 1)));
    cases.bad("DATA_BAD_ALIGN", "Alignment", with_data(aligned(13)));
    cases.bad("DATA_INCONSISTENT_ALIGN", "Offset", with_data(table(Twist::OffsetsUnpadded)));
    if wide {
        let huge = 0x7fff_ffff_ffff_ffc0;
        let two = keys(raw(2, 10), Twist::None).tensor("my_tensor_0", &[huge], 24, 0);
        let two = two.tensor("my_tensor_1", &[huge], 24, huge).pad(32).zeros(32);
        cases.bad("DATA_MEM_SIZE_OVERFLOW", "TotalBytes", two);
    }
    cases.ok("DATA_SUCCESS", with_data(table(Twist::None)));
    cases.ok("DATA_CUSTOM_ALIGN", with_data(aligned(1)));
}
