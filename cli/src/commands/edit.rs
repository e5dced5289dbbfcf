//! Changes a model's metadata and the names of its tensors, without reading the tensors' data.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use gguf_codec::model::{Edit, EditChange, EditPlan, Edited};
use gguf_codec::{ByteOrder, Gguf, Inputs, ShardPaths, Value, ValueKind, ValueType, check_in_place};
use serde_json::json;

use crate::numbers::{counted, grouped};
use crate::values::{Layers, Retyped};
use crate::work::Work;
use crate::{cli, glob, output, values};

/// Sets, adds, removes and renames keys of a GGUF model, and removes and renames tensors.
///
/// Keys that are set keep their places and types, new ones come last. Each change is printed, a line for each. Options that
/// remove or rename take the names in IN, --set and the like those in OUT. VALUE is digits for a number, true or false, text as
/// it is, or an array in JSON, where "\udcff" in a string stands for the byte 0xFF. TYPE is one of u8, i8, u16, i16, u32,
/// i32, u64, i64, f32, f64, bool and str, or [TYPE] for an array.
///
/// OUT is written beside its place, under a temporary name, and moved there when it is complete: after a failure or
/// an interruption (Ctrl-C, SIGTERM) what was there is as it was. Of a model in shards each is edited alone, in place or under a name of the same number: the first has the model's keys.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The model to read
    #[arg(value_name = "IN")]
    #[arg(value_parser = crate::paths::file())]
    input: PathBuf,
    /// The file to write; without it, --in-place or --dry-run is required
    #[arg(value_name = "OUT", conflicts_with = "in_place")]
    #[arg(value_parser = crate::paths::file())]
    output: Option<PathBuf>,
    /// Give a key that is there another value, of the type that it has; or, with KEY[N], one element of an array, counted
    /// from 0. The text is taken literally, including any type or '@' before it
    #[arg(long, value_name = "KEY=VALUE", value_parser = values::key_and_text)]
    set: Vec<(String, String)>,
    /// Like --set, with the value read from a file: for text, all of its bytes, including line breaks and invalid UTF-8
    #[arg(long, value_name = "KEY=FILE", value_parser = values::key_and_file)]
    set_file: Vec<(String, PathBuf)>,
    /// Add a key that is not there, such as general.name=str:Mine or general.tags=[str]:["a","b"]
    #[arg(long, value_name = "KEY=TYPE:VALUE", value_parser = values::key_and_value)]
    add: Vec<(String, Value)>,
    /// Like --add, with the value read from a file
    #[arg(long, value_name = "KEY=TYPE:FILE", value_parser = values::key_type_and_file)]
    add_file: Vec<(String, ValueKind, PathBuf)>,
    /// Give a key this value and type, whether it is there or not. A misspelt key is not noticed, as it is by --set
    #[arg(long, value_name = "KEY=TYPE:VALUE", value_parser = values::key_and_value)]
    set_or_add: Vec<(String, Value)>,
    /// Like --set-or-add, with the value read from a file
    #[arg(long, value_name = "KEY=TYPE:FILE", value_parser = values::key_type_and_file)]
    set_or_add_file: Vec<(String, ValueKind, PathBuf)>,
    /// Give a key another type, and another value or the same where that loses nothing
    #[arg(long, value_name = "KEY=TYPE[:VALUE]", value_parser = values::key_and_type)]
    retype: Vec<(String, Retyped)>,
    /// Take a key away, or all keys whose whole names match a pattern with * and ?, such as 'tokenizer.*'
    #[arg(long, value_name = "KEY")]
    remove: Vec<String>,
    /// Rename a key
    #[arg(long, value_name = "A=B", value_parser = values::two_names)]
    rename_key: Vec<(String, String)>,
    /// Leave out a tensor, or all tensors whose whole names match a pattern with * and ?
    #[arg(long, value_name = "NAME")]
    remove_tensor: Vec<String>,
    /// Rename a tensor
    #[arg(long, value_name = "A=B", value_parser = values::two_names)]
    rename_tensor: Vec<(String, String)>,
    /// Leave out layers, numbered from 0: the others are renumbered, with the keys and arrays that have something for each layer
    #[arg(long, value_name = "LAYERS", value_parser = values::layers)]
    drop_layers: Vec<Layers>,
    /// Change IN: only the bytes of its header that differ where the data can stay where it is, and else by writing it
    /// anew. No other program may have it mapped. After a crash the next edit of IN puts back what was there
    #[arg(long)]
    in_place: bool,
    /// Write the file in this byte order, the numbers of its tensors included
    #[arg(long, value_name = "ORDER", value_parser = ["little", "big"])]
    byte_order: Option<String>,
    /// Leave out bytes after the data, which belong to no tensor
    #[arg(long)]
    drop_trailing: bool,
    #[command(flatten)]
    force: output::Force,
    /// Print what would be changed, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

