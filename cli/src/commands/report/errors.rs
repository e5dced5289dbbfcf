//! The tensors' errors relative to another model: a cell for each tensor, with kinds as rows and layers as columns.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use gguf_codec::QuantError;
use maud::{Markup, html};

use super::charts::{WIDTH, at};
use super::gather::{Against, Entry, Gathered};
use super::page::{Picture, data_table, figure};
use super::words;
use crate::numbers::counted;

/// The decibels from which on a cell has the next shade.
const SHADES: [f64; 6] = [10.0, 15.0, 20.0, 25.0, 30.0, 40.0];
/// Number of tensors to list as those with the largest errors.
const WORST: usize = 10;
/// Maximum number of rows in the picture.
const MOST: usize = 40;

/// The picture's measures: space for the kinds' names and the layers' numbers, and the height of a row.
const LEFT: f64 = 190.0;
const TOP: f64 = 26.0;
const ROW: f64 = 24.0;

pub(crate) fn section(gathered: &Gathered<'_>, other: &str) -> Markup {
    let measured: Vec<_> =
        gathered.entries.iter().filter_map(|entry| entry.error().map(|error| (entry, error))).collect();
    let all: QuantError = measured.iter().map(|(_, error)| **error).sum();
    let exact = measured.iter().filter(|(_, error)| error.snr_db() == f64::INFINITY).count();
    html! {
        p {
            "Each tensor beside the one by its name in " code { (words::name(other)) } ", whose values count as right: "
            (counted(measured.len() as u64, "tensor")) " compared, " (exact) " exactly equal. All together: "
            strong { (words::decibels(all.snr_db())) } ", RMSE " (words::value(all.rmse())) ". "
            @if gathered.sampled { "Of large tensors a sample is compared. " }
            "The signal-to-noise ratio grows by 6 dB with each bit of precision."
        }
        (not_compared(gathered))
        (heatmap(gathered))
        (worst(measured))
    }
}

fn not_compared(gathered: &Gathered<'_>) -> Markup {
    let count =
        |is: fn(&Against) -> bool| gathered.entries.iter().filter(|entry| is(&entry.against)).count() as u64;
    let missing = count(|against| *against == Against::Missing);
    let shapes = count(|against| matches!(against, Against::Shape(_)));
    html! {
        @if missing + shapes > 0 {
            p class="note" {
                @if missing > 0 { (counted(missing, "tensor")) " not there. " }
                @if shapes > 0 { (counted(shapes, "tensor")) " of another shape there. " }
                "These are not compared; the table of tensors names them."
            }
        }
    }
}

/// Sorted from the least precise; NaN counts as the worst.
fn by_error(a: &QuantError, b: &QuantError) -> Ordering {
    let rank = |error: &QuantError| if error.snr_db().is_nan() { f64::NEG_INFINITY } else { error.snr_db() };
    rank(a).total_cmp(&rank(b))
}

fn shade(snr: f64) -> usize {
    if snr.is_nan() { 0 } else { SHADES.iter().filter(|from| snr >= **from).count() }
}

fn in_cell(snr: f64) -> String {
    if snr == f64::INFINITY {
        "=".into()
    } else if snr.is_nan() {
        "?".into()
    } else {
        format!("{snr:.0}").replace('-', "−")
    }
}

