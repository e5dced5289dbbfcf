//! Lossless conversions between value types.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::why::{Why, described};
use crate::gguf::value::{Array, Value};
use crate::gguf::value_type::ValueType;

/// Collects values of one type into an array of that type. `$values` contains nothing else.
macro_rules! collect {
    ($ty:expr, $values:expr, $array:expr; $($plain:ident)*) => {
        match $ty {
            $(ValueType::$plain => {
                let plain = |value: Why<Value>| match value? {
                    Value::$plain(value) => Ok(value),
                    other => Err(format!("{} is not {}", described(&other), $ty)),
                };
                Array::$plain($values.map(plain).collect::<Why<_>>()?)
            })*
            ValueType::Array => $array,
        }
    };
}

/// Returns an array of the values, which are all of type `ty`. `ty` is not the array type.
pub(super) fn array_of(ty: ValueType, values: impl Iterator<Item = Why<Value>>) -> Why<Array> {
    Ok(collect!(ty, values, Array::Array(Vec::new()); U8 I8 U16 I16 U32 I32 F32 Bool String U64 I64 F64))
}

pub(super) fn numbered<T>(index: usize, result: Why<T>) -> Why<T> {
    result.map_err(|why| format!("element {index}: {why}"))
}

pub(super) fn converted_array(leaf: ValueType, depth: u32, array: Array) -> Why<Array> {
    if depth == 0 && leaf == ValueType::Array {
        return match array {
            Array::Array(_) => Ok(array),
            array => Err(format!("the elements are {}, and must be arrays", array.element_type())),
        };
    }
    let values = array.into_values().enumerate();
    match depth.checked_sub(1) {
        None => array_of(leaf, values.map(|(index, value)| numbered(index, convert(leaf, value)))),
        Some(below) => {
            let inner = values.map(|(index, value)| {
                numbered(
                    index,
                    match value {
                        Value::Array(array) => converted_array(leaf, below, array),
                        value => Err(format!("{} is not an array", described(&value))),
                    },
                )
            });
            inner.collect::<Why<_>>().map(Array::Array)
        }
    }
}

/// Returns the integer of an integer value of any type.
pub(crate) fn as_integer(value: &Value) -> Option<i128> {
    Some(match *value {
        Value::U8(value) => value.into(),
        Value::I8(value) => value.into(),
        Value::U16(value) => value.into(),
        Value::I16(value) => value.into(),
        Value::U32(value) => value.into(),
        Value::I32(value) => value.into(),
        Value::U64(value) => value.into(),
        Value::I64(value) => value.into(),
        // No type can represent numbers above 2^100.
        Value::F32(value) if value % 1.0 == 0.0 && value.abs() < 1e30 => value as i128,
        Value::F64(value) if value % 1.0 == 0.0 && value.abs() < 1e30 => value as i128,
        _ => return None,
    })
}

pub(super) fn convert(ty: ValueType, value: Value) -> Why<Value> {
    if value.tag() == ty {
        return Ok(value);
    }
    let integer = as_integer(&value);
    macro_rules! integers {
        ($number:ident) => {
            integer.and_then(|value| value.try_into().ok()).map(Value::$number)
        };
    }
    let converted = match ty {
        ValueType::U8 => integers!(U8),
        ValueType::I8 => integers!(I8),
        ValueType::U16 => integers!(U16),
        ValueType::I16 => integers!(I16),
        ValueType::U32 => integers!(U32),
        ValueType::I32 => integers!(I32),
        ValueType::U64 => integers!(U64),
        ValueType::I64 => integers!(I64),
        ValueType::F32 => match value {
            Value::F64(value) => narrowed(value).map(Value::F32),
            _ => integer
                .map(|value| (value, value as f32))
                .and_then(|(value, float)| (float as i128 == value).then_some(Value::F32(float))),
        },
        ValueType::F64 => match value {
            Value::F32(value) => Some(Value::F64(value.into())),
            _ => integer
                .map(|value| (value, value as f64))
                .and_then(|(value, float)| (float as i128 == value).then_some(Value::F64(float))),
        },
        ValueType::Bool | ValueType::String | ValueType::Array => None,
    };
    converted.ok_or_else(|| match (&value, range_of(ty)) {
        (_, Some(range)) if integer.is_some() => {
            format!("{} is out of the range of {ty}, {range}", described(&value))
        }
        (Value::F64(_), _) if ty == ValueType::F32 => {
            format!("{} has more digits than f32 holds", described(&value))
        }
        _ => format!("{} cannot become {ty} without loss", described(&value)),
    })
}

/// Returns the single-precision float that has the same shortest digits, or is equal.
fn narrowed(value: f64) -> Option<f32> {
    let single = value as f32;
    let same = f64::from(single) == value || value.is_nan();
    (same || single.is_finite() && format!("{single:e}") == format!("{value:e}")).then_some(single)
}

pub(super) fn range_of(ty: ValueType) -> Option<String> {
    macro_rules! ranges {
        ($($name:ident $number:ty),*) => {
            match ty {
                $(ValueType::$name => Some(format!("{} to {}", <$number>::MIN, <$number>::MAX)),)*
                _ => None,
            }
        };
    }
    ranges!(U8 u8, I8 i8, U16 u16, I16 i16, U32 u32, I32 i32, U64 u64, I64 i64)
}
