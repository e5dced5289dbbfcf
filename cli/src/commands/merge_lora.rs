//! Merges LoRA adapters into a model. Reading, computing and writing overlap, on all cores.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Result, bail};
use gguf_codec::Inputs;
use gguf_codec::model::{Input, MergeLora, MissingImportance, Quantize, Recipe};
use serde_json::json;

use crate::commands::quantize::report_as_json;
use crate::importance::{self, Idle, Importance};
use crate::numbers::{counted, grouped};
use crate::work::Work;
use crate::{cli, output};

/// Merges LoRA adapters into a GGUF model.
///
/// An adapter is a GGUF; from-safetensors makes one of a folder of PEFT. Each weight that it changes becomes W + scale · B · A, computed
/// in single precision, and is written in the type that it had. All else is copied. With --recipe the model is quantized on the way, and
/// what adapters changed counts as F32.
///
/// OUT is written beside its place, under a temporary name, and moved there when it is complete: after a failure or an
/// interruption (Ctrl-C, SIGTERM) what was there is as it was, and nothing is left behind. BASE may be sharded: give the first of its
/// files.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The model to read, in any types
    #[arg(value_name = "BASE")]
    #[arg(value_parser = crate::paths::file())]
    base: PathBuf,
    /// One adapter or several, which are added one after the other
    #[arg(value_name = "ADAPTER", required = true, num_args = 1..)]
    #[arg(value_parser = crate::paths::file())]
    adapters: Vec<PathBuf>,
    /// The file to write
    #[arg(value_name = "OUT")]
    #[arg(value_parser = crate::paths::file())]
    output: PathBuf,
    /// How much of an adapter is added; give it once for each of several, in their order
    #[arg(long, value_name = "NUMBER", default_value = "1", allow_negative_numbers = true, value_parser = finite)]
    scale: Vec<f32>,
    /// Quantize on the way, by one of llama.cpp's recipes, such as Q4_K_M
    #[arg(long, value_name = "NAME", ignore_case = true)]
    recipe: Option<Recipe>,
    /// With --recipe: quantize again what no adapter changes and is quantized already
    #[arg(long, requires = "recipe")]
    allow_requantize: bool,
    /// An importance matrix, in either form that llama.cpp's `imatrix` writes; given several times, they are put together
    #[arg(long, value_name = "FILE")]
    #[arg(value_parser = crate::paths::file())]
    imatrix: Vec<PathBuf>,
    /// With --recipe: what becomes of tensors that need importance and have none: error, uniform (all their values count the same), or
    /// a type that they get instead
    #[arg(long, value_name = "error|uniform|TYPE", requires = "recipe", value_parser = importance::missing)]
    missing_importance: Option<MissingImportance>,
    #[command(flatten)]
    force: output::Force,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn finite(argument: &str) -> Result<f32> {
    let scale: f32 = argument.parse()?;
    if scale.is_finite() { Ok(scale) } else { bail!("must be a finite number") }
}

pub(crate) fn run(args: Args) -> Result<String> {
    let (adapters, scales) = (args.adapters.len(), args.scale.len());
    if scales != 1 && scales != adapters {
        return Err(cli::usage(format!(
            "--scale is given {scales} times for {}: give it once, or once for each",
            counted(adapters as u64, "adapter")
        )));
    }
    let work = Work::begin(&args.output)?;
    let base = Input::open(&args.base).map_err(|error| cli::about(&args.base, error))?;
    let importance = Importance::read(&args.imatrix, args.missing_importance.unwrap_or_default())?;
    let mut merge = MergeLora::new(&base);
    for (at, path) in args.adapters.iter().enumerate() {
        let adapter = Input::open(path).map_err(|error| cli::about(path, error))?;
        merge = merge.adapter(&adapter, args.scale.get(at).or(args.scale.first()).copied().unwrap_or(1.0))?;
    }
    let recipe = |recipe| importance.weigh(Quantize::recipe(recipe).allow_requantize(args.allow_requantize));
    let mut inputs = Inputs::new();
    inputs.add_all(&args.imatrix);
    let merged = merge
        .imatrix(importance.matrix())
        .quantize(args.recipe.map(recipe))
        .existing(args.force.existing())
        .inputs(inputs)
        .run_with(&args.output, |done, total| work.reached(done, total));
    work.done();
    let report = merged.map_err(|error| work.explained(error))?;
    let path = args.output.display().to_string();
    if args.json {
        let idle = Idle::new(|name| base.tensors().any(|tensor| tensor.name() == name), &importance);
        let quantized =
            report.quantized.as_ref().map(|report| report_as_json(args.recipe, &idle, report, true));
        let report = json!({ "path": path, "adapters": adapters, "merged": report.merged, "bytes": report.bytes,
            "notes": report.notes, "quantized": quantized });
        return Ok(format!("{report:#}\n"));
    }
    let (tensors, of) = (counted(report.merged.len() as u64, "tensor"), counted(adapters as u64, "adapter"));
    let mut summary = format!("{path}: {tensors} changed by {of}\n");
    for note in &report.notes {
        writeln!(summary, "  note: {note}")?;
    }
    writeln!(summary, "{} bytes", grouped(report.bytes))?;
    Ok(summary.lines().map(|line| cli::printable(line) + "\n").collect())
}
