//! [`ValueKind`]: the whole type of a value, values as text, and conversions between types that lose nothing.

mod convert;
mod elements;
mod text;

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;

#[cfg(all(feature = "std", any(unix, windows)))]
pub(crate) use self::convert::as_integer;
use self::convert::{convert, converted_array};
use self::text::scalar;
use super::array::ArrayRef;
use super::value::{Array, MAX_DEPTH, Value, ValueRef, ValueType};
use crate::error::{Error, Named, ParseProblem, Result};

/// The whole type of a metadata value: a [`ValueType`], or arrays of one, nested in each other or not.
///
/// As text it is `u32`, `[string]` or `[[f32]]`; `str` is read as `string`.
///
/// ```
/// use gguf_codec::{Array, Value, ValueKind};
///
/// let kind: ValueKind = "[u16]".parse()?;
/// assert_eq!(kind.parse_value("[1, 65535]")?, Value::Array(Array::U16(vec![1, 65535])));
/// let error = kind.parse_value("[1, 65536]").unwrap_err();
/// assert_eq!(error.to_string(), "element 1: 65536 is out of the range of u16, 0 to 65535");
/// // 5 is an i32, and just as well a u64.
/// assert_eq!("u64".parse::<ValueKind>()?.convert(5.into())?, Value::U64(5));
/// # Ok::<(), gguf_codec::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ValueKind {
    /// What is in the innermost arrays. [`ValueType::Array`] where that is not known, or not one type.
    leaf: ValueType,
    /// Levels of arrays around it.
    depth: u32,
}

/// What is wrong with a text or a value, without the key.
type Why<T> = Result<T, String>;

impl ValueKind {
    /// A value of this type that is not an array, or for [`ValueType::Array`] an array whose elements are arrays of any
    /// types.
    pub const fn scalar(ty: ValueType) -> Self {
        match ty {
            ValueType::Array => ValueKind { leaf: ty, depth: 1 },
            _ => ValueKind { leaf: ty, depth: 0 },
        }
    }

    /// An array of elements of this type.
    pub const fn array(element: ValueType) -> Self {
        ValueKind { leaf: element, depth: 1 }
    }

    pub(super) fn of(value: &Value) -> Self {
        match value {
            Value::Array(array) => Self::of_array(array),
            value => Self::scalar(value.tag()),
        }
    }

    fn of_array(array: &Array) -> Self {
        let inner = match array {
            Array::Array(elements) => Self::common(elements.iter().map(Self::of_array)),
            _ => None,
        };
        match inner {
            Some(ValueKind { leaf, depth }) => ValueKind { leaf, depth: depth + 1 },
            None => Self::array(array.element_type()),
        }
    }

