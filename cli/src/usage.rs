//! Arguments that make no sense, told in one line with what was probably meant.

use std::path::Path;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use gguf_codec::model::Recipe;

/// What other programs call the commands.
const OTHER_NAMES: &[(&str, &[&str])] = &[
    (
        "inspect",
        &[
            "info", "show", "ls", "list", "dump", "view", "cat", "print", "describe", "head", "header",
            "meta", "metadata", "tensors", "check", "validate", "verify", "stat",
        ],
    ),
    (
        "edit",
        &["set", "change", "modify", "rename", "remove", "patch", "prune", "set-metadata", "new-metadata"],
    ),
    ("quantize", &["quant", "requantize"]),
    ("convert", &["cast", "dequantize", "dequantise", "dequant"]),
    ("split", &["shard", "cut"]),
    ("merge", &["join", "concat", "unsplit", "combine"]),
    ("merge-lora", &["lora", "apply-lora", "export-lora", "fuse", "bake"]),
    ("diff", &["compare", "cmp"]),
    ("hash", &["checksum", "digest", "sum", "sha1", "sha256", "sha256sum", "md5"]),
    ("imatrix", &["importance"]),
    ("report", &["html", "plot"]),
    ("from-safetensors", &["import", "from-hf", "convert-hf", "hf-to-gguf", "from-huggingface"]),
    ("to-safetensors", &["export", "to-hf", "to-huggingface"]),
    ("completions", &["completion", "complete"]),
    ("man", &["manual"]),
];

/// A usage error in one line. `command` is the name of the subcommand, if there is one.
pub(crate) fn line(error: &clap::Error, command: Option<&str>) -> String {
    let said = first_paragraph(&error.to_string());
    let meant = match error.kind() {
        ErrorKind::InvalidSubcommand => meant_command(error),
        ErrorKind::UnknownArgument => meant_argument(error, command),
        ErrorKind::InvalidValue => suggested(error, ContextKind::SuggestedValue),
        _ => None,
    };
    let meant = meant.map_or_else(String::new, |meant| format!("; {meant}"));
    format!("{said}{meant} (see --help)")
}

fn meant_command(error: &clap::Error) -> Option<String> {
    let given = text(error, ContextKind::InvalidSubcommand)?;
    let is_file = given.ends_with(".gguf") || given.contains("://") || Path::new(given).is_file();
    if is_file {
        return Some(format!("is it 'gguf inspect {given}'?"));
    }
    let word = given.trim_start_matches('-').to_lowercase();
    let named = OTHER_NAMES.iter().find(|(_, others)| others.contains(&word.as_str()));
    named
        .map(|(command, _)| format!("is it '{command}'?"))
        .or_else(|| suggested(error, ContextKind::SuggestedSubcommand))
}

fn meant_argument(error: &clap::Error, command: Option<&str>) -> Option<String> {
    let given = text(error, ContextKind::InvalidArg)?;
    if command == Some("quantize") {
        // llama.cpp's program has the recipe as the third argument.
        if let Ok(recipe) = given.parse::<Recipe>() {
            return Some(format!("a recipe is given as --recipe {recipe}"));
        }
        if given == "--type" {
            return Some("--recipe says what to make of the model, and 'gguf convert --type' gives every matrix one type".to_owned());
        }
    }
    suggested(error, ContextKind::SuggestedArg)
}

/// The names that clap found to be similar.
fn suggested(error: &clap::Error, kind: ContextKind) -> Option<String> {
    let names = match error.get(kind)? {
        ContextValue::String(name) => vec![name.clone()],
        ContextValue::Strings(names) => names.clone(),
        _ => return None,
    };
    let names: Vec<_> = names.iter().map(|name| format!("'{name}'")).collect();
    (!names.is_empty()).then(|| format!("is it {}?", names.join(" or ")))
}

fn text(error: &clap::Error, kind: ContextKind) -> Option<&str> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text),
        _ => None,
    }
}

/// The text up to the first empty line, joined into one line: clap lists missing arguments on separate lines, followed by an empty line
/// and the usage.
fn first_paragraph(error: &str) -> String {
    let lines: Vec<_> = error.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    lines.join(" ").trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn other_names_lead_to_commands_and_are_none_themselves() {
        let command = crate::Gguf::command();
        for (name, others) in OTHER_NAMES {
            assert!(command.find_subcommand(name).is_some(), "{name}");
            for other in *others {
                assert!(command.find_subcommand(other).is_none(), "{other}");
            }
        }
    }
}
