//! [`ForeignTensor`]: a tensor of the table that this crate cannot read.

use alloc::vec::Vec;

use crate::error::Problem;
use crate::ggml_type::GgmlType;

/// A tensor that this crate cannot read although its location is known. Either its type is not one of ggml's, as in forks, or
/// it has more than four dimensions, as in files of stable-diffusion.cpp and ComfyUI-GGUF.
///
/// Files with such tensors are rejected, as ggml does, unless
/// [`GgufOptions::foreign_tensors`](crate::GgufOptions::foreign_tensors) allows them.
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
    /// Returns the tensor's name.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Returns the extents, innermost first. There may be more than four.
    pub fn extents(&self) -> &[u64] {
        &self.extents
    }

    /// Returns the number of the tensor's type.
    pub fn type_id(&self) -> u32 {
        self.type_id
    }

    /// Returns the tensor's type if it is one of ggml's.
    pub fn ggml_type(&self) -> Option<GgmlType> {
        GgmlType::try_from(self.type_id).ok()
    }

    /// Returns the offset of the data, in bytes from the start of the GGUF.
    pub fn file_offset(&self) -> u64 {
        self.file_offset
    }

    /// Returns the size of the data in bytes. For an unknown type the data extends to the next tensor or the end of the file. The
    /// end is unknown if only the header was read.
    pub fn byte_len(&self) -> Option<u64> {
        self.byte_len
    }

    /// Returns the reason why the tensor cannot be read.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }
}
