//! How metadata values are shown: in a line of a table by `Display`, whole by `Debug`. Strings are text in both, escaped.

use alloc::string::String;
use core::fmt::{self, Write};

use super::array::ArrayRef;
use super::value::{Array, Value, ValueRef, ValueType};
use crate::display::pad;

/// Bytes of a string that a line shows.
const MOST_BYTES: usize = 60;

/// Elements of an array that a line shows.
const MOST_ELEMENTS: usize = 6;

/// A string's bytes as text; what is not UTF-8 as replacement characters.
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

/// What [`ValueRef`] and [`Value`] have in common: all but their arrays.
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
                    // As Debug, which goes over to an exponent where plain digits would fill the line.
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

/// The first elements, and how many of which type there are where that is not all.
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

/// An array inside another is told, not shown: each level would multiply the length by six.
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
    /// The first elements, and how many of which type there are where that is not all; of arrays inside, only
    /// that.
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
    /// As [`ArrayRef`] is shown.
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
    /// Its elements' type and the first of them: there may be more than a million.
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
