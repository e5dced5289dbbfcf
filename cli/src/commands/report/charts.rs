//! The pictures of sizes: by type, by layer, and bits per weight.

use std::fmt::Display;

use gguf_codec::GgmlType;
use gguf_codec::model::Size;
use maud::{Markup, html};

use super::gather::Gathered;
use super::page::{Picture, data_table, figure};
use super::words;
use crate::numbers::{counted, grouped};

/// The drawing's width. Pages scale it.
pub(crate) const WIDTH: f64 = 1000.0;

/// Number of fills; further types share the last.
const FILLS: usize = 8;

/// The fill of the `place`-th type: a colour with a pattern.
pub(crate) fn fill(place: usize) -> String {
    format!("fill{}", place.min(FILLS - 1))
}

/// A coordinate, rounded to a hundredth.
pub(crate) fn at(coordinate: f64) -> impl Display {
    (coordinate * 100.0).round() / 100.0
}

/// The patterns that the fills use, once for the whole page: types never differ in colour alone.
pub(crate) fn patterns() -> Markup {
    let lines = [
        "",
        "M-2,2 l4,-4 M0,8 l8,-8 M6,10 l4,-4",
        "M2,2 h1.5 M6,6 h1.5",
        "M-2,6 l4,4 M0,0 l8,8 M6,-2 l4,4",
        "M0,4 h8",
        "M4,0 v8",
        "M0,4 h8 M4,0 v8",
        "M0,0 l8,8 M0,8 l8,-8",
    ];
    html! {
        svg class="patterns" width="0" height="0" aria-hidden="true" focusable="false" {
            defs {
                @for (i, path) in lines.iter().enumerate() {
                    pattern id={ "pattern" (i) } width="8" height="8" patternUnits="userSpaceOnUse" {
                        rect width="8" height="8" class={ "tint" (i) } {}
                        @if !path.is_empty() { path d=(path) class={ "line" (i) } {} }
                    }
                }
            }
        }
    }
}

/// The legend of the fills.
pub(crate) fn legend(gathered: &Gathered<'_>) -> Markup {
    html! {
        ul class="legend" aria-label="Legend: types" {
            @for (place, (ty, size)) in gathered.types.iter().enumerate() {
                li {
                    svg width="16" height="16" aria-hidden="true" focusable="false" {
                        rect x="0.5" y="0.5" width="15" height="15" class=(fill(place)) {}
                    }
                    " " (ty.name()) " " small { (words::bytes(size.bytes)) }
                }
            }
        }
    }
}

/// A bar for each type.
pub(crate) fn by_type(gathered: &Gathered<'_>) -> Markup {
    const BAR: f64 = 30.0;
    let most = gathered.types.first().map_or(1, |(_, size)| size.bytes).max(1);
    let height = gathered.types.len() as f64 * BAR;
    let label = |size: &Size| {
        let share = words::percent(size.bytes, gathered.total.bytes);
        format!("{} · {share} · {}", words::bytes(size.bytes), counted(size.tensors, "tensor"))
    };
    let drawing = html! {
        @for (place, (ty, size)) in gathered.types.iter().enumerate() {
            @let y = place as f64 * BAR;
            @let width = (size.bytes as f64 / most as f64 * (WIDTH - 390.0)).max(1.0);
            g {
                title { (ty.name()) ": " (label(size)) }
                text x="82" y=(at(y + 19.0)) text-anchor="end" class="name" { (ty.name()) }
                rect x="92" y=(at(y + 4.0)) width=(at(width)) height="20" class=(fill(place)) {}
                text x=(at(width + 102.0)) y=(at(y + 19.0)) { (label(size)) }
            }
        }
    };
    let header = ["Type", "Tensors", "Parameters", "Bytes", "Share", "Bits per weight"];
    let row = |name: &str, size: &Size| {
        vec![
            name.to_owned(),
            grouped(size.tensors),
            grouped(size.parameters),
            grouped(size.bytes),
            words::percent(size.bytes, gathered.total.bytes),
            format!("{:.4}", size.bits_per_weight()),
        ]
    };
    let rows = gathered.types.iter().map(|(ty, size)| row(ty.name(), size));
    let rows = rows.chain([row("all", &gathered.total)]);
    figure(Picture {
        id: "by-type",
        title: "Bytes by type",
        description: &match gathered.types.first() {
            Some((ty, size)) => format!(
                "{} of {} are {ty}, {}.",
                words::bytes(size.bytes),
                words::bytes(gathered.total.bytes),
                words::percent(size.bytes, gathered.total.bytes)
            ),
            None => "There are no tensors.".into(),
        },
        size: (WIDTH, height.max(1.0)),
        drawing,
        behind: data_table("Bytes by type", &header, rows),
        more: html! {},
    })
}

