//! Looks into a GGUF file: header, metadata, tensors, totals, and the values of one tensor.

#[path = "shared/alternatives.rs"]
mod alternatives;
#[path = "shared/cli.rs"]
mod cli;
#[path = "shared/errors.rs"]
mod errors;
#[path = "shared/json.rs"]
mod json;
#[path = "shared/numbers.rs"]
mod numbers;
#[path = "shared/statistics.rs"]
mod statistics;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use alternatives::Alternatives;
use anyhow::{Context, Result, bail};
use clap::Parser;
use comfy_table::{CellAlignment, Table, presets};
use gguf_codec::{
    ArrayRef, Error, FileType, GgmlType, Gguf, Mapped, ShardProblem, ShardedGguf, TensorInfo, ValueRef,
    ValueType,
};
use numbers::{counted, grouped};
use serde_json::{Value as Json, json};
use statistics::Statistics;

/// A miniature model, so that there is something to see without a file.
const SAMPLE: &[u8] = include_bytes!("sample.gguf");

/// Looks into a GGUF file: header, metadata, tensors, totals. The first shard of a model stands for all of it.
#[derive(Parser)]
#[command(name = "inspect", version)]
struct Args {
    /// The file; a small sample model if there is none
    file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Also look at every tensor's scales and plain values, and fail if one is NaN or infinite
    #[arg(long)]
    check: bool,
    /// Print the whole value of one key, a string as it is
    #[arg(long, value_name = "KEY", conflicts_with_all = ["tensor", "check"])]
    key: Option<String>,
    /// Show one tensor's statistics, histogram and first values, and what quantizing it to each type would cost
    #[arg(long, value_name = "NAME", conflicts_with = "check")]
    tensor: Option<String>,
}

fn main() -> ExitCode {
    cli::main(|args: Args| match &args.file {
        Some(path) => {
            let model = open(path).map_err(|error| cli::about(path, error))?;
            inspect(&model, &path.display().to_string(), &args)
                .with_context(|| format!("'{}'", path.display()))
        }
        None => inspect(&Gguf::parse(SAMPLE)?.into(), "the sample model", &args),
    })
}

/// The whole model by its first shard or only file; another shard alone.
fn open(path: &Path) -> Result<ShardedGguf<Mapped>, Error> {
    match ShardedGguf::open(path) {
        Err(Error::Shard { problem: ShardProblem::NotFirst { .. }, .. }) => Gguf::open(path).map(Into::into),
        opened => opened,
    }
}

fn inspect<B: AsRef<[u8]>>(model: &ShardedGguf<B>, title: &str, args: &Args) -> Result<String> {
    if let Some(key) = &args.key {
        let value: ValueRef<'_> = model.metadata().get(key)?;
        return Ok(if args.json { pretty(&json::value(value, usize::MAX)) } else { whole_value(value) });
    }
    if let Some(name) = &args.tensor {
        let tensor = model.tensor(name)?;
        let statistics = Statistics::of(&tensor)?;
        let alternatives = Alternatives::of(&tensor)?;
        return Ok(if args.json {
            let mut json = statistics::json(&tensor, &statistics);
            json["quantization_error"] = alternatives.map_or(Json::Null, |alternatives| alternatives.json());
            pretty(&json)
        } else {
            let alternatives = alternatives.map_or_else(String::new, |alternatives| alternatives.text());
            statistics::text(&tensor, &statistics) + &alternatives
        });
    }
    if args.check {
        check(model)?;
    }
    if args.json {
        let mut json = summary_json(model, title);
        if args.check {
            json["check"] = json!({ "tensors": model.tensor_count() });
        }
        return Ok(pretty(&json));
    }
    let mut text = summary_text(model, title)?;
    if args.check {
        let tensors = counted(model.tensor_count() as u64, "tensor");
        writeln!(text, "\nCheck: no NaN and no infinity in {tensors}")?;
    }
    Ok(text)
}

fn pretty(json: &Json) -> String {
    format!("{json:#}\n")
}

/// Bytes and parameters of some tensors.
#[derive(Default, Clone, Copy)]
struct Total {
    tensors: u64,
    parameters: u64,
    bytes: u64,
}

impl Total {
    fn add(&mut self, tensor: &TensorInfo<'_>) {
        self.tensors += 1;
        // Saturating: a header may promise, tensor by tensor, more than 64 bits can count.
        self.parameters = self.parameters.saturating_add(tensor.shape().elements());
        self.bytes = self.bytes.saturating_add(tensor.byte_len());
    }

    fn bits_per_weight(self) -> f64 {
        if self.parameters == 0 { 0.0 } else { self.bytes as f64 * 8.0 / self.parameters as f64 }
    }

    fn json(self) -> Json {
        json!({ "tensors": self.tensors, "parameters": self.parameters, "bytes": self.bytes,
            "bits_per_weight": self.bits_per_weight() })
    }
}

fn totals<B: AsRef<[u8]>>(model: &ShardedGguf<B>) -> (Total, BTreeMap<GgmlType, Total>) {
    let (mut all, mut by_type) = (Total::default(), BTreeMap::<_, Total>::new());
    for tensor in model.tensors() {
        all.add(&tensor);
        by_type.entry(tensor.ggml_type()).or_default().add(&tensor);
    }
    (all, by_type)
}

