//! Quantizes what is imported, tensor by tensor on its way, by one of llama.cpp's recipes.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::Range;
use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use gguf_codec::model::{
    Convert, Imatrix, Job, Origin, Part, QUANTIZATION_VERSION, Recipe, TypeChoice, TypePlan, by_layer,
};
use gguf_codec::{GgmlType, Inputs, ShardPlan, ShardedGguf, Sink, StagedFile, TensorInfo, Value, Writer};
use regex_lite::Regex;
use serde_json::json;

use crate::names::Names;
use crate::numbers::{counted, grouped};
use crate::work::Work;
use crate::{cli, output, work};

/// What is asked of it, as of `quantize`.
pub(crate) struct Args {
    /// The model to read, in F32, F16 or BF16
    pub(crate) input: PathBuf,
    /// The file to write
    pub(crate) output: PathBuf,
    /// What to make of it, such as Q4_K_M
    pub(crate) recipe: Recipe,
    /// An importance matrix, in either form that llama.cpp's `imatrix` writes
    pub(crate) imatrix: Option<PathBuf>,
    /// The type for tensors whose names match a regular expression; of several that match, the first counts
    pub(crate) tensor_type: Vec<(Regex, GgmlType)>,
    /// The type for output.weight, and for the token embedding where it is the output as well
    pub(crate) output_tensor_type: Option<GgmlType>,
    /// The type for the token embedding
    pub(crate) token_embedding_type: Option<GgmlType>,
    /// Leave output.weight as it is
    pub(crate) leave_output_tensor: bool,
    /// Give every matrix the recipe's base type
    pub(crate) pure: bool,
    /// Quantize again what is quantized already, which loses more than quantizing the original
    pub(crate) allow_requantize: bool,
    /// Make one of N parts, as one of N machines: shard k of N, named after OUT. `merge` makes of the shards what one
    /// machine would have made
    pub(crate) part: Option<Part>,
    pub(crate) force: output::Force,
    /// Only show what would become of each tensor
    pub(crate) dry_run: bool,
    /// Print the result as JSON
    pub(crate) json: bool,
}

/// A tensor, and what becomes of it.
struct Task<'a> {
    tensor: TensorInfo<'a>,
    choice: TypeChoice,
    /// Whether the importance matrix weighs its values.
    importance: bool,
}

impl Task<'_> {
    fn changes(&self) -> bool {
        self.choice.ggml_type != self.tensor.ggml_type()
    }
}

/// What is quantized: a header, and where its tensors' values are.
pub(crate) struct Source<'a, B> {
    pub(crate) model: &'a ShardedGguf<B>,
    pub(crate) origin: &'a dyn Fn(&TensorInfo<'_>) -> gguf_codec::Result<Origin<'a>>,
    /// Looks at the values of a tensor that stays as it is.
    pub(crate) validate: &'a dyn Fn(&TensorInfo<'_>) -> Result<()>,
    /// Files that are read.
    pub(crate) inputs: Inputs,
}

