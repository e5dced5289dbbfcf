//! Converts importance matrices between their two forms, merges them, and shows what they contain.

use std::ffi::OsStr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::ValueEnum;
use gguf_codec::model::ImatrixEntry;
use gguf_codec::{AtomicFile, Inputs, Writer};
use serde_json::json;

use crate::importance::merged;
use crate::names::Names;
use crate::numbers::counted;
use crate::work::Work;
use crate::{cli, output};

/// Writes an importance matrix, or several of one model as one, in either form: as GGUF, or as the binary file that llama.cpp's
/// `imatrix` wrote until 2025.
///
/// OUT is written beside its place, under a temporary name, and moved there when it is complete: after a failure or
/// an interruption (Ctrl-C, SIGTERM) what was there is as it was, and nothing is left behind.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The importance matrix to read; several of one model are put together
    #[arg(value_name = "IN", required = true)]
    #[arg(value_parser = crate::paths::file())]
    inputs: Vec<PathBuf>,
    /// The file to write
    #[arg(value_name = "OUT")]
    #[arg(value_parser = crate::paths::file())]
    output: PathBuf,
    /// The form of OUT; without it, the binary one where its name ends with .dat, and GGUF else
    #[arg(long)]
    format: Option<Form>,
    #[command(flatten)]
    force: output::Force,
    /// Print what is in it as JSON
    #[arg(long)]
    json: bool,
}

/// The forms that importance matrices have.
#[derive(Clone, Copy, ValueEnum)]
enum Form {
    /// Today's
    Gguf,
    /// The binary one that llama.cpp wrote until 2025, and ik_llama.cpp reads
    Dat,
}

pub(crate) fn run(args: Args) -> Result<String> {
    let work = Work::begin(&args.output)?;
    let existing = args.force.existing();
    Inputs::new().add_all(&args.inputs).check(&args.output, existing)?;
    let imatrix = merged(&args.inputs)?.context("an importance matrix to read is missing")?;
    let by_name = |extension: &OsStr| if extension == "dat" { Form::Dat } else { Form::Gguf };
    let form = args.format.unwrap_or(args.output.extension().map_or(Form::Gguf, by_name));
    match form {
        Form::Dat => AtomicFile::write_with(&args.output, &imatrix.to_binary()?, existing)?,
        Form::Gguf => {
            let floats = |entry: &ImatrixEntry| {
                entry.sums.len() + entry.counts.len() + entry.activations.as_ref().map_or(0, Vec::len)
            };
            work.expect(imatrix.entries().iter().map(|entry| floats(entry) as u64 * 4).sum());
            let writer = Writer::create_with(&args.output, existing)?;
            let written = imatrix.write_in_steps(writer, |bytes| work.step(bytes));
            work.done();
            written.map_err(|error| work.explained(error))?;
        }
    }
    if args.json {
        let entry = |entry: &ImatrixEntry| {
            json!({ "name": entry.name, "columns": entry.sums.len() / entry.counts.len(), "matrices": entry.counts.len(),
                "tokens": entry.counts.iter().copied().fold(0.0, f32::max) })
        };
        let entries: Vec<_> = imatrix.entries().iter().map(entry).collect();
        let report = json!({ "datasets": imatrix.datasets, "chunks": imatrix.chunk_count,
            "chunk_size": imatrix.chunk_size, "entries": entries });
        return Ok(crate::json::document(&report));
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
