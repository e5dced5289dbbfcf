//! Splits a model into shards, with the names, keys and divisions of llama.cpp's `gguf-split`.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Result, bail};
use gguf_codec::model::{Input, Split, SplitShard};
use serde_json::json;

use crate::numbers::{counted, grouped};
use crate::work::Work;
use crate::{cli, output, size};

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
    #[arg(value_parser = crate::paths::file())]
    input: PathBuf,
    /// What the names of the shards begin with
    #[arg(value_parser = crate::paths::file())]
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
    /// Bytes of tensors in a shard, at most: a number, or one with K, M or G for thousands, millions or billions. The file
    /// is larger by its header. A tensor that is longer is alone in its shard
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
    let split = match (args.limit.max_size, args.limit.max_tensors) {
        (Some(most), _) => Split::by_bytes(most),
        (_, most) => {
            let most = most.and_then(|most| usize::try_from(most).ok());
            Split::by_tensors(most.unwrap_or(usize::MAX))
        }
    };
    let split = if args.no_tensor_first_split { split.empty_first() } else { split };
    let split = split.existing(args.force.existing());
    let shards = split.run_with(&input, prefix, |done, total| work.reached(done, total));
    work.done();
    let shards = shards.map_err(|error| work.explained(error))?;

    let mut text = String::new();
    for shard in &shards {
        let (path, tensors) = (shard.path.to_string_lossy(), counted(shard.tensors as u64, "tensor"));
        writeln!(text, "{}: {tensors}, {} bytes", cli::printable(&path), grouped(shard.bytes))?;
    }
    Ok(if args.json {
        let tensors = input.model().tensor_count();
        let shard = |shard: &SplitShard| json!({ "path": shard.path.to_string_lossy(), "tensors": shard.tensors, "bytes": shard.bytes });
        let shards: Vec<_> = shards.iter().map(shard).collect();
        crate::json::document(&json!({ "tensors": tensors, "shards": shards }))
    } else {
        text
    })
}
