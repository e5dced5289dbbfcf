//! [`Quantize`]: a model in other types, in one call.

mod files;
mod report;
mod tasks;

use std::collections::HashMap;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use self::files::{File, bytes_of_files};
pub use self::report::{MissingImportance, QuantizeReport, QuantizedTensor};
pub(super) use self::tasks::knows;
use self::tasks::{Task, jobs};
use super::convert::{Convert, Outcome};
use super::file_type::FileType;
use super::imatrix::Imatrix;
use super::job::Job;
use super::part::Part;
use super::pieces::told;
use super::recipe::Recipe;
use super::source::Source;
use super::target::Target;
use crate::error::{Error, Result};
use crate::file::atomic::StagedFile;
use crate::file::sink::Sink;
use crate::file::{Existing, Inputs};
use crate::ggml_type::GgmlType;
use crate::gguf::{Metadata, TensorInfo};
use crate::write::{DataWriter, Writer};

/// Quantizes a model: by one of llama.cpp's recipes, to the bytes that its `llama_model_quantize` writes, or to the types of another
/// model.
///
/// ```
/// use std::ops::ControlFlow;
/// use gguf_codec::GgmlType;
/// use gguf_codec::model::{Input, Quantize, Recipe};
///
/// # let folder = std::env::temp_dir().join(format!("gguf-codec-doc-quantize-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # let output = folder.join("model-Q8_0.gguf");
/// let input = Input::open("examples/sample.gguf")?;
/// let report = Quantize::recipe(Recipe::Q8_0)
///     .output_type(GgmlType::Q6_K)
///     .allow_requantize(true) // some of the sample's tensors are quantized already
///     .run_with(&input, &output, |done, total| {
///         eprint!("\r{done} of {total} bytes");
///         ControlFlow::Continue(())
///     })?;
/// assert_eq!(report.bytes, std::fs::metadata(&output)?.len());
/// println!("{:.2} bits per weight", report.size_after().bits_per_weight());
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use = "nothing is quantized before `run`"]
pub struct Quantize<'a> {
    types: Types,
    imatrix: Option<&'a Imatrix>,
    imatrix_name: Option<String>,
    output_type: Option<GgmlType>,
    token_embedding_type: Option<GgmlType>,
    leave_output: bool,
    pure: bool,
    by_name: Option<&'a ByName<'a>>,
    requantize: bool,
    missing: MissingImportance,
    measure: bool,
    part: Option<Part>,
    keep_split: bool,
    max_shard_size: Option<u64>,
    existing: Existing,
    inputs: Inputs,
}

/// The type for a tensor's name, where it has one.
type ByName<'a> = dyn Fn(&str) -> Option<GgmlType> + Sync + 'a;

#[derive(Clone)]
enum Types {
    Recipe(Recipe),
    /// Those of a model by the names of its tensors, and its `general.file_type`.
    Like(HashMap<String, GgmlType>, Option<u32>),
    /// One for every matrix.
    Uniform(GgmlType),
}

impl<'a> Quantize<'a> {
    /// By a recipe, such as [`Recipe::Q4_K_M`].
    pub fn recipe(recipe: Recipe) -> Self {
        Self::to(Types::Recipe(recipe))
    }

