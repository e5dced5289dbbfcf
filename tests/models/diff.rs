//! Tests of `model::Diff`: a model equals itself in whatever form it is written, and every other difference is
//! found.

#![cfg(feature = "std")]

use crate::common;
use std::ops::ControlFlow;

use common::raw::{FORMATS, everything};
use gguf_codec::model::{Change, Diff, Side};
use gguf_codec::{Array, ByteOrder, Error, GgmlType, Gguf, QuantError, Value, Writer, quantize};
use proptest::collection::vec;
use proptest::prelude::*;

fn wave(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 31 % 257) as f32 - 128.0) / 100.0).collect()
}

/// A file of tensors with two or more rows, quantized from values.
fn model(
    order: ByteOrder,
    metadata: &[(&str, Value)],
    tensors: &[(&str, GgmlType, &[u64], &[f32])],
) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    writer.set_byte_order(order);
    for (key, value) in metadata {
        writer.set_metadata(key, value.clone()).unwrap();
    }
    for (name, ty, dims, _) in tensors {
        writer.declare_tensor(name, dims, *ty).unwrap();
    }
    let mut data = writer.write_header().unwrap();
    for (name, .., values) in tensors {
        let mut tensor = data.begin(name).unwrap();
        tensor.write_values(values, None).unwrap();
        tensor.finish().unwrap();
    }
    data.finish().unwrap()
}

