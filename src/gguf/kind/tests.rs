use super::*;

fn kind(name: &str) -> ValueKind {
    name.parse().unwrap()
}

#[test]
fn kinds_have_names() {
    for name in ["u8", "string", "[f64]", "[[string]]", "[[[bool]]]"] {
        assert_eq!(kind(name).to_string(), name);
    }
    assert_eq!(kind("[str]"), kind("[string]"));
    let deep = "[".repeat(30_000);
    for wrong in
        ["", "[", "[]", "u32]", "[u32", "u128", "array", &deep, &format!("{deep}u8{}", "]".repeat(30_000))]
    {
        wrong.parse::<ValueKind>().unwrap_err();
    }
    kind(&format!("{}u8{}", "[".repeat(64), "]".repeat(64)));
}

#[test]
fn bytes_that_are_not_utf8_are_escaped() {
    let read = kind("[str]").parse(r#"["\udcff\udc80a", "\ud83d\ude00", "\u00e9é\\\"\/\n"]"#).unwrap();
    let strings = [&b"\xff\x80a"[..], "😀".as_bytes(), "éé\\\"/\n".as_bytes()];
    assert_eq!(read, Value::Array(Array::String(strings.map(<[u8]>::to_vec).to_vec())));
    for wrong in [r#"["\ud83d"]"#, r#"["\udc00"]"#, r#"["\u12"]"#, r#"["\x"]"#, r#"["a]"#, r#"["a""#, "[\"\\"]
    {
        kind("[str]").parse(wrong).unwrap_err();
    }
}

#[test]
fn what_is_no_array_is_explained() {
    for (ty, text, why) in [
        ("[u8]", "1", "begins with '1', not with '['"),
        ("[u8]", "[1", "its end where ',' or ']' must be"),
        ("[u8]", "[1]]", "']' follows it"),
        ("[u8]", "[1,]", "element 1: '' is not a whole number"),
        ("[u8]", "[1 2]", "'2]' where ','"),
        ("[[u8]]", "[[1],[300]]", "element 1: element 0: 300 is out of the range of u8, 0 to 255"),
        ("[[u8]]", "[1]", "element 0: this is not a JSON array"),
    ] {
        let found = kind(ty).parse(text).unwrap_err();
        assert!(found.contains(why), "{found}");
    }
    let parsed = kind("[[u8]]").parse("[ [ ] , [ 1 ] ]").unwrap();
    let [empty, one] = [Array::U8(vec![]), Array::U8(vec![1])];
    assert_eq!(parsed, Value::Array(Array::Array(vec![empty, one])));
}

#[test]
fn nothing_is_lost_in_a_conversion() {
    for (ty, value, converted) in [
        ("u32", Value::I32(5), Some(Value::U32(5))),
        ("u32", Value::U64(1 << 32), None),
        ("i8", Value::I64(-129), None),
        ("u64", Value::I8(-1), None),
        ("f32", Value::F64(1e-5), Some(Value::F32(1e-5))),
        ("f32", Value::F64(0.1f32.into()), Some(Value::F32(0.1))),
        ("f32", Value::F64(0.123456789012), None),
        ("f32", Value::F64(1e300), None),
        ("f32", Value::F64(f64::INFINITY), Some(Value::F32(f32::INFINITY))),
        ("f32", Value::I32(500_000), Some(Value::F32(5e5))),
        ("f32", Value::I32((1 << 24) + 1), None),
        ("f64", Value::U64(u64::MAX), None),
        ("u8", Value::F32(2.0), Some(Value::U8(2))),
        ("u8", Value::F32(2.5), None),
        ("bool", Value::U8(1), None),
        ("string", Value::U8(1), None),
        ("u8", Value::from("1"), None),
        ("u8", Value::from([1u8]), None),
        ("[u8]", Value::U8(1), None),
        ("[u8]", Value::from([1i64, 255]), Some(Value::from([1u8, 255]))),
        ("[u8]", Value::from([1i64, 256]), None),
    ] {
        assert_eq!(kind(ty).converted(value.clone()).ok(), converted, "{value} to {ty}");
    }
}
