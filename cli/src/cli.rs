//! What the commands share: one clear line for every failure, and output that survives a closed pipe.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Once, OnceLock};

use anyhow::anyhow;
use clap::Parser;
use clap::error::ErrorKind;
use gguf_codec::{Error, OutputProblem, ShardPaths};

use crate::stores::{self, Place};
use crate::usage;

/// The program's name, with which its messages begin.
static NAME: OnceLock<String> = OnceLock::new();

/// A command's output and its exit code.
pub(crate) struct Answer(pub(crate) Vec<u8>, pub(crate) u8);

impl From<String> for Answer {
    fn from(text: String) -> Self {
        Answer(text.into_bytes(), 0)
    }
}

/// Parses the arguments and runs the command. Prints its output and exits with its code, or prints one line on standard error and exits
/// with 1.
pub(crate) fn main<A: Parser>(run: impl FnOnce(A) -> anyhow::Result<Answer>) -> ExitCode {
    let command = {
        let (command, first) = (A::command(), std::env::args().nth(1));
        first.and_then(|first| command.find_subcommand(first).map(|sub| sub.get_name().to_owned()))
    };
    NAME.get_or_init(|| {
        let name = A::command().get_name().to_owned();
        command.as_ref().map_or_else(|| name.clone(), |sub| format!("{name} {sub}"))
    });
    let misused = |error: &clap::Error| {
        fail(&usage::line(error, command.as_deref()));
        ExitCode::from(2)
    };
    let args = match A::try_parse() {
        Ok(args) => args,
        // Help and version are printed and are not failures.
        Err(message) if !message.use_stderr() => {
            let _ = message.print();
            return ExitCode::SUCCESS;
        }
        // Without a command, only list the commands.
        Err(help) if help.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = help.print();
            return ExitCode::from(2);
        }
        Err(error) => return misused(&error),
    };
    let answered = run(args).and_then(|Answer(output, code)| print(&output).map(|()| code));
    match answered {
        Ok(code) => ExitCode::from(code),
        Err(error) => match error.downcast_ref::<clap::Error>() {
            Some(error) => misused(error),
            None => fail(&described(&error)),
        },
    }
}

/// An error in how arguments go together, which is one of usage.
pub(crate) fn usage(message: String) -> anyhow::Error {
    clap::Error::raw(ErrorKind::ArgumentConflict, message).into()
}

/// The error in one line, in terms of the program instead of the library.
fn described(error: &anyhow::Error) -> String {
    // The library's messages name its functions.
    let said = format!("{error:#}")
        .replace("`Edit::recover`", "`gguf edit FILE --in-place`, with or without changes,")
        .replace("`Edit::drop_trailing`", "--drop-trailing")
        .replace("`Quantize::allow_requantize`", "--allow-requantize")
        .replace("`Quantize::missing_importance`", "--missing-importance")
        .replace("`Merge::consume` with the same paths", "`gguf merge --consume` with the same paths")
        .replace("`FromSafetensors::base`", "--base")
        .replace("; open it and give it to Gguf::read_header", "")
        .replace("; to write into a device or a pipe, open it and give it to Writer::new", "")
        .replace("there is no importance matrix", "there is no --imatrix");
    format!("{said}{}", hint(error))
}

/// Reports a problem with one of several inputs on a separate line; the command continues.
pub(crate) fn warn(error: &anyhow::Error) {
    say(&described(error));
}

fn say(message: &str) {
    let name = NAME.get().map_or("", String::as_str);
    // Not eprintln, which panics where standard error is closed.
    let _ = writeln!(std::io::stderr(), "{name}: {}", printable(message));
}

/// A hint on how to permit the refused operation, to append to the error.
fn hint(error: &anyhow::Error) -> &'static str {
    let mut errors = error.chain().filter_map(|error| error.downcast_ref::<Error>());
    let problem = errors.find_map(|error| match error {
        Error::Output { problem, .. } => Some(problem),
        _ => None,
    });
    match problem {
        Some(OutputProblem::Exists { leads_to: None }) => " (--force replaces it)",
        Some(OutputProblem::Exists { leads_to: Some(_) }) => " (--force replaces the link)",
        Some(OutputProblem::NotFolder) => " (the name of a file ends with .safetensors)",
        _ => "",
    }
}

