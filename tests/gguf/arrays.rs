//! Arrays in metadata: their elements, conversions and views, and how they are shown.

use crate::common;
use common::raw::*;
use gguf_codec::{ArrayRef, Error, Gguf, ValueRef, ValueType};

#[test]
fn arrays_are_iterated_converted_and_viewed() {
    every_format(|format| {
        let raw = everything(format);
        let gguf = raw.ok();
        let numbers: ArrayRef = gguf.metadata().require("numbers").unwrap();
        assert_eq!((numbers.element_type(), numbers.len(), numbers.is_empty()), (ValueType::U16, 3, false));
        assert!(numbers.iter().eq([1, 2, 3].map(ValueRef::U16)));
        assert_eq!(numbers.iter().len(), 3);
        assert_eq!(numbers.iter().nth(2), Some(ValueRef::U16(3)));
        assert_eq!(numbers.iter().nth(3), None);
        assert_eq!(numbers.iter_as::<u8>().collect::<Result<Vec<_>, _>>().unwrap(), [1, 2, 3]);
        assert_eq!(numbers.as_slice::<u32>(), None);
        assert_eq!(numbers.as_slice::<u8>(), None);
        assert_eq!(numbers.to_cow::<u16>().as_deref(), Some(&[1, 2, 3][..]));
        if let Some(slice) = numbers.as_slice::<u16>() {
            assert!(format.1 == cfg!(target_endian = "big") && slice == [1, 2, 3]);
        }
        let strings: ArrayRef = gguf.metadata().require("strings").unwrap();
        assert_eq!(strings.iter_as::<&str>().collect::<Result<Vec<_>, _>>().unwrap(), ["a", "", "ccc"]);
        assert_eq!(strings.iter().nth(2), Some(ValueRef::String(b"ccc")));
        let error = strings.iter_as::<bool>().next().unwrap().unwrap_err();
        assert_eq!(error.to_string(), "element 0 of the array is a string, not bool");
        assert_eq!((numbers.iter().count(), strings.iter_as::<bool>().count()), (3, 3));
        assert_eq!(strings.iter().last(), Some(ValueRef::String(b"ccc")));
        let mut wanted = strings.iter_as::<bool>();
        assert!(wanted.nth(1).unwrap().unwrap_err().to_string().starts_with("element 1 "));
        assert!(wanted.clone().last().unwrap().unwrap_err().to_string().starts_with("element 2 "));
        assert!(wanted.next().unwrap().unwrap_err().to_string().starts_with("element 2 "));
        assert!(wanted.next().is_none() && wanted.clone().last().is_none() && wanted.nth(5).is_none());
        let all = gguf.metadata().require_array::<u64>("numbers").unwrap().collect::<Result<Vec<_>, _>>();
        assert_eq!(all.unwrap(), [1, 2, 3]);
        let error = gguf.metadata().require_array::<u32>("strings").unwrap().nth(1).unwrap().unwrap_err();
        assert_eq!(error.to_string(), "element 1 of key 'strings' is a string, not u32");
        let error = gguf.metadata().require_array::<u32>("string").unwrap_err();
        assert_eq!(error.to_string(), "key 'string' is a string, not an array");
        assert!(matches!(gguf.metadata().require_array::<u32>("none"), Err(Error::MissingKey { .. })));
        assert!(gguf.metadata().optional_array::<u32>("none").unwrap().is_none());
        assert_eq!(gguf.metadata().optional_array::<u32>("numbers").unwrap().unwrap().len(), 3);
        gguf.metadata().optional_array::<u32>("string").unwrap_err();
        let nested: ArrayRef = gguf.metadata().require("nested").unwrap();
        assert_eq!(nested.iter().nth(2).unwrap().to_string(), "[[], […] (1 i8)]");

        assert_eq!(gguf.metadata().require::<Vec<u64>>("numbers").unwrap(), [1, 2, 3]);
        assert_eq!(gguf.metadata().optional::<Vec<&str>>("strings").unwrap().unwrap(), ["a", "", "ccc"]);
        assert_eq!(gguf.metadata().optional::<Vec<&str>>("none").unwrap(), None);
        let error = gguf.metadata().require::<Vec<bool>>("strings").unwrap_err();
        assert_eq!(error.to_string(), "element 0 of key 'strings' is a string, not bool");
        let error = gguf.metadata().require::<Vec<u8>>("string").unwrap_err();
        assert_eq!(error.to_string(), "key 'string' is a string, not an array");
        let inner = gguf.metadata().require::<Vec<ArrayRef>>("nested").unwrap();
        assert_eq!(inner[0].iter_as::<bool>().collect::<Result<Vec<_>, _>>().unwrap(), [true, false]);

        let raw = Raw::new(format, 0, 1).array("k", I8, 4).raw(&[1, 2, 254, 255]);
        let gguf = raw.ok();
        let bytes: ArrayRef = gguf.metadata().require("k").unwrap();
        assert_eq!(bytes.as_slice::<i8>(), Some(&[1, 2, -2, -1][..]));
    });
}

