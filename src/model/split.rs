//! [`Split`]: splits a model into shards.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::input::Input;
use super::job::Job;
use super::pieces::{self, bytes_of, told};
use crate::error::Result;
use crate::file::atomic::StagedFile;
use crate::file::{Existing, Inputs};
use crate::gguf::shards::{ShardPaths, ShardPlan};
use crate::write::Writer;

/// Splits a model into shards, which llama.cpp and [`Input`] open as one model.
///
/// All shards are written beside their final paths and moved there when all are complete, so that a set is complete or cannot be
/// opened.
///
/// ```
/// use gguf_codec::model::{Input, Split};
///
/// # let folder = std::env::temp_dir().join(format!("gguf-codec-doc-split-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// let model = Input::open("examples/sample.gguf")?;
/// let shards = Split::by_bytes(50_000).run(&model, folder.join("m"))?;
/// assert_eq!(shards.len(), 3);
/// assert!(shards[0].path.ends_with("m-00001-of-00003.gguf"));
/// assert_eq!(shards.iter().map(|shard| shard.tensors).sum::<usize>(), 20);
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
#[must_use = "nothing is split before `run`"]
pub struct Split {
    most: Most,
    empty_first: bool,
    existing: Existing,
}

#[derive(Debug, Clone, Copy)]
enum Most {
    Bytes(u64),
    Tensors(usize),
}

/// A shard that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SplitShard {
    /// Its path.
    pub path: PathBuf,
    /// The number of its tensors.
    pub tensors: usize,
    /// Its length in bytes.
    pub bytes: u64,
}

impl Split {
    /// Makes shards of at most `most` bytes of tensors with their padding. A tensor that is larger gets a shard of its own.
    pub fn by_bytes(most: u64) -> Self {
        Split { most: Most::Bytes(most), empty_first: false, existing: Existing::default() }
    }

    /// Makes shards of at most `most` tensors.
    pub fn by_tensors(most: usize) -> Self {
        Split { most: Most::Tensors(most), ..Self::by_bytes(0) }
    }

    /// Puts only metadata into the first shard.
    pub fn empty_first(self) -> Self {
        Split { empty_first: true, ..self }
    }

    /// Sets what happens if shards exist. By default they stay and splitting is an error.
    pub fn existing(self, existing: Existing) -> Self {
        Split { existing, ..self }
    }

    /// Returns which tensors each shard would contain.
    ///
    /// # Errors
    /// The errors of [`ShardPlan::by_bytes`] and similar functions.
    pub fn plan(&self, input: &Input) -> Result<ShardPlan> {
        let bytes = input.tensors().map(|tensor| tensor.byte_len());
        let plan = match self.most {
            Most::Bytes(most) => ShardPlan::by_bytes(bytes, input.model().first().alignment(), most)?,
            Most::Tensors(most) => ShardPlan::by_tensors(input.model().tensor_count(), most)?,
        };
        if self.empty_first { plan.with_empty_first() } else { Ok(plan) }
    }

    /// Writes the shards, `PREFIX-00001-of-00003.gguf` and so on.
    ///
    /// # Errors
    /// The errors of [`run_with`](Self::run_with).
    pub fn run(self, input: &Input, prefix: impl AsRef<Path>) -> Result<Vec<SplitShard>> {
        self.run_with(input, prefix, |_, _| ControlFlow::Continue(()))
    }

    /// Like [`run`](Self::run), with progress: `progress` is called with the number of bytes of tensors copied so far and the
    /// total. Return `Break` to cancel.
    ///
    /// # Errors
    /// The errors of [`plan`](Self::plan); [`Error::Output`](crate::Error::Output) if a shard would be a file that is read, or
    /// exists; [`Error::Io`](crate::Error::Io); [`Error::Interrupted`](crate::Error::Interrupted) if `progress` breaks. Unless
    /// the message says that a shard was moved to its final path, everything is unchanged.
    pub fn run_with(
        self,
        input: &Input,
        prefix: impl AsRef<Path>,
        progress: impl FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Vec<SplitShard>> {
        let plan = self.plan(input)?;
        let paths = ShardPaths::new(prefix.as_ref().as_os_str(), plan.count());
        let all = (0..plan.count()).map(|no| paths.path(no));
        Inputs::new().add_all(input.paths()).check_all(all, self.existing)?;
        let tensors: Vec<_> = input.tensors().collect();
        let mut progress = told(bytes_of(&tensors), progress);
        let (mut staged, mut shards) = (Vec::new(), Vec::new());
        for (no, range) in (0..).zip(plan.shards()) {
            let (path, own) = (paths.path(no), &tensors[range.clone()]);
            let mut writer = Writer::create_with(&path, self.existing)?;
            writer.copy_sharded_metadata_from(input.model())?.set_shard(no, plan.count(), tensors.len())?;
            // What the model has after its last tensor is written to the last shard.
            if no + 1 < plan.count() {
                writer.set_final_padding(true);
            }
            for tensor in own {
                writer.declare_tensor(tensor.name(), tensor.shape().dims(), tensor.ggml_type())?;
            }
            let bytes = writer.file_len()?;
            let jobs = own.iter().map(|tensor| Ok(Job::copy(tensor.name(), input.origin(tensor)?)));
            let jobs = jobs.collect::<Result<Vec<_>>>()?;
            let mut data = writer.write_header()?;
            pieces::copy(&jobs, &mut data, &mut progress)?;
            staged.push(data.stage()?);
            shards.push(SplitShard { path, tensors: own.len(), bytes });
        }
        StagedFile::commit_all(staged)?;
        Ok(shards)
    }
}
