//! The plot of predicted damage against size.

use gguf_codec::model::{Allocation, Prediction};
use plotters::prelude::*;

use super::named;
use crate::plot::{Labels, explain, name_points};

const CHOSEN: RGBColor = RGBColor(0, 90, 181);
const RECIPES: RGBColor = RGBColor(190, 40, 25);

/// The damage from which on it is no divergence any more: sums are not additive there.
pub(crate) fn most_worth(curve: &[Prediction]) -> f64 {
    curve.first().map_or(1.0, |first| first.damage).clamp(1e-9, 3.0)
}

/// Draws the choices for all sizes as a line, the one that was made as a ring on it, and recipes as points.
pub(super) fn draw(
    curve: &[Prediction],
    allocation: &Allocation,
) -> Result<String, Box<dyn std::error::Error>> {
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, (1000, 640)).into_drawing_area();
    root.fill(&WHITE)?;
    let at = |prediction: &Prediction| (prediction.size.bytes as f64 / 1e6, prediction.damage.max(1e-9));
    let made = (allocation.size().bytes as f64 / 1e6, allocation.damage().max(1e-9));
    let most = most_worth(curve) * 1.3;
    if !(made.1 * 1.3).is_finite() {
        return Err("the predicted damage is not a finite number".into());
    }
    let line: Vec<_> = curve.iter().map(at).filter(|point| point.1 <= most).collect();
    let recipes: Vec<_> =
        named(allocation.recipes()).map(|(name, prediction)| (name, at(prediction))).collect();
    let shown = || recipes.iter().filter(|(_, point)| point.1 <= most);
    let all = || shown().map(|(_, point)| *point).chain(line.iter().copied()).chain([made]);
    let (left, right) = all().fold((f64::INFINITY, 0f64), |(a, b), (x, _)| (a.min(x), b.max(x)));
    let (low, high) = all().fold((f64::INFINITY, 0f64), |(a, b), (_, y)| (a.min(y), b.max(y)));
    let margin = ((right - left) * 0.04).max(right * 0.01).max(1e-6);
    let mut chart = ChartBuilder::on(&root)
        .caption("Predicted damage over size", ("sans-serif", 22))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(left - margin..right + margin, (low / 1.3..high * 1.3).log_scale())?;
    let number = |value: &f64| format!("{value:.3}");
    chart
        .configure_mesh()
        .x_desc("tensor data, MB")
        .y_desc("predicted damage, nats")
        .y_label_formatter(&number)
        .draw()?;
    chart
        .draw_series(LineSeries::new(line.iter().copied(), CHOSEN.stroke_width(2)))?
        .label("types chosen tensor by tensor")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 16, y)], CHOSEN.stroke_width(2)));
    chart
        .draw_series([Circle::new(made, 6, CHOSEN.stroke_width(2))])?
        .label("this choice")
        .legend(|(x, y)| Circle::new((x + 8, y), 6, CHOSEN.stroke_width(2)));
    chart
        .draw_series(shown().map(|(_, point)| Circle::new(*point, 4, RECIPES.filled())))?
        .label("llama.cpp's recipes")
        .legend(|(x, y)| Circle::new((x + 8, y), 4, RECIPES.filled()));
    let mut labels = Labels::default();
    for point in line.iter().chain(shown().map(|(_, point)| point)) {
        labels.keep_clear(chart.backend_coord(point));
    }
    let names = shown().map(|(name, point)| (chart.backend_coord(point), *name));
    name_points(&root, &mut labels, names, RECIPES)?;
    explain(&mut chart, SeriesLabelPosition::UpperRight)?;
    root.present()?;
    drop((chart, root));
    Ok(svg)
}
