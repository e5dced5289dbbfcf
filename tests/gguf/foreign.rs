//! Tensors that this crate cannot read: refused, or listed on request.

use crate::common::raw::{Raw, agree, every_format};
use gguf_codec::{Error, GgmlType, Gguf, GgufOptions, HeaderParser, HeaderProgress, Limits, Place, Problem};

fn options() -> GgufOptions {
    let mut options = Gguf::options();
    options.foreign_tensors(true);
    options
}

/// A tensor of an unknown type between two others.
fn between(format: (u32, bool)) -> Raw {
    let raw = Raw::new(format, 3, 0).tensor("a", &[4], 24, 0).tensor("b", &[256, 2], 139, 32);
    raw.tensor("c", &[2], 24, 32 + 64).pad(32).u8(1).pad(32).zeros(64).u8(2).u8(3)
}

#[test]
fn a_type_of_a_fork_hides_nothing_else() {
    every_format(|format| {
        let raw = between(format);
        assert!(agree(&raw.bytes, Limits::default()).unwrap_err().contains("TypeUnknown { id: 139 }"));
        let model = options().parse(&raw.bytes).unwrap();
        assert_eq!(model.tensor_count(), 2);
        assert_eq!(model.tensor("c").unwrap().bytes().unwrap(), [2, 3]);
        let mut foreign = model.foreign_tensors();
        let tensor = foreign.next().unwrap();
        assert_eq!((tensor.name(), tensor.extents(), tensor.type_id()), ("b", &[256, 2][..], 139));
        assert_eq!((tensor.byte_len(), tensor.ggml_type()), (Some(64), None));
        assert_eq!(tensor.file_offset(), model.data_offset() + 32);
        assert_eq!(*tensor.problem(), Problem::TypeUnknown { id: 139 });
        assert_eq!(foreign.len(), 0);
        let Err(Error::Foreign { tensor, problem }) = model.tensor("b") else { panic!() };
        assert_eq!((tensor.as_str(), problem), ("b", Problem::TypeUnknown { id: 139 }));
        assert!(matches!(model.tensor("d"), Err(Error::MissingTensor { .. })));
        assert!(model.trailing().is_empty());
    });
}

#[test]
fn the_last_one_ends_with_the_file() {
    let raw = Raw::new((3, false), 2, 0).tensor("a", &[4], 24, 0).tensor("b", &[256], 31, 32);
    let raw = raw.pad(32).u8(1).pad(32).zeros(50);
    let model = options().parse(&raw.bytes).unwrap();
    let tensor = model.foreign_tensors().next().unwrap();
    assert_eq!(tensor.byte_len(), Some(50));
    assert!(matches!(tensor.problem(), Problem::TypeRemoved { id: 31, .. }));
    assert!(model.trailing().is_empty());
    let header = HeaderParser::new(Limits::default()).foreign_tensors(true).finish(&raw.bytes[..]).unwrap();
    assert_eq!(header.foreign_tensors().next().unwrap().byte_len(), None);
    // Its data must begin within the file.
    let end = usize::try_from(model.data_offset()).unwrap() + 31;
    let error = options().parse(&raw.bytes[..end]).unwrap_err();
    assert!(matches!(error, Error::Malformed { problem: Problem::DataBeyondEnd { .. }, .. }), "{error}");
}

#[test]
fn more_than_four_dimensions_are_counted() {
    every_format(|format| {
        let raw = Raw::new(format, 2, 0).tensor("five", &[2, 2, 1, 4, 2], 1, 0).tensor("a", &[1], 24, 64);
        let raw = raw.pad(32).zeros(64).u8(9);
        let model = options().parse(&raw.bytes).unwrap();
        let tensor = model.foreign_tensors().next().unwrap();
        assert_eq!((tensor.extents(), tensor.byte_len()), (&[2, 2, 1, 4, 2][..], Some(64)));
        assert_eq!(tensor.ggml_type(), Some(GgmlType::F16));
        assert_eq!(*tensor.problem(), Problem::Dimensions { found: 5 });
        assert_eq!(model.tensor("a").unwrap().bytes().unwrap(), [9]);
        assert!(agree(&raw.bytes, Limits::default()).unwrap_err().contains("Dimensions { found: 5 }"));
    });
    // The size is known, so the offset of the next tensor is known, and a product must not wrap.
    let wrong = Raw::new((3, false), 2, 0).tensor("five", &[2, 2, 1, 4, 2], 1, 0).tensor("a", &[1], 24, 96);
    let error = options().parse(wrong.pad(32).zeros(200).bytes).unwrap_err();
    assert!(matches!(error, Error::Malformed { problem: Problem::Offset { .. }, .. }), "{error}");
    let many = Raw::new((3, false), 1, 0).tensor("t", &[1 << 30, 1 << 30, 1, 1, 1 << 30], 24, 0);
    let error = options().parse(many.pad(32).bytes).unwrap_err();
    assert!(matches!(error, Error::Malformed { problem: Problem::Elements { .. }, .. }), "{error}");
}

#[test]
fn names_may_be_as_long_as_some_write_them() {
    let named = |len| Raw::new((3, false), 1, 0).tensor("n".repeat(len), &[1], 24, 0).pad(32).u8(7);
    assert_eq!(
        options().parse(named(127).bytes).unwrap().tensor(&"n".repeat(127)).unwrap().bytes().unwrap(),
        [7]
    );
    assert!(options().parse(named(128).bytes).is_err());
    assert!(Gguf::parse(named(65).bytes).is_err());
}

#[test]
fn what_follows_an_unknown_size_must_be_in_order() {
    for offset in [0, 16, 33] {
        let raw = Raw::new((3, false), 3, 0).tensor("a", &[4], 24, 0).tensor("b", &[256], 139, 32);
        let error = options().parse(raw.tensor("c", &[2], 24, offset).pad(32).zeros(200).bytes).unwrap_err();
        assert!(
            matches!(error, Error::Malformed { problem: Problem::Offset { .. }, .. }),
            "{offset}: {error}"
        );
    }
}

#[test]
fn a_name_occurs_once_among_all() {
    for names in [["a", "b", "b"], ["b", "b", "a"], ["b", "a", "a"], ["a", "b", "a"]] {
        let ty = |name| if name == "b" { 139 } else { 24 };
        let raw = names.iter().zip([0, 32, 64]).fold(Raw::new((3, false), 3, 0), |raw, (name, offset)| {
            raw.tensor(name, &[1], ty(*name), offset)
        });
        let Err(Error::Malformed { place: Place::Tensor { index, .. }, problem, .. }) =
            options().parse(raw.pad(32).zeros(200).bytes)
        else {
            panic!("{names:?}")
        };
        let first = names.iter().position(|name| *name == names[index as usize]).unwrap() as u64;
        assert_eq!(problem, Problem::DuplicateTensor { first }, "{names:?}");
        assert!(first < index);
    }
}

#[test]
fn bytes_that_come_one_by_one_make_no_difference() {
    let raw = between((3, false));
    let (mut parser, mut received) = (HeaderParser::new(Limits::default()).foreign_tensors(true), 0);
    while let HeaderProgress::NeedMore(_) = parser.advance(&raw.bytes[..received]).unwrap() {
        received += 1;
    }
    let model = parser.finish(&raw.bytes[..received]).unwrap();
    assert_eq!((model.tensor_count(), model.foreign_tensors().len()), (2, 1));
}
