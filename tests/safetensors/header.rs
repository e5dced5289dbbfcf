//! Headers: every rule just inside and just outside its boundary, and a comparison with the format's own library.

use gguf_codec::safetensors::{Checkpoint, Dtype, SafeTensors};
use gguf_codec::{Error, Limits};
use proptest::prelude::*;

use super::{checkpoint, file};
use crate::common::property;

fn refused(bytes: &[u8], parts: &[&str]) {
    let error = SafeTensors::parse(bytes).unwrap_err();
    assert!(matches!(error, Error::Safetensors { .. }), "{error:?}");
    let message = error.to_string();
    assert!(parts.iter().all(|part| message.contains(part)), "{message}\nlacks one of {parts:?}");
    assert!(error.offset().is_some_and(|offset| offset <= bytes.len() as u64), "{message}");
    let theirs = safetensors::SafeTensors::deserialize(bytes);
    assert!(theirs.is_err(), "the format's library takes it: {message}");
}

fn entry(dtype: &str, shape: &str, start: u64, end: u64) -> String {
    format!(r#"{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{start},{end}]}}"#)
}

fn one(dtype: &str, shape: &str, start: u64, end: u64, data: usize) -> Vec<u8> {
    file(&format!(r#"{{"w":{}}}"#, entry(dtype, shape, start, end)), data)
}

#[test]
fn lengths_are_held_against_the_file() {
    refused(b"", &["byte 0", "a file of 0 bytes has no room for the 8"]);
    refused(&[2, 0, 0, 0, 0, 0, 0], &["a file of 7 bytes"]);
    refused(&[0; 8], &["byte 8", "must begin with '{'"]);
    refused(&2u64.to_le_bytes(), &["byte 0", "the header is 2 bytes long, and 0 follow"]);
    refused(&u64::MAX.to_le_bytes(), &["18446744073709551615 bytes long, and may have 100000000"]);
    refused(&file("{}", 1), &["the tensors end at byte 0 of the data, and the file holds 1 bytes"]);
    assert_eq!(SafeTensors::parse(&file("{}", 0)).unwrap().tensors().len(), 0);
    // A header may be padded with spaces, but must not begin with one.
    assert_eq!(SafeTensors::parse(&file("{}      ", 0)).unwrap().metadata().len(), 0);
    let error = SafeTensors::parse(&file(" {}", 0)).unwrap_err().to_string();
    assert!(error.contains("byte 8: the header must begin with '{'"), "{error}");
}

#[test]
fn a_limit_is_the_callers() {
    let bytes = one("U8", "[1]", 0, 1, 1);
    let read = |limits: Limits| SafeTensors::read_with(&bytes, bytes.len() as u64, limits);
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    read(Limits { max_header_bytes: header, max_tensors: 1, ..Limits::default() }).unwrap();
    let error = read(Limits { max_header_bytes: header - 1, ..Limits::default() }).unwrap_err();
    assert!(error.to_string().contains("bytes long, and may have"), "{error}");
    let error = read(Limits { max_tensors: 0, ..Limits::default() }).unwrap_err();
    assert!(error.to_string().contains("more than 0 tensors"), "{error}");
    // Pairs of seven bytes take two strings each.
    let bytes = file(r#"{"__metadata__":{"a":"","b":"","c":""}}"#, 0);
    let read = |max_keys| {
        let limits = Limits { max_keys, ..Limits::default() };
        SafeTensors::read_with(&bytes, bytes.len() as u64, limits)
    };
    assert_eq!(read(3).unwrap().metadata().len(), 3);
    let error = read(2).unwrap_err();
    assert!(error.to_string().contains("__metadata__ has more than 2 pairs"), "{error}");
    assert!(error.offset().is_some_and(|at| at > 8 && at < bytes.len() as u64), "{error}");
}

#[cfg(unix)]
#[test]
fn an_index_has_no_more_tensors_than_a_header() {
    let folder = tempfile::tempdir().unwrap();
    let index = folder.path().join("model.safetensors.index.json");
    let pairs: Vec<_> = (0..=1 << 20).map(|no| format!("\"{no:x}\":\"\"")).collect();
    std::fs::write(&index, format!("{{\"weight_map\":{{{}}}}}", pairs.join(","))).unwrap();
    let error = Checkpoint::open(&index).unwrap_err().to_string();
    assert!(error.contains("weight_map has more than 1048576 pairs"), "{error}");
}

#[test]
fn what_is_no_header_is_told_with_its_place() {
    refused(&file("{", 0), &["byte 8", "EOF"]);
    refused(&file("{} x", 0), &["byte 11", "trailing characters"]);
    refused(&file("{\"w\":\n 7}", 0), &["byte 15", "tensor 'w' to be an object"]);
    refused(&file(r#"{"w":{"shape":[],"data_offsets":[0,0]}}"#, 0), &["tensor 'w' has no dtype"]);
    refused(&file(r#"{"w":{"dtype":"F32","data_offsets":[0,0]}}"#, 0), &["tensor 'w' has no shape"]);
    refused(&file(r#"{"w":{"dtype":"F32","shape":[1]}}"#, 0), &["tensor 'w' has no data_offsets"]);
    refused(&one("Q4_0", "[32]", 0, 18, 18), &["the unknown dtype 'Q4_0'; known are BOOL", "BF16"]);
    refused(&one("F32", "[-1]", 0, 0, 0), &["integer `-1`"]);
    refused(&one("F32", "[0.5]", 0, 0, 0), &["0.5"]);
    refused(&file(r#"{"__metadata__":{"a":1}}"#, 0), &["expected a string"]);
    refused(&file(r#"{"__metadata__":7}"#, 0), &["__metadata__ to be an object of strings"]);
    let mut bytes = file("{\"\u{e9}\":7}", 0);
    bytes[11] = b'x';
    refused(&bytes, &["byte 1"]);
    // Nesting is limited before the stack overflows, wherever it occurs.
    let deep = "[".repeat(100_000);
    refused(&file(&format!("{{\"w\":{deep}"), 0), &["tensor 'w' to be an object"]);
    refused(&file(&format!(r#"{{"w":{{"more":{deep}"#), 0), &["EOF while parsing a list"]);
    // Quoted text is cut.
    let long = "x".repeat(100_000);
    let error = SafeTensors::parse(&file(&format!(r#"{{"w":{{"dtype":"{long}"}}}}"#), 0)).unwrap_err();
    assert!(error.to_string().len() < 700, "{}", error.to_string().len());
    let error = SafeTensors::parse(&file(&format!(r#"{{"w":"{long}"}}"#), 0)).unwrap_err();
    assert!(error.to_string().len() < 700, "{}", error.to_string().len());
}

#[test]
fn names_occur_once() {
    // The format forbids it, although its library lets the last one win.
    let twice = format!(r#"{{"w":{0},"w":{0}}}"#, entry("U8", "[0]", 0, 0));
    let error = SafeTensors::parse(&file(&twice, 0)).unwrap_err().to_string();
    assert!(error.contains("tensor 'w' occurs twice"), "{error}");
    for (json, part) in [
        (r#"{"__metadata__":{},"__metadata__":{}}"#, "__metadata__ occurs twice"),
        (r#"{"__metadata__":{"k":"1","k":"2"}}"#, "key 'k' of the metadata occurs twice"),
        (
            r#"{"w":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#,
            "tensor 'w' has dtype twice",
        ),
        (r#"{"w":{"dtype":"U8","shape":[0],"shape":[0],"data_offsets":[0,0]}}"#, "has shape twice"),
        (
            r#"{"w":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"data_offsets":[0,0]}}"#,
            "has data_offsets twice",
        ),
    ] {
        let error = SafeTensors::parse(&file(json, 0)).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn tensors_cover_the_data_without_gap_and_overlap() {
    let two = |b: (u64, u64), data: usize| {
        file(&format!(r#"{{"a":{},"b":{}}}"#, entry("U8", "[4]", 0, 4), entry("U8", "[4]", b.0, b.1)), data)
    };
    let header = two((4, 8), 8);
    let header = SafeTensors::parse(&header).unwrap();
    let names: Vec<_> = header.tensors().map(|tensor| (tensor.name(), tensor.byte_len())).collect();
    assert_eq!(names, [("a", 4), ("b", 4)]);
    refused(
        &two((5, 9), 9),
        &["tensor 'b' begins at byte 5 of the data, and must at 4, where tensor 'a' ends"],
    );
    refused(&two((3, 7), 7), &["tensor 'b' begins at byte 3 of the data, and must at 4"]);
    refused(&two((0, 4), 4), &["tensor 'b' begins at byte 0 of the data, and must at 4"]);
    refused(&two((4, 8), 9), &["the tensors end at byte 8 of the data, and the file holds 9 bytes"]);
    refused(&two((4, 8), 7), &["the tensors end at byte 8 of the data, and the file holds 7 bytes"]);
    refused(&one("U8", "[4]", 1, 5, 5), &["must at 0, where the data begins"]);
    refused(&one("U8", "[4]", 1 << 40, 0, 4), &["data_offsets are 1099511627776 and 0"]);
    refused(&one("U8", "[4]", 4, 0, 4), &["takes 4 bytes, and its data_offsets are 4 and 0"]);
    refused(
        &one("F32", "[2]", 0, 4, 4),
        &["F32 of shape [2] takes 8 bytes, and its data_offsets are 0 and 4"],
    );
    // Products that wrap, and one that only seems to.
    for shape in ["[4294967296,4294967296]", "[18446744073709551615,2]", "[2305843009213693952]"] {
        refused(&one("F64", shape, 0, 0, 0), &["no whole number of bytes that 64 bits count"]);
    }
    SafeTensors::parse(&one("F64", "[18446744073709551615,2,0]", 0, 0, 0)).unwrap();
    SafeTensors::parse(&one("F32", "[]", 0, 4, 4)).unwrap();
    refused(&one("F4", "[3]", 0, 1, 1), &["F4 of shape [3] is no whole number of bytes"]);
    SafeTensors::parse(&one("F4", "[4]", 0, 2, 2)).unwrap();
}

#[test]
fn unknown_fields_are_passed_over_and_everything_else_is_there() {
    let json = r#"{"__metadata__":{"format":"pt"},"w":{"more":[{"a":null}],"shape":[2,3],"dtype":"BF16","data_offsets":[0,12]}}"#;
    let bytes = file(json, 12);
    let header = SafeTensors::parse(&bytes).unwrap();
    assert_eq!(header.metadata().collect::<Vec<_>>(), [("format", "pt")]);
    let tensor = header.tensor("w").unwrap();
    assert_eq!((tensor.dtype(), tensor.shape(), tensor.byte_len()), (Dtype::BF16, &[2, 3][..], 12));
    assert_eq!(tensor.file_offset(), bytes.len() as u64 - 12);
    assert_eq!(tensor.origin(&bytes).unwrap().shape().dims(), [3, 2]);
    assert!(header.tensor("v").is_none());
}

#[test]
fn what_gguf_does_not_have_is_named() {
    for (dtype, shape, bytes, part) in [
        ("F8_E4M3", "[4]", 4, "tensor 'w' is F8_E4M3, which GGUF does not have; it has I8, I16, F16, BF16"),
        ("U8", "[4]", 4, "tensor 'w' is U8"),
        ("BOOL", "[4]", 4, "tensor 'w' is BOOL"),
        ("F32", "[0,9223372036854775808]", 0, "less than 2^63 elements"),
    ] {
        let model = checkpoint([one(dtype, shape, 0, bytes, bytes as usize)]).unwrap();
        let error = model.tensor("w").unwrap().origin().unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

/// The types that the format's library has under the same names.
#[test]
fn every_type_has_the_size_that_the_formats_library_gives_it() {
    for &dtype in Dtype::ALL {
        let bytes = one(dtype.name(), "[8]", 0, dtype.bits(), dtype.bits() as usize);
        SafeTensors::parse(&bytes).unwrap();
        safetensors::SafeTensors::deserialize(&bytes).unwrap_or_else(|error| panic!("{dtype}: {error}"));
    }
}

/// Headers that are nearly right: real headers with changed bytes, and headers assembled from mostly valid pieces.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let tensor = (0..4usize, prop::collection::vec(0..5u64, 0..4), 0..3u64, 0..3u64);
    let tensors = prop::collection::vec(tensor, 0..4);
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    (tensors, changes, 0..2usize).prop_map(|(tensors, changes, more)| {
        let (mut json, mut at) = ("{".to_owned(), 0);
        for (index, (dtype, shape, shift, extra)) in tensors.into_iter().enumerate() {
            let dtype = [Dtype::U8, Dtype::F16, Dtype::F32, Dtype::F4][dtype];
            let bytes = shape.iter().product::<u64>() * dtype.bits() / 8;
            // Mostly valid.
            let start = at + shift / 2;
            let end = start + bytes + extra / 2;
            json += &format!(
                r#"{}"t{index}":{}"#,
                if index > 0 { "," } else { "" },
                entry(dtype.name(), &format!("{shape:?}"), start, end)
            );
            at = end;
        }
        let mut bytes = file(&(json + "}"), at as usize + more);
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

proptest! {
    #![proptest_config(property(2000))]

    /// Every header that is accepted here is accepted by the format's library, with the same content.
    #[test]
    fn nothing_is_taken_that_the_formats_library_refuses(bytes in nearly()) {
        let theirs = safetensors::SafeTensors::deserialize(&bytes);
        match (SafeTensors::parse(&bytes), theirs) {
            (Ok(ours), Ok(theirs)) => {
                prop_assert_eq!(ours.tensors().len(), theirs.len());
                for tensor in ours.tensors() {
                    let view = theirs.tensor(tensor.name()).unwrap();
                    let start = tensor.file_offset() as usize;
                    prop_assert_eq!(view.data(), &bytes[start..start + tensor.byte_len() as usize]);
                    prop_assert_eq!(format!("{:?}", view.dtype()), tensor.dtype().name());
                    prop_assert!(view.shape().iter().map(|&extent| extent as u64).eq(tensor.shape().iter().copied()));
                }
            }
            (Ok(_), Err(error)) => prop_assert!(false, "the format's library refuses: {}", error),
            (Err(error), _) => prop_assert!(matches!(error, Error::Safetensors { .. }), "{}", error),
        }
    }
}

/// Opening a pipe without a writer never returns, whatever its name.
#[cfg(unix)]
#[test]
fn only_regular_files_are_read_by_path() {
    use gguf_codec::model::hf::Description;
    let pipe = |folder: &std::path::Path, name: &str| {
        let path = folder.join(name);
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        path
    };
    for name in ["model.safetensors", "model.safetensors.index.json", "config.json", "chat_template.jinja"] {
        let folder = tempfile::tempdir().unwrap();
        let path = pipe(folder.path(), name);
        let mut errors = vec![];
        if name.starts_with("model") {
            errors
                .extend([Checkpoint::open(&path).unwrap_err(), Checkpoint::open(folder.path()).unwrap_err()]);
        } else {
            errors.push(Description::read(folder.path()).unwrap_err());
        }
        for error in errors {
            let error = format!("{error:?}");
            assert!(error.contains(name) && error.ends_with("it is not a regular file"), "{error}");
        }
    }
    // A file that an index names.
    let folder = tempfile::tempdir().unwrap();
    pipe(folder.path(), "part.safetensors");
    let index = folder.path().join("model.safetensors.index.json");
    std::fs::write(&index, r#"{"weight_map":{"a":"part.safetensors"}}"#).unwrap();
    let error = format!("{:?}", Checkpoint::open(&index).unwrap_err());
    assert!(error.contains("part.safetensors': it is not a regular file"), "{error}");
}
