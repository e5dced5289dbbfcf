//! The treemap: a tile for each tensor, with an area in proportion to its bytes, grouped by layer.

use std::cmp::Reverse;

use maud::{Markup, html};

use super::charts::{WIDTH, at, fill, legend};
use super::gather::Gathered;
use super::page::data_table;
use super::treemap::{Rect, squarify};
use super::words;
use crate::numbers::{counted, grouped};

const HEIGHT: f64 = 600.0;
/// Tensors of a layer that are smaller than this fraction of it share a tile.
const SMALL: u64 = 200;
/// Above this number of tiles, each layer is one tile instead of one for each tensor.
const MOST: usize = 4000;
/// Approximate width of a character in a label.
const CHARACTER: f64 = 5.7;

/// A layer, or a tensor outside of layers.
struct Group {
    title: String,
    tiles: Vec<Tile>,
}

struct Tile {
    name: String,
    /// The tensors; a tile for a single tensor links to its row in the table.
    entries: Vec<usize>,
    bytes: u64,
}

fn groups(gathered: &Gathered<'_>) -> Vec<Group> {
    let whole_layers = gathered.entries.len() > MOST;
    let outside = gathered.outside.iter().map(|&i| {
        let entry = &gathered.entries[i];
        let tile = Tile { name: words::name(entry.name), entries: vec![i], bytes: entry.size.bytes };
        Group { title: String::new(), tiles: vec![tile] }
    });
    let layers = gathered.layers.iter().map(|(layer, entries)| {
        let bytes = gathered.size(entries).bytes;
        let is_small = |i: &usize| whole_layers || gathered.entries[*i].size.bytes < bytes / SMALL;
        let (small, large): (Vec<usize>, Vec<usize>) = entries.iter().partition(|i| is_small(i));
        let mut tiles: Vec<_> = large
            .into_iter()
            .map(|i| {
                let entry = &gathered.entries[i];
                Tile { name: words::name(entry.kind), entries: vec![i], bytes: entry.size.bytes }
            })
            .collect();
        if !small.is_empty() {
            let name = match small[..] {
                [one] => words::name(gathered.entries[one].kind),
                _ if whole_layers => "all tensors".into(),
                _ => format!("{} small tensors", small.len()),
            };
            tiles.push(Tile { name, bytes: gathered.size(&small).bytes, entries: small });
        }
        Group { title: words::name(&layer.to_string()), tiles }
    });
    let mut groups: Vec<_> = outside.chain(layers).filter(|group| group.bytes() > 0).collect();
    // A model of nothing but vectors, for example, may have more tensors outside of layers than can be seen.
    if groups.iter().map(|group| group.tiles.len()).sum::<usize>() > MOST {
        groups.sort_by_key(|group| Reverse(group.bytes()));
        let rest = groups.split_off(MOST.min(groups.len()) / 2);
        let entries: Vec<_> =
            rest.into_iter().flat_map(|group| group.tiles).flat_map(|tile| tile.entries).collect();
        let name = counted(entries.len() as u64, "smaller tensor");
        groups.push(Group {
            title: String::new(),
            tiles: vec![Tile { name, bytes: gathered.size(&entries).bytes, entries }],
        });
    }
    groups
}

impl Group {
    fn bytes(&self) -> u64 {
        self.tiles.iter().map(|tile| tile.bytes).sum()
    }
}

