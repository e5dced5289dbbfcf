//! Measuring a model and choosing its types.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::allocation::Allocation;
use super::measure::Sample;
use super::measurements::{self, Measurements};
use super::planned::{Plan, Planned, RecipeTypes};
use super::recipes::Prediction;
use super::solve::{Candidate, least, solve};
use super::table::Table;
use super::{Budget, refused};
use crate::error::{Error, Result};
use crate::ggml_type::GgmlType;
use crate::model::in_order::in_order;
use crate::model::size::Size;
use crate::model::source::Source;

/// The share of a tensor's values that are measured, and the least and greatest number of them.
const SAMPLE_SHARE: u64 = 6;
const SAMPLE_LEAST: u64 = 1 << 15;
const SAMPLE_MOST: u64 = 1 << 18;

/// Sizes of a curve.
const CURVE: u64 = 48;

impl Budget<'_> {
    /// Measures the tensors of a model and chooses. The same model gives the same choice on every machine, whatever the number of its
    /// cores.
    ///
    /// # Errors
    /// [`Error::Write`] where the tensors do not fit whatever their types, saying what the least size is; where a type has no
    /// quantizer or needs importance; where the number of bits is no number above 0; where a type is fixed whose blocks do not divide
    /// the rows, or for no tensor; where there is no such role, or none of the types is enough for it; where values are not finite;
    /// [`Error::Parse`] where a sensitivity is that of no tensor; [`Error::Io`] where reading fails.
    pub fn choose<S: Source>(&self, input: &S) -> Result<Allocation> {
        let found = self.measure(input, &Measurements::default(), |_, _| ControlFlow::Continue(()))?;
        self.choose_by(input, &found)
    }

    /// Measures what [`choose_by`](Self::choose_by) chooses by. What `known` has of the same bytes, importance and sample is taken from
    /// there. `progress` is called with the number of bytes of single-precision values that are quantized and how many there are. Return
    /// `Break` to cancel.
    ///
    /// # Errors
    /// Those of [`choose`](Self::choose), but for sizes; [`Error::Interrupted`] where `progress` breaks.
    pub fn measure<S: Source>(
        &self,
        input: &S,
        known: &Measurements,
        mut progress: impl FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Measurements> {
        let plan = self.plan(input)?;
        let mut samples = Vec::new();
        for (index, Planned { tensor, choices, importance }) in plan.tensors.iter().enumerate() {
            let of_recipes = plan.recipes.iter().map(|recipe| recipe.types[index]);
            let types: BTreeSet<_> = choices.iter().copied().chain(of_recipes).collect();
            let types: Vec<_> = types.into_iter().filter(|&ty| ty != tensor.ggml_type()).collect();
            if types.is_empty() {
                continue;
            }
            let elements = tensor.shape().element_count();
            let values = self.sample.unwrap_or((elements / SAMPLE_SHARE).clamp(SAMPLE_LEAST, SAMPLE_MOST));
            let sample = Sample { name: tensor.name(), origin: input.origin(tensor)?, weights: None, values };
            samples.push((sample, types, *importance));
        }
        let work = |(sample, types, _): &(Sample<'_>, Vec<GgmlType>, bool)| {
            sample.len().saturating_mul(4 * types.len() as u64)
        };
        let total = samples.iter().map(work).fold(0, u64::saturating_add);
        let measure = |(sample, types, importance): &(Sample<'_>, Vec<GgmlType>, bool)| {
            let imatrix = self.imatrix.filter(|_| *importance);
            let weights = imatrix.and_then(|imatrix| imatrix.weights(sample.name));
            Sample { weights, ..*sample }.measure(types, known.get(sample.name))
        };
        in_order(samples.iter(), measure, |next| {
            let (mut found, mut done) = (Measurements::default(), 0u64);
            for one in &samples {
                let Some(measured) = next() else { break };
                let (measured, is_known) = measured?;
                found.tensors.insert(measurements::key(one.0.name), measured);
                found.reused += usize::from(is_known);
                done = done.saturating_add(work(one));
                if progress(done, total).is_break() {
                    return Err(Error::Interrupted);
                }
            }
            Ok(found)
        })
    }

    /// Chooses by what was measured of the same model, with the same types and importance. The numbers are not checked against the
    /// model's values: [`measure`](Self::measure) does so for those that were kept in a file.
    ///
    /// # Errors
    /// As [`choose`](Self::choose), and [`Error::Write`] where a tensor was not measured in a type.
    pub fn choose_by<S: Source>(&self, input: &S, measurements: &Measurements) -> Result<Allocation> {
        let plan = self.plan(input)?;
        let table = self.table(&plan, measurements)?;
        let candidates = table.grouped();
        let Some(found) = solve(&candidates, plan.limit) else {
            return refused(format!(
                "the tensors take {} bytes at least in the types that are allowed, and {} are too few",
                least(&candidates),
                plan.limit
            ));
        };
        let mut tensors = vec![None; plan.tensors.len()];
        for (group, &place) in table.groups.iter().zip(&found.places) {
            for &index in group {
                tensors[index] = Some(table.allocated(index, place));
            }
        }
        // Each tensor is in one group.
        let tensors = tensors.into_iter().flatten().collect();
        let recipes = self.predictions(&plan, &table, measurements)?;
        Ok(Allocation { tensors, bound: found.bound, limit: plan.limit, recipes })
    }

    /// Predicts the damage of choices for sizes from the least that is possible to the greatest that is of use, ascending, whatever size
    /// the budget is for.
    ///
    /// # Errors
    /// As [`choose_by`](Self::choose_by), but for the size.
    pub fn curve<S: Source>(&self, input: &S, measurements: &Measurements) -> Result<Vec<Prediction>> {
        let plan = self.plan(input)?;
        let table = self.table(&plan, measurements)?;
        let candidates = table.grouped();
        let least = least(&candidates);
        let most = solve(&candidates, u64::MAX).map_or(least, |all| all.bytes);
        let whole: Size = plan.tensors.iter().map(|one| Size::of(&one.tensor)).sum();
        let mut curve: Vec<Prediction> = Vec::new();
        for step in 0..=CURVE {
            let limit = least + (u128::from(most - least) * u128::from(step) / u128::from(CURVE)) as u64;
            let Some(found) = solve(&candidates, limit) else { continue };
            if curve.last().is_none_or(|last| found.bytes > last.size.bytes && found.damage < last.damage) {
                let size = Size { bytes: found.bytes, ..whole };
                curve.push(Prediction { recipe: None, size, damage: found.damage });
            }
        }
        Ok(curve)
    }

    fn predictions(
        &self,
        plan: &Plan<'_>,
        table: &Table<'_>,
        measurements: &Measurements,
    ) -> Result<Vec<Prediction>> {
        let of = |recipe: &RecipeTypes| {
            let (mut size, mut damage) = (Size::default(), 0.0);
            for (index, (one, &ty)) in plan.tensors.iter().zip(&recipe.types).enumerate() {
                let Candidate { bytes, damage: more } = table.candidate(index, ty, measurements)?;
                size += Size { bytes, ..Size::of(&one.tensor) };
                damage += more;
            }
            Ok(Prediction { recipe: Some(recipe.recipe), size, damage })
        };
        plan.recipes.iter().map(of).collect()
    }
}
