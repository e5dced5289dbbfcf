//! [`ShardedGguf`]: several files as one model.

use std::fmt;
use std::io;
use std::iter::FusedIterator;
use std::path::{Path, PathBuf};

use super::checked::{Checked, Set, holder, missing, name_at, shown};
use super::names::ShardPaths;
use crate::error::{Error, Measured, Result, ShardProblem};
use crate::file::identity::FileId;
#[cfg(feature = "mmap")]
use crate::file::map::{Advice, Mapped};
use crate::gguf::foreign::ForeignTensor;
use crate::gguf::from_value::FromValue;
use crate::gguf::index::Gguf;
use crate::gguf::metadata::Metadata;
use crate::gguf::name_index::NameIndex;
use crate::gguf::tensor_info::TensorInfo;
use crate::gguf::tensor_iter::TensorIter;
use crate::tensor::Tensor;

/// A model in several files, each a GGUF, presented as one: the metadata of the first, the tensors of all.
///
/// A model in a single file works too, so programs need not distinguish the two.
///
/// ```no_run
/// use gguf_codec::ShardedGguf;
///
/// let model = ShardedGguf::open("llama-00001-of-00003.gguf")?;
/// let layers: u32 = model.metadata().require("llama.block_count")?;
/// let tensor = model.tensor("output.weight")?; // in whichever file it is
/// # Ok::<(), gguf_codec::Error>(())
/// ```
pub struct ShardedGguf<B> {
    /// At least one.
    shards: Vec<Gguf<B>>,
    /// The number of tensors in the shards before each one.
    pub(crate) before: Vec<usize>,
    /// The paths as opened. Empty if the set was made of files that were already open.
    paths: Vec<PathBuf>,
    /// Indexes all tensors if there is more than one shard. A single shard has its own index.
    index: NameIndex,
}

impl ShardedGguf<Vec<u8>> {
    /// Opens all files of a model, given the path of the first or only one. Reads the headers. Tensors are read when their
    /// values are requested, as by [`Gguf::open`].
    ///
    /// The other files must be in the same folder, with llama.cpp's names ([`ShardPaths`]).
    ///
    /// # Errors
    /// The errors of [`open_with`](Self::open_with).
    pub fn open(first: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(first, |path| Gguf::open(path))
    }
}

#[cfg(feature = "mmap")]
impl ShardedGguf<Mapped> {
    /// Maps all files of a model, given the path of the first or only one.
    ///
    /// # Safety
    /// The contract of [`Gguf::map`] applies to each of the files.
    ///
    /// # Errors
    /// The errors of [`open_with`](Self::open_with).
    #[allow(unsafe_code, reason = "what mapping needs is the caller's to promise")]
    pub unsafe fn map(first: impl AsRef<Path>) -> Result<Self> {
        // SAFETY: the caller upholds the same contract for each file.
        Self::open_with(first, |path| unsafe { Gguf::map(path) })
    }

    /// Asks the operating system to start reading a tensor's data from disk, like [`Gguf::prefetch`].
    ///
    /// # Errors
    /// The errors of [`Gguf::prefetch`].
    pub fn prefetch(&self, name: &str) -> Result<()> {
        self.advise(name, Advice::WillNeed)
    }

    /// Tells the operating system how a tensor's data will be read, like [`Gguf::advise`].
    ///
    /// # Errors
    /// The errors of [`Gguf::advise`].
    pub fn advise(&self, name: &str, advice: Advice) -> Result<()> {
        let shard = self.shard_of(name)?;
        self.shards.get(shard).map_or(Ok(()), |shard| shard.advise(name, advice))
    }
}

