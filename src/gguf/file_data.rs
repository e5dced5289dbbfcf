//! [`FileData`]: the tensor data of a file, read on request.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::OnceLock;

use super::index::Gguf;
use super::layout::{FinalPadding, align_up, to_u64};
use super::options::GgufOptions;
use super::parser::{HeaderParser, HeaderProgress};
use crate::error::{Error, Result};
use crate::file::read_at::ReadAt;
use crate::tensor::{StoredTensor, TensorSource};

/// The size of the first read. Most headers without a vocabulary are shorter.
const FIRST_READ: usize = 64 * 1024;

/// A source of tensor bytes whose header is in memory.
pub(crate) struct FileData {
    pub(crate) source: Box<dyn ReadAt>,
    /// The suffix that names the source in messages: ` of 'model.gguf'`, or empty.
    of: String,
    /// Where the GGUF begins in the source.
    start: u64,
    end: End,
    /// The tensors that were requested as slices.
    loaded: Box<[OnceLock<Loaded>]>,
}

/// What follows the tensors in a file.
pub(crate) struct End {
    /// Bytes from the start of the GGUF to the end of the file.
    pub(crate) len: u64,
    pub(crate) final_padding: FinalPadding,
    /// The bytes that belong to no tensor, counted from the start of the GGUF.
    pub(crate) trailing: Range<u64>,
    /// Whether another GGUF begins there.
    pub(super) is_joined: bool,
}

/// A tensor's bytes in memory aligned for any plain type.
struct Loaded {
    words: Vec<u64>,
    len: usize,
}

impl Loaded {
    fn bytes(&self) -> &[u8] {
        bytemuck::cast_slice(&self.words).get(..self.len).unwrap_or_default()
    }
}

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

impl FileData {
    /// `of` names the source in messages.
    pub(super) fn new(source: Box<dyn ReadAt>, of: String, start: u64, end: End, tensors: usize) -> Self {
        let loaded = (0..tensors).map(|_| OnceLock::new()).collect();
        FileData { source, of, start, end, loaded }
    }

    pub(crate) fn end(&self) -> &End {
        &self.end
    }

    fn failed(&self, tensor: StoredTensor<'_>, error: io::Error) -> Error {
        let error = match error.kind() {
            io::ErrorKind::UnexpectedEof => io::Error::new(
                error.kind(),
                "the file ends before it does, and was longer when it was opened",
            ),
            _ => error,
        };
        Error::io(format!("read tensor '{}'{}", tensor.name.escape_debug(), self.of), error)
    }
}

impl TensorSource for FileData {
    fn read(&self, tensor: StoredTensor<'_>, at: u64, buffer: &mut [u8]) -> Result<()> {
        if buffer.is_empty() {
            return Ok(());
        }
        let at = self.start.saturating_add(tensor.offset).saturating_add(at);
        self.source.fill_at(buffer, at).map_err(|error| self.failed(tensor, error))
    }

    fn load(&self, tensor: StoredTensor<'_>) -> Result<&[u8]> {
        let no_room = || Error::OutOfMemory { what: "the tensor" };
        let Some(cell) = self.loaded.get(tensor.index) else { return Ok(&[]) };
        if let Some(loaded) = cell.get() {
            return Ok(loaded.bytes());
        }
        let len = usize::try_from(tensor.len).map_err(|_| no_room())?;
        let mut words = Vec::new();
        words.try_reserve_exact(len.div_ceil(8)).map_err(|_| no_room())?;
        words.resize(len.div_ceil(8), 0u64);
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
        self.read(tensor, 0, bytes.get_mut(..len).unwrap_or_default())?;
        // If two threads read the tensor at once, the first result is kept.
        Ok(cell.get_or_init(|| Loaded { words, len }).bytes())
    }

    fn loaded(&self, tensor: StoredTensor<'_>) -> Option<&[u8]> {
        Some(self.loaded.get(tensor.index)?.get()?.bytes())
    }
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
