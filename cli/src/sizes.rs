//! The size of a model's tensors before and after a conversion.

use std::time::Duration;

use gguf_codec::model::Size;

use crate::numbers::grouped;
use crate::screen::{columns, right};
use crate::size;

/// The total size of the tensors of each type, before and after, all in one unit.
pub(crate) fn table(types: &[(&str, (Size, Size))]) -> String {
    let mut all = (Size::default(), Size::default());
    for (_, (before, after)) in types {
        all.0 += *before;
        all.1 += *after;
    }
    let most = all.0.bytes.max(all.1.bytes);
    let cells = |name: &str, (before, after): (Size, Size)| {
        let [before, after] = [before, after].map(|size| match size.tensors {
            0 => ["–".to_owned(), "–".to_owned()],
            tensors => [grouped(tensors), size::in_unit_of(size.bytes, most)],
        });
        let [a, b] = before;
        let [c, d] = after;
        [name.to_owned(), a, b, c, d]
    };
    let head = ["type", "tensors", "before", "tensors", "after"].map(str::to_owned);
    let total = (types.len() > 1).then(|| cells("all", all));
    let rows: Vec<_> = [head]
        .into_iter()
        .chain(types.iter().map(|(name, sizes)| cells(name, *sizes)))
        .chain(total)
        .collect();
    let width = |column: usize| rows.iter().map(|row| columns(&row[column])).max().unwrap_or(0);
    let widths = [0, 1, 2, 3, 4].map(width);
    let mut text = String::new();
    for [name, cells @ ..] in &rows {
        text += &format!("  {name}{}", " ".repeat(widths[0] - columns(name)));
        for (cell, width) in cells.iter().zip(&widths[1..]) {
            text += &right(cell, width + 2);
        }
        text.push('\n');
    }
    text
}

/// The file's length, its size relative to the tensors before, and the time taken.
pub(crate) fn last_line(file: u64, before: u64, after: u64, time: Option<Duration>) -> String {
    let part = if before == 0 { 100.0 } else { after as f64 * 100.0 / before as f64 };
    let time = time.map_or_else(String::new, |time| match time.as_secs() {
        0..60 => format!(", in {:.1} s", time.as_secs_f64()),
        seconds => format!(", in {} min {:02} s", seconds / 60, seconds % 60),
    });
    format!(
        "{} ({} bytes), the tensors {part:.1} % of their size before{time}\n",
        size::shown(file),
        grouped(file)
    )
}
