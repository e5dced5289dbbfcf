//! Tests of the writer: errors that name the problem, bounded pieces, and no incomplete file that looks complete.

#![cfg(feature = "std")]

use anyhow::Result;
use gguf_codec::{Array, DataWriter, GgmlType, Gguf, Limits, Sink, Value, Writer};

pub(crate) fn stream() -> Writer<Vec<u8>> {
    Writer::new(Vec::new())
}

/// The stage after a header that declares `a` (4 F32 values), `b` (2 rows of 32, Q8_0) and `c` (3 I8 values).
pub(crate) fn abc<S: Sink>(mut writer: Writer<S>) -> Result<DataWriter<S>> {
    writer.set_metadata("general.architecture", Value::String(b"test".to_vec()))?;
    writer.declare_tensor("a", &[4], GgmlType::F32)?.declare_tensor("b", &[32, 2], GgmlType::Q8_0)?;
    writer.declare_tensor("c", &[3], GgmlType::I8)?;
    Ok(writer.write_header()?)
}

pub(crate) fn write_abc<S: Sink>(writer: Writer<S>) -> Result<S::Output> {
    let mut data = abc(writer)?;
    data.write_tensor("a", &[1; 16])?;
    let mut b = data.begin("b")?;
    b.write_bytes(&[2; 50])?;
    b.write_bytes(&[3; 18])?;
    b.finish()?;
    data.write_tensor("c", &[4; 3])?;
    Ok(data.finish()?)
}

/// Asserts that the message has every one of the parts.
pub(crate) fn says(error: impl std::fmt::Display, parts: &[&str]) {
    let message = error.to_string();
    for part in parts {
        assert!(message.contains(part), "'{part}' is not in: {message}");
    }
}

#[test]
fn metadata_that_cannot_be_written_is_named() {
    let mut writer = stream();
    says(writer.set_metadata("", Value::U8(1)).unwrap_err(), &["key is empty"]);
    says(writer.set_version(1).unwrap_err(), &["version 1", "2 or 3"]);
    says(writer.set_version(4).unwrap_err(), &["version 4", "2 or 3"]);
    for bad in [0, 3, 48, u32::MAX] {
        says(
            writer.set_alignment(bad).unwrap_err(),
            &["general.alignment", &bad.to_string(), "power of two"],
        );
    }
    for bad in [Value::U64(32), Value::I32(32), Value::Array(Array::U32(vec![32]))] {
        says(
            writer.set_metadata("general.alignment", bad).unwrap_err(),
            &["general.alignment", "must be a u32"],
        );
    }
    assert_eq!(writer.file_len().unwrap(), 32, "nothing was added");
}

#[test]
fn arrays_nest_as_deep_as_they_can_be_read() {
    let nested = |levels| {
        Value::Array(
            (1..levels).fold(Array::U8(vec![7]), |array, _| Array::Array(vec![Array::I8(vec![]), array])),
        )
    };
    let mut writer = stream();
    says(writer.set_metadata("deep", nested(5)).unwrap_err(), &["'deep'", "4 levels"]);
    let limits = Limits { max_array_depth: 64, ..Limits::default() };
    writer.set_limits(limits).set_metadata("deepest", nested(64)).unwrap();
    // So many levels that recursion over them would overflow the stack, also when they are dropped.
    for levels in [65, 300_000] {
        says(writer.set_metadata("too\ndeep", nested(levels)).unwrap_err(), &["'too\\ndeep'", "64 levels"]);
    }
    let file = writer.write_header().unwrap().finish().unwrap();
    let limits = Limits { max_array_depth: 64, ..Limits::default() };
    let model = Gguf::options().limits(limits).parse(&file).unwrap();
    assert_eq!(model.metadata().get("deepest").unwrap().to_owned(), nested(64));
    assert_eq!(model.metadata().len(), 1);
}

