//! [`ForeignTensor`]: a tensor of the table that this crate cannot read as one.

use alloc::vec::Vec;

use crate::GgmlType;
use crate::error::Problem;

/// A tensor that this crate cannot read, though it is known where it lies: of a type that is not ggml's, as forks have them, or
/// with more than four dimensions, as stable-diffusion.cpp and ComfyUI-GGUF know them.
///
/// Files with such tensors are refused, as ggml does, except with
/// [`GgufOptions::foreign_tensors`](crate::GgufOptions::foreign_tensors).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignTensor<'a> {
    pub(crate) name: &'a str,
    pub(crate) extents: Vec<u64>,
    pub(crate) type_id: u32,
    pub(crate) file_offset: u64,
    pub(crate) byte_len: Option<u64>,
    pub(crate) problem: Problem,
}

impl<'a> ForeignTensor<'a> {
    /// Its name.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Its extents, innermost first, of which there may be more than four.
    pub fn extents(&self) -> &[u64] {
        &self.extents
    }

    /// The number of its type.
    pub fn type_id(&self) -> u32 {
        self.type_id
    }

    /// Its type, where it is one that ggml has.
    pub fn ggml_type(&self) -> Option<GgmlType> {
        GgmlType::try_from(self.type_id).ok()
    }

    /// Where its data begins, in bytes from the start of the GGUF.
    pub fn file_offset(&self) -> u64 {
        self.file_offset
    }

    /// Bytes of its data. Where the type is unknown these are all bytes up to the next tensor or the end of the file; that is not
    /// known where only the header was read.
    pub fn byte_len(&self) -> Option<u64> {
        self.byte_len
    }

    /// Why it cannot be read.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }
}
