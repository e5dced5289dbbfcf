//! The program `gguf`: inspects, changes and creates models in the GGUF format.

mod alternatives;
mod budget;
mod cli;
mod commands;
mod details;
mod errors;
mod glob;
mod importance;
mod json;
mod listing;
mod names;
mod numbers;
mod output;
mod paths;
mod plot;
mod quantization;
mod quantized;
mod screen;
mod size;
mod sizes;
mod statistics;
mod stores;
mod summary;
mod tensor_types;
mod texts;
mod types;
mod usage;
mod values;
mod work;

use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::cli::Answer;
use crate::commands::*;

/// Looks into models in the GGUF format, changes them and makes them.
///
/// For a sharded model, give the first shard. No command changes or deletes a file that it reads, unless asked to by --in-place or
/// --consume. Other existing files are overwritten only with --force. The exit status is 0 on success, 1 on failure, and 2 if the
/// arguments are invalid.
#[derive(Parser)]
#[command(name = "gguf", version, propagate_version = true)]
struct Gguf {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Inspect(inspect::Args),
    Convert(convert::Args),
    Quantize(quantize::Args),
    Edit(edit::Args),
    Diff(diff::Args),
    Split(split::Args),
    Merge(merge::Args),
    MergeLora(merge_lora::Args),
    Hash(hash::Args),
    Imatrix(imatrix::Args),
    Report(report::Args),
    Formats(formats::Args),
    FromSafetensors(from_safetensors::Args),
    ToSafetensors(to_safetensors::Args),
    /// Prints a script that lets a shell complete commands and options
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Prints the manual page, for `man -l -`
    Man,
}

fn main() -> ExitCode {
    cli::main(|gguf: Gguf| match gguf.command {
        Command::Inspect(args) => inspect::run(args),
        Command::Convert(args) => convert::run(args),
        Command::Quantize(args) => quantize::run(args),
        Command::Edit(args) => edit::run(args).map(Answer::from),
        Command::Diff(args) => diff::run(args),
        Command::Split(args) => split::run(args).map(Answer::from),
        Command::Merge(args) => merge::run(args).map(Answer::from),
        Command::MergeLora(args) => merge_lora::run(args).map(Answer::from),
        Command::Hash(args) => hash::run(args),
        Command::Imatrix(args) => imatrix::run(args).map(Answer::from),
        Command::Report(args) => report::run(args).map(Answer::from),
        Command::Formats(args) => formats::run(args).map(Answer::from),
        Command::FromSafetensors(args) => from_safetensors::run(args).map(Answer::from),
        Command::ToSafetensors(args) => to_safetensors::run(args).map(Answer::from),
        Command::Completions { shell } => Ok(completions(shell)),
        Command::Man => man(),
    })
}

fn completions(shell: Shell) -> Answer {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Gguf::command(), "gguf", &mut script);
    Answer(script, 0)
}

/// One manual page for all commands.
fn man() -> Result<Answer> {
    let mut page = Vec::new();
    let command = Gguf::command();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    for sub in command.get_subcommands() {
        clap_mangen::Man::new(sub.clone()).title(format!("gguf-{}", sub.get_name())).render(&mut page)?;
    }
    Ok(Answer(page, 0))
}
