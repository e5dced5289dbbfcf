//! Metadata values: [`ValueRef`] borrowed from the file, [`Value`] owned.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::array::ArrayRef;
use super::cursor::{Cursor, Encoding};
use super::from_value::FromValue;
use super::kind::ValueKind;
use crate::error::{Error, ParseProblem, Problem, Result};

/// The maximum depth of nested arrays, whatever the limits. Values are converted, shown and dropped recursively, and
/// this many levels fit every stack.
pub(crate) const MAX_DEPTH: u32 = 64;

/// The type of a metadata value, by the specification's ids. The specification's `UINT32` is `u32` here, its `FLOAT64` `f64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "the format has no other, and cannot gain one in version 3")]
#[repr(u32)]
pub enum ValueType {
    /// An unsigned integer of 8 bits.
    U8 = 0,
    /// A signed integer of 8 bits.
    I8 = 1,
    /// An unsigned integer of 16 bits.
    U16 = 2,
    /// A signed integer of 16 bits.
    I16 = 3,
    /// An unsigned integer of 32 bits.
    U32 = 4,
    /// A signed integer of 32 bits.
    I32 = 5,
    /// A float of single precision.
    F32 = 6,
    /// True or false.
    Bool = 7,
    /// Bytes, which are UTF-8 in almost all files.
    String = 8,
    /// Elements of one type.
    Array = 9,
    /// An unsigned integer of 64 bits.
    U64 = 10,
    /// A signed integer of 64 bits.
    I64 = 11,
    /// A float of double precision.
    F64 = 12,
}

