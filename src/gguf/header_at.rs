//! Reads the header of a file, and what follows its tensors, at offsets.

use std::io::{self, Read};

use super::file_data::End;
use super::index::Gguf;
use super::layout::{FinalPadding, align_up, to_u64};
use super::options::GgufOptions;
use super::parser::{HeaderParser, HeaderProgress};
use crate::error::{Error, Result};
use crate::file::read_at::ReadAt;

/// The size of the first read. Most headers without a vocabulary are shorter.
const FIRST_READ: usize = 64 * 1024;

/// Reads the header of a GGUF and checks that its data fits within the source, which has `len` bytes.
pub(super) fn read_header(
    source: &dyn ReadAt,
    len: u64,
    options: &GgufOptions,
) -> Result<(Gguf<Vec<u8>>, End)> {
    let start = options.offset;
    let whole = len.saturating_sub(start);
    let mut parser = HeaderParser::new(options.limits).foreign_tensors(options.foreign);
    let mut bytes = Vec::new();
    while let HeaderProgress::NeedMore(more) = parser.advance(&bytes)? {
        // Fewer reads are better than fewer bytes. Memory for the size that the header declares is reserved only up
        // to the file's length.
        let wanted = usize::try_from(more).unwrap_or(usize::MAX).max(bytes.len() / 2).max(FIRST_READ);
        let left = whole.saturating_sub(to_u64(bytes.len()));
        let now = wanted.min(usize::try_from(left).unwrap_or(usize::MAX));
        if now == 0 {
            break;
        }
        bytes.try_reserve_exact(now).map_err(|_| Error::OutOfMemory { what: "the header" })?;
        let at = bytes.len();
        bytes.resize(at + now, 0);
        let part = bytes.get_mut(at..).unwrap_or_default();
        source.fill_at(part, start + to_u64(at)).map_err(|error| Error::io("read the header", error))?;
    }
    options.check_offset(&bytes, len)?;
    let mut model = parser.finish(bytes)?;
    let header_len = usize::try_from(model.header_len()).unwrap_or(usize::MAX);
    model.bytes.truncate(header_len);
    model.bytes.shrink_to_fit();
    model.header.check_data(&model.bytes, whole)?;

    let data_end = model.header.data_end(&model.bytes).unwrap_or(whole);
    let wanted = align_up(data_end, model.alignment()).unwrap_or(data_end) - data_end;
    let padding =
        Sequential { source, at: start + data_end, end: len.min((start + data_end).saturating_add(wanted)) };
    let failed = |error| Error::io("read what follows the tensors", error);
    let zeros = count_zeros(padding).map_err(failed)?;
    let final_padding = if zeros == wanted { FinalPadding::Whole } else { FinalPadding::Zeros(zeros) };
    let trailing = data_end.saturating_add(zeros).min(whole)..whole;
    let mut magic = [0; 4];
    let is_long = trailing.end - trailing.start >= 4;
    if is_long {
        source.fill_at(&mut magic, start + trailing.start).map_err(failed)?;
    }
    let end = End { len: whole, final_padding, trailing, is_joined: is_long && magic == *b"GGUF" };
    Ok((model, end))
}

/// Reads a source sequentially from one position to another.
struct Sequential<'a> {
    source: &'a dyn ReadAt,
    at: u64,
    end: u64,
}

impl Read for Sequential<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let now = buffer.len().min(left);
        self.source.fill_at(&mut buffer[..now], self.at)?;
        self.at += to_u64(now);
        Ok(now)
    }
}

/// Counts the zeros at the start of a reader.
fn count_zeros(mut reader: impl Read) -> io::Result<u64> {
    let mut buffer = [0; 4096];
    let mut zeros = 0;
    loop {
        let read = reader.read(&mut buffer)?;
        let more = buffer[..read].iter().take_while(|&&byte| byte == 0).count();
        zeros += to_u64(more);
        if more < read || read == 0 {
            return Ok(zeros);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_counted_up_to_the_first_other_byte() {
        for zeros in [0, 1, 4095, 4096, 4097, 8192, 10_000] {
            let bytes = vec![0; zeros];
            let followed = [&bytes[..], &[1], &[0; 5000]].concat();
            for bytes in [bytes, followed] {
                assert_eq!(count_zeros(&bytes[..]).unwrap(), to_u64(zeros), "{} bytes", bytes.len());
            }
        }
    }
}