fn summary_json<B: AsRef<[u8]>>(model: &ShardedGguf<B>, title: &str) -> Json {
    let metadata: serde_json::Map<_, _> =
        model.metadata().iter().map(|(key, value)| (key.to_owned(), json::value(value, 8))).collect();
    let tensors: Vec<_> = model
        .tensors()
        .map(|tensor| {
            let mut json = json!({ "name": tensor.name(), "type": tensor.ggml_type().name(),
                "shape": tensor.shape().dims(), "file_offset": tensor.file_offset(), "bytes": tensor.byte_len() });
            if let Some(shard) = model.shard_of(tensor.name()).ok().filter(|_| model.shards().len() > 1) {
                json["shard"] = json!(shard);
            }
            json
        })
        .collect();
    let (all, by_type) = totals(model);
    let by_type: serde_json::Map<_, _> =
        by_type.into_iter().map(|(ty, total)| (ty.name().to_owned(), total.json())).collect();
    let first = model.first();
    json!({ "file": title, "shards": model.shards().len(), "version": first.version(),
        "byte_order": format!("{:?}", first.byte_order()).to_lowercase(), "alignment": first.alignment(),
        "header_bytes": first.header_len(), "data_offset": first.data_offset(), "metadata": metadata,
        "tensors": tensors, "totals": all.json(), "by_type": by_type })
}

fn summary_text<B: AsRef<[u8]>>(model: &ShardedGguf<B>, title: &str) -> Result<String> {
    let first = model.first();
    let mut text = format!(
        "{}: GGUF version {}, {:?}-endian, alignment {}, header of {} bytes\n",
        cli::printable(title),
        first.version(),
        first.byte_order(),
        first.alignment(),
        grouped(first.header_len())
    );
    if let shards @ 2.. = model.shards().len() {
        writeln!(text, "The first of {} shards, opened as one model", grouped(shards as u64))?;
    }

    let mut table = new_table(&["key", "value"]);
    for (key, value) in model.metadata() {
        let mut shown = match value {
            ValueRef::Array(array) => shown_array(array),
            value => value.to_string(),
        };
        if let ("general.file_type", Ok(id)) = (key, model.metadata().get::<u32>(key)) {
            write!(shown, " ({})", FileType::from_id(id))?;
        }
        table.add_row([key.escape_debug().to_string(), shown]);
    }
    writeln!(text, "\nMetadata: {}\n{table}", counted(model.metadata().len() as u64, "key"))?;

    let mut table = new_table(&["tensor", "type", "shape", "bytes"]);
    for tensor in model.tensors() {
        let name = tensor.name().escape_debug().to_string();
        table.add_row([
            name,
            tensor.ggml_type().to_string(),
            tensor.shape().to_string(),
            grouped(tensor.byte_len()),
        ]);
    }
    align_right(&mut table, &[3]);
    let count = counted(model.tensor_count() as u64, "tensor");
    writeln!(text, "\n{count}, shapes with the row length first\n{table}")?;

    let (all, by_type) = totals(model);
    let mut table = new_table(&["type", "tensors", "parameters", "bytes", "bits per weight"]);
    let mut row = |name: &str, total: Total| {
        let [tensors, parameters, bytes] = [total.tensors, total.parameters, total.bytes].map(grouped);
        table.add_row([name, &tensors, &parameters, &bytes, &format!("{:.4}", total.bits_per_weight())]);
    };
    for (ty, total) in &by_type {
        row(ty.name(), *total);
    }
    row("all", all);
    align_right(&mut table, &[1, 2, 3, 4]);
    writeln!(text, "\nTotals\n{table}")?;
    Ok(text)
}

fn new_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.iter().copied());
    table
}

fn align_right(table: &mut Table, columns: &[usize]) {
    for &column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// The first elements of an array, and how many there are where these are not all.
fn shown_array(array: ArrayRef<'_>) -> String {
    const MOST: usize = 6;
    let mut shown: Vec<_> = array.iter().take(MOST).map(|element| element.to_string()).collect();
    if array.len() <= MOST {
        return format!("[{}]", shown.join(", "));
    }
    shown.push("…".into());
    let what = match array.element_type() {
        ValueType::String => "strings".into(),
        ValueType::Array => "arrays".into(),
        number => format!("values of {number}"),
    };
    format!("[{}] ({} {what})", shown.join(", "), grouped(array.len() as u64))
}

/// Strings as they are, arrays an element to a line.
fn whole_value(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::String(bytes) => format!("{}\n", String::from_utf8_lossy(bytes)),
        ValueRef::Array(array) => array.iter().map(|element| format!("{element}\n")).collect(),
        scalar => format!("{scalar}\n"),
    }
}

/// Fails with the first block that is not valid, and says how many tensors have any.
fn check<B: AsRef<[u8]>>(model: &ShardedGguf<B>) -> Result<()> {
    let mut bad = Vec::new();
    for info in model.tensors() {
        let tensor = info.tensor()?;
        match tensor.validate() {
            Ok(()) => {}
            Err(Error::InvalidBlock { ty, block, what }) => {
                let row_blocks = (tensor.row_len() / ty.block_len()).max(1) as u64;
                let row = block / row_blocks;
                bad.push(format!("tensor '{}': block {block} of {ty}, in row {row}: {what}", tensor.name()));
            }
            Err(other) => return Err(other.into()),
        }
    }
    match bad.as_slice() {
        [] => Ok(()),
        [one] => bail!("{one}"),
        [first, others @ ..] => {
            bail!("{first}; {} more not valid", counted(others.len() as u64, "tensor"))
        }
    }
}
