//! Rules 9 to 17: the tensor table, and the data after it.

use crate::cases::Cases;
use crate::common::raw::*;
use crate::metadata::{NOT_UTF8, UTF8};
use gguf_codec::GgmlType;

/// The type ids used below.
const I8_TENSOR: u32 = 24;
const I64_TENSOR: u32 = 27;
const Q8_0: u32 = 8;
const Q8_K: u32 = 15;

pub(crate) fn add(cases: &mut Cases) {
    names(cases);
    dimensions(cases);
    sizes(cases);
    sums(cases);
    types(cases);
    padding(cases);
    offsets(cases);
    ends(cases);
}

fn names(cases: &mut Cases) {
    cases.rule = "rule-09-names";
    let format = cases.format;
    let named = |name: &[u8]| Raw::new(format, 1, 0).tensor(name, &[1], I8_TENSOR, 0).pad(32).u8(0);
    for len in [0, 1, 63, 64] {
        cases.ok(format!("{len}-bytes"), named(&vec![b'n'; len]));
    }
    for len in [65, 127, 128, 255, 256, 257, 1000] {
        cases.bad(format!("{len}-bytes"), "NameLength", named(&vec![b'n'; len]));
    }
    let mut lengths = vec![(1 << 32) - 1];
    if cases.wide() {
        // The low bits are a plausible length.
        lengths.extend([1 << 32, (1 << 32) + 1, 1 << 63, u64::MAX]);
    }
    for len in lengths {
        let raw = Raw::new(format, 1, 0).len(len).raw(b"n").zeros(64);
        cases.bad(format!("{len:#x}-bytes"), "NameLength", raw);
    }
    // 64 bytes, not characters.
    cases.ok("32-characters-of-2-bytes", named("ü".repeat(32).as_bytes()));
    cases.bad("33-characters-of-2-bytes", "NameLength", named("ü".repeat(33).as_bytes()));
    for (name, bytes) in NOT_UTF8 {
        cases.bad(name, "NotUtf8", named(bytes));
    }
    for (name, bytes) in UTF8 {
        cases.ok(name, named(bytes));
    }
    let two = |a: &str, b: &str| Raw::new(format, 2, 0).tensor(a, &[0], 0, 0).tensor(b, &[0], 0, 0).pad(32);
    cases.bad("twice", "DuplicateTensor", two("t", "t"));
    cases.bad("twice-none", "DuplicateTensor", two("", ""));
    cases.ok("other-case", two("t", "T"));
    cases.ok("prefix", two("t", "tt"));
    let hundred = |last: &str| {
        let start = Raw::new(format, 100, 0);
        (0..99).fold(start, |raw, i| raw.tensor(format!("t{i}"), &[0], 0, 0)).tensor(last, &[0], 0, 0).pad(32)
    };
    cases.ok("hundred", hundred("t99"));
    cases.bad("first-and-last-of-a-hundred", "DuplicateTensor", hundred("t0"));
    let same = Raw::new(format, 1, 1).key("same", U8).u8(0).tensor("same", &[0], 0, 0).pad(32);
    cases.ok("as-a-key", same);
    cases.bad("shorter-than-told", "Truncated", Raw::new(format, 1, 0).len(64).raw(&[b'n'; 20]));
}

fn dimensions(cases: &mut Cases) {
    cases.rule = "rule-10-dimensions";
    let format = cases.format;
    let raw = |dims: &[u64]| Raw::new(format, 1, 0).tensor("t", dims, I8_TENSOR, 0).pad(32);
    for dims in [&[][..], &[1], &[2, 3], &[2, 3, 4], &[1, 2, 3, 4], &[1, 1, 1, 1]] {
        let len: u64 = dims.iter().product();
        cases.ok(format!("{}-{dims:?}", dims.len()), raw(dims).zeros(len as usize));
    }
    for dims in [&[0][..], &[0, 5], &[5, 0], &[2, 3, 0, 4], &[0, 0, 0, 0]] {
        cases.ok(format!("none-{dims:?}"), raw(dims));
    }
    cases.bad("five", "Dimensions", raw(&[1; 5]).zeros(1));
    for count in [6, 255, 256, 1 << 16, 1 << 31, u32::MAX] {
        let raw = Raw::new(format, 1, 0).string("t").u32(count).zeros(100);
        cases.bad(format!("{count:#x}"), "Dimensions", raw);
    }
    for count in 1..5 {
        let short = Raw::new(format, 1, 0).string("a tensor").u32(count).zeros(count as usize * 4 - 1);
        cases.bad(format!("{count}-cut"), "Count", short);
    }
}

