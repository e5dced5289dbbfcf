//! Metadata as a user sees it: order, typed getters, arrays, errors that name what is present.

use crate::common;
use common::raw::*;
use gguf_codec::{Array, ArrayRef, Error, Value, ValueKind, ValueRef, ValueType};

#[test]
fn every_type_in_file_order() {
    let mut seen = Vec::new();
    every_format(|format| {
        let raw = everything(format);
        let gguf = raw.ok();
        let metadata = gguf.metadata();
        assert_eq!((metadata.len(), metadata.is_empty()), (17, false));
        let keys: Vec<_> = metadata.iter().map(|(key, _)| key).collect();
        let expected = "u8 i8 u16 i16 u32 i32 f32 yes no string bytes u64 i64 f64 numbers strings nested";
        assert_eq!(keys.join(" "), expected);
        let backwards: Vec<_> = metadata.into_iter().rev().map(|(key, _)| key).collect();
        assert!(keys.iter().rev().eq(&backwards));
        assert!(metadata.keys().eq(keys.iter().copied()) && metadata.keys().len() == 17);
        let mut by_reference = Vec::new();
        for (key, value) in &metadata {
            assert_eq!(metadata.get(key), Some(value));
            by_reference.push(key);
        }
        assert_eq!(by_reference, keys);

        assert_eq!(metadata.require::<u8>("u8").unwrap(), 255);
        assert_eq!(metadata.require::<i8>("i8").unwrap(), -128);
        assert_eq!(metadata.require::<u16>("u16").unwrap(), 65535);
        assert_eq!(metadata.require::<i16>("i16").unwrap(), -32768);
        assert_eq!(metadata.require::<u32>("u32").unwrap(), u32::MAX);
        assert_eq!(metadata.require::<i32>("i32").unwrap(), i32::MIN);
        assert_eq!(metadata.require::<f32>("f32").unwrap(), 0.1);
        assert!(metadata.require::<bool>("yes").unwrap() && !metadata.require::<bool>("no").unwrap());
        assert_eq!(metadata.require::<&str>("string").unwrap(), "h\u{e9}llo");
        assert_eq!(metadata.require::<&[u8]>("bytes").unwrap(), [0xff, 0, 0xfe]);
        assert_eq!(metadata.require::<u64>("u64").unwrap(), u64::MAX);
        assert_eq!(metadata.require::<i64>("i64").unwrap(), i64::MIN);
        assert_eq!(metadata.require::<f64>("f64").unwrap(), 0.1);
        assert_eq!(
            metadata.get("nested").unwrap().to_string(),
            "[[…] (2 bool), […] (1 string), […] (2 array)]"
        );
        let nested = Array::Array(vec![
            Array::Bool(vec![true, false]),
            Array::String(vec![b"deep".to_vec()]),
            Array::Array(vec![Array::U8(vec![]), Array::I8(vec![-1])]),
        ]);
        assert_eq!(metadata.get("nested").unwrap().to_owned(), Value::Array(nested));
        assert!(metadata.contains("u8") && !metadata.contains("u9") && !metadata.contains(""));
    });
    // All formats hold the same values.
    for format in FORMATS {
        let raw = everything(format);
        let gguf = raw.parse().unwrap();
        seen.push(gguf.metadata().iter().map(|(_, value)| value.to_owned()).collect::<Vec<_>>());
    }
    assert!(seen.iter().all(|values| *values == seen[0]));
    let (little, big) = (everything((3, false)), everything((1, true)));
    let (little, big) = (little.parse().unwrap(), big.parse().unwrap());
    assert!(little.metadata().iter().eq(big.metadata()));
}

#[test]
fn a_key_is_absent_or_of_another_type_and_never_both() {
    let raw = Raw::new((3, false), 0, 1).key("k", STRING).string("text");
    let gguf = raw.ok();
    let metadata = gguf.metadata();
    assert_eq!(metadata.get("k"), Some(ValueRef::String(b"text")));
    assert_eq!(metadata.get("l"), None);

    assert_eq!(metadata.optional::<u32>("l").unwrap(), None);
    assert!(matches!(metadata.require::<u32>("l"), Err(Error::MissingKey { key }) if key == "l"));
    for error in [metadata.optional::<u32>("k").unwrap_err(), metadata.require::<u32>("k").unwrap_err()] {
        assert!(matches!(error, Error::WrongValue { key, .. } if key == "k"));
    }
    assert!(metadata.optional_array::<u32>("l").unwrap().is_none());
    assert!(matches!(metadata.require_array::<u32>("l"), Err(Error::MissingKey { .. })));
    assert!(matches!(metadata.optional_array::<u32>("k"), Err(Error::WrongValue { .. })));
}

