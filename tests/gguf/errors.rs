//! Errors as a caller sees them: matched, printed, and with their causes.

use std::error::Error as _;
use std::io;

use gguf_codec::model::{FileType, Part, Recipe};
use gguf_codec::{
    Error, GgmlType, Gguf, Measured, Named, ParseProblem, Problem, TensorProblem, ValueKind, ValueType,
    WriteProblem, Writer, dequantize, quantize,
};

#[test]
fn a_cause_is_the_source_and_debug_shows_all_in_one_line() {
    // WebAssembly only knows the folder that it was given, by its full path.
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/no-such-file.gguf");
    let error = Gguf::open(path).unwrap_err();
    // If files cannot be read at offsets, opening one reads it.
    let what = if cfg!(any(unix, windows)) { "open" } else { "read" };
    assert_eq!(error.to_string(), format!("cannot {what} '{path}'"));
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>()).unwrap();
    assert_eq!(cause.kind(), io::ErrorKind::NotFound);
    assert_eq!(format!("{error:?}"), format!("{error}: {cause}"));

    let error = Gguf::parse(b"PNG").unwrap_err();
    assert!(error.source().is_none());
    assert_eq!(format!("{error:?}"), error.to_string());
}

fn problem<T>(result: gguf_codec::Result<T>) -> WriteProblem {
    match result.map(drop) {
        Err(Error::Write { problem }) => problem,
        Err(error) => panic!("{error}"),
        Ok(()) => panic!("it is written"),
    }
}

fn tensor_problem<T>(result: gguf_codec::Result<T>) -> (String, TensorProblem) {
    match problem(result) {
        WriteProblem::Tensor { tensor, problem } => (tensor, problem),
        problem => panic!("{problem}"),
    }
}

#[test]
fn what_cannot_be_declared_can_be_matched() {
    let mut writer = Writer::new(Vec::new());
    assert!(matches!(problem(writer.set_version(4)), WriteProblem::Version { found: 4 }));
    assert!(matches!(problem(writer.set_metadata("", 1u32)), WriteProblem::EmptyKey));
    assert!(matches!(problem(writer.set_alignment(24)), WriteProblem::Alignment { .. }));
    assert!(matches!(problem(writer.set_shard(2, 2, 1)), WriteProblem::ShardIndex { index: 2, count: 2 }));

    writer.declare_tensor("a", &[64, 2], GgmlType::Q8_0).unwrap();
    let declared = |writer: &mut Writer<Vec<u8>>, name: &str, extents: &[u64]| {
        tensor_problem(writer.declare_tensor(name, extents, GgmlType::Q8_0))
    };
    let (name, why) = declared(&mut writer, "a", &[32]);
    assert!(name == "a" && matches!(why, TensorProblem::Duplicate { first: 0 }));
    let long = declared(&mut writer, &"n".repeat(65), &[32]).1;
    assert!(matches!(long, TensorProblem::NameLength { len: 65, most: 64 }));
    assert!(matches!(declared(&mut writer, "b", &[1; 5]).1, TensorProblem::Dimensions { found: 5 }));
    assert!(matches!(declared(&mut writer, "b", &[1 << 32, 1 << 32]).1, TensorProblem::Elements { .. }));
    assert!(matches!(
        declared(&mut writer, "b", &[33]).1,
        TensorProblem::PartialBlock { row_len: 33, ty: GgmlType::Q8_0 }
    ));
}

