//! The program as a user runs it: exit codes, one line for each failure, hostile files, and what conversions leave behind.

/// Helpers shared with the library's tests.
#[path = "../../../tests/common"]
mod common {
    pub(crate) mod layout;
    pub(crate) mod oracles;
    #[path = "builder.rs"]
    pub(crate) mod raw;

    pub(crate) use oracles::{needs, say};
}
mod budget;
mod convert;
mod diff;
mod edit;
mod guidance;
mod hash;
mod inspect;
mod outputs;
mod overview;
mod parts;
mod quantization;
mod quantize;
mod remote;
mod report;
mod safetensors;
mod screens;
mod server;
mod shards;
mod streams;
mod support;
#[cfg(unix)]
mod trouble;

use common::raw::Raw;
use gguf_codec::{ByteOrder, GgmlType};
use support::*;

#[test]
fn the_sample_is_shown_without_an_argument() {
    let text = works("inspect", &[]);
    assert!(
        text.starts_with("the sample model   Sample Llama") && text.contains("\ntensors (20)\n"),
        "{text}"
    );
    assert!(text.contains("str[64]"), "{text}");
    assert_eq!(works("inspect", &["--key", "llama.block_count"]), "2\n");
    assert!(works("inspect", &["--check"]).contains("Check: no NaN and no infinity in 20 tensors"));
    for name in [
        "inspect",
        "convert",
        "quantize",
        "imatrix",
        "diff",
        "edit",
        "split",
        "merge",
        "merge-lora",
        "report",
        "formats",
        "from-safetensors",
        "to-safetensors",
    ] {
        let help = works(name, &["--help"]);
        assert!(help.contains("Usage") && (name == "convert" || help.contains("--json")), "{help}");
    }
}

#[test]
fn arguments_that_are_missing_or_wrong_are_named() {
    let line = fails("convert", &[]);
    for part in ["<IN>", "<OUT>", "--type <TYPE>", "(see --help)"] {
        assert!(line.contains(part), "{line}");
    }
    let line = fails("convert", &["a", "b", "--type", "Q9_Z"]);
    assert!(line.contains("Q9_Z") && line.contains("[possible values: F32, F16, Q4_0"), "{line}");
    let line = fails("convert", &["a", "b", "--type", "I32"]);
    assert!(line.contains("I32"), "{line}");
    assert!(fails("inspect", &["--nonsense"]).contains("--nonsense"));
    let mut scales = gguf("merge-lora");
    scales.args(["base", "a", "b", "c", "out", "--scale", "1", "--scale", "2"]);
    let output = scales.output().unwrap();
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(line.contains("--scale is given 2 times for 3 adapters"), "{line}");
    assert!(line.ends_with("(see --help)\n") && output.status.code() == Some(2), "{line}");
    assert!(fails("inspect", &["--key", "no.such"]).contains("no key 'no.such'"));
    assert!(fails("inspect", &["--tensor", "nothing"]).contains("no tensor 'nothing'"));
}

#[cfg(unix)]
#[test]
fn the_file_is_named_and_its_control_characters_are_escaped() {
    let folder = Folder::new();
    let missing = folder.path("no-such.gguf");
    for line in [fails("inspect", &[&missing]), fails("convert", &[&missing, "x", "--type", "F16"])] {
        assert_eq!(line.matches("no-such.gguf").count(), 1, "{line}");
    }
    let junk = folder.file("a\u{1b}[31m\nb.gguf", b"junk");
    for line in [fails("inspect", &[&junk]), folder.conversion_fails(&junk, "F16")] {
        assert!(line.contains("a\\u{1b}[31m\\nb.gguf': byte 0"), "{line}");
    }
    let mut bad = vec![0; 64];
    bad[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    let file = model(ByteOrder::Little, &[("w\u{1b}[31m", &[16], GgmlType::F32, &bad)]);
    let input = folder.file("a\u{7}.gguf", &file);
    assert!(fails("inspect", &[&input, "--check"]).contains("a\\u{7}.gguf': tensor 'w\\u{1b}[31m': block 0"));
    assert!(!works("inspect", &[&input]).contains(['\u{7}', '\u{1b}']));
    let out = folder.path("o\u{7}.gguf");
    assert!(!works("convert", &[&input, &out, "--type", "F16"]).contains(['\u{7}', '\u{1b}']));
}

#[test]
fn headers_that_claim_too_much_fail_at_once() {
    let folder = Folder::new();
    let header = |dims: &[u64]| Raw::new(LITTLE, 1, 0).tensor("w", dims, 0, 0).pad(32).bytes;
    for (name, dims) in [
        ("hugeclaim1d.gguf", &[1 << 42][..]),
        ("hugeclaim2d.gguf", &[1 << 42, 2]),
        ("hugerows32.gguf", &[32, 1 << 45]),
        ("truncated.gguf", &[8, 8]),
    ] {
        let input = folder.file(name, header(dims));
        for ty in ["Q4_0", "F32"] {
            let line = folder.conversion_fails(&input, ty);
            assert!(
                line.contains(name) && line.contains("in tensor 0 'w': the tensor's data ends at"),
                "{line}"
            );
            let shown = finish(forced("inspect", &[&input]));
            assert_eq!(String::from_utf8(shown.stderr).unwrap(), format!("gguf inspect: {line}\n"));
            assert_eq!(shown.status.code(), Some(1));
            let text = String::from_utf8(shown.stdout).unwrap();
            assert!(
                text.contains("\nincomplete: the file ends after ") && text.contains("0 of 1 tensor whole\n"),
                "{text}"
            );
        }
    }
    // No data at all, and the maximum number of rows.
    let input = folder.file("empty.gguf", header(&[0, 1 << 60]));
    works("convert", &[&input, &folder.path("empty-out.gguf"), "--type", "Q4_0"]);
    assert!(works("inspect", &[&input, "--check", "--json"]).contains("\"tensors\": 1"));
    assert!(works("inspect", &[&input, "--tensor", "w"]).contains("no values"));
}

#[test]
fn a_value_that_blocks_cannot_hold_is_found_in_its_tensor() {
    let folder = Folder::new();
    let mut values = wave(64 * 20_000);
    values[1_200_005] = f32::NAN;
    let bytes = floats(&values);
    let file = model(
        ByteOrder::Little,
        &[("first", &[8], GgmlType::F32, &bytes[..32]), ("w", &[64, 20_000], GgmlType::F32, &bytes)],
    );
    let input = folder.file("nan.gguf", file);
    assert_eq!(
        folder.conversion_fails(&input, "Q4_0"),
        "tensor 'w': value 1200005 (row 18750, column 5) is NaN, and a block of Q4_0 cannot hold that"
    );
    // A plain type is possible.
    let summary = works("convert", &[&input, &folder.path("f16.gguf"), "--type", "F16"]);
    assert!(summary.contains("1 tensor became F16"), "{summary}");
    let line = fails("inspect", &[&input, "--check"]);
    assert!(line.ends_with("tensor 'w': block 1200005 of F32, in row 18750: the value is NaN"), "{line}");
    let line = fails("inspect", &[&folder.path("f16.gguf"), "--check"]);
    assert!(line.ends_with("tensor 'w': block 1200005 of F16, in row 18750: the value is NaN"), "{line}");
}
