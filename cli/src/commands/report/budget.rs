//! What choosing types for a size would make of the model: predicted damage over size.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use gguf_codec::GgmlType;
use gguf_codec::model::{Budget, Input, Measurements, Prediction, Size};
use maud::{Markup, html};

use super::charts::{WIDTH, at};
use super::page::{Picture, data_table, figure};
use super::words;
use crate::budget::{explained, most_worth, named};
use crate::numbers::grouped;
use crate::work::Work;
use crate::{cli, texts};

/// The drawing's measures.
const LEFT: f64 = 74.0;
const TOP: f64 = 14.0;
const HEIGHT: f64 = 360.0;
const RIGHT: f64 = WIDTH - 20.0;

/// Predictions for the model: a choice for each of some sizes, ascending, and recipes.
pub(crate) struct Predicted {
    chosen: Vec<Choice>,
    recipes: Vec<Prediction>,
}

struct Choice {
    prediction: Prediction,
    /// Bytes by type, from the most on.
    types: Vec<(GgmlType, u64)>,
}

impl Predicted {
    /// Measures the model, and chooses for each size.
    pub(crate) fn of(input: &Input, sensitivity: Option<&Path>, work: &Work) -> Result<Self> {
        let text = sensitivity.map(texts::read).transpose()?.unwrap_or_default();
        let follow = |budget: Budget<'static>| {
            budget.sensitivities(&text).map_err(|error| match sensitivity {
                Some(path) => cli::about(path, error),
                None => error.into(),
            })
        };
        let budget = follow(Budget::bytes(u64::MAX))?;
        let measured = budget
            .measure(input, &Measurements::default(), |done, total| work.reached(done, total))
            .map_err(|error| explained(error, sensitivity, work))?;
        let recipes = budget.choose_by(input, &measured)?.recipes().to_vec();
        let choice = |prediction: Prediction| {
            let allocation = follow(Budget::bytes(prediction.size.bytes))?.choose_by(input, &measured)?;
            let mut types = BTreeMap::<GgmlType, Size>::new();
            for tensor in allocation.tensors() {
                *types.entry(tensor.ggml_type).or_default() += tensor.size;
            }
            let mut types: Vec<_> = types.into_iter().map(|(ty, size)| (ty, size.bytes)).collect();
            types.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
            Ok(Choice { prediction, types })
        };
        let chosen = budget.curve(input, &measured)?.into_iter().map(choice).collect::<Result<_>>()?;
        Ok(Predicted { chosen, recipes })
    }

    /// What is shown: damage that is no divergence any more is left out.
    fn is_shown(&self, prediction: &Prediction) -> bool {
        let curve: Vec<_> = self.chosen.iter().map(|choice| choice.prediction).collect();
        prediction.damage <= most_worth(&curve) * 1.3 && prediction.damage > 0.0
    }
}

fn bits(prediction: &Prediction) -> String {
    format!("{:.2}", prediction.size.bits_per_weight())
}

/// The choice in one line.
fn line(choice: &Choice) -> String {
    let Choice { prediction, types } = choice;
    let share =
        |(ty, bytes): &(GgmlType, u64)| format!("{ty} {}", words::percent(*bytes, prediction.size.bytes));
    let types: Vec<_> = types.iter().map(share).collect();
    let size = words::bytes(prediction.size.bytes);
    format!(
        "{size}, {} bits per weight, predicted damage {}: {}",
        bits(prediction),
        words::value(prediction.damage),
        types.join(", ")
    )
}

