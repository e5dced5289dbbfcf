//! [`Header`]: the result of parsing a header. It records positions, in a few bytes per key and tensor.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use super::cursor::{Cursor, Encoding};
use super::foreign::ForeignTensor;
use super::layout::{DEFAULT_ALIGNMENT, to_u64};
use super::name_index::NameIndex;
use super::tensor_info::{TensorData, TensorInfo};
use super::value_ref::{ArrayRef, ValueRef};
use super::value_type::ValueType;
use crate::error::{Error, Place, Problem, Result};
use crate::ggml_type::GgmlType;
use crate::tensor::{Shape, TensorLayout};

/// The position of a key-value pair, from the start of the GGUF. The value's type is at `key_end`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyEntry {
    pub(crate) key_at: usize,
    pub(crate) key_end: usize,
    pub(crate) value_end: usize,
}

/// A tensor's description, except for what is quick to read again: its extents follow its name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TensorEntry {
    pub(crate) name_at: usize,
    /// From the start of the data.
    pub(crate) offset: u64,
    pub(crate) ty: GgmlType,
    pub(crate) name_len: u8,
    pub(crate) dims: u8,
}

/// A tensor in the table that cannot be read: see [`ForeignTensor`](super::ForeignTensor).
#[derive(Debug, Clone, Copy)]
pub(crate) struct ForeignEntry {
    /// Its position in the table.
    pub(crate) position: u32,
    pub(crate) name_at: usize,
    /// From the start of the data.
    pub(crate) offset: u64,
    /// The size of the data. It extends to the next tensor; for the last tensor it is that of its own data. `None` if unknown.
    pub(crate) room: Option<u64>,
    pub(crate) id: u32,
    pub(crate) name_len: u8,
    pub(crate) dims: u8,
}

// The bound on memory, ten times the header's bytes, depends on these sizes: in the file a pair takes at least 10
// bytes, and a tensor at least 20.
const _: () = assert!(size_of::<KeyEntry>() <= 24 && size_of::<TensorEntry>() <= 24);
const _: () = assert!(size_of::<ForeignEntry>() <= 48);

/// An index over a header's bytes.
///
/// It does not hold the bytes. A caller's `AsRef` may later return other bytes than those that were parsed, so every
/// look-up is checked and falls back to a harmless result if necessary.
#[derive(Debug, Clone, Default)]
pub(crate) struct Header {
    pub(crate) version: u32,
    pub(crate) encoding: Encoding,
    /// 0 if the file does not specify one.
    alignment: u32,
    /// The size in bytes up to the end of the tensor table.
    pub(crate) len: u64,
    /// Where tensor data begins.
    pub(crate) data_offset: u64,
    pub(crate) keys: Vec<KeyEntry>,
    pub(crate) tensors: Vec<TensorEntry>,
    /// Empty unless [`GgufOptions::foreign_tensors`](super::GgufOptions::foreign_tensors) requests them.
    pub(crate) foreign: Vec<ForeignEntry>,
    pub(crate) key_index: NameIndex,
    /// Indexes the tensors, followed by the foreign ones.
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

    /// Returns the number of tensors in the table.
    pub(crate) fn declared(&self) -> usize {
        self.tensors.len() + self.foreign.len()
    }