fn sizes(cases: &mut Cases) {
    cases.rule = "rule-11-sizes";
    let format = cases.format;
    let raw = |dims: &[u64], ty| Raw::new(format, 1, 0).tensor("t", dims, ty, 0).pad(32).zeros(64);
    let k = 1 << 16;
    if !cases.wide() {
        // Extents of 32 bits.
        let most = u64::from(u32::MAX);
        for (name, dims) in [
            ("2^64", &[k, k, k, k][..]),
            ("2^63", &[1 << 31, 1 << 31, 2]),
            ("most-squared", &[most, most]),
            ("most-four-times", &[most; 4]),
        ] {
            cases.bad(name, "Elements", raw(dims, I8_TENSOR));
        }
        for (name, dims) in [("2^31", &[1 << 31][..]), ("most", &[most]), ("2^62", &[1 << 31, 1 << 31])] {
            cases.bad_data(name, "DataBeyondEnd", raw(dims, I8_TENSOR));
        }
        cases.bad("2^62-in-i64", "Bytes", raw(&[1 << 31, 1 << 31], I64_TENSOR));
        return;
    }
    // The products that ggml allows are smaller.
    let bound = i64::MAX as u64;
    for (name, dims) in [
        ("2^63-1", &[bound][..]),
        ("2^63-1-in-factors", &[7 * 7 * 73 * 127, 337 * 92_737, 649_657]),
        ("2^63", &[1 << 63]),
        ("all-ones", &[u64::MAX]),
        ("2^32-squared", &[1 << 32, 1 << 32]),
        ("2^32-times-2^31", &[1 << 32, 1 << 31]),
        ("2^16-four-times", &[k, k, k, k]),
        ("2^21-three-times", &[1 << 21, 1 << 21, 1 << 21]),
        ("twice-2^63-1", &[bound, 2]),
        ("2^63-1-four-times", &[bound; 4]),
        ("all-ones-squared", &[u64::MAX, u64::MAX]),
        ("wraps-to-1", &[1 << 32 | 1, 0xffff_ffff]),
        ("none-of-2^63", &[0, 1 << 63]),
        ("2^63-of-none", &[1 << 63, 0]),
    ] {
        for ty in [0, I8_TENSOR] {
            cases.bad(format!("{name}-of-type-{ty}"), "Elements", raw(dims, ty));
        }
    }
    cases.ok("none-of-2^63-1", raw(&[0, bound], 0));
    cases.ok("2^63-1-of-none", raw(&[bound, 0], I8_TENSOR));
    cases.ok("none-of-2^62-squared", raw(&[0, 1 << 62, 1 << 62], 0));
    for (name, dims) in [
        ("2^63-2", &[bound - 1][..]),
        ("2^32-times-less-than-2^31", &[1 << 32, (1 << 31) - 1]),
        ("2^40", &[1 << 40]),
    ] {
        cases.bad_data(name, "DataBeyondEnd", raw(dims, I8_TENSOR));
    }
    // Sizes in bytes that wrap to 0 or to a small number, and a size that fits without its padding but not with it.
    for (name, dims, ty) in [
        ("2^61-of-8", 1 << 61, I64_TENSOR),
        ("2^61+1-of-8", (1 << 61) + 1, I64_TENSOR),
        ("2^62-of-8", 1 << 62, I64_TENSOR),
        ("2^62-of-4", 1 << 62, 0),
        ("2^63-2-of-8", bound - 1, I64_TENSOR),
        ("2^63-2-of-4", bound - 1, 0),
    ] {
        cases.bad(name, "Bytes", raw(&[dims], ty));
    }
    for (name, dims, ty) in [
        ("2^61-1-of-8", (1 << 61) - 1, I64_TENSOR),
        ("2^62-1-of-4", (1 << 62) - 1, 0),
        ("2^63-2-of-2", bound - 1, 1),
        // Padded it fits, but no longer once the header precedes it.
        ("2^62-16-of-4", (1 << 62) - 16, 0),
    ] {
        cases.bad(name, "TotalBytes", raw(&[dims], ty));
    }
    for (name, dims, ty) in [
        ("2^62-32-of-4", (1 << 62) - 32, 0),
        ("2^63-32-of-Q8_0", (1 << 63) - 32, Q8_0),
        ("2^63-256-of-Q8_K", (1 << 63) - 256, Q8_K),
    ] {
        cases.bad_data(name, "DataBeyondEnd", raw(&[dims], ty));
    }
}

