//! Metadata values as arguments: `KEY=TYPE:VALUE`.

use std::fmt::Display;
use std::str::FromStr;

use gguf_codec::{Array, Value};
use serde_json::value::RawValue;

/// The types, as they are written in arguments.
pub(crate) const TYPES: &str =
    "u8, i8, u16, i16, u32, i32, u64, i64, f32, f64, bool, str, or [TYPE] with a JSON array";

/// A key and its value.
pub(crate) fn key_and_value(argument: &str) -> Result<(String, Value), String> {
    let (key, typed) = argument.split_once('=').ok_or("there is no '=' behind the key")?;
    let (ty, text) = typed.split_once(':').ok_or("there is no ':' behind the type")?;
    let value = match ty.strip_prefix('[').and_then(|ty| ty.strip_suffix(']')) {
        Some(element) => Value::Array(array(element, text)?),
        None => scalar(ty, text)?,
    };
    Ok((key.to_owned(), value))
}

/// Two names with `=` between them.
pub(crate) fn two_names(argument: &str) -> Result<(String, String), String> {
    let (from, to) = argument.split_once('=').ok_or("there is no '=' between the names")?;
    if from.is_empty() || to.is_empty() {
        return Err("a name is empty".to_owned());
    }
    Ok((from.to_owned(), to.to_owned()))
}

fn scalar(ty: &str, text: &str) -> Result<Value, String> {
    Ok(match ty {
        "u8" => Value::U8(integer(ty, text, u8::MIN, u8::MAX)?),
        "i8" => Value::I8(integer(ty, text, i8::MIN, i8::MAX)?),
        "u16" => Value::U16(integer(ty, text, u16::MIN, u16::MAX)?),
        "i16" => Value::I16(integer(ty, text, i16::MIN, i16::MAX)?),
        "u32" => Value::U32(integer(ty, text, u32::MIN, u32::MAX)?),
        "i32" => Value::I32(integer(ty, text, i32::MIN, i32::MAX)?),
        "u64" => Value::U64(integer(ty, text, u64::MIN, u64::MAX)?),
        "i64" => Value::I64(integer(ty, text, i64::MIN, i64::MAX)?),
        "f32" => Value::F32(float(ty, text, f32::is_infinite, f32::MAX)?),
        "f64" => Value::F64(float(ty, text, f64::is_infinite, f64::MAX)?),
        "bool" => Value::Bool(text.parse().map_err(|_| format!("'{text}' is not true or false"))?),
        "str" | "string" => Value::String(text.into()),
        _ => return Err(format!("there is no type '{ty}'; there are {TYPES}")),
    })
}

fn integer<T: FromStr + Display>(ty: &str, text: &str, least: T, most: T) -> Result<T, String> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("'{text}' is not a whole number"));
    }
    text.parse().map_err(|_| format!("{text} is out of the range of {ty}, {least} to {most}"))
}

fn float<T: FromStr + Copy + std::fmt::LowerExp>(
    ty: &str,
    text: &str,
    is_infinite: impl Fn(T) -> bool,
    most: T,
) -> Result<T, String> {
    let value = text.parse().map_err(|_| format!("'{text}' is not a number"))?;
    // Infinity may be asked for, but not come from too many digits.
    if is_infinite(value) && text.contains(|character: char| character.is_ascii_digit()) {
        return Err(format!("{text} is out of the range of {ty}, -{most:e} to {most:e}"));
    }
    Ok(value)
}

/// An array from its JSON. Numbers are read from their own digits, so that none is rounded twice.
fn array(element: &str, json: &str) -> Result<Array, String> {
    /// The elements, each from its JSON.
    fn all<T>(json: &str, one: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
        let elements: Vec<&RawValue> =
            serde_json::from_str(json).map_err(|error| format!("this is not a JSON array: {error}"))?;
        let numbered = (0..).zip(elements);
        numbered
            .map(|(index, json)| one(json.get()).map_err(|error| format!("element {index}: {error}")))
            .collect()
    }

    macro_rules! scalars {
        ($variant:ident) => {
            Array::$variant(all(json, |text| match scalar(element, text)? {
                Value::$variant(value) => Ok(value),
                other => Err(format!("it is {}", other.value_type())),
            })?)
        };
    }

    if let Some(inner) = element.strip_prefix('[').and_then(|element| element.strip_suffix(']')) {
        return Ok(Array::Array(all(json, |json| array(inner, json))?));
    }
    Ok(match element {
        "u8" => scalars!(U8),
        "i8" => scalars!(I8),
        "u16" => scalars!(U16),
        "i16" => scalars!(I16),
        "u32" => scalars!(U32),
        "i32" => scalars!(I32),
        "u64" => scalars!(U64),
        "i64" => scalars!(I64),
        "f32" => scalars!(F32),
        "f64" => scalars!(F64),
        "bool" => scalars!(Bool),
        "str" | "string" => Array::String(all(json, |json| {
            let text: String = serde_json::from_str(json).map_err(|_| format!("{json} is not a string"))?;
            Ok(text.into_bytes())
        })?),
        _ => return Err(format!("there is no type '{element}'; there are {TYPES}")),
    })
}
