//! [`Source`]: a model that a job reads, in any format.

use std::path::Path;

use super::job::Origin;
use crate::error::Result;
use crate::gguf::TensorInfo;
use crate::gguf::shards::ShardedGguf;

/// A model that a job reads: the contents of its GGUF headers, and where its tensors' values are.
///
/// [`Input`](super::Input) implements it for GGUF files. With the feature `safetensors`, `hf::ImportPlan::converted`
/// returns one for a Hugging Face model, converted on the fly.
pub trait Source {
    /// The storage of the header's bytes.
    type Bytes: AsRef<[u8]>;

    /// Returns the contents of the headers.
    fn model(&self) -> &ShardedGguf<Self::Bytes>;

    /// Returns where the values of one of its tensors are read from.
    ///
    /// # Errors
    /// [`Error::MissingTensor`](crate::Error::MissingTensor) if none of its tensors has that name.
    fn origin(&self, tensor: &TensorInfo<'_>) -> Result<Origin<'_>>;

    /// Reads a tensor and checks that its values and scales are finite.
    ///
    /// # Errors
    /// [`Error::InvalidBlock`](crate::Error::InvalidBlock) for a block that does not represent numbers; those of reading.
    fn validate(&self, tensor: &TensorInfo<'_>) -> Result<()>;

    /// Returns the files that are read, so that none is overwritten. The caller must add any files that this does not know.
    fn paths(&self) -> impl Iterator<Item = &Path>;
}
