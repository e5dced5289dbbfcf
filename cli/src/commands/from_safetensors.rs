//! Converts a model in safetensors files to GGUF. Reading, converting and writing overlap and use all cores.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::ArgGroup;
use gguf_codec::model::hf::{CarriedWeight, Fidelity, FromSafetensors, ImportReport, NameMap};
use gguf_codec::{GgmlType, Inputs, QuantError};
use serde_json::json;

use crate::budget::{self, Chosen, Task};
use crate::importance::{Idle, Importance};
use crate::listing::Listing;
use crate::names::Names;
use crate::numbers::{counted, grouped};
use crate::quantization::{Exceptions, Target, Weighing};
use crate::quantized::{Quantized, first_to_last, report_as_json};
use crate::work::Work;
use crate::{cli, output, size, texts, types};

/// Makes a GGUF of a model in safetensors files.
///
/// Of Llama, Mistral, Mixtral, Qwen2, Qwen3, Gemma, Phi-3, gpt-oss, DeepSeek, BERT and others, names, parameters and order of
/// rows become those of llama.cpp, as config.json beside the files asks for; the tokenizer comes from tokenizer.json. Other models keep their
/// names. What to-safetensors wrote of plain types becomes the model again that it was.
///
/// A folder with a LoRA adapter of PEFT becomes an adapter for llama.cpp, in F32 unless --type says otherwise.
///
/// Weights that bitsandbytes, GPTQ, AWQ, compressed-tensors, torchao, HQQ, quanto, ModelOpt or BitNet quantized, and FP8, MXFP4 and
/// NVFP4, keep their codes where a type of GGUF has the same; others become BF16 or F16. With --type all are computed.
///
/// OUT is written beside its place, under a temporary name, and moved there when it is complete: after a failure or an
/// interruption (Ctrl-C, SIGTERM) what was there is as it was, and nothing is left behind.
/// With --recipe, --types-like, --size or --bpw the model is quantized on the way: the bytes are those of converting it without them and
/// quantizing it then, and no file is written between.
#[derive(clap::Args)]
#[command(group(ArgGroup::new("quantizing").args(["recipe", "types_like", "size", "bpw"])))]
#[command(mut_group("weighing", |group| group.requires("quantizing")))]
#[command(mut_group("exceptions", |group| group.requires("target")))]
#[command(mut_group("listing", |group| group.requires("quantizing")))]
pub(crate) struct Args {
    /// A safetensors file, a folder that has one or several with an index, or the index
    #[arg(value_name = "FILE|DIR")]
    #[arg(value_parser = crate::paths::file())]
    input: PathBuf,
    /// The GGUF to write
    #[arg(value_name = "OUT")]
    #[arg(value_parser = crate::paths::file())]
    output: PathBuf,
    /// What the matrices become; without it, they stay what they are
    #[arg(long = "type", value_name = "TYPE", ignore_case = true, value_parser = types::target(), conflicts_with = "quantizing")]
    ty: Option<GgmlType>,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    budget: budget::Wanted,
    #[command(flatten)]
    weighing: Weighing,
    #[command(flatten)]
    exceptions: Exceptions,
    /// Write shards of at most so many bytes of tensors, OUT-00001-of-00003.gguf and so on, where they are more: a number, or one
    /// with K, M or G for thousands, millions or billions
    #[arg(long, value_name = "SIZE", value_parser = size::size)]
    max_size: Option<u64>,
    /// Names that come before the built-in ones. A line holds a name in safetensors and one in GGUF, or - to leave the
    /// tensor out; in both, {} is a number and * at the end is the rest
    #[arg(long, value_name = "FILE")]
    #[arg(value_parser = crate::paths::file())]
    names: Option<PathBuf>,
    /// The folder of an adapter's base model, whose config.json is read; without it, the one that adapter_config.json names, where it
    /// is on this machine
    #[arg(long, value_name = "DIR", conflicts_with = "quantizing")]
    #[arg(value_parser = crate::paths::file())]
    base: Option<PathBuf>,
    /// List what became of each weight that another program had quantized
    #[arg(long)]
    report: bool,
    #[command(flatten)]
    force: output::Force,
    /// Only show what would become of the model, by type where it is quantized, and with --all, --tensor or --json of each tensor
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    listing: Listing,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> Result<String> {
    let (work, start) = (Work::begin(&args.output)?, Instant::now());
    let job = FromSafetensors::open(&args.input).map_err(|error| cli::named(&args.input, error))?;
    let job = match &args.base {
        Some(base) => job.base(base)?,
        None => job,
    };
    let importance = args.weighing.read()?;
    let mut inputs = Inputs::new();
    inputs
        .add_all(&args.names)
        .add_all(&args.weighing.imatrix)
        .add_all(&args.target.types_like)
        .add_all(args.budget.paths());
    let names = args
        .names
        .as_ref()
        .map(|path| texts::read(path)?.parse::<NameMap>().with_context(|| format!("'{}'", path.display())));
    let job = job.ggml_type(args.ty).names(names.transpose()?);
    let chosen = choose(&args, &job, &importance, &inputs, &work)?;
    // Where shards are cut depends on what was chosen.
    inputs.add_all(args.budget.plot());
    let (by_name, fixed) = (args.exceptions.by_name(), args.budget.fixed());
    let quantize = args.target.quantize(chosen.as_ref())?;
    let quantize = quantize.map(|quantize| importance.weigh(args.exceptions.apply(quantize, &by_name)));
    let job =
        job.quantize(quantize).max_shard_size(args.max_size).existing(args.force.existing()).inputs(inputs);
    let planned = match args.dry_run || args.exceptions.has_patterns() || args.listing.is_asked() {
        true => Some(job.plan(&args.output)?),
        false => None,
    };
    if let Some(quantized) = planned.as_ref().and_then(|planned| planned.quantized.as_ref()) {
        let names = quantized.tensors.iter().map(|tensor| tensor.name.as_str());
        args.exceptions.check(names.clone())?;
        args.listing.check(names)?;
    }
    let report = match planned.filter(|_| args.dry_run) {
        Some(planned) => Ok(planned),
        None => job.run_with(&args.output, |done, total| work.reached(done, total)),
    };
    work.done();
    let report = report.map_err(|error| work.explained(error))?;
    if let Some(quantized) = &report.quantized {
        let names: HashSet<_> = quantized.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        let idle = Idle::new(|name| names.contains(name), &importance);
        if args.json {
            let mut json = report_as_json(&args.target, &idle, quantized, chosen.as_ref(), !args.dry_run);
            json["left_out"] = json!(report.left_out);
            json["notes"] = json!(report.notes);
            return Ok(crate::json::document(&json));
        }
        let asked_for = |name: &str| by_name(name).or_else(|| fixed(name));
        let quantized = Quantized {
            target: &args.target,
            chosen: chosen.as_ref(),
            report: quantized,
            idle: &idle,
            by_name: &asked_for,
            listing: &args.listing,
            start: (!args.dry_run).then_some(start),
        };
        return quantized.summary(&left_out(&report));
    }
    let carried: Vec<_> =
        report.carried.iter().map(|(weight, error)| Carried { weight, error: *error }).collect();
    if args.json {
        let quantized: Vec<_> = carried.iter().map(Carried::json).collect();
        let path = report.paths[0].display().to_string();
        let report = json!({ "path": path, "written": !args.dry_run, "tensors": report.tensors, "bytes": report.bytes, "left_out": report.left_out,
            "notes": report.notes, "quantized": quantized });
        return Ok(crate::json::document(&report));
    }
    let would = if args.dry_run { "would have " } else { "" };
    let tensors = counted(report.tensors as u64, "tensor");
    let mut summary = format!("{}: {would}{tensors}\n", first_to_last(&report.paths));
    summary += &summarized(&carried);
    if args.report {
        for weight in &carried {
            writeln!(summary, "  {}: {}, {}", weight.weight.name, weight.weight.ggml_type, weight.fate())?;
        }
    }
    summary += &left_out(&report);
    writeln!(summary, "{} bytes", grouped(report.bytes))?;
    Ok(summary.lines().map(|line| cli::printable(line) + "\n").collect())
}

/// Chooses types for the model that the GGUF would be, where that was asked for.
fn choose(
    args: &Args,
    job: &FromSafetensors<'_>,
    importance: &Importance,
    inputs: &Inputs,
    work: &Work,
) -> Result<Option<Chosen>> {
    if !args.budget.is_asked() {
        return Ok(None);
    }
    let plan = job.import().plan()?;
    let mut inputs = inputs.clone();
    inputs.add_all(job.paths());
    let task = Task {
        input: &plan.converted()?,
        imatrix: importance.matrix(),
        inputs: &inputs,
        outputs: if args.max_size.is_none() { std::slice::from_ref(&args.output) } else { &[] },
        existing: args.force.existing(),
        dry_run: args.dry_run,
    };
    args.budget.choose(&task, work)
}

/// What is not in the GGUF, and notes.
fn left_out(report: &ImportReport) -> String {
    let mut names = Names::default();
    report.left_out.iter().for_each(|name| names.add(name));
    let left_out = (!report.left_out.is_empty()).then(|| format!("left out: {names}"));
    let notes = report.notes.iter().map(|note| format!("note: {note}"));
    left_out.into_iter().chain(notes).map(|line| format!("  {}\n", cli::printable(&line))).collect()
}

/// The result for a quantized weight, with its error if that was measured.
struct Carried<'a> {
    weight: &'a CarriedWeight,
    error: Option<QuantError>,
}

