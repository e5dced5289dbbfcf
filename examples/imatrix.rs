//! Turns an importance matrix of either form into the GGUF form, and shows what is in it.

#[path = "shared/cli.rs"]
mod cli;
#[path = "shared/names.rs"]
mod names;
#[path = "shared/numbers.rs"]
mod numbers;
#[path = "shared/output.rs"]
mod output;
#[allow(dead_code, reason = "nothing is converted here")]
#[path = "shared/work.rs"]
mod work;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;
use gguf_codec::model::{Imatrix, ImatrixEntry};
use gguf_codec::{Inputs, Writer};
use names::Names;
use numbers::counted;
use serde_json::json;
use work::Work;

/// Writes an importance matrix as GGUF, whichever form it is in: the binary file that llama.cpp's `imatrix` wrote until
/// 2025, or GGUF.
///
/// OUT is written beside its place, under a temporary name, and moved there when it is complete: after a failure or
/// an interruption (Ctrl-C, SIGTERM) what was there is as it was, and nothing is left behind.
#[derive(Parser)]
#[command(name = "imatrix", version)]
struct Args {
    /// The importance matrix to read
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// The file to write
    #[arg(value_name = "OUT")]
    output: PathBuf,
    #[command(flatten)]
    force: output::Force,
    /// Print what is in it as JSON
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    cli::main(convert)
}

fn convert(args: Args) -> Result<String> {
    let work = Work::begin(&args.output)?;
    if args.output.extension().is_some_and(|extension| extension == "dat") {
        bail!(
            "'{}' is a name for the binary form, and what is written is GGUF: let OUT end with .gguf",
            args.output.display()
        );
    }
    Inputs::new().add(&args.input).check(&args.output, args.force.existing())?;
    let imatrix = Imatrix::read(&args.input).map_err(|error| cli::about(&args.input, error))?;
    let floats = |entry: &ImatrixEntry| {
        entry.sums.len() + entry.counts.len() + entry.activations.as_ref().map_or(0, Vec::len)
    };
    work.expect(imatrix.entries().iter().map(|entry| floats(entry) as u64 * 4).sum());
    let written = imatrix
        .write_in_steps(Writer::create_with(&args.output, args.force.existing())?, |bytes| work.step(bytes));
    work.done();
    written.map_err(|error| work.explained(error))?;
    if args.json {
        let entry = |entry: &ImatrixEntry| {
            json!({ "name": entry.name, "columns": entry.sums.len() / entry.counts.len(), "matrices": entry.counts.len(),
                "tokens": entry.counts.iter().copied().fold(0.0, f32::max) })
        };
        let entries: Vec<_> = imatrix.entries().iter().map(entry).collect();
        let report = json!({ "datasets": imatrix.datasets, "chunks": imatrix.chunk_count,
            "chunk_size": imatrix.chunk_size, "entries": entries });
        return Ok(format!("{report:#}\n"));
    }
    let mut names = Names::default();
    imatrix.entries().iter().for_each(|entry| names.add(&entry.name));
    let (entries, chunks) = (imatrix.entries().len() as u64, u64::from(imatrix.chunk_count));
    let text = format!(
        "{}: {}, measured on {} of {} tokens ({})",
        args.output.display(),
        counted(entries, "tensor"),
        counted(chunks, "chunk"),
        imatrix.chunk_size,
        imatrix.datasets.join(", "),
    );
    Ok(format!("{}\n  {names}\n", cli::printable(&text)))
}
