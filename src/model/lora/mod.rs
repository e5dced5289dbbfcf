//! [`MergeLora`]: LoRA adapters become part of a model's weights.

mod adapter;
mod merged;

use std::fmt;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use self::adapter::Adapter;
use self::merged::Merged;
use super::convert::Convert;
use super::imatrix::Imatrix;
use super::input::Input;
use super::job::Job;
use super::pieces::{bytes_of, told};
use super::quantize::{Quantize, QuantizeReport, converted};
use super::source::Source;
use crate::error::{Error, Result};
use crate::file::sink::Sink;
use crate::file::{Existing, Inputs};
use crate::gguf::TensorInfo;
use crate::write::Writer;

/// Merges LoRA adapters, which are GGUF files, into a model: W + scale · B · A for each weight that they change, computed in single
/// precision a few rows at a time.
///
/// The scale of an adapter is the one that is given times its alpha over its rank, as llama.cpp has it. Tensors that no adapter
/// changes are copied; the others are written in the type that they have, or all by a [`Quantize`].
///
/// ```no_run
/// use gguf_codec::model::{Input, MergeLora};
///
/// let base = Input::open("model-Q8_0.gguf")?;
/// let adapter = Input::open("adapter.gguf")?;
/// let report = MergeLora::new(&base).adapter(&adapter, 1.0)?.run("merged-Q8_0.gguf")?;
/// println!("{} tensors changed", report.merged.len());
/// # Ok::<(), gguf_codec::Error>(())
/// ```
#[must_use = "nothing is merged before `run`"]
pub struct MergeLora<'a> {
    base: &'a Input,
    adapters: Vec<Adapter>,
    /// The files of the adapters.
    paths: Vec<PathBuf>,
    imatrix: Option<&'a Imatrix>,
    quantize: Option<Quantize<'a>>,
    existing: Existing,
    inputs: Inputs,
}

/// What a model became.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct MergeLoraReport {
    /// The tensors that adapters changed, in the order of the model.
    pub merged: Vec<String>,
    /// Those that each adapter changed, in the order of the adapters.
    pub by_adapter: Vec<Vec<String>>,
    /// Bytes of the files.
    pub bytes: u64,
    /// What of the adapters is left out, in sentences.
    pub notes: Vec<String>,
    /// What became of each tensor where the model was [quantized](MergeLora::quantize) on the way.
    pub quantized: Option<QuantizeReport>,
}

impl<'a> MergeLora<'a> {
    /// Into this model, which stays as it is.
    pub fn new(base: &'a Input) -> Self {
        MergeLora {
            base,
            adapters: Vec::new(),
            paths: Vec::new(),
            imatrix: None,
            quantize: None,
            existing: Existing::default(),
            inputs: Inputs::new(),
        }
    }

    /// Adds an adapter, whose factors are read into memory in single precision. Several are added in their order.
    ///
    /// # Errors
    /// [`Error::Write`], naming the tensor, where the file is no LoRA adapter, or of a model with another architecture, other
    /// tensors or other shapes, or where its alpha or a factor is not finite or an integer; [`Error::OutOfMemory`]; [`Error::Io`].
    pub fn adapter(mut self, adapter: &Input, scale: f32) -> Result<Self> {
        let name = adapter.paths().next().map(|path| path.display().to_string());
        let read = Adapter::read(adapter, self.base, scale);
        self.adapters.push(read.map_err(|error| match (error, name) {
            (Error::Write { problem }, Some(name)) => Error::write(format!("'{name}': {problem}")),
            (error, _) => error,
        })?);
        self.paths.extend(adapter.paths().map(Path::to_owned));
        Ok(self)
    }

    /// Weighs the values of tensors whose type asks for it, such as IQ2_XXS, where they are written in the type that they have.
    pub fn imatrix(self, imatrix: impl Into<Option<&'a Imatrix>>) -> Self {
        MergeLora { imatrix: imatrix.into(), ..self }
    }

    /// Gives the tensors other types on the way. Those that adapters change count as F32. What files are written is said here and not
    /// there.
    pub fn quantize(self, quantize: impl Into<Option<Quantize<'a>>>) -> Self {
        MergeLora { quantize: quantize.into(), ..self }
    }

    /// Says what happens to a file that exists. Without it, the file stays and merging is an error.
    pub fn existing(self, existing: Existing) -> Self {
        MergeLora { existing, ..self }
    }

    /// Says which files are read besides those of the models: none of them is written.
    pub fn inputs(self, inputs: Inputs) -> Self {
        MergeLora { inputs, ..self }
    }