#[test]
fn arrays_are_equal_when_type_and_elements_are() {
    let raw = Raw::new((3, false), 0, 5).array("a", U8, 2).u8(1).u8(2);
    let raw = raw.array("same", U8, 2).u8(1).u8(2).array("other value", U8, 2).u8(1).u8(3);
    let raw = raw.array("longer", U8, 3).u8(1).u8(2).u8(3).array("other type", I8, 2).u8(1).u8(2);
    let gguf = raw.ok();
    let array = |key: &str| gguf.metadata().require::<ArrayRef>(key).unwrap();
    assert_eq!(array("a"), array("same"));
    for other in ["other value", "longer", "other type"] {
        assert_ne!(array("a"), array(other), "{other}");
    }
    // Empty arrays differ only by their type.
    let raw = Raw::new((3, false), 0, 2).array("a", U8, 0).array("b", I8, 0);
    let gguf = raw.ok();
    assert_ne!(gguf.metadata().get("a").unwrap(), gguf.metadata().get("b").unwrap());
}

#[test]
fn iterators_know_how_many_are_left() {
    let raw = Raw::new((3, false), 0, 1).array("k", U8, 3).u8(1).u8(2).u8(3);
    let gguf = raw.ok();
    let array = gguf.metadata().require::<ArrayRef>("k").unwrap();
    let (mut values, mut numbers) = (array.iter(), array.iter_as::<u8>());
    for left in (0..=3).rev() {
        assert_eq!((values.size_hint(), numbers.size_hint()), ((left, Some(left)), (left, Some(left))));
        assert_eq!((values.next().is_some(), numbers.next().is_some()), (left > 0, left > 0));
    }
}

#[test]
fn a_view_is_had_exactly_where_it_is_aligned() {
    let raw = Raw::new((3, false), 0, 1).array("k", F32, 3).f32(1.0).f32(2.0).f32(3.0);
    let mut views = 0;
    for shift in 0..4 {
        let bytes = [vec![0; shift], raw.bytes.clone()].concat();
        let gguf = Gguf::options().offset(shift as u64).parse(&bytes).unwrap();
        let array: ArrayRef = gguf.metadata().require("k").unwrap();
        assert_eq!(array.to_cow::<u32>(), None);
        assert_eq!(
            array.to_cow::<f32>().unwrap().into_owned(),
            array.iter_as::<f32>().map(Result::unwrap).collect::<Vec<_>>()
        );
        if let Some(slice) = array.as_slice::<f32>() {
            assert_eq!(slice, [1.0, 2.0, 3.0]);
            views += 1;
        }
    }
    assert_eq!(views, usize::from(cfg!(target_endian = "little")));
}

#[test]
#[cfg(feature = "std")]
fn owned_arrays_of_every_type_are_shown_as_borrowed_ones() {
    use gguf_codec::{Array, Value};

    let arrays = [
        Array::U8(vec![1; 7]),
        Array::I8(vec![-1]),
        Array::U16(vec![]),
        Array::I16(vec![-1, 2]),
        Array::U32(vec![3]),
        Array::I32(vec![-3; 6]),
        Array::U64(vec![u64::MAX]),
        Array::I64(vec![i64::MIN]),
        Array::F32(vec![0.1, 1e30, f32::NAN]),
        Array::F64(vec![0.1, 1e300]),
        Array::Bool(vec![true, false]),
        Array::String(vec![b"a".to_vec(), vec![b'x'; 100], vec![0xff]]),
        Array::Array(vec![Array::U8(vec![]), Array::Bool(vec![true])]),
    ];
    let mut writer = gguf_codec::Writer::new(Vec::new());
    for (i, array) in arrays.iter().enumerate() {
        writer.set_metadata(&i.to_string(), array.clone()).unwrap();
    }
    let text = "text".to_owned();
    writer
        .set_metadata("text", &text)
        .unwrap()
        .set_metadata("bools", Value::Array(Array::Array(vec![Array::Bool(vec![true])])))
        .unwrap();
    let file = writer.write_header().unwrap().finish().unwrap();
    let gguf = gguf_codec::Gguf::parse(&file).unwrap();
    let metadata = gguf.metadata();
    for (i, array) in arrays.iter().enumerate() {
        let borrowed: ArrayRef = metadata.require(&i.to_string()).unwrap();
        assert_eq!(array.to_string(), borrowed.to_string());
        // Whole and by type.
        assert!(format!("{array:?}").starts_with(&format!("{:?}([", array.element_type())), "{array:?}");
    }
    assert_eq!(metadata.require::<&str>("text").unwrap(), text);
    assert_eq!(metadata.require::<Vec<Vec<bool>>>("bools").unwrap(), [[true]]);
    let error = metadata.require::<Vec<Vec<u8>>>("bools").unwrap_err();
    assert_eq!(
        error.to_string(),
        "element 0 of key 'bools' is an array of 1 bool, not an array whose elements convert"
    );
}
