//! Converts a model's tensors to one type. Reading, converting and writing overlap, on all cores.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use gguf_codec::GgmlType;
use gguf_codec::model::{Input, Quantize, QuantizeReport, QuantizedTensor};

use crate::cli::Answer;
use crate::listing::Listing;
use crate::names::Names;
use crate::numbers::counted;
use crate::work::Work;
use crate::{cli, errors, output, paths, sizes, types};

/// Converts every matrix of a GGUF model whose rows are whole blocks to one type.
///
/// OUT is written beside its place, under a temporary name, and moved there when it is complete: after a failure or
/// an interruption (Ctrl-C, SIGTERM) what was there is as it was, and nothing is left behind. IN may be sharded: give the
/// first of its files.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The model to read
    #[arg(value_name = "IN")]
    #[arg(value_parser = crate::paths::file())]
    input: PathBuf,
    /// The file to write, or - for standard output
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// What the matrices become
    #[arg(long = "type", value_name = "TYPE", ignore_case = true, value_parser = types::target())]
    ty: GgmlType,
    /// Also show how far each converted tensor is from what it was
    #[arg(long)]
    report: bool,
    /// Quantize again what is quantized already, which loses more than quantizing the original
    #[arg(long)]
    allow_requantize: bool,
    #[command(flatten)]
    force: output::Force,
    /// Only show what would become of the tensors, by type, and with --all or --tensor of each of them
    #[arg(long, conflicts_with = "report")]
    dry_run: bool,
    #[command(flatten)]
    listing: Listing,
}

/// Why a tensor is left unchanged.
fn reason(tensor: &QuantizedTensor, ty: GgmlType) -> String {
    if tensor.from == ty {
        format!("already {ty}")
    } else if tensor.instead_of == Some(ty) {
        format!("rows of {}, not whole blocks of {}", tensor.shape.row_len(), ty.block_len())
    } else if tensor.shape.dims().len() < 2 {
        "fewer than two dimensions".into()
    } else {
        "integers".into()
    }
}

pub(crate) fn run(args: Args) -> Result<Answer> {
    let (ty, start) = (args.ty, Instant::now());
    let work = Work::begin(&args.output)?;
    let input = Input::open(&args.input).map_err(|error| cli::about(&args.input, error))?;
    args.listing.check(input.tensors().map(|tensor| tensor.name()))?;
    let convert = Quantize::uniform(ty)
        .allow_requantize(args.allow_requantize)
        .measure(args.report)
        .existing(args.force.existing());
    let report = if args.dry_run {
        convert.plan(&input, &args.output)
    } else if paths::is_stream(&args.output) {
        let stream = output::standard()?;
        convert.write_to(&input, stream, |done, total| work.reached(done, total)).map(|(report, _)| report)
    } else {
        convert.run_with(&input, &args.output, |done, total| work.reached(done, total))
    };
    work.done();
    let report = report.map_err(|error| work.explained(error))?;

    let verb = if args.dry_run { "would become" } else { "became" };
    let converted = report.tensors.iter().filter(|tensor| tensor.changes()).count() as u64;
    let mut summary =
        cli::printable(&format!("{}: {} {verb} {ty}", args.output.display(), counted(converted, "tensor")));
    if converted == 0 {
        summary += "; general.file_type stays what it was";
    }
    summary.push('\n');
    let mut kept: Vec<(String, Names)> = Vec::new();
    for tensor in report.tensors.iter().filter(|tensor| !tensor.changes()) {
        let reason = reason(tensor, ty);
        let at = kept.iter().position(|(known, _)| *known == reason).unwrap_or_else(|| {
            kept.push((reason, Names::default()));
            kept.len() - 1
        });
        kept[at].1.add(&tensor.name);
    }
    for (reason, names) in kept {
        writeln!(summary, "  stayed as they were ({reason}): {names}")?;
    }
    summary += &args.listing.table(&report.tensors);
    let by_type = report.by_type();
    summary += &sizes::table(&by_type.iter().map(|(ty, sizes)| (ty.name(), *sizes)).collect::<Vec<_>>());
    let time = (!args.dry_run).then(|| start.elapsed());
    summary += &sizes::last_line(report.bytes, report.size_before().bytes, report.size_after().bytes, time);
    if args.report {
        write!(summary, "\n{}", errors_of(&report))?;
    }
    Ok(output::answer(&args.output, summary))
}

/// The error of each converted tensor, and of all together.
fn errors_of(report: &QuantizeReport) -> String {
    let measured = report.tensors.iter().filter_map(|tensor| {
        let cells = [cli::printable(&tensor.name), tensor.from.name().to_owned()];
        tensor.error.map(|error| (cells, error))
    });
    let all = report.tensors.iter().filter_map(|tensor| tensor.error).sum();
    errors::table(["tensor", "from"], measured.chain([(["all".to_owned(), String::new()], all)]))
}
