//! [`ValueType`]: the types of metadata values.

use core::fmt;

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
