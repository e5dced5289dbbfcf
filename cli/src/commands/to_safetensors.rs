//! Converts a GGUF to safetensors files. Reading, converting and writing overlap and use all cores.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use gguf_codec::model::Input;
use gguf_codec::model::hf::{NameMap, Shard, ToSafetensors};
use gguf_codec::{GgmlType, Inputs};
use serde_json::json;

use crate::numbers::{counted, grouped};
use crate::work::Work;
use crate::{cli, output, size, texts};

/// Makes safetensors files of a GGUF.
///
/// Plain values stay what they are and blocks become floats. Of Llama, Mistral, Mixtral, Qwen2, Qwen3, Gemma, Phi-3, BERT
/// and others, names and order of rows become those of the transformers library. All metadata goes along, so that from-safetensors
/// makes the same model of it again, where its types are plain.
///
/// Where OUT ends with .safetensors it is one file, and otherwise a folder, with config.json, tokenizer.json and their like where the
/// metadata has what they take; the folder must not be there yet, or be empty, also with --force. Either appears when it is complete: after a failure or an interruption
/// (Ctrl-C, SIGTERM) what was there is as it was, and nothing is left behind. IN may be sharded: give the first of its files.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The GGUF to read
    #[arg(value_name = "IN")]
    #[arg(value_parser = crate::paths::file())]
    input: PathBuf,
    /// The file or folder to write
    #[arg(value_name = "OUT")]
    #[arg(value_parser = crate::paths::file())]
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
    #[arg(value_parser = crate::paths::file())]
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
    let mut inputs = Inputs::new();
    inputs.add_all(&args.names);
    let names = args
        .names
        .as_ref()
        .map(|path| texts::read(path)?.parse::<NameMap>().with_context(|| format!("'{}'", path.display())));
    let report = ToSafetensors::new(&input)
        .ggml_type(args.ty)
        .compressed_tensors(args.quantized.is_some())
        .names(names.transpose()?)
        .max_file_size(args.max_size)
        .existing(args.force.existing())
        .inputs(inputs)
        .run_with(&args.output, |done, total| work.reached(done, total));
    work.done();
    let report = report.map_err(|error| work.explained(error))?;
    let (path, tensors) = (args.output.display().to_string(), input.model().tensor_count());
    if args.json {
        let file = |file: &Shard| json!({ "name": file.file_name, "bytes": file.byte_len });
        let files: Vec<_> = report.files.iter().map(file).collect();
        let paths: Vec<_> = report.paths.iter().map(|path| path.display().to_string()).collect();
        let report = json!({ "path": path, "tensors": tensors, "bytes": report.bytes(), "files": files, "paths": paths, "notes": report.notes });
        return Ok(crate::json::document(&report));
    }
    let (tensors, files) = (counted(tensors as u64, "tensor"), counted(report.files.len() as u64, "file"));
    let mut summary = format!("{path}: {tensors} in {files}, {} bytes of data\n", grouped(report.bytes()));
    for file in report.paths.iter().filter(|file| **file != args.output) {
        let name = file.strip_prefix(&args.output).unwrap_or(file).display();
        let bytes = std::fs::metadata(file).map_or(0, |metadata| metadata.len());
        writeln!(summary, "  {name}: {} bytes", grouped(bytes))?;
    }
    for note in &report.notes {
        writeln!(summary, "  note: {note}")?;
    }
    Ok(summary.lines().map(|line| cli::printable(line) + "\n").collect())
}
