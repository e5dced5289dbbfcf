//! Rules 4 to 8: strings, keys, values, bools, the alignment.

use crate::cases::{Cases, Wanted};
use crate::common::raw::*;
use gguf_codec::Limits;

pub(crate) fn add(cases: &mut Cases) {
    strings(cases);
    keys(cases);
    values(cases);
    arrays(cases);
    bools(cases);
    alignment(cases);
}

/// Invalid UTF-8, each in a different way.
pub(crate) const NOT_UTF8: [(&str, &[u8]); 7] = [
    ("no-start", b"\x80"),
    ("never-a-byte", b"a\xffb"),
    ("cut", b"a\xc3"),
    ("overlong", b"\xc0\x80"),
    ("surrogate", b"\xed\xa0\x80"),
    ("beyond-unicode", b"\xf4\x90\x80\x80"),
    ("five-bytes", b"\xf8\x88\x80\x80\x80"),
];

/// Valid but unusual UTF-8.
pub(crate) const UTF8: [(&str, &[u8]); 5] = [
    ("nul", b"a\0b"),
    ("control", b"\n\x1b[2J\r"),
    ("two-bytes", "ü".as_bytes()),
    ("last-character", "\u{10ffff}".as_bytes()),
    ("right-to-left", "\u{202e}abc".as_bytes()),
];

fn strings(cases: &mut Cases) {
    cases.rule = "rule-04-strings";
    let format = cases.format;
    let raw = || Raw::new(format, 0, 1);
    cases.ok("empty", raw().key("k", STRING).string(""));
    cases.at_the_byte("value", "Truncated", raw().key("k", STRING).string("12345"));
    cases.at_the_byte("key", "Truncated", raw().key("12345", U8).u8(0));
    cases.bad("key-longer-than-the-file", "Truncated", raw().len(100).raw(b"key").zeros(50));
    cases.bad("value-longer-than-the-file", "Truncated", raw().key("k", STRING).len(100).zeros(99));
    cases.bad("length-cut", "Truncated", raw().key("key", STRING).raw(&[0; 3]));
    for (name, bytes) in NOT_UTF8 {
        cases.bad(format!("key-{name}"), "NotUtf8", raw().key(bytes, U8).u8(0));
        cases.ok(format!("value-{name}"), raw().key("k", STRING).string(bytes));
        cases.ok(format!("element-{name}"), raw().array("k", STRING, 1).string(bytes));
    }
    for (name, bytes) in UTF8 {
        cases.ok(format!("key-{name}"), raw().key(bytes, U8).u8(0));
    }
    // Lengths around the limit of 2^30; the limit on the header, which is equally high, is reached first.
    let mut long = vec![1 << 30, (1 << 30) + 1, 1 << 31, (1 << 32) - 1];
    if cases.wide() {
        // Added to an offset, or to the required bytes that follow, the last ones exceed 64 bits.
        long.extend([1 << 32, 1 << 62, 1 << 63, u64::MAX - 100, u64::MAX - 8, u64::MAX]);
    }
    for len in long {
        let value = raw().key("k", STRING).len(len).zeros(64);
        let key = raw().len(len).zeros(64);
        let element = raw().array("k", STRING, 2).string("a").len(len).zeros(64);
        for (what, raw) in [("value", value), ("key", key), ("element", element)] {
            cases.add(format!("{what}-of-{len:#x}"), raw.clone(), Limits::default(), Wanted::Limit);
            cases.add(format!("{what}-of-{len:#x}-unlimited"), raw, ANY, Wanted::Bad("Truncated"));
        }
    }
    let array = raw().array("k", STRING, 3).string("a").string("").string("ccc");
    cases.at_the_byte("array", "Truncated", array);
    cases.bad("array-longer-than-the-file", "Truncated", raw().array("k", STRING, 1).len(9).zeros(8));
}