/// Quantizes into a file or, where there is a greatest size for their tensors, shards.
pub(crate) fn write<B: AsRef<[u8]>>(
    args: &Args,
    work: &Work,
    source: &Source<'_, B>,
    max_size: Option<u64>,
) -> Result<String> {
    let model = source.model;
    if !args.dry_run && max_size.is_none() {
        let output = args.part.map_or_else(|| args.output.clone(), |part| part.path(&args.output));
        source.inputs.check(&output, args.force.existing())?;
    }
    let imatrix = args.imatrix.as_ref().map(|path| {
        Imatrix::read(path).map_err(|error| cli::about(path, error)).map(|imatrix| (path, imatrix))
    });
    let imatrix = imatrix.transpose()?;
    let tasks = plan(args, model, imatrix.as_ref().map(|(_, imatrix)| imatrix))?;
    let jobs = tasks.iter().map(|task| {
        let job = Job::new(task.tensor.name(), (source.origin)(&task.tensor)?, task.choice.ggml_type);
        if !task.importance {
            job.check()?;
        }
        Ok(job)
    });
    let jobs = jobs.collect::<Result<Vec<_>>>()?;
    let total = jobs.len();
    let files = files(args, model, &jobs, max_size)?;
    if !args.dry_run {
        source.inputs.check_all(files.iter().map(|file| &file.path), args.force.existing())?;
    }
    let (mut staged, mut output_bytes) = (Vec::new(), 0);
    for file in &files {
        let tasks = &tasks[file.tensors.clone()];
        // Of this file alone: those of all tensors together are large.
        let weights = tasks.iter().map(|task| {
            let imatrix = imatrix.as_ref().filter(|_| task.importance);
            imatrix.and_then(|(_, imatrix)| imatrix.weights(task.tensor.name()))
        });
        let weights: Vec<_> = weights.collect();
        let of_file = jobs[file.tensors.clone()].iter().zip(&weights);
        let jobs = &of_file.map(|(job, weights)| job.importance(weights.as_deref())).collect::<Vec<_>>();
        for job in jobs {
            job.check()?;
        }
        // What is copied is looked at too, as llama.cpp does.
        for task in tasks.iter().filter(|task| !args.dry_run && !task.changes()) {
            (source.validate)(&task.tensor)?;
        }
        if args.dry_run {
            output_bytes +=
                declare(Writer::new(std::io::sink()), args, model, imatrix.as_ref(), jobs, file, total)?
                    .file_len()?;
            continue;
        }
        let writer = Writer::create_with(&file.path, args.force.existing())?;
        let writer = declare(writer, args, model, imatrix.as_ref(), jobs, file, total)?;
        output_bytes += writer.file_len()?;
        let mut writer = writer.write_header()?;
        let outcomes = work.run(Convert::new(), jobs, &mut writer)?;
        let hint =
            if args.imatrix.is_some() { "the sums of the importance matrix may be too great" } else { "" };
        work::refuse_infinite(jobs, &outcomes, hint)?;
        staged.push(writer.stage()?);
    }
    StagedFile::commit_all(staged)?;
    let tasks = match files.as_slice() {
        [only] => &tasks[only.tensors.clone()],
        _ => &tasks,
    };
    let idle = Idle::new(args, model, imatrix.as_ref().map(|(_, imatrix)| imatrix));
    Ok(if args.json {
        report(args, &idle, tasks, output_bytes)
    } else {
        summary(args, &files, &idle, tasks, output_bytes)?
    })
}

/// A file that is written, which may be one of several.
struct OutputFile {
    path: PathBuf,
    tensors: Range<usize>,
    /// Which one of how many.
    shard: Option<(u16, u16)>,
}