#[test]
fn tensors_that_cannot_be_written_are_named() {
    use GgmlType::{F32, F64, I8, Q4_K, Q8_0};
    let mut writer = stream();
    writer.declare_tensor("taken", &[1], F32).unwrap();
    writer.declare_tensor(&"x".repeat(64), &[1], F32).unwrap();
    let long = "y".repeat(65);
    let cases: &[(&str, &[u64], GgmlType, &[&str])] = &[
        ("taken", &[2], I8, &["'taken'", "declared twice", "tensor 0"]),
        (&long, &[1], F32, &[&long, "65 bytes", "64 at most"]),
        ("t\n", &[1; 5], F32, &["'t\\n'", "5 dimensions", "4 at most"]),
        ("t", &[1 << 32, 1 << 32], F32, &["'t'", "[4294967296, 4294967296]", "63 bits"]),
        ("t", &[(1 << 62) - 1], F64, &["'t'", "F64", "64 bits"]),
        ("t", &[100, 2], Q4_K, &["'t'", "rows of 100", "Q4_K", "multiple of 256"]),
        ("t", &[], Q8_0, &["'t'", "rows of 1 ", "multiple of 32"]),
        ("t", &[33, 0], Q8_0, &["'t'", "rows of 33", "multiple of 32"]),
    ];
    for (name, extents, ty, parts) in cases {
        says(writer.declare_tensor(name, extents, *ty).unwrap_err(), parts);
    }
    writer.declare_tensor("t", &[0, 7], Q8_0).unwrap();
    let data = writer.write_header().unwrap();
    assert_eq!(data.next_tensor().unwrap().0, "taken");
}

#[test]
fn files_that_64_bits_cannot_count_are_refused() {
    let huge = i64::MAX as u64 - 1;
    let mut writer = stream();
    writer
        .declare_tensor("one", &[huge], GgmlType::I8)
        .unwrap()
        .declare_tensor("two", &[huge], GgmlType::I8)
        .unwrap();
    says(writer.file_len().unwrap_err(), &["'two'", "64 bits"]);
    says(writer.write_header().unwrap_err(), &["'two'", "64 bits"]);

    // Without the header's length and the padding, this would still fit.
    let mut writer = stream();
    writer.set_alignment(1 << 17).unwrap_err();
    writer
        .set_limits(Limits { max_alignment: u32::MAX, ..Limits::default() })
        .set_alignment(1 << 31)
        .unwrap();
    for name in ["one", "two"] {
        writer.declare_tensor(name, &[(1 << 63) - (1 << 31)], GgmlType::I8).unwrap();
    }
    assert_eq!(writer.file_len().unwrap(), u64::MAX - (1 << 31) + 1);
    writer.declare_tensor("one byte", &[1], GgmlType::I8).unwrap();
    says(writer.file_len().unwrap_err(), &["'one byte'"]);
}

#[test]
fn tensors_out_of_order_or_of_another_size_leave_the_file_as_it_was() {
    let mut data = abc(stream()).unwrap();
    says(data.write_tensor("b", &[0; 68]).unwrap_err(), &["'b'", "'a'", "first"]);
    says(data.begin("z").unwrap_err(), &["'z'", "not declared"]);
    says(data.write_tensor("a", &[0; 15]).unwrap_err(), &["'a'", "15 bytes", "F32", "[4]", "16"]);
    says(data.write_tensor("a", &[0; 17]).unwrap_err(), &["'a'", "17 bytes", "16"]);
    data.write_tensor("a", &[1; 16]).unwrap();
    says(data.write_tensor("a", &[1; 16]).unwrap_err(), &["'a'", "written already"]);
    data.write_tensor("b", &[0; 68]).unwrap();
    data.write_tensor("c", &[0; 3]).unwrap();
    assert!(data.next_tensor().is_none());
    says(data.begin("c").unwrap_err(), &["'c'", "written already"]);
    says(data.begin("z").unwrap_err(), &["'z'", "not declared"]);
    data.finish().unwrap();
}

#[test]
fn forgotten_tensors_are_named() {
    let mut data = abc(stream()).unwrap();
    data.write_tensor("a", &[0; 16]).unwrap();
    says(data.finish().unwrap_err(), &["'b'", "2 of 3"]);
}