fn keys(cases: &mut Cases) {
    cases.rule = "rule-05-keys";
    let format = cases.format;
    let raw = |keys| Raw::new(format, 0, keys);
    cases.bad("empty", "EmptyKey", raw(1).key("", U8).zeros(2));
    cases.bad("second-empty", "EmptyKey", raw(2).key("k", U8).u8(0).key("", U8).zeros(2));
    cases.bad("twice", "DuplicateKey", raw(2).key("k", U8).u8(0).key("k", U8).u8(0));
    cases.bad("twice-in-other-types", "DuplicateKey", raw(2).key("k", U8).u8(0).key("k", U32).u32(0));
    cases.ok("other-case", raw(2).key("k", U8).u8(0).key("K", U8).u8(0));
    cases.ok("prefix", raw(2).key("k", U8).u8(0).key("kk", U8).u8(0));
    cases.ok("nul-behind-it", raw(2).key("k", U8).u8(0).key("k\0", U8).u8(0));
    // One character in two encodings: different bytes are different keys.
    cases.ok("composed", raw(2).key("\u{e9}", U8).u8(0).key("e\u{301}", U8).u8(0));
    let hundred = |last: &str| {
        let start = (0..99).fold(raw(100), |raw, i| raw.key(format!("key.{i}"), U8).u8(0));
        start.key(last, U8).u8(0)
    };
    cases.ok("hundred", hundred("key.99"));
    cases.bad("first-and-last-of-a-hundred", "DuplicateKey", hundred("key.0"));
    cases.bad("last-two-of-a-hundred", "DuplicateKey", hundred("key.98"));
    for len in [255, 256, 65_535, 65_536, 100_000] {
        cases.ok(format!("{len}-bytes-long"), raw(1).key("k".repeat(len), U8).u8(0));
        let wrong = raw(1).key("k".repeat(len), 13).zeros(64);
        cases.bad(format!("{len}-bytes-long-of-type-13"), "ValueType", wrong);
    }
}

/// A value of each type, of minimum size.
fn least(raw: Raw, ty: u32) -> Raw {
    match ty {
        U8 | I8 | BOOL => raw.u8(1),
        U16 | I16 => raw.u16(1),
        U32 | I32 | F32 => raw.u32(1),
        U64 | I64 | F64 => raw.u64(1),
        STRING => raw.string("s"),
        _ => raw.u32(U8).len(1).u8(1),
    }
}

fn values(cases: &mut Cases) {
    cases.rule = "rule-06-values";
    let format = cases.format;
    let raw = || Raw::new(format, 0, 1);
    for ty in 0..13 {
        let value = least(raw().key("k", ty), ty);
        // A pair with a one-byte value is checked against the remaining bytes before its type is known.
        let problem = match ty {
            U8 | I8 | BOOL | ARRAY => "Count",
            _ => "Truncated",
        };
        cases.at_the_byte(format!("type-{ty}"), problem, value);
    }
    for ty in [13, 14, 255, 256, 0xffff, 1 << 24, 1 << 31, u32::MAX] {
        cases.bad(format!("type-{ty:#x}"), "ValueType", raw().key("k", ty).zeros(32));
        cases.bad(format!("array-of-type-{ty:#x}"), "ValueType", raw().array("k", ty, 0));
        let nested = raw().array("k", ARRAY, 1).u32(ty).len(0);
        cases.bad(format!("array-in-an-array-of-type-{ty:#x}"), "ValueType", nested);
    }
    cases.bad("type-cut", "Truncated", raw().string("key").raw(&[0; 3]));
}

fn arrays(cases: &mut Cases) {
    cases.rule = "rule-06-arrays";
    let format = cases.format;
    let raw = || Raw::new(format, 0, 1);
    for element in 0..13 {
        cases.ok(format!("empty-of-type-{element}"), raw().array("k", element, 0));
        let two = least(least(raw().array("k", element, 2), element), element);
        cases.ok(format!("two-of-type-{element}"), two.clone());
        let mut short = two;
        short.bytes.pop();
        // Strings and arrays may be cut before their end.
        let problem = if element == STRING { "Truncated" } else { "Count" };
        cases.bad(format!("two-of-type-{element}-a-byte-short"), problem, short);
    }
    cases.bad("type-cut", "Truncated", raw().key("k", ARRAY).raw(&[0; 3]));
    cases.bad("length-cut", "Truncated", raw().key("k", ARRAY).u32(U8).raw(&[0; 3]));
    let ragged = raw().array("k", ARRAY, 3).u32(U8).len(2).u16(0).u32(STRING).len(1).string("s");
    cases.at_the_byte("ragged", "Count", ragged.u32(F64).len(1).u64(0));
    let empties = raw().array("k", ARRAY, 4);
    let empties = (0..4).fold(empties, |raw, element| raw.u32(element * 3).len(0));
    cases.at_the_byte("of-empty-arrays", "Count", empties);
    let deep = raw().array("k", ARRAY, 1).u32(ARRAY).len(1).u32(STRING).len(2).string("a").string("b");
    cases.at_the_byte("of-arrays-of-strings", "Truncated", deep);
    // An inner array that uses the space that the next one needs.
    let greedy = raw().array("k", ARRAY, 2).u32(U8).len(13).zeros(13);
    cases.bad("inner-array-takes-all", "Count", greedy);
}

