//! Draws a model as one page: where its bytes go, its bits per weight, its values, and its error relative to another model.

mod budget;
mod charts;
mod errors;
mod gather;
mod histograms;
mod json;
mod page;
mod tables;
mod tiles;
mod treemap;
mod words;

use std::path::PathBuf;

use anyhow::{Context, Result};
use gguf_codec::{AtomicFile, Inputs};

use crate::numbers::counted;
use crate::work::Work;
use crate::{cli, output};
use budget::Predicted;
use gather::{Gathered, Source};

/// Draws a GGUF model as one HTML page that needs nothing else: it loads nothing from the network and is readable without JavaScript. The first shard of a
/// model stands for all of it.
///
/// Where the bytes go by type and layer and as a treemap, bits per weight, histograms of the weights, and with --against
/// the error of every tensor beside another model, such as the one that this was quantized from. Each picture has a
/// table behind it.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The model
    #[arg(value_parser = crate::paths::file())]
    model: PathBuf,
    /// The page to write
    #[arg(short, long, value_name = "FILE.html")]
    #[arg(value_parser = crate::paths::file())]
    output: PathBuf,
    /// Compare with this model, whose values count as right
    #[arg(long, value_name = "B")]
    #[arg(value_parser = crate::paths::file())]
    against: Option<PathBuf>,
    /// Show what quantizing the model to types that are chosen for a size would do, for many sizes, beside llama.cpp's recipes
    #[arg(long)]
    budget: bool,
    /// How much the model suffers from each tensor, for --budget: lines of a name, a tab and a number
    #[arg(long, value_name = "FILE", requires = "budget")]
    #[arg(value_parser = crate::paths::file())]
    sensitivity: Option<PathBuf>,
    #[command(flatten)]
    force: output::Force,
    /// Look at about so many values of each tensor, spread evenly, at least 131072; 0 is all
    #[arg(long, value_name = "VALUES", default_value_t = 1 << 23)]
    sample: u64,
    /// Print the numbers as JSON too
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> Result<String> {
    let work = Work::begin(&args.output)?;
    let source = Source::open(&args.model)?;
    let other = args.against.as_deref().map(Source::open).transpose()?;
    let mut inputs = Inputs::new();
    inputs.add_all(&args.sensitivity);
    for model in [Some(&source), other.as_ref()].into_iter().flatten() {
        inputs.add_all(model.paths());
    }
    inputs.check(&args.output, args.force.existing())?;
    let sample = (args.sample > 0).then_some(args.sample);
    let gathered = Gathered::of(&source, other.as_ref(), sample, &work)
        .with_context(|| format!("'{}'", args.model.display()))?;
    let predicted = args.budget.then(|| Predicted::of(source.input(), args.sensitivity.as_deref(), &work));
    let predicted = predicted.transpose()?;
    work.done();
    let other_name =
        args.against.as_ref().and_then(|path| path.file_name()).map(|name| name.to_string_lossy());
    let page = page::page(&source, &gathered, other_name.as_deref(), predicted.as_ref());
    AtomicFile::write_with(&args.output, page.as_bytes(), args.force.existing())?;
    if args.json {
        return Ok(json::json(&gathered));
    }
    let tensors = counted(gathered.total.tensors, "tensor");
    let shown = format!("{}: {tensors}, {}", args.output.display(), words::bytes(page.len() as u64));
    Ok(cli::printable(&shown) + "\n")
}
