//! The same calls write the same bytes as gguf-py's `GGUFWriter`.
//!
//! `tests/gguf_py/write_cases.py` makes the files in `tests/golden/gguf_py`; each case here repeats its calls.
//! If `GGUF_PY_PYTHON` names a Python that has gguf, the script is also run again, which shows changes in
//! gguf-py itself.

#![cfg(feature = "std")]

#[cfg(not(target_family = "wasm"))]
use crate::common;
use std::path::{Path, PathBuf};

use anyhow::Result;
use gguf_codec::{Array, ByteOrder, GgmlType, Value, Writer};

type Stream = Writer<Vec<u8>>;

/// A tensor and its data.
struct Given {
    name: String,
    extents: Vec<u64>,
    ty: GgmlType,
    bytes: Vec<u8>,
}

fn given(name: &str, extents: &[u64], ty: GgmlType, bytes: Vec<u8>) -> Given {
    Given { name: name.into(), extents: extents.into(), ty, bytes }
}

/// Encodes numbers in a byte order with the standard `to_le_bytes` and `to_be_bytes`.
macro_rules! numbers {
    ($order:expr, $values:expr) => {
        $values
            .into_iter()
            .flat_map(|value| match $order {
                ByteOrder::Little => value.to_le_bytes(),
                ByteOrder::Big => value.to_be_bytes(),
            })
            .collect::<Vec<u8>>()
    };
}

fn string(text: &str) -> Value {
    Value::String(text.into())
}

fn scalars(w: &mut Stream, _: ByteOrder) -> Result<Vec<Given>> {
    w.set_metadata("u8", Value::U8(200))?
        .set_metadata("i8", Value::I8(-100))?
        .set_metadata("u16", Value::U16(60000))?
        .set_metadata("i16", Value::I16(-30000))?
        .set_metadata("u32", Value::U32(4000000000))?
        .set_metadata("i32", Value::I32(-2000000000))?
        .set_metadata("u64", Value::U64(18000000000000000000))?
        .set_metadata("i64", Value::I64(-9000000000000000000))?
        .set_metadata("f32", Value::F32(0.1))?
        .set_metadata("f64", Value::F64(-0.1))?
        .set_metadata("yes", Value::Bool(true))?
        .set_metadata("no", Value::Bool(false))?
        .set_metadata("string", string("größe 模型"))?;
    Ok(vec![])
}

fn arrays(w: &mut Stream, _: ByteOrder) -> Result<Vec<Given>> {
    let nested = Array::Array(vec![
        Array::I32(vec![1, 2]),
        Array::String(vec![b"x".to_vec()]),
        Array::Array(vec![Array::F32(vec![0.5])]),
    ]);
    let strings = ["<s>", "▁the", "a\0b"].map(|text| text.as_bytes().to_vec()).to_vec();
    for (key, array) in [
        ("i32", Array::I32(vec![1, -2, 300000])),
        ("f32", Array::F32(vec![0.5, -1.25, 1e-40])),
        ("bool", Array::Bool(vec![true, false, true])),
        ("string", Array::String(strings)),
        ("bytes", Array::U8(vec![0, 127, 255])),
        ("nested", nested),
        ("typed.u8", Array::U8(vec![1, 255])),
        ("typed.i8", Array::I8(vec![-1, 127])),
        ("typed.u16", Array::U16(vec![1, 65535])),
        ("typed.i16", Array::I16(vec![-1, 32767])),
        ("typed.u32", Array::U32(vec![1, 4294967295])),
        ("typed.u64", Array::U64(vec![1, 18446744073709551615])),
        ("typed.i64", Array::I64(vec![-1, 9223372036854775807])),
        ("typed.f64", Array::F64(vec![0.1, -1e300])),
    ] {
        w.set_metadata(key, Value::Array(array))?;
    }
    Ok(vec![])
}

fn tensors(w: &mut Stream, order: ByteOrder) -> Result<Vec<Given>> {
    use GgmlType::{F16, F32, F64, I8, I16, I32, I64, Q4_0, Q8_0};
    w.set_metadata("general.file_type", Value::U32(0))?;
    Ok(vec![
        given("f32", &[5, 3], F32, numbers!(order, (0..15).map(|i| i as f32 * 0.5))),
        given("f16", &[7], F16, numbers!(order, (0..7u8).map(|i| half::f16::from_f32(f32::from(i))))),
        given("f64", &[3], F64, numbers!(order, (0..3).map(|i| f64::from(i) - 1.0))),
        given("i8", &[7], I8, (-3..4i8).map(|i| i as u8).collect()),
        given("i16", &[2, 2, 2], I16, numbers!(order, (0..8i16).map(|i| i * 1000))),
        given("i32", &[1, 1, 2, 1], I32, numbers!(order, (0..2i32).map(|i| i * 100000))),
        given("i64", &[9], I64, numbers!(order, (0..9i64).map(|i| i << 40))),
        given("scalar", &[], F32, numbers!(order, [2.5f32])),
        given("none", &[4, 0], F32, vec![]),
        given("q8_0", &[64, 2], Q8_0, (0..136).collect()),
        given("q4_0", &[32], Q4_0, (0..18).collect()),
    ])
}

