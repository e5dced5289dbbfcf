//! [`ImportPlan`]: a GGUF that is planned.

use std::fmt;

use super::carried::CarriedWeight;
use super::planned::Planned;
use crate::error::{Error, Result, Shown};
use crate::file::sink::Sink;
use crate::gguf::index::Gguf;
use crate::gguf::value::Value;
use crate::model::job::{Job, Origin};
use crate::write::Writer;

/// Keys and values, in the order in which they are written.
pub(super) type Pairs = Vec<(String, Value)>;

/// A GGUF that is planned.
pub struct ImportPlan<'a> {
    pub(super) metadata: Pairs,
    pub(super) tensors: Vec<Planned<'a>>,
    pub(super) left_out: Vec<&'a str>,
    pub(super) notes: Vec<String>,
    pub(super) carried_weights: Vec<CarriedWeight>,
}

impl<'a> ImportPlan<'a> {
    /// Keys and values, in the order in which they are written.
    pub fn metadata(&self) -> &[(String, Value)] {
        &self.metadata
    }

    /// Tensors that have no place in the GGUF.
    pub fn left_out(&self) -> &[&'a str] {
        &self.left_out
    }

    /// What could not be carried over, a sentence each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What becomes of the weights that another program quantized, in the order of tensors.
    pub fn carried_weights(&self) -> &[CarriedWeight] {
        &self.carried_weights
    }

    /// Declares metadata and tensors.
    ///
    /// # Errors
    /// [`Error::Write`] where a name is too long for GGUF, or two tensors get the same.
    pub fn declare<S: Sink>(&self, writer: &mut Writer<S>) -> Result<()> {
        for (key, value) in &self.metadata {
            writer.set_metadata(key, value.clone())?;
        }
        for Planned { name, source, ty, .. } in &self.tensors {
            writer.declare_tensor(name, source.shape().dims(), *ty)?;
        }
        Ok(())
    }

    /// Returns the header that the GGUF would have. With [`origin`](Self::origin) it stands for the converted model, and
    /// `converted` gives both.
    ///
    /// # Errors
    /// As [`declare`](Self::declare).
    pub fn header(&self) -> Result<Gguf<Vec<u8>>> {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        self.declare(&mut writer)?;
        drop(writer.write_header()?);
        Gguf::read_header(bytes.as_slice())
    }

    /// Returns the model that the GGUF would be, for a job that reads it without a file between, such as
    /// [`Quantize`](crate::model::Quantize):
    ///
    /// ```no_run
    /// use gguf_codec::model::{Quantize, Recipe, hf};
    /// use gguf_codec::safetensors::Checkpoint;
    ///
    /// let checkpoint = Checkpoint::open("SmolLM2-135M")?;
    /// let description = hf::Description::read("SmolLM2-135M")?;
    /// let plan = hf::Import::new(&checkpoint, &description).plan()?;
    /// let quantize = Quantize::recipe(Recipe::Q4_K_M);
    /// quantize.run(&plan.converted()?, "smollm2-Q4_K_M.gguf")?;
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`declare`](Self::declare).
    #[cfg(all(feature = "std", any(unix, windows)))]
    pub fn converted(&self) -> Result<Converted<'_>> {
        Ok(Converted { model: self.header()?.into(), plan: self })
    }

    /// Reads a tensor of the GGUF and checks that its values and scales are finite.
    ///
    /// # Errors
    /// As [`origin`](Self::origin), [`Error::Io`], and [`Error::InvalidBlock`] for a block of which a reader can make no numbers.
    pub fn validate(&self, name: &str) -> Result<()> {
        /// Blocks at a time.
        const BLOCKS: u64 = 16 * 1024;
        let origin = self.origin(name)?;
        let block_bytes = origin.ggml_type().block_bytes() as u64;
        let blocks = origin.byte_len() / block_bytes;
        let mut bytes = Vec::new();
        for first in (0..blocks).step_by(BLOCKS as usize) {
            bytes.resize((BLOCKS.min(blocks - first) * block_bytes) as usize, 0);
            let reading = |error| Error::io(format!("read tensor '{}'", Shown(name)), error);
            origin.fill_little_endian(&mut bytes, first * block_bytes).map_err(reading)?;
            origin.ggml_type().validate(&bytes).map_err(|error| match error {
                Error::InvalidBlock { ty, block, what } => {
                    Error::InvalidBlock { ty, block: block + first, what }
                }
                error => error,
            })?;
        }
        Ok(())
    }

    /// Returns where the values of a tensor of the GGUF are read from, as it would store them.
    ///
    /// # Errors
    /// [`Error::MissingTensor`] where none of its tensors has that name.
    pub fn origin(&self, name: &str) -> Result<Origin<'_>> {
        match self.tensors.iter().find(|tensor| tensor.name == name) {
            Some(tensor) => tensor.stored(),
            None => Err(Error::MissingTensor { name: name.to_owned() }),
        }
    }

    /// The tensors for [`Convert`](crate::model::Convert), in the order in which they are declared.
    ///
    /// # Errors
    /// [`Error::Length`] for a tensor whose end cannot be counted.
    pub fn jobs(&self) -> Result<Vec<Job<'_>>> {
        self.tensors.iter().map(Planned::job).collect()
    }
}

/// The model that a GGUF of an [`ImportPlan`] would be. It is made where it is read.
#[cfg(all(feature = "std", any(unix, windows)))]
#[derive(Debug)]
pub struct Converted<'a> {
    model: crate::ShardedGguf<Vec<u8>>,
    plan: &'a ImportPlan<'a>,
}

#[cfg(all(feature = "std", any(unix, windows)))]
impl crate::model::Source for Converted<'_> {
    type Bytes = Vec<u8>;

    fn model(&self) -> &crate::ShardedGguf<Vec<u8>> {
        &self.model
    }

    fn origin(&self, tensor: &crate::TensorInfo<'_>) -> Result<Origin<'_>> {
        self.plan.origin(tensor.name())
    }

    fn validate(&self, tensor: &crate::TensorInfo<'_>) -> Result<()> {
        self.plan.validate(tensor.name())
    }

    /// None: a checkpoint does not know them all.
    fn paths(&self) -> impl Iterator<Item = &std::path::Path> {
        std::iter::empty()
    }
}

impl fmt::Debug for ImportPlan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImportPlan")
            .field("keys", &self.metadata.len())
            .field("tensors", &self.tensors.len())
            .field("left_out", &self.left_out)
            .field("notes", &self.notes)
            .finish()
    }
}