#[test]
fn integers_convert_where_the_value_fits() {
    let raw = everything((3, false));
    let gguf = raw.ok();
    let metadata = gguf.metadata();
    assert_eq!(metadata.require::<u64>("u8").unwrap(), 255);
    assert_eq!(metadata.require::<i16>("u8").unwrap(), 255);
    assert_eq!(metadata.require::<i64>("u32").unwrap(), i64::from(u32::MAX));
    assert_eq!(metadata.require::<i64>("i8").unwrap(), -128);
    assert_eq!(metadata.require::<f64>("f32").unwrap(), f64::from(0.1f32));
    assert_eq!(metadata.require::<usize>("u8").unwrap(), 255);
    assert_eq!(metadata.require::<isize>("i8").unwrap(), -128);
    metadata.require::<usize>("i8").unwrap_err();
    assert_eq!(metadata.require::<String>("string").unwrap(), "h\u{e9}llo");
    metadata.require::<String>("bytes").unwrap_err();
    let strings: ArrayRef = metadata.require("strings").unwrap();
    assert_eq!(strings.iter_as::<String>().collect::<Result<Vec<_>, _>>().unwrap(), ["a", "", "ccc"]);
    let message = |error: gguf_codec::Error| error.to_string();
    assert_eq!(message(metadata.require::<i8>("u8").unwrap_err()), "key 'u8' is u8 255, not i8");
    assert_eq!(message(metadata.require::<u64>("i8").unwrap_err()), "key 'i8' is i8 -128, not u64");
    assert_eq!(
        message(metadata.require::<i64>("u64").unwrap_err()),
        "key 'u64' is u64 18446744073709551615, not i64"
    );
    assert_eq!(message(metadata.require::<u32>("f32").unwrap_err()), "key 'f32' is f32 0.1, not u32");
    assert_eq!(message(metadata.require::<u8>("yes").unwrap_err()), "key 'yes' is bool true, not u8");
    assert_eq!(message(metadata.require::<bool>("u8").unwrap_err()), "key 'u8' is u8 255, not bool");
    assert_eq!(message(metadata.require::<f32>("f64").unwrap_err()), "key 'f64' is f64 0.1, not f32");
    assert_eq!(message(metadata.require::<f32>("u8").unwrap_err()), "key 'u8' is u8 255, not f32");
    assert_eq!(
        message(metadata.require::<&str>("bytes").unwrap_err()),
        "key 'bytes' is a string that is not UTF-8, not a UTF-8 string"
    );
    assert_eq!(
        message(metadata.require::<&str>("strings").unwrap_err()),
        "key 'strings' is an array of 3 string, not a UTF-8 string"
    );
    assert_eq!(
        message(metadata.require::<ArrayRef>("string").unwrap_err()),
        "key 'string' is a string, not an array"
    );
    assert!(matches!(metadata.require::<u32>("none"), Err(Error::MissingKey { key }) if key == "none"));
    assert_eq!(metadata.optional::<u32>("none").unwrap(), None);
    assert_eq!(metadata.optional::<u32>("u8").unwrap(), Some(255));
    assert!(matches!(metadata.optional::<u32>("f32"), Err(Error::WrongValue { .. })));

    let raw = Raw::new((3, false), 0, 3)
        .key("half", F64)
        .f64(0.5)
        .key("nan", F64)
        .f64(f64::NAN)
        .key("big", F64)
        .f64(1e300);
    let gguf = raw.ok();
    assert_eq!(gguf.metadata().require::<f32>("half").unwrap(), 0.5);
    assert!(gguf.metadata().require::<f32>("nan").unwrap().is_nan());
    gguf.metadata().require::<f32>("big").unwrap_err();
}

