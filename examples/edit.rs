//! Changes a model's metadata and the names of its tensors. The tensors' data is not looked at.

#[path = "shared/cli.rs"]
mod cli;
#[path = "shared/numbers.rs"]
mod numbers;
#[path = "shared/output.rs"]
mod output;
#[path = "shared/values.rs"]
mod values;
#[path = "shared/work.rs"]
mod work;

use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use gguf_codec::model::{Edit, Edited};
use gguf_codec::{Gguf, Inputs, ShardPaths, Value, check_in_place};
use numbers::{counted, grouped};
use serde_json::json;
use work::Work;

/// Sets, removes and renames keys of a GGUF model, and removes and renames tensors.
///
/// Keys that are set keep their places, new ones come last. Removing and renaming speak of the names in IN, --set of
/// those in OUT. TYPE is one of u8, i8, u16, i16, u32, i32, u64, i64, f32, f64, bool and str, or [TYPE] with an array
/// in JSON.
///
/// OUT is written beside its place, under a temporary name, and moved there when it is complete: after a failure or
/// an interruption (Ctrl-C, SIGTERM) what was there is as it was. Of a model in shards each is edited alone, in place or under a name of the same number: the first has the model's keys.
#[derive(Parser)]
#[command(name = "edit", version)]
struct Args {
    /// The model to read
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// The file to write
    #[arg(value_name = "OUT", required_unless_present = "in_place", conflicts_with = "in_place")]
    output: Option<PathBuf>,
    /// Give a key a value, such as general.name=str:Mine or general.tags=[str]:["a","b"]
    #[arg(long, value_name = "KEY=TYPE:VALUE", value_parser = values::key_and_value)]
    set: Vec<(String, Value)>,
    /// Take a key away
    #[arg(long, value_name = "KEY")]
    remove: Vec<String>,
    /// Rename a key
    #[arg(long, value_name = "A=B", value_parser = values::two_names)]
    rename_key: Vec<(String, String)>,
    /// Leave out a tensor
    #[arg(long, value_name = "NAME")]
    remove_tensor: Vec<String>,
    /// Rename a tensor
    #[arg(long, value_name = "A=B", value_parser = values::two_names)]
    rename_tensor: Vec<(String, String)>,
    /// Change IN: only the bytes of its header that differ where the data can stay where it is, and else by writing it
    /// anew. Nobody may have it mapped. After a crash the next edit of IN puts back what was there
    #[arg(long)]
    in_place: bool,
    #[command(flatten)]
    force: output::Force,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    cli::main(edit)
}

/// Refuses to make a shard one that no set is whole with.
fn check_shard(args: &Args) -> Result<()> {
    let changes = |key: &String| key == "split.count";
    if args.set.iter().map(|(key, _)| key).chain(&args.remove).any(changes) {
        return Ok(());
    }
    // What is wrong with the file is said when it is edited.
    if !std::fs::metadata(&args.input).is_ok_and(|metadata| metadata.is_file()) {
        return Ok(());
    }
    let Ok(file) = File::open(&args.input) else { return Ok(()) };
    let Ok(model) = Gguf::read_header(file) else { return Ok(()) };
    let number = |key| model.metadata().get_opt::<u16>(key).ok().flatten();
    let (Some(no), Some(count @ 2..)) = (number("split.no"), number("split.count")) else { return Ok(()) };
    let is_named = |output: &PathBuf| {
        ShardPaths::parse(output).is_some_and(|(paths, its)| (paths.count(), its) == (count, no))
    };
    let shard = format!("'{}' is shard {} of {count}", args.input.display(), u32::from(no) + 1);
    ensure!(args.remove_tensor.is_empty(), "{shard}, which counts its set's tensors: merge the shards first");
    if let Some(output) = args.output.as_ref().filter(|output| !is_named(output)) {
        let output = output.display();
        bail!("{shard}, and '{output}' is not named like it: edit it in place, or merge the shards first");
    }
    Ok(())
}

fn edit(args: Args) -> Result<String> {
    check_shard(&args)?;
    let mut edit = Edit::new();
    for (key, value) in args.set {
        edit.set(key, value);
    }
    for key in args.remove {
        edit.remove(key);
    }
    for name in args.remove_tensor {
        edit.remove_tensor(name);
    }
    for (from, to) in args.rename_key {
        edit.rename_key(from, to);
    }
    for (from, to) in args.rename_tensor {
        edit.rename_tensor(from, to);
    }

    edit.existing(args.force.existing());
    let output = args.output.as_ref().unwrap_or(&args.input);
    match &args.output {
        Some(output) => Inputs::new().add(&args.input).check(output, args.force.existing())?,
        None => check_in_place(&args.input, args.force.existing())
            .map_err(|error| anyhow::anyhow!("{error} (--force changes the file that it leads to)"))?,
    }
    let work = Work::begin(output)?;
    let about = |error| cli::about(&args.input, error);
    let recovered = Edit::recover(&args.input).map_err(about)?;
    let metadata = std::fs::metadata(&args.input);
    work.expect(metadata.with_context(|| format!("cannot open '{}'", args.input.display()))?.len());
    let progress = |bytes| work.step(bytes);
    let edited = match &args.output {
        Some(output) => edit.write(&args.input, output, progress),
        None => edit.in_place(&args.input, progress),
    };
    work.done();
    let edited = edited.map_err(|error| match error {
        gguf_codec::Error::Interrupted => work.explained(error),
        // What cannot be written is not what is wrong with IN.
        error if error.to_string().contains(&output.display().to_string()) => error.into(),
        error => about(error),
    })?;

    if args.json {
        let mut report = json!({ "file": output.display().to_string(), "undone": recovered });
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
        return Ok(format!("{report:#}\n"));
    }
    let what = match edited {
        Edited::Patched { changed } => format!("{} changed where the file is", counted(changed, "byte")),
        Edited::Written { len } if args.in_place => {
            format!("written anew, since the data had to move: {} bytes", grouped(len))
        }
        Edited::Written { len } => format!("{} bytes", grouped(len)),
        _ => "edited".to_owned(),
    };
    let undone = if recovered { "; an edit that had been cut off was undone first" } else { "" };
    Ok(cli::printable(&format!("{}: {what}{undone}", output.display())) + "\n")
}
