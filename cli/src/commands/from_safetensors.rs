//! Makes a GGUF of a model in safetensors files. Reading, converting and writing overlap, on all cores.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};
use gguf_codec::QuantError;
use gguf_codec::model::hf::{CarriedWeight, Description, Fidelity, Import, ImportPlan, NameMap};
use gguf_codec::model::{Convert, Job, Outcome, Part, Quantize, Recipe, Source};
use gguf_codec::safetensors::Checkpoint;
use gguf_codec::{GgmlType, Inputs, ShardPlan, ShardedGguf, StagedFile, Writer};
use serde_json::json;

use crate::commands::quantize::{Idle, Importance, remarks, report_as_json};
use crate::names::Names;
use crate::numbers::{counted, grouped};
use crate::work::Work;
use crate::{cli, output, size, types, work};

/// Makes a GGUF of a model in safetensors files.
///
/// Of Llama, Mistral, Mixtral, Qwen2, Qwen3, Gemma, Phi-3, gpt-oss, DeepSeek, BERT and others, names, parameters and order of
/// rows become those of llama.cpp, as config.json beside the files asks for; the tokenizer comes from tokenizer.json. Other models keep their
/// names. What to_safetensors wrote becomes the model again that it was.
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
    input: PathBuf,
    /// The GGUF to write
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// What the matrices become; without it, they stay what they are
    #[arg(long = "type", value_name = "TYPE", ignore_case = true, value_parser = types::target())]
    ty: Option<GgmlType>,
    /// Quantize on the way, by one of llama.cpp's recipes, such as Q4_K_M: the bytes are those of converting without it and then
    /// quantizing, and no file is written between
    #[arg(long, value_name = "NAME", ignore_case = true, conflicts_with = "ty")]
    recipe: Option<Recipe>,
    /// An importance matrix for --recipe, in either form that llama.cpp's `imatrix` writes
    #[arg(long, value_name = "FILE", requires = "recipe")]
    imatrix: Option<PathBuf>,
    /// Write shards of at most so many bytes of tensors, OUT-00001-of-00003.gguf and so on, where they are more: a number, or one
    /// with K, M or G for thousands, millions or billions
    #[arg(long, value_name = "SIZE", value_parser = size::size)]
    max_size: Option<u64>,
    /// Names that come before the built-in ones. A line holds a name in safetensors and one in GGUF, or - to leave the
    /// tensor out; in both, {} is a number and * at the end is the rest
    #[arg(long, value_name = "FILE")]
    names: Option<PathBuf>,
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
    let checkpoint = Checkpoint::open(&args.input).map_err(|error| cli::about(&args.input, error))?;
    let description = Description::read(checkpoint.folder().unwrap_or(&args.input))?;
    let mut inputs = Inputs::new();
    inputs.add_all(checkpoint.paths()).add_all(description.paths()).add_all(&args.names);
    inputs.add_all(&args.imatrix);
    if args.max_size.is_none() {
        inputs.check(&args.output, args.force.existing())?;
    }
    let mut import = Import::new(&checkpoint, &description);
    if let Some(ty) = args.ty {
        import = import.ggml_type(ty);
    }
    if let Some(path) = &args.names {
        let shown = path.display();
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read '{shown}'"))?;
        let map: NameMap = text.parse().with_context(|| format!("'{shown}'"))?;
        import = import.names(move |name| map.to_gguf(name));
    }
    let plan = import.plan()?;

    if let Some(recipe) = args.recipe {
        return quantized(&args, recipe, &work, &plan, inputs);
    }
    let jobs = plan.jobs()?;
    let (bytes, outcomes, paths) = convert(&args, &work, &plan, &jobs, &inputs)?;
    let carried = carried(plan.carried_weights(), &jobs, &outcomes);
    if args.json {
        let quantized: Vec<_> = carried.iter().map(Carried::json).collect();
        let path = paths[0].display().to_string();
        let report = json!({ "path": path, "tensors": jobs.len(), "bytes": bytes, "left_out": plan.left_out(),
            "notes": plan.notes(), "quantized": quantized });
        return Ok(format!("{report:#}\n"));
    }
    let more =
        if paths.len() > 1 { format!(" to {}", paths[paths.len() - 1].display()) } else { String::new() };
    let mut summary = format!("{}{more}: {}\n", paths[0].display(), counted(jobs.len() as u64, "tensor"));
    summary += &summarized(&carried);
    if args.report {
        for weight in &carried {
            writeln!(summary, "  {}: {}, {}", weight.weight.name, weight.weight.ggml_type, weight.fate())?;
        }
    }
    let mut names = Names::default();
    plan.left_out().iter().for_each(|name| names.add(name));
    if !plan.left_out().is_empty() {
        writeln!(summary, "  left out: {names}")?;
    }
    for note in plan.notes() {
        writeln!(summary, "  note: {note}")?;
    }
    writeln!(summary, "{} bytes", grouped(bytes))?;
    Ok(summary.lines().map(|line| cli::printable(line) + "\n").collect())
}