fn sums(cases: &mut Cases) {
    cases.rule = "rule-11-sums";
    if !cases.wide() {
        return;
    }
    let format = cases.format;
    // Tensors of a given number of bytes, whose padded sizes are summed in 64 bits.
    let raw = |count: u64, len: u64| {
        let start = Raw::new(format, count, 0);
        let offset = |i: u64| i.wrapping_mul(len.next_multiple_of(32));
        (0..count).fold(start, |raw, i| raw.tensor(format!("t{i}"), &[len], I8_TENSOR, offset(i))).pad(32)
    };
    cases.bad("4-of-2^62", "TotalBytes", raw(4, 1 << 62));
    cases.bad("5-of-2^62", "TotalBytes", raw(5, 1 << 62));
    cases.bad_data("3-of-2^62", "DataBeyondEnd", raw(3, 1 << 62));
    // Their end wraps only with a header of more than 96 bytes.
    cases.bad("2-of-2^63-32", "TotalBytes", raw(2, (1 << 63) - 32));
    cases.bad_data("2-of-2^63-1024", "DataBeyondEnd", raw(2, (1 << 63) - 1024));
    cases.bad("3-of-2^63-64", "TotalBytes", raw(3, (1 << 63) - 64));
    cases.bad("64-of-2^58", "TotalBytes", raw(64, 1 << 58));
    cases.bad_data("63-of-2^58", "DataBeyondEnd", raw(63, 1 << 58));
}

fn types(cases: &mut Cases) {
    cases.rule = "rule-12-types";
    let format = cases.format;
    let raw = |dims: &[u64], ty| Raw::new(format, 1, 0).tensor("t", dims, ty, 0).pad(32);
    for ty in GgmlType::ALL {
        let (len, bytes) = (ty.block_len() as u64, ty.block_bytes());
        cases.ok(format!("{ty}-a-block"), raw(&[len], ty.id()).zeros(bytes));
        cases.ok(format!("{ty}-2-blocks-of-3-rows"), raw(&[2 * len, 3], ty.id()).zeros(6 * bytes));
        cases.ok(format!("{ty}-none"), raw(&[0], ty.id()));
        let short = raw(&[len], ty.id()).zeros(bytes - 1);
        cases.bad_data(format!("{ty}-a-byte-short"), "DataBeyondEnd", short);
        if len > 1 {
            for wrong in [1, len / 2, len - 1, len + 1, 3 * len / 2] {
                let raw = raw(&[wrong], ty.id()).zeros(2 * bytes);
                cases.bad(format!("{ty}-row-of-{wrong}"), "PartialBlock", raw);
            }
            // The same number of values as a block, but not in one row.
            let rows = raw(&[len / 2, 2], ty.id()).zeros(bytes);
            cases.bad(format!("{ty}-half-a-block-of-2-rows"), "PartialBlock", rows);
            cases.bad(format!("{ty}-no-dimensions"), "PartialBlock", raw(&[], ty.id()).zeros(bytes));
        }
    }
    for id in [4, 5, 31, 32, 33, 36, 37, 38] {
        cases.bad(format!("removed-{id}"), "TypeRemoved", raw(&[256], id).zeros(512));
    }
    for id in [43, 44, 100, 255, 256, 0xffff, 1 << 24, 1 << 31, u32::MAX] {
        cases.bad(format!("unknown-{id:#x}"), "TypeUnknown", raw(&[256], id).zeros(512));
    }
}