impl Carried<'_> {
    fn rmse(&self) -> f64 {
        self.error.map_or(0.0, |error| error.rmse())
    }

    fn fate(&self) -> String {
        match self.weight.fidelity {
            Fidelity::Exact => "exact".to_owned(),
            Fidelity::ScalesRounded { largest } => {
                format!("codes exact, scales rounded (largest relative error {largest:.1e})")
            }
            _ => format!("requantized (RMSE {:.2e})", self.rmse()),
        }
    }

    fn json(&self) -> serde_json::Value {
        let (fidelity, largest) = match self.weight.fidelity {
            Fidelity::Exact => ("exact", None),
            Fidelity::ScalesRounded { largest } => ("scales_rounded", Some(largest)),
            _ => ("requantized", None),
        };
        json!({ "name": self.weight.name, "method": self.weight.method, "type": self.weight.ggml_type.name(),
            "fidelity": fidelity, "largest_relative_error": largest, "rmse": self.error.map(|error| error.rmse()) })
    }
}

/// A line for each method, type and result, with the number of weights and their largest error.
fn summarized(carried: &[Carried<'_>]) -> String {
    let mut kinds: BTreeMap<(&str, &str, u8), (u64, &Carried<'_>)> = BTreeMap::new();
    for weight in carried {
        let (rank, badness): (u8, fn(&Carried<'_>) -> f64) = match weight.weight.fidelity {
            Fidelity::Exact => (0, |_| 0.0),
            Fidelity::ScalesRounded { .. } => (1, |carried| match carried.weight.fidelity {
                Fidelity::ScalesRounded { largest } => largest.into(),
                _ => 0.0,
            }),
            _ => (2, |carried| carried.rmse()),
        };
        let key = (weight.weight.method.as_str(), weight.weight.ggml_type.name(), rank);
        let (count, worst) = kinds.entry(key).or_insert((0, weight));
        *count += 1;
        if badness(weight) > badness(worst) {
            *worst = weight;
        }
    }
    let line = |((method, ty, _), (count, worst)): ((&str, &str, u8), (u64, &Carried<'_>))| {
        format!("  {method}: {} to {ty}, {}\n", counted(count, "weight"), worst.fate())
    };
    kinds.into_iter().map(line).collect()
}
