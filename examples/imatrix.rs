//! Turns an importance matrix of either form into the GGUF form, and shows what is in it.

#[path = "shared/cli.rs"]
mod cli;
#[path = "shared/names.rs"]
mod names;
#[path = "shared/numbers.rs"]
mod numbers;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use gguf_codec::Writer;
use gguf_codec::model::Imatrix;
use names::Names;
use numbers::counted;
use serde_json::json;

/// Writes an importance matrix as GGUF, whichever form it is in: the binary file that llama.cpp's `imatrix` wrote until
/// 2025, or GGUF.
#[derive(Parser)]
#[command(name = "imatrix", version)]
struct Args {
    /// The importance matrix to read
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// The file to write
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// Print what is in it as JSON
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    cli::main(convert)
}

fn convert(args: Args) -> Result<String> {
    let imatrix = Imatrix::read(&args.input).map_err(|error| cli::about(&args.input, error))?;
    imatrix.write(Writer::create(&args.output)?)?;
    if args.json {
        let entry = |entry: &gguf_codec::model::ImatrixEntry| {
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
