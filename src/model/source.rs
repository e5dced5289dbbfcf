//! [`Source`]: a model that a job reads, whatever it is stored as.

use std::path::Path;

use super::job::Origin;
use crate::error::Result;
use crate::gguf::{ShardedGguf, TensorInfo};

/// A model that a job reads: what a GGUF of it says, and where its tensors' values are.
///
/// [`Input`](super::Input) is one of GGUF files. With the feature `safetensors`,
/// `hf::ImportPlan::converted` is one of a Hugging Face model on its way.
pub trait Source {
    /// What holds the bytes of the header.
    type Bytes: AsRef<[u8]>;

    /// Returns what the header says.
    fn model(&self) -> &ShardedGguf<Self::Bytes>;

    /// Returns where the values of one of its tensors are read from.
    ///
    /// # Errors
    /// [`Error::MissingTensor`](crate::Error::MissingTensor) where none of its tensors has that name.
    fn origin(&self, tensor: &TensorInfo<'_>) -> Result<Origin<'_>>;

    /// Reads a tensor and checks that its values and scales are finite.
    ///
    /// # Errors
    /// [`Error::InvalidBlock`](crate::Error::InvalidBlock) for a block that no reader can make numbers of; those of reading.
    fn validate(&self, tensor: &TensorInfo<'_>) -> Result<()>;

    /// Returns the files that are read, so that none is written. Those that it does not know are added by the caller.
    fn paths(&self) -> impl Iterator<Item = &Path>;
}