/// The whole figure.
pub(crate) fn figure(gathered: &Gathered<'_>) -> Markup {
    let groups = groups(gathered);
    let sizes: Vec<_> = groups.iter().map(Group::bytes).collect();
    let rects = squarify(&sizes, Rect { x: 0.0, y: 0.0, width: WIDTH, height: HEIGHT });
    let rows = groups.iter().flat_map(|group| {
        group.tiles.iter().map(move |tile| {
            let place = if group.title.is_empty() { "—".into() } else { group.title.clone() };
            let share = words::percent(tile.bytes, gathered.total.bytes);
            vec![place, tile.name.clone(), types(gathered, tile), grouped(tile.bytes), share]
        })
    });
    let header = ["Layer", "Tensor", "Type", "Bytes", "Share"];
    html! {
        figure id="treemap" {
            figcaption {
                h3 { "Every tensor" }
                p {
                    "Areas are bytes; tiles of a layer lie together. "
                    span class="script" { "Arrow keys go from tile to tile, and Enter to the tensor's row." }
                }
            }
            a class="skip" href="#after-treemap" { "Skip the tiles" }
            div class="scroll" {
                svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="group" aria-labelledby="treemap-title" class="tiles wide" {
                    title id="treemap-title" { "Treemap of the bytes of every tensor" }
                    @for (group, rect) in groups.iter().zip(rects) {
                        (draw_group(gathered, group, rect))
                    }
                }
            }
            p class="readout" aria-hidden="true" { "\u{a0}" }
            (legend(gathered))
            div id="after-treemap" tabindex="-1" {
                details { summary { "The treemap as a table" } (data_table("Bytes of every tile", &header, rows)) }
            }
        }
    }
}

fn draw_group(gathered: &Gathered<'_>, group: &Group, rect: Rect) -> Markup {
    let titled = !group.title.is_empty() && rect.height > 34.0 && rect.width > 34.0;
    let inside = rect.inside(if group.title.is_empty() { 0.0 } else { 1.5 }, if titled { 13.0 } else { 0.0 });
    let sizes: Vec<_> = group.tiles.iter().map(|tile| tile.bytes).collect();
    let title = fitting(&group.title, rect.width - 8.0);
    html! {
        g {
            @if titled {
                text x=(at(rect.x + 4.0)) y=(at(rect.y + 11.5)) class="group" aria-hidden="true" { (title) }
            }
            @for (tile, rect) in group.tiles.iter().zip(squarify(&sizes, inside)) {
                (draw_tile(gathered, group, tile, rect))
            }
        }
    }
}

fn draw_tile(gathered: &Gathered<'_>, group: &Group, tile: &Tile, rect: Rect) -> Markup {
    let types = types(gathered, tile);
    let short = tile.name.strip_suffix(".weight").unwrap_or(&tile.name);
    let (bytes, share) = (words::bytes(tile.bytes), words::percent(tile.bytes, gathered.total.bytes));
    // The text has the same content as the picture, so that it can be read aloud.
    let label = format!("{} {short} {types} {bytes}, {share}", group.title);
    let target = match tile.entries[..] {
        [one] => format!("#tensor-{one}"),
        _ => "#tensors".into(),
    };
    let place = tile.entries.iter().map(|&i| gathered.place(gathered.entries[i].ty)).min().unwrap_or(0);
    let lines = [short, &types, &bytes].map(|line| fitting(line, rect.width - 7.0));
    html! {
        a href=(target) aria-label=(label.trim()) class="tile" {
            rect x=(at(rect.x)) y=(at(rect.y)) width=(at(rect.width)) height=(at(rect.height)) class=(fill(place)) {}
        }
        @if rect.width > 22.0 && rect.height > 13.0 {
            @for (i, line) in lines.iter().enumerate() {
                @if rect.height > 13.0 + 12.0 * i as f64 && !line.is_empty() {
                    text x=(at(rect.x + 4.0)) y=(at(rect.y + 11.0 + 12.0 * i as f64)) aria-hidden="true" { (line) }
                }
            }
        }
    }
}

/// The tile's types, without duplicates.
fn types(gathered: &Gathered<'_>, tile: &Tile) -> String {
    let mut types: Vec<_> = tile.entries.iter().map(|&i| gathered.entries[i].ty).collect();
    types.sort_by_key(|&ty| gathered.place(ty));
    types.dedup();
    let types: Vec<_> = types.into_iter().map(|ty| ty.name()).collect();
    types.join(", ")
}

/// As much of a label as fits the width.
fn fitting(label: &str, width: f64) -> String {
    let most = (width / CHARACTER).max(0.0) as usize;
    match words::first(label, most) {
        (all, true) => all.into(),
        _ if most < 4 => String::new(),
        _ => format!("{}…", words::first(label, most - 1).0),
    }
}