fn padding(cases: &mut Cases) {
    cases.rule = "rule-13-padding";
    let format = cases.format;
    for len in 1..=33usize {
        // Every remainder that a header can leave.
        let raw = Raw::new(format, 1, 0).tensor("n".repeat(len), &[0], 0, 0);
        let padded = raw.clone().pad(32);
        let missing = padded.at() - raw.at();
        cases.ok(format!("{missing}-of-{missing}-name-{len}"), padded.clone());
        if missing > 0 {
            let mut short = padded;
            short.bytes.pop();
            cases.bad_data(format!("{}-of-{missing}-name-{len}", missing - 1), "Truncated", short);
        }
    }
    cases.ok("none-without-tensors", Raw::new(format, 0, 1).key("k", U8).u8(0));
    let raw = Raw::new(format, 1, 0).tensor("t", &[4], I8_TENSOR, 0);
    let len = (32 - raw.bytes.len() % 32) % 32;
    cases.ok("not-zero", raw.raw(&vec![0xff; len]).zeros(4));
}

fn offsets(cases: &mut Cases) {
    cases.rule = "rule-14-offsets";
    let format = cases.format;
    let raw = |first: u64, second: u64| {
        let raw = Raw::new(format, 2, 0).tensor("a", &[5], 0, first).tensor("b", &[1], 0, second);
        raw.pad(32).zeros(200)
    };
    cases.ok("running-sum", raw(0, 32));
    for (name, second) in [
        ("same", 0),
        ("within", 4),
        ("unpadded", 20),
        ("one-less", 31),
        ("one-more", 33),
        ("gap", 64),
        ("2^32-more", (1 << 32) + 32),
        ("negative", u64::MAX - 31),
        ("all-ones", u64::MAX),
    ] {
        cases.bad(name, "Offset", raw(0, second));
    }
    cases.bad("first-1", "Offset", raw(1, 32));
    cases.bad("first-32", "Offset", raw(32, 64));
    cases.bad("swapped", "Offset", raw(32, 0));
    cases.bad("from-the-start-of-the-file", "Offset", raw(128, 160));
    let empty = |second| {
        let raw = Raw::new(format, 2, 0).tensor("a", &[0], 0, 0).tensor("b", &[1], 0, second);
        raw.pad(32).zeros(36)
    };
    cases.ok("behind-an-empty-tensor", empty(0));
    cases.bad("behind-an-empty-tensor-padded", "Offset", empty(32));
    cases.bad("before-it-cut", "Count", Raw::new(format, 1, 0).string("name").u32(1).len(9).u32(0).zeros(7));
}

fn ends(cases: &mut Cases) {
    cases.rule = "rule-15-17-ends";
    let format = cases.format;
    let raw = |data: usize| {
        let raw = Raw::new(format, 2, 0).tensor("a", &[8], 0, 0).tensor("b", &[3], I8_TENSOR, 32);
        raw.pad(32).zeros(data)
    };
    for len in [35, 36, 63, 64] {
        cases.ok(format!("{len}-of-64"), raw(len));
    }
    for len in [0, 1, 31, 32, 34] {
        cases.bad_data(format!("{len}-of-64"), "DataBeyondEnd", raw(len));
    }
    cases.ok("padding-not-zero", raw(35).raw(&[0xff; 29]));
    cases.ok("more-behind", raw(64).raw(b"and more"));
    cases.ok("another-file-behind", raw(64).raw(&raw(64).bytes));
    let nothing = Raw::new(format, 0, 0);
    cases.ok("no-tensors", nothing.clone());
    cases.ok("no-tensors-and-more-behind", nothing.raw(b"GGUF GGUF GGUF"));
    cases.ok("everything", everything(format));
}
