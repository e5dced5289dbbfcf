//! Builds raw GGUF bytes by hand, independently of the crate's writer: any version, either byte order, and
//! any nonsense that a test needs.

#![allow(dead_code, reason = "each test binary uses its own part of this")]

use gguf_codec::{Gguf, Result};

/// All pairs of version and whether the file is big-endian.
pub(crate) const FORMATS: [(u32, bool); 6] =
    [(1, false), (2, false), (3, false), (1, true), (2, true), (3, true)];

pub(crate) const U8: u32 = 0;
pub(crate) const I8: u32 = 1;
pub(crate) const U16: u32 = 2;
pub(crate) const I16: u32 = 3;
pub(crate) const U32: u32 = 4;
pub(crate) const I32: u32 = 5;
pub(crate) const F32: u32 = 6;
pub(crate) const BOOL: u32 = 7;
pub(crate) const STRING: u32 = 8;
pub(crate) const ARRAY: u32 = 9;
pub(crate) const U64: u32 = 10;
pub(crate) const I64: u32 = 11;
pub(crate) const F64: u32 = 12;

#[derive(Clone)]
pub(crate) struct Raw {
    pub(crate) version: u32,
    pub(crate) big: bool,
    pub(crate) bytes: Vec<u8>,
}

impl Raw {
    /// Magic, version and counts.
    pub(crate) fn new((version, big): (u32, bool), tensors: u64, keys: u64) -> Self {
        Raw { version, big, bytes: b"GGUF".to_vec() }.u32(version).len(tensors).len(keys)
    }

    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend(bytes);
        self
    }

    fn number(self, mut little: Vec<u8>) -> Self {
        if self.big {
            little.reverse();
        }
        self.raw(&little)
    }

    pub(crate) fn u8(self, value: u8) -> Self {
        self.raw(&[value])
    }

    pub(crate) fn u16(self, value: u16) -> Self {
        self.number(value.to_le_bytes().to_vec())
    }

    pub(crate) fn u32(self, value: u32) -> Self {
        self.number(value.to_le_bytes().to_vec())
    }

    pub(crate) fn u64(self, value: u64) -> Self {
        self.number(value.to_le_bytes().to_vec())
    }

    pub(crate) fn f32(self, value: f32) -> Self {
        self.u32(value.to_bits())
    }

    pub(crate) fn f64(self, value: f64) -> Self {
        self.u64(value.to_bits())
    }

    /// A count, length or dimension: 32 bits in version 1, 64 bits in later versions.
    pub(crate) fn len(self, value: u64) -> Self {
        if self.version == 1 { self.u32(value.try_into().expect("fits version 1")) } else { self.u64(value) }
    }

    /// A string with its length.
    pub(crate) fn string(self, text: impl AsRef<[u8]>) -> Self {
        let text = text.as_ref();
        self.len(text.len() as u64).raw(text)
    }

    /// A key and the type of its value.
    pub(crate) fn key(self, key: impl AsRef<[u8]>, ty: u32) -> Self {
        self.string(key).u32(ty)
    }

    /// A key, and the start of an array.
    pub(crate) fn array(self, key: &str, element: u32, len: u64) -> Self {
        self.key(key, ARRAY).u32(element).len(len)
    }

    pub(crate) fn alignment(self, alignment: u32) -> Self {
        self.key("general.alignment", U32).u32(alignment)
    }

    pub(crate) fn tensor(self, name: impl AsRef<[u8]>, dims: &[u64], ty: u32, offset: u64) -> Self {
        let start = self.string(name).u32(dims.len() as u32);
        dims.iter().fold(start, |raw, &dim| raw.len(dim)).u32(ty).u64(offset)
    }

    pub(crate) fn pad(mut self, alignment: usize) -> Self {
        let len = self.bytes.len().next_multiple_of(alignment);
        self.bytes.resize(len, 0);
        self
    }

    pub(crate) fn zeros(mut self, count: usize) -> Self {
        self.bytes.resize(self.bytes.len() + count, 0);
        self
    }

    /// The number of bytes so far, which is the offset of the next field.
    pub(crate) fn at(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// 4 in version 1, 8 in later versions.
    pub(crate) fn len_bytes(&self) -> u64 {
        if self.version == 1 { 4 } else { 8 }
    }

    pub(crate) fn parse(&self) -> Result<Gguf<&[u8]>> {
        Gguf::parse(&self.bytes)
    }
}
