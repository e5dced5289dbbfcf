//! Quantizes a model by one of llama.cpp's recipes, to the bytes that llama.cpp's own `quantize` writes.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use gguf_codec::Inputs;
use gguf_codec::model::{Input, Part, Quantize, Recipe};

use crate::budget;
use crate::cli::Answer;
use crate::importance::Idle;
use crate::listing::Listing;
use crate::quantization::{Exceptions, Target, Weighing};
use crate::quantized::{Quantized, report_as_json};
use crate::work::Work;
use crate::{cli, output, paths};

/// Quantizes a GGUF model by a recipe: the types and bytes are those of llama.cpp's `quantize`. Or, with --size or --bpw, to types that
/// are chosen tensor by tensor, or to the types of another model.
///
/// OUT is written beside its place, under a temporary name, and moved there when it is complete: after a failure or
/// an interruption (Ctrl-C, SIGTERM) what was there is as it was, and nothing is left behind. IN may be sharded: give the
/// first of its files.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The model to read, in F32, F16 or BF16
    #[arg(value_name = "IN")]
    #[arg(value_parser = crate::paths::file())]
    input: PathBuf,
    /// The file to write, or - for standard output
    #[arg(value_name = "OUT")]
    output: PathBuf,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    budget: budget::Wanted,
    #[command(flatten)]
    weighing: Weighing,
    #[command(flatten)]
    exceptions: Exceptions,
    /// Quantize again what is quantized already, which loses more than quantizing the original
    #[arg(long)]
    allow_requantize: bool,
    /// Make one of N parts, as one of N machines: shard k of N, named after OUT. `merge` makes of the shards what one
    /// machine would have made
    #[arg(long, value_name = "k/N")]
    part: Option<Part>,
    /// Make as many shards as IN has, named after OUT, with the same tensors in each
    #[arg(long, conflicts_with = "part")]
    keep_split: bool,
    #[command(flatten)]
    force: output::Force,
    /// Only show what would become of the tensors, by type, and with --all, --tensor or --json of each of them
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    listing: Listing,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> Result<Answer> {
    if args.target.name().is_none() && !args.budget.is_asked() {
        return Err(cli::usage(
            "no type is given for OUT: give --recipe NAME (such as Q4_K_M), --size or --bpw for types that are chosen, or \
             --types-like OTHER; `gguf convert --type` gives every matrix one type"
                .to_owned(),
        ));
    }
    let start = Instant::now();
    let input = Input::open(&args.input).map_err(|error| cli::about(&args.input, error))?;
    // The names of files do not depend on types.
    let outputs = match paths::is_stream(&args.output) {
        true => Vec::new(),
        false => Quantize::recipe(Recipe::F16)
            .part(args.part)
            .keep_split(args.keep_split)
            .paths(&input, &args.output)?,
    };
    let work = Work::begin(outputs.first().unwrap_or(&args.output))?;
    let importance = args.weighing.read()?;
    let names = || input.tensors().map(|tensor| tensor.name());
    args.exceptions.check(names())?;
    args.listing.check(names())?;
    let by_name = args.exceptions.by_name();
    let mut inputs = Inputs::new();
    inputs
        .add_all(&args.weighing.imatrix)
        .add_all(&args.target.types_like)
        .add_all(args.budget.paths())
        .add_all(input.paths());
    let task = budget::Task {
        input: &input,
        imatrix: importance.matrix(),
        inputs: &inputs,
        outputs: &outputs,
        existing: args.force.existing(),
        dry_run: args.dry_run,
    };
    let chosen = args.budget.choose(&task, &work)?;
    let quantize = args.target.quantize(chosen.as_ref())?;
    let quantize = args.exceptions.apply(quantize.context("--recipe says what to make of it")?, &by_name);
    let quantize = importance
        .weigh(quantize)
        .part(args.part)
        .keep_split(args.keep_split)
        .allow_requantize(args.allow_requantize)
        .existing(args.force.existing())
        .inputs(inputs);
    let report = if args.dry_run {
        quantize.plan(&input, &args.output)
    } else if paths::is_stream(&args.output) {
        let stream = output::standard()?;
        quantize.write_to(&input, stream, |done, total| work.reached(done, total)).map(|(report, _)| report)
    } else {
        quantize.run_with(&input, &args.output, |done, total| work.reached(done, total))
    };
    work.done();
    let report = report.map_err(|error| work.explained(error))?;
    let idle = Idle::new(|name| input.model().tensor_info(name).is_ok(), &importance);
    let text = if args.json {
        let json = report_as_json(&args.target, &idle, &report, chosen.as_ref(), !args.dry_run);
        crate::json::document(&json)
    } else {
        let fixed = args.budget.fixed();
        let asked_for = |name: &str| by_name(name).or_else(|| fixed(name));
        let quantized = Quantized {
            target: &args.target,
            chosen: chosen.as_ref(),
            report: &report,
            idle: &idle,
            by_name: &asked_for,
            listing: &args.listing,
            start: (!args.dry_run).then_some(start),
        };
        quantized.summary("")?
    };
    Ok(output::answer(&args.output, text))
}
