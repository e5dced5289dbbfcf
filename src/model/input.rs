//! [`Input`]: a model that is read for conversion or comparison.

use std::fmt;
use std::path::{Path, PathBuf};

use super::job::Origin;
#[cfg(feature = "codecs")]
use super::source::Source;
use crate::error::Result;
use crate::gguf::TensorInfo;
use crate::gguf::index::Gguf;
use crate::gguf::metadata::Metadata;
use crate::gguf::shards::{ShardedGguf, ShardedTensorIter};

/// A model in one or more files, and the files from which its tensors are read.
///
/// Each file is opened once, so the header and the data come from the same file even if its name is taken by another. Headers
/// are read into memory. Data is read on request by a [`Convert`](super::Convert), [`Diff`](super::Diff) or
/// [`Survey`](super::Survey), so that memory does not grow with the model.
///
/// ```no_run
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
/// Convert::new().run(&jobs, &mut data)?;
/// data.finish()?;
/// # Ok::<(), gguf_codec::Error>(())
/// ```
pub struct Input {
    model: ShardedGguf<Vec<u8>>,
    /// The paths of the model's files, in order.
    paths: Vec<PathBuf>,
}

impl Input {
    /// Opens a model by its first shard or only file.
    ///
    /// # Errors
    /// The errors of [`ShardedGguf::open_with`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let mut paths = Vec::new();
        let model = ShardedGguf::open_with(path, |path| {
            paths.push(path.to_owned());
            Gguf::open(path)
        })?;
        Ok(Input { model, paths })
    }

    /// Opens one file as a model of its own, even if it is one of several.
    ///
    /// # Errors
    /// The errors of [`Gguf::open`].
    pub fn open_alone(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Ok(Input { model: Gguf::open(path)?.into(), paths: vec![path.to_owned()] })
    }

    /// The same model, as it was read from these files.
    #[cfg(all(feature = "codecs", feature = "safetensors"))]
    pub(super) fn with_paths(self, paths: Vec<PathBuf>) -> Self {
        Input { paths, ..self }
    }

    /// Returns the contents of the headers.
    pub fn model(&self) -> &ShardedGguf<Vec<u8>> {
        &self.model
    }

    /// Returns the first file's key-value pairs, which are the model's.
    pub fn metadata(&self) -> Metadata<'_> {
        self.model.metadata()
    }

    /// Returns an iterator over the tensors of all files, in order.
    pub fn tensors(&self) -> ShardedTensorIter<'_, Vec<u8>> {
        self.model.tensors()
    }

    /// Returns where the values of one of its tensors are read from.
    ///
    /// # Errors
    /// [`Error::MissingTensor`](crate::Error::MissingTensor) if none of its tensors has that name.
    pub fn origin(&self, tensor: &TensorInfo<'_>) -> Result<Origin<'_>> {
        let shard = self.model.shard_of(tensor.name())?;
        let file = &self.model.shards()[shard];
        Ok(Origin::of(file.source(), tensor))
    }

    /// Returns the paths of its files, in order.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.paths.iter().map(PathBuf::as_path)
    }

    /// Returns the total size of its files in bytes when they were opened.
    pub fn file_len(&self) -> u64 {
        self.model.shards().iter().map(|file| file.file_data().map_or(0, |data| data.end().len)).sum()
    }
}

/// A model whose tensors are read from the source with which it was opened: a file, bytes in memory, or anything that
/// [`Gguf::read_at`] accepts.
///
/// ```
/// use gguf_codec::model::{Input, Split};
/// use gguf_codec::Gguf;
///
/// # let folder = std::env::temp_dir().join(format!("gguf-codec-doc-input-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// let received = std::fs::read("examples/sample.gguf")?; // or ranges that come over a network
/// let len = received.len() as u64;
/// let model = Input::from(Gguf::read_at(received, len)?);
/// assert_eq!(Split::by_tensors(10).run(&model, folder.join("m"))?.len(), 2);
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl From<Gguf<Vec<u8>>> for Input {
    fn from(model: Gguf<Vec<u8>>) -> Self {
        ShardedGguf::from(model).into()
    }
}

impl From<ShardedGguf<Vec<u8>>> for Input {
    fn from(model: ShardedGguf<Vec<u8>>) -> Self {
        Input { paths: model.paths().to_vec(), model }
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
