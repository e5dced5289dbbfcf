//! Owned metadata values: [`Value`] and [`Array`].

use alloc::vec::Vec;

use super::value_type::ValueType;

/// A metadata value that owns its data, for building files. It is displayed like [`ValueRef`](crate::ValueRef). Rust's numbers, bools and strings,
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

impl Value {
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

/// What the writer needs.
#[cfg(feature = "std")]
impl Array {
    /// Returns `true` if the array nests at most `levels` deep. A plain array is one level. Does not descend further than that.
    pub(crate) fn fits(&self, levels: u32) -> bool {
        let Some(below) = levels.checked_sub(1) else { return false };
        match self {
            Array::Array(elements) => elements.iter().all(|element| element.fits(below)),
            _ => true,
        }
    }

    /// Drops the array without recursion, which could overflow the stack.
    pub(crate) fn dismantle(self) {
        let mut waiting = vec![self];
        while let Some(array) = waiting.pop() {
            if let Array::Array(elements) = array {
                waiting.extend(elements);
            }
        }
    }
}

impl Array {
    /// Returns the type of all elements.
    pub fn element_type(&self) -> ValueType {
        match self {
            Array::U8(_) => ValueType::U8,
            Array::I8(_) => ValueType::I8,
            Array::U16(_) => ValueType::U16,
            Array::I16(_) => ValueType::I16,
            Array::U32(_) => ValueType::U32,
            Array::I32(_) => ValueType::I32,
            Array::F32(_) => ValueType::F32,
            Array::Bool(_) => ValueType::Bool,
            Array::String(_) => ValueType::String,
            Array::Array(_) => ValueType::Array,
            Array::U64(_) => ValueType::U64,
            Array::I64(_) => ValueType::I64,
            Array::F64(_) => ValueType::F64,
        }
    }

    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        match self {
            Array::U8(elements) => elements.len(),
            Array::I8(elements) => elements.len(),
            Array::U16(elements) => elements.len(),
            Array::I16(elements) => elements.len(),
            Array::U32(elements) => elements.len(),
            Array::I32(elements) => elements.len(),
            Array::F32(elements) => elements.len(),
            Array::Bool(elements) => elements.len(),
            Array::String(elements) => elements.len(),
            Array::Array(elements) => elements.len(),
            Array::U64(elements) => elements.len(),
            Array::I64(elements) => elements.len(),
            Array::F64(elements) => elements.len(),
        }
    }

    /// Returns `true` if the array has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
