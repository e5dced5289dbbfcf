//! Arrays in metadata: iteration over [`ArrayRef`], which decodes it.

use alloc::borrow::{Cow, ToOwned};
use alloc::vec;
use alloc::vec::Vec;
use core::iter::FusedIterator;
use core::marker::PhantomData;

use super::cursor::{Cursor, Encoding};
use super::from_value::FromValue;
use super::layout::to_u64;
use super::value::Array;
use super::value_ref::{ArrayRef, ValueRef, skip};
use super::value_type::{MAX_DEPTH, ValueType};
use crate::byte_order::ByteOrder;
use crate::error::{Error, Result};

impl<'a> ArrayRef<'a> {
    /// Returns an iterator over the elements. `nth` skips numbers in constant time, and strings by their lengths alone.
    pub fn iter(&self) -> ArrayIter<'a> {
        let encoding = Encoding { order: self.order, short_lengths: self.short_lengths };
        let cursor = Cursor::new(self.bytes, 0, encoding);
        ArrayIter { cursor, encoding, element: self.element, left: self.len }
    }

    /// Returns an iterator over the elements as a Rust type. Each element converts without loss or is [`Error::WrongElement`].
    /// [`Metadata::require_array`](crate::Metadata::require_array) does the same for a key, and names it in errors.
    ///
    /// ```
    /// # use gguf_codec::Gguf;
    /// # let file = b"GGUF\x03\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0k\x09\0\0\0\x05\0\0\0\x02\0\0\0\0\0\0\0\x07\0\0\0\xff\xff\xff\xff";
    /// # let model = Gguf::parse(file)?;
    /// // Two i32: 7 and -1.
    /// let array: gguf_codec::ArrayRef = model.metadata().require("k")?;
    /// let wide: Vec<i64> = array.iter_as().collect::<Result<_, _>>()?;
    /// assert_eq!(wide, [7, -1]);
    /// let error = array.iter_as::<u32>().last().unwrap().unwrap_err();
    /// assert_eq!(error.to_string(), "element 1 of the array is i32 -1, not u32");
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    pub fn iter_as<T: FromValue<'a>>(&self) -> ArrayIterAs<'a, T> {
        ArrayIterAs { values: self.iter(), index: 0, key: None, wanted: PhantomData }
    }

    /// Returns the element at this index, from 0, or `None` past the end. Takes constant time for numbers. Strings and arrays
    /// before it are skipped one by one.
    ///
    /// ```
    /// let model = gguf_codec::Gguf::read("examples/sample.gguf")?;
    /// let tokens: gguf_codec::ArrayRef = model.metadata().require("tokenizer.ggml.tokens")?;
    /// assert_eq!(tokens.get(0), tokens.iter().next());
    /// assert_eq!(tokens.get(tokens.len()), None);
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    pub fn get(&self, index: usize) -> Option<ValueRef<'a>> {
        self.iter().nth(index)
    }

    /// Returns the elements as a slice of the file, without copying, if they are of exactly this type, in this
    /// machine's byte order, and aligned for it. Bytes always are. For other types `None` is always possible, and
    /// [`iter_as`](Self::iter_as) is the alternative.
    pub fn as_slice<T: ArrayElement>(&self) -> Option<&'a [T]> {
        if T::TYPE != self.element || (self.order != ByteOrder::NATIVE && size_of::<T>() > 1) {
            return None;
        }
        bytemuck::try_cast_slice(self.bytes).ok()
    }

    /// Returns the elements if they are of exactly this type: as a slice of the file where [`as_slice`](Self::as_slice) can, and
    /// otherwise copied.
    ///
    /// ```
    /// # let file = std::fs::read("examples/sample.gguf")?;
    /// # let model = gguf_codec::Gguf::parse(&file)?;
    /// let kinds: gguf_codec::ArrayRef = model.metadata().require("tokenizer.ggml.token_type")?;
    /// let kinds = kinds.to_cow::<i32>().expect("token types are i32");
    /// assert!(kinds.iter().all(|kind| (1..=6).contains(kind)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn to_cow<T: ArrayElement>(&self) -> Option<Cow<'a, [T]>> {
        if T::TYPE != self.element {
            return None;
        }
        if let Some(slice) = self.as_slice() {
            return Some(Cow::Borrowed(slice));
        }
        let mut values = vec![T::zeroed(); self.bytes.len() / size_of::<T>()];
        let bytes = bytemuck::cast_slice_mut::<T, u8>(&mut values);
        bytes.copy_from_slice(&self.bytes[..bytes.len()]);
        if self.order != ByteOrder::NATIVE {
            bytes.chunks_exact_mut(size_of::<T>()).for_each(<[u8]>::reverse);
        }
        Some(Cow::Owned(values))
    }

    /// Returns a copy that does not borrow from the file.
    #[allow(clippy::should_implement_trait, reason = "`ToOwned` is taken: this type is `Clone`")]
    pub fn to_owned(&self) -> Array {
        fn all<'a, T>(array: &ArrayRef<'a>, as_t: impl Fn(ValueRef<'a>) -> Option<T>) -> Vec<T> {
            array.iter().filter_map(as_t).collect()
        }
        match self.element {
            ValueType::U8 => Array::U8(all(self, FromValue::from_value)),
            ValueType::I8 => Array::I8(all(self, FromValue::from_value)),
            ValueType::U16 => Array::U16(all(self, FromValue::from_value)),
            ValueType::I16 => Array::I16(all(self, FromValue::from_value)),
            ValueType::U32 => Array::U32(all(self, FromValue::from_value)),
            ValueType::I32 => Array::I32(all(self, FromValue::from_value)),
            ValueType::F32 => Array::F32(all(self, FromValue::from_value)),
            ValueType::Bool => Array::Bool(all(self, FromValue::from_value)),
            ValueType::String => Array::String(all(self, |value| Some(<&[u8]>::from_value(value)?.to_vec()))),
            ValueType::Array => {
                Array::Array(all(self, |value| Some(ArrayRef::from_value(value)?.to_owned())))
            }
            ValueType::U64 => Array::U64(all(self, FromValue::from_value)),
            ValueType::I64 => Array::I64(all(self, FromValue::from_value)),
            ValueType::F64 => Array::F64(all(self, FromValue::from_value)),
        }
    }
}

