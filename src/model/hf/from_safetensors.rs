//! [`FromSafetensors`]: a GGUF of a Hugging Face model, in one call.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::adapter_names::is_lora;
use super::carried::{CarriedWeight, Fidelity};
use super::description::Description;
use super::import::Import;
use super::import_plan::ImportPlan;
use super::names::NameMap;
use crate::codec::values::QuantError;
use crate::error::{Error, Result};
use crate::file::atomic::StagedFile;
use crate::file::sink::Sink;
use crate::file::{Existing, Inputs};
use crate::ggml_type::GgmlType;
use crate::gguf::index::Gguf;
use crate::gguf::shards::{ShardPlan, ShardedGguf};
use crate::model::convert::{Convert, Outcome};
use crate::model::input::Input;
use crate::model::job::Job;
use crate::model::part::Part;
use crate::model::pieces::told;
use crate::model::quantize::{Quantize, QuantizeReport, converted};
use crate::safetensors::Checkpoint;
use crate::write::Writer;

/// Makes a GGUF of a Hugging Face model.
///
/// ```no_run
/// use gguf_codec::model::hf::FromSafetensors;
/// use gguf_codec::model::{Quantize, Recipe};
///
/// let report = FromSafetensors::open("SmolLM2-135M")?
///     .quantize(Quantize::recipe(Recipe::Q4_K_M)) // on the way; without this, tensors stay what they are
///     .run("model.gguf")?;
/// for note in report.notes {
///     println!("note: {note}");
/// }
/// # Ok::<(), gguf_codec::Error>(())
/// ```
#[must_use = "nothing is written before `run`"]
pub struct FromSafetensors<'a> {
    checkpoint: Checkpoint,
    description: Description,
    ty: Option<GgmlType>,
    names: Option<NameMap>,
    quantize: Option<Quantize<'a>>,
    max_shard_size: Option<u64>,
    existing: Existing,
    inputs: Inputs,
}

/// What a Hugging Face model became.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ImportReport {
    /// The files, in their order.
    pub paths: Vec<PathBuf>,
    /// How many tensors they have.
    pub tensors: usize,
    /// How many bytes.
    pub bytes: u64,
    /// Tensors of the checkpoint that are not in them.
    pub left_out: Vec<String>,
    /// What the GGUF cannot say, in sentences.
    pub notes: Vec<String>,
    /// What became of each weight that another program had quantized, and what it lost where it was quantized again.
    pub carried: Vec<(CarriedWeight, Option<QuantError>)>,
    /// What became of each tensor where the model was [quantized](FromSafetensors::quantize) on the way.
    pub quantized: Option<QuantizeReport>,
}

