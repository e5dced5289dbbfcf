//! [`Budget`]: a type for each tensor, so that all fit into a size and the model suffers least.

mod allocation;
mod factors;
mod group;
mod measure;
mod measurements;
mod plan;
mod recipes;
mod sensitivity;
mod solve;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

pub use self::allocation::{AllocatedTensor, Allocation, NextStep};
pub use self::factors::SensitivitySource;
use self::measure::Sample;
pub use self::measurements::Measurements;
use self::plan::{Plan, Planned};
pub use self::recipes::Prediction;
use self::recipes::RecipeTypes;
use self::sensitivity::Sensitivities;
use self::solve::{Candidate, least, solve};
use self::table::Table;
use super::imatrix::Imatrix;
use super::in_order::in_order;
use super::size::Size;
use super::source::Source;
use crate::{Error, GgmlType, Result};

/// The share of a tensor's values that are measured, and the least and greatest number of them.
const SAMPLE_SHARE: u64 = 6;
const SAMPLE_LEAST: u64 = 1 << 15;
const SAMPLE_MOST: u64 = 1 << 18;

/// Sizes of a curve.
const CURVE: u64 = 48;

/// Chooses a type for each tensor so that a model fits into a size and suffers least.
///
/// For each tensor that llama.cpp's `quantize` would quantize, it measures how much of it each allowed type loses,
/// ‖W − Q‖² / ‖W‖², by a sample of its values; with an [importance matrix](Self::imatrix), times what that leaves of the error that it weighs, at the median of the
/// tensors of a role. That times the tensor's sensitivity is the damage, an estimate of the Kullback–Leibler
/// divergence from the original model in nats, and the sum of all is made as small as the size permits. The sensitivities
/// are those of [`sensitivities`](Self::sensitivities), and where those have none, defaults by the tensor's role, divided by the number
/// of layers:
///
/// | role | factor |
/// |---|---|
/// | token embedding that is the output too | 9, not divided |
/// | `attn_v`, `attn_qkv`, `attn_kv_b` | 10 |
/// | `ffn_down` | 11; 6.6 with importance |
/// | `ffn_up` | 7 |
/// | `ffn_gate` | 4 |
/// | `attn_output` | 2.5 |
/// | `attn_q`, `attn_k` | 2 |
/// | token embedding beside an output | 2, not divided: a guess |
/// | output | 8, not divided: a guess |
/// | any other | 7: a guess |
///
/// They were fitted to two small models, SmolLM2 135M and Gemma 3 270M. The guesses were tested on none.
///
/// ```
/// use gguf_codec::model::{Budget, Input, Quantize};
///
/// let input = Input::open("examples/sample.gguf")?;
/// let allocation = Budget::bits_per_weight(7.0).choose(&input)?;
/// assert!(allocation.size().bits_per_weight() <= 7.0);
/// for tensor in allocation.tensors() {
///     println!("{}: {}, damage {:.2e}", tensor.name, tensor.ggml_type, tensor.damage);
/// }
/// let quantize = Quantize::types(allocation.types(), allocation.file_type());
/// let report = quantize.allow_requantize(true).plan(&input, "model.gguf")?;
/// assert_eq!(report.size_after(), allocation.size());
/// # Ok::<(), gguf_codec::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is chosen before `choose`"]
pub struct Budget<'a> {
    limit: Limit,
    types: Vec<GgmlType>,
    fixed: BTreeMap<String, GgmlType>,
    least: BTreeMap<String, GgmlType>,
    one_type_per_role: bool,
    imatrix: Option<&'a Imatrix>,
    sensitivities: Sensitivities,
    equal: bool,
    may_stay: bool,
    sample: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
enum Limit {
    Bytes(u64),
    BitsPerWeight(f64),
}

impl<'a> Budget<'a> {
    /// So many bytes of tensor data, without the padding between tensors. Keys and names come on top.
    pub fn bytes(bytes: u64) -> Self {
        Self::of(Limit::Bytes(bytes))
    }

    /// So many bits for each value in the mean, those of tensors that are not quantized among them.
    pub fn bits_per_weight(bits: f64) -> Self {
        Self::of(Limit::BitsPerWeight(bits))
    }

