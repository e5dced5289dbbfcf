//! [`Allocation`]: what a [`Budget`](super::Budget) has chosen.

use std::collections::BTreeMap;

use super::factors::SensitivitySource;
use super::recipes::Prediction;
use crate::ggml_type::GgmlType;
use crate::model::file_type::FileType;
use crate::model::size::Size;

/// The type that a tensor gets.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct AllocatedTensor {
    /// Its name.
    pub name: String,
    /// What it does in the model, as in `ffn_down`; `other` where that is not known.
    pub role: &'static str,
    /// Its type: that of before where it is not quantized.
    pub ggml_type: GgmlType,
    /// Its values and bytes.
    pub size: Size,
    /// What it adds to the predicted damage; 0 where it stays as it is.
    pub damage: f64,
    /// How much the model suffers where it is lost altogether.
    pub sensitivity: f64,
    /// Where the sensitivity is from.
    pub sensitivity_source: SensitivitySource,
    /// What more bytes for it would be spent on, if any of its types is better.
    pub next: Option<NextStep>,
}

/// The step to a larger type of a tensor that helps most for its bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct NextStep {
    /// The type.
    pub ggml_type: GgmlType,
    /// Bytes that it takes more.
    pub bytes: u64,
    /// By how much the predicted damage is less.
    pub gain: f64,
}

/// What a [`Budget`](super::Budget) has chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Allocation {
    pub(super) tensors: Vec<AllocatedTensor>,
    pub(super) bound: f64,
    pub(super) limit: u64,
    pub(super) recipes: Vec<Prediction>,
}

impl Allocation {
    /// Returns the tensors in the model's order.
    pub fn tensors(&self) -> &[AllocatedTensor] {
        &self.tensors
    }

    /// Returns names and types, as [`Quantize::types`](super::super::Quantize::types) takes them.
    pub fn types(&self) -> impl Iterator<Item = (&str, GgmlType)> {
        self.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.ggml_type))
    }

    /// Returns the size of all tensors.
    pub fn size(&self) -> Size {
        self.tensors.iter().map(|tensor| tensor.size).sum()
    }

    /// Returns the predicted damage: about the Kullback–Leibler divergence from the original model in nats, where that is small.
    pub fn damage(&self) -> f64 {
        self.tensors.iter().fold(0.0, |sum, tensor| sum + tensor.damage)
    }

    /// Returns a bound below: no choice within the size has less predicted damage.
    pub fn bound(&self) -> f64 {
        self.bound
    }

    /// Returns what is predicted of llama.cpp's recipes, from few bits to many: of those whose types are allowed, or Q4_0, Q4_1 or floats.
    pub fn recipes(&self) -> &[Prediction] {
        &self.recipes
    }

    /// Returns the recipe that fits into the size with the least predicted damage. Where that is less than
    /// [`damage`](Self::damage), which constraints may lead to, the recipe is the better choice.
    ///
    /// ```
    /// use gguf_codec::model::{Budget, Input};
    ///
    /// let input = Input::open("examples/sample.gguf")?;
    /// let allocation = Budget::bits_per_weight(8.0).choose(&input)?;
    /// if let Some(best) = allocation.best_recipe() {
    ///     assert!(best.size.bits_per_weight() <= 8.0 && best.recipe.is_some());
    ///     println!("{:.2} times the damage of the choice", best.damage / allocation.damage());
    /// }
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    pub fn best_recipe(&self) -> Option<&Prediction> {
        let fitting = self.recipes.iter().filter(|recipe| recipe.size.bytes <= self.limit);
        fitting.min_by(|a, b| a.damage.total_cmp(&b.damage).then(a.size.bytes.cmp(&b.size.bytes)))
    }

    /// Returns what `general.file_type` says of it: the type that most of the values have.
    pub fn file_type(&self) -> Option<FileType> {
        let mut values = BTreeMap::<GgmlType, u64>::new();
        for tensor in &self.tensors {
            let sum = values.entry(tensor.ggml_type).or_default();
            *sum = sum.saturating_add(tensor.size.parameters);
        }
        values.into_iter().max_by_key(|(_, values)| *values).and_then(|(ty, _)| FileType::mostly(ty))
    }

    /// Returns the tensors for each role and each type in it.
    pub fn by_role(&self) -> BTreeMap<(&'static str, GgmlType), Vec<&AllocatedTensor>> {
        let mut roles = BTreeMap::<_, Vec<_>>::new();
        for tensor in &self.tensors {
            roles.entry((tensor.role, tensor.ggml_type)).or_default().push(tensor);
        }
        roles
    }
}