impl<B: AsRef<[u8]>> ShardedGguf<B> {
    /// Opens all files of a model with `open`, given the path of the first. `open` may be [`Gguf::read`] or a closure
    /// that uses [`GgufOptions`](crate::GgufOptions).
    ///
    /// A file is the first of several if its `split.count` is more than 1. Otherwise it is the whole model, as in
    /// llama.cpp. Files are opened one after the other, and opening stops at the first that does not fit.
    ///
    /// ```no_run
    /// use gguf_codec::{Error, Gguf, ShardedGguf};
    /// use std::fs::File;
    ///
    /// // The headers alone.
    /// let model = ShardedGguf::open_with("llama-00001-of-00003.gguf", |path| {
    ///     let failed = |error| Error::io(format!("open '{}'", path.display()), error);
    ///     Gguf::read_header(File::open(path).map_err(failed)?)
    /// })?;
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shard`], which names the file, if it is missing (the error then lists others that are missing too), cannot be
    /// read, is malformed, or does not belong there, or if the set was replaced while it was opened. For the first file, and for
    /// a file that is not sharded, the error of `open`.
    pub fn open_with(
        first: impl AsRef<Path>,
        mut open: impl FnMut(&Path) -> Result<Gguf<B>>,
    ) -> Result<Self> {
        let first = first.as_ref();
        let identity = || std::fs::metadata(first).ok().map(|metadata| FileId::of(&metadata));
        let before = identity();
        let mut set = Checked::begin(open(first)?, Some(first.to_owned()))?;
        if set.count == 1 {
            return Ok(set.finish()?.into());
        }
        let named = |problem| Err(Error::Shard { shard: shown(first), problem });
        if set.shards[0].is_joined() {
            return named(ShardProblem::Joined { at: set.shards[0].trailing().start });
        }
        let paths = match ShardPaths::parse(first) {
            Some((paths, 0)) if paths.count() == set.count => paths,
            _ => return named(ShardProblem::Name { count: set.count }),
        };
        for no in 1..set.count {
            let path = paths.path(no);
            let shard = match open(&path) {
                Ok(shard) => shard,
                Err(Error::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(missing(&paths, no));
                }
                Err(error) => {
                    let problem = ShardProblem::File(Box::new(error.without_file()));
                    return Err(Error::Shard { shard: shown(&path), problem });
                }
            };
            set.add(shard, Some(path))?;
        }
        // Replacing a set removes the first file before any other file is moved in: `StagedFile::commit_all`.
        if before != identity() {
            return named(ShardProblem::Replaced);
        }
        Ok(set.finish()?.into())
    }

    /// Combines open files, in their order, into one model. A single file is allowed.
    ///
    /// # Errors
    /// [`Error::Shard`] if they do not belong together, as for [`open_with`](Self::open_with).
    pub fn new(shards: impl IntoIterator<Item = Gguf<B>>) -> Result<Self> {
        let mut shards = shards.into_iter();
        let none = || Error::Length { what: Measured::Shards, found: 0, wanted: "at least 1".to_owned() };
        let mut set = Checked::begin(shards.next().ok_or_else(none)?, None)?;
        shards.try_for_each(|shard| set.add(shard, None))?;
        Ok(set.finish()?.into())
    }

    /// Returns the first file's key-value pairs, which are the model's.
    pub fn metadata(&self) -> Metadata<'_> {
        self.first().metadata()
    }

    /// Returns the model's architecture: see [`Metadata::architecture`].
    pub fn architecture(&self) -> Option<&str> {
        self.metadata().architecture()
    }

    /// Returns the value of a key that begins with the architecture's name: see [`Metadata::require_arch`].
    ///
    /// # Errors
    /// The errors of [`Metadata::require_arch`].
    pub fn require_arch<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<T> {
        self.metadata().require_arch(key)
    }

    /// Returns an iterator over the tensors of all files, in order.
    pub fn tensors(&self) -> ShardedTensorIter<'_, B> {
        ShardedTensorIter { shards: self.shards.iter(), now: None, left: self.tensor_count() }
    }

    /// Returns an iterator over the unreadable tensors of all files, if they were opened with
    /// [`GgufOptions::foreign_tensors`](crate::GgufOptions::foreign_tensors).
    pub fn foreign_tensors(&self) -> impl Iterator<Item = ForeignTensor<'_>> {
        self.shards.iter().flat_map(Gguf::foreign_tensors)
    }

    /// Returns the number of tensors in all files.
    pub fn tensor_count(&self) -> usize {
        self.shards.iter().map(Gguf::tensor_count).sum()
    }

    /// Returns the index of the file that contains a tensor, from 0. Takes constant time.
    ///
    /// # Errors
    /// [`Error::MissingTensor`].
    pub fn shard_of(&self, name: &str) -> Result<usize> {
        if let [only] = self.shards.as_slice() {
            return only.tensor_info(name).map(|_| 0);
        }
        let at = self.index.find(name.as_bytes(), |at| name_at(&self.shards, &self.before, at));
        let at = at.ok_or_else(|| Error::MissingTensor { name: name.to_owned() })?;
        Ok(holder(&self.before, at))
    }

    /// Returns the header's description of a tensor. Takes constant time.
    ///
    /// # Errors
    /// [`Error::MissingTensor`].
    pub fn tensor_info(&self, name: &str) -> Result<TensorInfo<'_>> {
        self.shards[self.shard_of(name)?].tensor_info(name)
    }

    /// Returns a tensor with its data. Takes constant time.
    ///
    /// # Errors
    /// The errors of [`Gguf::tensor`].
    pub fn tensor(&self, name: &str) -> Result<Tensor<'_>> {
        self.tensor_info(name)?.tensor()
    }
}

/// Makes one file a model of its own, even if it is one of several: its shard keys are not checked.
impl<B> From<Gguf<B>> for ShardedGguf<B> {
    fn from(file: Gguf<B>) -> Self {
        ShardedGguf { shards: vec![file], before: vec![0], paths: Vec::new(), index: NameIndex::default() }
    }
}

impl<B> From<Set<B>> for ShardedGguf<B> {
    fn from(Set { shards, before, paths, index }: Set<B>) -> Self {
        ShardedGguf { shards, before, paths, index }
    }
}

impl<B> ShardedGguf<B> {
    /// Returns the files in order. There is at least one.
    pub fn shards(&self) -> &[Gguf<B>] {
        &self.shards
    }

    /// Returns the file whose metadata is the model's.
    pub fn first(&self) -> &Gguf<B> {
        &self.shards[0]
    }

    /// Returns the keys that belong to the individual files and not to the model as a whole. Empty for a single file.
    #[cfg(all(feature = "codecs", any(all(feature = "std", any(unix, windows)), feature = "safetensors")))]
    pub(crate) fn keys_of_shards(&self) -> &'static [&'static str] {
        if self.shards.len() > 1 { &super::keys::SHARD_KEYS } else { &[] }
    }

    pub(crate) fn last(&self) -> &Gguf<B> {
        &self.shards[self.shards.len() - 1]
    }

    /// Returns the files' paths in order. Empty if the files were already open.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }
}

impl<B> fmt::Debug for ShardedGguf<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardedGguf").field("shards", &self.shards).finish_non_exhaustive()
    }
}

/// An iterator over the tensors of a [`ShardedGguf`], file by file.
pub struct ShardedTensorIter<'a, B> {
    shards: std::slice::Iter<'a, Gguf<B>>,
    now: Option<TensorIter<'a>>,
    left: usize,
}

impl<'a, B: AsRef<[u8]>> Iterator for ShardedTensorIter<'a, B> {
    type Item = TensorInfo<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(tensor) = self.now.as_mut().and_then(Iterator::next) {
                self.left = self.left.saturating_sub(1);
                return Some(tensor);
            }
            self.now = Some(self.shards.next()?.tensors());
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<B: AsRef<[u8]>> ExactSizeIterator for ShardedTensorIter<'_, B> {}
impl<B: AsRef<[u8]>> FusedIterator for ShardedTensorIter<'_, B> {}

impl<B> Clone for ShardedTensorIter<'_, B> {
    fn clone(&self) -> Self {
        ShardedTensorIter { shards: self.shards.clone(), now: self.now.clone(), left: self.left }
    }
}

impl<B: AsRef<[u8]>> fmt::Debug for ShardedTensorIter<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}
