//! The steps of [`HeaderParser`] through the tensor table.

use super::field::{Count, Field};
use super::fields::{out_of_memory, push, shorten};
use super::{HeaderParser, State, Stop};
use crate::error::{Error, Place, Problem};
use crate::ggml_type::GgmlType;
use crate::gguf::header::{ForeignEntry, TensorEntry};
use crate::gguf::layout::{MAX_FOREIGN_NAME_BYTES, MAX_NAME_BYTES, align_up, place, to_u64};
use crate::gguf::name_index::{Duplicate, NameIndex};
use crate::tensor::{Misfit, Shape, bytes_of_rows};
use alloc::vec;

impl HeaderParser {
    pub(super) fn tensor_name(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        let offset = self.at;
        let mut cursor = self.cursor(bytes);
        let tail = self.tail_of_tensor().saturating_add(4 + 4 + 8);
        let len = self.length(&mut cursor, Field { what: "length of a tensor's name", offset, tail })?;
        let most = if self.foreign { MAX_FOREIGN_NAME_BYTES } else { MAX_NAME_BYTES };
        let name_len = match u8::try_from(len) {
            Ok(short) if len <= most => short,
            _ => return Err(self.malformed(bytes, offset, Problem::NameLength { len })),
        };
        let name_at = cursor.at();
        let name = self.take(&mut cursor, Field { what: "tensor's name", offset, tail }, len)?;
        if core::str::from_utf8(name).is_err() {
            return Err(self.malformed(bytes, offset, Problem::NotUtf8 { what: "tensor's name" }));
        }
        self.at = cursor.at();
        self.state = State::TensorRest { name_at, name_len };
        Ok(())
    }

    pub(super) fn tensor_rest(&mut self, bytes: &[u8], name_at: usize, name_len: u8) -> Result<(), Stop> {
        let mut cursor = self.cursor(bytes);
        let tail = self.tail_of_tensor();
        let offset = cursor.at();
        let what = "number of dimensions";
        let found = self.number(&mut cursor, Field { what, offset, tail: tail.saturating_add(4 + 8) })?;
        let most = if self.foreign { u8::MAX } else { Shape::MAX_DIMS as u8 };
        let Some(dims) = u8::try_from(found).ok().filter(|&dims| dims <= most) else {
            return Err(self.malformed(bytes, offset, Problem::Dimensions { found }));
        };

        let extents_at = cursor.at();
        let least = self.header.encoding.length_bytes();
        let count = Count {
            what: "dimensions",
            offset: extents_at,
            count: u64::from(dims),
            least,
            tail: tail.saturating_add(4 + 8),
        };
        self.count(&cursor, count)?;
        let (mut few, mut many);
        let extents = if usize::from(dims) <= Shape::MAX_DIMS {
            few = [0; Shape::MAX_DIMS];
            &mut few[..usize::from(dims)]
        } else {
            many = vec![0; dims.into()];
            &mut many[..]
        };
        for extent in &mut *extents {
            let offset = cursor.at();
            *extent = self.length(&mut cursor, Field { what: "dimension", offset, tail })?;
        }
        let Some(elements) = elements(extents) else {
            let shape = extents.to_vec();
            return Err(self.malformed(bytes, extents_at, Problem::Elements { shape }));
        };

        let type_at = cursor.at();
        let id = self.number(&mut cursor, Field { what: "tensor's type", offset: type_at, tail })?;
        let ty = match GgmlType::check_id(id) {
            Ok(ty) => Some(ty),
            Err(_) if self.foreign => None,
            Err(problem) => return Err(self.malformed(bytes, type_at, problem)),
        };
        let byte_len = match ty {
            None => None,
            Some(ty) => {
                let row_len = extents.first().copied().unwrap_or(1);
                let problem = match bytes_of_rows(ty, row_len, elements) {
                    Ok(byte_len) => Ok(byte_len),
                    Err(Misfit::PartialBlock) => Err(Problem::PartialBlock { ty, row_len }),
                    Err(Misfit::Bytes) => Err(Problem::Bytes { shape: extents.to_vec(), ty }),
                };
                Some(problem.map_err(|problem| self.malformed(bytes, extents_at, problem))?)
            }
        };

        let offset_at = cursor.at();
        let mut number = cursor;
        self.take(&mut cursor, Field { what: "tensor's offset", offset: offset_at, tail }, 8)?;
        let found = number.u64().unwrap_or_default();
        if self.ends_here(found) {
            self.data_len = found;
        }
        if found != self.data_len {
            let expected = self.data_len;
            return Err(self.malformed(bytes, offset_at, Problem::Offset { found, expected }));
        }
        let Some((_, next)) = place(found, byte_len.unwrap_or(0), self.header.alignment()) else {
            return Err(self.malformed(bytes, extents_at, Problem::TotalBytes));
        };

        match ty.filter(|_| usize::from(dims) <= Shape::MAX_DIMS) {
            Some(ty) => {
                let entry = TensorEntry { name_at, offset: found, ty, name_len, dims };
                push(&mut self.header.tensors, entry, self.tensor_count)?;
            }
            None => {
                let position = u32::try_from(self.header.declared()).unwrap_or(u32::MAX);
                let entry =
                    ForeignEntry { position, name_at, offset: found, room: byte_len, id, name_len, dims };
                push(&mut self.header.foreign, entry, self.tensor_count)?;
            }
        }
        self.data_len = next;
        self.at = cursor.at();
        let all = to_u64(self.header.declared()) >= self.tensor_count;
        self.state = if all { State::TensorsEnd } else { State::TensorName };
        Ok(())
    }