/// Refuses to write a shard under a name that does not fit its set.
fn check_shard(args: &Args, model: &Gguf<Vec<u8>>) -> Result<()> {
    let number = |key| model.metadata().optional::<u16>(key).ok().flatten();
    let (Some(no), Some(count @ 2..)) = (number("split.no"), number("split.count")) else { return Ok(()) };
    let is_named = |output: &PathBuf| {
        ShardPaths::parse(output).is_some_and(|(paths, its)| (paths.count(), its) == (count, no))
    };
    let shard = format!("'{}' is shard {} of {count}", args.input.display(), u32::from(no) + 1);
    if let Some(output) = args.output.as_ref().filter(|output| !is_named(output)) {
        let output = output.display();
        bail!("{shard}, and '{output}' is not named like it: edit it in place, or merge the shards first");
    }
    Ok(())
}

/// The largest file from which a value is read: the maximum size of a header.
const MAX_VALUE_BYTES: u64 = 1 << 30;

fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut read = || File::open(path)?.take(MAX_VALUE_BYTES + 1).read_to_end(&mut bytes);
    read().with_context(|| format!("cannot read '{}'", path.display()))?;
    ensure!(bytes.len() as u64 <= MAX_VALUE_BYTES, "'{}' is longer than a header may be", path.display());
    Ok(bytes)
}

/// What a file holds, as a value of a type.
fn held(kind: ValueKind, path: &Path) -> Result<Value> {
    kind.parse_bytes(&read(path)?).with_context(|| format!("'{}'", path.display()))
}

/// The requested changes. Whether an argument means an element of an array depends on the file's keys.
fn changes(args: &Args, model: Option<&Gguf<Vec<u8>>>) -> Result<Edit> {
    let mut edit = Edit::new();
    let is_key = |key: &str| {
        args.rename_key.iter().any(|(_, to)| to == key)
            || model.is_some_and(|model| model.metadata().contains(key))
    };
    let element = |key| if is_key(key) { None } else { values::element(key) };
    for (key, text) in &args.set {
        match element(key) {
            Some((key, index)) => edit.set_element_text(key, index, text),
            None => edit.set_text(key, text),
        };
    }
    for (key, path) in &args.set_file {
        let bytes = read(path)?;
        match element(key) {
            Some((key, index)) => edit.set_element_bytes(key, index, bytes),
            None => edit.set_bytes(key, bytes),
        };
    }
    for (key, value) in &args.add {
        edit.add(key, value.clone());
    }
    for (key, kind, path) in &args.add_file {
        edit.add(key, held(*kind, path)?);
    }
    for (key, value) in &args.set_or_add {
        edit.set_or_add(key, value.clone());
    }
    for (key, kind, path) in &args.set_or_add_file {
        edit.set_or_add(key, held(*kind, path)?);
    }
    for (key, retyped) in &args.retype {
        match retyped {
            Retyped::Kind(kind) => edit.retype(key, *kind),
            Retyped::Value(value) => edit.replace(key, value.clone()),
        };
    }
    let keys: Vec<_> = model.iter().flat_map(|model| model.metadata().iter()).map(|(key, _)| key).collect();
    for key in all_of("key", &args.remove, &keys)? {
        edit.remove(key);
    }
    let foreign = model.iter().flat_map(|model| model.foreign_tensors()).map(|tensor| tensor.name());
    let tensors = model.iter().flat_map(|model| model.tensors()).map(|tensor| tensor.name());
    let tensors: Vec<_> = tensors.chain(foreign).collect();
    for name in all_of("tensor", &args.remove_tensor, &tensors)? {
        edit.remove_tensor(name);
    }
    for (from, to) in &args.rename_key {
        edit.rename_key(from, to);
    }
    for (from, to) in &args.rename_tensor {
        edit.rename_tensor(from, to);
    }
    if !args.drop_layers.is_empty() {
        let model = model
            .with_context(|| format!("'{}' is not a GGUF file that can be read", args.input.display()))?;
        let layers = args.drop_layers.iter().flat_map(|layers| layers.0.iter().copied());
        edit.drop_layers(model, layers).map_err(|error| cli::about(&args.input, error))?;
    }
    Ok(edit)
}

