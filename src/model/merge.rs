//! [`Merge`]: a model in several files becomes one file.

use std::ops::ControlFlow;
use std::path::Path;

use super::input::Input;
use super::job::Job;
use super::pieces;
use super::split::told;
use crate::error::Result;
use crate::file::{Existing, Inputs};
use crate::write::Writer;

/// Puts the shards of a model together into one file. The shards stay.
///
/// ```
/// use std::ops::ControlFlow;
/// use gguf_codec::model::{Input, Merge, Split};
///
/// # let folder = std::env::temp_dir().join(format!("gguf-codec-doc-merge-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// let model = Input::open("examples/sample.gguf")?;
/// Split::by_tensors(7).run(&model, folder.join("shard"), |_, _| ControlFlow::Continue(()))?;
///
/// let shards = Input::open(folder.join("shard-00001-of-00003.gguf"))?;
/// let merged = folder.join("merged.gguf");
/// Merge::new().run(&shards, &merged, |_done, _total| ControlFlow::Continue(()))?;
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
    /// Into a file that does not exist.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says what happens to a file that exists. Without it, the file stays and merging is an error.
    pub fn existing(self, existing: Existing) -> Self {
        Merge { existing }
    }

    /// Merges, and gives the length of the file that was written. It appears at `output` when it is whole. `progress` hears how
    /// many bytes of the tensors are copied and how many there are, and decides whether to go on.
    ///
    /// # Errors
    /// [`Error::Output`](crate::Error::Output) where `output` is one of the shards or exists;
    /// [`Error::Io`](crate::Error::Io); [`Error::Interrupted`](crate::Error::Interrupted) where `progress` breaks. After any of
    /// them `output` is as it was.
    pub fn run(
        self,
        input: &Input,
        output: impl AsRef<Path>,
        progress: impl FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<u64> {
        let output = output.as_ref();
        Inputs::new().add_all(input.paths()).check(output, self.existing)?;
        let mut writer = Writer::create_with(output, self.existing)?;
        writer.copy_sharded_metadata_from(input.model())?;
        let tensors: Vec<_> = input.tensors().collect();
        for tensor in &tensors {
            writer.declare_tensor(tensor.name(), tensor.shape().dims(), tensor.ggml_type())?;
        }
        let bytes = writer.file_len()?;
        let jobs = tensors.iter().map(|tensor| Ok(Job::copy(tensor.name(), input.origin(tensor)?)));
        let jobs = jobs.collect::<Result<Vec<_>>>()?;
        let mut data = writer.write_header()?;
        pieces::copy(&jobs, &mut data, &mut told(&tensors, progress))?;
        data.finish()?;
        Ok(bytes)
    }
}