/// A metadata value borrowed from the file. Strings are bytes: the format does not guarantee UTF-8.
///
/// `Display` output fits on a line of a table: strings are escaped, and long strings and arrays are cut and show their length.
#[derive(Clone, Copy, PartialEq)]
#[allow(clippy::exhaustive_enums, reason = "the format has no other")]
pub enum ValueRef<'a> {
    /// An unsigned integer of 8 bits.
    U8(u8),
    /// A signed integer of 8 bits.
    I8(i8),
    /// An unsigned integer of 16 bits.
    U16(u16),
    /// A signed integer of 16 bits.
    I16(i16),
    /// An unsigned integer of 32 bits.
    U32(u32),
    /// A signed integer of 32 bits.
    I32(i32),
    /// A float of single precision.
    F32(f32),
    /// True or false.
    Bool(bool),
    /// Bytes, which are UTF-8 in almost all files.
    String(&'a [u8]),
    /// Elements of one type.
    Array(ArrayRef<'a>),
    /// An unsigned integer of 64 bits.
    U64(u64),
    /// A signed integer of 64 bits.
    I64(i64),
    /// A float of double precision.
    F64(f64),
}

/// A metadata value that owns its data, for building files. It is displayed like [`ValueRef`]. Rust's numbers, bools and strings,
/// and slices, arrays and vectors of them, convert by `into` to values of the same type in the file.
///
/// ```
/// use gguf_codec::{Array, Value};
/// assert_eq!(Value::from(32u32), Value::U32(32));
/// assert_eq!(Value::from("llama"), Value::String(b"llama".to_vec()));
/// assert_eq!(Value::from([0.5f32, 1.0]), Value::Array(Array::F32(vec![0.5, 1.0])));
/// let tokens: Value = ["<s>", "</s>"].into_iter().collect();
/// assert_eq!(tokens.to_string(), r#"["<s>", "</s>"]"#);
/// ```
#[derive(Clone, PartialEq)]
#[allow(clippy::exhaustive_enums, reason = "the format has no other")]
pub enum Value {
    /// An unsigned integer of 8 bits.
    U8(u8),
    /// A signed integer of 8 bits.
    I8(i8),
    /// An unsigned integer of 16 bits.
    U16(u16),
    /// A signed integer of 16 bits.
    I16(i16),
    /// An unsigned integer of 32 bits.
    U32(u32),
    /// A signed integer of 32 bits.
    I32(i32),
    /// A float of single precision.
    F32(f32),
    /// True or false.
    Bool(bool),
    /// Bytes, which are UTF-8 in almost all files.
    String(Vec<u8>),
    /// Elements of one type.
    Array(Array),
    /// An unsigned integer of 64 bits.
    U64(u64),
    /// A signed integer of 64 bits.
    I64(i64),
    /// A float of double precision.
    F64(f64),
}

/// An array that owns its elements. All are of one type, which is known even if there are none.
#[derive(Clone, PartialEq)]
#[allow(clippy::exhaustive_enums, reason = "the format has no other")]
pub enum Array {
    /// Unsigned integers of 8 bits.
    U8(Vec<u8>),
    /// Signed integers of 8 bits.
    I8(Vec<i8>),
    /// Unsigned integers of 16 bits.
    U16(Vec<u16>),
    /// Signed integers of 16 bits.
    I16(Vec<i16>),
    /// Unsigned integers of 32 bits.
    U32(Vec<u32>),
    /// Signed integers of 32 bits.
    I32(Vec<i32>),
    /// Floats of single precision.
    F32(Vec<f32>),
    /// Bools.
    Bool(Vec<bool>),
    /// Strings, each of any bytes.
    String(Vec<Vec<u8>>),
    /// Arrays, whose elements may be of different types.
    Array(Vec<Array>),
    /// Unsigned integers of 64 bits.
    U64(Vec<u64>),
    /// Signed integers of 64 bits.
    I64(Vec<i64>),
    /// Floats of double precision.
    F64(Vec<f64>),
}

impl ValueType {
    /// Returns the type with this id in the file.
    pub(crate) fn from_id(id: u32) -> Option<Self> {
        use ValueType::*;
        [U8, I8, U16, I16, U32, I32, F32, Bool, String, Array, U64, I64, F64]
            .get(usize::try_from(id).ok()?)
            .copied()
    }

    /// Returns the id of this type in a file.
    pub const fn id(self) -> u32 {
        self as u32
    }

    /// Returns the name, such as `u32`, `string` or `array`.
    pub const fn name(self) -> &'static str {
        match self {
            ValueType::U8 => "u8",
            ValueType::I8 => "i8",
            ValueType::U16 => "u16",
            ValueType::I16 => "i16",
            ValueType::U32 => "u32",
            ValueType::I32 => "i32",
            ValueType::F32 => "f32",
            ValueType::Bool => "bool",
            ValueType::String => "string",
            ValueType::Array => "array",
            ValueType::U64 => "u64",
            ValueType::I64 => "i64",
            ValueType::F64 => "f64",
        }
    }

    /// Returns the size of a value in bytes, or `None` for strings and arrays.
    pub const fn size(self) -> Option<u64> {
        match self {
            ValueType::U8 | ValueType::I8 | ValueType::Bool => Some(1),
            ValueType::U16 | ValueType::I16 => Some(2),
            ValueType::U32 | ValueType::I32 | ValueType::F32 => Some(4),
            ValueType::U64 | ValueType::I64 | ValueType::F64 => Some(8),
            ValueType::String | ValueType::Array => None,
        }
    }
}

impl TryFrom<u32> for ValueType {
    type Error = Error;