pub(crate) fn section(predicted: &Predicted) -> Markup {
    let shown: Vec<_> =
        predicted.chosen.iter().filter(|choice| predicted.is_shown(&choice.prediction)).collect();
    let recipes: Vec<_> =
        named(&predicted.recipes).filter(|(_, recipe)| predicted.is_shown(recipe)).collect();
    let all =
        || shown.iter().map(|choice| &choice.prediction).chain(recipes.iter().map(|(_, recipe)| *recipe));
    if shown.is_empty() {
        return html! { p { "No tensor of this model would be quantized." } };
    }
    let (least, most) = all().fold((f64::INFINITY, 0f64), |(least, most), one| {
        (least.min(one.size.bytes as f64), most.max(one.size.bytes as f64))
    });
    let (low, high) =
        all().fold((f64::INFINITY, 0f64), |(low, high), one| (low.min(one.damage), high.max(one.damage)));
    let (low, high) = (low.log10().floor(), high.log10().ceil());
    let place = |one: &Prediction| {
        let x =
            LEFT + 20.0 + (RIGHT - LEFT - 100.0) * (one.size.bytes as f64 - least) / (most - least).max(1.0);
        let y = TOP + HEIGHT * (high - one.damage.log10()) / (high - low).max(1.0);
        (x, y)
    };
    let points: Vec<_> = shown.iter().map(|choice| place(&choice.prediction)).collect();
    let path: Vec<_> = points.iter().map(|(x, y)| format!("{},{}", at(*x), at(*y))).collect();
    let step = words::round_step((most - least) / 5.0);
    let drawing = html! {
        @for power in low as i32..=high as i32 {
            @let y = TOP + HEIGHT * (high - f64::from(power)) / (high - low).max(1.0);
            line x1=(at(LEFT)) x2=(at(RIGHT)) y1=(at(y)) y2=(at(y)) class="grid" {}
            text x=(at(LEFT - 8.0)) y=(at(y + 4.0)) text-anchor="end" { (words::value(10f64.powi(power))) }
        }
        @for i in (least / step).ceil() as u64..=(most / step).floor() as u64 {
            @let x = LEFT + 20.0 + (RIGHT - LEFT - 100.0) * (i as f64 * step - least) / (most - least).max(1.0);
            text x=(at(x)) y=(at(TOP + HEIGHT + 18.0)) text-anchor="middle" { (words::bytes((i as f64 * step) as u64)) }
        }
        text x=(at((LEFT + RIGHT) / 2.0)) y=(at(TOP + HEIGHT + 38.0)) text-anchor="middle" { "tensor data" }
        polyline points=(path.join(" ")) class="curve" {}
        @for (choice, (x, y)) in shown.iter().zip(&points) {
            g class="choice" {
                title { (line(choice)) }
                circle cx=(at(*x)) cy=(at(*y)) r="4" class="dot" {}
            }
        }
        @for (name, recipe) in &recipes {
            @let (x, y) = place(recipe);
            g {
                title { (name) ": " (words::bytes(recipe.size.bytes)) ", predicted damage " (words::value(recipe.damage)) }
                path d=(format!("M{},{} l6,6 l-6,6 l-6,-6 z", at(x), at(y - 6.0))) class="bar" {}
                text x=(at(x + 9.0)) y=(at(y - 5.0)) class="name halo" { (name) }
            }
        }
    };
    let header = ["What", "Bytes", "Bits per weight", "Predicted damage", "Types"];
    let row = |name: &str, one: &Prediction, types: String| {
        vec![name.to_owned(), grouped(one.size.bytes), bits(one), words::value(one.damage), types]
    };
    let rows = predicted.chosen.iter().map(|choice| {
        let types: Vec<_> = choice.types.iter().map(|(ty, _)| ty.name()).collect();
        row("chosen", &choice.prediction, types.join(", "))
    });
    let rows = rows.chain(named(&predicted.recipes).map(|(name, recipe)| row(name, recipe, String::new())));
    let middle = shown.len() / 2;
    let more = html! {
        p class="script" {
            label for="budget-size" { "Size " }
            input type="range" id="budget-size" min="0" max=(shown.len() - 1) value=(middle) step="1"
                aria-describedby="budget-readout";
        }
        p class="readout" id="budget-readout" aria-live="polite" {}
    };
    figure(Picture {
        id: "budget-curve",
        title: "Predicted damage over size",
        description: "Types chosen tensor by tensor for each size (the line), and llama.cpp's recipes (the diamonds). The damage is an \
                      estimate of the Kullback–Leibler divergence from this model, in nats; above 0.3 it is too low, and above 3 not shown.",
        size: (WIDTH, TOP + HEIGHT + 46.0),
        drawing,
        behind: data_table("Predicted damage over size", &header, rows),
        more,
    })
}