impl<'a> FromSafetensors<'a> {
    /// Opens a safetensors file, a folder that has one or several with an index, or the index, and reads what is beside it. Of an adapter
    /// whose `base_model_name_or_path` is a folder, that folder's `config.json` is read as well.
    ///
    /// # Errors
    /// Those of [`Checkpoint::open`] and [`Description::read`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let checkpoint = Checkpoint::open(path)?;
        let description = Description::read(checkpoint.folder().unwrap_or(path))?;
        let description = match description.local_base() {
            Some(base) => description.with_base(base)?,
            None => description,
        };
        Ok(FromSafetensors {
            checkpoint,
            description,
            ty: None,
            names: None,
            quantize: None,
            max_shard_size: None,
            existing: Existing::default(),
            inputs: Inputs::new(),
        })
    }

    /// Says where the base model of a LoRA adapter is: a folder whose `config.json` is read.
    ///
    /// # Errors
    /// Those of [`Description::with_base`]; [`Error::Write`] where the tensors are no adapter.
    pub fn base(self, folder: impl AsRef<Path>) -> Result<Self> {
        let adapter = self.description.adapter.as_ref().map(|adapter| adapter.root());
        if !adapter.is_some_and(|adapter| is_lora(&adapter, self.checkpoint.tensors())) {
            let message = "`FromSafetensors::base` is for LoRA adapters, and this is none: there is no adapter_config.json of one, or \
                           no tensor is a factor (X.lora_A.weight)";
            return Err(Error::write(message.to_owned()));
        }
        Ok(FromSafetensors { description: self.description.with_base(folder)?, ..self })
    }

    /// Gives matrices another type, as [`Import::ggml_type`] does.
    pub fn ggml_type(self, ty: impl Into<Option<GgmlType>>) -> Self {
        FromSafetensors { ty: ty.into(), ..self }
    }

    /// Adds names, which come before the built-in ones.
    pub fn names(self, names: impl Into<Option<NameMap>>) -> Self {
        FromSafetensors { names: names.into(), ..self }
    }

    /// Quantizes the model on the way. The bytes are those of converting first and quantizing then; what files are written is said here and
    /// not there, and codes of the checkpoint count as its own values: they may be quantized again.
    pub fn quantize(self, quantize: impl Into<Option<Quantize<'a>>>) -> Self {
        FromSafetensors { quantize: quantize.into(), ..self }
    }

    /// Cuts the model into shards whose tensors have so many bytes at most, where it has more: `output` is then the name of the
    /// whole.
    pub fn max_shard_size(self, bytes: impl Into<Option<u64>>) -> Self {
        FromSafetensors { max_shard_size: bytes.into(), ..self }
    }

    /// Says what happens to files that exist. Without it, they stay and the conversion is an error.
    pub fn existing(self, existing: Existing) -> Self {
        FromSafetensors { existing, ..self }
    }

    /// Says which files are read besides those of the model: none of them is written.
    pub fn inputs(self, inputs: Inputs) -> Self {
        FromSafetensors { inputs, ..self }
    }

    /// Says what [`run`](Self::run) would make of the model, and writes nothing. What weights lose is not measured.
    ///
    /// # Errors
    /// Those of [`run_with`](Self::run_with) that do not concern values or the files that are written.
    pub fn plan(&self, output: impl AsRef<Path>) -> Result<ImportReport> {
        let (plan, output) = (self.import().plan()?, output.as_ref());
        let mut report = planned(&plan);
        if let Some(quantize) = &self.quantize {
            let quantize = quantize.clone().allow_requantize(true).max_shard_size(self.max_shard_size);
            report.quantized(quantize.plan(&plan.converted()?, output)?);
            return Ok(report);
        }
        let files = self.files(&plan, output)?;
        for no in 0..files.paths.len() {
            let mut writer = Writer::new(std::io::sink());
            files.declare(no, &plan, &mut writer)?;
            report.bytes = report.bytes.saturating_add(writer.file_len()?);
        }
        report.tensors = files.jobs.len();
        report.carried = carried(plan.carried_weights(), &files.jobs, &[]);
        report.paths = files.paths;
        Ok(report)
    }

    /// Converts the model in memory, for a job that reads it: a LoRA adapter for [`MergeLora`](crate::model::MergeLora), for
    /// example. It is not [quantized](Self::quantize). The paths of the input are those of the files that were read.
    ///
    /// # Errors
    /// Those of [`Import::plan`]; [`Error::Write`] where values would be infinite in their new type; [`Error::Io`].
    pub fn in_memory(&self) -> Result<Input> {
        let plan = self.import().plan()?;
        let mut writer = Writer::new(Vec::new());
        plan.declare(&mut writer)?;
        let mut progress = |_| ControlFlow::Continue(());
        let (data, _) =
            converted(writer.write_header()?, &plan.jobs()?, Convert::new(), false, &mut progress)?;
        let bytes = data.finish()?;
        let len = bytes.len() as u64;
        Ok(Input::from(Gguf::read_at(bytes, len)?).with_paths(self.paths().map(Path::to_owned).collect()))
    }

    /// Returns the files of the model that are read.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.checkpoint.paths().iter().chain(self.description.paths()).map(PathBuf::as_path)
    }

    /// Returns the import that a run makes, for jobs on the converted model, such as choosing types for a size:
    ///
    /// ```no_run
    /// use gguf_codec::model::hf::FromSafetensors;
    /// use gguf_codec::model::{Budget, Quantize};
    ///
    /// let job = FromSafetensors::open("SmolLM2-135M")?;
    /// let allocation = Budget::bits_per_weight(5.0).choose(&job.import().plan()?.converted()?)?;
    /// job.quantize(Quantize::types(allocation.types(), allocation.file_type())).run("model.gguf")?;
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    pub fn import(&self) -> Import<'_> {
        let mut import = Import::new(&self.checkpoint, &self.description);
        if let Some(ty) = self.ty {
            import = import.ggml_type(ty);
        }
        if let Some(names) = &self.names {
            import = import.names(move |name| names.to_gguf(name));
        }
        import
    }

    /// Writes the GGUF, or its shards, which appear when all are complete.
    ///
    /// # Errors
    /// As [`run_with`](Self::run_with).
    pub fn run(&self, output: impl AsRef<Path>) -> Result<ImportReport> {
        self.run_with(output, |_, _| ControlFlow::Continue(()))
    }

    /// As [`run`](Self::run), with progress: `progress` is called with the number of bytes of the tensors that are done and how many
    /// there are. Return `Break` to cancel.
    ///
    /// # Errors
    /// Those of [`Import::plan`] and [`Quantize::run_with`]; [`Error::Output`] where `output` is one of the inputs or exists;
    /// [`Error::Write`] where values would be infinite in their new type; [`Error::Io`]; [`Error::Interrupted`] where `progress`
    /// breaks. After any of them what was at `output` is as it was.
    pub fn run_with(
        &self,
        output: impl AsRef<Path>,
        progress: impl FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<ImportReport> {
        let output = output.as_ref();
        let mut inputs = self.inputs.clone();
        inputs.add_all(self.paths());
        if self.max_shard_size.is_none() {
            // Before anything is read that takes time.
            inputs.check(output, self.existing)?;
        }
        let plan = self.import().plan()?;
        let mut report = planned(&plan);
        if let Some(quantize) = &self.quantize {
            let quantize = quantize.clone().allow_requantize(true).max_shard_size(self.max_shard_size);
            let quantize = quantize.existing(self.existing).inputs(inputs);
            report.quantized(quantize.run_with(&plan.converted()?, output, progress)?);
        } else {
            self.write(&plan, output, &inputs, progress, &mut report)?;
        }
        Ok(report)
    }

    /// Writes what is planned, into shards where it is more than one may have.
    fn write(
        &self,
        plan: &ImportPlan<'_>,
        output: &Path,
        inputs: &Inputs,
        progress: impl FnMut(u64, u64) -> ControlFlow<()>,
        report: &mut ImportReport,
    ) -> Result<()> {
        let files = self.files(plan, output)?;
        inputs.check_all(&files.paths, self.existing)?;
        let measures = plan.carried_weights().iter().any(|weight| weight.fidelity == Fidelity::Requantized);
        let mut progress = told(files.jobs.iter().map(|job| job.origin().byte_len()).sum(), progress);
        let (mut outcomes, mut staged) = (Vec::new(), Vec::new());
        for (no, path) in files.paths.iter().enumerate() {
            let mut writer = Writer::create_with(path, self.existing)?;
            let own = files.declare(no, plan, &mut writer)?;
            report.bytes += writer.file_len()?;
            let convert = Convert::new().measure(measures);
            let (data, of_shard) = converted(writer.write_header()?, own, convert, false, &mut progress)?;
            outcomes.extend(of_shard);
            staged.push(data.stage()?);
        }
        StagedFile::commit_all(staged)?;
        report.tensors = files.jobs.len();
        report.carried = carried(plan.carried_weights(), &files.jobs, &outcomes);
        report.paths = files.paths;
        Ok(())
    }

    /// The files that are planned.
    fn files<'p>(&self, plan: &'p ImportPlan<'_>, output: &Path) -> Result<Files<'p>> {
        let (header, jobs) = (plan.header()?, plan.jobs()?);
        let bytes = header.tensors().map(|tensor| tensor.byte_len());
        let shards = match self.max_shard_size {
            Some(most) => Some(ShardPlan::by_bytes(bytes, header.alignment(), most)?),
            None => None,
        };
        let shards = shards.filter(|plan| plan.count() > 1);
        let paths = match &shards {
            Some(shards) => {
                let path = |no| Ok(Part::new(no, shards.count())?.path(output));
                (0..shards.count()).map(path).collect::<Result<_>>()?
            }
            None => vec![output.to_owned()],
        };
        Ok(Files { model: header.into(), jobs, shards, paths })
    }
}