fn heatmap(gathered: &Gathered<'_>) -> Markup {
    let columns = gathered.layers.len().max(1);
    let column_of: BTreeMap<_, _> =
        gathered.layers.iter().enumerate().map(|(i, (layer, _))| (*layer, i)).collect();
    let mut rows: Vec<(String, Vec<&Entry<'_>>)> = Vec::new();
    let mut row_of = BTreeMap::new();
    for entry in gathered.entries.iter().filter(|entry| entry.error().is_some()) {
        let part = entry.layer.map_or("", |layer| layer.part());
        let row = *row_of.entry((entry.layer.is_none(), part, entry.kind)).or_insert_with(|| {
            let dot = if part.is_empty() { "" } else { "." };
            rows.push((words::name(&format!("{part}{dot}{}", entry.kind)), Vec::new()));
            rows.len() - 1
        });
        rows[row].1.push(entry);
    }
    // If nothing is lost, no picture is needed.
    let is_exact = |entries: &[&Entry<'_>]| {
        entries.iter().filter_map(|entry| entry.error()).all(|error| error.snr_db() == f64::INFINITY)
    };
    let table_rows: Vec<_> = rows.iter().flat_map(|(_, entries)| entries).map(|entry| row(entry)).collect();
    let all = rows.len();
    rows.retain(|(_, entries)| !is_exact(entries));
    let exact = all - rows.len();
    let bytes = |entries: &[&Entry<'_>]| entries.iter().map(|entry| entry.size.bytes).sum::<u64>();
    rows.sort_by_key(|(_, entries)| std::cmp::Reverse(bytes(entries)));
    let left_out = rows.len().saturating_sub(MOST);
    rows.truncate(MOST);

    let cell = (WIDTH - LEFT) / columns as f64;
    let every = columns.div_ceil(32);
    let drawing = html! {
        @for (i, (layer, _)) in gathered.layers.iter().enumerate() {
            @if i % every == 0 {
                text x=(at(LEFT + cell * (i as f64 + 0.5))) y="16" text-anchor="middle" { (layer.index()) }
            }
        }
        @for (r, (name, entries)) in rows.iter().enumerate() {
            @let y = TOP + ROW * r as f64;
            @let (short, all) = words::first(name.strip_suffix(".weight").unwrap_or(name), 26);
            text x=(at(LEFT - 8.0)) y=(at(y + 16.0)) text-anchor="end" class="name" { (short) @if !all { "…" } }
            @for entry in entries {
                @let column = entry.layer.and_then(|layer| column_of.get(&layer).copied());
                @let snr = entry.error().map_or(f64::NAN, QuantError::snr_db);
                @let (x, width) = match column {
                    Some(column) => (LEFT + cell * column as f64, cell),
                    None => (LEFT, WIDTH - LEFT),
                };
                g {
                    title { (words::name(entry.name)) ": " (words::decibels(snr)) }
                    rect x=(at(x)) y=(at(y)) width=(at(width)) height=(ROW) class={ "cell shade" (shade(snr)) } {}
                    @if width > 19.0 {
                        text x=(at(x + width / 2.0)) y=(at(y + 16.0)) text-anchor="middle" class={ "on" (shade(snr)) } { (in_cell(snr)) }
                    }
                }
            }
        }
    };
    let snrs = || {
        rows.iter().flat_map(|(_, entries)| entries).filter_map(|entry| entry.error()).map(QuantError::snr_db)
    };
    let description = if rows.is_empty() {
        "Every tensor is exactly equal.".to_owned()
    } else {
        let (least, greatest) = snrs()
            .filter(|snr| snr.is_finite())
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), snr| (a.min(snr), b.max(snr)));
        let left_out = if left_out > 0 {
            format!(" {left_out} smaller kinds are in the table only.")
        } else {
            String::new()
        };
        let exact = if exact > 0 {
            format!(" Kinds that are equal everywhere are left out: {exact}.")
        } else {
            String::new()
        };
        format!(
            "Decibels, layers from left to right, kinds from the one of the most bytes on; more is better, = is exact. From \
             {} to {}.{exact}{left_out}",
            words::decibels(least),
            words::decibels(greatest)
        )
    };
    figure(Picture {
        id: "errors",
        title: "Signal-to-noise ratio of every tensor",
        description: &description,
        size: (WIDTH, TOP + ROW * rows.len().max(1) as f64 + 2.0),
        drawing,
        behind: data_table("Error of every tensor", &HEADER, table_rows),
        more: shades(),
    })
}

fn shades() -> Markup {
    html! {
        ul class="legend" aria-label="Legend: decibels" {
            @for i in 0..=SHADES.len() {
                li {
                    svg width="16" height="16" aria-hidden="true" focusable="false" {
                        rect x="0.5" y="0.5" width="15" height="15" class={ "cell shade" (i) } {}
                    }
                    " "
                    @match i {
                        0 => { "below " (SHADES[0]) " dB" }
                        _ if i == SHADES.len() => { (SHADES[i - 1]) " dB and more" }
                        _ => { (SHADES[i - 1]) "–" (SHADES[i]) " dB" }
                    }
                }
            }
        }
    }
}

const HEADER: [&str; 7] = ["Tensor", "Type", "Compared with", "SNR", "RMSE", "Greatest", "Cosine"];

fn row(entry: &Entry<'_>) -> Vec<String> {
    let Some(error) = entry.error() else { return Vec::new() };
    let theirs = match entry.against {
        Against::Type(ty) => ty.name(),
        _ => "",
    };
    vec![
        words::name(entry.name),
        entry.ty.name().to_owned(),
        theirs.to_owned(),
        words::decibels(error.snr_db()),
        words::value(error.rmse()),
        words::value(error.max().into()),
        format!("{:.6}", error.cosine()),
    ]
}

/// The tensors with the largest errors.
fn worst(mut measured: Vec<(&Entry<'_>, &QuantError)>) -> Markup {
    measured.retain(|(_, error)| error.snr_db() != f64::INFINITY);
    measured.sort_by(|(_, a), (_, b)| by_error(a, b));
    measured.truncate(WORST);
    html! {
        @if !measured.is_empty() {
            h3 { "The least precise" }
            (data_table("The tensors with the lowest signal-to-noise ratio", &HEADER, measured.iter().map(|(entry, _)| row(entry))))
        }
    }
}
