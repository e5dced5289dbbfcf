//! [`Quantize`]: a model in other types, in one call.

mod report;

use std::collections::HashMap;
use std::io::Write;
use std::iter;
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};

pub use self::report::{MissingImportance, QuantizeReport, QuantizedTensor};
use super::convert::{Convert, Outcome};
use super::file_type::{FileType, QUANTIZATION_VERSION};
use super::imatrix::Imatrix;
use super::job::Job;
use super::layer::TOKEN_EMBEDDING;
use super::part::Part;
use super::pieces::{bytes_of, told};
use super::recipe::{Recipe, TypeChoice, TypePlan, by_layer};
use super::source::Source;
use super::target::Target;
use crate::error::{Error, Result};
use crate::file::atomic::StagedFile;
use crate::file::sink::Sink;
use crate::file::{Existing, Inputs};
use crate::ggml_type::GgmlType;
use crate::gguf::{Metadata, ShardPlan, TensorInfo, Value};
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

/// A tensor, and what becomes of it.
struct Task<'a> {
    tensor: TensorInfo<'a>,
    shard: usize,
    choice: TypeChoice,
    importance: bool,
    without_importance: Option<MissingImportance>,
}

impl Task<'_> {
    fn changes(&self) -> bool {
        self.choice.ggml_type != self.tensor.ggml_type()
    }

    fn told(&self) -> QuantizedTensor {
        QuantizedTensor {
            name: self.tensor.name().to_owned(),
            shape: self.tensor.shape(),
            from: self.tensor.ggml_type(),
            ggml_type: self.choice.ggml_type,
            instead_of: self.choice.instead_of,
            importance: self.importance,
            without_importance: self.without_importance,
            error: None,
        }
    }
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
    /// [`Error::InvalidBlock`] where a tensor that stays is not valid; those of [`TypePlan::choose`] and [`Job::check`];
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

    /// What becomes of each tensor, in the order in which llama.cpp writes them.
    fn tasks<'m, S: Source>(&self, input: &'m S) -> Result<Vec<Task<'m>>> {
        let model = input.model();
        let mut tensors: Vec<_> = model.tensors().collect();
        if !matches!(self.types, Types::Uniform(_)) {
            tensors.sort_by(|a, b| by_layer(a.name(), b.name()));
        }
        let choices = self.choose(model.metadata(), &tensors)?;
        let mut tasks = Vec::with_capacity(tensors.len());
        for (tensor, choice) in tensors.into_iter().zip(choices) {
            let shard = if self.keep_split { model.shard_of(tensor.name())? } else { 0 };
            let mut task = Task { tensor, shard, choice, importance: false, without_importance: None };
            let (name, from, ty) = (tensor.name(), tensor.ggml_type(), choice.ggml_type);
            if task.changes() {
                let unpacks = matches!(self.types, Types::Uniform(_)) && !ty.is_quantized();
                if from.is_quantized() && !unpacks && !self.requantize {
                    let loss = match ty.is_quantized() {
                        true => {
                            format!("quantizing it again to {ty} loses more than quantizing the original")
                        }
                        false => format!("{ty} keeps what quantizing it lost"),
                    };
                    return refused(format!(
                        "tensor '{name}' is {from} already, and {loss}; with `Quantize::allow_requantize` it is done"
                    ));
                }
                task.importance = self.imatrix.map_or(Ok(false), |imatrix| knows(imatrix, &tensor))?;
                if choice.needs_importance && !task.importance {
                    self.without_importance(&mut task)?;
                }
            }
            if !task.importance && task.without_importance != Some(MissingImportance::Uniform) {
                Job::new(name, input.origin(&tensor)?, task.choice.ggml_type).check()?;
            }
            tasks.push(task);
        }
        let is_quantized = |task: &Task<'_>| task.changes() && task.choice.ggml_type.is_quantized();
        if self.imatrix.is_some()
            && tasks.iter().any(is_quantized)
            && !tasks.iter().any(|task| task.importance)
        {
            let name = self
                .imatrix_name
                .as_ref()
                .map_or_else(|| "the importance matrix".to_owned(), |name| format!("'{name}'"));
            return refused(format!(
                "{name} knows none of the tensors that are quantized: it is another model's"
            ));
        }
        // Shards one after the other, each in llama.cpp's order.
        tasks.sort_by_key(|task| task.shard);
        Ok(tasks)
    }

    /// What becomes of a tensor that needs importance and has none.
    fn without_importance(&self, task: &mut Task<'_>) -> Result<()> {
        let (name, ty) = (task.tensor.name(), task.choice.ggml_type);
        match self.missing {
            MissingImportance::Refuse => {
                let missing = match self.imatrix {
                    Some(_) => "the importance matrix lacks it",
                    None => "there is no importance matrix",
                };
                return refused(format!(
                    "tensor '{name}' becomes {ty}, which needs importance, and {missing}; `Quantize::missing_importance` says what else to do"
                ));
            }
            MissingImportance::Uniform => {}
            MissingImportance::Type(other) if other.needs_importance() => {
                return refused(format!(
                    "{other} needs importance itself and cannot stand in for what needs it"
                ));
            }
            MissingImportance::Type(other) => {
                let fits = other.fits_rows(task.tensor.shape().row_len());
                task.choice.ggml_type = if fits { other } else { task.tensor.ggml_type() };
            }
        }
        task.without_importance = Some(self.missing);
        Ok(())
    }

    fn choose(&self, metadata: Metadata<'_>, tensors: &[TensorInfo<'_>]) -> Result<Vec<TypeChoice>> {
        let recipe = match &self.types {
            Types::Recipe(recipe) => *recipe,
            Types::Like(types, _) => {
                let choice = |tensor: &TensorInfo<'_>| {
                    let name = tensor.name();
                    let by_name = self.by_name.and_then(|by_name| by_name(name));
                    let ty = by_name.or_else(|| types.get(name).copied());
                    let ty = ty.filter(|ty| !ty.is_integer() && !tensor.ggml_type().is_integer());
                    let ggml_type = ty.unwrap_or(tensor.ggml_type());
                    TypeChoice { ggml_type, instead_of: None, needs_importance: ggml_type.needs_importance() }
                };
                return Ok(tensors.iter().map(choice).collect());
            }
            Types::Uniform(ty) => {
                let choice = |tensor: &TensorInfo<'_>| {
                    uniform(tensor, self.by_name.and_then(|by_name| by_name(tensor.name())).unwrap_or(*ty))
                };
                return Ok(tensors.iter().map(choice).collect());
            }
        };
        let mut plan = TypePlan::new(recipe)
            .importance(self.imatrix.is_some())
            .pure(self.pure)
            .leave_output(self.leave_output)
            .output_type(self.output_type)
            .token_embedding_type(self.token_embedding_type);
        if let Some(by_name) = self.by_name {
            plan = plan.types_by_name(by_name);
        }
        plan.choose(metadata, tensors)
    }

    /// The files that are written, with what is in each.
    fn files<'t, 'm, S: Source>(
        &self,
        input: &S,
        tasks: &'t [Task<'m>],
        output: &Path,
    ) -> Result<Vec<File<'t, 'm>>> {
        let ways = [self.part.is_some(), self.keep_split, self.max_shard_size.is_some()];
        if ways.into_iter().filter(|&is_asked| is_asked).count() > 1 {
            return refused(
                "one part, the shards of the input, and shards of a size are three ways to divide a model: one of them is possible"
                    .to_owned(),
            );
        }
        let ranges = if let Some(part) = self.part {
            let none = vec![None; tasks.len()];
            vec![part.jobs(&jobs(input, tasks, &none)?)]
        } else if let Some(most) = self.max_shard_size {
            let bytes = tasks.iter().map(|task| task.told().size_after().bytes);
            ShardPlan::by_bytes(bytes, input.model().first().alignment(), most)?.shards().to_vec()
        } else if self.keep_split {
            let start = |shard: usize| tasks.partition_point(|task| task.shard < shard);
            (0..input.model().shards().len()).map(|shard| start(shard)..start(shard + 1)).collect()
        } else {
            iter::once(0..tasks.len()).collect()
        };
        let names = self.names(ranges.len(), output)?;
        let file = |((path, part), range): ((PathBuf, Option<Part>), Range<usize>)| File {
            path,
            shard: part.map(|part| (part.no(), part.count())),
            tasks: &tasks[range],
        };
        Ok(names.into_iter().zip(ranges).map(file).collect())
    }

    /// The names of so many files, and which part of the model each is, where it is not all.
    fn names(&self, files: usize, output: &Path) -> Result<Vec<(PathBuf, Option<Part>)>> {
        let count = u16::try_from(files).unwrap_or(u16::MAX);
        let parts = match self.part {
            Some(part) => vec![part],
            None if count > 1 => (0..count).map(|no| Part::new(no, count)).collect::<Result<_>>()?,
            None => return Ok(vec![(output.to_owned(), None)]),
        };
        Ok(parts.into_iter().map(|part| (part.path(output), Some(part))).collect())
    }

    /// The importance of each tensor that has any.
    fn weights(&self, tasks: &[Task<'_>]) -> Vec<Option<Vec<f32>>> {
        let weights = |task: &Task<'_>| {
            if task.without_importance == Some(MissingImportance::Uniform) {
                return usize::try_from(task.tensor.shape().row_len()).ok().map(|columns| vec![1.0; columns]);
            }
            let imatrix = self.imatrix.filter(|_| task.importance);
            imatrix.and_then(|imatrix| imatrix.weights(task.tensor.name()))
        };
        tasks.iter().map(weights).collect()
    }

    /// Says what will be in a file: the model's keys, with those that quantizing changes, and the jobs' tensors.
    fn declare<W: Sink, S: Source>(
        &self,
        mut writer: Writer<W>,
        input: &S,
        file: &File<'_, '_>,
        jobs: &[Job<'_>],
        tasks: &[Task<'_>],
    ) -> Result<Writer<W>> {
        writer.copy_sharded_metadata_from(input.model())?;
        let is_uniform = matches!(self.types, Types::Uniform(_));
        let file_type = match &self.types {
            Types::Recipe(recipe) => Some(recipe.file_type().id()),
            Types::Like(_, file_type) => *file_type,
            // Where nothing got the type, the model is what it was.
            Types::Uniform(ty) => {
                FileType::mostly(*ty).filter(|_| tasks.iter().any(Task::changes)).map(FileType::id)
            }
        };
        let mut keys = Vec::new();
        if file_type.is_some() || !is_uniform {
            keys.push(("general.quantization_version", Value::from(QUANTIZATION_VERSION)));
        }
        keys.extend(file_type.map(|id| ("general.file_type", Value::from(id))));
        if let Some(imatrix) = self.imatrix {
            keys.extend(self.imatrix_name.as_ref().map(|name| ("quantize.imatrix.file", name.into())));
            keys.extend(imatrix.datasets.first().map(|name| ("quantize.imatrix.dataset", name.into())));
            let entries = u32::try_from(imatrix.entries().len()).unwrap_or(u32::MAX);
            keys.push(("quantize.imatrix.entries_count", entries.into()));
            let chunks = Some(imatrix.chunk_count).filter(|&chunks| chunks > 0);
            keys.extend(chunks.map(|chunks| ("quantize.imatrix.chunks_count", chunks.into())));
        }
        for (key, value) in keys {
            // At the end, where llama.cpp has them.
            if !is_uniform {
                writer.remove_metadata(key);
            }
            writer.set_metadata(key, value)?;
        }
        if let Some((no, count)) = file.shard {
            writer.set_shard(no, count, tasks.len())?;
        }
        for job in jobs {
            let shape = if is_uniform { job.shape() } else { job.shape().trim_trailing_ones() };
            writer.declare_tensor(job.name(), shape.dims(), job.ggml_type())?;
        }
        Ok(writer)
    }
}

fn bytes_of_files(files: &[File<'_, '_>]) -> u64 {
    let tensors: Vec<_> = files.iter().flat_map(|file| file.tasks).map(|task| task.tensor).collect();
    bytes_of(&tensors)
}

/// A file that is written.
struct File<'t, 'm> {
    path: PathBuf,
    shard: Option<(u16, u16)>,
    tasks: &'t [Task<'m>],
}

