//! The binary form, which llama.cpp wrote until 2025: counted entries of name, calls and values, then the number of chunks
//! and the name of the text. Numbers are little-endian and 32 bits long; there is no magic.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::{CHUNK_SIZE, Imatrix, wrong};
use crate::error::Result;

/// Names in it are those of tensors.
const MAX_NAME: usize = 4096;

const ENTRIES: &str = "the number of tensors";

pub(super) fn parse(bytes: &[u8]) -> Result<Imatrix> {
    let mut cursor = Cursor { bytes, at: 0 };
    let mut imatrix = Imatrix::new();
    let entries = cursor.count(ENTRIES, usize::MAX)?;
    for _ in 0..entries {
        let name = cursor.name()?;
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

/// As much of a file as shows whether it is of this form.
#[cfg(feature = "std")]
pub(super) const BEGINNING: usize = 8 + MAX_NAME;

/// Returns the error of [`parse`] for a file that begins so, if the first [`BEGINNING`] bytes show one.
#[cfg(feature = "std")]
pub(super) fn check_beginning(bytes: &[u8]) -> Result<()> {
    let mut cursor = Cursor { bytes, at: 0 };
    cursor.count(ENTRIES, usize::MAX)?;
    cursor.name().map(drop)
}

pub(super) fn encode(imatrix: &Imatrix) -> Result<Vec<u8>> {
    let entries = imatrix.entries();
    if entries.is_empty() {
        return Err(wrong(None, "the binary form cannot be empty, and there is no tensor".into()));
    }
    let mut bytes = Vec::new();
    let put = |bytes: &mut Vec<u8>, what: &str, number: usize| match i32::try_from(number) {
        Ok(number) => {
            bytes.extend(number.to_le_bytes());
            Ok(())
        }
        Err(_) => Err(wrong(None, format!("{what} is {number}, which the binary form cannot hold"))),
    };
    put(&mut bytes, ENTRIES, entries.len())?;
    for entry in entries {
        put(&mut bytes, "the length of a name", entry.name.len())?;
        bytes.extend(entry.name.as_bytes());
        let most = entry.counts.iter().copied().fold(0.0, f32::max);
        // Chunks that are not whole count as such, so that what was asked a little is not asked never.
        let calls = (most as u64).div_ceil(imatrix.chunk_size.max(1).into()).max(1);
        put(&mut bytes, "the number of calls", usize::try_from(calls).unwrap_or(usize::MAX))?;
        put(&mut bytes, "the number of values", entry.sums.len())?;
        let columns = (entry.sums.len() / entry.counts.len().max(1)).max(1);
        for (sums, &count) in entry.sums.chunks(columns).zip(&entry.counts) {
            for &sum in sums {
                // A matrix that no token came by has weights of 1. In f64, so that what was read comes out as it was.
                let mean = if count > 0.0 { f64::from(sum) / f64::from(count) } else { 1.0 };
                bytes.extend(((mean * calls as f64) as f32).to_le_bytes());
            }
        }
    }
    put(&mut bytes, "the number of chunks", imatrix.chunk_count as usize)?;
    let dataset = imatrix.datasets.last().map_or("", String::as_str);
    put(&mut bytes, "the length of the dataset's name", dataset.len())?;
    bytes.extend(dataset.as_bytes());
    Ok(bytes)
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

    /// A tensor's name, after its length.
    fn name(&mut self) -> Result<&'a str> {
        let len = self.count("the length of a name", MAX_NAME)?;
        let at = self.at as u64;
        let name = core::str::from_utf8(self.take(len, "a name")?);
        name.map_err(|_| wrong(Some(at), "a tensor's name is not UTF-8".into()))
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