#[test]
fn what_cannot_be_written_can_be_matched() {
    let begun = || {
        let mut writer = Writer::new(Vec::new());
        writer.declare_tensor("a", &[64, 2], GgmlType::Q8_0).unwrap();
        writer.declare_tensor("b", &[1], GgmlType::I8).unwrap();
        writer.write_header().unwrap()
    };
    let mut data = begun();
    let (name, why) = tensor_problem(data.begin("b"));
    assert!(name == "b" && matches!(why, TensorProblem::NotNext { next } if next == "a"));
    assert!(matches!(tensor_problem(data.begin("c")).1, TensorProblem::Undeclared));
    let short = tensor_problem(data.write_tensor("a", &[0; 5])).1;
    assert!(matches!(short, TensorProblem::Length { found: 5, wanted: 136, .. }));
    let values = tensor_problem(data.write_values("a", &[0.0; 64], None)).1;
    assert!(matches!(values, TensorProblem::Values { found: 64, .. }));
    data.write_tensor("a", &[0; 136]).unwrap();
    assert!(matches!(tensor_problem(data.begin("a")).1, TensorProblem::Written));
    let missing = problem(data.finish());
    assert!(matches!(missing, WriteProblem::Missing { tensor, missing: 1, declared: 2 } if tensor == "b"));

    let mut data = begun();
    let mut tensor = data.begin("a").unwrap();
    tensor.write_bytes(&[0; 3]).unwrap();
    let within = tensor_problem(tensor.write_values(&[0.0; 64], None)).1;
    assert!(matches!(within, TensorProblem::Within { over: 3, unit: "row", unit_bytes: 68 }));
    assert!(matches!(problem(data.finish()), WriteProblem::Abandoned { .. }));

    let mut data = begun();
    data.begin("a").unwrap().write_bytes(&[0; 3]).unwrap();
    let dropped = problem(data.finish());
    assert!(matches!(dropped, WriteProblem::Dropped { written: 3, bytes: 136, .. }), "{dropped}");

    let mut tensor_of = begun();
    let mut tensor = tensor_of.begin("a").unwrap();
    let nan = tensor_problem(tensor.write_values(&[f32::NAN; 64], None)).1;
    let TensorProblem::Quantize(error) = nan else { panic!("{nan}") };
    assert!(matches!(*error, Error::NonFinite { index: 0, .. }));
}

#[test]
fn what_has_a_wrong_length_can_be_matched() {
    let measured = |result: gguf_codec::Result<()>| match result {
        Err(Error::Length { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    let ty = GgmlType::Q8_0;
    assert_eq!(measured(quantize(ty, &[0.0; 64], 33, None, &mut [0; 68])), Measured::Row);
    assert_eq!(measured(quantize(ty, &[0.0; 65], 64, None, &mut [0; 68])), Measured::InputValues);
    assert_eq!(measured(quantize(ty, &[0.0; 64], 64, Some(&[1.0]), &mut [0; 68])), Measured::Importance);
    assert_eq!(measured(quantize(ty, &[0.0; 64], 64, None, &mut [0; 67])), Measured::OutputBytes);
    assert_eq!(measured(dequantize(ty, &[0; 67], &mut [0.0f32; 64])), Measured::Blocks);
    assert_eq!(measured(dequantize(ty, &[0; 68], &mut [0.0f32; 63])), Measured::OutputValues);
}

#[test]
fn what_stands_for_nothing_can_be_matched() {
    let problem = |error| match error {
        Error::Parse { problem } => problem,
        error => panic!("{error}"),
    };
    let unknown = problem("Q9_9".parse::<GgmlType>().unwrap_err());
    let ParseProblem::Name { what: Named::TensorType, name, known } = unknown else { panic!("{unknown}") };
    assert!(name == "Q9_9" && known.contains(&"Q4_K"));
    let named = |error| match problem(error) {
        ParseProblem::Name { what, .. } => what,
        problem => panic!("{problem}"),
    };
    assert_eq!(named("Q9".parse::<Recipe>().unwrap_err()), Named::Recipe);
    assert_eq!(named("Q9".parse::<FileType>().unwrap_err()), Named::FileType);
    assert_eq!(named("u9".parse::<ValueKind>().unwrap_err()), Named::ValueType);
    assert!(
        matches!(problem("9/8".parse::<Part>().unwrap_err()), ParseProblem::Part { text } if text == "9/8")
    );
    let deep = format!("{}u8{}", "[".repeat(100), "]".repeat(100));
    let deep = problem(deep.parse::<ValueKind>().unwrap_err());
    assert!(matches!(deep, ParseProblem::Depth { found: 100, .. }));
    let id = problem(GgmlType::try_from(999).unwrap_err());
    assert!(matches!(id, ParseProblem::Id(Problem::TypeUnknown { id: 999 })));
    let id = problem(ValueType::try_from(13).unwrap_err());
    assert!(matches!(id, ParseProblem::Id(Problem::ValueType { found: 13 })));
    let value = ValueKind::scalar(ValueType::U8).parse_value("256").unwrap_err();
    assert!(matches!(problem(value), ParseProblem::Value { .. }));
}
