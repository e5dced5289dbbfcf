//! Converts a model's tensors to one type. Reading, converting and writing overlap, on all cores.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use gguf_codec::model::{Convert, FileType, Input, Job, Outcome, QUANTIZATION_VERSION, Size};
use gguf_codec::{GgmlType, Inputs, Sink, TensorInfo, Writer};

use crate::names::Names;
use crate::numbers::counted;
use crate::work::Work;
use crate::{cli, errors, output, sizes, types, work};

/// Converts every matrix of a GGUF model whose rows are whole blocks to one type.
///
/// OUT is written beside its place, under a temporary name, and moved there when it is complete: after a failure or
/// an interruption (Ctrl-C, SIGTERM) what was there is as it was, and nothing is left behind. IN may be sharded: give the
/// first of its files.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The model to read
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// The file to write
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// What the matrices become
    #[arg(long = "type", value_name = "TYPE", ignore_case = true, value_parser = types::target())]
    ty: GgmlType,
    /// Also show how far each converted tensor is from what it was
    #[arg(long)]
    report: bool,
    #[command(flatten)]
    force: output::Force,
    /// Only show what would become of the tensors
    #[arg(long, conflicts_with = "report")]
    dry_run: bool,
}

/// Why a tensor stays as it is, or `None` where it becomes `ty`.
fn reason_to_stay(tensor: &TensorInfo<'_>, ty: GgmlType) -> Option<String> {
    let from = tensor.ggml_type();
    if from == ty {
        Some(format!("already {ty}"))
    } else if tensor.shape().dims().len() < 2 {
        Some("fewer than two dimensions".into())
    } else if from.is_integer() {
        Some("integers".into())
    } else if !tensor.shape().row_len().is_multiple_of(ty.block_len() as u64) {
        Some(format!("rows of {}, not whole blocks of {}", tensor.shape().row_len(), ty.block_len()))
    } else {
        None
    }
}

pub(crate) fn run(args: Args) -> Result<String> {
    let (ty, start) = (args.ty, Instant::now());
    let work = Work::begin(&args.output)?;
    let input = Input::open(&args.input).map_err(|error| cli::about(&args.input, error))?;
    if !args.dry_run {
        Inputs::new().add_all(input.paths()).check(&args.output, args.force.existing())?;
    }
    let plan: Vec<_> = input.tensors().map(|tensor| (tensor, reason_to_stay(&tensor, ty))).collect();
    let jobs = plan.iter().map(|(tensor, reason)| {
        let (name, origin) = (tensor.name(), input.origin(tensor)?);
        Ok(if reason.is_none() { Job::new(name, origin, ty) } else { Job::copy(name, origin) })
    });
    let jobs = jobs.collect::<Result<Vec<_>>>()?;
    let converted = plan.iter().filter(|(_, reason)| reason.is_none()).count() as u64;

    let is_any = converted > 0;
    let (output_bytes, outcomes) = if args.dry_run {
        let sink = declare(Writer::new(std::io::sink()), &input, &jobs, ty, is_any)?;
        (sink.file_len()?, Vec::new())
    } else {
        let writer = Writer::create_with(&args.output, args.force.existing())?;
        let writer = declare(writer, &input, &jobs, ty, is_any)?;
        let output_bytes = writer.file_len()?;
        let mut writer = writer.write_header()?;
        let outcomes = work.run(Convert::new().measure(args.report), &jobs, &mut writer)?;
        let has_wider = if ty == GgmlType::F16 { "--type BF16 or F32 has a wider one" } else { "" };
        work::refuse_infinite(&jobs, &outcomes, has_wider)?;
        writer.finish()?;
        (output_bytes, outcomes)
    };

    let verb = if args.dry_run { "would become" } else { "became" };
    let mut summary =
        cli::printable(&format!("{}: {} {verb} {ty}", args.output.display(), counted(converted, "tensor")));
    if converted == 0 {
        summary += "; general.file_type stays what it was";
    }
    summary.push('\n');
    let mut kept: Vec<(&str, Names)> = Vec::new();
    for (tensor, reason) in &plan {
        let Some(reason) = reason else { continue };
        let at = kept.iter().position(|(known, _)| known == reason).unwrap_or_else(|| {
            kept.push((reason, Names::default()));
            kept.len() - 1
        });
        kept[at].1.add(tensor.name());
    }
    for (reason, names) in kept {
        writeln!(summary, "  stayed as they were ({reason}): {names}")?;
    }
    let by_type = by_type(&jobs);
    let of = |pick: fn(&(Size, Size)) -> Size| by_type.values().map(pick).sum::<Size>().bytes;
    summary += &sizes::table(&by_type.iter().map(|(ty, sizes)| (ty.name(), *sizes)).collect::<Vec<_>>());
    let time = (!args.dry_run).then(|| start.elapsed());
    summary += &sizes::last_line(output_bytes, of(|sizes| sizes.0), of(|sizes| sizes.1), time);
    if args.report {
        write!(summary, "\n{}", report(&jobs, &outcomes))?;
    }
    Ok(summary)
}

/// Says what will be in the file.
fn declare<S: Sink>(
    mut writer: Writer<S>,
    input: &Input,
    jobs: &[Job<'_>],
    ty: GgmlType,
    is_any: bool,
) -> Result<Writer<S>> {
    writer.copy_sharded_metadata_from(input.model())?;
    if let Some(file_type) = FileType::mostly(ty).filter(|_| is_any) {
        writer.set_metadata("general.file_type", file_type.id())?;
        writer.set_metadata("general.quantization_version", QUANTIZATION_VERSION)?;
    }
    for job in jobs {
        writer.declare_tensor(job.name(), job.shape().dims(), job.ggml_type())?;
    }
    Ok(writer)
}

/// The sizes of the tensors of each type, before and after.
fn by_type(jobs: &[Job<'_>]) -> BTreeMap<GgmlType, (Size, Size)> {
    let size = |job: &Job<'_>, ty: GgmlType| {
        let mut size = Size::default();
        (size.tensors, size.parameters) = (1, job.shape().element_count());
        size.bytes = ty.bytes_for(size.parameters).unwrap_or(0);
        size
    };
    let mut types = BTreeMap::<GgmlType, (Size, Size)>::new();
    for job in jobs {
        let from = job.origin().ggml_type();
        types.entry(from).or_default().0 += size(job, from);
        types.entry(job.ggml_type()).or_default().1 += size(job, job.ggml_type());
    }
    types
}

/// How far each tensor that was converted is from what it was, and all together.
fn report(jobs: &[Job<'_>], outcomes: &[Outcome]) -> String {
    let measured = jobs.iter().zip(outcomes).filter_map(|(job, outcome)| {
        let name = cli::printable(job.name());
        outcome.error.map(|error| ([name, job.origin().ggml_type().name().to_owned()], error))
    });
    let all = outcomes.iter().filter_map(|outcome| outcome.error).sum();
    errors::table(["tensor", "from"], measured.chain([(["all".to_owned(), String::new()], all)]))
}
