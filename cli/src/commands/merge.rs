//! Puts the shards of a model together into one file.

use std::path::PathBuf;

use anyhow::Result;
use gguf_codec::model::{Input, Merge};
use serde_json::json;

use crate::numbers::{counted, grouped};
use crate::work::Work;
use crate::{cli, output};

/// Puts the shards of a GGUF model together into one file.
///
/// All shards are opened and checked before anything is written. OUT is written beside its place, under a temporary name,
/// and moved there when it is complete: after a failure or an interruption (Ctrl-C, SIGTERM) what was there is as it was,
/// and nothing is left behind. The shards stay.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The first shard: PREFIX-00001-of-00003.gguf, with the others beside it
    first: PathBuf,
    /// The file to write
    #[arg(value_name = "OUT")]
    output: PathBuf,
    #[command(flatten)]
    force: output::Force,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> Result<String> {
    let work = Work::begin(&args.output)?;
    let input = Input::open(&args.first).map_err(|error| cli::about(&args.first, error))?;
    let model = input.model();
    let merge = Merge::new().existing(args.force.existing());
    let merged = merge.run(&input, &args.output, |done, total| work.reached(done, total));
    work.done();
    let bytes = merged.map_err(|error| work.explained(error))?;

    let (path, shards, tensors) =
        (args.output.display().to_string(), model.shards().len(), model.tensor_count());
    Ok(if args.json {
        format!("{:#}\n", json!({ "path": path, "shards": shards, "tensors": tensors, "bytes": bytes }))
    } else {
        let [shards, tensors] =
            [(shards, "shard"), (tensors, "tensor")].map(|(count, what)| counted(count as u64, what));
        format!("{}: {tensors} of {shards}, {} bytes\n", cli::printable(&path), grouped(bytes))
    })
}
