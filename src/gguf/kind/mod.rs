//! [`ValueKind`]: the full type of a value, values as text, and lossless conversions between types.

mod convert;
mod elements;
mod text;
mod why;

use alloc::format;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

#[cfg(all(feature = "std", any(unix, windows)))]
pub(crate) use self::convert::as_integer;
use self::convert::{convert, converted_array};
use self::text::scalar;
use self::why::{Why, described};
use super::value::{Array, Value};
use super::value_ref::{ArrayRef, ValueRef};
use super::value_type::{MAX_DEPTH, ValueType};
use crate::error::{Error, Named, ParseProblem, Result};

/// The full type of a metadata value: a [`ValueType`], or an array of one, nested to any depth.
///
/// Its text form is `u32`, `[string]` or `[[f32]]`. `str` is parsed as `string`.
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
    /// The element type of the innermost arrays, or [`ValueType::Array`] if it is unknown or not uniform.
    leaf: ValueType,
    /// The number of array levels around it.
    depth: u32,
}

impl ValueKind {
    /// Returns the type of a value that is not an array. For [`ValueType::Array`], returns that of an array whose
    /// elements are arrays of any types.
    pub const fn scalar(ty: ValueType) -> Self {
        match ty {
            ValueType::Array => ValueKind { leaf: ty, depth: 1 },
            _ => ValueKind { leaf: ty, depth: 0 },
        }
    }

    /// Returns the type of an array of elements of this type.
    pub const fn array(element: ValueType) -> Self {
        ValueKind { leaf: element, depth: 1 }
    }

    fn of(value: &Value) -> Self {
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

    fn of_ref(value: ValueRef<'_>) -> Self {
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

    /// Returns the type of an array's elements, or `None` if this is not an array, or is an array of arrays of several types.
    pub fn element(self) -> Option<Self> {
        let depth = self.depth.checked_sub(1)?;
        (depth > 0 || self.leaf != ValueType::Array).then_some(ValueKind { leaf: self.leaf, depth })
    }

    /// Parses a value of this type from text: integers and floats in decimal (floats round to nearest), `true` and `false`,
    /// strings verbatim, arrays as JSON. In a JSON string, a byte that is not UTF-8 is written as in Python's
    /// `surrogateescape`: `"\udcff"` for 0xFF.
    ///
    /// # Errors
    /// [`Error::Parse`], which describes the problem and names the element.
    pub fn parse_value(self, text: &str) -> Result<Value> {
        self.parse(text).map_err(unparsed)
    }

    /// Like [`parse_value`](Self::parse_value), for input that may not be UTF-8. A string may contain any bytes. Text of
    /// all other types may end with line breaks, as files do.
    ///
    /// # Errors
    /// The errors of [`parse_value`](Self::parse_value).
    pub fn parse_bytes(self, bytes: &[u8]) -> Result<Value> {
        if self == Self::scalar(ValueType::String) {
            return Ok(Value::String(bytes.to_vec()));
        }
        let text = core::str::from_utf8(bytes)
            .map_err(|error| Error::Parse { problem: ParseProblem::Utf8 { at: error.valid_up_to() } })?;
        self.parse_value(text.trim_end_matches(['\n', '\r']))
    }

    /// Converts the value to this type if that is lossless. These convert: integers that fit; an integer that a float
    /// represents exactly, and a float that is an integer; an `f64` that an `f32` represents exactly or with the same
    /// digits (0.1 is 0.1 in either).
    ///
    /// # Errors
    /// [`Error::Parse`], which names what cannot be converted, and in which element.
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

impl Value {
    /// Returns the full type, which for an array includes that of its elements. For arrays in an array it is known if
    /// all have the same type.
    ///
    /// ```
    /// use gguf_codec::{Value, ValueType};
    /// assert_eq!(Value::from(1u32).value_type(), ValueType::U32);
    /// assert_eq!(Value::from([1u32, 2]).value_type().to_string(), "[u32]");
    /// ```
    pub fn value_type(&self) -> ValueKind {
        ValueKind::of(self)
    }
}

impl ValueRef<'_> {
    /// Returns the full type, which for an array includes that of its elements.
    ///
    /// ```
    /// let model = gguf_codec::Gguf::read("examples/sample.gguf")?;
    /// let tokens = model.metadata().get("tokenizer.ggml.tokens").unwrap();
    /// assert_eq!(tokens.value_type().to_string(), "[string]");
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    pub fn value_type(&self) -> ValueKind {
        ValueKind::of_ref(*self)
    }
}

impl fmt::Display for ValueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let brackets = self.depth as usize;
        f.pad(&format!("{}{}{}", "[".repeat(brackets), self.leaf, "]".repeat(brackets)))
    }
}

impl From<ValueType> for ValueKind {
    /// Same as [`scalar`](ValueKind::scalar).
    fn from(ty: ValueType) -> Self {
        Self::scalar(ty)
    }
}

/// A `ValueKind` equals a `ValueType` if it is that type and not an array.
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

#[cfg(test)]
mod tests;