    fn of(limit: Limit) -> Self {
        use GgmlType::*;
        Budget {
            limit,
            types: vec![Q2_K, Q3_K, IQ4_XS, IQ4_NL, Q4_K, Q5_0, Q5_K, Q5_1, Q6_K, Q8_0],
            fixed: BTreeMap::new(),
            least: BTreeMap::new(),
            one_type_per_role: false,
            imatrix: None,
            sensitivities: Sensitivities::default(),
            equal: false,
            may_stay: true,
            sample: None,
        }
    }

    /// Allows these types and no others, not even that of a tensor that is quantized already, which may stay as it is otherwise. Those whose blocks do not divide a tensor's rows are left out for that tensor, and so are
    /// those that need importance where it has none; where none is left, it stays as it is.
    pub fn types(self, types: impl IntoIterator<Item = GgmlType>) -> Self {
        let types = BTreeSet::from_iter(types);
        Budget { types: types.into_iter().collect(), may_stay: false, ..self }
    }

    /// Gives tensors of these names these types, whatever else is asked for. Of names that are given twice, the last counts.
    ///
    /// ```
    /// use gguf_codec::GgmlType;
    /// use gguf_codec::model::{Budget, Input};
    ///
    /// let input = Input::open("examples/sample.gguf")?;
    /// let values = input.tensors().map(|tensor| tensor.name().to_owned()).filter(|name| name.contains("attn_v"));
    /// let budget = Budget::bits_per_weight(7.0).fix(values.map(|name| (name, GgmlType::Q8_0)));
    /// for tensor in budget.choose(&input)?.tensors() {
    ///     assert!(tensor.role != "attn_v" || tensor.ggml_type == GgmlType::Q8_0);
    /// }
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    pub fn fix<N: Into<String>>(mut self, types: impl IntoIterator<Item = (N, GgmlType)>) -> Self {
        self.fixed.extend(types.into_iter().map(|(name, ty)| (name.into(), ty)));
        self
    }

    /// Gives no tensor of a role fewer bits than a type has. Roles are named as in [`AllocatedTensor::role`].
    pub fn least_type(mut self, role: impl Into<String>, ty: GgmlType) -> Self {
        self.least.insert(role.into(), ty);
        self
    }

    /// Gives tensors of one role one type, as far as their rows allow the same types: few decisions, which are nearly as good.
    pub fn one_type_per_role(self, one: bool) -> Self {
        Budget { one_type_per_role: one, ..self }
    }

    /// Expects that the values are weighed by an importance matrix when they are quantized: that of
    /// [`Quantize::imatrix`](super::Quantize::imatrix). Tensors that the matrix has suffer less in the same type.
    pub fn imatrix(self, imatrix: impl Into<Option<&'a Imatrix>>) -> Self {
        Budget { imatrix: imatrix.into(), ..self }
    }

    /// Measures about so many values of each tensor, in place of a sixth of them (at least 32,768 and at most 262,144).
    pub fn sample(self, values: u64) -> Self {
        Budget { sample: Some(values), ..self }
    }

    /// Takes sensitivities from a text of lines `name<TAB>sensitivity`: the damage of a tensor that is lost altogether. Empty lines and
    /// lines that begin with `#` are skipped. Tensors that are not in it keep their defaults.
    ///
    /// # Errors
    /// [`Error::Parse`], naming the line, where it is not of that form, where the number is negative or not finite, or where the name
    /// was there before.
    pub fn sensitivities(self, text: &str) -> Result<Self> {
        Ok(Budget { sensitivities: text.parse()?, ..self })
    }

    /// Takes for tensors without a sensitivity their share of all values, and not the factor of their role: for models whose roles are
    /// like nothing that was measured.
    pub fn equal_sensitivities(self, equal: bool) -> Self {
        Budget { equal, ..self }
    }

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
    /// Those of [`choose`](Self::choose), but for sizes and sensitivities; [`Error::Interrupted`] where `progress` breaks.
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

fn refused<T>(message: String) -> Result<T> {
    Err(Error::write(message))
}

#[cfg(test)]
mod tests;
