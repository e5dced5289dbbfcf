//! Rules 1 to 3: magic, version, counts; and the limits on what a header may claim.

use crate::cases::{Cases, Wanted};
use crate::common::raw::*;
use gguf_codec::Limits;

pub(crate) fn add(cases: &mut Cases) {
    magic(cases);
    version(cases);
    counts(cases);
    array_counts(cases);
    limits(cases);
}

fn magic(cases: &mut Cases) {
    cases.rule = "rule-01-magic";
    cases.ok("right", cases.raw(0, 0));
    for (name, magic) in [
        ("lower-case", *b"gguf"),
        ("reversed", *b"FUGG"),
        ("ggml", *b"GGML"),
        ("ggla", *b"ggla"),
        ("zeros", [0; 4]),
        ("ones", [0xff; 4]),
        ("first-byte", *b"\0GUF"),
        ("last-byte", *b"GGUG"),
    ] {
        let mut raw = cases.raw(0, 0);
        raw.bytes[..4].copy_from_slice(&magic);
        cases.bad(name, "Magic", raw);
    }
    let whole = cases.raw(0, 0);
    let cut = |len: usize| Raw { bytes: whole.bytes[..len].to_vec(), ..whole };
    cases.bad("empty-file", "Empty", cut(0));
    for len in 1..4 {
        cases.bad(format!("cut-at-{len}"), "Truncated", cut(len));
    }
    let mut wrong = cut(3);
    wrong.bytes[0] = b'X';
    cases.bad("wrong-and-cut-at-3", "Truncated", wrong);
}

fn version(cases: &mut Cases) {
    cases.rule = "rule-02-version";
    let big = cases.format.1;
    for found in [0, 4, 5, 255, 256, 0xffff, 0x1_0000, 0x1_0003, 0x7fff_ffff, u32::MAX] {
        cases.bad(format!("{found:#x}"), "Version", Raw::new((found, big), 0, 0));
    }
    let whole = cases.raw(0, 0);
    for len in 4..8 {
        cases.bad(format!("cut-at-{len}"), "Truncated", Raw { bytes: whole.bytes[..len].to_vec(), ..whole });
    }
}

fn counts(cases: &mut Cases) {
    cases.rule = "rule-03-counts";
    for at in 8..cases.raw(0, 0).bytes.len() {
        let whole = cases.raw(0, 0);
        let from_the_end = whole.bytes.len() - at;
        let cut = Raw { bytes: whole.bytes[..at].to_vec(), ..whole };
        cases.bad(format!("cut-{from_the_end}-before-their-end"), "Truncated", cut);
    }
    // The minimum sizes of a pair and a tensor.
    cases.at_the_byte("one-key", "Count", cases.raw(0, 1).key("k", U8).u8(0));
    cases.at_the_byte("two-keys", "Count", cases.raw(0, 2).key("k", U8).u8(0).key("l", U8).u8(0));
    cases.ok("one-tensor", cases.raw(1, 0).tensor("", &[0], 0, 0).pad(32));
    let mut short = cases.raw(1, 0).tensor("", &[], 0, 0);
    short.bytes.pop();
    cases.bad("one-tensor-a-byte-short", "Count", short);
    // The size that a key and a tensor need together, minus one byte.
    let both = cases.raw(1, 1).key("k", U8).u8(0).tensor("", &[], 24, 0);
    cases.ok("one-of-each", both.clone().pad(32).u8(0));
    let mut short = both;
    short.bytes.pop();
    cases.bad("one-of-each-a-byte-short", "Count", short);

    let many = 1 << 20;
    cases.bad("keys-at-the-limit-and-none-there", "Count", cases.raw(0, many));
    cases.bad("tensors-at-the-limit-and-none-there", "Count", cases.raw(many, 0));
    let mut beyond = vec![many + 1, 1 << 31, (1 << 32) - 1];
    if cases.wide() {
        beyond.extend([1 << 32, i64::MAX as u64, 1 << 63, u64::MAX]);
        // Multiplied by the minimum size of a pair, 14, and of a tensor, 24, these exceed 64 bits.
        beyond.extend([u64::MAX / 14 + 1, u64::MAX / 24 + 1]);
    }
    for count in beyond {
        cases.add(format!("{count:#x}-keys"), cases.raw(0, count), Limits::default(), Wanted::Limit);
        cases.add(format!("{count:#x}-tensors"), cases.raw(count, 0), Limits::default(), Wanted::Limit);
        // An index has 32 bits, whatever the limits say.
        let wanted = if count > u32::MAX.into() { Wanted::Limit } else { Wanted::Bad("Count") };
        cases.add(format!("{count:#x}-keys-unlimited"), cases.raw(0, count), ANY, wanted);
        cases.add(format!("{count:#x}-tensors-unlimited"), cases.raw(count, 0), ANY, wanted);
    }
    // Enough bytes for the counts, but none of them form a pair or a tensor.
    cases.bad("keys-of-zeros", "EmptyKey", cases.raw(0, 1000).zeros(14_000));
    // Nameless scalars of 4 bytes, all at the same offset.
    cases.bad("tensors-of-zeros", "Offset", cases.raw(1000, 0).zeros(24_000));
}

