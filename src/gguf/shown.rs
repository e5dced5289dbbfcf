//! Formats metadata values: on one line by `Display`, in full by `Debug`. Both show strings as escaped text.

use alloc::string::String;
use core::fmt::{self, Write};

use super::value::{Array, Value};
use super::value_ref::{ArrayRef, ValueRef};
use super::value_type::ValueType;
use crate::display::pad;

/// The number of a string's bytes that `Display` shows.
const MOST_BYTES: usize = 60;

/// The number of an array's elements that `Display` shows.
const MOST_ELEMENTS: usize = 6;

/// Shows a string's bytes as text, with replacement characters for invalid UTF-8.
struct Text<'a>(&'a [u8]);

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", String::from_utf8_lossy(self.0).escape_debug())
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.get(..MOST_BYTES).filter(|start| start.len() < self.0.len()) {
            Some(start) => {
                let start = String::from_utf8_lossy(start);
                write!(f, "\"{}…\" ({} bytes)", start.escape_debug(), self.0.len())
            }
            None => fmt::Debug::fmt(self, f),
        }
    }
}

/// What [`ValueRef`] and [`Value`] have in common: everything but their arrays.
macro_rules! values {
    ($($value:ty)*) => {
        $(impl fmt::Display for $value {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    Self::U8(value) => pad(f, format_args!("{value}")),
                    Self::I8(value) => pad(f, format_args!("{value}")),
                    Self::U16(value) => pad(f, format_args!("{value}")),
                    Self::I16(value) => pad(f, format_args!("{value}")),
                    Self::U32(value) => pad(f, format_args!("{value}")),
                    Self::I32(value) => pad(f, format_args!("{value}")),
                    // Like Debug, which switches to an exponent where plain digits would fill the line.
                    Self::F32(value) => pad(f, format_args!("{value:?}")),
                    Self::Bool(value) => pad(f, format_args!("{value}")),
                    Self::String(bytes) => pad(f, format_args!("{}", Text(bytes))),
                    Self::Array(array) => array.fmt(f),
                    Self::U64(value) => pad(f, format_args!("{value}")),
                    Self::I64(value) => pad(f, format_args!("{value}")),
                    Self::F64(value) => pad(f, format_args!("{value:?}")),
                }
            }
        }

        impl fmt::Debug for $value {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let shown: &dyn fmt::Debug = match self {
                    Self::U8(value) => value,
                    Self::I8(value) => value,
                    Self::U16(value) => value,
                    Self::I16(value) => value,
                    Self::U32(value) => value,
                    Self::I32(value) => value,
                    Self::F32(value) => value,
                    Self::Bool(value) => value,
                    Self::String(bytes) => &Text(bytes),
                    Self::Array(array) => array,
                    Self::U64(value) => value,
                    Self::I64(value) => value,
                    Self::F64(value) => value,
                };
                write!(f, "{:?}({shown:?})", self.tag())
            }
        })*
    };
}

values!(ValueRef<'_> Value);

/// Shows the first elements and, if there are more, the count and type of all.
fn list<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    elements: impl Iterator<Item = T>,
    len: usize,
    element: ValueType,
) -> fmt::Result {
    let mut shown = String::new();
    for (index, value) in elements.take(MOST_ELEMENTS).enumerate() {
        write!(shown, "{}{value}", if index > 0 { ", " } else { "" })?;
    }
    match len > MOST_ELEMENTS {
        true => pad(f, format_args!("[{shown}, …] ({len} {element})")),
        false => pad(f, format_args!("[{shown}]")),
    }
}

/// Shows a nested array by its length and type only: each level of elements would multiply the length by six.
struct Inner(usize, ValueType);

impl fmt::Display for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Inner(0, _) => f.write_str("[]"),
            Inner(len, element) => write!(f, "[…] ({len} {element})"),
        }
    }
}

impl fmt::Display for ArrayRef<'_> {
    /// Shows the first elements and, if there are more, the count and type of all. Nested arrays show only the latter.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = |value| match value {
            ValueRef::Array(array) => Inner(array.len(), array.element_type()),
            _ => Inner(0, ValueType::Array),
        };
        match self.element_type() {
            ValueType::Array => list(f, self.iter().map(inner), self.len(), ValueType::Array),
            element => list(f, self.iter(), self.len(), element),
        }
    }
}

impl fmt::Display for Array {
    /// Shows the array as [`ArrayRef`] is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (len, ty) = (self.len(), self.element_type());
        match self {
            Array::U8(elements) => list(f, elements.iter(), len, ty),
            Array::I8(elements) => list(f, elements.iter(), len, ty),
            Array::U16(elements) => list(f, elements.iter(), len, ty),
            Array::I16(elements) => list(f, elements.iter(), len, ty),
            Array::U32(elements) => list(f, elements.iter(), len, ty),
            Array::I32(elements) => list(f, elements.iter(), len, ty),
            Array::F32(elements) => list(f, elements.iter().map(|&value| ValueRef::F32(value)), len, ty),
            Array::Bool(elements) => list(f, elements.iter(), len, ty),
            Array::String(elements) => list(f, elements.iter().map(|bytes| Text(bytes)), len, ty),
            Array::Array(elements) => {
                list(f, elements.iter().map(|array| Inner(array.len(), array.element_type())), len, ty)
            }
            Array::U64(elements) => list(f, elements.iter(), len, ty),
            Array::I64(elements) => list(f, elements.iter(), len, ty),
            Array::F64(elements) => list(f, elements.iter().map(|&value| ValueRef::F64(value)), len, ty),
        }
    }
}

impl fmt::Debug for ArrayRef<'_> {
    /// Shows the element type and the first elements: there may be more than a million.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ArrayRef({self})")
    }
}

impl fmt::Debug for Array {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}(", self.element_type())?;
        match self {
            Array::U8(elements) => elements.fmt(f)?,
            Array::I8(elements) => elements.fmt(f)?,
            Array::U16(elements) => elements.fmt(f)?,
            Array::I16(elements) => elements.fmt(f)?,
            Array::U32(elements) => elements.fmt(f)?,
            Array::I32(elements) => elements.fmt(f)?,
            Array::F32(elements) => elements.fmt(f)?,
            Array::Bool(elements) => elements.fmt(f)?,
            Array::String(elements) => {
                f.debug_list().entries(elements.iter().map(|bytes| Text(bytes))).finish()?
            }
            Array::Array(elements) => elements.fmt(f)?,
            Array::U64(elements) => elements.fmt(f)?,
            Array::I64(elements) => elements.fmt(f)?,
            Array::F64(elements) => elements.fmt(f)?,
        }
        f.write_str(")")
    }
}
