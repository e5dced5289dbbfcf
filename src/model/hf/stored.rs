//! Metadata of a GGUF as text, so that a safetensors file can carry it: `u32:32`, `string:llama`, `f32[]:[1.0,0.5]`.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::error::{Error, Result, Shown};
use crate::gguf::layout::ALIGNMENT_KEY;
use crate::gguf::shards::SHARD_KEYS;
use crate::gguf::value::{Array, Value};
use crate::gguf::value_ref::ValueRef;
use crate::limits::Limits;
use crate::safetensors::Checkpoint;

/// What begins the keys of `__metadata__` that a GGUF's stand behind.
pub(super) const PREFIX: &str = "gguf:";

/// The key, behind [`PREFIX`], of the list of the others in the GGUF's order. No GGUF has it: keys are not empty.
pub(super) const ORDER: &str = "";

/// What begins the keys that ComfyUI-GGUF has for the shapes that tensors had, outermost extent first.
pub(super) const ORIGINAL_SHAPE: &str = "comfy.gguf.orig_shape.";

/// The value of such a key; extents beyond 31 bits are kept with all of theirs.
pub(super) fn original_shape(shape: &[u64]) -> Value {
    let narrow: Option<Vec<i32>> = shape.iter().map(|&extent| i32::try_from(extent).ok()).collect();
    match narrow {
        Some(extents) => Value::Array(Array::I32(extents)),
        None => Value::Array(Array::U64(shape.to_vec())),
    }
}

/// Levels of arrays, so that a file cannot nest them until the stack ends: as many as reading a GGUF allows by default.
const MAX_DEPTH: u32 = 4;

/// The metadata of a GGUF that became safetensors, by keys that begin with their place in it.
pub(super) fn carried(checkpoint: &Checkpoint) -> Result<BTreeMap<String, Value>> {
    let metadata = checkpoint.metadata();
    let pairs = metadata.iter().filter_map(|(key, text)| Some((key.strip_prefix(PREFIX)?, text)));
    // What a file is of a set says nothing of the model, and a GGUF that claimed it would be opened as a shard.
    let pairs = pairs.filter(|(key, _)| !SHARD_KEYS.contains(key));
    let carried: BTreeMap<_, _> =
        pairs.map(|(key, text)| Ok((key.to_owned(), from_text(key, text)?))).collect::<Result<_>>()?;
    // A file may ask for no more padding here than where it is a GGUF itself.
    let most = Limits::default().max_alignment;
    match carried.get(ALIGNMENT_KEY) {
        Some(Value::U32(alignment)) if *alignment > most => {
            let message =
                format!("'{ALIGNMENT_KEY}' of the metadata is {alignment}, and may be {most} at most");
            Err(Error::Safetensors { file: None, offset: None, message })
        }
        Some(Value::U32(alignment)) if alignment.is_power_of_two() => Ok(carried),
        Some(other) => {
            let message = format!(
                "'{ALIGNMENT_KEY}' of the metadata is {} {other}, and must be u32 and a power of two",
                other.value_type()
            );
            Err(Error::Safetensors { file: None, offset: None, message })
        }
        None => Ok(carried),
    }
}

/// The pairs in the order that the GGUF had them, as far as it is known.
pub(super) fn carried_in_order(mut carried: BTreeMap<String, Value>) -> Vec<(String, Value)> {
    let order = carried.remove(ORDER);
    let mut pairs = Vec::new();
    if let Some(Value::Array(Array::String(order))) = order {
        for key in order {
            let key = String::from_utf8_lossy(&key);
            pairs.extend(carried.remove_entry(key.as_ref()));
        }
    }
    pairs.extend(carried);
    pairs
}

pub(super) fn to_text(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::String(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => format!("string:{text}"),
            Err(_) => format!("bytes:{}", hex(bytes)),
        },
        ValueRef::Array(array) => array_to_text(&array.to_owned()),
        ValueRef::F32(number) => format!("f32:{number:?}"),
        ValueRef::F64(number) => format!("f64:{number:?}"),
        number => format!("{}:{number}", number.value_type()),
    }
}

