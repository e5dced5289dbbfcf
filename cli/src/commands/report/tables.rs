//! The tables: metadata, and every tensor.

use gguf_codec::model::FileType;
use gguf_codec::{ShardedGguf, ValueRef};
use maud::{Markup, html};

use super::gather::{Against, Entry, Gathered};
use super::{histograms, page, words};
use crate::numbers::{counted, grouped};

/// Maximum number of characters of a string to show.
const MOST: usize = 20_000;

pub(crate) fn metadata<B: AsRef<[u8]>>(model: &ShardedGguf<B>) -> Markup {
    html! {
        p { (counted(model.metadata().len() as u64, "key")) ", in the file's order." }
        div class="scroll" role="region" tabindex="0" aria-label="Metadata, table" {
            table class="metadata" {
                caption { "Metadata" }
                thead { tr { th scope="col" { "Key" } th scope="col" { "Type" } th scope="col" { "Value" } } }
                tbody {
                    @for (key, value) in model.metadata() {
                        tr {
                            th scope="row" { (words::name(key)) }
                            td { (value.value_type().to_string()) }
                            td { (shown(key, value)) }
                        }
                    }
                }
            }
        }
    }
}

fn shown(key: &str, value: ValueRef<'_>) -> Markup {
    let text = words::metadata(value);
    let (first, is_all) = words::first(&text, MOST);
    let rest = if is_all { 0 } else { text.chars().count() - MOST };
    let file_type = match value {
        ValueRef::U32(id) if key == "general.file_type" => format!(" ({})", FileType::from_id(id)),
        _ => String::new(),
    };
    html! {
        @if page::is_long(&value, &text) {
            @let preview = words::name(words::first(&text, 70).0);
            details {
                summary { (preview) "… " small { (grouped(text.len() as u64)) " bytes" } }
                pre tabindex="0" { (first) }
                @if rest > 0 { p { "… and " (counted(rest as u64, "character")) " more." } }
            }
        } @else {
            (first) (file_type)
        }
    }
}

pub(crate) fn tensors(gathered: &Gathered<'_>, compared: bool) -> Markup {
    let mut header =
        vec!["Tensor", "Type", "Shape", "Bytes", "Share", "Least", "Greatest", "Deviation", "Values"];
    if compared {
        header.extend(["Other type", "SNR", "RMSE"]);
    }
    html! {
        p {
            (counted(gathered.total.tensors, "tensor")) ", shapes with the row length first. "
            span class="script" { "The buttons in the header sort. " }
            @if gathered.sampled { "Figures of values are of a sample of large tensors." }
        }
        p class="script filter" { label for="filter" { "Show names with " } input id="filter" type="search" autocomplete="off"; " " output for="filter" {} }
        div class="scroll tall" role="region" tabindex="0" aria-label="Tensors, table" {
            table class="sortable" {
                caption { "Tensors" }
                thead {
                    tr { @for name in header { th scope="col" { (name) } } }
                }
                tbody {
                    @for (i, entry) in gathered.entries.iter().enumerate() { (row(gathered, i, entry, compared)) }
                }
            }
        }
    }
}

/// A cell with the number by which it is sorted.
fn number(by: f64, shown: impl AsRef<str>) -> Markup {
    html! { td class="number" data-by=(by) { (shown.as_ref()) } }
}

fn row(gathered: &Gathered<'_>, i: usize, entry: &Entry<'_>, compared: bool) -> Markup {
    let distribution = &entry.profile.distribution;
    let value = |value: Option<f64>| match value {
        Some(value) => number(value, words::value(value)),
        None => number(f64::NAN, "—"),
    };
    let has_values = distribution.finite() > 0;
    html! {
        tr id={ "tensor-" (i) } tabindex="-1" {
            th scope="row" { (words::name(entry.name)) }
            td { (entry.ty.name()) }
            (number(entry.size.parameters as f64, words::shape(entry.shape)))
            (number(entry.size.bytes as f64, grouped(entry.size.bytes)))
            (number(entry.size.bytes as f64, words::percent(entry.size.bytes, gathered.total.bytes)))
            (value(distribution.min().map(f64::from)))
            (value(distribution.max().map(f64::from)))
            (value(has_values.then(|| distribution.std_dev())))
            td {
                @if has_values && entry.is_matrix() { (histograms::spark(distribution)) }
                @if distribution.not_finite() > 0 { strong { " " (grouped(distribution.not_finite())) " not finite" } }
                @if !has_values && distribution.not_finite() == 0 { "none" }
                @else if !entry.is_matrix() { small { "no matrix" } }
            }
            @if compared { (comparison(entry)) }
        }
    }
}

fn comparison(entry: &Entry<'_>) -> Markup {
    let theirs = match entry.against {
        Against::NoModel => String::new(),
        Against::Missing => "not there".into(),
        Against::Shape(shape) => format!("shape {}", words::shape(shape)),
        Against::Type(ty) => ty.name().into(),
    };
    html! {
        td { (theirs) }
        @match entry.error() {
            Some(error) => {
                (number(error.snr_db(), words::decibels(error.snr_db())))
                (number(error.rmse(), words::value(error.rmse())))
            }
            None => { (number(f64::NAN, "—")) (number(f64::NAN, "—")) }
        }
    }
}