fn files<B: AsRef<[u8]>>(
    args: &Args,
    model: &ShardedGguf<B>,
    jobs: &[Job<'_>],
    max_size: Option<u64>,
) -> Result<Vec<OutputFile>> {
    if let Some(part) = args.part {
        let shard = Some((part.no(), part.count()));
        return Ok(vec![OutputFile { path: part.path(&args.output), tensors: part.jobs(jobs), shard }]);
    }
    let whole = || OutputFile { path: args.output.clone(), tensors: 0..jobs.len(), shard: None };
    let Some(most) = max_size else { return Ok(vec![whole()]) };
    let bytes =
        jobs.iter().map(|job| job.ggml_type().bytes_for(job.shape().element_count()).unwrap_or(u64::MAX));
    let plan = ShardPlan::by_bytes(bytes, model.first().alignment(), most)?;
    if plan.count() == 1 {
        return Ok(vec![whole()]);
    }
    let of_shard = |(no, tensors): (u16, &Range<usize>)| {
        let path = Part::new(no, plan.count())?.path(&args.output);
        Ok(OutputFile { path, tensors: tensors.clone(), shard: Some((no, plan.count())) })
    };
    (0..).zip(plan.shards()).map(of_shard).collect()
}

/// Says what will be in the file: this model's keys, with those that the recipe changes, and the jobs' tensors.
fn declare<S: Sink, B: AsRef<[u8]>>(
    mut writer: Writer<S>,
    args: &Args,
    model: &ShardedGguf<B>,
    imatrix: Option<&(&PathBuf, Imatrix)>,
    jobs: &[Job<'_>],
    file: &OutputFile,
    total: usize,
) -> Result<Writer<S>> {
    writer.copy_sharded_metadata_from(model)?;
    let mut keys = vec![
        ("general.quantization_version", Value::from(QUANTIZATION_VERSION)),
        ("general.file_type", Value::from(args.recipe.file_type().id())),
    ];
    if let Some((path, imatrix)) = imatrix {
        keys.push(("quantize.imatrix.file", path.display().to_string().as_str().into()));
        keys.extend(imatrix.datasets.first().map(|name| ("quantize.imatrix.dataset", name.as_str().into())));
        keys.push(("quantize.imatrix.entries_count", Value::from(imatrix.entries().len() as u32)));
        let chunks = Some(imatrix.chunk_count).filter(|&chunks| chunks > 0);
        keys.extend(chunks.map(|chunks| ("quantize.imatrix.chunks_count", chunks.into())));
    }
    for (key, value) in keys {
        // At the end, where llama.cpp has them.
        writer.remove(key);
        writer.metadata(key, value)?;
    }
    if let Some((no, count)) = file.shard {
        writer.shard(no, count, total)?;
    }
    for job in jobs {
        writer.tensor(job.name(), job.shape().counted_by_ggml().dims(), job.ggml_type())?;
    }
    Ok(writer)
}

/// What becomes of each tensor, in the order in which llama.cpp writes them.
fn plan<'a, B: AsRef<[u8]>>(
    args: &Args,
    model: &'a ShardedGguf<B>,
    imatrix: Option<&Imatrix>,
) -> Result<Vec<Task<'a>>> {
    let mut tensors: Vec<_> = model.tensors().collect();
    tensors.sort_by(|a, b| by_layer(a.name(), b.name()));
    let by_name =
        |name: &str| args.tensor_type.iter().find(|(pattern, _)| pattern.is_match(name)).map(|(_, ty)| *ty);
    let choices = TypePlan::new(args.recipe)
        .importance(imatrix.is_some())
        .pure(args.pure)
        .leave_output(args.leave_output_tensor)
        .output_type(args.output_tensor_type)
        .token_embedding_type(args.token_embedding_type)
        .types_by_name(&by_name)
        .choose(model.metadata(), &tensors)
        .map_err(|error| cli::about(&args.input, error))?;
    let mut tasks = Vec::with_capacity(tensors.len());
    for (tensor, choice) in tensors.into_iter().zip(choices) {
        let mut task = Task { tensor, choice, importance: false };
        let (name, from, ty) = (tensor.name(), tensor.ggml_type(), choice.ggml_type);
        if task.changes() {
            if from.is_quantized() && !args.allow_requantize {
                bail!(
                    "tensor '{name}' is {from} already, and quantizing it again to {ty} loses more than quantizing the \
                     original; with --allow-requantize it is done"
                );
            }
            task.importance = imatrix.map_or(Ok(false), |imatrix| knows(imatrix, &tensor))?;
            if choice.needs_importance && !task.importance {
                let missing = if imatrix.is_some() {
                    "the importance matrix lacks it"
                } else {
                    "there is no --imatrix"
                };
                bail!("tensor '{name}' becomes {ty}, which needs importance, and {missing}");
            }
        }
        tasks.push(task);
    }
    let mut quantized = tasks.iter().filter(|task| task.changes() && task.choice.ggml_type.is_quantized());
    if let Some(path) = args.imatrix.as_ref().filter(|_| quantized.next().is_some()) {
        let any = tasks.iter().any(|task| task.importance);
        ensure!(
            any,
            "'{}' knows none of the tensors that are quantized: it is another model's",
            path.display()
        );
    }
    Ok(tasks)
}

/// Whether the matrix has a tensor's importance.
fn knows(imatrix: &Imatrix, tensor: &TensorInfo<'_>) -> Result<bool> {
    let (name, shape) = (tensor.name(), tensor.shape());
    let Some(entry) = imatrix.entry(name) else { return Ok(false) };
    let wanted = shape.row_len().saturating_mul(shape.dims().get(2).copied().unwrap_or(1));
    if entry.sums.len() as u64 == wanted {
        return Ok(true);
    }
    // Looked up, not multiplied: what was measured there is something else.
    if matches!(name, "token_embd.weight" | "per_layer_token_embd.weight") {
        return Ok(false);
    }
    bail!("tensor '{name}' has {wanted} columns, and the importance matrix has {} for it", entry.sums.len());
}

/// What was given and fits no tensor.
struct Idle<'a> {
    /// Arguments of --tensor-type, which a slip of the pen makes so.
    patterns: Vec<&'a str>,
    /// Entries of the importance matrix.
    entries: Vec<&'a str>,
}