/// The given names, and the names that match the given patterns.
fn all_of<'a>(what: &str, given: &'a [String], names: &[&'a str]) -> Result<Vec<&'a str>> {
    let mut all: Vec<&str> = Vec::new();
    for pattern in given {
        if !glob::is_pattern(pattern) || names.contains(&pattern.as_str()) {
            all.push(pattern);
            continue;
        }
        let matching = || names.iter().copied().filter(|name| glob::matches(pattern, name));
        ensure!(
            matching().next().is_some(),
            "no {what} matches '{}'{}",
            pattern.escape_debug(),
            glob::is_it(pattern, names.iter().copied())
        );
        // Two patterns may match the same name.
        let more: Vec<_> = matching().filter(|name| !all.contains(name)).collect();
        all.extend(more);
    }
    Ok(all)
}

/// A suggestion for a change that cannot be made.
fn hint(args: &Args, error: &gguf_codec::Error) -> Option<String> {
    let text = error.to_string();
    if let gguf_codec::Error::NotInFile { what: "key", name, .. } = error {
        let sets = args.set.iter().map(|(key, _)| key).chain(args.set_file.iter().map(|(key, _)| key));
        let is_set = sets.into_iter().any(|key| key == name);
        return is_set.then(|| "--add KEY=TYPE:VALUE adds one".to_owned());
    }
    if text.contains("is there already") {
        return Some("--set gives it another value, and --set-or-add does so or adds it".to_owned());
    }
    let is_about = |key: &str| text.contains(&format!("key '{}' is of type", key.escape_debug()));
    args.set.iter().find(|(key, _)| is_about(key)).and_then(|(key, text)| {
        let (kind, rest) = values::typed(text)?;
        Some(format!("--set keeps the key's type: --set '{key}={rest}', or --retype '{key}={kind}:{rest}'"))
    })
}

/// Notes text that was taken literally but looks as if something else was meant.
fn notes(args: &Args) -> impl Iterator<Item = String> {
    args.set.iter().filter_map(|(key, text)| {
        if text.starts_with('@') {
            Some(format!("{key} begins with '@' now: --set-file {key}=FILE takes what a file holds"))
        } else {
            let (kind, _) = values::typed(text)?;
            Some(format!(
                "{key} begins with '{kind}:' now: --set takes the type from the file, and all of the text"
            ))
        }
    })
}

/// One line for each change and note. Tensors of dropped or renumbered layers are only counted.
fn lines(args: &Args, plan: &EditPlan, notes: &[String]) -> String {
    let mut lines = String::new();
    let (mut removed, mut renamed) = (0, 0);
    for change in &plan.changes {
        if !args.drop_layers.is_empty() {
            match change {
                EditChange::TensorRemoved { .. } => removed += 1,
                EditChange::TensorRenamed { .. } => renamed += 1,
                _ => {}
            }
            if matches!(change, EditChange::TensorRemoved { .. } | EditChange::TensorRenamed { .. }) {
                continue;
            }
        }
        lines += &cli::printable(&change.to_string());
        lines.push('\n');
    }
    if removed + renamed > 0 {
        lines += &format!("{} removed, {} renamed\n", counted(removed, "tensor"), grouped(renamed));
    }
    for note in notes {
        lines += &format!("note: {}\n", cli::printable(note));
    }
    lines
}

pub(crate) fn run(args: Args) -> Result<String> {
    if args.output.is_none() && !args.in_place && !args.dry_run {
        return Err(cli::usage(
            "OUT is missing: name the file to write, or give --in-place to change IN, or --dry-run to see what would change"
                .to_owned(),
        ));
    }
    // Errors in the file are reported when it is edited. Do not wait for a pipe.
    let is_file = std::fs::metadata(&args.input).is_ok_and(|metadata| metadata.is_file());
    let model = || Gguf::options().foreign_tensors(true).read_header(File::open(&args.input).ok()?).ok();
    let model = if is_file { model() } else { None };
    if let Some(model) = &model {
        check_shard(&args, model)?;
    }
    let mut edit = changes(&args, model.as_ref())?;
    edit.existing(args.force.existing());
    if let Some(order) = &args.byte_order {
        edit.byte_order(if order == "big" { ByteOrder::Big } else { ByteOrder::Little });
    }
    if args.drop_trailing {
        edit.drop_trailing();
    }

    let output = args.output.as_ref().unwrap_or(&args.input);
    match &args.output {
        _ if args.dry_run => {}
        Some(output) => {
            let values = args.set_file.iter().map(|(_, path)| path);
            let typed = args.add_file.iter().chain(&args.set_or_add_file);
            let values = values.chain(typed.map(|(_, _, path)| path));
            Inputs::new().add(&args.input).add_all(values).check(output, args.force.existing())?;
        }
        None => check_in_place(&args.input, args.force.existing())
            .map_err(|error| anyhow::anyhow!("{error:?} (--force changes the file that it leads to)"))?,
    }
    let work = Work::begin(output)?;
    let about = |error| cli::about(&args.input, error);
    let recovered = !args.dry_run && Edit::recover(&args.input).map_err(about)?;
    let plan = edit.plan(&args.input).map_err(|error| {
        let hint = hint(&args, &error).map(|hint| format!(" ({hint})")).unwrap_or_default();
        let text = format!("{:#}", about(error));
        anyhow!("{text}{hint}")
    })?;
    // Text for a key with a number was parsed as a number.
    let texts = plan.changes.iter().any(|change| match change {
        EditChange::Set { to, .. } | EditChange::SetElement { to, .. } => {
            to.value_type() == ValueType::String
        }
        _ => false,
    });
    let notes: Vec<_> = plan.notes.iter().cloned().chain(notes(&args).filter(|_| texts)).collect();
    if args.dry_run {
        let changes: Vec<_> = plan.changes.iter().map(ToString::to_string).collect();
        return Ok(if args.json {
            crate::json::document(
                &json!({ "file": args.input.display().to_string(), "changes": changes, "notes": notes }),
            )
        } else if changes.is_empty() {
            "nothing would change\n".to_owned()
        } else {
            lines(&args, &plan, &notes)
        });
    }
    let progress = |done, total| work.reached(done, total);
    let edited = match &args.output {
        Some(output) => edit.write_with(&args.input, output, progress),
        None => edit.in_place_with(&args.input, progress),
    };
    work.done();
    let edited = edited.map_err(|error| match error {
        gguf_codec::Error::Interrupted => work.explained(error),
        // An error of the output is not an error of IN.
        error if error.to_string().contains(&output.display().to_string()) => error.into(),
        error => about(error),
    })?;

    if args.json {
        let mut report = json!({ "file": output.display().to_string(), "undone": recovered });
        report["changes"] = plan.changes.iter().map(ToString::to_string).collect();
        report["notes"] = notes.into();
        match edited {
            Edited::Patched { changed } => {
                report["patched"] = true.into();
                report["bytes_changed"] = changed.into();
            }
            Edited::Written { len } => {
                report["patched"] = false.into();
                report["bytes"] = len.into();
            }
            _ => {}
        }
        return Ok(crate::json::document(&report));
    }
    let what = match edited {
        Edited::Patched { changed } => format!("{} changed in place", counted(changed, "byte")),
        Edited::Written { len } if args.in_place => {
            format!("rewritten, because the data had to move: {} bytes", grouped(len))
        }
        Edited::Written { len } => format!("{} bytes", grouped(len)),
        _ => "edited".to_owned(),
    };
    let undone = if recovered { "; an edit that had been cut off was undone first" } else { "" };
    let end = cli::printable(&format!("{}: {what}{undone}", output.display())) + "\n";
    Ok(lines(&args, &plan, &notes) + &end)
}