/// The files of a GGUF that is planned.
struct Files<'p> {
    /// The whole model's header.
    model: ShardedGguf<Vec<u8>>,
    jobs: Vec<Job<'p>>,
    /// `None` where there is one file.
    shards: Option<ShardPlan>,
    paths: Vec<PathBuf>,
}

impl<'p> Files<'p> {
    /// Declares what is in one of them, and returns the jobs of its tensors.
    fn declare<S: Sink>(
        &self,
        no: usize,
        plan: &ImportPlan<'_>,
        writer: &mut Writer<S>,
    ) -> Result<&[Job<'p>]> {
        let Some(shards) = &self.shards else {
            plan.declare(writer)?;
            return Ok(&self.jobs);
        };
        let own = &self.jobs[shards.shards()[no].clone()];
        let no = u16::try_from(no).unwrap_or(u16::MAX);
        writer.copy_sharded_metadata_from(&self.model)?.set_shard(no, shards.count(), self.jobs.len())?;
        for job in own {
            writer.declare_tensor(job.name(), job.shape().dims(), job.ggml_type())?;
        }
        Ok(own)
    }
}

/// What there is to say before anything is written.
fn planned(plan: &ImportPlan<'_>) -> ImportReport {
    ImportReport {
        paths: Vec::new(),
        tensors: 0,
        bytes: 0,
        left_out: plan.left_out().iter().map(|name| (*name).to_owned()).collect(),
        notes: plan.notes().to_vec(),
        carried: Vec::new(),
        quantized: None,
    }
}

impl ImportReport {
    fn quantized(&mut self, quantized: QuantizeReport) {
        (self.bytes, self.tensors) = (quantized.bytes, quantized.tensors.len());
        self.paths.clone_from(&quantized.paths);
        self.quantized = Some(quantized);
    }
}

fn carried(
    weights: &[CarriedWeight],
    jobs: &[Job<'_>],
    outcomes: &[Outcome],
) -> Vec<(CarriedWeight, Option<QuantError>)> {
    let errors: HashMap<_, _> =
        jobs.iter().map(Job::name).zip(outcomes.iter().map(|outcome| outcome.error)).collect();
    let error = |weight: &CarriedWeight| errors.get(weight.name.as_str()).copied().flatten();
    weights.iter().map(|weight| (weight.clone(), error(weight))).collect()
}
