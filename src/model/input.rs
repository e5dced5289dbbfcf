//! [`Input`]: a model that is read to be converted or compared.

use std::fmt;
use std::path::{Path, PathBuf};

use super::job::Origin;
#[cfg(feature = "codecs")]
use super::source::Source;
use crate::{Gguf, Metadata, Result, ShardedGguf, ShardedTensorIter, TensorInfo};

/// A model in one file or several, and the files that its tensors are read from.
///
/// Each file is opened once: the header and the data are of the same one, whatever becomes of its name meanwhile. Headers are
/// read into memory, and data when a [`Convert`](super::Convert), [`Diff`](super::Diff) or [`Survey`](super::Survey) asks for
/// it, so that memory does not grow with the model.
///
/// ```no_run
/// use std::ops::ControlFlow;
/// use gguf_codec::model::{Convert, Input, Job};
/// use gguf_codec::{GgmlType, Writer};
///
/// let input = Input::open("model-00001-of-00003.gguf")?;
/// let jobs = input.tensors().map(|tensor| Ok(Job::new(tensor.name(), input.origin(&tensor)?, GgmlType::Q8_0)));
/// let jobs = jobs.collect::<Result<Vec<_>, gguf_codec::Error>>()?;
///
/// let mut writer = Writer::create("model-Q8_0.gguf")?;
/// writer.copy_sharded_metadata_from(input.model())?;
/// for job in &jobs {
///     writer.declare_tensor(job.name(), job.shape().dims(), job.ggml_type())?;
/// }
/// let mut data = writer.write_header()?;
/// Convert::new().run(&jobs, &mut data, |_bytes| ControlFlow::Continue(()))?;
/// data.finish()?;
/// # Ok::<(), gguf_codec::Error>(())
/// ```
pub struct Input {
    model: ShardedGguf<Vec<u8>>,
    /// One for each file of the model, in their order.
    paths: Vec<PathBuf>,
}

impl Input {
    /// Opens a model by its first shard or only file.
    ///
    /// # Errors
    /// As [`ShardedGguf::open_with`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let mut paths = Vec::new();
        let model = ShardedGguf::open_with(path, |path| {
            paths.push(path.to_owned());
            Gguf::open(path)
        })?;
        Ok(Input { model, paths })
    }

    /// One file as a model of its own, even if it is one of several.
    ///
    /// # Errors
    /// As [`Gguf::open`].
    pub fn open_alone(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Ok(Input { model: Gguf::open(path)?.into(), paths: vec![path.to_owned()] })
    }

    /// What the headers say.
    pub fn model(&self) -> &ShardedGguf<Vec<u8>> {
        &self.model
    }

    /// The first file's key-value pairs, which are the model's.
    pub fn metadata(&self) -> Metadata<'_> {
        self.model.metadata()
    }

    /// The tensors of all files, in their order.
    pub fn tensors(&self) -> ShardedTensorIter<'_, Vec<u8>> {
        self.model.tensors()
    }

    /// Where the values of one of its tensors are read from.
    ///
    /// # Errors
    /// [`Error::MissingTensor`](crate::Error::MissingTensor) where none of its tensors has that name.
    pub fn origin(&self, tensor: &TensorInfo<'_>) -> Result<Origin<'_>> {
        let shard = self.model.shard_of(tensor.name())?;
        let file = &self.model.shards()[shard];
        Ok(Origin::of(file.source(), tensor))
    }

    /// The paths of its files, in their order.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.paths.iter().map(PathBuf::as_path)
    }

    /// Bytes of all its files, when they were opened.
    pub fn file_len(&self) -> u64 {
        self.model.shards().iter().map(|file| file.file_data().map_or(0, |data| data.end().len)).sum()
    }
}

#[cfg(feature = "codecs")]
impl Source for Input {
    type Bytes = Vec<u8>;

    fn model(&self) -> &ShardedGguf<Vec<u8>> {
        self.model()
    }

    fn origin(&self, tensor: &TensorInfo<'_>) -> Result<Origin<'_>> {
        self.origin(tensor)
    }

    fn validate(&self, tensor: &TensorInfo<'_>) -> Result<()> {
        self.model.tensor(tensor.name())?.validate()
    }

    fn paths(&self) -> impl Iterator<Item = &Path> {
        self.paths()
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input").field("model", &self.model).finish_non_exhaustive()
    }
}