#[test]
fn values_are_shown_short() {
    let long = "x".repeat(100);
    let raw = (0..100).fold(
        Raw::new((3, false), 0, 3)
            .key("a", STRING)
            .string(&long)
            .key("b", STRING)
            .string("a\n\"\u{1b}")
            .array("c", I32, 100),
        |raw, i| raw.u32(i),
    );
    let gguf = raw.ok();
    let shown = |key| gguf.metadata().get(key).unwrap().to_string();
    assert_eq!(shown("a"), format!("\"{}…\" (100 bytes)", "x".repeat(60)));
    assert_eq!(shown("b"), r#""a\n\"\u{1b}""#);
    assert_eq!(shown("c"), "[0, 1, 2, 3, 4, 5, …] (100 i32)");

    // Arrays of six arrays, nested four levels deep, with six long strings in the innermost.
    fn tree(raw: Raw, levels: u32) -> Raw {
        let raw = raw.u32(if levels == 1 { STRING } else { ARRAY }).len(6);
        (0..6).fold(
            raw,
            |raw, _| if levels == 1 { raw.string("\u{1b}".repeat(60)) } else { tree(raw, levels - 1) },
        )
    }
    let raw = tree(Raw::new((3, false), 0, 1).key("k", ARRAY), 4);
    let gguf = raw.ok();
    let shown = gguf.metadata().get("k").unwrap().to_string();
    assert_eq!(shown, format!("[{}]", ["[…] (6 array)"; 6].join(", ")));
}

#[test]
fn a_width_pads_a_whole_value() {
    let values = [
        (Value::from(7u8), "7"),
        (Value::from(0.5f32), "0.5"),
        (Value::from(true), "true"),
        (Value::from("text"), "\"text\""),
        (Value::from([1u32, 2]), "[1, 2]"),
        (Value::from(["a"]), "[\"a\"]"),
        (Value::from(vec![0.5f64; 7]), "[0.5, 0.5, 0.5, 0.5, 0.5, 0.5, …] (7 f64)"),
    ];
    for (value, shown) in values {
        assert_eq!(value.to_string(), shown);
        assert_eq!(format!("{value:<50}|"), format!("{shown:<50}|"));
        assert_eq!(format!("{value:>50}|"), format!("{shown:>50}|"));
    }
    let raw = Raw::new((3, false), 0, 1).array("k", U8, 3).u8(1).u8(2).u8(3);
    let gguf = raw.ok();
    let value = gguf.metadata().get("k").unwrap();
    assert_eq!(format!("{value:<12}|"), "[1, 2, 3]   |");
    assert_eq!(format!("{:<12}|", gguf.metadata().require::<ArrayRef>("k").unwrap()), "[1, 2, 3]   |");
}

#[test]
fn a_type_says_what_is_in_an_array() {
    let raw = everything((3, false));
    let gguf = raw.ok();
    let types: Vec<_> = gguf.metadata().iter().map(|(_, value)| value.value_type().to_string()).collect();
    let expected = "u8 i8 u16 i16 u32 i32 f32 bool bool string string u64 i64 f64 [u16] [string] [array]";
    assert_eq!(types.join(" "), expected);
    for (_, value) in gguf.metadata() {
        let ty = value.to_owned().value_type();
        assert_eq!(ty, value.value_type());
        assert_eq!(ty == ValueType::Array, ty.element().is_none() && ty.stored_type() == ValueType::Array);
    }
}

#[test]
fn values_are_made_from_rust_types() {
    assert_eq!(Value::from(7u32), Value::U32(7));
    assert_eq!(Value::from(true), Value::Bool(true));
    assert_eq!(Value::from("x"), Value::String(b"x".to_vec()));
    assert_eq!(Value::from(String::from("x")), Value::String(b"x".to_vec()));
    assert_eq!(Value::from(vec![1.5f32]), Value::Array(Array::F32(vec![1.5])));
    assert_eq!(Value::from(&[1i64, 2][..]), Value::Array(Array::I64(vec![1, 2])));
    assert_eq!(Value::from(["a", "b"]), Value::from(vec![String::from("a"), String::from("b")]));
    assert_eq!(Value::from(Vec::<String>::new()).value_type(), ValueKind::array(ValueType::String));
    for id in 0..13 {
        assert_eq!(ValueType::try_from(id).unwrap().id(), id);
    }
    assert!(ValueType::try_from(13).unwrap_err().to_string().contains("13"));
}

/// Bytes keep their kind: an array, or a string.
#[test]
#[cfg(feature = "std")]
fn bytes_are_read_as_they_were_written() {
    let mut writer = gguf_codec::Writer::new(Vec::new());
    writer.set_metadata("array", vec![1u8, 2]).unwrap().set_metadata("none", Vec::<u8>::new()).unwrap();
    writer.set_metadata("string", Value::String(vec![0xff, 2])).unwrap();
    writer
        .set_metadata("tokens", ["a", "b"].iter().map(|token| token.to_string()).collect::<Value>())
        .unwrap();
    let file = writer.write_header().unwrap().finish().unwrap();
    let gguf = gguf_codec::Gguf::parse(&file).unwrap();
    let metadata = gguf.metadata();
    assert_eq!(metadata.require::<Vec<u8>>("array").unwrap(), [1, 2]);
    assert_eq!(metadata.require::<&[u8]>("array").unwrap(), [1, 2]);
    assert!(metadata.require::<Vec<u8>>("none").unwrap().is_empty());
    assert!(metadata.require::<ArrayRef>("none").unwrap().is_empty());
    assert_eq!(metadata.require::<&[u8]>("string").unwrap(), [0xff, 2]);
    metadata.require::<Vec<u8>>("string").unwrap_err();
    let error = metadata.require::<&[u8]>("tokens").unwrap_err();
    assert_eq!(error.to_string(), "key 'tokens' is an array of 2 string, not a string or an array of u8");
    assert_eq!(metadata.require::<Vec<String>>("tokens").unwrap(), ["a", "b"]);
}

/// Owned values are formatted like borrowed ones: shortened by `Display` and in full, as text, by `Debug`.
#[test]
fn owned_values_are_shown_as_borrowed_ones() {
    every_format(|format| {
        let raw = everything(format);
        let gguf = raw.ok();
        for (key, value) in gguf.metadata() {
            assert_eq!(value.to_owned().to_string(), value.to_string(), "{key}");
        }
    });
    let long = Value::from("x\n".repeat(40));
    assert_eq!(long.to_string(), format!("\"{}…\" (80 bytes)", "x\\n".repeat(30)));
    assert_eq!(format!("{long:?}"), format!("String(\"{}\")", "x\\n".repeat(40)));
    let fits = "x".repeat(60);
    assert_eq!(Value::from(fits.as_str()).to_string(), format!("\"{fits}\""));
    assert_eq!(Value::from(format!("{fits}y")).to_string(), format!("\"{fits}…\" (61 bytes)"));
    let many: Value = (0..7u16).collect();
    assert_eq!(many.to_string(), "[0, 1, 2, 3, 4, 5, …] (7 u16)");
    assert_eq!(format!("{many:?}"), "Array(U16([0, 1, 2, 3, 4, 5, 6]))");
    let strings = Value::from(["a", "\u{1b}[2J"]);
    assert_eq!(format!("{strings:?}"), r#"Array(String(["a", "\u{1b}[2J"]))"#);
    assert_eq!(format!("{:?}", ValueRef::String(b"\xffa")), "String(\"\u{fffd}a\")");
    assert_eq!(format!("{:?}", ValueRef::F32(0.1)), "F32(0.1)");
}

#[test]
fn keys_of_the_architecture_and_values_of_each_layer() {
    let file = Raw::new((3, false), 0, 5)
        .key("general.architecture", STRING)
        .string(b"some.arch")
        .key("some.arch.block_count", U32)
        .u32(3)
        .key("some.arch.one", U32)
        .u32(7)
        .array("some.arch.each", U32, 3)
        .u32(1)
        .u32(2)
        .u32(3)
        .key("some.arch.text", STRING)
        .string(b"x");
    let gguf = file.ok();
    let metadata = gguf.metadata();
    assert_eq!((metadata.architecture(), gguf.architecture()), (Some("some.arch"), Some("some.arch")));
    assert_eq!(gguf.require_arch::<usize>("block_count").unwrap(), 3);
    assert_eq!(metadata.optional_arch::<u32>("none").unwrap(), None);
    assert_eq!(metadata.per_layer::<u64>("one", 3).unwrap(), Some(vec![7, 7, 7]));
    assert_eq!(metadata.per_layer::<u64>("each", 3).unwrap(), Some(vec![1, 2, 3]));
    assert_eq!(metadata.per_layer::<u64>("none", 3).unwrap(), None);
    let said = |error: Error| error.to_string();
    let error = said(metadata.per_layer::<u64>("each", 4).unwrap_err());
    assert_eq!(error, "key 'some.arch.each' is an array of 3 u32, not u64 or an array of 4");
    assert!(
        said(metadata.per_layer::<u64>("text", 3).unwrap_err())
            .contains("'some.arch.text' is a string, not u64")
    );
    assert!(said(metadata.require_arch::<u32>("none").unwrap_err()).contains("no key 'some.arch.none'"));
    let array: ArrayRef<'_> = metadata.require_arch("each").unwrap();
    assert_eq!((array.get(2), array.get(3)), (Some(ValueRef::U32(3)), None));

    let none = Raw::new((3, false), 0, 0);
    let none = none.ok();
    assert_eq!(none.architecture(), None);
    assert!(
        matches!(none.require_arch::<u32>("x"), Err(Error::MissingKey { key }) if key == "general.architecture")
    );
}