    /// Returns the name of a tensor. Indices past the last tensor refer to the foreign ones.
    pub(crate) fn name_bytes<'a>(&self, bytes: &'a [u8], index: usize) -> &'a [u8] {
        let name = match self.tensors.get(index) {
            Some(entry) => Some((entry.name_at, entry.name_len)),
            None => {
                let foreign = index.checked_sub(self.tensors.len()).and_then(|index| self.foreign.get(index));
                foreign.map(|entry| (entry.name_at, entry.name_len))
            }
        };
        name.and_then(|(at, len)| bytes.get(at..at + usize::from(len))).unwrap_or_default()
    }

    /// Returns the position in the table of the tensor that [`name_bytes`](Self::name_bytes) has at this index.
    pub(crate) fn position(&self, index: usize) -> u64 {
        match index.checked_sub(self.tensors.len()).and_then(|index| self.foreign.get(index)) {
            Some(entry) => entry.position.into(),
            None => {
                let mut position = to_u64(index);
                for entry in &self.foreign {
                    // Each foreign tensor that precedes it moves it by one.
                    position += u64::from(u64::from(entry.position) <= position);
                }
                position
            }
        }
    }

    pub(crate) fn find_key(&self, bytes: &[u8], key: &str) -> Option<usize> {
        self.key_index.find(key.as_bytes(), |index| self.key_bytes(bytes, index))
    }

    pub(crate) fn find_tensor(&self, bytes: &[u8], name: &str) -> Option<usize> {
        self.tensor_index.find(name.as_bytes(), |index| self.name_bytes(bytes, index))
    }

    /// Returns the key and value at this position.
    pub(crate) fn pair<'a>(&self, bytes: &'a [u8], index: usize) -> Option<(&'a str, ValueRef<'a>)> {
        let entry = self.keys.get(index)?;
        let key = core::str::from_utf8(bytes.get(entry.key_at..entry.key_end)?).ok()?;
        // The cursor ends with the value, so an array ends where it ended when it was parsed, and no element needs to
        // be read to find its end.
        let mut cursor = Cursor::new(bytes.get(..entry.value_end)?, entry.key_end, self.encoding);
        let ty = ValueType::from_id(cursor.u32()?)?;
        let value = match ty {
            ValueType::Array => ValueRef::Array(ArrayRef::read_all(&mut cursor, self.encoding)?),
            _ => ValueRef::read(&mut cursor, ty, self.encoding)?,
        };
        Some((key, value))
    }

    /// Returns the tensor at this index, without the file's bytes.
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
            layout: TensorLayout::new(shape, entry.ty).ok()?,
            order: self.encoding.order,
            offset: entry.offset,
            file_offset: self.data_offset.checked_add(entry.offset)?,
            index,
            data: TensorData::Absent,
        })
    }

    /// Returns the foreign tensor at this position among the foreign ones.
    pub(crate) fn foreign<'a>(&self, bytes: &'a [u8], index: usize) -> Option<ForeignTensor<'a>> {
        let entry = self.foreign.get(index)?;
        let name = core::str::from_utf8(self.name_bytes(bytes, self.tensors.len() + index)).ok()?;
        let mut cursor = Cursor::new(bytes, entry.name_at + name.len() + 4, self.encoding);
        let mut extents = Vec::with_capacity(entry.dims.into());
        for _ in 0..entry.dims {
            extents.push(cursor.length()?);
        }
        let file_offset = self.data_offset.checked_add(entry.offset)?;
        let problem = match GgmlType::check_id(entry.id) {
            Ok(_) => Problem::Dimensions { found: entry.dims.into() },
            Err(problem) => problem,
        };
        Some(ForeignTensor { name, extents, type_id: entry.id, file_offset, byte_len: entry.room, problem })
    }

    /// Returns every tensor of the table in order: its name, and the bytes after the name.
    #[cfg(all(feature = "std", any(unix, windows)))]
    pub(crate) fn table<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let mut tensors = self.tensors.iter().map(|entry| (entry.name_at, entry.name_len, entry.dims));
        let mut foreign = self.foreign.iter().peekable();
        let mut position = 0;
        std::iter::from_fn(move || {
            let its_turn = foreign.next_if(|entry| entry.position == position);
            position += 1;
            let (name_at, name_len, dims) = match its_turn {
                Some(entry) => (entry.name_at, entry.name_len, entry.dims),
                None => tensors.next()?,
            };
            let name_end = name_at.checked_add(name_len.into())?;
            let end = usize::try_from(self.offset_field(name_at, name_len, dims)).ok()?.checked_add(8)?;
            let name = core::str::from_utf8(bytes.get(name_at..name_end)?).ok()?;
            Some((name, bytes.get(name_end..end)?))
        })
    }

    /// Returns the position of the field with a tensor's offset, after its name, extents and type.
    fn offset_field(&self, name_at: usize, name_len: u8, dims: u8) -> u64 {
        let name_end = to_u64(name_at) + u64::from(name_len);
        name_end + 4 + u64::from(dims) * self.encoding.length_bytes() + 4
    }

    /// Returns where the last tensor's data ends, excluding padding, or where the header ends if there are no tensors.
    pub(crate) fn data_end(&self, bytes: &[u8]) -> Option<u64> {
        let foreign = match self.foreign.last() {
            Some(entry) => self.data_offset.checked_add(entry.offset)?.checked_add(entry.room?)?,
            None => self.len,
        };
        let Some(last) = self.tensors.len().checked_sub(1) else { return Some(foreign) };
        let tensor = self.tensor(bytes, last)?;
        Some(tensor.file_offset.checked_add(tensor.byte_len())?.max(foreign))
    }

    /// Checks that the padding after the header and every tensor's data are within the file. `bytes` contain at least the header.
    pub(crate) fn check_data(&self, bytes: &[u8], file_len: u64) -> Result<()> {
        if self.declared() == 0 {
            return Ok(());
        }
        if self.data_offset > file_len {
            let needed = self.data_offset.saturating_sub(self.len);
            let remaining = file_len.saturating_sub(self.len);
            let problem = Problem::Truncated { what: "padding", needed, remaining };
            return Err(Error::Malformed { file: None, offset: self.len, place: Place::Padding, problem });
        }
        // Tensors follow each other, so if the last one fits, all do.
        if self.data_end(bytes).is_some_and(|end| end <= file_len) {
            return Ok(());
        }
        for (index, entry) in self.tensors.iter().enumerate() {
            let Some(tensor) = self.tensor(bytes, index) else { continue };
            let end = tensor.file_offset.saturating_add(tensor.byte_len());
            if end > file_len {
                let name = Some(tensor.name.to_owned());
                return Err(Error::Malformed {
                    file: None,
                    offset: self.offset_field(entry.name_at, entry.name_len, entry.dims),
                    place: Place::Tensor { index: self.position(index), name },
                    problem: Problem::DataBeyondEnd { end, file_len },
                });
            }
        }
        for (index, entry) in self.foreign.iter().enumerate() {
            let start = self.data_offset.saturating_add(entry.offset);
            let end = start.saturating_add(entry.room.unwrap_or(0));
            if end > file_len {
                let name = self.name_bytes(bytes, self.tensors.len() + index);
                return Err(Error::Malformed {
                    file: None,
                    offset: self.offset_field(entry.name_at, entry.name_len, entry.dims),
                    place: Place::Tensor {
                        index: entry.position.into(),
                        name: Some(String::from_utf8_lossy(name).into_owned()),
                    },
                    problem: Problem::DataBeyondEnd { end, file_len },
                });
            }
        }
        Ok(())
    }
}
