//! [`FileData`]: the tensor data of a file, read on request.

use std::io;
use std::ops::Range;
use std::sync::OnceLock;

use super::layout::FinalPadding;
use crate::error::{Error, Result};
use crate::file::read_at::ReadAt;
use crate::tensor::{StoredTensor, TensorSource};

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
