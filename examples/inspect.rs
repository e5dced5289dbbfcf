//! Looks into a GGUF file: header, metadata, tensors, totals, and the values of one tensor.

#[path = "shared/cli.rs"]
mod cli;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;
use cli::grouped;
use comfy_table::{CellAlignment, Table, presets};
use gguf_codec::{FileType, GgmlType, Gguf, Tensor, TensorInfo, ValueRef};
use serde_json::{Value as Json, json};

/// A miniature model, so that there is something to see without a file.
const SAMPLE: &[u8] = include_bytes!("sample.gguf");

/// Values that are dequantized at a time.
const CHUNK: usize = 1 << 20;

/// Looks into a GGUF file: header, metadata, tensors, totals.
#[derive(Parser)]
#[command(name = "inspect", version)]
struct Args {
    /// The file; a small sample model if there is none
    file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Also read every tensor, and fail if one has NaN or infinite scales
    #[arg(long)]
    check: bool,
    /// Print the whole value of one key
    #[arg(long, value_name = "KEY", conflicts_with_all = ["tensor", "check"])]
    key: Option<String>,
    /// Show one tensor's statistics, histogram and first values
    #[arg(long, value_name = "NAME", conflicts_with = "check")]
    tensor: Option<String>,
}

fn main() -> ExitCode {
    cli::main(|args: Args| match &args.file {
        Some(path) => inspect(&Gguf::open(path)?, &path.display().to_string(), &args),
        None => inspect(&Gguf::parse(SAMPLE)?, "the sample model", &args),
    })
}

