//! Metadata values: [`ValueRef`] borrowed from the file, [`Value`] owned.

use crate::byte_order::ByteOrder;

/// The type of a metadata value, by the specification's names and ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "the format has no other, and cannot gain one in version 3")]
#[allow(missing_docs, reason = "the names say it")]
#[repr(u32)]
pub enum ValueType {
    U8 = 0,
    I8 = 1,
    U16 = 2,
    I16 = 3,
    U32 = 4,
    I32 = 5,
    F32 = 6,
    Bool = 7,
    String = 8,
    Array = 9,
    U64 = 10,
    I64 = 11,
    F64 = 12,
}

/// A metadata value borrowed from the file. Strings are bytes: the format does not promise UTF-8.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::exhaustive_enums, reason = "the format has no other")]
#[allow(missing_docs, reason = "the names say it")]
pub enum ValueRef<'a> {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    String(&'a [u8]),
    Array(ArrayRef<'a>),
    U64(u64),
    I64(i64),
    F64(f64),
}

/// An array in the file, decoded as it is iterated: nothing is allocated.
#[derive(Debug, Clone, Copy)]
pub struct ArrayRef<'a> {
    pub(crate) element: ValueType,
    pub(crate) len: u64,
    /// The elements' bytes as in the file.
    pub(crate) bytes: &'a [u8],
    pub(crate) order: ByteOrder,
    /// Whether lengths inside (of strings and nested arrays) are 32 bits wide, as in version 1.
    pub(crate) short_lengths: bool,
}

/// A metadata value that owns its data, for building files.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::exhaustive_enums, reason = "the format has no other")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    String(Vec<u8>),
    Array(Array),
    U64(u64),
    I64(i64),
    F64(f64),
}

/// An array that owns its elements: all of one type, known even when there are none.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::exhaustive_enums, reason = "the format has no other")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Array {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    F32(Vec<f32>),
    Bool(Vec<bool>),
    String(Vec<Vec<u8>>),
    Array(Vec<Array>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F64(Vec<f64>),
}
