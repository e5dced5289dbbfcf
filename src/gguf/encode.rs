//! Encodes metadata in either byte order, from owned values and from arrays of another file.

use std::io::{self, Write};

use byteorder::{ByteOrder as Order, ReadBytesExt, WriteBytesExt};

use super::value::{Array, Value};
use super::value_ref::{ArrayRef, ValueRef};
use super::value_type::{MAX_DEPTH, ValueType};
use crate::byte_order::ByteOrder;

/// A value waiting to be written in a header: owned, or an array kept as the bytes from another file.
///
/// An array from another file is kept encoded because decoding takes far more memory than its bytes: 24 bytes and an
/// allocation for each string of a vocabulary.
#[derive(Debug, Clone)]
pub(crate) enum Stored {
    /// A value given by the caller.
    Value(Value),
    /// An array from another file.
    Array(RawArray),
    /// A bool's byte from another file. Any nonzero byte is true.
    Bool(u8),
}

/// An [`ArrayRef`] that owns its bytes.
#[derive(Debug, Clone)]
pub(crate) struct RawArray {
    element: ValueType,
    len: u64,
    bytes: Vec<u8>,
    order: ByteOrder,
    short_lengths: bool,
}

impl RawArray {
    fn as_ref(&self) -> ArrayRef<'_> {
        ArrayRef {
            element: self.element,
            len: self.len,
            bytes: &self.bytes,
            order: self.order,
            short_lengths: self.short_lengths,
        }
    }
}

impl From<ValueRef<'_>> for Stored {
    fn from(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Array(ArrayRef { element, len, bytes, order, short_lengths }) => {
                Stored::Array(RawArray { element, len, bytes: bytes.to_vec(), order, short_lengths })
            }
            plain => Stored::Value(plain.to_owned()),
        }
    }
}

/// Writes a string: its length in bytes as a u64, then the bytes.
pub(crate) fn write_string<B: Order>(out: &mut impl Write, string: &[u8]) -> io::Result<()> {
    out.write_u64::<B>(string.len() as u64)?;
    out.write_all(string)
}

/// Writes a value: the id of its type, then its data.
pub(crate) fn write_stored<B: Order>(
    out: &mut impl Write,
    order: ByteOrder,
    value: &Stored,
) -> io::Result<()> {
    match value {
        Stored::Value(value) => write_value::<B>(out, value),
        Stored::Bool(byte) => {
            out.write_u32::<B>(ValueType::Bool as u32)?;
            out.write_u8(*byte)
        }
        Stored::Array(array) => {
            out.write_u32::<B>(ValueType::Array as u32)?;
            write_array_ref::<B>(out, order, array.as_ref())
        }
    }
}

fn write_value<B: Order>(out: &mut impl Write, value: &Value) -> io::Result<()> {
    out.write_u32::<B>(value.tag() as u32)?;
    match value {
        Value::U8(value) => out.write_u8(*value),
        Value::I8(value) => out.write_i8(*value),
        Value::U16(value) => out.write_u16::<B>(*value),
        Value::I16(value) => out.write_i16::<B>(*value),
        Value::U32(value) => out.write_u32::<B>(*value),
        Value::I32(value) => out.write_i32::<B>(*value),
        Value::F32(value) => out.write_f32::<B>(*value),
        Value::Bool(value) => out.write_u8(u8::from(*value)),
        Value::String(value) => write_string::<B>(out, value),
        Value::Array(array) => write_array::<B>(out, array),
        Value::U64(value) => out.write_u64::<B>(*value),
        Value::I64(value) => out.write_i64::<B>(*value),
        Value::F64(value) => out.write_f64::<B>(*value),
    }
}

