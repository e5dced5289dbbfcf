//! [`FromSafetensors`] and [`ToSafetensors`]: a model from one form into the other, in one call.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::adapter::is_lora;
use super::export::Export;
use super::export_plan::{ExportPlan, Shard};
use super::import::Import;
use super::import_plan::ImportPlan;
use super::written::described;
use super::{CarriedWeight, Description, Fidelity, NameMap};
use crate::file::atomic::StagedFile;
use crate::file::{Existing, Inputs};
use crate::model::layer::TOKEN_EMBEDDING;
use crate::model::pieces::told;
use crate::model::quantize::converted;
use crate::model::{Convert, Input, Job, Outcome, Part, Quantize, QuantizeReport};
use crate::safetensors::{self, Checkpoint};
use crate::{AtomicFile, Error, GgmlType, OutputFolder, QuantError, Result, ShardPlan, ShardedGguf, Writer};

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
        inputs.add_all(self.checkpoint.paths()).add_all(self.description.paths());
        if self.max_shard_size.is_none() {
            // Before anything is read that takes time.
            inputs.check(output, self.existing)?;
        }
        let mut import = Import::new(&self.checkpoint, &self.description);
        if let Some(ty) = self.ty {
            import = import.ggml_type(ty);
        }
        if let Some(names) = &self.names {
            import = import.names(move |name| names.to_gguf(name));
        }
        let plan = import.plan()?;
        let mut report = ImportReport {
            paths: Vec::new(),
            tensors: 0,
            bytes: 0,
            left_out: plan.left_out().iter().map(|name| (*name).to_owned()).collect(),
            notes: plan.notes().to_vec(),
            carried: Vec::new(),
            quantized: None,
        };
        if let Some(quantize) = &self.quantize {
            let quantize = quantize.clone().allow_requantize(true).max_shard_size(self.max_shard_size);
            let quantize = quantize.existing(self.existing).inputs(inputs);
            let quantized = quantize.run_with(&plan.converted()?, output, progress)?;
            (report.bytes, report.tensors) = (quantized.bytes, quantized.tensors.len());
            report.paths.clone_from(&quantized.paths);
            report.quantized = Some(quantized);
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
        let (header, jobs) = (plan.header()?, plan.jobs()?);
        let bytes = header.tensors().map(|tensor| tensor.byte_len());
        let shards = match self.max_shard_size {
            Some(most) => Some(ShardPlan::by_bytes(bytes, header.alignment(), most)?),
            None => None,
        };
        let shards = shards.filter(|plan| plan.count() > 1);
        report.paths = match &shards {
            Some(shards) => {
                let path = |no| Ok(Part::new(no, shards.count())?.path(output));
                (0..shards.count()).map(path).collect::<Result<_>>()?
            }
            None => vec![output.to_owned()],
        };
        inputs.check_all(&report.paths, self.existing)?;
        let model = ShardedGguf::from(header);
        let measures = plan.carried_weights().iter().any(|weight| weight.fidelity == Fidelity::Requantized);
        let mut progress = told(jobs.iter().map(|job| job.origin().byte_len()).sum(), progress);
        let (mut outcomes, mut staged) = (Vec::new(), Vec::new());
        for (no, path) in (0..).zip(&report.paths) {
            let mut writer = Writer::create_with(path, self.existing)?;
            let own = match &shards {
                Some(shards) => {
                    let own = &jobs[shards.shards()[usize::from(no)].clone()];
                    writer.copy_sharded_metadata_from(&model)?.set_shard(no, shards.count(), jobs.len())?;
                    for job in own {
                        writer.declare_tensor(job.name(), job.shape().dims(), job.ggml_type())?;
                    }
                    own
                }
                None => {
                    plan.declare(&mut writer)?;
                    &jobs
                }
            };
            report.bytes += writer.file_len()?;
            let convert = Convert::new().measure(measures);
            let (data, of_shard) = converted(writer.write_header()?, own, convert, false, &mut progress)?;
            outcomes.extend(of_shard);
            staged.push(data.stage()?);
        }
        StagedFile::commit_all(staged)?;
        report.tensors = jobs.len();
        report.carried = carried(plan.carried_weights(), &jobs, &outcomes);
        Ok(())
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

/// Makes safetensors files of a GGUF.
///
/// ```
/// use gguf_codec::GgmlType;
/// use gguf_codec::model::Input;
/// use gguf_codec::model::hf::{FromSafetensors, ToSafetensors};
///
/// # let folder = std::env::temp_dir().join(format!("gguf-codec-doc-to-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// let input = Input::open("examples/sample.gguf")?;
/// let report = ToSafetensors::new(&input).ggml_type(GgmlType::F32).run(folder.join("model"))?;
/// assert_eq!(report.files[0].file_name, "model.safetensors");
/// assert!(folder.join("model/config.json").exists());
///
/// let back = FromSafetensors::open(folder.join("model"))?.run(folder.join("back.gguf"))?;
/// assert_eq!(back.tensors, 20);
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing is written before `run`"]
pub struct ToSafetensors<'a> {
    input: &'a Input,
    ty: Option<GgmlType>,
    names: Option<NameMap>,
    compressed: bool,
    max_file_size: Option<u64>,
    existing: Existing,
    inputs: Inputs,
}

/// What a GGUF became.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ExportReport {
    /// The files, in their order.
    pub files: Vec<Shard>,
    /// What the files cannot say, in sentences.
    pub notes: Vec<String>,
}

