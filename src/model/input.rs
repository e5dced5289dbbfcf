//! [`Input`]: a model that is read to be converted or compared.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::job::Origin;
#[cfg(feature = "codecs")]
use super::source::Source;
use crate::{Error, Gguf, Mapped, Metadata, ReadAt, Result, ShardedGguf, ShardedTensorIter, TensorInfo};

/// A model in one file or several, and the files that its tensors are read from.
///
/// Each file is opened once: the header and the data are of the same one, whatever becomes of its name meanwhile. Headers are
/// mapped, and data is read when a [`Convert`](super::Convert), [`Diff`](super::Diff) or [`Survey`](super::Survey) asks for
/// it, so that memory does not grow with the model. What [`Gguf::open`] says of changes to the file holds here too.
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
    model: ShardedGguf<Mapped>,
    /// One for each file of the model, in their order.
    files: Vec<(PathBuf, Option<File>)>,
    len: u64,
}

/// A process may have only so many files open, a thousand as a rule. Of the shards beyond these the mapping is read.
const MOST_OPEN: usize = 100;

impl Input {
    /// Opens a model by its first shard or only file.
    ///
    /// # Errors
    /// As [`ShardedGguf::open_with`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let (mut files, mut len) = (Vec::new(), 0);
        let model = ShardedGguf::open_with(path, |path| {
            let (file, model) = Gguf::open_with_file(path)?;
            len += len_of(path, &file)?;
            let is_kept = files.len() < MOST_OPEN;
            files.push((path.to_owned(), is_kept.then_some(file)));
            Ok(model)
        })?;
        Ok(Input { model, files, len })
    }

    /// One file as a model of its own, even if it is one of several.
    ///
    /// # Errors
    /// As [`Gguf::open`].
    pub fn open_alone(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let (file, model) = Gguf::open_with_file(path)?;
        let len = len_of(path, &file)?;
        Ok(Input { model: model.into(), files: vec![(path.to_owned(), Some(file))], len })
    }

    /// What the headers say.
    pub fn model(&self) -> &ShardedGguf<Mapped> {
        &self.model
    }

    /// The first file's key-value pairs, which are the model's.
    pub fn metadata(&self) -> Metadata<'_> {
        self.model.metadata()
    }

    /// The tensors of all files, in their order.
    pub fn tensors(&self) -> ShardedTensorIter<'_, Mapped> {
        self.model.tensors()
    }

    /// Where the values of one of its tensors are read from.
    ///
    /// # Errors
    /// [`Error::MissingTensor`] where none of its tensors has that name.
    pub fn origin(&self, tensor: &TensorInfo<'_>) -> Result<Origin<'_>> {
        let shard = self.model.shard_of(tensor.name())?;
        Ok(match &self.files[shard].1 {
            Some(file) => Origin::of(file, tensor),
            None => Origin::of(&self.model.shards()[shard].bytes, tensor),
        })
    }

    /// The paths of its files, in their order.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|(path, _)| path.as_path())
    }

    /// Bytes of all its files, when they were opened.
    pub fn file_len(&self) -> u64 {
        self.len
    }
}

#[cfg(feature = "codecs")]
impl Source for Input {
    type Bytes = Mapped;

    fn model(&self) -> &ShardedGguf<Mapped> {
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

fn len_of(path: &Path, file: &File) -> Result<u64> {
    let metadata = file.metadata();
    let failed = |error| Error::io(format!("ask how long '{}' is", path.display()), error);
    Ok(metadata.map_err(failed)?.len())
}

impl ReadAt for Mapped {
    fn fill_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.as_ref().fill_at(buffer, offset)
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input").field("model", &self.model).finish_non_exhaustive()
    }
}