fn three_tensors(order: ByteOrder) -> Result<Vec<Given>> {
    Ok((0..3u64)
        .map(|i| {
            let len = i * 10 + 1;
            let bytes = numbers!(order, (0..len).map(|value| value as f32));
            given(&format!("blk.{i}.weight"), &[len], GgmlType::F32, bytes)
        })
        .collect())
}

fn alignment_64(w: &mut Stream, order: ByteOrder) -> Result<Vec<Given>> {
    w.set_metadata("before", Value::U32(1))?.set_alignment(64)?.set_metadata("after", Value::U32(2))?;
    three_tensors(order)
}

fn alignment_1(w: &mut Stream, order: ByteOrder) -> Result<Vec<Given>> {
    w.set_alignment(1)?;
    three_tensors(order)
}

fn alignment_32(w: &mut Stream, order: ByteOrder) -> Result<Vec<Given>> {
    w.set_alignment(32)?;
    three_tensors(order)
}

fn alignment_twice(w: &mut Stream, order: ByteOrder) -> Result<Vec<Given>> {
    w.set_alignment(128)?.set_metadata("between", Value::U32(1))?.set_alignment(16)?;
    three_tensors(order)
}

fn overwritten(w: &mut Stream, _: ByteOrder) -> Result<Vec<Given>> {
    w.set_metadata("first", Value::U32(1))?.set_metadata("second", Value::U32(2))?;
    w.set_metadata("first", string("now a string"))?;
    Ok(vec![])
}

fn empty(_: &mut Stream, _: ByteOrder) -> Result<Vec<Given>> {
    Ok(vec![])
}

fn streamed(_: &mut Stream, order: ByteOrder) -> Result<Vec<Given>> {
    Ok((0..4u64)
        .map(|i| {
            let len = i * 5 + 1;
            let bytes = numbers!(order, (0..len).map(|value| value as f32));
            given(&format!("t{i}"), &[len], GgmlType::F32, bytes)
        })
        .collect())
}

fn metadata_only(w: &mut Stream, _: ByteOrder) -> Result<Vec<Given>> {
    w.set_final_padding(false).set_metadata("odd", Value::Bool(true))?;
    Ok(vec![])
}

type Case = fn(&mut Stream, ByteOrder) -> Result<Vec<Given>>;

const CASES: &[(&str, Case)] = &[
    ("scalars", scalars),
    ("arrays", arrays),
    ("tensors", tensors),
    ("alignment_64", alignment_64),
    ("alignment_1", alignment_1),
    ("alignment_32", alignment_32),
    ("alignment_twice", alignment_twice),
    ("overwritten", overwritten),
    ("empty", empty),
    ("streamed", streamed),
    ("metadata_only", metadata_only),
];

fn write(case: Case, order: ByteOrder) -> Result<Vec<u8>> {
    let mut w = Writer::new(Vec::new());
    w.set_byte_order(order).set_metadata("general.architecture", string("test"))?;
    let tensors = case(&mut w, order)?;
    for Given { name, extents, ty, .. } in &tensors {
        w.declare_tensor(name, extents, *ty)?;
    }
    let expected_len = w.file_len()?;
    let mut data = w.write_header()?;
    for Given { name, bytes, .. } in &tensors {
        data.write_tensor(name, bytes)?;
    }
    let file = data.finish()?;
    assert_eq!(file.len() as u64, expected_len);
    Ok(file)
}

/// Compares every case with the files in `folder`, which must contain no others.
fn compare_with(folder: &Path) {
    let mut compared = 0;
    for (name, case) in CASES {
        for (suffix, order) in [("le", ByteOrder::Little), ("be", ByteOrder::Big)] {
            let path = folder.join(format!("{name}.{suffix}.gguf"));
            let theirs = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let ours = write(*case, order).unwrap();
            let differs = ours.iter().zip(&theirs).position(|(ours, theirs)| ours != theirs);
            assert_eq!(differs, None, "{name}, {order:?}: the first byte that differs");
            assert_eq!(ours.len(), theirs.len(), "{name}, {order:?}: length");
            compared += 1;
        }
    }
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), compared, "a file has no case here");
}

#[test]
fn writes_what_gguf_py_wrote() {
    compare_with(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/gguf_py"));
}

// WebAssembly starts no programs.
#[cfg(not(target_family = "wasm"))]
#[test]
fn writes_what_gguf_py_writes_now() {
    let Some(python) = common::needs("GGUF_PY_PYTHON", "the comparison with gguf-py as it is now") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gguf_py/write_cases.py");
    let status = std::process::Command::new(python).arg(script).arg(folder.path()).status().unwrap();
    assert!(status.success(), "{status}");
    compare_with(folder.path());
}
