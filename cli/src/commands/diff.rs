//! Compares two models: metadata, and tensors by shape, type, bytes and values.

use std::fmt::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::Result;
use gguf_codec::model::{Change, Diff, Input, KeyDiff, Origin, Side, TensorDiff};
use gguf_codec::{QuantError, ValueRef};
use serde_json::{Value as Json, json};

use crate::cli::Answer;
use crate::numbers::{counted, grouped, short};
use crate::{cli, errors, json, work};

/// Shows what is different between two GGUF models.
///
/// Values are compared, not files: other versions of the format, byte orders and offsets are no difference. Tensors
/// whose types or bytes differ are compared by their values, taking A's as right. The first shard of a model stands for
/// all of it.
///
/// Exit code: 0 when the comparison was made, 1 when it could not be. With --exit-code, 2 when something differs.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The first model
    #[arg(value_name = "A")]
    #[arg(value_parser = crate::paths::file())]
    a: PathBuf,
    /// The second model
    #[arg(value_name = "B")]
    #[arg(value_parser = crate::paths::file())]
    b: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Exit with 2 when something differs
    #[arg(long)]
    exit_code: bool,
}

pub(crate) fn run(args: Args) -> Result<Answer> {
    let open = |path: &Path| Input::open(path).map_err(|error| cli::about(path, error));
    let (a, b) = (open(&args.a)?, open(&args.b)?);
    let bar = work::bar(0)?;
    let progress = |done, total| {
        bar.set_length(total);
        bar.set_position(done);
        ControlFlow::Continue(())
    };
    let diff = Diff::between_with(&Side::of_input(&a)?, &Side::of_input(&b)?, progress)?;
    bar.finish_and_clear();
    let trailing = [(&args.a, &a), (&args.b, &b)].map(|(path, input)| {
        (
            path,
            input
                .model()
                .shards()
                .iter()
                .map(|shard| shard.trailing().end - shard.trailing().start)
                .sum::<u64>(),
        )
    });
    let output = if args.json {
        let mut json = as_json(&args, &diff);
        json["trailing_bytes"] = json!({ "a": trailing[0].1, "b": trailing[1].1 });
        json::pretty(&json)
    } else {
        let mut text = as_text(&diff)?;
        for (path, bytes) in trailing.into_iter().filter(|(_, bytes)| *bytes > 0) {
            let bytes = counted(bytes, "byte");
            writeln!(
                text,
                "'{}': {bytes} after the data belong to no tensor",
                cli::printable(&path.display().to_string())
            )?;
        }
        text
    };
    Ok(Answer(output.into_bytes(), if args.exit_code && !diff.is_empty() { 2 } else { 0 }))
}

fn as_json(args: &Args, diff: &Diff<'_>) -> Json {
    let [a, b] = [&args.a, &args.b].map(|path| path.display().to_string());
    let keys: Vec<_> = diff.keys.iter().map(key_json).collect();
    let tensors: Vec<_> = diff.tensors.iter().map(tensor_json).collect();
    json!({ "a": a, "b": b, "same": diff.is_empty(),
        "metadata": { "same": diff.same_keys, "moved": diff.keys_moved, "different": keys },
        "tensors": { "same": diff.same_tensors, "moved": diff.tensors_moved, "different": tensors } })
}

fn key_json(diff: &KeyDiff<'_>) -> Json {
    let value = |value: &ValueRef<'_>| json!({ "type": value.value_type().to_string(), "value": json::value(*value, 8) });
    let array = diff.array.map(|array| json!({ "first": array.first, "differing": array.differing }));
    json!({ "key": diff.key, "a": diff.value.a().map(value), "b": diff.value.b().map(value), "array": array })
}

fn tensor_json(diff: &TensorDiff<'_>) -> Json {
    let tensor = |tensor: &Origin<'_>| json!({ "type": tensor.ggml_type().name(), "shape": tensor.shape().dims(), "bytes": tensor.byte_len() });
    let values = diff.values.map(|values| {
        let error = values.error;
        json!({ "count": error.values(), "differing": values.differing, "rmse": json::double(error.rmse()),
            "max": json::number(error.max()), "snr_db": json::double(error.snr_db()),
            "cosine": json::double(error.cosine()) })
    });
    json!({ "name": diff.name, "a": diff.tensor.a().map(tensor), "b": diff.tensor.b().map(tensor),
        "values": values })
}

fn as_text(diff: &Diff<'_>) -> Result<String> {
    let mut text = String::new();
    let heading = |different: usize, same: u64, moved: bool, noun: &str| {
        let moved = if moved { "; they are in another order" } else { "" };
        format!("{} different, {} the same{moved}\n", counted(different as u64, noun), grouped(same))
    };
    text += &heading(diff.keys.len(), diff.same_keys, diff.keys_moved, "key");
    for KeyDiff { key, value, array, .. } in &diff.keys {
        let key = short(key);
        match value {
            Change::OnlyInA(a) => writeln!(text, "  only in A: {key} = {a}")?,
            Change::OnlyInB(b) => writeln!(text, "  only in B: {key} = {b}")?,
            Change::Both(a, b) if a.value_type() == b.value_type() => {
                writeln!(text, "  {key}: {a}, in B {b}")?
            }
            Change::Both(a, b) => {
                writeln!(text, "  {key}: {a} ({}), in B {b} ({})", a.value_type(), b.value_type())?;
            }
        }
        if let Some(array) = array {
            let differ = counted(array.differing, "element");
            writeln!(text, "    different: {differ}, the first at {}", grouped(array.first))?;
        }
    }

    text += &heading(diff.tensors.len(), diff.same_tensors, diff.tensors_moved, "tensor");
    let mut measured: Vec<([String; 4], QuantError)> = Vec::new();
    for TensorDiff { name, tensor, values, .. } in &diff.tensors {
        let name = short(name);
        let of = |tensor: &Origin<'_>| format!("{} {}", tensor.ggml_type(), tensor.shape());
        match tensor {
            Change::OnlyInA(a) => writeln!(text, "  only in A: {name}, {}", of(a))?,
            Change::OnlyInB(b) => writeln!(text, "  only in B: {name}, {}", of(b))?,
            Change::Both(a, b) => match values {
                Some(values) => {
                    let cells = [name, of(a), of(b), grouped(values.differing)];
                    measured.push((cells, values.error));
                }
                None => writeln!(text, "  {name}: {}, in B {}", of(a), of(b))?,
            },
        }
    }
    if !measured.is_empty() {
        text += &errors::table(["tensor", "A", "B", "values that differ"], measured);
    }
    Ok(text)
}