    /// Ends the previous tensor at `at` if its type is unknown and it may end there. Returns whether it did.
    fn ends_here(&mut self, at: u64) -> bool {
        let position = self.header.declared().checked_sub(1).map(to_u64);
        let alignment = self.header.alignment();
        let last = self.header.foreign.last_mut();
        let Some(last) = last.filter(|last| position == Some(last.position.into()) && last.room.is_none())
        else {
            return false;
        };
        if at < last.offset || align_up(at, alignment) != Some(at) {
            return false;
        }
        last.room = Some(at - last.offset);
        true
    }

    pub(super) fn index_tensors(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        let header = &self.header;
        let index = NameIndex::build(header.declared(), |index| header.name_bytes(bytes, index));
        match index.map_err(|_| out_of_memory())? {
            Ok(index) => self.header.tensor_index = index,
            Err(Duplicate { first, second }) => {
                let name_at = match header.tensors.get(second) {
                    Some(entry) => entry.name_at,
                    None => {
                        header.foreign.get(second - header.tensors.len()).map_or(0, |entry| entry.name_at)
                    }
                };
                let name = Some(shorten(header.name_bytes(bytes, second)));
                return Err(Stop::from(Error::Malformed {
                    file: None,
                    offset: to_u64(name_at).saturating_sub(header.encoding.length_bytes()),
                    place: Place::Tensor { index: header.position(second), name },
                    problem: Problem::DuplicateTensor { first: header.position(first) },
                }));
            }
        }
        self.header.len = to_u64(self.at);
        // Sums of file positions are checked once here, so later code can add them without overflow.
        let data_offset = align_up(self.header.len, self.header.alignment());
        let Some(data_offset) = data_offset.filter(|start| start.checked_add(self.data_len).is_some()) else {
            return Err(self.too_many_bytes(bytes));
        };
        self.header.data_offset = data_offset;
        self.state = State::Done;
        Ok(())
    }

    /// Returns the error for a last tensor that ends beyond 64 bits once the header precedes the data.
    fn too_many_bytes(&self, bytes: &[u8]) -> Stop {
        let Some((index, last)) = self.header.tensors.iter().enumerate().next_back() else {
            return self.malformed(bytes, self.at, Problem::TotalBytes);
        };
        let name = Some(shorten(self.header.name_bytes(bytes, index)));
        Stop::from(Error::Malformed {
            file: None,
            // The position of its extents, as for a single tensor that is too large.
            offset: to_u64(last.name_at) + u64::from(last.name_len) + 4,
            place: Place::Tensor { index: self.header.position(index), name },
            problem: Problem::TotalBytes,
        })
    }
}

/// Returns the product of extents if [`Shape`] would allow it.
fn elements(extents: &[u64]) -> Option<u64> {
    if let Some(shape) = Shape::new(extents) {
        return Some(shape.element_count());
    }
    // ggml does not allow more than four, but its bound applies all the same.
    let (few, more) = extents.split_at_checked(Shape::MAX_DIMS)?;
    let few = Shape::new(few)?;
    if more.contains(&0) {
        return Some(0);
    }
    let product =
        more.iter().try_fold(few.element_count(), |product, &extent| product.checked_mul(extent))?;
    (product < i64::MAX as u64).then_some(product)
}
