//! What a header says, in words and in JSON.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::Result;
use comfy_table::{CellAlignment, Table, presets};
use gguf_codec::model::{FileType, Size};
use gguf_codec::{ArrayRef, GgmlType, ShardedGguf, ValueKind, ValueRef, ValueType};
use serde_json::{Value as Json, json};

use crate::cli;
use crate::json::value;
use crate::numbers::{counted, grouped, short};

/// A row of the table of tensors, whether this crate can read the tensor or not.
struct Row<'a> {
    name: &'a str,
    ty: String,
    extents: Vec<u64>,
    file_offset: u64,
    bytes: Option<u64>,
    is_foreign: bool,
}

/// All tensors in the order of the files.
fn rows<B: AsRef<[u8]>>(model: &ShardedGguf<B>) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    for shard in model.shards() {
        let first = rows.len();
        rows.extend(shard.tensors().map(|tensor| Row {
            name: tensor.name(),
            ty: tensor.ggml_type().to_string(),
            extents: tensor.shape().dims().to_vec(),
            file_offset: tensor.file_offset(),
            bytes: Some(tensor.byte_len()),
            is_foreign: false,
        }));
        rows.extend(shard.foreign_tensors().map(|tensor| Row {
            name: tensor.name(),
            ty: tensor.ggml_type().map_or_else(|| format!("type {}", tensor.type_id()), |ty| ty.to_string()),
            extents: tensor.extents().to_vec(),
            file_offset: tensor.file_offset(),
            bytes: tensor.byte_len(),
            is_foreign: true,
        }));
        rows[first..].sort_by_key(|row| row.file_offset);
    }
    rows
}

fn totals(rows: &[Row<'_>]) -> (Size, BTreeMap<(u32, String), Size>) {
    let (mut all, mut by_type) = (Size::default(), BTreeMap::<_, Size>::new());
    // The types in ggml's order, and then the others.
    let order = |name: &str| name.parse::<GgmlType>().map_or(u32::MAX, GgmlType::id);
    for row in rows {
        let parameters = row.extents.iter().fold(1, |product: u64, &extent| product.saturating_mul(extent));
        let mut size = Size::default();
        (size.tensors, size.parameters, size.bytes) = (1, parameters, row.bytes.unwrap_or(0));
        all += size;
        *by_type.entry((order(&row.ty), row.ty.clone())).or_default() += size;
    }
    (all, by_type)
}

fn size_json(size: Size) -> Json {
    json!({ "tensors": size.tensors, "parameters": size.parameters, "bytes": size.bytes,
        "bits_per_weight": size.bits_per_weight() })
}

pub(crate) fn json<B: AsRef<[u8]>>(model: &ShardedGguf<B>, title: &str) -> Json {
    let metadata: serde_json::Map<_, _> =
        model.metadata().iter().map(|(key, value)| (key.to_owned(), self::value(value, 8))).collect();
    let rows = rows(model);
    let types: serde_json::Map<_, _> =
        model.metadata().iter().map(|(key, value)| (key.to_owned(), json!(kind(value)))).collect();
    let tensors: Vec<_> = rows
        .iter()
        .map(|row| {
            let mut json = json!({ "name": row.name, "type": row.ty, "shape": row.extents,
                "file_offset": row.file_offset, "bytes": row.bytes });
            if let Some(shard) = model.shard_of(row.name).ok().filter(|_| model.shards().len() > 1) {
                json["shard"] = json!(shard);
            }
            if row.is_foreign {
                json["readable"] = json!(false);
            }
            json
        })
        .collect();
    let (all, by_type) = totals(&rows);
    let by_type: serde_json::Map<_, _> =
        by_type.into_iter().map(|((_, ty), total)| (ty, size_json(total))).collect();
    let first = model.first();
    json!({ "file": title, "shards": model.shards().len(), "version": first.version(),
        "byte_order": format!("{:?}", first.byte_order()).to_lowercase(), "alignment": first.alignment(),
        "header_bytes": first.header_len(), "data_offset": first.data_offset(), "metadata": metadata, "types": types,
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

    let mut table = new_table(&["key", "type", "value"]);
    for (key, value) in model.metadata() {
        let mut shown = match value {
            ValueRef::Array(array) => shown_array(array),
            value => value.to_string(),
        };
        if let ("general.file_type", Ok(id)) = (key, model.metadata().get::<u32>(key)) {
            write!(shown, " ({})", FileType::from_id(id))?;
        }
        table.add_row([short(key), shown_type(value), shown]);
    }
    writeln!(text, "\nMetadata: {}\n{table}", counted(model.metadata().len() as u64, "key"))?;

    let mut table = new_table(&["tensor", "type", "shape", "bytes"]);
    let rows = rows(model);
    for row in &rows {
        table.add_row([
            short(row.name),
            row.ty.clone(),
            format!("{:?}", row.extents),
            row.bytes.map_or_else(|| "to the end".to_owned(), grouped),
        ]);
    }
    align_right(&mut table, &[3]);
    let count = counted(rows.len() as u64, "tensor");
    writeln!(text, "\n{count}, shapes with the row length first\n{table}")?;

    let (all, by_type) = totals(&rows);
    let mut table = new_table(&["type", "tensors", "parameters", "bytes", "bits per weight"]);
    let mut row = |name: &str, total: Size| {
        let [tensors, parameters, bytes] = [total.tensors, total.parameters, total.bytes].map(grouped);
        table.add_row([name, &tensors, &parameters, &bytes, &format!("{:.4}", total.bits_per_weight())]);
    };
    for ((_, ty), total) in &by_type {
        row(ty, *total);
    }
    row("all", all);
    align_right(&mut table, &[1, 2, 3, 4]);
    writeln!(text, "\nTotals\n{table}")?;
    let mut foreign = model.foreign_tensors();
    if let Some(tensor) = foreign.next() {
        let others = foreign.count() as u64;
        let name = short(tensor.name());
        let others =
            if others > 0 { format!(", and so {}", counted(others, "other")) } else { String::new() };
        writeln!(text, "\nTensor '{name}' cannot be read here{others}: {}", tensor.problem())?;
    }
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

/// The name of a value's type, as `edit` takes it.
fn kind(value: ValueRef<'_>) -> String {
    match value {
        // Arrays in an array may be of types that differ.
        ValueRef::Array(array) if array.element_type() == ValueType::Array => "[[…]]".to_owned(),
        value => ValueKind::of_ref(value).to_string().replace("string", "str"),
    }
}

/// As [`kind`], with the length of an array: `str[49152]`.
fn shown_type(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Array(array) => {
            let element = array.element_type().to_string().replace("string", "str");
            format!("{element}[{}]", array.len())
        }
        value => kind(value),
    }
}

/// The first elements of an array.
fn shown_array(array: ArrayRef<'_>) -> String {
    const MOST: usize = 6;
    let mut shown: Vec<_> = array.iter().take(MOST).map(|element| element.to_string()).collect();
    if array.len() > MOST {
        shown.push("…".into());
    }
    format!("[{}]", shown.join(", "))
}
