//! [`Merge`]: merges a model in several files into one file.

mod consume;
mod record;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::input::Input;
use super::job::Job;
use super::pieces::{self, bytes_of, told};
use crate::error::Result;
use crate::file::sink::Sink;
use crate::file::{Existing, Inputs, follow_links};
use crate::gguf::TensorInfo;
use crate::write::Writer;

/// Merges the shards of a model into one file. The shards are kept, except with [`consume`](Self::consume).
///
/// ```
/// use gguf_codec::model::{Input, Merge, Split};
///
/// # let folder = std::env::temp_dir().join(format!("gguf-codec-doc-merge-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// let model = Input::open("examples/sample.gguf")?;
/// Split::by_tensors(7).run(&model, folder.join("shard"))?;
///
/// let shards = Input::open(folder.join("shard-00001-of-00003.gguf"))?;
/// let merged = folder.join("merged.gguf");
/// Merge::new().run(&shards, &merged)?;
/// assert_eq!(std::fs::read(merged)?, std::fs::read("examples/sample.gguf")?);
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
#[must_use = "nothing is merged before `run`"]
pub struct Merge {
    existing: Existing,
}

impl Merge {
    /// Creates a merge into a file that must not exist.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what happens if the output exists. By default the file stays and merging is an error.
    pub fn existing(self, existing: Existing) -> Self {
        Merge { existing }
    }

    /// Merges, and returns the length of the written file. It appears at `output` when it is complete.
    ///
    /// # Errors
    /// The errors of [`run_with`](Self::run_with).
    pub fn run(self, input: &Input, output: impl AsRef<Path>) -> Result<u64> {
        self.run_with(input, output, |_, _| ControlFlow::Continue(()))
    }

    /// Like [`run`](Self::run), with progress: `progress` is called with the number of bytes of tensors copied so far and the
    /// total. Return `Break` to cancel.
    ///
    /// # Errors
    /// [`Error::Output`](crate::Error::Output) if `output` is one of the shards or exists; [`Error::Io`](crate::Error::Io);
    /// [`Error::Interrupted`](crate::Error::Interrupted) if `progress` breaks. After any of them `output` is unchanged.
    pub fn run_with(
        self,
        input: &Input,
        output: impl AsRef<Path>,
        progress: impl FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<u64> {
        let output = output.as_ref();
        Inputs::new().add_all(input.paths()).check(output, self.existing)?;
        let (writer, tensors) = declared(input, Writer::create_with(output, self.existing)?)?;
        let bytes = writer.file_len()?;
        let jobs = tensors.iter().map(|tensor| Ok(Job::copy(tensor.name(), input.origin(tensor)?)));
        let jobs = jobs.collect::<Result<Vec<_>>>()?;
        let mut data = writer.write_header()?;
        pieces::copy(&jobs, &mut data, &mut told(bytes_of(&tensors), progress))?;
        data.finish()?;
        Ok(bytes)
    }

    /// Merges, and removes each shard once its data is on disk in the merged file. This needs space for the largest shard in
    /// addition to the model, while [`run`](Self::run) needs space for the model twice. Returns the length of the file.
    ///
    /// `first` is the path of the first shard, and the others are beside it. All are opened and checked before anything is
    /// written.
    ///
    /// **After an error, an interruption, a crash or a power failure, repeat the same call to finish.** Until then the merged
    /// file is named [`unfinished_path`](Self::unfinished_path), and no program takes it for a model. It contains the data of the
    /// shards that were removed, and the remaining shards contain the rest. Neither may be changed or removed in the meantime. If
    /// nothing was removed yet, an error leaves everything unchanged.
    ///
    /// ```
    /// use gguf_codec::model::{Input, Merge, Split};
    ///
    /// # let folder = std::env::temp_dir().join(format!("gguf-codec-doc-consume-{}", std::process::id()));
    /// # std::fs::create_dir_all(&folder)?;
    /// let model = Input::open("examples/sample.gguf")?;
    /// let shards = Split::by_tensors(7).run(&model, folder.join("shard"))?;
    ///
    /// let merged = folder.join("merged.gguf");
    /// Merge::new().consume(&shards[0].path, &merged)?;
    /// assert_eq!(std::fs::read(merged)?, std::fs::read("examples/sample.gguf")?);
    /// assert!(shards.iter().all(|shard| !shard.path.exists()));
    /// # std::fs::remove_dir_all(&folder)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`consume_with`](Self::consume_with).
    pub fn consume(self, first: impl AsRef<Path>, output: impl AsRef<Path>) -> Result<u64> {
        self.consume_with(first, output, |_, _| ControlFlow::Continue(()))
    }

    /// Like [`consume`](Self::consume), with progress: `progress` is called with the number of bytes of tensors copied so far and
    /// the total, and between any two steps. Return `Break` to cancel. The same call continues later.
    ///
    /// # Errors
    /// [`Error::Output`](crate::Error::Output) if `output` is one of the shards or exists; those of [`Input::open`];
    /// [`Error::Write`](crate::Error::Write) if `first` is not named like a shard, if a shard is a symbolic link, has something
    /// that the merged file would lack (bytes after its data, keys of its own), or differs from when the work was begun, if
    /// another process is merging, or if the unfinished file is something else; [`Error::Io`](crate::Error::Io);
    /// [`Error::Interrupted`](crate::Error::Interrupted) if `progress` breaks.
    pub fn consume_with(
        self,
        first: impl AsRef<Path>,
        output: impl AsRef<Path>,
        mut progress: impl FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<u64> {
        consume::run(first.as_ref(), output.as_ref(), self.existing, &mut progress)
    }

    /// Returns the name of the file at `output` while [`consume`](Self::consume) works on it: `OUTPUT.merging`. If `output` is a
    /// symbolic link that is followed, it is beside the link's target.
    pub fn unfinished_path(self, output: impl AsRef<Path>) -> PathBuf {
        let output = output.as_ref();
        let followed = match self.existing {
            Existing::ReplaceTarget => follow_links(output).ok(),
            Existing::Refuse | Existing::Replace => None,
        };
        consume::unfinished_path(followed.as_deref().unwrap_or(output))
    }
}

/// Creates a writer with the keys of a model, which expects its tensors.
fn declared<'m, S: Sink>(
    input: &'m Input,
    mut writer: Writer<S>,
) -> Result<(Writer<S>, Vec<TensorInfo<'m>>)> {
    writer.copy_sharded_metadata_from(input.model())?;
    let tensors: Vec<_> = input.tensors().collect();
    for tensor in &tensors {
        writer.declare_tensor(tensor.name(), tensor.shape().dims(), tensor.ggml_type())?;
    }
    Ok((writer, tensors))
}