fn array_counts(cases: &mut Cases) {
    cases.rule = "rule-03-array-counts";
    let (format, most, len_bytes) = (cases.format, cases.most(), cases.raw(0, 0).len_bytes());
    for element in 0..13 {
        let least = match element {
            U8 | I8 | BOOL => 1,
            U16 | I16 => 2,
            U32 | I32 | F32 => 4,
            U64 | I64 | F64 => 8,
            STRING => len_bytes,
            _ => 4 + len_bytes,
        };
        let array =
            |count: u64, zeros: u64| Raw::new(format, 0, 1).array("k", element, count).zeros(zeros as usize);
        let name = |what: &str| format!("type-{element}-{what}");
        cases.at_the_byte(name("five"), "Count", array(5, 5 * least));
        cases.bad(name("2^20"), "Count", array(1 << 20, 100));
        // The header would be longer than allowed.
        cases.add(name("2^30"), array(1 << 30, 100), Limits::default(), Wanted::Limit);
        cases.add(name("most"), array(most, 100), Limits::default(), Wanted::Limit);
        cases.add(name("most-unlimited"), array(most, 100), ANY, Wanted::Bad("Count"));
        if cases.wide() && least > 1 {
            // In 64 bits, this number of elements wraps to no bytes at all, and one more to the bytes of one element.
            let wraps = u64::MAX / least + 1;
            cases.add(name("wraps-to-0-unlimited"), array(wraps, 100), ANY, Wanted::Bad("Count"));
            cases.add(name("wraps-to-1-unlimited"), array(wraps + 1, 100), ANY, Wanted::Bad("Count"));
        }
    }
}

fn limits(cases: &mut Cases) {
    cases.rule = "limits";
    let default = Limits::default();
    let format = cases.format;
    let mut about = |name: &str, raw: &Raw, at: Limits, below: Limits| {
        cases.add(format!("{name}-at"), raw.clone(), at, Wanted::Ok);
        cases.add(format!("{name}-beyond"), raw.clone(), below, Wanted::Limit);
    };
    let raw = |tensors, keys| Raw::new(format, tensors, keys);
    let keys = raw(0, 3).key("a", U8).u8(0).key("b", U8).u8(0).key("c", U8).u8(0);
    about("keys", &keys, Limits { max_keys: 3, ..default }, Limits { max_keys: 2, ..default });
    let tensors = raw(2, 0).tensor("a", &[0], 0, 0).tensor("b", &[0], 0, 0);
    let header_len = tensors.at();
    let tensors = tensors.pad(32);
    about("tensors", &tensors, Limits { max_tensors: 2, ..default }, Limits { max_tensors: 1, ..default });
    about(
        "header",
        &tensors,
        Limits { max_header_bytes: header_len, ..default },
        Limits { max_header_bytes: header_len - 1, ..default },
    );
    let string = |max_string_bytes| Limits { max_string_bytes, ..default };
    about("string", &raw(0, 1).key("k", STRING).string("12345"), string(5), string(4));
    about("key", &raw(0, 1).key("12345", U8).u8(0), string(5), string(4));
    let strings = raw(0, 1).array("k", STRING, 3).string("1").string("12345").string("12");
    about("string-in-an-array", &strings, string(5), string(4));
    let array = |max_array_len| Limits { max_array_len, ..default };
    about("array", &raw(0, 1).array("k", U16, 4).zeros(8), array(4), array(3));
    let nested = raw(0, 1).array("k", ARRAY, 2).u32(U8).len(1).u8(0).u32(U8).len(5).zeros(5);
    about("array-in-an-array", &nested, array(5), array(4));
    for (depth, name) in [(1, "depth-1"), (2, "depth-2"), (4, "depth-4"), (5, "depth-5")] {
        let limit = |max_array_depth| Limits { max_array_depth, ..default };
        about(name, &levels(format, depth), limit(depth), limit(depth - 1));
    }
    let aligned = raw(0, 1).alignment(64);
    let alignment = |max_alignment| Limits { max_alignment, ..default };
    about("alignment", &aligned, alignment(64), alignment(63));
    cases.ok("depth-4-by-default", levels(format, 4));
    cases.add("depth-5-by-default", levels(format, 5), default, Wanted::Limit);
    // Regardless of the limit.
    cases.add("depth-64-unlimited", levels(format, 64), ANY, Wanted::Ok);
    cases.add("depth-65-unlimited", levels(format, 65), ANY, Wanted::Limit);
    cases.add("depth-50000-unlimited", levels(format, 50_000), ANY, Wanted::Limit);
    cases.add("depth-50000", levels(format, 50_000), default, Wanted::Limit);
}

/// Nested arrays, with a byte in the innermost.
fn levels(format: (u32, bool), depth: u32) -> Raw {
    let start = Raw::new(format, 0, 1).key("k", ARRAY);
    (1..depth).fold(start, |raw, _| raw.u32(ARRAY).len(1)).u32(U8).len(1).u8(7)
}
