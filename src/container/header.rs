//! [`Header`]: what a parsed header leaves behind: where things are, in a few bytes for each key and tensor.

use alloc::borrow::ToOwned;
use alloc::vec::Vec;

use super::array::ArrayRef;
use super::cursor::{Cursor, Encoding};
use super::layout::{DEFAULT_ALIGNMENT, to_u64};
use super::name_index::NameIndex;
use super::tensor_info::TensorInfo;
use super::value::{ValueRef, ValueType};
use crate::error::{Error, Place, Problem, Result};
use crate::{GgmlType, Shape};

/// Where a key-value pair lies, from the start of the GGUF. The value's type stands at `key_end`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyEntry {
    pub(crate) key_at: usize,
    pub(crate) key_end: usize,
    pub(crate) value_end: usize,
}

/// A tensor's description, but for what is quickly read again: its extents stand behind its name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TensorEntry {
    pub(crate) name_at: usize,
    /// From the start of the data.
    pub(crate) offset: u64,
    pub(crate) ty: GgmlType,
    pub(crate) name_len: u8,
    pub(crate) dims: u8,
}

// The bound on memory, ten times the header's bytes, rests on these: a pair takes 10 bytes in the file at
// least, a tensor 20.
const _: () = assert!(size_of::<KeyEntry>() <= 24 && size_of::<TensorEntry>() <= 24);

/// An index over a header's bytes.
///
/// It does not hold them, and a caller's `AsRef` may hand out other bytes tomorrow than those that were
/// parsed. So every look-up reads with checks, and answers with something harmless where it must.
#[derive(Debug, Clone, Default)]
pub(crate) struct Header {
    pub(crate) version: u32,
    pub(crate) encoding: Encoding,
    /// 0 stands for "not named".
    alignment: u32,
    /// Bytes up to the end of the tensor table.
    pub(crate) len: u64,
    /// Where the tensors' data begins.
    pub(crate) data_offset: u64,
    pub(crate) keys: Vec<KeyEntry>,
    pub(crate) tensors: Vec<TensorEntry>,
    pub(crate) key_index: NameIndex,
    pub(crate) tensor_index: NameIndex,
}

impl Header {
    pub(crate) fn alignment(&self) -> u32 {
        if self.alignment == 0 { DEFAULT_ALIGNMENT } else { self.alignment }
    }

    pub(crate) fn set_alignment(&mut self, alignment: u32) {
        self.alignment = alignment;
    }

    pub(crate) fn key_bytes<'a>(&self, bytes: &'a [u8], index: usize) -> &'a [u8] {
        self.keys.get(index).and_then(|entry| bytes.get(entry.key_at..entry.key_end)).unwrap_or_default()
    }

    pub(crate) fn name_bytes<'a>(&self, bytes: &'a [u8], index: usize) -> &'a [u8] {
        let range = |entry: &TensorEntry| entry.name_at..entry.name_at + usize::from(entry.name_len);
        self.tensors.get(index).and_then(|entry| bytes.get(range(entry))).unwrap_or_default()
    }

    pub(crate) fn find_key(&self, bytes: &[u8], key: &str) -> Option<usize> {
        self.key_index.find(key.as_bytes(), |index| self.key_bytes(bytes, index))
    }

    pub(crate) fn find_tensor(&self, bytes: &[u8], name: &str) -> Option<usize> {
        self.tensor_index.find(name.as_bytes(), |index| self.name_bytes(bytes, index))
    }

    /// The key and value at this position.
    pub(crate) fn pair<'a>(&self, bytes: &'a [u8], index: usize) -> Option<(&'a str, ValueRef<'a>)> {
        let entry = self.keys.get(index)?;
        let key = core::str::from_utf8(bytes.get(entry.key_at..entry.key_end)?).ok()?;
        // The cursor sees nothing behind the value, so an array ends where it ended when it was parsed, and no
        // element need be looked at to find that place.
        let mut cursor = Cursor::new(bytes.get(..entry.value_end)?, entry.key_end, self.encoding);
        let ty = ValueType::from_id(cursor.u32()?)?;
        let value = match ty {
            ValueType::Array => ValueRef::Array(ArrayRef::read_all(&mut cursor, self.encoding)?),
            _ => ValueRef::read(&mut cursor, ty, self.encoding)?,
        };
        Some((key, value))
    }

    /// The tensor at this position, without the file's bytes.
    pub(crate) fn tensor<'a>(&self, bytes: &'a [u8], index: usize) -> Option<TensorInfo<'a>> {
        let entry = self.tensors.get(index)?;
        let name = core::str::from_utf8(self.name_bytes(bytes, index)).ok()?;
        let mut cursor = Cursor::new(bytes, entry.name_at + name.len() + 4, self.encoding);
        let mut extents = [0; Shape::MAX_DIMS];
        let extents = extents.get_mut(..usize::from(entry.dims))?;
        for extent in &mut *extents {
            *extent = cursor.length()?;
        }
        let shape = Shape::new(extents)?;
        Some(TensorInfo {
            name,
            shape,
            ty: entry.ty,
            order: self.encoding.order,
            offset: entry.offset,
            file_offset: self.data_offset.checked_add(entry.offset)?,
            byte_len: entry.ty.bytes_for(shape.element_count())?,
            gguf: None,
        })
    }

    /// Where the field with a tensor's offset stands, behind its name, extents and type.
    pub(crate) fn offset_field(&self, entry: &TensorEntry) -> u64 {
        let name_end = to_u64(entry.name_at) + u64::from(entry.name_len);
        name_end + 4 + u64::from(entry.dims) * self.encoding.length_bytes() + 4
    }

    /// Where the last tensor's data ends, its padding not counted, or the header where there are no tensors.
    pub(crate) fn data_end(&self, bytes: &[u8]) -> Option<u64> {
        let Some(last) = self.tensors.len().checked_sub(1) else { return Some(self.len) };
        let tensor = self.tensor(bytes, last)?;
        tensor.file_offset.checked_add(tensor.byte_len)
    }

    /// Checks that the padding behind the header and every tensor's data lie within the file, of which `bytes` are the
    /// header at least.
    pub(crate) fn check_data(&self, bytes: &[u8], file_len: u64) -> Result<()> {
        if self.tensors.is_empty() {
            return Ok(());
        }
        if self.data_offset > file_len {
            let needed = self.data_offset.saturating_sub(self.len);
            let remaining = file_len.saturating_sub(self.len);
            let problem = Problem::Truncated { what: "padding", needed, remaining };
            return Err(Error::Malformed { offset: self.len, place: Place::Padding, problem });
        }
        // Tensors follow each other, so where the last one fits, all do.
        if self.data_end(bytes).is_some_and(|end| end <= file_len) {
            return Ok(());
        }
        for (index, entry) in self.tensors.iter().enumerate() {
            let Some(tensor) = self.tensor(bytes, index) else { continue };
            let end = tensor.file_offset.saturating_add(tensor.byte_len);
            if end > file_len {
                let name = Some(tensor.name.to_owned());
                return Err(Error::Malformed {
                    offset: self.offset_field(entry),
                    place: Place::Tensor { index: to_u64(index), name },
                    problem: Problem::DataBeyondEnd { end, file_len },
                });
            }
        }
        Ok(())
    }
}
