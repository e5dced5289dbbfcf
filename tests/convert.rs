//! Converting whole files: the bytes that one thread makes of the same values, in both byte orders, whatever is in
//! between.

mod common;

use std::io;
use std::ops::ControlFlow;

use gguf_codec::model::{Convert, Job, Outcome};
use gguf_codec::*;

/// Longer than a piece, with a piece and rows that end at different places.
const ROW: usize = 768;
const ROWS: usize = 700;

fn wave(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i % 1013 * 7919 % 1013) as f32 - 506.0) / 300.0).collect()
}

/// A file of two matrices and a vector.
fn model(order: ByteOrder, ty: GgmlType, values: &[f32]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    writer.byte_order(order);
    writer.tensor("first", &[ROW as u64, ROWS as u64], ty).unwrap();
    writer.tensor("vector", &[ROW as u64], GgmlType::F32).unwrap();
    writer.tensor("second", &[ROW as u64, 2], ty).unwrap();
    writer.tensor("none", &[ROW as u64, 0], ty).unwrap();
    let mut data = writer.write_header().unwrap();
    for (name, values) in
        [("first", values), ("vector", &values[..ROW]), ("second", &values[..2 * ROW]), ("none", &[])]
    {
        let mut tensor = data.begin(name).unwrap();
        tensor.write_values(values, None).unwrap();
        tensor.finish().unwrap();
    }
    data.finish().unwrap()
}

/// The matrices become `ty`.
fn convert(
    file: &[u8],
    order: ByteOrder,
    ty: GgmlType,
    importance: Option<&[f32]>,
    progress: impl FnMut(u64) -> ControlFlow<()>,
) -> Result<(Vec<u8>, Vec<Outcome>)> {
    let model = Gguf::parse(file)?;
    let becomes = |name| if name == "vector" { GgmlType::F32 } else { ty };
    let jobs: Vec<_> =
        model.tensors().map(|tensor| Job { tensor, ty: becomes(tensor.name()), importance }).collect();
    let mut writer = Writer::new(Vec::new());
    writer.byte_order(order);
    for job in &jobs {
        writer.tensor(job.tensor.name(), job.tensor.shape().dims(), job.ty)?;
    }
    let mut data = writer.write_header()?;
    let outcomes = Convert::new(file).measure(true).run(&jobs, &mut data, progress)?;
    Ok((data.finish()?, outcomes))
}