    /// Says what [`run`](Self::run) would make of the model, and writes nothing.
    ///
    /// ```no_run
    /// use gguf_codec::model::{Input, MergeLora};
    ///
    /// let base = Input::open("model-Q8_0.gguf")?;
    /// let adapter = Input::open("adapter.gguf")?;
    /// let report = MergeLora::new(&base).adapter(&adapter, 1.0)?.plan("merged-Q8_0.gguf")?;
    /// println!("{} bytes, {} tensors changed", report.bytes, report.by_adapter[0].len());
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`run_with`](Self::run_with) that do not concern values or the file that is written.
    pub fn plan(&self, output: impl AsRef<Path>) -> Result<MergeLoraReport> {
        let merged = Merged::new(self.base, &self.adapters)?;
        let mut report = self.report(&merged);
        if let Some(quantize) = &self.quantize {
            report.quantized(quantize.plan(&merged, output)?);
            return Ok(report);
        }
        let weights = self.weights(&merged);
        let jobs = self.jobs(&merged, &weights)?;
        report.bytes = self.declare(Writer::new(std::io::sink()), &jobs)?.file_len()?;
        Ok(report)
    }

    /// Writes the merged model into one file, which appears when it is complete.
    ///
    /// # Errors
    /// As [`run_with`](Self::run_with).
    pub fn run(&self, output: impl AsRef<Path>) -> Result<MergeLoraReport> {
        self.run_with(output, |_, _| ControlFlow::Continue(()))
    }

    /// As [`run`](Self::run), with progress: `progress` is called with the number of bytes of the model's tensors that are done and how
    /// many there are. Return `Break` to cancel.
    ///
    /// # Errors
    /// [`Error::Output`] where `output` is one of the inputs or exists; [`Error::Write`] where a type needs importance that is not
    /// there, or values would be infinite or NaN, by what is added or in their type; those of [`Quantize::run_with`]; [`Error::Io`]; [`Error::Interrupted`] where
    /// `progress` breaks. After any of them what was at `output` is as it was.
    pub fn run_with(
        &self,
        output: impl AsRef<Path>,
        progress: impl FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<MergeLoraReport> {
        let output = output.as_ref();
        let mut inputs = self.inputs.clone();
        inputs.add_all(&self.paths).add_all(self.base.paths());
        let merged = Merged::new(self.base, &self.adapters)?;
        let mut report = self.report(&merged);
        if let Some(quantize) = &self.quantize {
            let quantize = quantize.clone().existing(self.existing).inputs(inputs);
            report.quantized(quantize.run_with(&merged, output, progress)?);
            return Ok(report);
        }
        inputs.check(output, self.existing)?;
        let weights = self.weights(&merged);
        let jobs = self.jobs(&merged, &weights)?;
        let writer = self.declare(Writer::create_with(output, self.existing)?, &jobs)?;
        report.bytes = writer.file_len()?;
        let mut progress = told(bytes_of(&self.base.tensors().collect::<Vec<_>>()), progress);
        let (data, _) =
            converted(writer.write_header()?, &jobs, Convert::new(), self.imatrix.is_some(), &mut progress)?;
        data.finish()?;
        Ok(report)
    }

    /// What there is to say before anything is written.
    fn report(&self, merged: &Merged<'_>) -> MergeLoraReport {
        let names = |is_changed: &dyn Fn(&str) -> bool| {
            let names = self.base.tensors().map(|tensor| tensor.name());
            names.filter(|name| is_changed(name)).map(str::to_owned).collect()
        };
        let of = |adapter: &Adapter| names(&|name| adapter.deltas.contains_key(name));
        MergeLoraReport {
            merged: names(&|name| merged.changes(name)),
            by_adapter: self.adapters.iter().map(of).collect(),
            bytes: 0,
            notes: self.adapters.iter().flat_map(|adapter| adapter.notes()).collect(),
            quantized: None,
        }
    }

    /// The importance of the values of each tensor that is quantized again in its type.
    fn weights(&self, merged: &Merged<'_>) -> Vec<Option<Vec<f32>>> {
        let of = |tensor: TensorInfo<'_>| {
            self.imatrix.filter(|_| merged.changes(tensor.name()))?.weights(tensor.name())
        };
        self.base.tensors().map(of).collect()
    }

    /// The tensors, in the types that they have.
    fn jobs<'j>(&'j self, merged: &'j Merged<'_>, weights: &'j [Option<Vec<f32>>]) -> Result<Vec<Job<'j>>> {
        let jobs = self.base.tensors().zip(weights).map(|(tensor, weights)| {
            let job = Job::new(tensor.name(), merged.origin(&tensor)?, tensor.ggml_type());
            let job = job.importance(weights.as_deref());
            job.check().map(|()| job)
        });
        jobs.collect()
    }

    /// Declares what is in the file.
    fn declare<S: Sink>(&self, mut writer: Writer<S>, jobs: &[Job<'_>]) -> Result<Writer<S>> {
        writer.copy_sharded_metadata_from(self.base.model())?;
        for job in jobs {
            writer.declare_tensor(job.name(), job.shape().dims(), job.ggml_type())?;
        }
        Ok(writer)
    }
}

impl MergeLoraReport {
    fn quantized(&mut self, quantized: QuantizeReport) {
        self.bytes = quantized.bytes;
        self.quantized = Some(quantized);
    }
}

impl fmt::Debug for MergeLora<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MergeLora").field("adapters", &self.adapters.len()).finish_non_exhaustive()
    }
}
