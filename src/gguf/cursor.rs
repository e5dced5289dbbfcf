//! [`Cursor`]: checked reads at a moving position, in either byte order and with either width of lengths.

use byteorder::{BigEndian, ByteOrder as Order, LittleEndian};

use super::value_type::ValueType;
use crate::byte_order::ByteOrder;

/// How a file encodes its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Encoding {
    pub(crate) order: ByteOrder,
    /// Whether counts, lengths and dimensions are 32 bits wide, as in version 1, instead of 64.
    pub(crate) short_lengths: bool,
}

impl Encoding {
    /// Returns the size in bytes of a count, length or dimension.
    pub(crate) fn length_bytes(self) -> u64 {
        if self.short_lengths { 4 } else { 8 }
    }

    /// Returns the smallest size in bytes of a value of this type, excluding its type field.
    pub(crate) fn least_bytes(self, ty: ValueType) -> u64 {
        match ty {
            ValueType::String => self.length_bytes(),
            ValueType::Array => 4 + self.length_bytes(),
            scalar => scalar.size().unwrap_or(1),
        }
    }

    /// Returns the smallest size in bytes of a key-value pair: a one-byte key with a one-byte value.
    pub(crate) fn least_pair_bytes(self) -> u64 {
        self.length_bytes() + 1 + 4 + 1
    }

    /// Returns the smallest size in bytes of a tensor's description: no name, no dimensions.
    pub(crate) fn least_tensor_bytes(self) -> u64 {
        self.length_bytes() + 4 + 4 + 8
    }
}

/// A position in a slice. Every read checks that its bytes are available. A failed read does not move the position.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    encoding: Encoding,
}

macro_rules! numbers {
    ($($name:ident -> $number:ty, $read:ident;)*) => {
        $(pub(crate) fn $name(&mut self) -> Option<$number> {
            let field = self.take(size_of::<$number>())?;
            Some(match self.encoding.order {
                ByteOrder::Little => LittleEndian::$read(field),
                ByteOrder::Big => BigEndian::$read(field),
            })
        })*
    };
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8], at: usize, encoding: Encoding) -> Self {
        Cursor { bytes, at, encoding }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    /// Returns the next `len` bytes.
    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(len)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    /// Like [`take`](Self::take), for a length read from the file.
    pub(crate) fn take_long(&mut self, len: u64) -> Option<&'a [u8]> {
        self.take(usize::try_from(len).ok()?)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(crate) fn i8(&mut self) -> Option<i8> {
        Some(i8::from_ne_bytes([self.u8()?]))
    }

    numbers! {
        u16 -> u16, read_u16;
        i16 -> i16, read_i16;
        u32 -> u32, read_u32;
        i32 -> i32, read_i32;
        u64 -> u64, read_u64;
        i64 -> i64, read_i64;
        f32 -> f32, read_f32;
        f64 -> f64, read_f64;
    }

    /// Reads a count, a length or a dimension.
    pub(crate) fn length(&mut self) -> Option<u64> {
        if self.encoding.short_lengths { self.u32().map(u64::from) } else { self.u64() }
    }

    /// Reads a string: its length, then its bytes.
    pub(crate) fn string(&mut self) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let len = ahead.length()?;
        let string = ahead.take_long(len)?;
        *self = ahead;
        Some(string)
    }

    /// Skips up to `count` strings and returns the number skipped, which is smaller if a string is longer than
    /// `max_len` or incomplete.
    ///
    /// Because of vocabularies, this is the hottest loop when a file is opened, so it is compiled once per encoding.
    pub(crate) fn skip_strings(&mut self, count: u64, max_len: u64) -> u64 {
        let Encoding { order, short_lengths } = self.encoding;
        match (order, short_lengths) {
            (ByteOrder::Little, false) => self.skip_strings_as(count, max_len, LittleEndian::read_u64),
            (ByteOrder::Big, false) => self.skip_strings_as(count, max_len, BigEndian::read_u64),
            (ByteOrder::Little, true) => self.skip_short_strings_as(count, max_len, LittleEndian::read_u32),
            (ByteOrder::Big, true) => self.skip_short_strings_as(count, max_len, BigEndian::read_u32),
        }
    }

    fn skip_strings_as(&mut self, count: u64, max_len: u64, read: impl Fn(&[u8]) -> u64) -> u64 {
        self.skip_prefixed::<8>(count, max_len, |field| read(field))
    }

    fn skip_short_strings_as(&mut self, count: u64, max_len: u64, read: impl Fn(&[u8]) -> u32) -> u64 {
        self.skip_prefixed::<4>(count, max_len, |field| u64::from(read(field)))
    }

    #[inline(always)]
    fn skip_prefixed<const WIDTH: usize>(
        &mut self,
        count: u64,
        max_len: u64,
        read: impl Fn(&[u8; WIDTH]) -> u64,
    ) -> u64 {
        let mut rest = self.bytes.get(self.at..).unwrap_or_default();
        let before = rest.len();
        let mut skipped = 0;
        while skipped < count {
            let Some((field, after)) = rest.split_first_chunk::<WIDTH>() else { break };
            let len = read(field);
            if len > max_len {
                break;
            }
            let Some(next) = usize::try_from(len).ok().and_then(|len| after.get(len..)) else { break };
            rest = next;
            skipped += 1;
        }
        self.at += before - rest.len();
        skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BIG_V1: Encoding = Encoding { order: ByteOrder::Big, short_lengths: true };

    #[test]
    fn reads_both_byte_orders_and_moves_only_on_success() {
        let bytes = [1, 2, 3, 4, 5, 6];
        let mut little = Cursor::new(&bytes, 0, Encoding::default());
        assert_eq!((little.u32(), little.u32(), little.u16()), (Some(0x0403_0201), None, Some(0x0605)));
        let mut big = Cursor::new(&bytes, 1, BIG_V1);
        assert_eq!((big.length(), big.u16(), big.i8(), big.u8()), (Some(0x0203_0405), None, Some(6), None));
        assert_eq!(Cursor::new(&bytes, 7, BIG_V1).take(0), None);
        assert_eq!(Cursor::new(&bytes, 1, BIG_V1).take(usize::MAX), None);
    }

    #[test]
    fn skips_only_whole_strings_within_the_limit() {
        let bytes = [0, 0, 0, 1, b'a', 0, 0, 0, 0, 0, 0, 0, 3, b'b', b'c'];
        let mut cursor = Cursor::new(&bytes, 0, BIG_V1);
        assert_eq!((cursor.skip_strings(9, 9), cursor.at()), (2, 9));
        let mut cursor = Cursor::new(&bytes, 0, BIG_V1);
        assert_eq!((cursor.skip_strings(9, 0), cursor.at()), (0, 0));
        assert_eq!((cursor.skip_strings(1, 1), cursor.at()), (1, 5));
        assert_eq!((cursor.string(), cursor.string(), cursor.at()), (Some(&b""[..]), None, 9));
    }
}
