//! What a header says, in words and in JSON.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::Result;
use comfy_table::{CellAlignment, Table, presets};
use gguf_codec::model::{FileType, Size};
use gguf_codec::{ArrayRef, GgmlType, ShardedGguf, ValueRef, ValueType};
use serde_json::{Value as Json, json};

use crate::cli;
use crate::json::value;
use crate::numbers::{counted, grouped};

fn totals<B: AsRef<[u8]>>(model: &ShardedGguf<B>) -> (Size, BTreeMap<GgmlType, Size>) {
    let (mut all, mut by_type) = (Size::default(), BTreeMap::<_, Size>::new());
    for tensor in model.tensors() {
        all += Size::of(&tensor);
        *by_type.entry(tensor.ggml_type()).or_default() += Size::of(&tensor);
    }
    (all, by_type)
}

fn size_json(size: Size) -> Json {
    json!({ "tensors": size.tensors, "parameters": size.parameters, "bytes": size.bytes,
        "bits_per_weight": size.bits_per_weight() })
}

pub(crate) fn pretty(json: &Json) -> String {
    format!("{json:#}\n")
}

pub(crate) fn json<B: AsRef<[u8]>>(model: &ShardedGguf<B>, title: &str) -> Json {
    let metadata: serde_json::Map<_, _> =
        model.metadata().iter().map(|(key, value)| (key.to_owned(), self::value(value, 8))).collect();
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
        by_type.into_iter().map(|(ty, total)| (ty.name().to_owned(), size_json(total))).collect();
    let first = model.first();
    json!({ "file": title, "shards": model.shards().len(), "version": first.version(),
        "byte_order": format!("{:?}", first.byte_order()).to_lowercase(), "alignment": first.alignment(),
        "header_bytes": first.header_len(), "data_offset": first.data_offset(), "metadata": metadata,
        "tensors": tensors, "totals": size_json(all), "by_type": by_type })
}

pub(crate) fn text<B: AsRef<[u8]>>(model: &ShardedGguf<B>, title: &str) -> Result<String> {
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
        table.add_row([short(key), shown]);
    }
    writeln!(text, "\nMetadata: {}\n{table}", counted(model.metadata().len() as u64, "key"))?;

    let mut table = new_table(&["tensor", "type", "shape", "bytes"]);
    for tensor in model.tensors() {
        table.add_row([
            short(tensor.name()),
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
    let mut row = |name: &str, total: Size| {
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

/// A name for a table, whose other rows are all as wide: the start of a long one, and how long it is.
fn short(name: &str) -> String {
    const MOST: usize = 64;
    match name.char_indices().nth(MOST) {
        None => name.escape_debug().to_string(),
        Some((end, _)) => format!("{}… ({} bytes)", name[..end].escape_debug(), grouped(name.len() as u64)),
    }
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
