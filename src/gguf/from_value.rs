//! Conversions between metadata values and Rust types: [`FromValue`] and the `From` implementations of [`Value`].

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use super::value::{Array, Value};
use super::value_ref::{ArrayRef, ValueRef};
use crate::error::{Error, Result};

/// A Rust type that a metadata value can be converted to. Only this crate implements it.
///
/// | type | values that convert |
/// |---|---|
/// | `u8` to `u64`, `i8` to `i64`, `usize`, `isize` | integers of any type in the file whose value fits |
/// | `f64` | `f64`, `f32` |
/// | `f32` | `f32`, and an `f64` that an `f32` holds exactly |
/// | `bool` | `bool` |
/// | `&str`, `String` | strings that are UTF-8 |
/// | `&[u8]` | strings, whatever their bytes, and arrays of `u8` |
/// | [`ArrayRef`] | arrays |
/// | `Vec` of any of these | arrays, each element converted |
/// | [`ValueRef`] | every value |
pub trait FromValue<'a>: Sized + private::Sealed {
    /// The expected type, for errors: `u32`, `a string`.
    const WANTED: &'static str;

    /// Returns the value as this type, or `None` if it does not convert without loss.
    fn from_value(value: ValueRef<'a>) -> Option<Self>;

    /// Converts the value of a key to this type. The error names the key.
    #[doc(hidden)]
    fn from_value_of(value: ValueRef<'a>, key: &str) -> Result<Self> {
        Self::from_value(value).ok_or_else(|| Error::WrongValue {
            key: key.to_owned(),
            found: value.describe(),
            wanted: Self::WANTED.to_owned(),
        })
    }
}

impl<'a> ValueRef<'a> {
    /// Returns the value as a Rust type if it converts without loss: see [`FromValue`].
    pub fn get<T: FromValue<'a>>(&self) -> Option<T> {
        T::from_value(*self)
    }
}

mod private {
    pub trait Sealed {}
}

macro_rules! from_value {
    ($($ty:ty, $wanted:literal, $value:ident => $convert:expr;)*) => {
        $(impl<'a> private::Sealed for $ty {}
        impl<'a> FromValue<'a> for $ty {
            const WANTED: &'static str = $wanted;

            fn from_value($value: ValueRef<'a>) -> Option<Self> {
                $convert
            }
        })*
    };
}

macro_rules! integers {
    ($($ty:ident)*) => {
        $(impl private::Sealed for $ty {}
        impl<'a> FromValue<'a> for $ty {
            const WANTED: &'static str = stringify!($ty);

            fn from_value(value: ValueRef<'a>) -> Option<Self> {
                match value {
                    ValueRef::U8(value) => value.try_into().ok(),
                    ValueRef::I8(value) => value.try_into().ok(),
                    ValueRef::U16(value) => value.try_into().ok(),
                    ValueRef::I16(value) => value.try_into().ok(),
                    ValueRef::U32(value) => value.try_into().ok(),
                    ValueRef::I32(value) => value.try_into().ok(),
                    ValueRef::U64(value) => value.try_into().ok(),
                    ValueRef::I64(value) => value.try_into().ok(),
                    _ => None,
                }
            }
        })*
    };
}

integers!(u8 i8 u16 i16 u32 i32 u64 i64 usize isize);

from_value! {
    f64, "f64", value => match value {
        ValueRef::F64(value) => Some(value),
        ValueRef::F32(value) => Some(value.into()),
        _ => None,
    };
    f32, "f32", value => match value {
        ValueRef::F32(value) => Some(value),
        ValueRef::F64(value) => {
            let single = value as f32;
            (f64::from(single) == value || value.is_nan()).then_some(single)
        }
        _ => None,
    };
    bool, "bool", value => match value {
        ValueRef::Bool(value) => Some(value),
        _ => None,
    };
    &'a str, "a UTF-8 string", value => match value {
        ValueRef::String(bytes) => core::str::from_utf8(bytes).ok(),
        _ => None,
    };
    String, "a UTF-8 string", value => <&str>::from_value(value).map(str::to_owned);
    &'a [u8], "a string or an array of u8", value => match value {
        ValueRef::String(bytes) => Some(bytes),
        ValueRef::Array(array) => array.as_slice(),
        _ => None,
    };
    ArrayRef<'a>, "an array", value => match value {
        ValueRef::Array(array) => Some(array),
        _ => None,
    };
    ValueRef<'a>, "a value", value => Some(value);
}