fn inspect<B: AsRef<[u8]>>(model: &Gguf<B>, title: &str, args: &Args) -> Result<String> {
    if let Some(key) = &args.key {
        let value: ValueRef<'_> = model.metadata().get(key)?;
        return Ok(if args.json { pretty(&to_json(value, usize::MAX)) } else { whole_value(value) });
    }
    if let Some(name) = &args.tensor {
        let tensor = model.tensor(name)?;
        let statistics = Statistics::of(&tensor)?;
        return Ok(if args.json { pretty(&statistics.json(&tensor)) } else { statistics.text(&tensor) });
    }
    let checked = if args.check { Some(check(model)?) } else { None };
    if args.json {
        let mut json = summary_json(model, title);
        if let Some(checked) = checked {
            json["check"] = json!({ "tensors": checked.tensors, "not_checked": checked.skipped });
        }
        return Ok(pretty(&json));
    }
    let mut text = summary_text(model, title)?;
    if let Some(checked) = checked {
        writeln!(text, "\nCheck: no NaN and no infinity in {} tensors", checked.tensors)?;
        for name in checked.skipped {
            writeln!(text, "  not checked, its type has no codec here: {}", name.escape_debug())?;
        }
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

fn totals<B: AsRef<[u8]>>(model: &Gguf<B>) -> (Total, BTreeMap<GgmlType, Total>) {
    let (mut all, mut by_type) = (Total::default(), BTreeMap::<_, Total>::new());
    for tensor in model.tensors() {
        all.add(&tensor);
        by_type.entry(tensor.ggml_type()).or_default().add(&tensor);
    }
    (all, by_type)
}

fn summary_json<B: AsRef<[u8]>>(model: &Gguf<B>, title: &str) -> Json {
    let metadata: serde_json::Map<_, _> =
        model.metadata().iter().map(|(key, value)| (key.to_owned(), to_json(value, 8))).collect();
    let tensors: Vec<_> = model
        .tensors()
        .map(|tensor| {
            json!({ "name": tensor.name(), "type": tensor.ggml_type().name(), "shape": tensor.shape().dims(),
                "file_offset": tensor.file_offset(), "bytes": tensor.byte_len() })
        })
        .collect();
    let (all, by_type) = totals(model);
    let by_type: serde_json::Map<_, _> =
        by_type.into_iter().map(|(ty, total)| (ty.name().to_owned(), total.json())).collect();
    json!({ "file": title, "version": model.version(),
        "byte_order": format!("{:?}", model.byte_order()).to_lowercase(), "alignment": model.alignment(),
        "header_bytes": model.header_len(), "data_offset": model.data_offset(), "metadata": metadata,
        "tensors": tensors, "totals": all.json(), "by_type": by_type })
}

fn summary_text<B: AsRef<[u8]>>(model: &Gguf<B>, title: &str) -> Result<String> {
    let mut text = format!(
        "{title}: GGUF version {}, {:?}-endian, alignment {}, header of {} bytes\n",
        model.version(),
        model.byte_order(),
        model.alignment(),
        grouped(model.header_len())
    );

    let mut table = new_table(&["key", "value"]);
    for (key, value) in model.metadata() {
        let mut shown = value.to_string();
        if let ("general.file_type", Ok(id)) = (key, model.metadata().get::<u32>(key)) {
            write!(shown, " ({})", FileType::from_id(id))?;
        }
        table.add_row([key.escape_debug().to_string(), shown]);
    }
    writeln!(text, "\nMetadata: {} keys\n{table}", model.metadata().len())?;

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
    writeln!(text, "\nTensors: {}, each shape with the row length first\n{table}", model.tensor_count())?;

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

/// Arrays longer than `most` become their type, length and first elements.
fn to_json(value: ValueRef<'_>, most: usize) -> Json {
    match value {
        ValueRef::U8(value) => json!(value),
        ValueRef::I8(value) => json!(value),
        ValueRef::U16(value) => json!(value),
        ValueRef::I16(value) => json!(value),
        ValueRef::U32(value) => json!(value),
        ValueRef::I32(value) => json!(value),
        ValueRef::U64(value) => json!(value),
        ValueRef::I64(value) => json!(value),
        ValueRef::F32(value) => json!(value),
        ValueRef::F64(value) => json!(value),
        ValueRef::Bool(value) => json!(value),
        ValueRef::String(bytes) => json!(String::from_utf8_lossy(bytes)),
        ValueRef::Array(array) => {
            let shown: Vec<_> = array.iter().take(most).map(|value| to_json(value, most)).collect();
            if array.len() > most {
                json!({ "array_of": array.element_type().to_string(), "len": array.len(), "first": shown })
            } else {
                json!(shown)
            }
        }
    }
}

/// Strings as they are, arrays an element to a line.
fn whole_value(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::String(bytes) => format!("{}\n", String::from_utf8_lossy(bytes)),
        ValueRef::Array(array) => array.iter().map(|element| format!("{element}\n")).collect(),
        scalar => format!("{scalar}\n"),
    }
}

struct Checked {
    tensors: u64,
    skipped: Vec<String>,
}

/// Every scale of a block multiplies all its values, so a scale that is not finite shows in the values.
fn check<B: AsRef<[u8]>>(model: &Gguf<B>) -> Result<Checked> {
    let mut checked = Checked { tensors: 0, skipped: Vec::new() };
    let mut bad = Vec::new();
    for info in model.tensors() {
        let tensor = info.tensor()?;
        if !tensor.ggml_type().can_dequantize() {
            checked.skipped.push(tensor.name().to_owned());
            continue;
        }
        checked.tensors += 1;
        let mut row = 0;
        for_each_chunk(&tensor, |values| {
            if let (None, Some(at)) = (
                bad.last().filter(|(name, _)| *name == tensor.name()),
                values.iter().position(|value| !value.is_finite()),
            ) {
                bad.push((tensor.name(), row + at / tensor.row_len()));
            }
            row += values.len() / tensor.row_len();
        })?;
    }
    match bad.as_slice() {
        [] => Ok(checked),
        [(name, row), others @ ..] => bail!(
            "tensor '{}' has NaN or infinite values, first in row {row}{}",
            name.escape_debug(),
            if others.is_empty() {
                String::new()
            } else {
                format!(", and so have {} other tensors", others.len())
            }
        ),
    }
}

fn for_each_chunk(tensor: &Tensor<'_>, mut visit: impl FnMut(&[f32])) -> Result<()> {
    let mut values = Vec::new();
    for chunk in tensor.row_chunks(CHUNK) {
        values.resize(chunk.len(), 0.0);
        chunk.par_dequantize_into(&mut values)?;
        visit(&values);
    }
    Ok(())
}

/// What a tensor's values look like; those that are not finite are counted apart.
struct Statistics {
    min: f32,
    max: f32,
    mean: f64,
    deviation: f64,
    not_finite: u64,
    histogram: [u64; 16],
    first: Vec<f32>,
}

impl Statistics {
    fn of(tensor: &Tensor<'_>) -> Result<Self> {
        let mut first = Vec::new();
        let (mut min, mut max) = (f32::INFINITY, f32::NEG_INFINITY);
        let (mut count, mut sum) = (0u64, 0.0f64);
        let mut not_finite = 0;
        for_each_chunk(tensor, |values| {
            first.extend(values.iter().take(8 - first.len().min(8)));
            for &value in values {
                if value.is_finite() {
                    (min, max) = (min.min(value), max.max(value));
                    count += 1;
                    sum += f64::from(value);
                } else {
                    not_finite += 1;
                }
            }
        })?;
        let mean = sum / count.max(1) as f64;
        let mut histogram = [0; 16];
        let mut squares = 0.0;
        let width = (f64::from(max) - f64::from(min)) / histogram.len() as f64;
        for_each_chunk(tensor, |values| {
            for value in values.iter().filter(|value| value.is_finite()) {
                squares += (f64::from(*value) - mean).powi(2);
                let bin = (f64::from(*value) - f64::from(min)) / width;
                // The greatest value belongs to the last bin; equal values have no width and go to the first.
                histogram[(bin as usize).min(histogram.len() - 1)] += 1;
            }
        })?;
        let deviation = (squares / count.max(1) as f64).sqrt();
        if count == 0 {
            (min, max) = (0.0, 0.0);
        }
        Ok(Statistics { min, max, mean, deviation, not_finite, histogram, first })
    }

    fn json(&self, tensor: &Tensor<'_>) -> Json {
        json!({ "name": tensor.name(), "type": tensor.ggml_type().name(), "shape": tensor.shape().dims(),
            "bytes": tensor.bytes().len(), "min": self.min, "max": self.max, "mean": self.mean,
            "standard_deviation": self.deviation, "not_finite": self.not_finite, "histogram": self.histogram,
            "first": self.first })
    }

    fn text(&self, tensor: &Tensor<'_>) -> String {
        let mut text = format!(
            "{}: {} {}, {} bytes\n\nmin {}  max {}  mean {:.6}  standard deviation {:.6}  not finite {}\n\n",
            tensor.name().escape_debug(),
            tensor.ggml_type(),
            tensor.shape(),
            grouped(tensor.bytes().len() as u64),
            self.min,
            self.max,
            self.mean,
            self.deviation,
            self.not_finite
        );
        let most = self.histogram.iter().copied().max().unwrap_or(0).max(1);
        let width = (f64::from(self.max) - f64::from(self.min)) / self.histogram.len() as f64;
        for (bin, count) in self.histogram.iter().enumerate() {
            let from = f64::from(self.min) + width * bin as f64;
            let bar = "█".repeat((count * 50).div_ceil(most) as usize);
            text += &format!("{from:>12.5}  {bar} {}\n", grouped(*count));
        }
        let first: Vec<_> = self.first.iter().map(f32::to_string).collect();
        text += &format!("\nfirst values: {}\n", first.join(", "));
        text
    }
}
