//! [`Indexed`]: a file whose header is in memory and whose data is not.

use std::fs::File;
use std::path::Path;

use super::file_data::End;
use super::header_at::read_header;
use super::index::Gguf;
use super::layout::{FinalPadding, MAX_NAME_BYTES};
use crate::error::{Error, Result};
use crate::file::regular::{READ_HEADER, expect_regular};

/// A file that may change while it is open. Nothing relies on its contents staying the same.
pub(crate) struct Indexed {
    pub(crate) file: File,
    /// The parsed header. Every tensor's data is within the file.
    pub(crate) model: Gguf<Vec<u8>>,
    pub(crate) final_padding: FinalPadding,
    /// The number of bytes after the data and its padding.
    pub(crate) trailing: u64,
}

impl Indexed {
    /// Opens a regular file.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let open = || expect_regular(path, READ_HEADER).and_then(|()| File::open(path));
        let file = open().map_err(|error| Error::io(format!("open '{}'", path.display()), error))?;
        Self::of(file).map_err(|error| error.of(path))
    }

    /// Like [`open`](Self::open), for a file that is already open.
    pub(crate) fn of(file: File) -> Result<Self> {
        let len = file.metadata().map_err(|error| Error::io("ask how long the file is", error))?.len();
        let mut options = Gguf::options();
        options.foreign_tensors(true);
        let (model, End { final_padding, trailing, .. }) = read_header(&file, len, &options)?;
        Ok(Indexed { file, model, final_padding, trailing: trailing.end - trailing.start })
    }

    /// Returns the number of tensors in the table.
    pub(crate) fn declared(&self) -> usize {
        self.model.header.declared()
    }

    /// Returns `true` if there is a tensor that ggml would reject for its type, dimensions or name.
    pub(crate) fn has_foreign(&self) -> bool {
        !self.an_unreadable_tensor().is_empty()
    }

    /// Returns the first such tensor's name, or nothing.
    pub(crate) fn an_unreadable_tensor(&self) -> &str {
        let header = &self.model.header;
        let long = header.tensors.iter().position(|entry| u64::from(entry.name_len) > MAX_NAME_BYTES);
        let first = long.or((!header.foreign.is_empty()).then_some(header.tensors.len()));
        let name = first.map(|index| header.name_bytes(&self.model.bytes, index)).unwrap_or_default();
        std::str::from_utf8(name).unwrap_or_default()
    }

    /// Returns the file's current length.
    pub(crate) fn len(&self) -> Result<u64> {
        let metadata = self.file.metadata().map_err(|error| Error::io("ask how long the file is", error))?;
        Ok(metadata.len())
    }
}
