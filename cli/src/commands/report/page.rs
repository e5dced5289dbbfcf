//! The page: a single self-contained file, in which every string from the model is escaped.

use gguf_codec::model::FileType;
use gguf_codec::{ByteOrder, ValueRef};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::budget::Predicted;
use super::gather::{Gathered, Source};
use super::{budget, charts, errors, histograms, tables, tiles, words};
use crate::numbers::{counted, grouped};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// Nothing may be loaded, whatever the model's strings contain.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; base-uri 'none'; \
                      form-action 'none'";

/// A picture with its texts and its table.
pub(crate) struct Picture<'a> {
    pub(crate) id: &'a str,
    pub(crate) title: &'a str,
    pub(crate) description: &'a str,
    /// The drawing's width and height.
    pub(crate) size: (f64, f64),
    pub(crate) drawing: Markup,
    /// The same as a table.
    pub(crate) behind: Markup,
    /// Content between the picture and the table.
    pub(crate) more: Markup,
}

/// A picture with its caption, a text alternative for screen readers, and a table of the data.
pub(crate) fn figure(picture: Picture<'_>) -> Markup {
    let Picture { id, title, description, size: (width, height), drawing, behind, more } = picture;
    let wide = if width >= charts::WIDTH { "wide" } else { "narrow" };
    html! {
        figure id=(id) {
            figcaption { h3 { (title) } p { (description) } }
            div class="scroll" {
                svg viewBox={ "0 0 " (charts::at(width)) " " (charts::at(height)) } class=(wide) role="img"
                    aria-labelledby={ (id) "-title " (id) "-text" } {
                    title id={ (id) "-title" } { (title) }
                    desc id={ (id) "-text" } { (description) }
                    (drawing)
                }
            }
            (more)
            details { summary { (title) " as a table" } (behind) }
        }
    }
}

/// A table whose first column names the rows.
pub(crate) fn data_table(
    caption: &str,
    header: &[&str],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> Markup {
    html! {
        div class="scroll" role="region" tabindex="0" aria-label={ (caption) ", table" } {
            table {
                caption { (caption) }
                thead { tr { @for cell in header { th scope="col" { (cell) } } } }
                tbody {
                    @for row in rows {
                        tr {
                            @for (i, cell) in row.iter().enumerate() {
                                @if i == 0 { th scope="row" { (cell) } } @else { td { (cell) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The whole page.
pub(crate) fn page(
    source: &Source,
    gathered: &Gathered<'_>,
    other: Option<&str>,
    predicted: Option<&Predicted>,
) -> String {
    let file = source.path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let metadata = source.model().metadata();
    let name = metadata.require::<&str>("general.name").ok().filter(|name| !name.trim().is_empty());
    let title = words::name(words::first(name.unwrap_or(&file), 200).0);
    let sections = [
        ("overview", "Overview", overview(source, gathered)),
        ("bytes", "Where the bytes go", bytes(gathered)),
        ("weights", "Bits per weight", bits(gathered)),
        ("values", "Values", histograms::section(gathered)),
        ("error", "Error", other.map_or_else(|| html! {}, |other| errors::section(gathered, other))),
        ("budget", "Types for a size", predicted.map_or_else(|| html! {}, budget::section)),
        ("metadata", "Metadata", tables::metadata(source.model())),
        ("tensors", "Tensors", tables::tensors(gathered, other.is_some())),
    ];
    let is_there = |id: &str| match id {
        "error" => other.is_some(),
        "budget" => predicted.is_some(),
        _ => true,
    };
    let sections = || sections.iter().filter(|(id, ..)| is_there(id));
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                link rel="icon" href="data:,";
                title { (title) " – model report" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a class="skip" href="#main" { "Skip to the report" }
                header {
                    h1 { (title) }
                    p { code { (words::name(&file)) } @if let Some(other) = other { " compared with " code { (words::name(other)) } } }
                }
                nav aria-label="Sections" {
                    ul { @for (id, title, _) in sections() { li { a href={ "#" (id) } { (title) } } } }
                }
                main id="main" tabindex="-1" {
                    (charts::patterns())
                    @for (id, title, content) in sections() {
                        section id=(id) aria-labelledby={ (id) "-heading" } {
                            h2 id={ (id) "-heading" } { (title) }
                            (content)
                        }
                    }
                }
                footer { p { "Made by the example " code { "report" } " of gguf-codec." } }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

fn overview(source: &Source, gathered: &Gathered<'_>) -> Markup {
    let model = source.model();
    let architecture = model.metadata().require::<&str>("general.architecture").ok();
    let of_architecture =
        |key: &str| model.metadata().require::<u64>(&format!("{}.{key}", architecture?)).ok().map(grouped);
    let file_type = model.metadata().require::<u32>("general.file_type").ok();
    let order = model.first().byte_order();
    let facts = [
        ("File", source.file_bytes().map(words::bytes)),
        ("Parameters", Some(words::count(gathered.total.parameters))),
        ("Bits per weight", Some(format!("{:.2}", gathered.total.bits_per_weight()))),
        ("Files", (model.shards().len() > 1).then(|| grouped(model.shards().len() as u64))),
        ("Tensors", Some(grouped(gathered.total.tensors))),
        ("Layers", (!gathered.layers.is_empty()).then(|| grouped(gathered.layers.len() as u64))),
        ("Made as", file_type.map(|id| FileType::from_id(id).to_string())),
        ("Architecture", architecture.map(|name| words::name(words::first(name, 40).0))),
        ("Context", of_architecture("context_length")),
        ("Embedding", of_architecture("embedding_length")),
        ("Format", Some(format!("GGUF {}", model.first().version()))),
        ("Byte order", (order == ByteOrder::Big).then(|| order.to_string())),
    ];
    html! {
        dl class="facts" {
            @for (name, value) in facts {
                @if let Some(value) = value { div { dt { (name) } dd { (value) } } }
            }
        }
    }
}

fn bytes(gathered: &Gathered<'_>) -> Markup {
    html! {
        @if gathered.entries.is_empty() {
            p { "There are no tensors." }
        } @else {
            (tiles::figure(gathered))
            (charts::by_type(gathered))
            @if gathered.layers.is_empty() {
                p { "No tensor is named as one of a layer (" code { "blk.0.…" } ")." }
            } @else {
                (charts::by_layer(gathered))
            }
        }
    }
}

fn bits(gathered: &Gathered<'_>) -> Markup {
    html! {
        @if gathered.layers.is_empty() {
            p {
                (format!("{:.2}", gathered.total.bits_per_weight())) " bits per weight in "
                (counted(gathered.total.tensors, "tensor")) "; none is named as one of a layer."
            }
        } @else {
            (charts::bits_by_layer(gathered))
        }
    }
}

/// Whether a metadata value is better shown as a separate text.
pub(crate) fn is_long(value: &ValueRef<'_>, text: &str) -> bool {
    matches!(value, ValueRef::String(_)) && (text.len() > 160 || text.contains('\n'))
}