fn print(output: &[u8]) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(output).and_then(|()| stdout.flush()) {
        // The reader has closed the pipe.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(anyhow::Error::from(error).context("cannot write to standard output")),
        Ok(()) => Ok(()),
    }
}

/// Reports an error in one line.
pub(crate) fn fail(message: &str) -> ExitCode {
    // Only one line, although interrupted work may fail on two threads.
    static SAID: Once = Once::new();
    SAID.call_once(|| say(message));
    ExitCode::FAILURE
}

/// Whether a character is itself invisible and affects its surroundings: controls, line and paragraph separators, marks that
/// change the writing direction, joiners, tags.
pub(crate) fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}'
            | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0001}' | '\u{e0020}'..='\u{e007f}')
}

/// Escapes invisible characters in a text, so that names from files and arguments cannot control a terminal or imitate other names.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if is_invisible(character) {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

/// What a path of safetensors is; `None` for all else.
fn checkpoint(path: &Path) -> Option<&'static str> {
    let is_safetensors = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json")
    };
    if !path.is_dir() {
        return (is_safetensors(path) || begins_as_safetensors(path)).then_some("that is safetensors");
    }
    if path.join("adapter_config.json").exists() {
        return Some("that is the folder of an adapter of PEFT");
    }
    let mut files = std::fs::read_dir(path).ok()?.flatten();
    files.any(|file| is_safetensors(&file.path())).then_some("that is the folder of a model in safetensors")
}

/// Whether a file begins with the length of a header and the header, which is JSON.
fn begins_as_safetensors(path: &Path) -> bool {
    let mut start = [0; 9];
    let read = std::fs::File::open(path).and_then(|mut file| {
        file.read_exact(&mut start)?;
        Ok(file.metadata()?.len())
    });
    let [header @ .., first] = start;
    first == b'{' && read.is_ok_and(|len| u64::from_le_bytes(header) < len)
}

/// The model in a folder that has one alone, by its first shard.
fn only_model(folder: &Path) -> Option<PathBuf> {
    let is_first = |path: &PathBuf| {
        let is_gguf = path.extension().is_some_and(|extension| extension == "gguf");
        is_gguf && ShardPaths::parse(path).is_none_or(|(_, index)| index == 0)
    };
    let mut models = std::fs::read_dir(folder).ok()?.flatten().map(|file| file.path()).filter(is_first);
    models.next().filter(|_| models.next().is_none())
}

/// Whether a path that leads nowhere is an address or a name in a store.
fn is_elsewhere(path: &Path) -> bool {
    !path.exists() && !matches!(stores::resolved(path), Ok(Place::File(file)) if file == path)
}

/// An error about a file that is to be a GGUF, with the file's name, and with what makes a GGUF of a checkpoint.
pub(crate) fn about(path: &Path, error: Error) -> anyhow::Error {
    let error = named(path, error);
    match (checkpoint(path), only_model(path)) {
        (Some(what), _) => anyhow!("{error:#} ({what}; `gguf from-safetensors` makes a GGUF of it)"),
        (None, Some(model)) => anyhow!("{error:#}; is it '{}'?", model.display()),
        (None, None) if is_elsewhere(path) => {
            anyhow!("{error:#} (only `gguf inspect` reads models that are not files here)")
        }
        (None, None) => error,
    }
}

/// Adds the file's name to an error that does not already mention it.
pub(crate) fn named(path: &Path, error: Error) -> anyhow::Error {
    let names_a_file = matches!(error, Error::Shard { .. });
    let (shown, error) = (path.display().to_string(), anyhow::Error::from(error));
    if names_a_file || error.to_string().contains(&shown) {
        error
    } else {
        error.context(format!("'{shown}'"))
    }
}
