//! Values and arrays in a file: [`ValueRef`] and [`ArrayRef`], which contain each other.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;

use super::cursor::{Cursor, Encoding};
use super::layout::to_u64;
use super::value::Value;
use super::value_type::{MAX_DEPTH, ValueType};
use crate::byte_order::ByteOrder;

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

/// An array in the file, decoded during iteration without allocating.
///
/// Two arrays are equal if their elements have the same type and are equal, regardless of where they are stored and
/// in which byte order.
#[derive(Clone, Copy)]
pub struct ArrayRef<'a> {
    pub(crate) element: ValueType,
    pub(crate) len: u64,
    /// The elements' bytes as stored in the file.
    pub(crate) bytes: &'a [u8],
    pub(crate) order: ByteOrder,
    /// Whether lengths inside the array (of strings and nested arrays) are 32 bits wide, as in version 1.
    pub(crate) short_lengths: bool,
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

impl<'a> ArrayRef<'a> {
    /// Reads an array: the element type, the length, the elements.
    pub(crate) fn read(cursor: &mut Cursor<'a>, encoding: Encoding) -> Option<Self> {
        let (element, len) = read_start(cursor)?;
        let before = *cursor;
        skip(cursor, element, len, MAX_DEPTH)?;
        let bytes = before.bytes().get(before.at()..cursor.at())?;
        let Encoding { order, short_lengths } = encoding;
        Some(ArrayRef { element, len, bytes, order, short_lengths })
    }

    /// Reads an array that ends where the cursor's bytes end. Takes constant time for any element type.
    pub(crate) fn read_all(cursor: &mut Cursor<'a>, encoding: Encoding) -> Option<Self> {
        let (element, len) = read_start(cursor)?;
        let bytes = cursor.take(cursor.remaining())?;
        // If the bytes changed since they were parsed, they may declare any length.
        let needed = len.checked_mul(encoding.least_bytes(element))?;
        let fits = if element.size().is_some() {
            needed == to_u64(bytes.len())
        } else {
            needed <= to_u64(bytes.len())
        };
        let Encoding { order, short_lengths } = encoding;
        fits.then_some(ArrayRef { element, len, bytes, order, short_lengths })
    }

    /// Returns the type of all elements.
    pub fn element_type(&self) -> ValueType {
        self.element
    }

    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        usize::try_from(self.len).unwrap_or(usize::MAX)
    }

    /// Returns `true` if the array has no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// Reads the element type and the element count, which precede the elements.
fn read_start(cursor: &mut Cursor<'_>) -> Option<(ValueType, u64)> {
    Some((ValueType::from_id(cursor.u32()?)?, cursor.length()?))
}

/// Skips `count` elements. The parser has already bounded their depth. `depth` bounds it again in case the bytes have
/// changed since.
pub(super) fn skip(cursor: &mut Cursor<'_>, element: ValueType, count: u64, depth: u32) -> Option<()> {
    if let Some(size) = element.size() {
        return cursor.take_long(count.checked_mul(size)?).map(drop);
    }
    if element == ValueType::String {
        return (cursor.skip_strings(count, u64::MAX) == count).then_some(());
    }
    let depth = depth.checked_sub(1)?;
    // Each element takes at least 8 bytes, so the available bytes bound this loop.
    for _ in 0..count {
        let (element, count) = read_start(cursor)?;
        skip(cursor, element, count, depth)?;
    }
    Some(())
}