/// Writes an array: the element type's id, the element count, then each element without a type id.
///
/// Recurses as deep as the caller's own value is nested.
fn write_array<B: Order>(out: &mut impl Write, array: &Array) -> io::Result<()> {
    fn each<O: Write, T>(
        out: &mut O,
        head: impl Fn(&mut O, ValueType, usize) -> io::Result<()>,
        ty: ValueType,
        elements: &[T],
        write: impl Fn(&mut O, &T) -> io::Result<()>,
    ) -> io::Result<()> {
        head(out, ty, elements.len())?;
        elements.iter().try_for_each(|element| write(out, element))
    }
    let head = |out: &mut _, ty, len| write_array_head::<B>(out, ty, len as u64);
    match array {
        Array::U8(values) => {
            head(out, ValueType::U8, values.len())?;
            out.write_all(values)
        }
        Array::I8(values) => each(out, head, ValueType::I8, values, |out, &value| out.write_i8(value)),
        Array::U16(values) => {
            each(out, head, ValueType::U16, values, |out, &value| out.write_u16::<B>(value))
        }
        Array::I16(values) => {
            each(out, head, ValueType::I16, values, |out, &value| out.write_i16::<B>(value))
        }
        Array::U32(values) => {
            each(out, head, ValueType::U32, values, |out, &value| out.write_u32::<B>(value))
        }
        Array::I32(values) => {
            each(out, head, ValueType::I32, values, |out, &value| out.write_i32::<B>(value))
        }
        Array::F32(values) => {
            each(out, head, ValueType::F32, values, |out, &value| out.write_f32::<B>(value))
        }
        Array::Bool(values) => {
            each(out, head, ValueType::Bool, values, |out, &value| out.write_u8(u8::from(value)))
        }
        Array::String(values) => {
            each(out, head, ValueType::String, values, |out, value| write_string::<B>(out, value))
        }
        Array::Array(values) => {
            each(out, head, ValueType::Array, values, |out, value| write_array::<B>(out, value))
        }
        Array::U64(values) => {
            each(out, head, ValueType::U64, values, |out, &value| out.write_u64::<B>(value))
        }
        Array::I64(values) => {
            each(out, head, ValueType::I64, values, |out, &value| out.write_i64::<B>(value))
        }
        Array::F64(values) => {
            each(out, head, ValueType::F64, values, |out, &value| out.write_f64::<B>(value))
        }
    }
}

fn write_array_head<B: Order>(out: &mut impl Write, ty: ValueType, len: u64) -> io::Result<()> {
    out.write_u32::<B>(ty as u32)?;
    out.write_u64::<B>(len)
}

/// Writes another file's array in byte order `order`, which is that of `B`.
fn write_array_ref<B: Order>(out: &mut impl Write, order: ByteOrder, array: ArrayRef<'_>) -> io::Result<()> {
    write_array_head::<B>(out, array.element, array.len)?;
    if array.order == order && !array.short_lengths {
        return out.write_all(array.bytes);
    }
    let mut rest = array.bytes;
    match array.order {
        ByteOrder::Little => write_elements::<byteorder::LittleEndian, B>(out, array, &mut rest, MAX_DEPTH),
        ByteOrder::Big => write_elements::<byteorder::BigEndian, B>(out, array, &mut rest, MAX_DEPTH),
    }
}

