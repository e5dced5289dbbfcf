//! The table of tensors, with identical layers together.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use console::truncate_str;
use gguf_codec::model::Layer;

use super::View;
use super::rows::Row;
use crate::numbers::{grouped, short};
use crate::screen::{columns, natural, padded, right};
use crate::{cli, size};

pub(super) fn tensors(rows: &[Row<'_>], view: &View<'_>) -> String {
    let lines = folded(rows, view);
    let names = view.names(lines.iter().map(|line| line.name.as_str()));
    let cells: Vec<_> = lines
        .iter()
        .filter_map(|line| line.row)
        .map(|row| (row.ty.as_str(), row.shape(), row.shown_bytes(view.cut_at)))
        .collect();
    let widest = |cell: &dyn Fn(&(&str, String, String)) -> usize| cells.iter().map(cell).max().unwrap_or(0);
    let types = widest(&|(ty, ..)| columns(ty));
    let shapes = widest(&|(_, shape, _)| columns(shape));
    let sizes = widest(&|(.., size)| columns(size));
    let mut text = view.screen.line("");
    text += &view.screen.line(&format!("tensors ({})", grouped(rows.len() as u64)));
    let mut cells = cells.iter();
    for line in &lines {
        let Some((ty, shape, size)) = line.row.and_then(|_| cells.next()) else {
            text += &view.screen.line(&line.name);
            continue;
        };
        let name = truncate(&line.name, view.screen.width().map(|_| names));
        let line = padded(&name, names) + &padded(ty, types) + &padded(shape, shapes) + &right(size, sizes);
        text += &view.screen.line(&line);
    }
    text
}

/// A line of the table of tensors: the heading of a group of layers, or a tensor.
struct Line<'a, 'r> {
    name: String,
    row: Option<&'r Row<'a>>,
}

/// The tensors of the first layer of a group, and all layers that are identical to it.
type Alike<'a, 'r> = (Vec<(&'a str, &'r Row<'a>)>, Vec<Layer<'a>>);

/// The tensors by name: first the embedding, then the layers, then all others. If the view folds layers, those with the same
/// tensors, types and shapes are combined.
fn folded<'a, 'r>(rows: &'r [Row<'a>], view: &View<'_>) -> Vec<Line<'a, 'r>> {
    let is_first = |name: &str| {
        ["token_embd", "position_embd", "token_types", "per_layer_"]
            .iter()
            .any(|start| name.starts_with(start))
    };
    let (mut first, mut last) = (Vec::new(), Vec::new());
    let mut layers = BTreeMap::<Layer<'a>, Vec<(&'a str, &'r Row<'a>)>>::new();
    for row in rows {
        match Layer::split(row.name) {
            (Some(layer), kind) => layers.entry(layer).or_default().push((kind, row)),
            (None, name) if is_first(name) => first.push(row),
            _ => last.push(row),
        }
    }
    for alone in [&mut first, &mut last] {
        alone.sort_by(|a, b| natural(a.name, b.name));
    }
    let line = |row: &'r Row<'a>| Line { name: short(row.name), row: Some(row) };
    let mut lines: Vec<_> = first.into_iter().map(line).collect();
    // For each group of layers, the tensors of the first, and all layers identical to it.
    let mut kinds: Vec<Alike<'_, '_>> = Vec::new();
    let mut by_tensors = HashMap::new();
    for (layer, mut its) in layers {
        its.sort_by(|a, b| natural(a.0, b.0));
        if !view.folds() {
            lines.extend(its.into_iter().map(|(_, row)| line(row)));
            continue;
        }
        let alike: Vec<_> = its
            .iter()
            .map(|(kind, row)| (*kind, row.ty.as_str(), row.extents.as_slice(), row.shown_bytes(view.cut_at)))
            .collect();
        let at = *by_tensors.entry((layer.part(), alike)).or_insert(kinds.len());
        match kinds.get_mut(at) {
            Some((_, layers)) => layers.push(layer),
            None => kinds.push((its, vec![layer])),
        }
    }
    for (its, layers) in kinds {
        let bytes = its.iter().filter_map(|(_, row)| row.bytes).fold(0, u64::saturating_add);
        let part = if layers[0].part().is_empty() { String::new() } else { format!("{}.", layers[0].part()) };
        let indices: Vec<_> = layers.iter().map(|layer| layer.index()).collect();
        let alike = match layers.len() {
            1 => size::shown(bytes),
            count => format!("{count} alike, {} each", size::shown(bytes)),
        };
        let name = format!("{}blk.{} ({alike})", cli::printable(&part), spans(&indices));
        lines.push(Line { name, row: None });
        lines.extend(
            its.into_iter().map(|(kind, row)| Line { name: format!("  {}", short(kind)), row: Some(row) }),
        );
    }
    lines.extend(last.into_iter().map(line));
    lines
}

/// Formats ascending numbers as `0–3, 7, 9–10`.
fn spans(numbers: &[u32]) -> String {
    let mut spans: Vec<(u32, u32)> = Vec::new();
    for &number in numbers {
        match spans.last_mut() {
            Some((_, end)) if end.checked_add(1) == Some(number) => *end = number,
            _ => spans.push((number, number)),
        }
    }
    let shown = |&(start, end): &(u32, u32)| match end - start {
        0 => start.to_string(),
        1 => format!("{start}, {end}"),
        _ => format!("{start}–{end}"),
    };
    spans.iter().map(shown).collect::<Vec<_>>().join(", ")
}

fn truncate(text: &str, width: Option<usize>) -> Cow<'_, str> {
    width.map_or(Cow::Borrowed(text), |width| truncate_str(text, width, "…"))
}