/// Columns of layers, and the positions of their labels.
struct Columns {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

const COLUMNS: Columns = Columns { left: 74.0, top: 14.0, width: WIDTH - 84.0, height: 210.0 };

impl Columns {
    fn x(&self, i: usize, count: usize) -> f64 {
        self.left + self.width * i as f64 / count as f64
    }

    fn y(&self, part: f64) -> f64 {
        self.top + self.height * (1.0 - part)
    }

    /// Grid lines at round numbers, and the layers' numbers.
    fn axes(&self, gathered: &Gathered<'_>, most: f64, label: impl Fn(f64) -> String) -> Markup {
        let step = words::round_step(most / 4.0);
        let count = gathered.layers.len();
        let every = count.div_ceil(32).max(1);
        html! {
            @for i in 0..=(most / step) as usize {
                @let y = self.y(i as f64 * step / most);
                line x1=(at(self.left)) x2=(at(self.left + self.width)) y1=(at(y)) y2=(at(y)) class="grid" {}
                text x=(at(self.left - 8.0)) y=(at(y + 4.0)) text-anchor="end" { (label(i as f64 * step)) }
            }
            @for (i, (layer, _)) in gathered.layers.iter().enumerate() {
                @if i % every == 0 {
                    @let x = (self.x(i, count) + self.x(i + 1, count)) / 2.0;
                    text x=(at(x)) y=(at(self.y(0.0) + 18.0)) text-anchor="middle" { (layer.index()) }
                }
            }
            text x=(at(self.left + self.width / 2.0)) y=(at(self.y(0.0) + 38.0)) text-anchor="middle" { "layer" }
        }
    }
}

/// A column for each layer, divided by type.
pub(crate) fn by_layer(gathered: &Gathered<'_>) -> Markup {
    let sizes: Vec<_> = gathered.layers.iter().map(|(_, entries)| gathered.size(entries)).collect();
    let count = sizes.len();
    let most = sizes.iter().map(|size| size.bytes).max().unwrap_or(0).max(1);
    let by_type = |entries: &[usize]| {
        let mut bytes = vec![0u64; gathered.types.len()];
        for &i in entries {
            bytes[gathered.place(gathered.entries[i].ty)] += gathered.entries[i].size.bytes;
        }
        bytes
    };
    let gap = (COLUMNS.width / count.max(1) as f64 * 0.12).min(4.0);
    let drawing = html! {
        (COLUMNS.axes(gathered, most as f64, |bytes| words::bytes(bytes as u64)))
        @for (i, (layer, entries)) in gathered.layers.iter().enumerate() {
            @let parts = by_type(entries);
            @let (x, width) = (COLUMNS.x(i, count) + gap, COLUMNS.width / count as f64 - 2.0 * gap);
            g {
                title { (words::name(&layer.to_string())) ": " (words::bytes(sizes[i].bytes)) }
                @for (place, &bytes) in parts.iter().enumerate() {
                    @if bytes > 0 {
                        @let below = parts[..place].iter().sum::<u64>() as f64 / most as f64;
                        @let part = bytes as f64 / most as f64;
                        rect x=(at(x)) width=(at(width)) y=(at(COLUMNS.y(below + part)))
                            height=(at(part * COLUMNS.height)) class=(fill(place)) {}
                    }
                }
            }
        }
    };
    let mut header = vec!["Layer", "Bytes"];
    header.extend(gathered.types.iter().map(|(ty, _)| ty.name()));
    let rows = gathered.layers.iter().zip(&sizes).map(|((layer, entries), size)| {
        let cells = [words::name(&layer.to_string()), grouped(size.bytes)];
        cells.into_iter().chain(by_type(entries).into_iter().map(grouped)).collect()
    });
    let least = sizes.iter().map(|size| size.bytes).min().unwrap_or(0);
    let each = match (words::bytes(least), words::bytes(most)) {
        (least, most) if least == most => format!("{most} each"),
        (least, most) => format!("from {least} to {most} each"),
    };
    let layers_bytes: u64 = sizes.iter().map(|size| size.bytes).sum();
    figure(Picture {
        id: "by-layer",
        title: "Bytes by layer",
        description: &format!(
            "{} hold {}, {each}. Outside of layers: {}.",
            counted(count as u64, "layer"),
            words::bytes(layers_bytes),
            words::bytes(gathered.total.bytes.saturating_sub(layers_bytes)),
        ),
        size: (WIDTH, COLUMNS.y(0.0) + 46.0),
        drawing,
        behind: data_table("Bytes by layer and type", &header, rows),
        more: legend(gathered),
    })
}

/// A dot for each layer.
pub(crate) fn bits_by_layer(gathered: &Gathered<'_>) -> Markup {
    let bits: Vec<_> =
        gathered.layers.iter().map(|(_, entries)| gathered.size(entries).bits_per_weight()).collect();
    let count = bits.len();
    let (least, greatest) =
        bits.iter().fold((f64::INFINITY, 0f64), |(a, b), &bits| (a.min(bits), b.max(bits)));
    let mean = gathered.total.bits_per_weight();
    // Without values there are no bits, but still an axis.
    let most = if greatest.max(mean) > 0.0 { greatest.max(mean) * 1.12 } else { 1.0 };
    let dot = |i: usize| ((COLUMNS.x(i, count) + COLUMNS.x(i + 1, count)) / 2.0, COLUMNS.y(bits[i] / most));
    let points: Vec<_> = (0..count).map(|i| format!("{},{}", at(dot(i).0), at(dot(i).1))).collect();
    let mean_y = COLUMNS.y(mean / most);
    let drawing = html! {
        (COLUMNS.axes(gathered, most, |bits| format!("{bits} bits")))
        line x1=(at(COLUMNS.left)) x2=(at(COLUMNS.left + COLUMNS.width)) y1=(at(mean_y)) y2=(at(mean_y)) class="mean" {}
        polyline points=(points.join(" ")) class="curve" {}
        @for (i, (layer, _)) in gathered.layers.iter().enumerate() {
            @let (x, y) = dot(i);
            g {
                title { (words::name(&layer.to_string())) ": " (format!("{:.3}", bits[i])) " bits per weight" }
                circle cx=(at(x)) cy=(at(y)) r="4" class="dot" {}
            }
        }
        // Away from the curve: above the line where that is above the layers.
        @let label_y = if mean >= bits.last().copied().unwrap_or(0.0) { mean_y - 7.0 } else { mean_y + 17.0 };
        text x=(at(COLUMNS.left + COLUMNS.width - 4.0)) y=(at(label_y)) text-anchor="end" class="name halo" {
            (format!("whole model: {mean:.2}"))
        }
    };
    let header = ["Layer", "Parameters", "Bytes", "Bits per weight", "Types"];
    let rows = gathered.layers.iter().zip(&bits).map(|((layer, entries), bits)| {
        let size = gathered.size(entries);
        let mut types: Vec<GgmlType> = entries.iter().map(|&i| gathered.entries[i].ty).collect();
        types.sort_by_key(|&ty| gathered.place(ty));
        types.dedup();
        let types: Vec<_> = types.into_iter().map(GgmlType::name).collect();
        vec![
            words::name(&layer.to_string()),
            grouped(size.parameters),
            grouped(size.bytes),
            format!("{bits:.4}"),
            types.join(", "),
        ]
    });
    figure(Picture {
        id: "bits",
        title: "Bits per weight by layer",
        description: &format!(
            "From {least:.2} to {greatest:.2} bits in the layers; {mean:.2} in the whole model, scales and vectors \
             included."
        ),
        size: (WIDTH, COLUMNS.y(0.0) + 46.0),
        drawing,
        behind: data_table("Bits per weight by layer", &header, rows),
        more: html! {},
    })
}
