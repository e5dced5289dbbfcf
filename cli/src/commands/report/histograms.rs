//! The pictures of values: histograms of each kind of matrix, and small ones for each tensor.

use gguf_codec::model::Distribution;
use maud::{Markup, html};

use super::charts::at;
use super::gather::{Gathered, Kind};
use super::page::{Picture, data_table, figure};
use super::words;
use crate::numbers::{counted, grouped};

/// Number of kinds to draw.
const MOST: usize = 24;
/// Odd, so that zero is in the middle of a bar.
const BARS: usize = 41;
/// The fraction of the values that a histogram shows; the others lie farther out.
const SHOWN: f64 = 0.999;

/// The picture's measures. The bars stand on the floor.
const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 130.0;
const FLOOR: f64 = 108.0;

/// The range of a histogram, symmetric around zero.
fn reach(distribution: &Distribution) -> f64 {
    distribution.quantile(SHOWN)
}

/// A chart for each kind.
pub(crate) fn section(gathered: &Gathered<'_>) -> Markup {
    let left_out = gathered.kinds.len().saturating_sub(MOST);
    html! {
        p {
            "Values of the matrices, those of all layers together, from the kind that takes the most bytes on. "
            @if gathered.sampled { "Of large tensors a sample is counted, pieces spread evenly; its size is said. " }
            "The line is how values would lie if they were normally distributed. "
            @if left_out > 0 { (counted(left_out as u64, "more kind")) " are in the table of tensors only." }
        }
        @if gathered.kinds.is_empty() { p { "There are no matrices of floats." } }
        div class="many" {
            @for (i, kind) in gathered.kinds.iter().take(MOST).enumerate() { (of_kind(i, kind)) }
        }
    }
}

fn of_kind(i: usize, kind: &Kind<'_>) -> Markup {
    let distribution = &kind.distribution;
    let reach = reach(distribution);
    let bars = distribution.histogram(-reach..reach, BARS);
    let most = bars.iter().copied().max().unwrap_or(0).max(1) as f64;
    let width = WIDTH / BARS as f64;
    let bar_width = 2.0 * reach / BARS as f64;
    // The height that a normal distribution of the counted values would have.
    let (mean, deviation) = (distribution.mean(), distribution.std_dev());
    let normal = |value: f64| {
        let density =
            (-0.5 * ((value - mean) / deviation).powi(2)).exp() / (deviation * std::f64::consts::TAU.sqrt());
        density * bar_width * distribution.finite() as f64
    };
    let curve: Vec<_> = (0..=2 * BARS)
        .map(|step| (step as f64 / 2.0, -reach + bar_width * step as f64 / 2.0))
        .map(|(x, value)| {
            let height = (normal(value) / most).min(1.1) * (FLOOR - 8.0);
            format!("{},{}", at(x * width), at(FLOOR - height))
        })
        .collect();
    let outside = distribution.finite() - bars.iter().sum::<u64>().min(distribution.finite());
    let drawing = html! {
        @for (i, &count) in bars.iter().enumerate() {
            @let height = count as f64 / most * (FLOOR - 8.0);
            rect x=(at(i as f64 * width + 0.5)) width=(at(width - 1.0)) y=(at(FLOOR - height)) height=(at(height)) class="bar" {}
        }
        @if deviation > 0.0 { polyline points=(curve.join(" ")) class="normal" {} }
        line x1="0" x2=(WIDTH) y1=(FLOOR) y2=(FLOOR) class="axis" {}
        text x="0" y="125" { (words::value(-reach)) }
        text x=(at(WIDTH / 2.0)) y="125" text-anchor="middle" { "0" }
        text x=(WIDTH) y="125" text-anchor="end" { (words::value(reach)) }
    };
    let (values, all) = kind.values;
    let range = match (distribution.min(), distribution.max()) {
        (Some(min), Some(max)) => {
            format!("from {} to {}", words::value(min.into()), words::value(max.into()))
        }
        _ => "no finite value".into(),
    };
    let sample = if values == all {
        format!("all {} values", words::count(all))
    } else {
        format!("{} of {} values", words::count(values), words::count(all))
    };
    let not_finite = match distribution.not_finite() {
        0 => String::new(),
        count => format!(" {} NaN or infinite.", grouped(count)),
    };
    let description = format!(
        "{}, {sample}: {range}, standard deviation {}.{not_finite}",
        counted(kind.entries.len() as u64, "tensor"),
        words::value(deviation)
    );
    let rows = bars.iter().enumerate().map(|(i, &count)| {
        let from = -reach + bar_width * i as f64;
        vec![words::value(from), words::value(from + bar_width), grouped(count)]
    });
    let rows = rows.chain([vec!["farther out".into(), String::new(), grouped(outside)]]);
    let title = words::name(&kind.title());
    figure(Picture {
        id: &format!("histogram-{i}"),
        title: &title,
        description: &description,
        size: (WIDTH, HEIGHT),
        drawing,
        behind: data_table(&format!("Values of {title}"), &["From", "To", "Values"], rows),
        more: html! {},
    })
}

/// A histogram the size of a word. Its numbers are next to it.
pub(crate) fn spark(distribution: &Distribution) -> Markup {
    const BARS: usize = 25;
    let reach = reach(distribution);
    let bars = distribution.histogram(-reach..reach, BARS);
    let most = bars.iter().copied().max().unwrap_or(0).max(1) as f64;
    let path: String = bars
        .iter()
        .enumerate()
        .filter(|(_, count)| **count > 0)
        .map(|(i, &count)| {
            let height = (count as f64 / most * 18.0).ceil();
            format!("M{} 18v-{height}h3v{height}z", i * 3)
        })
        .collect();
    html! {
        svg class="spark" width="75" height="18" viewBox="0 0 75 18" aria-hidden="true" focusable="false" { path d=(path) {} }
    }
}