fn bools(cases: &mut Cases) {
    cases.rule = "rule-07-bools";
    let format = cases.format;
    let raw = || Raw::new(format, 0, 1);
    for value in [0, 1] {
        cases.ok(format!("{value}"), raw().key("k", BOOL).u8(value));
    }
    for value in [2, 3, 0x7f, 0x80, 0xfe, 0xff] {
        cases.ok(format!("{value:#x}"), raw().key("k", BOOL).u8(value));
    }
    cases.ok("array", raw().array("k", BOOL, 4).raw(&[0, 1, 1, 0]));
    for at in [0, 1, 3] {
        let mut values = [1; 4];
        values[at] = 2;
        cases.ok(format!("array-element-{at}"), raw().array("k", BOOL, 4).raw(&values));
    }
    let nested = raw().array("k", ARRAY, 1).u32(BOOL).len(2).raw(&[1, 2]);
    cases.ok("in-an-array-in-an-array", nested);
}

fn alignment(cases: &mut Cases) {
    cases.rule = "rule-08-alignment";
    let format = cases.format;
    let raw = |tensors, keys| Raw::new(format, tensors, keys);
    for power in 0..32 {
        let alignment = 1u32 << power;
        let alone = raw(0, 1).alignment(alignment);
        match power {
            0..=16 => cases.ok(format!("2^{power}"), alone),
            _ => {
                cases.add(format!("beyond-2^{power}"), alone.clone(), Limits::default(), Wanted::Limit);
                cases.add(format!("2^{power}-unlimited"), alone, ANY, Wanted::Ok);
            }
        }
        // 3 is already tested as the neighbour of 2.
        let beside = [Some(alignment + 1).filter(|_| power > 0), Some(alignment - 1).filter(|_| power > 2)];
        for wrong in beside.into_iter().flatten() {
            cases.bad(format!("{wrong:#x}"), "Alignment", raw(0, 1).alignment(wrong));
        }
        if power <= 16 {
            let two = raw(2, 1).alignment(alignment).tensor("a", &[1], 24, 0);
            let two = two.tensor("b", &[1], 24, alignment.into()).pad(alignment as usize);
            cases.ok(format!("2^{power}-and-tensors"), two.u8(1).pad(alignment as usize).u8(2));
        }
    }
    for wrong in [0, 12, 13, 48, u32::MAX] {
        cases.bad(format!("{wrong:#x}"), "Alignment", raw(0, 1).alignment(wrong));
    }
    for ty in (0..13).filter(|&ty| ty != U32) {
        let other = least(raw(0, 1).key("general.alignment", ty), ty);
        cases.bad(format!("of-type-{ty}"), "AlignmentType", other);
    }
    cases.bad("twice", "DuplicateKey", raw(0, 2).alignment(32).alignment(32));
    for name in ["general.alignment ", "General.alignment", "general.alignmen", "general.alignment\0"] {
        cases.ok(format!("not-its-key-{}", name.escape_default()), raw(0, 1).key(name, U32).u32(3));
    }
    // The last key counts as much as the first.
    let last = raw(1, 2).key("k", U8).u8(0).alignment(2).tensor("t", &[1], 24, 0);
    cases.ok("last-key", last.pad(2).u8(1));
    let huge = raw(1, 1).alignment(1 << 31).tensor("t", &[0], 24, 0);
    cases.add("2^31-and-no-padding-unlimited", huge, ANY, Wanted::BadData("Truncated"));
    let huge = raw(2, 1).alignment(1 << 31).tensor("a", &[1], 24, 0).tensor("b", &[1], 24, 1);
    cases.add("2^31-not-kept-unlimited", huge, ANY, Wanted::Bad("Offset"));
    let largest = raw(2, 1).alignment(1 << 16).tensor("a", &[1], 24, 0).tensor("b", &[1], 24, 1);
    cases.bad("2^16-not-kept", "Offset", largest);
    let largest = raw(1, 1).alignment(1 << 16).tensor("t", &[0], 24, 0);
    cases.bad_data("2^16-and-no-padding", "Truncated", largest);
}