    pub(super) fn of_ref(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Array(array) => Self::of_array_ref(array),
            value => Self::scalar(value.tag()),
        }
    }

    fn of_array_ref(array: ArrayRef<'_>) -> Self {
        let inner = match array.element_type() {
            ValueType::Array => Self::common(array.iter().map(Self::of_ref)),
            _ => None,
        };
        match inner {
            Some(ValueKind { leaf, depth }) => ValueKind { leaf, depth: depth + 1 },
            None => Self::array(array.element_type()),
        }
    }

    fn common(mut kinds: impl Iterator<Item = Self>) -> Option<Self> {
        let first = kinds.next()?;
        kinds.all(|kind| kind == first).then_some(first)
    }

    /// Returns the type that a file stores with the value: [`ValueType::Array`] for every array.
    pub const fn stored_type(self) -> ValueType {
        if self.depth > 0 { ValueType::Array } else { self.leaf }
    }

    /// The type of an array's elements; `None` where it is not an array, or of arrays of several types.
    pub fn element(self) -> Option<Self> {
        let depth = self.depth.checked_sub(1)?;
        (depth > 0 || self.leaf != ValueType::Array).then_some(ValueKind { leaf: self.leaf, depth })
    }

    /// Reads a value of this type from text: integers and floats in decimal digits (a float is the one nearest to these),
    /// `true` and `false`, a string as it is, arrays in JSON. A string within JSON holds a byte that is not UTF-8 as Python's
    /// `surrogateescape` does: `"\udcff"` for 0xFF.
    ///
    /// # Errors
    /// [`Error::Parse`], which says what is wrong, in which element.
    pub fn parse_value(self, text: &str) -> Result<Value> {
        self.parse(text).map_err(unparsed)
    }

    /// As [`parse_value`](Self::parse_value) for what may not be UTF-8: a string of any bytes. Text of all other types may
    /// end with line breaks, as a file does.
    ///
    /// # Errors
    /// As [`parse_value`](Self::parse_value).
    pub fn parse_bytes(self, bytes: &[u8]) -> Result<Value> {
        if self == Self::scalar(ValueType::String) {
            return Ok(Value::String(bytes.to_vec()));
        }
        let text = core::str::from_utf8(bytes)
            .map_err(|error| Error::Parse { problem: ParseProblem::Utf8 { at: error.valid_up_to() } })?;
        self.parse_value(text.trim_end_matches(['\n', '\r']))
    }

    /// The value as this type, if that loses nothing: integers that fit; an integer that a float holds, and a float that is
    /// an integer; an `f64` that an `f32` holds, or that has the same digits: 0.1 is 0.1 in either.
    ///
    /// # Errors
    /// [`Error::Parse`], which says what cannot be converted, in which element.
    pub fn convert(self, value: Value) -> Result<Value> {
        self.converted(value).map_err(unparsed)
    }

    pub(crate) fn parse(self, text: &str) -> Why<Value> {
        let Some(element) = self.depth.checked_sub(1) else { return scalar(self.leaf, text) };
        text::array(self.leaf, element, text).map(Value::Array)
    }

    pub(crate) fn converted(self, value: Value) -> Why<Value> {
        let Some(element) = self.depth.checked_sub(1) else { return convert(self.leaf, value) };
        match value {
            Value::Array(array) => converted_array(self.leaf, element, array).map(Value::Array),
            value => Err(format!("{} is not an array, and must be {self}", described(&value))),
        }
    }
}

impl fmt::Display for ValueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let brackets = self.depth as usize;
        f.pad(&format!("{}{}{}", "[".repeat(brackets), self.leaf, "]".repeat(brackets)))
    }
}

impl From<ValueType> for ValueKind {
    /// As [`scalar`](ValueKind::scalar).
    fn from(ty: ValueType) -> Self {
        Self::scalar(ty)
    }
}

/// Equal to a type that is not an array's.
impl PartialEq<ValueType> for ValueKind {
    fn eq(&self, other: &ValueType) -> bool {
        *self == Self::scalar(*other)
    }
}

impl FromStr for ValueKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        use ValueType::*;
        let inner = name.trim_start_matches('[');
        let depth = name.len() - inner.len();
        let leaf = inner.trim_end_matches(']');
        let types = [U8, I8, U16, I16, U32, I32, U64, I64, F32, F64, Bool, String];
        let leaf = types.into_iter().find(|ty| ty.name() == leaf || *ty == String && leaf == "str");
        match leaf {
            Some(leaf) if inner.len() - inner.trim_end_matches(']').len() == depth => {
                if depth > MAX_DEPTH as usize {
                    let problem = ParseProblem::Depth { found: depth, most: MAX_DEPTH };
                    return Err(Error::Parse { problem });
                }
                Ok(ValueKind { leaf, depth: depth as u32 })
            }
            _ => {
                let known = types.into_iter().map(ValueType::name).chain(["[TYPE] for arrays"]).collect();
                let problem = ParseProblem::Name {
                    what: Named::ValueType,
                    name: name.chars().take(60).collect(),
                    known,
                };
                Err(Error::Parse { problem })
            }
        }
    }
}

fn unparsed(message: String) -> Error {
    Error::Parse { problem: ParseProblem::Value { message } }
}

/// A value in a message: its type, and what it is where that is short.
fn described(value: &Value) -> String {
    match value {
        Value::Array(_) => format!("a value of type {}", value.value_type()),
        value => format!("{value} ({})", value.tag()),
    }
}

/// So much of a text as a message shows.
fn start_of(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", text[..at].escape_debug()),
        None => text.escape_debug().to_string(),
    }
}

#[cfg(test)]
mod tests;