fn go_on(_: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Little-endian bytes of a tensor.
fn bytes(file: &[u8], name: &str) -> Vec<u8> {
    let model = Gguf::parse(file).unwrap();
    let tensor = model.tensor(name).unwrap();
    let mut writer = Writer::new(Vec::new());
    writer.tensor(name, tensor.shape().dims(), tensor.ggml_type()).unwrap();
    let mut data = writer.write_header().unwrap();
    data.copy_tensor(&tensor).unwrap();
    let file = data.finish().unwrap();
    Gguf::parse(&file).unwrap().tensor(name).unwrap().bytes().to_vec()
}

#[test]
fn tensors_become_what_their_values_become_alone() {
    let values = wave(ROW * ROWS);
    let importance: Vec<f32> = (0..ROW).map(|i| (i % 13) as f32).collect();
    for (from, ty) in [
        (GgmlType::F32, GgmlType::Q4_K),
        (GgmlType::F16, GgmlType::Q8_0),
        (GgmlType::Q8_0, GgmlType::Q4_0),
        (GgmlType::Q4_K, GgmlType::F32),
        (GgmlType::BF16, GgmlType::BF16),
    ] {
        for (from_order, order) in [
            (ByteOrder::Little, ByteOrder::Little),
            (ByteOrder::Little, ByteOrder::Big),
            (ByteOrder::Big, ByteOrder::Little),
            (ByteOrder::Big, ByteOrder::Big),
        ] {
            let file = model(from_order, from, &values);
            for importance in [None, Some(&importance[..])] {
                let mut read = 0;
                let add = |bytes| {
                    read += bytes;
                    ControlFlow::Continue(())
                };
                let (converted, outcomes) = convert(&file, order, ty, importance, add).unwrap();
                let source = Gguf::parse(&file).unwrap();
                assert_eq!(read, source.tensors().map(|tensor| tensor.byte_len()).sum());
                assert_eq!(outcomes.len(), 4);
                for (name, outcome) in source.tensors().map(|tensor| tensor.name().to_owned()).zip(outcomes) {
                    let case = format!("{name}, {from} {from_order:?} to {ty} {order:?}");
                    let tensor = source.tensor(&name).unwrap();
                    if name == "vector" || from == ty {
                        assert!(bytes(&converted, &name) == bytes(&file, &name), "{case}");
                        assert_eq!(outcome.error, None, "{case}");
                        continue;
                    }
                    let values: Vec<f32> = tensor.dequantize().unwrap();
                    let mut want = vec![0; values.len() / ty.block_len() * ty.block_bytes()];
                    quantize(ty, &values, ROW, importance, &mut want).unwrap();
                    assert!(bytes(&converted, &name) == want, "{case}");
                    let lost = outcome.error.unwrap();
                    let back: Vec<f32> =
                        Gguf::parse(&converted).unwrap().tensor(&name).unwrap().dequantize().unwrap();
                    let all = QuantError::between(&values, &back).unwrap();
                    assert_eq!((lost.values(), lost.max()), (all.values(), all.max()), "{case}");
                    assert!((lost.rmse() - all.rmse()).abs() <= 1e-9 * all.rmse(), "{case}");
                }
            }
        }
    }
}

#[test]
fn a_value_that_no_block_holds_is_found() {
    let mut values = wave(ROW * ROWS);
    values[ROW * 650 + 7] = f32::INFINITY;
    let file = model(ByteOrder::Little, GgmlType::F32, &values);
    let error = convert(&file, ByteOrder::Little, GgmlType::Q4_0, None, go_on).unwrap_err();
    assert_eq!(
        error.to_string(),
        "tensor 'first': value 499207 (row 650, column 7) is inf, and a block of Q4_0 cannot hold that"
    );
    convert(&file, ByteOrder::Little, GgmlType::F16, None, go_on).unwrap();
}

#[test]
fn what_overflows_is_counted() {
    let mut values = wave(ROW * ROWS);
    (values[5], values[ROW * 600], values[ROW * 600 + 1]) = (1e30, -1e30, 1e30);
    let file = model(ByteOrder::Little, GgmlType::F32, &values);
    let overflown = |ty| {
        let (_, outcomes) = convert(&file, ByteOrder::Little, ty, None, go_on).unwrap();
        outcomes.iter().map(|outcome| outcome.overflown).collect::<Vec<_>>()
    };
    assert_eq!(overflown(GgmlType::Q4_0), [2, 0, 1, 0]);
    assert_eq!(overflown(GgmlType::F16), [3, 0, 1, 0]);
    assert_eq!(overflown(GgmlType::BF16), [0; 4]);
}

#[test]
fn it_stops_when_it_is_told_to() {
    let file = model(ByteOrder::Little, GgmlType::F32, &wave(ROW * ROWS));
    let mut pieces = 0;
    let third = |_| {
        pieces += 1;
        if pieces == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let result = convert(&file, ByteOrder::Little, GgmlType::Q8_0, None, third);
    assert!(matches!(result, Err(Error::Interrupted)), "{result:?}");
    assert_eq!(pieces, 3);
}

#[test]
fn a_source_that_ends_is_named() {
    struct Shorter<'a>(&'a [u8]);

    impl ReadAt for Shorter<'_> {
        fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
            self.0[..self.0.len() - 5000].read_exact_at(buffer, offset)
        }
    }

    let file = model(ByteOrder::Little, GgmlType::F32, &wave(ROW * ROWS));
    let gguf = Gguf::parse(&file).unwrap();
    let jobs: Vec<_> = gguf.tensors().map(Job::copy).collect();
    let mut writer = Writer::new(Vec::new());
    writer.copy_header_from(&gguf).unwrap();
    let mut data = writer.write_header().unwrap();
    let error = Convert::new(&Shorter(&file)).run(&jobs, &mut data, go_on).unwrap_err();
    assert!(error.to_string().contains("read tensor 'second'"), "{error}");
}
