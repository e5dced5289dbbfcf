//! Splits a model into shards, with the names, keys and divisions of llama.cpp's `gguf-split`.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use gguf_codec::model::Input;
use gguf_codec::{Inputs, ShardPaths, ShardPlan, StagedFile, Writer};
use serde_json::json;

use crate::numbers::{counted, grouped};
use crate::work::Work;
use crate::{cli, copy, output, size};

/// Splits a GGUF model into shards: PREFIX-00001-of-00003.gguf and so on.
///
/// The first shard has all metadata; llama.cpp loads the whole model by it, and `merge` puts it together again. The shards
/// are written beside their places, under temporary names, and moved there when all are complete: after a failure or an
/// interruption (Ctrl-C, SIGTERM) what was there is as it was, and nothing is left behind. IN may be sharded already: give
/// the first of its files.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The model to read
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// What the names of the shards begin with
    prefix: PathBuf,
    #[command(flatten)]
    limit: Limit,
    /// Leave the first shard without tensors, so that it is small
    #[arg(long)]
    no_tensor_first_split: bool,
    #[command(flatten)]
    force: output::Force,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Limit {
    /// Bytes of tensors in a shard, at most: a number, or one with K, M or G for thousands, millions or billions. A tensor
    /// that is longer is alone in its shard
    #[arg(long, value_name = "SIZE", value_parser = size::size)]
    max_size: Option<u64>,
    /// Tensors in a shard, at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_tensors: Option<u64>,
}

pub(crate) fn run(args: Args) -> Result<String> {
    let prefix = args.prefix.as_os_str();
    let is_folder = prefix.to_string_lossy().ends_with(std::path::is_separator);
    if is_folder || args.prefix.file_name().is_none() {
        bail!("the prefix '{}' must end with the start of a name, not with a folder", args.prefix.display());
    }
    let work = Work::begin(&args.prefix)?;
    let input = Input::open(&args.input).map_err(|error| cli::about(&args.input, error))?;
    let (model, tensors) = (input.model(), input.tensors().collect::<Vec<_>>());
    let bytes = tensors.iter().map(|tensor| tensor.byte_len());
    let mut plan = match (args.limit.max_size, args.limit.max_tensors) {
        (Some(most), _) => ShardPlan::by_bytes(bytes.clone(), model.first().alignment(), most)?,
        (_, most) => {
            let most = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
            ShardPlan::by_tensors(tensors.len(), most)?
        }
    };
    if args.no_tensor_first_split {
        plan = plan.with_empty_first()?;
    }
    work.expect(bytes.sum());

    let paths = ShardPaths::new(prefix, plan.count());
    let existing = args.force.existing();
    let all = (0..plan.count()).map(|no| paths.path(no));
    Inputs::new().add_all(model.paths()).check_all(all, existing)?;
    let mut done: Vec<StagedFile> = Vec::new();
    let (mut text, mut shards) = (String::new(), Vec::new());
    for (no, range) in (0..).zip(plan.shards()) {
        let path = paths.path(no);
        let mut writer = Writer::create_with(&path, existing)?;
        writer.copy_sharded_metadata_from(model)?.shard(no, plan.count(), tensors.len())?;
        // What the model has behind its last tensor, the last shard has.
        if no + 1 < plan.count() {
            writer.final_padding(true);
        }
        for tensor in &tensors[range.clone()] {
            writer.tensor(tensor.name(), tensor.shape().dims(), tensor.ggml_type())?;
        }
        let bytes = writer.file_len()?;
        let mut data = writer.write_header()?;
        copy::tensors(&input, &tensors, range.clone(), &mut data, &work)?;
        done.push(data.stage()?);
        let shown = path.to_string_lossy();
        shards.push(json!({ "path": shown, "tensors": range.len(), "bytes": bytes }));
        let counted = counted(range.len() as u64, "tensor");
        writeln!(text, "{}: {counted}, {} bytes", cli::printable(&shown), grouped(bytes))?;
    }
    StagedFile::commit_all(done).context("the shards are not in their places")?;
    work.done();
    Ok(if args.json {
        format!("{:#}\n", json!({ "tensors": tensors.len(), "shards": shards }))
    } else {
        text
    })
}