impl ExportReport {
    /// Returns how many bytes of tensors the files have.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.byte_len).sum()
    }
}

impl<'a> ToSafetensors<'a> {
    /// Of this model, in the types that [`Export`] gives its tensors.
    pub fn new(input: &'a Input) -> Self {
        ToSafetensors {
            input,
            ty: None,
            names: None,
            compressed: false,
            max_file_size: None,
            existing: Existing::default(),
            inputs: Inputs::new(),
        }
    }

    /// Sets the type that quantized tensors become, as [`Export::ggml_type`] does.
    pub fn ggml_type(self, ty: impl Into<Option<GgmlType>>) -> Self {
        ToSafetensors { ty: ty.into(), ..self }
    }

    /// Adds names, which come before the built-in ones.
    pub fn names(self, names: impl Into<Option<NameMap>>) -> Self {
        ToSafetensors { names: names.into(), ..self }
    }

    /// Keeps codes, as [`Export::compressed_tensors`] does.
    pub fn compressed_tensors(self, compressed: bool) -> Self {
        ToSafetensors { compressed, ..self }
    }

    /// Divides the model into files of so many bytes of tensors at most, where it has more.
    pub fn max_file_size(self, bytes: impl Into<Option<u64>>) -> Self {
        ToSafetensors { max_file_size: bytes.into(), ..self }
    }

    /// Says what happens to what exists. Without it, it stays and the conversion is an error.
    pub fn existing(self, existing: Existing) -> Self {
        ToSafetensors { existing, ..self }
    }

    /// Says which files are read besides those of the model: none of them is written.
    pub fn inputs(self, inputs: Inputs) -> Self {
        ToSafetensors { inputs, ..self }
    }

    /// Writes a file, where the name of `output` ends with `.safetensors`, and else a folder with `config.json`, `tokenizer.json`,
    /// `tokenizer_config.json` and `generation_config.json`, as far as the metadata has what they say, and an index where there are several
    /// files. It appears when it is complete.
    ///
    /// # Errors
    /// As [`run_with`](Self::run_with).
    pub fn run(&self, output: impl AsRef<Path>) -> Result<ExportReport> {
        self.run_with(output, |_, _| ControlFlow::Continue(()))
    }

    /// As [`run`](Self::run), with progress: `progress` is called with the number of bytes of the tensors that are done and how many
    /// there are. Return `Break` to cancel.
    ///
    /// # Errors
    /// Those of [`Export::plan`]; [`Error::Output`] where `output` is one of the inputs, contains one, or exists; [`Error::Write`] where
    /// values would be infinite in their new type, or a file would have to be several; [`Error::Io`]; [`Error::Interrupted`] where
    /// `progress` breaks. After any of them what was at `output` is as it was.
    pub fn run_with(
        &self,
        output: impl AsRef<Path>,
        progress: impl FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<ExportReport> {
        let output = output.as_ref();
        let is_file = output.extension().is_some_and(|extension| extension == "safetensors");
        let mut inputs = self.inputs.clone();
        inputs.add_all(self.input.paths());
        if is_file {
            inputs.check(output, self.existing)?;
        } else {
            inputs.check_folder(output, self.existing)?;
        }
        let mut export = Export::sharded(self.input.model(), |tensor| self.input.origin(tensor))?
            .compressed_tensors(self.compressed);
        if let Some(ty) = self.ty {
            export = export.ggml_type(ty);
        }
        if let Some(names) = &self.names {
            export = export.names(move |name| names.to_hf(name));
        }
        let plan = export.plan()?;
        let files = plan.shards(self.max_file_size);
        let total = self.input.tensors().map(|tensor| tensor.byte_len()).sum();
        let mut progress = told(total, progress);
        if is_file {
            let [only] = &files[..] else {
                return Err(Error::write(format!(
                    "'{}' is one file, and {} are asked for: give a folder",
                    output.display(),
                    files.len()
                )));
            };
            write(&plan, only, output, self.existing, &mut progress)?;
            // A file has no config.json beside it.
            return Ok(ExportReport { files, notes: Vec::new() });
        }
        let folder = OutputFolder::create(output, self.existing)?;
        for file in &files {
            write(&plan, file, &folder.path().join(&file.file_name), Existing::Refuse, &mut progress)?;
        }
        let put = |name: &str, text: &str| AtomicFile::write(folder.path().join(name), text.as_bytes());
        if files.len() > 1 {
            put("model.safetensors.index.json", &plan.index_json(&files))?;
        }
        if let Some(config) = plan.config_json() {
            put("config.json", config)?;
        }
        let mut notes = plan.notes().to_vec();
        let embedding = self.input.tensors().find(|tensor| tensor.name() == TOKEN_EMBEDDING);
        let rows = embedding.map(|tensor| tensor.shape().row_count());
        for (name, text) in described(self.input.model().metadata(), rows, &mut notes)? {
            put(name, &text)?;
        }
        folder.finish()?;
        Ok(ExportReport { notes, files })
    }
}

fn write(
    plan: &ExportPlan<'_>,
    shard: &Shard,
    path: &Path,
    existing: Existing,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<()> {
    let mut writer = safetensors::Writer::create_with(path, existing)?;
    plan.declare(shard, &mut writer)?;
    let (data, _) = converted(writer.write_header()?, &plan.jobs(shard)?, Convert::new(), false, progress)?;
    data.finish().map(drop)
}
