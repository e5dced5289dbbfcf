//! The steps of [`HeaderParser`] through key-value pairs.

use super::field::{Count, Field};
use super::fields::{out_of_memory, push, shorten};
use super::{Frame, HeaderParser, State, Stop};
use crate::error::{Error, Place, Problem};
use crate::gguf::cursor::Cursor;
use crate::gguf::header::KeyEntry;
use crate::gguf::layout::{ALIGNMENT_KEY, to_u64};
use crate::gguf::name_index::{Duplicate, NameIndex};
use crate::gguf::value_type::{MAX_DEPTH, ValueType};

impl HeaderParser {
    pub(super) fn key(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        let offset = self.at;
        let mut cursor = self.cursor(bytes);
        let tail = self.tail_of_pair();
        let field = Field { what: "key's length", offset, tail: tail + 1 + 4 + 1 };
        let len = self.length(&mut cursor, field)?;
        self.limit(bytes, offset, "the length of a key", len, self.limits.max_string_bytes)?;
        if len == 0 {
            return Err(self.malformed(bytes, offset, Problem::EmptyKey));
        }
        let key_at = cursor.at();
        let key = self.take(&mut cursor, Field { what: "key", offset, tail: tail + 4 + 1 }, len)?;
        if core::str::from_utf8(key).is_err() {
            return Err(self.malformed(bytes, offset, Problem::NotUtf8 { what: "key" }));
        }
        self.at = cursor.at();
        self.state = State::Value { key_at, key_end: self.at };
        Ok(())
    }

    pub(super) fn value(&mut self, bytes: &[u8], key_at: usize, key_end: usize) -> Result<(), Stop> {
        let offset = self.at;
        let mut cursor = self.cursor(bytes);
        let tail = self.tail_of_pair();
        let ty = self.value_type(bytes, &mut cursor, "value's type", tail + 1)?;
        let names_alignment = bytes.get(key_at..key_end) == Some(ALIGNMENT_KEY.as_bytes());
        if names_alignment && ty != ValueType::U32 {
            return Err(self.malformed(bytes, offset, Problem::AlignmentType { found: ty.name() }));
        }
        let value_at = cursor.at();
        match ty {
            ValueType::Array => {
                if let Some(frame) = self.array(bytes, &mut cursor, 1, tail)? {
                    self.frames.push(frame);
                }
            }
            ValueType::String => self.string(bytes, &mut cursor, tail)?,
            scalar => {
                let least = self.header.encoding.least_bytes(scalar);
                self.take(&mut cursor, Field { what: "value", offset: value_at, tail }, least)?;
            }
        }
        if names_alignment {
            let alignment = Cursor::new(bytes, value_at, self.header.encoding).u32().unwrap_or_default();
            if !alignment.is_power_of_two() {
                return Err(self.malformed(bytes, value_at, Problem::Alignment { found: alignment }));
            }
            let most = self.limits.max_alignment.into();
            self.limit(bytes, value_at, "the alignment", alignment.into(), most)?;
            self.header.set_alignment(alignment);
        }
        self.at = cursor.at();
        self.state = State::Elements { key_at, key_end };
        Ok(())
    }

    /// Continues in the innermost array, leaves arrays that are finished, and finishes the pair after the last one.
    pub(super) fn elements(&mut self, bytes: &[u8], key_at: usize, key_end: usize) -> Result<(), Stop> {
        while let Some(mut frame) = self.frames.pop() {
            let outcome = self.element(bytes, &mut frame);
            let entered = match outcome {
                Ok(entered) => entered,
                Err(stop) => {
                    self.frames.push(frame);
                    return Err(stop);
                }
            };
            if frame.left > 0 || entered.is_some() {
                self.frames.push(frame);
            }
            self.frames.extend(entered);
        }
        let entry = KeyEntry { key_at, key_end, value_end: self.at };
        push(&mut self.header.keys, entry, self.key_count)?;
        let all = to_u64(self.header.keys.len()) >= self.key_count;
        self.state = if all { State::KeysEnd } else { State::Key };
        Ok(())
    }