pub(super) fn array_to_text(array: &Array) -> String {
    /// Numbers as JSON has them; those that are none as strings.
    fn floats<T: Copy + Into<f64> + std::fmt::Debug>(numbers: &[T]) -> String {
        let quote = |number: &T| if (*number).into().is_finite() { "" } else { "\"" };
        list(numbers.iter().map(|number| format!("{0}{number:?}{0}", quote(number))))
    }
    fn shown<T: std::fmt::Display>(numbers: &[T]) -> String {
        list(numbers.iter().map(T::to_string))
    }
    fn list(elements: impl Iterator<Item = String>) -> String {
        let mut text = "[".to_owned();
        for (index, element) in elements.enumerate() {
            text.push_str(if index > 0 { "," } else { "" });
            text.push_str(&element);
        }
        text + "]"
    }
    let quoted = |text: &str| Json::from(text).to_string();
    let (ty, elements) = match array {
        Array::U8(numbers) => ("u8", shown(numbers)),
        Array::I8(numbers) => ("i8", shown(numbers)),
        Array::U16(numbers) => ("u16", shown(numbers)),
        Array::I16(numbers) => ("i16", shown(numbers)),
        Array::U32(numbers) => ("u32", shown(numbers)),
        Array::I32(numbers) => ("i32", shown(numbers)),
        Array::U64(numbers) => ("u64", shown(numbers)),
        Array::I64(numbers) => ("i64", shown(numbers)),
        Array::F32(numbers) => ("f32", floats(numbers)),
        Array::F64(numbers) => ("f64", floats(numbers)),
        Array::Bool(values) => ("bool", shown(values)),
        Array::Array(arrays) => ("array", list(arrays.iter().map(|array| quoted(&array_to_text(array))))),
        Array::String(strings) => {
            let texts: Option<Vec<_>> = strings.iter().map(|bytes| std::str::from_utf8(bytes).ok()).collect();
            match texts {
                Some(texts) => ("string", list(texts.into_iter().map(quoted))),
                None => ("bytes", list(strings.iter().map(|bytes| quoted(&hex(bytes))))),
            }
        }
    };
    format!("{ty}[]:{elements}")
}

/// What [`to_text`] made into text.
pub(super) fn from_text(key: &str, text: &str) -> Result<Value> {
    parse(text, 0).ok_or_else(|| {
        let shown = text.chars().take(60).collect::<String>();
        let message = format!(
            "'{}' of the metadata is '{}', and must be TYPE:VALUE, such as u32:32 or f32[]:[1.0]",
            Shown(key),
            Shown(&shown)
        );
        Error::Safetensors { file: None, offset: None, message }
    })
}

fn parse(text: &str, depth: u32) -> Option<Value> {
    let (ty, text) = text.split_once(':')?;
    if let Some(ty) = ty.strip_suffix("[]") {
        return (depth < MAX_DEPTH).then(|| parse_array(ty, text, depth + 1))?.map(Value::Array);
    }
    Some(match ty {
        "u8" => Value::U8(text.parse().ok()?),
        "i8" => Value::I8(text.parse().ok()?),
        "u16" => Value::U16(text.parse().ok()?),
        "i16" => Value::I16(text.parse().ok()?),
        "u32" => Value::U32(text.parse().ok()?),
        "i32" => Value::I32(text.parse().ok()?),
        "u64" => Value::U64(text.parse().ok()?),
        "i64" => Value::I64(text.parse().ok()?),
        "f32" => Value::F32(text.parse().ok()?),
        "f64" => Value::F64(text.parse().ok()?),
        "bool" => Value::Bool(text.parse().ok()?),
        "string" => Value::String(text.into()),
        "bytes" => Value::String(unhex(text)?),
        _ => return None,
    })
}

fn parse_array(ty: &str, text: &str, depth: u32) -> Option<Array> {
    let Ok(Json::Array(elements)) = serde_json::from_str(text) else { return None };
    fn integers<T: TryFrom<i64> + TryFrom<u64>>(elements: &[Json]) -> Option<Vec<T>> {
        let integer = |element: &Json| match element.as_u64() {
            Some(number) => T::try_from(number).ok(),
            None => T::try_from(element.as_i64()?).ok(),
        };
        elements.iter().map(integer).collect()
    }
    fn strings(elements: &[Json]) -> Option<Vec<&str>> {
        elements.iter().map(Json::as_str).collect()
    }
    // From its text, not by way of a double: rounding once is exact, twice is not.
    fn floats<T: std::str::FromStr>(elements: &[Json]) -> Option<Vec<T>> {
        let float = |element: &Json| match element {
            Json::String(text) => text.parse().ok(),
            Json::Number(number) => number.to_string().parse().ok(),
            _ => None,
        };
        elements.iter().map(float).collect()
    }
    Some(match ty {
        "u8" => Array::U8(integers(&elements)?),
        "i8" => Array::I8(integers(&elements)?),
        "u16" => Array::U16(integers(&elements)?),
        "i16" => Array::I16(integers(&elements)?),
        "u32" => Array::U32(integers(&elements)?),
        "i32" => Array::I32(integers(&elements)?),
        "u64" => Array::U64(integers(&elements)?),
        "i64" => Array::I64(integers(&elements)?),
        "f32" => Array::F32(floats(&elements)?),
        "f64" => Array::F64(floats(&elements)?),
        "bool" => Array::Bool(elements.iter().map(Json::as_bool).collect::<Option<_>>()?),
        "string" => Array::String(strings(&elements)?.into_iter().map(Into::into).collect()),
        "bytes" => Array::String(strings(&elements)?.into_iter().map(unhex).collect::<Option<_>>()?),
        "array" => {
            let parsed = strings(&elements)?.into_iter().map(|text| match parse(text, depth) {
                Some(Value::Array(array)) => Some(array),
                _ => None,
            });
            Array::Array(parsed.collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    let digits = (0..text.len()).step_by(2).map(|at| &text[at..at + 2]);
    digits.map(|digits| u8::from_str_radix(digits, 16).ok()).collect()
}
