//! Quantizes a model by one of llama.cpp's recipes, to the bytes that llama.cpp's own `quantize` writes.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use gguf_codec::model::{
    FileType, Input, MissingImportance, Part, Quantize, QuantizeReport, QuantizedTensor, Recipe,
};
use gguf_codec::{GgmlType, Inputs, ShardedGguf};
use regex_lite::Regex;
use serde_json::json;

use crate::budget::{self, Chosen};
use crate::cli::Answer;
use crate::importance::{self, Idle, Importance};
use crate::names::Names;
use crate::numbers::counted;
use crate::work::Work;
use crate::{cli, output, paths, sizes};

/// Quantizes a GGUF model by a recipe: the types and bytes are those of llama.cpp's `quantize`. Or, with --size or --bpw, to types that
/// are chosen tensor by tensor.
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
    /// What to make of it
    #[arg(long, value_name = "NAME", ignore_case = true, value_parser = recipe(), required_unless_present_any = ["types_like", "size", "bpw"])]
    recipe: Option<Recipe>,
    /// Instead of a recipe: give each tensor the type that it has in another model. Tensors that are not in that stay as they are
    #[arg(long, value_name = "OTHER", conflicts_with_all = ["recipe", "pure", "output_tensor_type", "token_embedding_type", "leave_output_tensor"])]
    #[arg(value_parser = crate::paths::file())]
    types_like: Option<PathBuf>,
    #[command(flatten)]
    budget: budget::Wanted,
    /// An importance matrix, in either form that llama.cpp's `imatrix` writes; several of one model are put together
    #[arg(long, value_name = "FILE")]
    #[arg(value_parser = crate::paths::file())]
    imatrix: Vec<PathBuf>,
    /// What becomes of tensors that need importance and have none: error, uniform (all their values count the same), or a type that
    /// they get instead
    #[arg(long, value_name = "error|uniform|TYPE", default_value = "error", value_parser = importance::missing)]
    missing_importance: MissingImportance,
    /// The type for tensors whose names match a regular expression; of several that match, the first counts
    #[arg(long, value_name = "PATTERN=TYPE", value_parser = budget::by_pattern)]
    tensor_type: Vec<(Regex, GgmlType)>,
    /// The type for output.weight, and for the token embedding where it is the output as well
    #[arg(long, value_name = "TYPE")]
    output_tensor_type: Option<GgmlType>,
    /// The type for the token embedding
    #[arg(long, value_name = "TYPE")]
    token_embedding_type: Option<GgmlType>,
    /// Leave output.weight as it is
    #[arg(long)]
    leave_output_tensor: bool,
    /// Give every matrix the recipe's base type
    #[arg(long)]
    pure: bool,
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
    /// Only show what would become of the tensors, by type; with --json, of each of them
    #[arg(long)]
    dry_run: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// The recipes, by name.
fn recipe() -> impl TypedValueParser<Value = Recipe> {
    let names = Recipe::ALL.iter().map(|recipe| recipe.name());
    PossibleValuesParser::new(names).try_map(|name| name.parse::<Recipe>())
}

pub(crate) fn run(args: Args) -> Result<Answer> {
    let start = Instant::now();
    let output = args.part.map_or_else(|| args.output.clone(), |part| part.path(&args.output));
    let work = Work::begin(&output)?;
    let input = Input::open(&args.input).map_err(|error| cli::about(&args.input, error))?;
    let importance = Importance::read(&args.imatrix, args.missing_importance)?;
    let by_name = budget::matched("--tensor-type", &args.tensor_type, &input)?;
    let mut inputs = Inputs::new();
    inputs
        .add_all(&args.imatrix)
        .add_all(&args.types_like)
        .add_all(args.budget.paths())
        .add_all(input.paths());
    let task = budget::Task {
        input: &input,
        imatrix: importance.matrix(),
        inputs: &inputs,
        outputs: &outputs(&args, &input),
        existing: args.force.existing(),
        dry_run: args.dry_run,
    };
    let chosen = args.budget.choose(task, &work)?;
    let allocation = chosen.as_ref().map(|chosen| &chosen.allocation);
    let mut quantize = match (allocation, &args.types_like, args.recipe) {
        (Some(allocation), ..) => Quantize::types(allocation.types(), allocation.file_type()),
        (None, Some(path), _) => {
            let other = ShardedGguf::open(path).map_err(|error| cli::about(path, error))?;
            Quantize::like(other.metadata(), other.tensors())
        }
        (None, None, recipe) => Quantize::recipe(recipe.context("--recipe says what to make of it")?),
    };
    quantize = quantize
        .output_type(args.output_tensor_type)
        .token_embedding_type(args.token_embedding_type)
        .leave_output(args.leave_output_tensor)
        .pure(args.pure)
        .types_by_name(&by_name)
        .allow_requantize(args.allow_requantize)
        .part(args.part)
        .keep_split(args.keep_split)
        .existing(args.force.existing());
    quantize = importance.weigh(quantize).inputs(inputs);
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
        as_json(&args, &idle, &report, chosen.as_ref())
    } else {
        summary(&args, &idle, &report, chosen.as_ref(), start)?
    };
    Ok(output::answer(&args.output, text))
}

/// The files that the model goes to.
fn outputs(args: &Args, input: &Input) -> Vec<PathBuf> {
    let shards = if args.keep_split { input.model().shards().len() } else { 1 };
    let shards = u16::try_from(shards).unwrap_or(u16::MAX);
    match args.part {
        _ if paths::is_stream(&args.output) => Vec::new(),
        Some(part) => vec![part.path(&args.output)],
        None if shards > 1 => {
            let parts = (0..shards).filter_map(|no| Part::new(no, shards).ok());
            parts.map(|part| part.path(&args.output)).collect()
        }
        None => vec![args.output.clone()],
    }
}

