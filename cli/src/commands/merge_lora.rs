//! Merges LoRA adapters into a model. Reading, computing and writing overlap, on all cores.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, bail};
use gguf_codec::Inputs;
use gguf_codec::model::hf::FromSafetensors;
use gguf_codec::model::{Input, MergeLora, MergeLoraReport};
use serde_json::json;

use crate::importance::Idle;
use crate::listing::Listing;
use crate::names::Names;
use crate::numbers::{counted, grouped};
use crate::quantization::{Exceptions, Target, Weighing};
use crate::quantized::{Quantized, report_as_json};
use crate::work::Work;
use crate::{cli, output};

/// Merges LoRA adapters into a GGUF model.
///
/// An adapter is a GGUF, or a folder of PEFT, of which from-safetensors would make one. Each weight that it changes becomes W + scale · B · A, computed
/// in single precision, and is written in the type that it had. All else is copied. With --recipe or --types-like the model is
/// quantized on the way, and what adapters changed counts as F32.
///
/// OUT is written beside its place, under a temporary name, and moved there when it is complete: after a failure or an
/// interruption (Ctrl-C, SIGTERM) what was there is as it was, and nothing is left behind. BASE may be sharded: give the first of its
/// files.
#[derive(clap::Args)]
#[command(mut_group("exceptions", |group| group.requires("target")))]
#[command(mut_group("listing", |group| group.requires("target")))]
#[command(mut_arg("missing_importance", |arg| arg.requires("target")))]
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
    /// What an adapter's change is multiplied by. Once for all adapters, or once for each of them, in their order
    #[arg(long, value_name = "NUMBER", default_value = "1", allow_negative_numbers = true, value_parser = finite)]
    scale: Vec<f32>,
    /// For an adapter that is a folder of PEFT: the folder of its base model, whose config.json is read; without it, the one that
    /// adapter_config.json names, where it is on this machine
    #[arg(long = "base", value_name = "DIR", value_parser = crate::paths::file())]
    base_folder: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
    /// Quantize again what no adapter changes and is quantized already
    #[arg(long, requires = "target")]
    allow_requantize: bool,
    #[command(flatten)]
    weighing: Weighing,
    #[command(flatten)]
    exceptions: Exceptions,
    #[command(flatten)]
    force: output::Force,
    /// Only show what would become of the model: which tensors an adapter changes and the size, and where it is quantized what becomes of
    /// tensors, by type, and with --all, --tensor or --json of each
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    listing: Listing,
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
    let (work, start) = (Work::begin(&args.output)?, Instant::now());
    let base = Input::open(&args.base).map_err(|error| cli::about(&args.base, error))?;
    let names = || base.tensors().map(|tensor| tensor.name());
    args.exceptions.check(names())?;
    args.listing.check(names())?;
    let importance = args.weighing.read()?;
    let (mut merge, mut notes) = (MergeLora::new(&base), Vec::new());
    for (at, path) in args.adapters.iter().enumerate() {
        let adapter = adapter(path, args.base_folder.as_deref(), &mut notes)?;
        merge = merge.adapter(&adapter, args.scale_of(at))?;
    }
    let by_name = args.exceptions.by_name();
    let quantize = args.target.quantize(None)?.map(|quantize| {
        let quantize = args.exceptions.apply(quantize, &by_name);
        importance.weigh(quantize.allow_requantize(args.allow_requantize))
    });
    let mut inputs = Inputs::new();
    inputs.add_all(&args.weighing.imatrix).add_all(&args.target.types_like);
    let merge =
        merge.imatrix(importance.matrix()).quantize(quantize).existing(args.force.existing()).inputs(inputs);
    let merged = match args.dry_run {
        true => merge.plan(&args.output),
        false => merge.run_with(&args.output, |done, total| work.reached(done, total)),
    };
    work.done();
    let report = merged.map_err(|error| work.explained(error))?;
    notes.extend(report.notes.iter().cloned());
    let path = args.output.display().to_string();
    let idle = Idle::new(|name| base.model().tensor_info(name).is_ok(), &importance);
    if args.json {
        let quantized = report
            .quantized
            .as_ref()
            .map(|report| report_as_json(&args.target, &idle, report, None, !args.dry_run));
        let by_adapter = changes(&args, &report).map(|(path, scale, tensors)| {
            json!({ "path": path.display().to_string(), "scale": scale, "tensors": tensors })
        });
        let report = json!({ "path": path, "written": !args.dry_run, "adapters": adapters, "merged": report.merged,
            "by_adapter": by_adapter.collect::<Vec<_>>(), "bytes": report.bytes, "notes": notes, "quantized": quantized });
        return Ok(crate::json::document(&report));
    }
    let (tensors, of) = (counted(report.merged.len() as u64, "tensor"), counted(adapters as u64, "adapter"));
    let would = if args.dry_run { "would be " } else { "" };
    let mut summary = format!("{path}: {tensors} {would}changed by {of}\n");
    for (path, scale, tensors) in changes(&args, &report) {
        let mut names = Names::default();
        tensors.iter().for_each(|name| names.add(name));
        writeln!(summary, "  {}, scale {scale}: {names}", path.display())?;
    }
    for note in &notes {
        writeln!(summary, "  note: {note}")?;
    }
    let mut summary: String = summary.lines().map(|line| cli::printable(line) + "\n").collect();
    match &report.quantized {
        Some(report) => {
            let quantized = Quantized {
                target: &args.target,
                chosen: None,
                report,
                idle: &idle,
                by_name: &by_name,
                listing: &args.listing,
                start: (!args.dry_run).then_some(start),
            };
            summary += &quantized.summary("")?;
        }
        None => writeln!(summary, "{} bytes", grouped(report.bytes))?,
    }
    Ok(summary)
}

impl Args {
    /// The scale of an adapter, by its place.
    fn scale_of(&self, at: usize) -> f32 {
        self.scale.get(at).or(self.scale.first()).copied().unwrap_or(1.0)
    }
}

/// The adapters, with their scales and the tensors that they change.
fn changes<'a>(
    args: &'a Args,
    report: &'a MergeLoraReport,
) -> impl Iterator<Item = (&'a Path, f32, &'a Vec<String>)> {
    let of = |(at, (path, tensors)): (usize, (&'a PathBuf, _))| (path.as_path(), args.scale_of(at), tensors);
    args.adapters.iter().zip(&report.by_adapter).enumerate().map(of)
}

/// An adapter: a GGUF, or a folder or file of PEFT, which is converted in memory.
fn adapter(path: &Path, base: Option<&Path>, notes: &mut Vec<String>) -> Result<Input> {
    let about = |error| cli::named(path, error);
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
    let is_peft = path.is_dir() || path.extension().is_some_and(|extension| extension == "safetensors");
    if !is_peft || !folder.join("adapter_config.json").exists() {
        return Input::open(path).map_err(|error| cli::about(path, error));
    }
    let job = FromSafetensors::open(path).map_err(about)?;
    let job = match base {
        Some(base) => job.base(base).map_err(about)?,
        None => job,
    };
    notes.extend(job.plan("").map_err(about)?.notes);
    job.in_memory().map_err(about)
}
