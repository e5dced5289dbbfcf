//! The binary form, which llama.cpp wrote until 2025: counted entries of name, calls and values, then the number of chunks
//! and the name of the text. Numbers are little-endian and 32 bits long; there is no magic.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::{CHUNK_SIZE, Imatrix, wrong};
use crate::Result;

/// Names in it are those of tensors.
const MAX_NAME: usize = 4096;

pub(super) fn parse(bytes: &[u8]) -> Result<Imatrix> {
    let mut cursor = Cursor { bytes, at: 0 };
    let mut imatrix = Imatrix::new();
    let entries = cursor.count("the number of tensors", usize::MAX)?;
    for _ in 0..entries {
        let len = cursor.count("the length of a name", MAX_NAME)?;
        let name_at = cursor.at;
        let name = core::str::from_utf8(cursor.take(len, "a name")?)
            .map_err(|_| wrong(Some(name_at as u64), "a tensor's name is not UTF-8".into()))?;
        let calls = cursor.number("the number of calls")?;
        let values = cursor.count("the number of values", usize::MAX)?;
        let values_at = cursor.at;
        let values = cursor.take(values.saturating_mul(4), "a tensor's values")?.as_chunks().0;
        let values: Vec<f32> = values.iter().map(|&value| f32::from_le_bytes(value)).collect();
        if let Some(at) = values.iter().position(|value| !value.is_finite() || *value < 0.0) {
            let (name, value) = (name.escape_debug(), values[at]);
            let message = format!("value {at} of tensor '{name}' is {value}, and must be a number from 0 up");
            return Err(wrong(Some((values_at + 4 * at) as u64), message));
        }
        // The values are means of chunks times calls. Two to some power more of both is what the other form has, and divides
        // out without a trace; where it is too much, without it.
        let most = values.iter().copied().fold(0.0, f32::max);
        let chunk = if most < f32::MAX / CHUNK_SIZE as f32 { CHUNK_SIZE as f32 } else { 1.0 };
        let sums = values.iter().map(|value| value * chunk).collect();
        imatrix.add(name, sums, vec![calls.max(1) as f32 * chunk], None)?;
    }
    // Files from before April 2024 end here.
    if cursor.at < bytes.len() {
        imatrix.chunk_count = u32::try_from(cursor.number("the number of chunks")?.max(0)).unwrap_or(0);
        let len = cursor.number("the length of the dataset's name")?.max(0) as usize;
        let dataset = String::from_utf8_lossy(cursor.take(len, "the dataset's name")?);
        imatrix.datasets.extend(Some(dataset.into_owned()).filter(|name| !name.is_empty()));
    }
    Ok(imatrix)
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize, what: &str) -> Result<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let Some(taken) = rest.get(..len) else {
            let message = format!("{what} is {len} bytes long, and {} are left", rest.len());
            return Err(wrong(Some(self.at as u64), message));
        };
        self.at += len;
        Ok(taken)
    }

    fn number(&mut self, what: &str) -> Result<i32> {
        let bytes = self.take(4, what)?;
        Ok(bytes.iter().rev().fold(0i32, |number, &byte| number << 8 | i32::from(byte)))
    }

    /// A number from 1 to `most`.
    fn count(&mut self, what: &str, most: usize) -> Result<usize> {
        let at = self.at as u64;
        let number = self.number(what)?;
        match usize::try_from(number) {
            Ok(count) if count >= 1 && count <= most => Ok(count),
            _ => Err(wrong(
                Some(at),
                format!("{what} is {number}: this is no importance matrix of either form"),
            )),
        }
    }
}
