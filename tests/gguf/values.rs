//! Owned values and iterators, compared with the borrowed ones that they come from.

use crate::common;
use common::raw::*;
use gguf_codec::{Array, ArrayRef, HeaderParser, Limits, Value, ValueType};

#[test]
fn an_array_becomes_its_own_and_keeps_type_and_length() {
    every_format(|format| {
        for element in 0..13 {
            let count = if element == ARRAY { 0 } else { 3 };
            let raw = Raw::new(format, 0, 1).array("k", element, count).zeros(64);
            let gguf = raw.ok();
            let borrowed: ArrayRef = gguf.metadata().require("k").unwrap();
            let owned: Array = borrowed.to_owned();
            assert_eq!(owned.element_type(), borrowed.element_type());
            assert_eq!(owned.element_type().id(), element);
            assert_eq!((owned.len(), owned.is_empty()), (count as usize, count == 0));
            assert_eq!(borrowed.into_iter().count(), count as usize);
            let value = gguf.metadata().get("k").unwrap();
            assert_eq!(Value::from(value), Value::from(owned.clone()));
            assert_eq!(Value::from(borrowed), Value::Array(owned));
        }
    });
}

#[test]
fn slices_arrays_and_vectors_become_the_same_value() {
    let numbers = Value::Array(Array::U16(vec![1, 2]));
    assert_eq!(Value::from([1u16, 2]), numbers);
    assert_eq!(Value::from(&[1u16, 2][..]), numbers);
    assert_eq!(Value::from(vec![1u16, 2]), numbers);
    let texts = Value::Array(Array::String(vec![b"a".to_vec(), b"bc".to_vec()]));
    assert_eq!(Value::from(["a", "bc"]), texts);
    assert_eq!(Value::from(&["a", "bc"][..]), texts);
    assert_eq!(Value::from(&["a".to_owned(), "bc".to_owned()][..]), texts);
    assert_eq!(
        ValueType::try_from(13).unwrap_err().to_string(),
        "value type 13 is unknown; there are 0 to 12"
    );
}

#[test]
fn pairs_and_tensors_are_reached_from_both_ends_and_by_position() {
    let raw = everything((3, false));
    let gguf = raw.ok();
    let keys: Vec<_> = gguf.metadata().iter().map(|(key, _)| key).collect();
    let names: Vec<_> = gguf.tensors().map(|info| info.name()).collect();
    for (i, key) in keys.iter().enumerate() {
        assert_eq!(gguf.metadata().iter().nth(i).unwrap().0, *key);
    }
    for (i, name) in names.iter().enumerate() {
        assert_eq!(gguf.tensors().nth(i).unwrap().name(), *name);
    }
    assert!(gguf.metadata().iter().nth(keys.len()).is_none() && gguf.tensors().nth(names.len()).is_none());
    assert!(gguf.tensors().rev().map(|info| info.name()).eq(names.iter().rev().copied()));
    let (mut pairs, mut tensors) = (gguf.metadata().iter(), gguf.tensors());
    for left in (0..keys.len()).rev() {
        pairs.next().unwrap();
        assert_eq!((pairs.len(), pairs.size_hint()), (left, (left, Some(left))));
    }
    for left in (0..names.len()).rev() {
        tensors.next_back().unwrap();
        assert_eq!((tensors.len(), tensors.size_hint()), (left, (left, Some(left))));
    }
    let empty = Raw::new((3, false), 0, 0);
    let empty = empty.ok();
    assert!(empty.metadata().is_empty() && empty.metadata().iter().next().is_none());
}

#[test]
fn a_header_alone_says_so() {
    let raw = everything((3, false));
    assert!(!raw.parse().unwrap().is_header_only());
    #[cfg(feature = "std")]
    assert!(gguf_codec::Gguf::read_header(&raw.bytes[..]).unwrap().is_header_only());
    assert!(HeaderParser::new(Limits::default()).finish(&raw.bytes).unwrap().is_header_only());
}

/// The contents of a log or a failed assertion: which model, and how far a writer is, never the data.
#[cfg(feature = "std")]
#[test]
fn models_and_writers_are_told_apart_when_they_are_printed() {
    use gguf_codec::{GgmlType, ShardedGguf, Writer};

    let says = |shown: String, parts: &[&str]| {
        for part in parts {
            assert!(shown.contains(part), "'{part}' is not in: {shown}");
        }
        assert!(shown.len() < 600, "{shown}");
    };
    let raw = everything((2, true));
    let gguf = raw.ok();
    says(format!("{gguf:?}"), &["Gguf", "version: 2", "Big", "alignment: 32", "keys: 17", "tensors: 3"]);
    let array: ArrayRef = gguf.metadata().require("numbers").unwrap();
    assert_eq!(format!("{array:?}"), "ArrayRef([1, 2, 3])");
    let info = gguf.tensor_info("token_embd.weight").unwrap();
    says(format!("{info:?}"), &["token_embd.weight", "[32, 2]", "Q8_0"]);
    says(format!("{:?}", gguf.tensors()), &["token_embd.weight", "norm", "empty"]);
    says(format!("{:?}", ShardedGguf::from(gguf)), &["ShardedGguf", "keys: 17"]);

    let mut writer = Writer::new(Vec::new());
    writer.set_metadata("some.key", 7u8).unwrap().declare_tensor("t", &[5], GgmlType::I8).unwrap();
    says(format!("{writer:?}"), &["Writer", "some.key"]);
    let mut data = writer.write_header().unwrap();
    says(format!("{data:?}"), &["DataWriter", "\"t\"", "broken: None"]);
    let mut tensor = data.begin("t").unwrap();
    tensor.write_bytes(&[1, 2, 3]).unwrap();
    says(format!("{tensor:?}"), &["TensorWriter", "\"t\"", "written: 3"]);
}

#[cfg(all(feature = "std", any(unix, windows), not(target_family = "wasm")))]
#[test]
fn a_file_is_read_at_any_place() {
    use gguf_codec::ReadAt;
    use std::io::Write;
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"0123456789").unwrap();
    let mut four = [0; 4];
    ReadAt::fill_at(&file, &mut four, 6).unwrap();
    assert_eq!(&four, b"6789");
    let error = ReadAt::fill_at(&file, &mut four, 7).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
}