#[test]
fn an_error_within_a_tensor_gives_the_file_up() {
    type Misuse = fn(&mut DataWriter<Vec<u8>>) -> Result<()>;
    let cases: &[(Misuse, &[&str])] = &[
        (|data| Ok(data.begin("a")?.finish()?), &["'a'", "16 of its 16 bytes are missing"]),
        (
            |data| {
                let mut a = data.begin("a")?;
                a.write_bytes(&[0; 10])?;
                assert_eq!(a.remaining(), 6);
                Ok(a.finish()?)
            },
            &["'a'", "6 of its 16 bytes are missing"],
        ),
        (|data| Ok(data.begin("a")?.write_bytes(&[0; 17])?), &["'a'", "17 more bytes", "16 of its 16"]),
        (
            |data| Ok(data.begin("a")?.write_values(&[0.0; 8], None)?),
            &["'a'", "32 more bytes", "16 of its 16"],
        ),
        (|data| Ok(data.begin("a")?.write_values(&[0.0; 3], None)?), &["'a'", "3 values", "rows of 4"]),
        (
            |data| Ok(data.begin("a")?.write_values(&[0.0; 4], Some(&[1.0; 3]))?),
            &["'a'", "3 weights", "rows of 4"],
        ),
        (
            |data| {
                let mut a = data.begin("a")?;
                a.write_bytes(&[0; 3])?;
                Ok(a.write_values(&[], None)?)
            },
            &["'a'", "3 bytes within a row of 16"],
        ),
    ];
    for (misuse, parts) in cases {
        let mut data = abc(stream()).unwrap();
        says(misuse(&mut data).unwrap_err(), parts);
        says(data.write_tensor("a", &[0; 16]).unwrap_err(), &["given up", "'a'"]);
        says(data.begin("b").unwrap_err(), &["given up", "'a'"]);
        says(data.finish().unwrap_err(), &["given up", "'a'"]);
    }
}

#[test]
fn an_error_in_the_middle_stops_the_same_tensor_too() {
    let mut data = abc(stream()).unwrap();
    let mut a = data.begin("a").unwrap();
    a.write_bytes(&[0; 17]).unwrap_err();
    says(a.write_bytes(&[0; 16]).unwrap_err(), &["given up", "'a'"]);
    says(a.finish().unwrap_err(), &["given up", "'a'"]);
}

#[test]
fn a_tensor_that_is_dropped_gives_the_file_up() {
    for bytes in [0, 5, 16] {
        let mut data = abc(stream()).unwrap();
        data.begin("a").unwrap().write_bytes(&vec![0; bytes]).unwrap();
        let expected = ["'a'", "dropped before its `finish`", &format!("{bytes} of 16 bytes")];
        says(data.begin("a").unwrap_err(), &expected);
        says(data.finish().unwrap_err(), &expected);
    }
}

#[test]
fn a_key_set_again_keeps_its_place_and_a_removed_one_leaves_the_order() {
    let write = |edit: &dyn Fn(&mut Writer<Vec<u8>>)| {
        let mut writer = stream();
        edit(&mut writer);
        writer.write_header().unwrap().finish().unwrap()
    };
    let set = |writer: &mut Writer<Vec<u8>>, key: &str, value| {
        writer.set_metadata(key, Value::U8(value)).unwrap();
    };
    let edited = write(&|writer| {
        for (key, value) in [("x", 1), ("a", 2), ("y", 3), ("b", 4), ("a", 5)] {
            set(writer, key, value);
        }
        assert!(
            writer.remove_metadata("x")
                && writer.remove_metadata("y")
                && !writer.remove_metadata("x")
                && !writer.remove_metadata("z")
        );
        // After the removal, both keys are still found in their own places.
        set(writer, "b", 6);
        set(writer, "x", 7);
    });
    let direct = write(&|writer| {
        for (key, value) in [("a", 5), ("b", 6), ("x", 7)] {
            set(writer, key, value);
        }
    });
    assert_eq!(edited, direct);
}

#[test]
fn the_alignment_follows_its_key() {
    let mut writer = stream();
    writer.declare_tensor("t", &[1], GgmlType::I8).unwrap();
    let default = writer.file_len().unwrap();
    assert_eq!(default % 32, 0);
    writer.set_metadata("general.alignment", Value::U32(4096)).unwrap();
    assert_eq!(writer.file_len().unwrap(), 2 * 4096);
    writer.remove_metadata("general.alignment");
    assert_eq!(writer.file_len().unwrap(), default);
}

