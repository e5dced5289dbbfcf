//! Running a [`Quantize`]: planning, and writing files or a stream.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::files::{File, bytes_of_files};
use super::report::{QuantizeReport, QuantizedTensor};
use super::tasks::{Task, jobs};
use super::{Quantize, Types, refused};
use crate::error::{Error, Result};
use crate::file::atomic::StagedFile;
use crate::file::sink::Sink;
use crate::ggml_type::GgmlType;
use crate::model::convert::{Convert, Outcome};
use crate::model::job::Job;
use crate::model::pieces::told;
use crate::model::source::Source;
use crate::model::target::Target;
use crate::write::{DataWriter, Writer};

impl Quantize<'_> {
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
    /// [`Error::InvalidBlock`] where a tensor that stays is not valid; those of [`TypePlan::choose`](crate::model::TypePlan::choose) and [`Job::check`];
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
pub(in crate::model) fn converted<T: Target>(
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
