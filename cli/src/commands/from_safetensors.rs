//! Converts a model in safetensors files to GGUF. Reading, converting and writing overlap and use all cores.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};
use gguf_codec::model::hf::{CarriedWeight, Fidelity, FromSafetensors, NameMap};
use gguf_codec::model::{MissingImportance, Quantize, QuantizeReport, Recipe};
use gguf_codec::{GgmlType, Inputs, QuantError};
use serde_json::json;

use crate::commands::quantize::{remarks, report_as_json};
use crate::importance::{self, Idle, Importance};
use crate::names::Names;
use crate::numbers::{counted, grouped};
use crate::work::Work;
use crate::{cli, output, size, types};

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
#[derive(clap::Args)]
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
    #[arg(long = "type", value_name = "TYPE", ignore_case = true, value_parser = types::target())]
    ty: Option<GgmlType>,
    /// Quantize on the way, by one of llama.cpp's recipes, such as Q4_K_M: the bytes are those of converting without it and then
    /// quantizing, and no file is written between
    #[arg(long, value_name = "NAME", ignore_case = true, conflicts_with = "ty")]
    recipe: Option<Recipe>,
    /// An importance matrix for --recipe, in either form that llama.cpp's `imatrix` writes; several of one model are put together
    #[arg(long, value_name = "FILE", requires = "recipe")]
    #[arg(value_parser = crate::paths::file())]
    imatrix: Vec<PathBuf>,
    /// What becomes of tensors that need importance and have none: error, uniform (all their values count the same), or a type that
    /// they get instead
    #[arg(long, value_name = "error|uniform|TYPE", requires = "recipe", value_parser = importance::missing)]
    missing_importance: Option<MissingImportance>,
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
    #[arg(long, value_name = "DIR", conflicts_with = "recipe")]
    #[arg(value_parser = crate::paths::file())]
    base: Option<PathBuf>,
    /// List what became of each weight that another program had quantized
    #[arg(long)]
    report: bool,
    #[command(flatten)]
    force: output::Force,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> Result<String> {
    let work = Work::begin(&args.output)?;
    let job = FromSafetensors::open(&args.input).map_err(|error| cli::about(&args.input, error))?;
    let job = match &args.base {
        Some(base) => job.base(base)?,
        None => job,
    };
    let importance = Importance::read(&args.imatrix, args.missing_importance.unwrap_or_default())?;
    let mut inputs = Inputs::new();
    inputs.add_all(&args.names).add_all(&args.imatrix);
    let names = args.names.as_ref().map(|path| {
        let shown = path.display();
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read '{shown}'"))?;
        text.parse::<NameMap>().with_context(|| format!("'{shown}'"))
    });
    let report = job
        .ggml_type(args.ty)
        .names(names.transpose()?)
        .quantize(args.recipe.map(|recipe| importance.weigh(Quantize::recipe(recipe))))
        .max_shard_size(args.max_size)
        .existing(args.force.existing())
        .inputs(inputs)
        .run_with(&args.output, |done, total| work.reached(done, total));
    work.done();
    let report = report.map_err(|error| work.explained(error))?;
    if let (Some(recipe), Some(report)) = (args.recipe, &report.quantized) {
        return quantized(&args, recipe, report, &importance);
    }
    let carried: Vec<_> =
        report.carried.iter().map(|(weight, error)| Carried { weight, error: *error }).collect();
    if args.json {
        let quantized: Vec<_> = carried.iter().map(Carried::json).collect();
        let path = report.paths[0].display().to_string();
        let report = json!({ "path": path, "tensors": report.tensors, "bytes": report.bytes, "left_out": report.left_out,
            "notes": report.notes, "quantized": quantized });
        return Ok(format!("{report:#}\n"));
    }
    let mut summary =
        format!("{}: {}\n", first_to_last(&report.paths), counted(report.tensors as u64, "tensor"));
    summary += &summarized(&carried);
    if args.report {
        for weight in &carried {
            writeln!(summary, "  {}: {}, {}", weight.weight.name, weight.weight.ggml_type, weight.fate())?;
        }
    }
    let mut names = Names::default();
    report.left_out.iter().for_each(|name| names.add(name));
    if !report.left_out.is_empty() {
        writeln!(summary, "  left out: {names}")?;
    }
    for note in &report.notes {
        writeln!(summary, "  note: {note}")?;
    }
    writeln!(summary, "{} bytes", grouped(report.bytes))?;
    Ok(summary.lines().map(|line| cli::printable(line) + "\n").collect())
}

/// The only file, or the first and the last file.
fn first_to_last(paths: &[PathBuf]) -> String {
    match paths {
        [first, .., last] => format!("{} to {}", first.display(), last.display()),
        paths => paths.iter().map(|path| path.display().to_string()).collect(),
    }
}

/// The summary of a model that was quantized during conversion.
fn quantized(
    args: &Args,
    recipe: Recipe,
    report: &QuantizeReport,
    importance: &Importance,
) -> Result<String> {
    let names: HashSet<_> = report.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    let idle = Idle::new(|name| names.contains(name), importance);
    if args.json {
        return Ok(format!("{:#}\n", report_as_json(Some(recipe), &idle, report, true)));
    }
    let mut text = cli::printable(&format!("{} is {recipe}", first_to_last(&report.paths)));
    writeln!(text, ": {:.2} bits per weight", report.size_after().bits_per_weight())?;
    let sizes = report.by_type().into_iter().map(|(ty, (_, after))| (ty.name(), after));
    for (ty, size) in sizes.filter(|(_, after)| after.tensors > 0).collect::<BTreeMap<_, _>>() {
        writeln!(text, "  {ty}: {}, {} bytes", counted(size.tensors, "tensor"), grouped(size.bytes))?;
    }
    for line in remarks(&idle, report)?.lines() {
        writeln!(text, "  {line}")?;
    }
    let before = report.size_before().bytes;
    writeln!(text, "{} bytes, from {} of tensors", grouped(report.bytes), grouped(before))?;
    Ok(text)
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