fn with_diff<R>(a: &[u8], b: &[u8], look: impl FnOnce(&Diff<'_>) -> R) -> R {
    let (first, second) = (Gguf::parse(a).unwrap(), Gguf::parse(b).unwrap());
    let mut last = (0, 0);
    let diff = Diff::between_with(&Side::of(&first, &a), &Side::of(&second, &b), |done, total| {
        assert!(done >= last.0 && total >= last.1 && done <= total);
        last = (done, total);
        ControlFlow::Continue(())
    });
    assert_eq!(last.0, last.1, "all that was announced is read");
    look(&diff.unwrap())
}

#[test]
fn versions_and_byte_orders_are_no_difference() {
    for format in FORMATS {
        for other in FORMATS {
            with_diff(&everything(format).bytes, &everything(other).bytes, |diff| {
                assert!(diff.is_empty(), "{format:?} {other:?}: {diff:?}");
                assert_eq!((diff.same_keys, diff.same_tensors), (17, 3));
                assert!(!diff.keys_moved && !diff.tensors_moved);
            });
        }
    }
    // Blocks that contain numbers, longer than the pieces that are compared.
    let values = wave(768 * 700);
    let file = |order| {
        let nan = Value::F32(f32::NAN);
        model(
            order,
            &[("nan", nan)],
            &[("w", GgmlType::Q4_K, &[768, 700], &values), ("v", GgmlType::F16, &[768], &values[..768])],
        )
    };
    with_diff(&file(ByteOrder::Little), &file(ByteOrder::Big), |diff| assert!(diff.is_empty(), "{diff:?}"));
}

#[test]
fn keys_differ_in_value_in_type_and_in_being_there() {
    let (long, mut other): (Vec<u32>, Vec<u32>) = ((0..1000).collect(), (0..1002).collect());
    (other[7], other[900]) = (1, 2);
    let metadata = |array: &[u32], pairs: &[(&'static str, Value)]| {
        let mut all = vec![("same", Value::from("x")), ("array", Value::Array(Array::U32(array.to_vec())))];
        all.extend_from_slice(pairs);
        model(ByteOrder::Little, &all, &[])
    };
    let a = metadata(&long, &[("gone", Value::U8(1)), ("type", Value::U8(5)), ("value", Value::from("a"))]);
    let b =
        metadata(&other, &[("value", Value::from("b")), ("type", Value::I8(5)), ("new", Value::Bool(true))]);
    with_diff(&a, &b, |diff| {
        let keys: Vec<_> = diff.keys.iter().map(|diff| diff.key).collect();
        assert_eq!((keys, diff.same_keys), (vec!["array", "gone", "type", "value", "new"], 1));
        let array = diff.keys[0].array.unwrap();
        assert_eq!((array.first, array.differing), (7, 4));
        assert!(matches!(diff.keys[1].value, Change::OnlyInA(_)) && diff.keys[1].array.is_none());
        assert!(matches!(diff.keys[2].value, Change::Both(..)));
        assert!(matches!(diff.keys[4].value, Change::OnlyInB(_)));
        assert!(diff.keys_moved && !diff.is_empty());
    });
}

#[test]
fn tensors_differ_in_shape_type_bytes_and_in_being_there() {
    let values = wave(768 * 700);
    let mut one_off = values.clone();
    one_off[768 * 600] += 0.5;
    let little = ByteOrder::Little;
    let (rows, flat) = (&[768, 700][..], &[768 * 700][..]);
    let a = model(
        little,
        &[],
        &[
            ("same", GgmlType::Q8_0, rows, &values),
            ("bytes", GgmlType::F32, rows, &values),
            ("type", GgmlType::F32, rows, &values),
            ("shape", GgmlType::F32, rows, &values),
            ("ones", GgmlType::F32, &[768, 1], &values[..768]),
            ("gone", GgmlType::F32, &[8], &values[..8]),
        ],
    );
    let b = model(
        ByteOrder::Big,
        &[],
        &[
            ("new", GgmlType::F32, &[8], &values[..8]),
            ("type", GgmlType::Q4_0, rows, &values),
            ("same", GgmlType::Q8_0, rows, &values),
            ("bytes", GgmlType::F32, rows, &one_off),
            ("shape", GgmlType::F32, flat, &values),
            ("ones", GgmlType::F32, &[768], &values[..768]),
        ],
    );
    with_diff(&a, &b, |diff| {
        let names: Vec<_> = diff.tensors.iter().map(|diff| diff.name).collect();
        assert_eq!(names, ["bytes", "type", "shape", "ones", "gone", "new"]);
        assert_eq!((diff.same_tensors, diff.tensors_moved), (1, true));

        let bytes = diff.tensors[0].values.unwrap();
        assert_eq!((bytes.differing, bytes.error.values()), (1, 768 * 700));
        assert!((bytes.error.max() - 0.5).abs() < 1e-6);

        let mut blocks = vec![0; values.len() / 32 * 18];
        quantize(GgmlType::Q4_0, &values, 768, None, &mut blocks).unwrap();
        let expected = QuantError::of(GgmlType::Q4_0, &values, 768, None).unwrap();
        let ty = diff.tensors[1].values.unwrap();
        assert_eq!((ty.error.max(), ty.error.values()), (expected.max(), expected.values()));
        assert!((ty.error.rmse() - expected.rmse()).abs() < 1e-9 * expected.rmse() && ty.differing > 0);
        let (from, to) = (diff.tensors[1].tensor.a().unwrap(), diff.tensors[1].tensor.b().unwrap());
        assert_eq!((from.ggml_type(), to.ggml_type()), (GgmlType::F32, GgmlType::Q4_0));

        assert_eq!(diff.tensors[2].values, None);
        assert_eq!(diff.tensors[3].values, None, "the bytes are the same");
        assert!(matches!(diff.tensors[4].tensor, Change::OnlyInA(_)));
        assert!(matches!(diff.tensors[5].tensor, Change::OnlyInB(_)));
    });
    // Nothing is lost if a type can represent all values of another.
    let file = |ty, values| model(little, &[], &[("w", ty, rows, values)]);
    let halves: Vec<f32> = values.iter().map(|&value| half::f16::from_f32(value).to_f32()).collect();
    with_diff(&file(GgmlType::F16, &halves), &file(GgmlType::F32, &halves), |diff| {
        let values = diff.tensors[0].values.unwrap();
        assert_eq!((values.differing, values.error.rmse()), (0, 0.0));
    });
}

#[test]
fn it_stops_when_it_is_told_to_and_names_what_it_cannot_read() {
    let file = model(ByteOrder::Little, &[], &[("w", GgmlType::F32, &[64], &wave(64))]);
    let gguf = Gguf::parse(&file).unwrap();
    let (side, cut) = (Side::of(&gguf, &file), file[..file.len() - 1].to_vec());
    let stopped = Diff::between_with(&side, &side, |done, _| {
        if done > 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(stopped, Err(Error::Interrupted)), "{stopped:?}");
    let error = Diff::between(&side, &Side::of(&gguf, &cut)).unwrap_err();
    assert!(error.to_string().contains("read tensor 'w'"), "{error}");
}

proptest! {
    #![proptest_config(common::property(64))]

    #[test]
    fn a_changed_value_is_found_in_its_tensor(
        rows in vec(1..4u64, 1..5),
        tensor in any::<prop::sample::Index>(),
        value in any::<prop::sample::Index>(),
        ty in prop::sample::select(vec![GgmlType::F32, GgmlType::F16, GgmlType::Q8_0]),
    ) {
        let names: Vec<_> = (0..rows.len()).map(|i| format!("t{i}")).collect();
        let values = wave(32 * 4);
        let picked = tensor.index(rows.len());
        let mut changed = values.clone();
        let at = value.index(32 * rows[picked] as usize);
        changed[at] += 2.0;
        let file = |values_of: &dyn Fn(usize) -> Vec<f32>| {
            let data: Vec<_> = (0..rows.len()).map(|i| values_of(i)[..32 * rows[i] as usize].to_vec()).collect();
            let dims: Vec<_> = rows.iter().map(|&rows| [32, rows]).collect();
            let tensors: Vec<_> = (0..rows.len()).map(|i| (names[i].as_str(), ty, &dims[i][..], &data[i][..])).collect();
            model(ByteOrder::Little, &[], &tensors)
        };
        let a = file(&|_| values.clone());
        let b = file(&|i| if i == picked { changed.clone() } else { values.clone() });
        with_diff(&a, &a, |diff| assert!(diff.is_empty()));
        with_diff(&a, &b, |diff| {
            assert_eq!(diff.tensors.len(), 1);
            assert_eq!(diff.tensors[0].name, names[picked]);
            assert!((diff.tensors[0].values.unwrap().error.max() - 2.0).abs() < 0.05);
        });
    }
}