impl<T> private::Sealed for Vec<T> {}
impl<'a, T: FromValue<'a>> FromValue<'a> for Vec<T> {
    const WANTED: &'static str = "an array whose elements convert";

    fn from_value(value: ValueRef<'a>) -> Option<Self> {
        ArrayRef::from_value(value)?.iter().map(T::from_value).collect()
    }

    /// Converts the value. The error names the element that does not convert.
    fn from_value_of(value: ValueRef<'a>, key: &str) -> Result<Self> {
        ArrayRef::from_value_of(value, key)?.iter_as().collect::<Result<_>>().map_err(|error| match error {
            Error::WrongElement { index, found, wanted, .. } => {
                Error::WrongElement { key: Some(key.to_owned()), index, found, wanted }
            }
            error => error,
        })
    }
}

impl From<ValueRef<'_>> for Value {
    fn from(value: ValueRef<'_>) -> Self {
        value.to_owned()
    }
}

impl From<ArrayRef<'_>> for Value {
    fn from(array: ArrayRef<'_>) -> Self {
        Value::Array(array.to_owned())
    }
}

impl From<Array> for Value {
    fn from(array: Array) -> Self {
        Value::Array(array)
    }
}

macro_rules! into_value {
    ($($ty:ty => $variant:ident),* $(,)?) => {
        $(impl From<$ty> for Value {
            fn from(value: $ty) -> Self {
                Value::$variant(value)
            }
        }

        impl From<Vec<$ty>> for Value {
            fn from(elements: Vec<$ty>) -> Self {
                Value::Array(Array::$variant(elements))
            }
        }

        impl From<&[$ty]> for Value {
            fn from(elements: &[$ty]) -> Self {
                Value::Array(Array::$variant(elements.to_vec()))
            }
        }

        impl<const N: usize> From<[$ty; N]> for Value {
            fn from(elements: [$ty; N]) -> Self {
                Value::Array(Array::$variant(elements.to_vec()))
            }
        })*
    };
}

/// Collects the elements into an array, which may be empty.
impl<T> FromIterator<T> for Value
where
    Value: From<Vec<T>>,
{
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        elements.into_iter().collect::<Vec<T>>().into()
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Value::String(text.as_bytes().to_vec())
    }
}

// A `Vec<u8>` or `&[u8]` becomes an array of numbers; a string of bytes is `Value::String`.
into_value! {
    u8 => U8, i8 => I8, u16 => U16, i16 => I16, u32 => U32, i32 => I32, u64 => U64, i64 => I64,
    f32 => F32, f64 => F64, bool => Bool,
}

macro_rules! strings_into_value {
    ($($ty:ty),*) => {
        $(impl From<$ty> for Value {
            fn from(text: $ty) -> Self {
                Value::String(text.into())
            }
        }

        impl From<Vec<$ty>> for Value {
            fn from(elements: Vec<$ty>) -> Self {
                Value::Array(Array::String(elements.into_iter().map(Into::into).collect()))
            }
        }

        impl From<&[$ty]> for Value {
            fn from(elements: &[$ty]) -> Self {
                Value::Array(Array::String(elements.iter().map(|text| text.as_bytes().to_vec()).collect()))
            }
        }

        impl<const N: usize> From<[$ty; N]> for Value {
            fn from(elements: [$ty; N]) -> Self {
                Value::Array(Array::String(elements.into_iter().map(Into::into).collect()))
            }
        })*
    };
}

strings_into_value!(&str, String);