/// What there is to say of single tensors: those with importance and without, those of another type than the recipe's, and what was
/// given for none.
pub(crate) fn remarks(idle: &Idle<'_>, report: &QuantizeReport) -> Result<String> {
    let mut text = String::new();
    if let Some(entries) = &idle.0 {
        let weighed = report.tensors.iter().filter(|tensor| tensor.importance).count();
        writeln!(text, "with importance: {}", counted(weighed as u64, "tensor"))?;
        let mut without = Names::default();
        let is_without = |tensor: &&QuantizedTensor| {
            tensor.changes()
                && tensor.ggml_type.is_quantized()
                && !tensor.importance
                && tensor.without_importance.is_none()
        };
        report.tensors.iter().filter(is_without).for_each(|tensor| without.add(&tensor.name));
        if !without.is_empty() {
            writeln!(text, "without importance, which the matrix lacks: {without}")?;
        }
        let mut strange = Names::default();
        entries.iter().for_each(|name| strange.add(name));
        if !strange.is_empty() {
            writeln!(text, "in the importance matrix, and not in the model: {strange}")?;
        }
    }
    let mut missing: BTreeMap<String, Names> = BTreeMap::new();
    for tensor in &report.tensors {
        let what = match tensor.without_importance {
            Some(MissingImportance::Uniform) => "with the same importance for all values".to_owned(),
            Some(_) => format!("{} instead of a type that needs importance", tensor.ggml_type),
            None => continue,
        };
        missing.entry(what).or_default().add(&tensor.name);
    }
    for (what, names) in missing {
        writeln!(text, "{what}, since there is none: {names}")?;
    }
    let mut fallen: BTreeMap<String, Names> = BTreeMap::new();
    for tensor in &report.tensors {
        if let Some(wanted) = tensor.instead_of {
            fallen.entry(format!("{} instead of {wanted}", tensor.ggml_type)).or_default().add(&tensor.name);
        }
    }
    for (what, names) in fallen {
        writeln!(text, "{what}, since rows are not whole blocks of that: {names}")?;
    }
    Ok(text)
}

/// The target of the quantization: a recipe or a set of types.
fn what(args: &Args) -> String {
    let like = args.types_like.as_ref().map(|path| format!("of the types of '{}'", path.display()));
    let recipe = || args.recipe.map(|recipe| recipe.to_string());
    like.or_else(recipe).unwrap_or_else(|| "of types for a size".to_owned())
}

fn summary(
    args: &Args,
    idle: &Idle<'_>,
    report: &QuantizeReport,
    chosen: Option<&Chosen>,
    start: Instant,
) -> Result<String> {
    let verb = if args.dry_run { "would be" } else { "is" };
    let mut paths = Names::default();
    report.paths.iter().for_each(|path| paths.add(&path.display().to_string()));
    let name = match report.paths.as_slice() {
        [path] => path.display().to_string(),
        _ => paths.to_string(),
    };
    let mut text = cli::printable(&format!("{name} {verb} {}", what(args)));
    writeln!(text, ": {:.2} bits per weight", report.size_after().bits_per_weight())?;
    text += &sizes::table(
        &report.by_type().into_iter().map(|(ty, sizes)| (ty.name(), sizes)).collect::<Vec<_>>(),
    );
    if let Some(chosen) = chosen {
        text += &budget::told(chosen)?;
    }
    text += &remarks(idle, report)?;
    let time = (!args.dry_run).then(|| start.elapsed());
    text += &sizes::last_line(report.bytes, report.size_before().bytes, report.size_after().bytes, time);
    Ok(text)
}

fn as_json(args: &Args, idle: &Idle<'_>, report: &QuantizeReport, chosen: Option<&Chosen>) -> String {
    let mut json = report_as_json(args.recipe, idle, report, !args.dry_run);
    json["types_like"] = json!(args.types_like.as_ref().map(|path| path.display().to_string()));
    if let Some(chosen) = chosen {
        json["file_type"] = json!(chosen.allocation.file_type().map(FileType::id));
        json["budget"] = budget::as_json(chosen);
    }
    json["paths"] = json!(report.paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>());
    format!("{json:#}\n")
}

/// The result for the model, or the result that it would have.
pub(crate) fn report_as_json(
    recipe: Option<Recipe>,
    idle: &Idle<'_>,
    report: &QuantizeReport,
    is_written: bool,
) -> serde_json::Value {
    let tensor = |tensor: &QuantizedTensor| {
        json!({
            "name": tensor.name,
            "shape": tensor.shape.dims(),
            "from": tensor.from.name(),
            "type": tensor.ggml_type.name(),
            "instead_of": tensor.instead_of.map(GgmlType::name),
            "importance": tensor.importance,
            "missing_importance": tensor.without_importance.map(|missing| match missing {
                MissingImportance::Uniform => "uniform",
                _ => "type",
            }),
        })
    };
    json!({
        "recipe": recipe.map(Recipe::name),
        "file_type": recipe.map(|recipe| recipe.file_type().id()),
        "bytes": report.bytes,
        "bits_per_weight": report.size_after().bits_per_weight(),
        "written": is_written,
        "unmatched_importance": idle.0.as_deref().unwrap_or_default(),
        "tensors": report.tensors.iter().map(tensor).collect::<Vec<_>>(),
    })
}
