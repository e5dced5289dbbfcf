//! Makes safetensors files of a GGUF. Reading, converting and writing overlap, on all cores.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use gguf_codec::model::hf::{Export, ExportPlan, NameMap, Shard};
use gguf_codec::model::{Convert, Input};
use gguf_codec::{AtomicFile, Existing, GgmlType, Inputs, OutputFolder, safetensors};
use serde_json::json;

use crate::numbers::{counted, grouped};
use crate::work::Work;
use crate::{cli, output, size, work};

/// Makes safetensors files of a GGUF.
///
/// Plain values stay what they are and blocks become floats. Of Llama, Mistral, Mixtral, Qwen2, Qwen3, Gemma, Phi-3, BERT
/// and others, names and order of rows become those of the transformers library. All metadata goes along, so that from_safetensors
/// makes the same model of it again.
///
/// Where OUT ends with .safetensors it is one file, and otherwise a folder, with config.json where the metadata has what that
/// takes; the folder must not be there yet, or be empty. Either appears when it is complete: after a failure or an interruption
/// (Ctrl-C, SIGTERM) what was there is as it was, and nothing is left behind. IN may be sharded: give the first of its files.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The GGUF to read
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// The file or folder to write
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// What blocks become
    #[arg(long = "type", value_name = "TYPE", ignore_case = true, default_value = "F16", value_parser = floats())]
    ty: GgmlType,
    /// Keep the codes of Q4_0, Q4_1, Q8_0, MXFP4 and NVFP4, as a checkpoint of this kind; other blocks become --type
    #[arg(long, value_name = "KIND", value_parser = ["compressed-tensors"])]
    quantized: Option<String>,
    /// Cut the tensors into files of at most so many bytes of data, such as 5G or 50M; OUT is a folder then
    #[arg(long, value_name = "SIZE", value_parser = size::size)]
    max_size: Option<u64>,
    /// Names that come before the built-in ones. A line holds a name in safetensors and one in GGUF; in both, {} is a
    /// number and * at the end is the rest
    #[arg(long, value_name = "FILE")]
    names: Option<PathBuf>,
    #[command(flatten)]
    force: output::Force,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn floats() -> impl TypedValueParser<Value = GgmlType> {
    PossibleValuesParser::new(["F16", "F32", "BF16"]).try_map(|name| name.parse::<GgmlType>())
}

pub(crate) fn run(args: Args) -> Result<String> {
    let work = Work::begin(&args.output)?;
    let input = Input::open(&args.input).map_err(|error| cli::about(&args.input, error))?;
    let existing = args.force.existing();
    let is_file = args.output.extension().is_some_and(|extension| extension == "safetensors");
    let mut inputs = Inputs::new();
    inputs.add_all(input.paths()).add_all(&args.names);
    if is_file {
        inputs.check(&args.output, existing)?;
    } else {
        inputs.check_folder(&args.output, existing)?;
    }
    let model = input.model();
    let mut export = Export::sharded(model, |tensor| input.origin(tensor))?
        .ggml_type(args.ty)
        .compressed_tensors(args.quantized.is_some());
    if let Some(path) = &args.names {
        let shown = path.display();
        let text = fs::read_to_string(path).with_context(|| format!("cannot read '{shown}'"))?;
        let map: NameMap = text.parse().with_context(|| format!("'{shown}'"))?;
        export = export.names(move |name| map.to_hf(name));
    }
    let plan = export.plan()?;
    let shards = plan.shards(args.max_size);
    work.expect(model.tensors().map(|tensor| tensor.byte_len()).sum());
    if is_file {
        let [only] = &shards[..] else {
            bail!(
                "--max-size asks for {} files, and '{}' is one: give a folder",
                shards.len(),
                args.output.display()
            );
        };
        write(&work, &plan, only, &args.output, existing)?;
    } else {
        let folder = OutputFolder::create(&args.output, existing)?;
        for shard in &shards {
            write(&work, &plan, shard, &folder.path().join(&shard.file_name), Existing::Refuse)?;
        }
        let put = |name: &str, text: &str| {
            AtomicFile::write(folder.path().join(name), text.as_bytes())
                .with_context(|| format!("cannot write '{name}' of '{}'", args.output.display()))
        };
        if shards.len() > 1 {
            put("model.safetensors.index.json", &plan.index_json(&shards))?;
        }
        if let Some(config) = plan.config_json() {
            put("config.json", config)?;
        }
        folder.finish()?;
    }
    let bytes: u64 = shards.iter().map(|shard| shard.byte_len).sum();
    // A file has no config.json beside it.
    let notes = if is_file { &[] } else { plan.notes() };
    if args.json {
        let files: Vec<_> =
            shards.iter().map(|shard| json!({ "name": shard.file_name, "bytes": shard.byte_len })).collect();
        let (path, tensors) = (args.output.display().to_string(), model.tensor_count());
        let report =
            json!({ "path": path, "tensors": tensors, "bytes": bytes, "files": files, "notes": notes });
        return Ok(format!("{report:#}\n"));
    }
    let (tensors, files) =
        (counted(model.tensor_count() as u64, "tensor"), counted(shards.len() as u64, "file"));
    let mut summary =
        format!("{}: {tensors} in {files}, {} bytes of data\n", args.output.display(), grouped(bytes));
    for note in notes {
        writeln!(summary, "  note: {note}")?;
    }
    Ok(summary.lines().map(|line| cli::printable(line) + "\n").collect())
}

fn write(work: &Work, plan: &ExportPlan<'_>, shard: &Shard, path: &Path, existing: Existing) -> Result<()> {
    let mut writer = safetensors::Writer::create_with(path, existing)?;
    plan.declare(shard, &mut writer)?;
    let mut data = writer.write_header()?;
    let jobs = plan.jobs(shard)?;
    let outcomes = Convert::new()
        .run(&jobs, &mut data, |bytes| work.step(bytes))
        .map_err(|error| work.explained(error))?;
    work::refuse_infinite(&jobs, &outcomes, "--type BF16 or F32 has a wider one")?;
    Ok(data.finish()?)
}