    /// To the types that the tensors of another model have: `metadata` and `tensors` of any of the readers. Tensors that are not in
    /// it stay as they are, and so do those of its that have integers.
    pub fn like<'m>(metadata: Metadata<'m>, tensors: impl IntoIterator<Item = TensorInfo<'m>>) -> Self {
        let types = tensors.into_iter().map(|tensor| (tensor.name().to_owned(), tensor.ggml_type()));
        let file_type = metadata.require::<u32>("general.file_type").ok();
        Self::to(Types::Like(types.collect(), file_type))
    }

    /// To these types, by the names of tensors, and with that `general.file_type`: those that a [`Budget`](super::Budget) chose, for
    /// example. Tensors without a type stay as they are, and so do those of integers.
    pub fn types<N: Into<String>>(
        types: impl IntoIterator<Item = (N, GgmlType)>,
        file_type: impl Into<Option<FileType>>,
    ) -> Self {
        let types = types.into_iter().map(|(name, ty)| (name.into(), ty));
        Self::to(Types::Like(types.collect(), file_type.into().map(FileType::id)))
    }

    /// To one type: every matrix whose rows are whole blocks of `ty` becomes that. Vectors, integers and other matrices stay as they
    /// are, and tensors keep their order.
    ///
    /// ```
    /// use gguf_codec::GgmlType;
    /// use gguf_codec::model::{Input, Quantize};
    ///
    /// # let folder = std::env::temp_dir().join(format!("gguf-codec-doc-uniform-{}", std::process::id()));
    /// # std::fs::create_dir_all(&folder)?;
    /// # let output = folder.join("model-F16.gguf");
    /// let input = Input::open("examples/sample.gguf")?;
    /// let report = Quantize::uniform(GgmlType::F16).run(&input, &output)?;
    /// assert!(report.tensors.iter().any(|tensor| tensor.changes() && tensor.ggml_type == GgmlType::F16));
    /// # std::fs::remove_dir_all(&folder)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "convert")]
    pub fn uniform(ty: GgmlType) -> Self {
        Self::to(Types::Uniform(ty))
    }

    fn to(types: Types) -> Self {
        Quantize {
            types,
            imatrix: None,
            imatrix_name: None,
            output_type: None,
            token_embedding_type: None,
            leave_output: false,
            pure: false,
            by_name: None,
            requantize: false,
            missing: MissingImportance::Refuse,
            measure: false,
            part: None,
            keep_split: false,
            max_shard_size: None,
            existing: Existing::default(),
            inputs: Inputs::new(),
        }
    }

    /// Weighs values by an importance matrix.
    pub fn imatrix(self, imatrix: &'a Imatrix) -> Self {
        Quantize { imatrix: Some(imatrix), ..self }
    }

    /// Says where the importance matrix is from: `quantize.imatrix.file` of the files that are written.
    pub fn imatrix_name(self, name: impl Into<String>) -> Self {
        Quantize { imatrix_name: Some(name.into()), ..self }
    }

    /// Sets the type of `output.weight`, and of the token embedding where that serves as the output.
    pub fn output_type(self, ty: impl Into<Option<GgmlType>>) -> Self {
        Quantize { output_type: ty.into(), ..self }
    }

    /// Sets the type of the token embedding.
    pub fn token_embedding_type(self, ty: impl Into<Option<GgmlType>>) -> Self {
        Quantize { token_embedding_type: ty.into(), ..self }
    }

    /// Leaves `output.weight` as it is.
    pub fn leave_output(self, leave: bool) -> Self {
        Quantize { leave_output: leave, ..self }
    }

    /// Gives every matrix the recipe's base type.
    pub fn pure(self, pure: bool) -> Self {
        Quantize { pure, ..self }
    }

    /// Sets types by the names of tensors; `None` leaves the choice to the recipe.
    pub fn types_by_name(self, by_name: &'a (dyn Fn(&str) -> Option<GgmlType> + Sync)) -> Self {
        Quantize { by_name: Some(by_name), ..self }
    }

    /// Takes tensors that are quantized already, which give less exact results than the original. Without it they are an error,
    /// except where [`Quantize::uniform`] makes floats of them.
    pub fn allow_requantize(self, allow: bool) -> Self {
        Quantize { requantize: allow, ..self }
    }

    /// Says what becomes of tensors that the importance matrix lacks, or that there is no matrix for, where their type needs importance.
    /// Without it, they are an error.
    pub fn missing_importance(self, missing: MissingImportance) -> Self {
        Quantize { missing, ..self }
    }

    /// Measures how far the values of each tensor that gets another type are from what they were, which takes dequantizing
    /// what was quantized.
    pub fn measure(self, measure: bool) -> Self {
        Quantize { measure, ..self }
    }

    /// Makes one part of several, as one machine of several: `output` is the name of the whole, and the file is the shard of that
    /// number.
    pub fn part(self, part: impl Into<Option<Part>>) -> Self {
        Quantize { part: part.into(), ..self }
    }

    /// Makes as many files as the input has, with the same tensors in each: `output` is the name of the whole, and the files are its
    /// shards.
    pub fn keep_split(self, keep: bool) -> Self {
        Quantize { keep_split: keep, ..self }
    }

    /// Cuts the model into shards whose tensors have so many bytes at most, where it has more: `output` is then the name of the
    /// whole. A tensor that is larger has a shard of its own.
    pub fn max_shard_size(self, bytes: impl Into<Option<u64>>) -> Self {
        Quantize { max_shard_size: bytes.into(), ..self }
    }

    /// Says which files are read besides those of the model, such as that of the importance matrix: none of them is written.
    pub fn inputs(self, inputs: Inputs) -> Self {
        Quantize { inputs, ..self }
    }

    /// Says what happens to files that exist. Without it, they stay and quantizing is an error.
    pub fn existing(self, existing: Existing) -> Self {
        Quantize { existing, ..self }
    }

    /// Returns the files that [`run`](Self::run) writes for this `output`, without a look at values. The types matter only to
    /// [`max_shard_size`](Self::max_shard_size).
    ///
    /// ```
    /// use std::path::Path;
    /// use gguf_codec::model::{Input, Quantize, Recipe};
    ///
    /// let input = Input::open("examples/sample.gguf")?;
    /// let quantize = Quantize::recipe(Recipe::Q4_K_M).part("2/8".parse::<gguf_codec::model::Part>()?);
    /// assert_eq!(quantize.paths(&input, "out.gguf")?, [Path::new("out-00002-of-00008.gguf")]);
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`plan`](Self::plan), where there is a greatest size of shards.
    pub fn paths<S: Source>(&self, input: &S, output: impl AsRef<Path>) -> Result<Vec<PathBuf>> {
        let output = output.as_ref();
        if self.max_shard_size.is_some() {
            let tasks = self.tasks(input)?;
            return Ok(self.files(input, &tasks, output)?.into_iter().map(|file| file.path).collect());
        }
        let files = if self.keep_split { input.model().shards().len() } else { 1 };
        Ok(self.names(files, output)?.into_iter().map(|(path, _)| path).collect())
    }

    /// Says what [`run`](Self::run) would make of a model, and writes nothing.
    ///
    /// # Errors
    /// Those of [`run`](Self::run) that do not concern values or the files that are written.
    pub fn plan<S: Source>(&self, input: &S, output: impl AsRef<Path>) -> Result<QuantizeReport> {
        let tasks = self.tasks(input)?;
        let mut report = QuantizeReport::default();
        for file in self.files(input, &tasks, output.as_ref())? {
            let weights = self.weights(file.tasks);
            let jobs = jobs(input, file.tasks, &weights)?;
            jobs.iter().try_for_each(Job::check)?;
            let writer = self.declare(Writer::new(std::io::sink()), input, &file, &jobs, &tasks)?;
            report.bytes = report.bytes.saturating_add(writer.file_len()?);
            report.paths.push(file.path);
            report.tensors.extend(file.tasks.iter().map(Task::told));
        }
        Ok(report)
    }

    /// Quantizes the model into a file, or several, which appear when all are complete.
    ///
    /// # Errors
    /// As [`run_with`](Self::run_with).
    pub fn run<S: Source>(&self, input: &S, output: impl AsRef<Path>) -> Result<QuantizeReport> {
        self.run_with(input, output, |_, _| ControlFlow::Continue(()))
    }

    /// As [`run`](Self::run), with progress: `progress` is called with the number of bytes of the input's tensors that are done and
    /// how many there are. Return `Break` to cancel.
    ///
    /// # Errors
    /// [`Error::Output`] where `output` is one of the inputs or exists; [`Error::Write`] where a tensor is quantized already, needs
    /// importance that is not there, has importance of another shape, or would be infinite in its new type;
    /// [`Error::InvalidBlock`] where a tensor that stays is not valid; those of [`TypePlan::choose`](super::TypePlan::choose) and [`Job::check`];
    /// [`Error::Io`]; [`Error::Interrupted`] where `progress` breaks. After any of them what was at `output` is as it was.
    pub fn run_with<S: Source>(
        &self,
        input: &S,
        output: impl AsRef<Path>,
        progress: impl FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<QuantizeReport> {
        let tasks = self.tasks(input)?;
        let files = self.files(input, &tasks, output.as_ref())?;
        let paths = files.iter().map(|file| file.path.clone());
        self.inputs.clone().add_all(input.paths()).check_all(paths, self.existing)?;
        self.check_copies(input, &files)?;
        let mut progress = told(bytes_of_files(&files), progress);
        let (mut report, mut staged) = (QuantizeReport::default(), Vec::new());
        for file in files {
            let writer = Writer::create_with(&file.path, self.existing)?;
            let data = self.write_file(writer, input, &file, &tasks, &mut report, &mut progress)?;
            staged.push(data.stage()?);
            report.paths.push(file.path);
        }
        StagedFile::commit_all(staged)?;
        Ok(report)
    }

    /// As [`run_with`](Self::run_with), into a stream, such as standard output or an upload, which is returned. There can be no more
    /// than one file. After an error the stream has a part of it, which is not a model.
    ///
    /// # Errors
    /// Those of [`run_with`](Self::run_with) that do not concern a path; [`Error::Write`] where there would be several files.
    pub fn write_to<S: Source, W: Write>(
        &self,
        input: &S,
        stream: W,
        progress: impl FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<(QuantizeReport, W)> {
        let tasks = self.tasks(input)?;
        let files = self.files(input, &tasks, Path::new(""))?;
        let [file] = files.as_slice() else {
            return refused(format!("{} files cannot be written into one stream", files.len()));
        };
        self.check_copies(input, &files)?;
        let mut report = QuantizeReport::default();
        let mut progress = told(bytes_of_files(&files), progress);
        let data = self.write_file(Writer::new(stream), input, file, &tasks, &mut report, &mut progress)?;
        Ok((report, data.finish()?))
    }

    /// Checks what is copied, as llama.cpp does, except where nothing but the type is asked for.
    fn check_copies<S: Source>(&self, input: &S, files: &[File<'_, '_>]) -> Result<()> {
        let is_checked = |task: &&Task<'_>| !task.changes() && !matches!(self.types, Types::Uniform(_));
        for task in files.iter().flat_map(|file| file.tasks).filter(is_checked) {
            input.validate(&task.tensor).map_err(|error| in_tensor(task.tensor.name(), error))?;
        }
        Ok(())
    }

    /// Writes one of the files but for its end, and reports of its tensors.
    fn write_file<W: Sink, S: Source>(
        &self,
        writer: Writer<W>,
        input: &S,
        file: &File<'_, '_>,
        tasks: &[Task<'_>],
        report: &mut QuantizeReport,
        progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<DataWriter<W>> {
        let weights = self.weights(file.tasks);
        let jobs = jobs(input, file.tasks, &weights)?;
        jobs.iter().try_for_each(Job::check)?;
        let writer = self.declare(writer, input, file, &jobs, tasks)?;
        report.bytes = report.bytes.saturating_add(writer.file_len()?);
        let convert = Convert::new().measure(self.measure);
        let (data, outcomes) =
            converted(writer.write_header()?, &jobs, convert, self.imatrix.is_some(), progress)?;
        let told = file.tasks.iter().zip(outcomes);
        report
            .tensors
            .extend(told.map(|(task, outcome)| QuantizedTensor { error: outcome.error, ..task.told() }));
        Ok(data)
    }
}

/// Writes the tensors of the jobs, and fails where values of one are infinite or NaN now and were not.
pub(super) fn converted<T: Target>(
    mut data: T,
    jobs: &[Job<'_>],
    convert: Convert,
    has_importance: bool,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<(T, Vec<Outcome>)> {
    let outcomes = convert.run_in_steps(jobs, &mut data, progress)?;
    refuse_infinite(jobs, &outcomes, has_importance)?;
    Ok((data, outcomes))
}

/// Fails where values of a tensor are infinite or NaN now and were not.
fn refuse_infinite(jobs: &[Job<'_>], outcomes: &[Outcome], has_importance: bool) -> Result<()> {
    let mut bad = jobs.iter().zip(outcomes).filter(|(_, outcome)| outcome.overflowed > 0);
    let Some((job, outcome)) = bad.next() else { return Ok(()) };
    let others: Vec<_> = bad.map(|(job, _)| job.name()).collect();
    let others = match others.as_slice() {
        [] => String::new(),
        [name] => format!(", and so in '{name}'"),
        [name, ..] => format!(", and so in {} others, such as '{name}'", others.len()),
    };
    let (name, ty) = (job.name(), job.ggml_type());
    let noun = if ty.is_quantized() { "block" } else { "value" };
    let plural = if outcome.overflowed == 1 { "" } else { "s" };
    let hint = match ty {
        _ if has_importance => " (the sums of the importance matrix may be too great)",
        GgmlType::F16 => " (BF16 and F32 have wider ones)",
        _ => "",
    };
    refused(format!(
        "tensor '{name}': {} {noun}{plural} beyond the range of {ty}{others}{hint}",
        outcome.overflowed
    ))
}

fn in_tensor(name: &str, error: Error) -> Error {
    match error {
        Error::InvalidBlock { .. } => Error::write(format!("tensor '{name}': {error:?}")),
        other => other,
    }
}

fn refused<T>(message: String) -> Result<T> {
    Err(Error::write(message))
}
