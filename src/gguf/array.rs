//! Arrays in metadata: [`ArrayRef`] decoded from the file as it is iterated, and [`Array`]'s questions.

use alloc::borrow::ToOwned;
use alloc::vec::Vec;
use core::iter::FusedIterator;
use core::marker::PhantomData;

use super::cursor::{Cursor, Encoding};
use super::from_value::FromValue;
use super::layout::to_u64;
use super::value::{Array, MAX_DEPTH, ValueRef, ValueType};
use crate::byte_order::ByteOrder;
use crate::error::{Error, Result};

/// An array in the file, decoded as it is iterated: nothing is allocated.
///
/// Two are equal when their elements have the same type and are equal, wherever they lie and in whichever
/// byte order.
#[derive(Clone, Copy)]
pub struct ArrayRef<'a> {
    pub(crate) element: ValueType,
    pub(crate) len: u64,
    /// The elements' bytes as in the file.
    pub(crate) bytes: &'a [u8],
    pub(crate) order: ByteOrder,
    /// Whether lengths inside (of strings and nested arrays) are 32 bits wide, as in version 1.
    pub(crate) short_lengths: bool,
}

impl<'a> ArrayRef<'a> {
    /// Reads an array: its elements' type, its length, its elements.
    pub(crate) fn read(cursor: &mut Cursor<'a>, encoding: Encoding) -> Option<Self> {
        let (element, len) = read_start(cursor)?;
        let before = *cursor;
        skip(cursor, element, len, MAX_DEPTH)?;
        let bytes = before.bytes().get(before.at()..cursor.at())?;
        let Encoding { order, short_lengths } = encoding;
        Some(ArrayRef { element, len, bytes, order, short_lengths })
    }

    /// Reads an array that ends where the cursor's bytes end, whatever its elements are: in constant time.
    pub(crate) fn read_all(cursor: &mut Cursor<'a>, encoding: Encoding) -> Option<Self> {
        let (element, len) = read_start(cursor)?;
        let bytes = cursor.take(cursor.remaining())?;
        // Bytes that changed since they were parsed may promise any length.
        let needed = len.checked_mul(encoding.least_bytes(element))?;
        let fits = if element.size().is_some() {
            needed == to_u64(bytes.len())
        } else {
            needed <= to_u64(bytes.len())
        };
        let Encoding { order, short_lengths } = encoding;
        fits.then_some(ArrayRef { element, len, bytes, order, short_lengths })
    }

    /// The type of all its elements.
    pub fn element_type(&self) -> ValueType {
        self.element
    }

    /// How many elements it has.
    pub fn len(&self) -> usize {
        usize::try_from(self.len).unwrap_or(usize::MAX)
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Its elements in order. `nth` skips numbers at no cost, and strings without looking at them.
    pub fn iter(&self) -> ArrayIter<'a> {
        let encoding = Encoding { order: self.order, short_lengths: self.short_lengths };
        let cursor = Cursor::new(self.bytes, 0, encoding);
        ArrayIter { cursor, encoding, element: self.element, left: self.len }
    }

    /// Its elements in order as a Rust type, each converted without loss or [`Error::WrongElement`].
    /// [`Metadata::require_array`](crate::Metadata::require_array) does the same for a key, and names it.
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

    /// Returns the element at this index, from 0, or `None` past the end. Takes constant time for numbers; strings and arrays
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

    /// Its elements where they lie, without a copy: if they are of exactly this type, in the byte order of this
    /// machine, and aligned for it. Bytes always are; for others `None` is always possible, and
    /// [`iter_as`](Self::iter_as) the other way.
    pub fn as_slice<T: ArrayElement>(&self) -> Option<&'a [T]> {
        if T::TYPE != self.element || (self.order != ByteOrder::NATIVE && size_of::<T>() > 1) {
            return None;
        }
        bytemuck::try_cast_slice(self.bytes).ok()
    }

    /// A copy that does not borrow from the file.
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

/// Reads what stands before an array's elements: their type and their number.
fn read_start(cursor: &mut Cursor<'_>) -> Option<(ValueType, u64)> {
    Some((ValueType::from_id(cursor.u32()?)?, cursor.length()?))
}

/// Moves past `count` elements. The parser has bounded their depth; `depth` bounds it again for bytes that
/// changed since.
fn skip(cursor: &mut Cursor<'_>, element: ValueType, count: u64, depth: u32) -> Option<()> {
    if let Some(size) = element.size() {
        return cursor.take_long(count.checked_mul(size)?).map(drop);
    }
    if element == ValueType::String {
        return (cursor.skip_strings(count, u64::MAX) == count).then_some(());
    }
    let depth = depth.checked_sub(1)?;
    // Each element takes 8 bytes at least, so the bytes there are bound this loop.
    for _ in 0..count {
        let (element, count) = read_start(cursor)?;
        skip(cursor, element, count, depth)?;
    }
    Some(())
}

/// The elements of an [`ArrayRef`].
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

/// The elements of an [`ArrayRef`] as a Rust type.
#[derive(Debug, Clone)]
pub struct ArrayIterAs<'a, T> {
    values: ArrayIter<'a>,
    index: u64,
    /// For errors.
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

/// The number types that arrays can be viewed as without a copy. Only this crate implements it.
pub trait ArrayElement: bytemuck::Pod + private::Sealed {
    /// The type of such elements in a file.
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

/// What the writer asks.
#[cfg(feature = "std")]
impl Array {
    /// Whether it nests at most `levels` deep; a plain array is one level. Looks no deeper than that.
    pub(crate) fn fits(&self, levels: u32) -> bool {
        let Some(below) = levels.checked_sub(1) else { return false };
        match self {
            Array::Array(elements) => elements.iter().all(|element| element.fits(below)),
            _ => true,
        }
    }

    /// Drops it without recursion, which the stack might be too small for.
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
    /// The type of all its elements.
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

    /// How many elements it has.
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

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
