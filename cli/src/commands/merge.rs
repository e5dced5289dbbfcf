//! Merges the shards of a model into one file.

use std::path::PathBuf;

use anyhow::{Result, anyhow};
use gguf_codec::model::{Input, Merge};
use gguf_codec::{Error, ShardPaths};
use serde_json::json;

use crate::numbers::{counted, grouped};
use crate::work::Work;
use crate::{cli, output};

/// Puts the shards of a GGUF model together into one file.
///
/// All shards are opened and checked before anything is written. OUT is written beside its place, under a temporary name,
/// and moved there when it is complete: after a failure or an interruption (Ctrl-C, SIGTERM) what was there is as it was,
/// and nothing is left behind. The shards stay.
///
/// With --consume each shard is removed once its data is on the disk in OUT, which needs space for the largest shard beside the model
/// and not for a second model. Until all is done OUT is called OUT.merging: that has the data of the shards that are gone. After an
/// interruption, a crash or a power failure the same command goes on from there.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The first shard: PREFIX-00001-of-00003.gguf, with the others beside it
    #[arg(value_parser = crate::paths::file())]
    first: PathBuf,
    /// The file to write
    #[arg(value_name = "OUT")]
    #[arg(value_parser = crate::paths::file())]
    output: PathBuf,
    /// Remove each shard once its data is on the disk
    #[arg(long)]
    consume: bool,
    #[command(flatten)]
    force: output::Force,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> Result<String> {
    let work = Work::begin(&args.output)?;
    let merge = Merge::new().existing(args.force.existing());
    let (bytes, model) =
        if args.consume { consume(&args, merge, &work)? } else { keep(&args, merge, &work)? };
    let model = model.model();
    let (path, tensors) = (args.output.display().to_string(), model.tensor_count());
    let shards = match ShardPaths::parse(&args.first) {
        Some((paths, _)) if args.consume => usize::from(paths.count()),
        _ => model.shards().len(),
    };
    Ok(if args.json {
        let mut report = json!({ "path": path, "shards": shards, "tensors": tensors, "bytes": bytes });
        report["consumed"] = args.consume.into();
        crate::json::document(&report)
    } else {
        let [of, tensors] =
            [(shards, "shard"), (tensors, "tensor")].map(|(count, what)| counted(count as u64, what));
        let removed = if args.consume { "; the shards are removed" } else { "" };
        format!("{}: {tensors} of {of}, {} bytes{removed}\n", cli::printable(&path), grouped(bytes))
    })
}

/// Merges shards and keeps them; returns the length of OUT and the shards.
fn keep(args: &Args, merge: Merge, work: &Work) -> Result<(u64, Input)> {
    let input = Input::open(&args.first).map_err(|error| cli::about(&args.first, error))?;
    let merged = merge.run_with(&input, &args.output, |done, total| work.reached(done, total));
    work.done();
    Ok((merged.map_err(|error| work.explained(error))?, input))
}

/// Merges shards and removes them; returns the length of OUT and OUT itself.
fn consume(args: &Args, merge: Merge, work: &Work) -> Result<(u64, Input)> {
    let merged = merge.consume_with(&args.first, &args.output, |done, total| work.reached(done, total));
    work.done();
    let bytes = merged.map_err(|error| {
        let unfinished = merge.unfinished_path(&args.output);
        let is_gone = |(paths, _): (ShardPaths, u16)| (0..paths.count()).any(|no| !paths.path(no).exists());
        // What is there may be another's, or nothing of it may be needed.
        if !unfinished.exists() || !ShardPaths::parse(&args.first).is_some_and(is_gone) {
            return work.explained(error);
        }
        let error = match error {
            Error::Interrupted => anyhow!("interrupted"),
            error => error.into(),
        };
        let unfinished = unfinished.display();
        anyhow!("{error:#} (the data of the shards that are gone is in '{unfinished}'; the same command goes on from there)")
    })?;
    let merged = Input::open(&args.output).map_err(|error| cli::about(&args.output, error))?;
    Ok((bytes, merged))
}