impl<'a> Idle<'a> {
    fn new<B: AsRef<[u8]>>(args: &'a Args, model: &ShardedGguf<B>, imatrix: Option<&'a Imatrix>) -> Self {
        let is_idle = |pattern: &&Regex| !model.tensors().any(|tensor| pattern.is_match(tensor.name()));
        let patterns = args.tensor_type.iter().map(|(pattern, _)| pattern);
        let entries = imatrix.into_iter().flat_map(Imatrix::entries).map(|entry| entry.name.as_str());
        Idle {
            patterns: patterns.filter(is_idle).map(Regex::as_str).collect(),
            entries: entries.filter(|name| model.tensor_info(name).is_err()).collect(),
        }
    }
}

fn bits_per_weight(tasks: &[Task<'_>]) -> f64 {
    let values: u64 = tasks.iter().map(|task| task.tensor.shape().element_count()).sum();
    let bytes =
        tasks.iter().filter_map(|task| task.choice.ggml_type.bytes_for(task.tensor.shape().element_count()));
    8.0 * bytes.sum::<u64>() as f64 / values.max(1) as f64
}

fn summary(
    args: &Args,
    files: &[OutputFile],
    idle: &Idle<'_>,
    tasks: &[Task<'_>],
    output_bytes: u64,
) -> Result<String> {
    let mut by_type: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let mut fallen: BTreeMap<String, Names> = BTreeMap::new();
    for task in tasks {
        let ty = task.choice.ggml_type;
        let entry = by_type.entry(ty.name()).or_default();
        entry.0 += 1;
        entry.1 += ty.bytes_for(task.tensor.shape().element_count()).unwrap_or(0);
        if let Some(wanted) = task.choice.instead_of {
            fallen.entry(format!("{ty} instead of {wanted}")).or_default().add(task.tensor.name());
        }
    }
    let verb = if args.dry_run { "would be" } else { "is" };
    let (path, more) = match files {
        [first, .., last] => (&first.path, format!(" to {}", last.path.display())),
        _ => (files.first().map_or(&args.output, |file| &file.path), String::new()),
    };
    let mut text = cli::printable(&format!("{}{more} {verb} {}", path.display(), args.recipe));
    writeln!(text, ": {:.2} bits per weight", bits_per_weight(tasks))?;
    for (ty, (count, bytes)) in by_type {
        writeln!(text, "  {ty}: {}, {} bytes", counted(count, "tensor"), grouped(bytes))?;
    }
    if args.imatrix.is_some() {
        let weighed = tasks.iter().filter(|task| task.importance).count();
        writeln!(text, "  with importance: {}", counted(weighed as u64, "tensor"))?;
        let mut without = Names::default();
        let is_without =
            |task: &&Task<'_>| task.changes() && task.choice.ggml_type.is_quantized() && !task.importance;
        tasks.iter().filter(is_without).for_each(|task| without.add(task.tensor.name()));
        if !without.is_empty() {
            writeln!(text, "  without importance, which the matrix lacks: {without}")?;
        }
        let mut strange = Names::default();
        idle.entries.iter().for_each(|name| strange.add(name));
        if !strange.is_empty() {
            writeln!(text, "  in the importance matrix, and not in the model: {strange}")?;
        }
    }
    for pattern in &idle.patterns {
        writeln!(text, "  --tensor-type '{}' matches no tensor", cli::printable(pattern))?;
    }
    for (what, names) in fallen {
        writeln!(text, "  {what}, since rows are not whole blocks of that: {names}")?;
    }
    writeln!(
        text,
        "{} bytes, from {} of tensors",
        grouped(output_bytes),
        grouped(tasks.iter().map(|task| task.tensor.byte_len()).sum())
    )?;
    Ok(text)
}

fn report(args: &Args, idle: &Idle<'_>, tasks: &[Task<'_>], output_bytes: u64) -> String {
    let tensor = |task: &Task<'_>| {
        json!({
            "name": task.tensor.name(),
            "shape": task.tensor.shape().dims(),
            "from": task.tensor.ggml_type().name(),
            "type": task.choice.ggml_type.name(),
            "instead_of": task.choice.instead_of.map(GgmlType::name),
            "importance": task.importance,
        })
    };
    let report = json!({
        "recipe": args.recipe.name(),
        "file_type": args.recipe.file_type().id(),
        "bytes": output_bytes,
        "bits_per_weight": bits_per_weight(tasks),
        "written": !args.dry_run,
        "unmatched": idle.patterns,
        "unmatched_importance": idle.entries,
        "tensors": tasks.iter().map(tensor).collect::<Vec<_>>(),
    });
    format!("{report:#}\n")
}