    /// Returns the type of an id in a file.
    ///
    /// # Errors
    /// [`Error::Parse`] for ids above 12.
    fn try_from(id: u32) -> Result<Self> {
        let unknown = || Error::Parse { problem: ParseProblem::Id(Problem::ValueType { found: id }) };
        Self::from_id(id).ok_or_else(unknown)
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl<'a> ValueRef<'a> {
    /// Reads a value of a known type. Returns `None` if its bytes are incomplete.
    pub(crate) fn read(cursor: &mut Cursor<'a>, ty: ValueType, encoding: Encoding) -> Option<Self> {
        Some(match ty {
            ValueType::U8 => ValueRef::U8(cursor.u8()?),
            ValueType::I8 => ValueRef::I8(cursor.i8()?),
            ValueType::U16 => ValueRef::U16(cursor.u16()?),
            ValueType::I16 => ValueRef::I16(cursor.i16()?),
            ValueType::U32 => ValueRef::U32(cursor.u32()?),
            ValueType::I32 => ValueRef::I32(cursor.i32()?),
            ValueType::F32 => ValueRef::F32(cursor.f32()?),
            ValueType::Bool => ValueRef::Bool(cursor.u8()? != 0),
            ValueType::String => ValueRef::String(cursor.string()?),
            ValueType::Array => ValueRef::Array(ArrayRef::read(cursor, encoding)?),
            ValueType::U64 => ValueRef::U64(cursor.u64()?),
            ValueType::I64 => ValueRef::I64(cursor.i64()?),
            ValueType::F64 => ValueRef::F64(cursor.f64()?),
        })
    }

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

    /// Returns the type that is stored with the value: `Array` for every array.
    pub(crate) fn tag(&self) -> ValueType {
        match self {
            ValueRef::U8(_) => ValueType::U8,
            ValueRef::I8(_) => ValueType::I8,
            ValueRef::U16(_) => ValueType::U16,
            ValueRef::I16(_) => ValueType::I16,
            ValueRef::U32(_) => ValueType::U32,
            ValueRef::I32(_) => ValueType::I32,
            ValueRef::F32(_) => ValueType::F32,
            ValueRef::Bool(_) => ValueType::Bool,
            ValueRef::String(_) => ValueType::String,
            ValueRef::Array(_) => ValueType::Array,
            ValueRef::U64(_) => ValueType::U64,
            ValueRef::I64(_) => ValueType::I64,
            ValueRef::F64(_) => ValueType::F64,
        }
    }

    /// Returns the value as a Rust type if it converts without loss: see [`FromValue`].
    pub fn get<T: FromValue<'a>>(&self) -> Option<T> {
        T::from_value(*self)
    }

    /// Returns a copy that does not borrow from the file.
    #[allow(clippy::should_implement_trait, reason = "`ToOwned` is taken: this type is `Clone`")]
    pub fn to_owned(&self) -> Value {
        match *self {
            ValueRef::U8(value) => Value::U8(value),
            ValueRef::I8(value) => Value::I8(value),
            ValueRef::U16(value) => Value::U16(value),
            ValueRef::I16(value) => Value::I16(value),
            ValueRef::U32(value) => Value::U32(value),
            ValueRef::I32(value) => Value::I32(value),
            ValueRef::F32(value) => Value::F32(value),
            ValueRef::Bool(value) => Value::Bool(value),
            ValueRef::String(value) => Value::String(value.to_vec()),
            ValueRef::Array(value) => Value::Array(value.to_owned()),
            ValueRef::U64(value) => Value::U64(value),
            ValueRef::I64(value) => Value::I64(value),
            ValueRef::F64(value) => Value::F64(value),
        }
    }

    /// Returns the type and, for a number, the value: for conversion errors.
    pub(crate) fn describe(&self) -> String {
        match self {
            ValueRef::String(bytes) if core::str::from_utf8(bytes).is_err() => {
                "a string that is not UTF-8".to_owned()
            }
            ValueRef::String(_) => "a string".to_owned(),
            ValueRef::Array(array) => format!("an array of {} {}", array.len(), array.element_type()),
            number => format!("{} {number}", number.tag()),
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

    /// Returns the type that is stored with the value: `Array` for every array.
    pub(crate) fn tag(&self) -> ValueType {
        match self {
            Value::U8(_) => ValueType::U8,
            Value::I8(_) => ValueType::I8,
            Value::U16(_) => ValueType::U16,
            Value::I16(_) => ValueType::I16,
            Value::U32(_) => ValueType::U32,
            Value::I32(_) => ValueType::I32,
            Value::F32(_) => ValueType::F32,
            Value::Bool(_) => ValueType::Bool,
            Value::String(_) => ValueType::String,
            Value::Array(_) => ValueType::Array,
            Value::U64(_) => ValueType::U64,
            Value::I64(_) => ValueType::I64,
            Value::F64(_) => ValueType::F64,
        }
    }
}
