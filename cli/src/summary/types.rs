//! The table of types.

use gguf_codec::model::Size;

use super::View;
use super::rows::{Row, totals};
use crate::numbers::grouped;
use crate::screen::{columns, padded, right};
use crate::size;

pub(super) fn types(rows: &[Row<'_>], view: &View<'_>) -> String {
    let (all, by_type) = totals(rows);
    let cells = |name: &str, size: Size| {
        let bits = format!("{:.2}", size.bits_per_weight());
        [
            name.to_owned(),
            grouped(size.tensors),
            size::parameters(size.parameters),
            size::shown(size.bytes),
            bits,
        ]
    };
    let head = ["types", "tensors", "parameters", "size", "bits/weight"].map(str::to_owned);
    let types = by_type.iter().map(|((_, ty), size)| cells(ty, *size));
    let total = (by_type.len() > 1).then(|| cells("all", all));
    let table: Vec<_> = [head].into_iter().chain(types).chain(total).collect();
    let width = |column: usize| table.iter().map(|row| columns(&row[column])).max().unwrap_or(0);
    let widths = [0, 1, 2, 3, 4].map(width);
    let mut text = view.screen.line("");
    for [name, numbers @ ..] in &table {
        let mut line = padded(name, widths[0]);
        line.truncate(line.trim_end().len());
        line += &" ".repeat(widths[0] - columns(name));
        for (number, width) in numbers.iter().zip(&widths[1..]) {
            line += &right(number, width + 2);
        }
        text += &view.screen.line(&line);
    }
    text
}
