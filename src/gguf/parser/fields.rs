//! Building blocks for the steps of [`HeaderParser`]: reading fields, checking counts and limits, locating errors.

use super::field::{Count, Field};
use super::{HeaderParser, State, Stop};
use crate::error::{Error, Place, Problem, Result};
use crate::gguf::cursor::Cursor;
use crate::gguf::layout::to_u64;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

impl HeaderParser {
    /// Returns a cursor at the parser's position. It ends with the longest header allowed.
    pub(super) fn cursor<'b>(&self, bytes: &'b [u8]) -> Cursor<'b> {
        let most = usize::try_from(self.limits.max_header_bytes).unwrap_or(usize::MAX);
        Cursor::new(bytes.get(..most).unwrap_or(bytes), self.at, self.header.encoding)
    }

    /// Takes the bytes of a field.
    pub(super) fn take<'b>(&self, cursor: &mut Cursor<'b>, field: Field, len: u64) -> Result<&'b [u8], Stop> {
        let end = to_u64(cursor.at()).saturating_add(len);
        if let Some(taken) = cursor.take_long(len) {
            return Ok(taken);
        }
        self.check_end(cursor.bytes(), field.offset, end)?;
        let remaining = to_u64(cursor.remaining());
        let problem = Problem::Truncated { what: field.what, needed: len, remaining };
        Err(Stop::Short { offset: field.offset, problem, end: end.saturating_add(field.tail) })
    }

    /// Reads a field of 32 bits.
    pub(super) fn number(&self, cursor: &mut Cursor<'_>, field: Field) -> Result<u32, Stop> {
        let mut ahead = *cursor;
        self.take(cursor, field, 4)?;
        Ok(ahead.u32().unwrap_or_default())
    }

    /// Reads a count, a length or a dimension.
    pub(super) fn length(&self, cursor: &mut Cursor<'_>, field: Field) -> Result<u64, Stop> {
        let mut ahead = *cursor;
        self.take(cursor, field, self.header.encoding.length_bytes())?;
        Ok(ahead.length().unwrap_or_default())
    }

    /// Waits until enough bytes for all counted items could be present, so that memory is never reserved, and no loop
    /// run, on the strength of a count alone.
    pub(super) fn count(&self, cursor: &Cursor<'_>, count: Count) -> Result<(), Stop> {
        let needed = count.count.saturating_mul(count.least);
        let whole = needed.saturating_add(count.tail);
        let remaining = to_u64(cursor.remaining());
        if whole <= remaining {
            return Ok(());
        }
        let end = to_u64(cursor.at()).saturating_add(whole);
        self.check_end(cursor.bytes(), count.offset, end)?;
        let remaining = remaining.saturating_sub(count.tail);
        let problem = Problem::Count { what: count.what, count: count.count, needed, remaining };
        Err(Stop::Short { offset: count.offset, problem, end })
    }

    /// Rejects a header that must be longer than the limit. Cursors also end at the limit, so the error is at the
    /// same field regardless of how many bytes are available.
    fn check_end(&self, bytes: &[u8], offset: usize, end: u64) -> Result<(), Stop> {
        self.limit(bytes, offset, "the header's length in bytes", end, self.limits.max_header_bytes)
    }

    pub(super) fn limit(
        &self,
        bytes: &[u8],
        offset: usize,
        what: &'static str,
        found: u64,
        limit: u64,
    ) -> Result<(), Stop> {
        if found <= limit {
            return Ok(());
        }
        let (offset, place) = (to_u64(offset), self.place(bytes));
        Err(Stop::from(Error::Limit { file: None, offset, place, what, found, limit }))
    }

    pub(super) fn malformed(&self, bytes: &[u8], offset: usize, problem: Problem) -> Stop {
        Stop::from(self.error(bytes, offset, problem))
    }

    pub(super) fn error(&self, bytes: &[u8], offset: usize, problem: Problem) -> Error {
        Error::Malformed { file: None, offset: to_u64(offset), place: self.place(bytes), problem }
    }

    /// Returns the parser's position in terms of the header's parts.
    fn place(&self, bytes: &[u8]) -> Place {
        let key = to_u64(self.header.keys.len());
        let tensor = to_u64(self.header.declared());
        match self.state {
            State::Magic | State::Version | State::Counts => Place::Start,
            State::Key | State::KeysEnd => Place::Key { index: key, key: None },
            State::Value { key_at, key_end } | State::Elements { key_at, key_end } => {
                Place::Key { index: key, key: bytes.get(key_at..key_end).map(shorten) }
            }
            State::TensorRest { name_at, name_len } => {
                let name = bytes.get(name_at..name_at + usize::from(name_len)).map(shorten);
                Place::Tensor { index: tensor, name }
            }
            State::TensorName | State::TensorsEnd | State::Done => {
                Place::Tensor { index: tensor, name: None }
            }
        }
    }

    /// Returns the fewest bytes that the header needs after the current pair.
    pub(super) fn tail_of_pair(&self) -> u64 {
        let left = self.key_count.saturating_sub(to_u64(self.header.keys.len()) + 1);
        left.saturating_mul(self.header.encoding.least_pair_bytes())
            .saturating_add(self.tensor_count.saturating_mul(self.header.encoding.least_tensor_bytes()))
    }

    /// Returns the fewest bytes that the header needs after the current tensor.
    pub(super) fn tail_of_tensor(&self) -> u64 {
        let left = self.tensor_count.saturating_sub(to_u64(self.header.declared()) + 1);
        left.saturating_mul(self.header.encoding.least_tensor_bytes())
    }
}

/// Appends to a list that will have `count` entries. The list grows by half instead of doubling. Both copies exist
/// while it is moved, and this keeps entries of 24 bytes for every 10 in the file within the memory bound.
pub(super) fn push<T>(list: &mut Vec<T>, entry: T, count: u64) -> Result<()> {
    if list.len() == list.capacity() {
        let left = usize::try_from(count).unwrap_or(usize::MAX).saturating_sub(list.len());
        let room = (list.len() / 2 + 4).min(left.max(1));
        list.try_reserve_exact(room).map_err(|_| out_of_memory())?;
    }
    list.push(entry);
    Ok(())
}

pub(super) fn out_of_memory() -> Error {
    Error::OutOfMemory { what: "the header" }
}

/// Shortens a name for an error. A malicious name may be a gigabyte long, and the message would be as long.
pub(super) fn shorten(name: &[u8]) -> String {
    const MOST: usize = 256;
    match name.get(..MOST) {
        Some(start) if name.len() > MOST => format!("{}…", String::from_utf8_lossy(start)),
        _ => String::from_utf8_lossy(name).into_owned(),
    }
}