    /// Skips all strings of a frame, or one array. Returns an array that must be entered.
    fn element(&mut self, bytes: &[u8], frame: &mut Frame) -> Result<Option<Frame>, Stop> {
        let mut cursor = self.cursor(bytes);
        if frame.element == ValueType::String {
            frame.left -= cursor.skip_strings(frame.left, self.limits.max_string_bytes);
            self.at = cursor.at();
            if frame.left == 0 {
                return Ok(None);
            }
        }
        let least = self.header.encoding.least_bytes(frame.element);
        let tail = frame.tail.saturating_add((frame.left.saturating_sub(1)).saturating_mul(least));
        let mut entered = None;
        match frame.element {
            ValueType::Array if frame.left > 0 => {
                // The frame itself has been popped from the stack for now.
                let depth = to_u64(self.frames.len()) + 2;
                entered = self.array(bytes, &mut cursor, depth, tail)?;
            }
            // Only a string that could not be skipped gets here, to report the reason.
            ValueType::String => self.string(bytes, &mut cursor, tail)?,
            _ => {}
        }
        frame.left = frame.left.saturating_sub(1);
        self.at = cursor.at();
        Ok(entered)
    }

    /// Reads the start of an array. Arrays of numbers and bools, and empty arrays, are read at once. For others,
    /// returns the frame.
    fn array(
        &self,
        bytes: &[u8],
        cursor: &mut Cursor<'_>,
        depth: u64,
        tail: u64,
    ) -> Result<Option<Frame>, Stop> {
        let offset = cursor.at();
        let encoding = self.header.encoding;
        let most = u64::from(self.limits.max_array_depth.min(MAX_DEPTH));
        self.limit(bytes, offset, "the depth of nested arrays", depth, most)?;
        let what = "type of an array's elements";
        let element = self.value_type(bytes, cursor, what, tail.saturating_add(encoding.length_bytes()))?;
        let len_at = cursor.at();
        let len = self.length(cursor, Field { what: "length of an array", offset: len_at, tail })?;
        self.limit(bytes, len_at, "the length of an array", len, self.limits.max_array_len)?;
        let least = encoding.least_bytes(element);
        self.count(cursor, Count { what: "array elements", offset: len_at, count: len, least, tail })?;
        if len == 0 {
            return Ok(None);
        }
        let Some(size) = element.size() else {
            return Ok(Some(Frame { element, left: len, tail }));
        };
        let (elements_at, needed) = (cursor.at(), len.saturating_mul(size));
        let field = Field { what: "array", offset: elements_at, tail };
        self.take(cursor, field, needed)?;
        Ok(None)
    }

    fn string(&self, bytes: &[u8], cursor: &mut Cursor<'_>, tail: u64) -> Result<(), Stop> {
        let offset = cursor.at();
        let len = self.length(cursor, Field { what: "length of a string", offset, tail })?;
        self.limit(bytes, offset, "the length of a string", len, self.limits.max_string_bytes)?;
        self.take(cursor, Field { what: "string", offset, tail }, len)?;
        Ok(())
    }

    fn value_type(
        &self,
        bytes: &[u8],
        cursor: &mut Cursor<'_>,
        what: &'static str,
        tail: u64,
    ) -> Result<ValueType, Stop> {
        let offset = cursor.at();
        let found = self.number(cursor, Field { what, offset, tail })?;
        ValueType::from_id(found).ok_or_else(|| self.malformed(bytes, offset, Problem::ValueType { found }))
    }

    pub(super) fn index_keys(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        let header = &self.header;
        let index = NameIndex::build(header.keys.len(), |index| header.key_bytes(bytes, index));
        match index.map_err(|_| out_of_memory())? {
            Ok(index) => self.header.key_index = index,
            Err(Duplicate { first, second }) => {
                let key_at = self.header.keys.get(second).map_or(0, |entry| entry.key_at);
                let key = Some(shorten(self.header.key_bytes(bytes, second)));
                return Err(Stop::from(Error::Malformed {
                    file: None,
                    offset: to_u64(key_at).saturating_sub(self.header.encoding.length_bytes()),
                    place: Place::Key { index: to_u64(second), key },
                    problem: Problem::DuplicateKey { first: to_u64(first) },
                }));
            }
        }
        self.state = if self.tensor_count == 0 { State::TensorsEnd } else { State::TensorName };
        Ok(())
    }
}
