//! [`Indexed`]: a file whose header is in memory and whose data is not.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::index::Gguf;
use super::layout::{FinalPadding, MAX_NAME_BYTES, align_up, to_u64};

use crate::error::{Error, Result};
use crate::file::read_at::ReadAt;
use crate::file::regular::{READ_HEADER, expect_regular};

/// A file that is not mapped, so that it may change, and be changed, where nobody relies on it.
pub(crate) struct Indexed {
    pub(crate) file: File,
    /// Of the header alone; every tensor's data lies within the file.
    pub(crate) model: Gguf<Vec<u8>>,
    pub(crate) final_padding: FinalPadding,
    /// How many bytes follow the data and its padding.
    pub(crate) trailing: u64,
}

impl Indexed {
    /// Opens a regular file.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let open = || expect_regular(path, READ_HEADER).and_then(|()| File::open(path));
        Self::of(open().map_err(|error| Error::io(format!("open '{}'", path.display()), error))?)
    }

    /// As [`open`](Self::open), of a file that is open.
    pub(crate) fn of(file: File) -> Result<Self> {
        let len = file.metadata().map_err(|error| Error::io("ask how long the file is", error))?.len();
        let model = Gguf::options().foreign_tensors(true).read_header(Sequential {
            source: &file,
            at: 0,
            end: len,
        })?;
        model.header.check_data(&model.bytes, len)?;
        let end = model.header.data_end(&model.bytes).unwrap_or(len);
        let wanted = align_up(end, model.alignment()).unwrap_or(end) - end;
        let behind = Sequential { source: &file, at: end, end: len.min(end.saturating_add(wanted)) };
        let zeros =
            count_zeros(behind).map_err(|error| Error::io("read what is behind the tensors", error))?;
        let final_padding = if zeros == wanted { FinalPadding::Whole } else { FinalPadding::Zeros(zeros) };
        let trailing = len.saturating_sub(end.saturating_add(zeros));
        Ok(Indexed { file, model, final_padding, trailing })
    }

    /// Tensors in the table.
    pub(crate) fn declared(&self) -> usize {
        self.model.header.declared()
    }

    /// Whether a tensor is there that ggml would refuse, by its type, dimensions or name.
    pub(crate) fn has_foreign(&self) -> bool {
        !self.an_unreadable_tensor().is_empty()
    }

    /// The first such tensor's name, or nothing.
    pub(crate) fn an_unreadable_tensor(&self) -> &str {
        let header = &self.model.header;
        let long = header.tensors.iter().position(|entry| u64::from(entry.name_len) > MAX_NAME_BYTES);
        let first = long.or((!header.foreign.is_empty()).then_some(header.tensors.len()));
        let name = first.map(|index| header.name_bytes(&self.model.bytes, index)).unwrap_or_default();
        std::str::from_utf8(name).unwrap_or_default()
    }

    /// The file's length now.
    pub(crate) fn len(&self) -> Result<u64> {
        let metadata = self.file.metadata().map_err(|error| Error::io("ask how long the file is", error))?;
        Ok(metadata.len())
    }
}

/// Reads a source from one place to another.
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

/// The zeros that a reader begins with.
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