#[test]
fn version_2_differs_in_its_number_alone() {
    let mut writer = stream();
    writer.set_version(2).unwrap();
    let two = write_abc(writer).unwrap();
    let mut three = write_abc(stream()).unwrap();
    assert_eq!(three[4..8], [3, 0, 0, 0]);
    three[4] = 2;
    assert_eq!(two, three);
}

#[test]
fn the_last_padding_can_be_left_out() {
    let whole = write_abc(stream()).unwrap();
    let mut writer = stream();
    writer.set_final_padding(false);
    let bare = write_abc(writer).unwrap();
    assert_eq!(bare, whole[..whole.len() - 29]);

    // If nothing is declared, the header's padding is the last padding.
    let mut writer = stream();
    writer.set_final_padding(false).set_metadata("k", Value::U8(1)).unwrap();
    assert_eq!(writer.file_len().unwrap(), 24 + 8 + 1 + 4 + 1);
    let bare = writer.write_header().unwrap().finish().unwrap();
    assert_eq!(bare.len(), 24 + 8 + 1 + 4 + 1);
}

#[test]
fn values_become_the_bytes_that_quantize_makes() {
    let values: Vec<f32> = (0..512 * 300).map(|i| (i as f32 * 0.37).sin()).collect();
    let weights: Vec<f32> = (0..512).map(|i| 1.0 + i as f32).collect();
    for ty in [GgmlType::F32, GgmlType::F16, GgmlType::Q8_0, GgmlType::Q4_K] {
        for importance in [None, Some(&weights[..])] {
            let mut writer = stream();
            writer.declare_tensor("t", &[512, 300], ty).unwrap();
            let header = {
                let mut same = stream();
                same.declare_tensor("t", &[512, 0], ty).unwrap();
                same.file_len().unwrap() as usize
            };
            let mut data = writer.write_header().unwrap();
            let mut tensor = data.begin("t").unwrap();
            // Splits at places that differ from the rows of the inner buffer.
            for rows in values.chunks(512 * 77) {
                tensor.write_values(rows, importance).unwrap();
            }
            tensor.finish().unwrap();
            let file = data.finish().unwrap();
            let mut expected = vec![0; ty.bytes_for(values.len() as u64).unwrap() as usize];
            gguf_codec::quantize(ty, &values, 512, importance, &mut expected).unwrap();
            assert!(file[header..][..expected.len()] == expected, "{ty}, {}", importance.is_some());
        }
    }
}

#[test]
fn values_are_written_in_one_call() {
    let declare = || {
        let mut writer = stream();
        writer
            .declare_tensor("q", &[32, 2], GgmlType::Q8_0)
            .unwrap()
            .declare_tensor("f", &[3], GgmlType::F32)
            .unwrap();
        writer.write_header().unwrap()
    };
    let values: Vec<f32> = (0..64).map(|i| i as f32).collect();
    let mut at_once = declare();
    says(at_once.write_values("f", &[0.0; 3], None).unwrap_err(), &["'f' cannot be written yet"]);
    says(
        at_once.write_values("q", &values[..32], None).unwrap_err(),
        &["'q' was given 32 values", "[32, 2] has 64"],
    );
    // The file is unchanged.
    at_once.write_values("q", &values, None).unwrap();
    at_once.write_values("f", &[1.0, 2.0, 3.0], None).unwrap();
    let mut in_pieces = declare();
    let mut tensor = in_pieces.begin("q").unwrap();
    values.chunks(32).for_each(|row| tensor.write_values(row, None).unwrap());
    tensor.finish().unwrap();
    let bytes: Vec<u8> = [1.0f32, 2.0, 3.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    in_pieces.write_tensor("f", &bytes).unwrap();
    assert!(at_once.finish().unwrap() == in_pieces.finish().unwrap());

    let mut broken = declare();
    says(broken.write_values("q", &[f32::NAN; 64], None).unwrap_err(), &["'q'", "NaN"]);
    says(broken.write_values("q", &values, None).unwrap_err(), &["the file is given up"]);
}