/// An iterator over the elements of an [`ArrayRef`].
#[derive(Debug, Clone)]
pub struct ArrayIter<'a> {
    cursor: Cursor<'a>,
    encoding: Encoding,
    element: ValueType,
    left: u64,
}

impl<'a> Iterator for ArrayIter<'a> {
    type Item = ValueRef<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let value = ValueRef::read(&mut self.cursor, self.element, self.encoding);
        if value.is_none() {
            self.left = 0;
        }
        value
    }

    fn nth(&mut self, n: usize) -> Option<Self::Item> {
        let skipped = to_u64(n).min(self.left);
        self.left -= skipped;
        if skip(&mut self.cursor, self.element, skipped, MAX_DEPTH).is_none() {
            self.left = 0;
        }
        self.next()
    }

    fn count(self) -> usize {
        self.len()
    }

    fn last(mut self) -> Option<Self::Item> {
        let last = self.left.checked_sub(1)?;
        self.nth(usize::try_from(last).unwrap_or(usize::MAX))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        (left, Some(left))
    }
}

impl ExactSizeIterator for ArrayIter<'_> {}
impl FusedIterator for ArrayIter<'_> {}

impl<'a> IntoIterator for ArrayRef<'a> {
    type Item = ValueRef<'a>;
    type IntoIter = ArrayIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// An iterator over the elements of an [`ArrayRef`], converted to a Rust type.
#[derive(Debug, Clone)]
pub struct ArrayIterAs<'a, T> {
    values: ArrayIter<'a>,
    index: u64,
    /// The key, for error messages.
    pub(crate) key: Option<&'a str>,
    wanted: PhantomData<fn() -> T>,
}

impl<'a, T: FromValue<'a>> Iterator for ArrayIterAs<'a, T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        self.nth(0)
    }

    /// Skips elements without converting them.
    fn nth(&mut self, n: usize) -> Option<Self::Item> {
        let value = self.values.nth(n)?;
        let index = self.index.saturating_add(to_u64(n));
        self.index = index.saturating_add(1);
        Some(T::from_value(value).ok_or_else(|| Error::WrongElement {
            key: self.key.map(str::to_owned),
            index,
            found: value.describe(),
            wanted: T::WANTED.to_owned(),
        }))
    }

    fn count(self) -> usize {
        self.values.count()
    }

    fn last(mut self) -> Option<Self::Item> {
        let last = self.len().checked_sub(1)?;
        self.nth(last)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.values.size_hint()
    }
}

impl<'a, T: FromValue<'a>> ExactSizeIterator for ArrayIterAs<'a, T> {}
impl<'a, T: FromValue<'a>> FusedIterator for ArrayIterAs<'a, T> {}

/// A number type that arrays can be viewed as without copying. Only this crate implements it.
pub trait ArrayElement: bytemuck::Pod + private::Sealed {
    /// The type of these elements in a file.
    const TYPE: ValueType;
}

mod private {
    pub trait Sealed {}
}

macro_rules! elements {
    ($($number:ty = $ty:ident),*) => {
        $(impl private::Sealed for $number {}
        impl ArrayElement for $number {
            const TYPE: ValueType = ValueType::$ty;
        })*
    };
}

elements!(
    u8 = U8,
    i8 = I8,
    u16 = U16,
    i16 = I16,
    u32 = U32,
    i32 = I32,
    f32 = F32,
    u64 = U64,
    i64 = I64,
    f64 = F64
);

impl PartialEq for ArrayRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        (self.element, self.len) == (other.element, other.len) && self.iter().eq(other.iter())
    }
}
