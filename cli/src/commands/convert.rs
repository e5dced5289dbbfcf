//! Converts a model's tensors to one type. Reading, converting and writing overlap, on all cores.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::Result;
use gguf_codec::model::{Convert, FileType, Input, Job, Outcome, QUANTIZATION_VERSION};
use gguf_codec::{GgmlType, Inputs, TensorInfo, Writer};

use crate::names::Names;
use crate::numbers::{counted, grouped};
use crate::work::Work;
use crate::{cli, errors, output, types, work};

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
    let ty = args.ty;
    let work = Work::begin(&args.output)?;
    let input = Input::open(&args.input).map_err(|error| cli::about(&args.input, error))?;
    Inputs::new().add_all(input.paths()).check(&args.output, args.force.existing())?;
    let plan: Vec<_> = input.tensors().map(|tensor| (tensor, reason_to_stay(&tensor, ty))).collect();
    let jobs = plan.iter().map(|(tensor, reason)| {
        let (name, origin) = (tensor.name(), input.origin(tensor)?);
        Ok(if reason.is_none() { Job::new(name, origin, ty) } else { Job::copy(name, origin) })
    });
    let jobs = jobs.collect::<Result<Vec<_>>>()?;
    let converted = plan.iter().filter(|(_, reason)| reason.is_none()).count() as u64;

    let mut writer = Writer::create_with(&args.output, args.force.existing())?;
    writer.copy_sharded_metadata_from(input.model())?;
    if let Some(file_type) = FileType::mostly(ty).filter(|_| converted > 0) {
        writer.metadata("general.file_type", file_type.id())?;
        writer.metadata("general.quantization_version", QUANTIZATION_VERSION)?;
    }
    for job in &jobs {
        writer.tensor(job.name(), job.shape().dims(), job.ggml_type())?;
    }
    let output_bytes = writer.file_len()?;
    let mut writer = writer.write_header()?;

    let outcomes = work.run(Convert::new().measure(args.report), &jobs, &mut writer)?;
    let has_wider = if ty == GgmlType::F16 { "--type BF16 or F32 has a wider one" } else { "" };
    work::refuse_infinite(&jobs, &outcomes, has_wider)?;
    writer.finish()?;

    let mut summary =
        cli::printable(&format!("{}: {} became {ty}", args.output.display(), counted(converted, "tensor")));
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
    writeln!(summary, "{} bytes, from {}", grouped(output_bytes), grouped(input.file_len()))?;
    if args.report {
        write!(summary, "\n{}", report(&jobs, &outcomes))?;
    }
    Ok(summary)
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
