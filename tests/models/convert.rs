//! Converting whole files gives the bytes that one thread makes from the same values, in both byte orders, however the work
//! is divided.

#![cfg(feature = "std")]

use crate::common;
use std::io;
use std::ops::ControlFlow;

use common::raw::Raw;
use gguf_codec::model::{Convert, Job, Origin, Outcome};
use gguf_codec::*;

/// Longer than a piece, so that pieces and rows end at different places.
const ROW: usize = 768;
const ROWS: usize = 700;

fn wave(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i % 1013 * 7919 % 1013) as f32 - 506.0) / 300.0).collect()
}

/// A file of two matrices and a vector.
fn model(order: ByteOrder, ty: GgmlType, values: &[f32]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    writer.set_byte_order(order);
    writer.declare_tensor("first", &[ROW as u64, ROWS as u64], ty).unwrap();
    writer.declare_tensor("vector", &[ROW as u64], GgmlType::F32).unwrap();
    writer.declare_tensor("second", &[ROW as u64, 2], ty).unwrap();
    writer.declare_tensor("none", &[ROW as u64, 0], ty).unwrap();
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
    progress: impl FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<(Vec<u8>, Vec<Outcome>)> {
    let model = Gguf::parse(file)?;
    let becomes = |name| if name == "vector" { GgmlType::F32 } else { ty };
    let job = |tensor: TensorInfo<'_>| (tensor.name().to_owned(), Origin::of(&file, &tensor));
    let origins: Vec<_> = model.tensors().map(job).collect();
    let jobs: Vec<_> = origins
        .iter()
        .map(|(name, origin)| Job::new(name, *origin, becomes(name)).importance(importance))
        .collect();
    let mut writer = Writer::new(Vec::new());
    writer.set_byte_order(order);
    for job in &jobs {
        writer.declare_tensor(job.name(), job.shape().dims(), job.ggml_type())?;
    }
    let mut data = writer.write_header()?;
    let outcomes = Convert::new().measure(true).run_with(&jobs, &mut data, progress)?;
    Ok((data.finish()?, outcomes))
}

fn go_on(_: u64, _: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Little-endian bytes of a tensor.
fn bytes(file: &[u8], name: &str) -> Vec<u8> {
    let model = Gguf::parse(file).unwrap();
    let tensor = model.tensor(name).unwrap();
    let mut writer = Writer::new(Vec::new());
    writer.declare_tensor(name, tensor.shape().dims(), tensor.ggml_type()).unwrap();
    let mut data = writer.write_header().unwrap();
    data.copy_tensor(&tensor).unwrap();
    let file = data.finish().unwrap();
    Gguf::parse(&file).unwrap().tensor(name).unwrap().bytes().unwrap().to_vec()
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
                let mut read = (0, 0);
                let reached = |done, total| {
                    assert!(done > read.0 && done <= total, "{done} of {total} after {}", read.0);
                    read = (done, total);
                    ControlFlow::Continue(())
                };
                let (converted, outcomes) = convert(&file, order, ty, importance, reached).unwrap();
                let source = Gguf::parse(&file).unwrap();
                let all = source.tensors().map(|tensor| tensor.byte_len()).sum::<u64>();
                assert_eq!(read, (all, all));
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
    let overflowed = |ty| {
        let (_, outcomes) = convert(&file, ByteOrder::Little, ty, None, go_on).unwrap();
        outcomes.iter().map(|outcome| outcome.overflowed).collect::<Vec<_>>()
    };
    assert_eq!(overflowed(GgmlType::Q4_0), [2, 0, 1, 0]);
    assert_eq!(overflowed(GgmlType::F16), [3, 0, 1, 0]);
    assert_eq!(overflowed(GgmlType::BF16), [0; 4]);
}

/// The sum of values that Q8_1 stores overflows long before a scale does.
#[test]
fn sums_that_overflow_are_counted() {
    let file = model(ByteOrder::Little, GgmlType::F32, &[2500.0; ROW * ROWS]);
    let (converted, outcomes) = convert(&file, ByteOrder::Little, GgmlType::Q8_1, None, go_on).unwrap();
    assert_eq!(outcomes[0].overflowed, (ROW * ROWS / 32) as u64);
    assert!(Gguf::parse(&converted).unwrap().tensor("first").unwrap().validate().is_err());
}

#[test]
fn it_stops_when_it_is_told_to() {
    let file = model(ByteOrder::Little, GgmlType::F32, &wave(ROW * ROWS));
    let mut pieces = 0;
    let third = |_, _| {
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
        fn fill_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
            self.0[..self.0.len() - 5000].fill_at(buffer, offset)
        }
    }

    let file = model(ByteOrder::Little, GgmlType::F32, &wave(ROW * ROWS));
    let gguf = Gguf::parse(&file).unwrap();
    let shorter = Shorter(&file);
    let jobs: Vec<_> =
        gguf.tensors().map(|tensor| Job::copy(tensor.name(), Origin::of(&shorter, &tensor))).collect();
    let mut writer = Writer::new(Vec::new());
    writer.copy_header_from(&gguf).unwrap();
    let mut data = writer.write_header().unwrap();
    let error = Convert::new().run(&jobs, &mut data).unwrap_err();
    assert!(error.to_string().contains("read tensor 'second'"), "{error}");
}

const NOTHING: &[u8] = &[];

/// Tries jobs on a file that declares `declared`, which must stay unchanged, and returns the message.
fn refused(declared: &[(&str, [u64; 2], GgmlType)], jobs: &[Job<'_>]) -> String {
    let mut writer = Writer::new(Vec::new());
    for (name, dims, ty) in declared {
        writer.declare_tensor(name, dims, *ty).unwrap();
    }
    let mut data = writer.write_header().unwrap();
    let error = Convert::new().run_with(jobs, &mut data, |_, _| panic!("nothing can be read")).unwrap_err();
    assert!(matches!(error, Error::Write { .. }), "{error:?}");
    let (name, dims, ty) = declared[0];
    let shape = Shape::new(&dims).unwrap();
    assert_eq!(data.next_tensor(), Some((name, shape, ty)));
    drop(data.begin(name).unwrap());
    error.to_string()
}

#[test]
fn jobs_that_cannot_be_done_are_refused_before_the_first_is_begun() {
    use GgmlType::*;
    let file = model(ByteOrder::Little, Q4_0, &wave(ROW * ROWS));
    let model = Gguf::parse(&file).unwrap();
    let job = |name, ty, importance| {
        let origin = Origin::of(&NOTHING, &model.tensor_info(name).unwrap());
        Job::new(name, origin, ty).importance(importance)
    };
    let (rows, first) = (ROWS as u64, ("first", [ROW as u64, ROWS as u64], Q4_0));
    let second = |ty| ("second", [ROW as u64, 2], ty);

    // Blocks of Q4_0 and of IQ4_NL have the same size.
    assert_eq!(
        refused(&[first, second(Q4_0)], &[job("first", Q4_0, None), job("second", IQ4_NL, None)]),
        "tensor 'second' is IQ4_NL of shape [768, 2], and was declared as Q4_0 of shape [768, 2]"
    );
    assert_eq!(
        refused(&[("first", [2 * ROW as u64, rows / 2], Q4_0)], &[job("first", Q4_0, None)]),
        "tensor 'first' is Q4_0 of shape [768, 700], and was declared as Q4_0 of shape [1536, 350]"
    );
    assert_eq!(
        refused(&[first, second(Q4_0)], &[job("second", Q4_0, None)]),
        "tensor 'second' cannot be written yet: 'first' was declared before it and comes first"
    );
    assert_eq!(
        refused(&[first], &[job("first", Q4_0, None), job("second", Q4_0, None)]),
        "tensor 'second' was not declared before the header was written"
    );
    let of_second = |ty, importance| {
        refused(&[first, second(ty)], &[job("first", Q4_0, None), job("second", ty, importance)])
    };
    assert_eq!(of_second(I8, None), "tensor 'second': cannot quantize to I8: integers have no scale");
    assert_eq!(
        of_second(IQ2_XS, None),
        "tensor 'second': cannot quantize to IQ2_XS without importance weights, one for each value of a row"
    );
    assert_eq!(
        of_second(Q4_K, Some(&[1.0; 256])),
        "tensor 'second': the importance, in weights, is 256 long, and must be 768, a weight for each value of a row"
    );
    assert_eq!(
        of_second(Q4_K, Some(&[f32::NAN; ROW])),
        "tensor 'second': importance weight 0 is NaN, and a quantized block cannot hold that"
    );
}

/// Rows may be as long as a header claims, and claiming costs a header nothing.
#[test]
fn rows_that_only_a_header_claims_take_no_memory() {
    let long = 1u64 << 56;
    let header = Raw::new((3, false), 1, 0).tensor("w", &[long, 1], GgmlType::F32.id(), 0).pad(32);
    let model = Gguf::read_header(&header.bytes[..]).unwrap();
    let tensor = model.tensors().next().unwrap();
    let job = |ty, importance| Job::new("w", Origin::of(&NOTHING, &tensor), ty).importance(importance);
    for (job, message) in [
        (job(GgmlType::Q8_0, Some(&[1.0; 32][..])), "must be 72057594037927936"),
        (job(GgmlType::F32, Some(&[1.0; 32])), "read tensor 'w'"),
        (job(GgmlType::Q8_0, None), "read tensor 'w'"),
    ] {
        let mut writer = Writer::new(Vec::new());
        writer.declare_tensor("w", &[long, 1], job.ggml_type()).unwrap();
        let mut data = writer.write_header().unwrap();
        let error = Convert::new().run(&[job], &mut data).unwrap_err().to_string();
        // If such a row does not fit memory at all, the error says so.
        let too_long = cfg!(target_pointer_width = "32") && error.contains("in memory at once");
        assert!(error.contains(message) || too_long, "{error}");
    }
}

/// No thread waits for a result that never comes.
#[test]
fn a_source_that_panics_ends_the_conversion() {
    struct Panics;

    impl ReadAt for Panics {
        fn fill_at(&self, _: &mut [u8], _: u64) -> io::Result<()> {
            panic!("on purpose")
        }
    }

    let file = model(ByteOrder::Little, GgmlType::F32, &wave(ROW * ROWS));
    let gguf = Gguf::parse(&file).unwrap();
    let jobs: Vec<_> =
        gguf.tensors().map(|tensor| Job::copy(tensor.name(), Origin::of(&Panics, &tensor))).collect();
    let mut writer = Writer::new(Vec::new());
    writer.copy_header_from(&gguf).unwrap();
    let mut data = writer.write_header().unwrap();
    let run = || Convert::new().run(&jobs, &mut data);
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_err();
}

#[test]
fn an_origin_is_whole_rows_below_the_last_byte_that_can_be_counted() {
    let shape = |dims: &[u64]| Shape::new(dims).unwrap();
    let origin = |offset, ty, shape| Origin::new(&NOTHING, offset, shape, ty, ByteOrder::Little);
    let matrix = origin(7, GgmlType::Q4_0, shape(&[64, 3])).unwrap();
    assert_eq!(
        (matrix.byte_len(), matrix.shape(), matrix.ggml_type()),
        (108, shape(&[64, 3]), GgmlType::Q4_0)
    );
    for (offset, ty, dims, message) in [
        (
            0,
            GgmlType::Q4_0,
            &[48, 2][..],
            "is 48 long, and must be a multiple of 32, the values in a block of Q4_0",
        ),
        (0, GgmlType::F64, &[1 << 61, 2], "so few that 64 bits can count their bytes in F64"),
        (u64::MAX - 7, GgmlType::F32, &[2], "beginning at 18446744073709551608"),
    ] {
        let error = origin(offset, ty, shape(dims)).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

/// Experts with separate weights; pieces end within their matrices, and matrices within pieces.
#[test]
fn each_matrix_of_a_stack_has_its_own_importance() {
    for rows in [3usize, 400] {
        let (stack, dims) = (5, [ROW as u64, rows as u64, 5]);
        let matrix = ROW * rows;
        let values = wave(matrix * stack);
        let weights: Vec<f32> = (0..ROW * stack).map(|i| (i * 31 % 97) as f32).collect();
        let mut writer = Writer::new(Vec::new());
        writer.declare_tensor("w", &dims, GgmlType::F32).unwrap();
        let mut data = writer.write_header().unwrap();
        let mut tensor = data.begin("w").unwrap();
        tensor.write_values(&values, None).unwrap();
        tensor.finish().unwrap();
        let file = data.finish().unwrap();
        let model = Gguf::parse(&file).unwrap();
        let job = Job::new("w", Origin::of(&file, &model.tensor_info("w").unwrap()), GgmlType::Q4_K);

        let convert = |job: Job<'_>| {
            let mut writer = Writer::new(Vec::new());
            writer.declare_tensor("w", &dims, GgmlType::Q4_K).unwrap();
            let mut data = writer.write_header().unwrap();
            Convert::new().run(&[job], &mut data).map(|_| bytes(&data.finish().unwrap(), "w"))
        };
        let mut wanted = vec![0; values.len() / 256 * 144];
        let matrices =
            values.chunks(matrix).zip(weights.chunks(ROW)).zip(wanted.chunks_mut(matrix / 256 * 144));
        for ((values, weights), out) in matrices {
            quantize(GgmlType::Q4_K, values, ROW, Some(weights), out).unwrap();
        }
        assert!(convert(job.importance(Some(&weights))).unwrap() == wanted, "{rows} rows");
        // One set of weights for all of them.
        quantize(GgmlType::Q4_K, &values, ROW, Some(&weights[..ROW]), &mut wanted).unwrap();
        assert!(convert(job.importance(Some(&weights[..ROW]))).unwrap() == wanted, "{rows} rows");
        let error = convert(job.importance(Some(&weights[..2 * ROW]))).unwrap_err().to_string();
        assert!(
            error.contains("must be 768, a weight for each value of a row, or 5 times as many"),
            "{error}"
        );
    }
}