/// What becomes of a tensor where matrices become `ty`.
fn uniform(tensor: &TensorInfo<'_>, ty: GgmlType) -> TypeChoice {
    let from = tensor.ggml_type();
    let is_matrix = tensor.shape().dims().len() >= 2 && !from.is_integer();
    let fits = ty.fits_rows(tensor.shape().row_len());
    TypeChoice {
        ggml_type: if is_matrix && fits { ty } else { from },
        instead_of: (is_matrix && !fits && from != ty).then_some(ty),
        needs_importance: is_matrix && fits && from != ty && ty.needs_importance(),
    }
}

fn jobs<'j, S: Source>(
    input: &'j S,
    tasks: &'j [Task<'_>],
    weights: &'j [Option<Vec<f32>>],
) -> Result<Vec<Job<'j>>> {
    let job = |(task, weights): (&'j Task<'_>, &'j Option<Vec<f32>>)| {
        let job = Job::new(task.tensor.name(), input.origin(&task.tensor)?, task.choice.ggml_type);
        Ok(job.importance(weights.as_deref()))
    };
    tasks.iter().zip(weights).map(job).collect()
}

/// Whether the matrix has a tensor's importance.
pub(super) fn knows(imatrix: &Imatrix, tensor: &TensorInfo<'_>) -> Result<bool> {
    let (name, shape) = (tensor.name(), tensor.shape());
    let Some(entry) = imatrix.entry(name) else { return Ok(false) };
    let wanted = shape.row_len().saturating_mul(shape.dims().get(2).copied().unwrap_or(1));
    let found = entry.sums.len();
    // Embeddings are looked up, not multiplied: what was measured there is something else.
    let is_looked_up = matches!(name, TOKEN_EMBEDDING | "per_layer_token_embd.weight");
    match found as u64 == wanted {
        true => Ok(true),
        false if is_looked_up => Ok(false),
        false => refused(format!(
            "tensor '{name}' has {wanted} columns, and the importance matrix has {found} for it"
        )),
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
