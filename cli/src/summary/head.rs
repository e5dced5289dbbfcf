//! The first lines, which describe the model.

use std::ops::RangeInclusive;

use gguf_codec::model::{FileType, Summary};
use gguf_codec::{ByteOrder, ShardedGguf};

use super::View;
use super::rows::{Row, totals};
use super::run::memory_line;
use crate::numbers::{counted, grouped};
use crate::screen::columns;
use crate::{cli, size};

/// The first lines, which describe the model.
pub(super) fn head<B: AsRef<[u8]>>(model: &ShardedGguf<B>, rows: &[Row<'_>], view: &View<'_>) -> String {
    let summary = Summary::new(model.metadata(), model.tensors());
    let first = model.first();
    let (all, _) = totals(rows);
    let (title, name) = (cli::printable(view.title), summary.name.as_deref().map(cli::printable));
    let joined = name.as_ref().map_or_else(|| title.clone(), |name| format!("{title}   {name}"));
    let mut text = match name {
        Some(name) if view.screen.width().is_some_and(|width| columns(&joined) > width) => {
            view.screen.line(&title) + &view.screen.line(&name)
        }
        _ => view.screen.line(&joined),
    };

    let mut items = Vec::new();
    items.extend(summary.kind.as_deref().filter(|kind| *kind != "model").map(cli::printable));
    items.extend(summary.architecture.as_deref().map(cli::printable));
    items.push(format!("{} parameters", size::parameters(all.parameters)));
    if let Some(ty) = summary.dominant_type {
        let recipe = summary.file_type.and_then(FileType::name).filter(|name| *name != ty.name());
        let ty = recipe.map_or_else(|| ty.name().to_owned(), |recipe| format!("{recipe}, mostly {ty}"));
        items.push(format!("{ty} ({:.2} bits/weight)", all.bits_per_weight()));
    }
    items.push(size::shown(all.bytes));
    let order = if first.byte_order() == ByteOrder::Big { ", big-endian" } else { "" };
    items.push(format!("GGUF {}{order}", first.version()));
    if first.alignment() != 32 {
        items.push(format!("alignment {}", first.alignment()));
    }
    if let shards @ 2.. = model.shards().len() {
        items.push(counted(shards as u64, "shard"));
    }
    text += &view.screen.flow(items);

    let mut items = Vec::new();
    items.extend(summary.layers.map(|layers| counted(layers, "layer")));
    items.extend(summary.embedding.map(|embedding| format!("embedding {}", grouped(embedding))));
    if let (Some(heads), Some(kv)) = (&summary.heads, &summary.kv_heads) {
        let noun = if *heads == (1..=1) { "head" } else { "heads" };
        items.push(format!("{} {noun}, {} KV", span(heads), span(kv)));
    }
    if let Some(experts) = summary.experts {
        let used = summary.experts_used.map_or_else(String::new, |used| format!(", {} used", grouped(used)));
        items.push(format!("{}{used}", counted(experts, "expert")));
    }
    items.extend(summary.context.map(|context| format!("context {}", grouped(context))));
    if let Some(vocabulary) = summary.vocabulary {
        let tokenizer: Vec<_> = [&summary.tokenizer, &summary.pre_tokenizer].into_iter().flatten().collect();
        let tokenizer = tokenizer.iter().map(|name| cli::printable(name)).collect::<Vec<_>>().join(", ");
        let tokenizer = if tokenizer.is_empty() { tokenizer } else { format!(" ({tokenizer})") };
        items.push(format!("vocabulary {}{tokenizer}", grouped(vocabulary)));
    }
    text += &view.screen.flow(items);
    match view.run.memory(model) {
        Some((context, Ok(memory))) => text += &view.screen.line(&memory_line(context, memory, view.run)),
        Some((_, Err(error))) if view.run.is_asked() => {
            text += &view.screen.line(&format!("memory: unknown ({})", cli::printable(&error.to_string())));
        }
        _ => {}
    }
    if let Some(len) = view.cut_at {
        let whole = rows.iter().filter(|row| !row.is_cut(len)).count() as u64;
        let line = format!(
            "incomplete: the file ends after {}, with {} of {} whole",
            size::shown(len),
            grouped(whole),
            counted(rows.len() as u64, "tensor")
        );
        text += &view.screen.line(&line);
    }
    text
}

/// One number, or two with a dash between them.
fn span(range: &RangeInclusive<u64>) -> String {
    if range.start() == range.end() {
        grouped(*range.start())
    } else {
        format!("{}–{}", grouped(*range.start()), grouped(*range.end()))
    }
}