/// Writes `array.len` elements from the front of `rest`, converting them from byte order `I` to byte order `O`.
///
/// Does not use `array.bytes`. The reader has already bounded how deep arrays nest. `depth` bounds it again in case
/// the bytes have changed since.
fn write_elements<I: Order, O: Order>(
    out: &mut impl Write,
    array: ArrayRef<'_>,
    rest: &mut &[u8],
    depth: u32,
) -> io::Result<()> {
    let read_len = |rest: &mut &[u8]| {
        if array.short_lengths { rest.read_u32::<I>().map(u64::from) } else { rest.read_u64::<I>() }
    };
    for _ in 0..array.len {
        match array.element {
            ValueType::U8 | ValueType::I8 | ValueType::Bool => out.write_u8(rest.read_u8()?)?,
            ValueType::U16 | ValueType::I16 => out.write_u16::<O>(rest.read_u16::<I>()?)?,
            ValueType::U32 | ValueType::I32 | ValueType::F32 => out.write_u32::<O>(rest.read_u32::<I>()?)?,
            ValueType::U64 | ValueType::I64 | ValueType::F64 => out.write_u64::<O>(rest.read_u64::<I>()?)?,
            ValueType::String => {
                let len = usize::try_from(read_len(rest)?).map_err(io::Error::other)?;
                let string = rest.split_off(..len).ok_or(io::ErrorKind::UnexpectedEof)?;
                write_string::<O>(out, string)?;
            }
            ValueType::Array => {
                let element = ValueType::from_id(rest.read_u32::<I>()?).ok_or(io::ErrorKind::InvalidData)?;
                let inner = ArrayRef { element, len: read_len(rest)?, ..array };
                write_array_head::<O>(out, inner.element, inner.len)?;
                let depth = depth.checked_sub(1).ok_or(io::ErrorKind::InvalidData)?;
                write_elements::<I, O>(out, inner, rest, depth)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use byteorder::{BigEndian, LittleEndian};

    use super::*;

    fn encode(order: ByteOrder, value: &Stored) -> Vec<u8> {
        let mut out = Vec::new();
        match order {
            ByteOrder::Little => write_stored::<LittleEndian>(&mut out, order, value).unwrap(),
            ByteOrder::Big => write_stored::<BigEndian>(&mut out, order, value).unwrap(),
        }
        out
    }

    /// Returns an encoded array as a reader would provide it: the part after the element type and the length.
    fn as_read(order: ByteOrder, element: ValueType, len: u64, encoded: &[u8]) -> Stored {
        let bytes = &encoded[16..];
        Stored::from(ValueRef::Array(ArrayRef { element, len, bytes, order, short_lengths: false }))
    }

    fn arrays() -> Vec<(ValueType, u64, Array)> {
        let nested = Array::Array(vec![
            Array::I16(vec![-2, 515]),
            Array::Array(vec![Array::String(vec![b"deep".to_vec()]), Array::F64(vec![])]),
            Array::Array(vec![]),
        ]);
        vec![
            (ValueType::U8, 3, Array::U8(vec![1, 2, 255])),
            (ValueType::I8, 2, Array::I8(vec![-1, 7])),
            (ValueType::U16, 2, Array::U16(vec![0x0102, 3])),
            (ValueType::I16, 1, Array::I16(vec![-300])),
            (ValueType::U32, 1, Array::U32(vec![0x0102_0304])),
            (ValueType::I32, 1, Array::I32(vec![-70_000])),
            (ValueType::F32, 2, Array::F32(vec![1.5, f32::MIN_POSITIVE])),
            (ValueType::Bool, 2, Array::Bool(vec![true, false])),
            (ValueType::String, 3, Array::String(vec![b"a".to_vec(), vec![], vec![0xff, 0]])),
            (ValueType::U64, 1, Array::U64(vec![0x0102_0304_0506_0708])),
            (ValueType::I64, 1, Array::I64(vec![-1 << 40])),
            (ValueType::F64, 1, Array::F64(vec![-0.1])),
            (ValueType::Array, 3, nested),
            (ValueType::Array, 0, Array::Array(vec![])),
        ]
    }

    #[test]
    fn arrays_of_another_file_become_what_the_owned_array_would() {
        for (element, len, array) in arrays() {
            let owned = Stored::Value(Value::Array(array));
            for from in [ByteOrder::Little, ByteOrder::Big] {
                let read = as_read(from, element, len, &encode(from, &owned));
                for to in [ByteOrder::Little, ByteOrder::Big] {
                    assert_eq!(encode(to, &read), encode(to, &owned), "{element:?}, {from:?} to {to:?}");
                }
            }
        }
    }

    #[test]
    fn lengths_of_version_1_are_widened() {
        let mut bytes = vec![];
        bytes.extend([8, 0, 0, 0, 1, 0, 0, 0]);
        bytes.extend([2, 0, 0, 0]);
        bytes.extend(b"hi");
        let read = Stored::from(ValueRef::Array(ArrayRef {
            element: ValueType::Array,
            len: 1,
            bytes: &bytes,
            order: ByteOrder::Little,
            short_lengths: true,
        }));
        let owned = Stored::Value(Value::Array(Array::Array(vec![Array::String(vec![b"hi".to_vec()])])));
        for to in [ByteOrder::Little, ByteOrder::Big] {
            assert_eq!(encode(to, &read), encode(to, &owned));
        }
    }

    #[test]
    fn arrays_that_end_early_are_an_error() {
        for (element, len, array) in arrays() {
            let encoded = encode(ByteOrder::Big, &Stored::Value(Value::Array(array)));
            for end in 16..encoded.len() {
                let cut = as_read(ByteOrder::Big, element, len, &encoded[..end]);
                let result = write_stored::<LittleEndian>(&mut Vec::new(), ByteOrder::Little, &cut);
                assert!(result.is_err(), "{element:?} cut at {end}");
            }
        }
    }
}