/// Writes what is planned, into shards where it is more than one may have. Gives the bytes written, and the paths.
fn convert(
    args: &Args,
    work: &Work,
    plan: &ImportPlan<'_>,
    jobs: &[Job<'_>],
    inputs: &Inputs,
) -> Result<(u64, Vec<Outcome>, Vec<PathBuf>)> {
    let header = plan.header()?;
    let bytes = header.tensors().map(|tensor| tensor.byte_len());
    let shards = match args.max_size {
        Some(most) => {
            Some(ShardPlan::by_bytes(bytes, header.alignment(), most)?).filter(|plan| plan.count() > 1)
        }
        None => None,
    };
    let model = ShardedGguf::from(header);
    let paths: Vec<PathBuf> = match &shards {
        Some(shards) => {
            let path = |no| Ok(Part::new(no, shards.count())?.path(&args.output));
            (0..shards.count()).map(path).collect::<Result<_>>()?
        }
        None => vec![args.output.clone()],
    };
    inputs.check_all(&paths, args.force.existing())?;
    let measures = plan.carried_weights().iter().any(|weight| weight.fidelity == Fidelity::Requantized);
    let (mut bytes, mut outcomes, mut staged) = (0, Vec::new(), Vec::new());
    for (no, path) in (0..).zip(&paths) {
        let mut writer = Writer::create_with(path, args.force.existing())?;
        let own = match &shards {
            Some(shards) => {
                let own = &jobs[shards.shards()[usize::from(no)].clone()];
                writer.copy_sharded_metadata_from(&model)?.set_shard(no, shards.count(), jobs.len())?;
                for job in own {
                    writer.declare_tensor(job.name(), job.shape().dims(), job.ggml_type())?;
                }
                own
            }
            None => {
                plan.declare(&mut writer)?;
                jobs
            }
        };
        bytes += writer.file_len()?;
        let mut data = writer.write_header()?;
        let of_shard = work.run(Convert::new().measure(measures), own, &mut data)?;
        let hint = if args.ty == Some(GgmlType::F16) { "--type BF16 or F32 has a wider one" } else { "" };
        work::refuse_infinite(own, &of_shard, hint)?;
        outcomes.extend(of_shard);
        staged.push(data.stage()?);
    }
    StagedFile::commit_all(staged)?;
    Ok((bytes, outcomes, paths))
}

/// Quantizes by a recipe what the plan would write.
fn quantized(
    args: &Args,
    recipe: Recipe,
    work: &Work,
    plan: &ImportPlan<'_>,
    mut inputs: Inputs,
) -> Result<String> {
    let model = plan.converted()?;
    inputs.add_all(&args.imatrix);
    let importance = Importance::read(args.imatrix.as_ref())?;
    let quantize = importance
        .weigh(Quantize::recipe(recipe))
        // Codes that were kept are the checkpoint's own values.
        .allow_requantize(true)
        .max_shard_size(args.max_size)
        .existing(args.force.existing())
        .inputs(inputs);
    let report = quantize.run(&model, &args.output, |done, total| work.reached(done, total));
    work.done();
    let report = report.map_err(|error| work.explained(error))?;
    let idle = Idle::new(&[], model.model(), &importance);
    if args.json {
        return Ok(format!("{:#}\n", report_as_json(Some(recipe), &idle, &report, true)));
    }
    let (path, more) = match report.paths.as_slice() {
        [first, .., last] => (first, format!(" to {}", last.display())),
        paths => (paths.first().unwrap_or(&args.output), String::new()),
    };
    let mut text = cli::printable(&format!("{}{more} is {recipe}", path.display()));
    writeln!(text, ": {:.2} bits per weight", report.size_after().bits_per_weight())?;
    let sizes = report.by_type().into_iter().map(|(ty, (_, after))| (ty.name(), after));
    for (ty, size) in sizes.filter(|(_, after)| after.tensors > 0).collect::<BTreeMap<_, _>>() {
        writeln!(text, "  {ty}: {}, {} bytes", counted(size.tensors, "tensor"), grouped(size.bytes))?;
    }
    for line in remarks(&idle, &report)?.lines() {
        writeln!(text, "  {line}")?;
    }
    let before = report.size_before().bytes;
    writeln!(text, "{} bytes, from {} of tensors", grouped(report.bytes), grouped(before))?;
    Ok(text)
}

/// What became of a quantized weight, with what it lost where that was measured.
struct Carried<'a> {
    weight: &'a CarriedWeight,
    error: Option<QuantError>,
}

fn carried<'a>(weights: &'a [CarriedWeight], jobs: &[Job<'_>], outcomes: &[Outcome]) -> Vec<Carried<'a>> {
    let errors: HashMap<_, _> =
        jobs.iter().map(Job::name).zip(outcomes.iter().map(|outcome| outcome.error)).collect();
    let carried = |weight: &'a CarriedWeight| Carried {
        weight,
        error: errors.get(weight.name.as_str()).copied().flatten(),
    };
    weights.iter().map(carried).collect()
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

/// A line for each method, type and fate, with how many weights it is that of and the worst of them.
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
