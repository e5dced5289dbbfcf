//! What llama.cpp's recipes would make of a model: their sizes and predicted damage.

use super::Budget;
use super::planned::{Planned, RecipeTypes};
use crate::ggml_type::GgmlType;
use crate::gguf::TensorInfo;
use crate::gguf::metadata::Metadata;
use crate::model::recipe::{Recipe, TypeChoice, TypePlan};
use crate::model::size::Size;

/// Types that recipes give, beyond those that are worth choosing: they are measured so that recipes can be compared.
const OF_RECIPES: [GgmlType; 5] =
    [GgmlType::Q4_0, GgmlType::Q4_1, GgmlType::F16, GgmlType::BF16, GgmlType::F32];

/// A size, and what the model is predicted to suffer at it.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Prediction {
    /// The recipe that it is of; `None` for types that are chosen for a size.
    pub recipe: Option<Recipe>,
    /// The size of all tensors.
    pub size: Size,
    /// The predicted damage.
    pub damage: f64,
}

impl Budget<'_> {
    /// Returns the recipes that quantize to types that are measured anyway, or nearly so.
    pub(super) fn recipe_types(&self, metadata: Metadata<'_>, planned: &[Planned<'_>]) -> Vec<RecipeTypes> {
        let tensors: Vec<TensorInfo<'_>> = planned.iter().map(|one| one.tensor).collect();
        let is_measured = |ty: GgmlType| self.types.contains(&ty) || OF_RECIPES.contains(&ty);
        let mut found = Vec::new();
        for &recipe in Recipe::ALL {
            if !recipe.base_type().is_quantized() || !is_measured(recipe.base_type()) {
                continue;
            }
            // A recipe that cannot be followed is none to compare with.
            let plan = TypePlan::new(recipe).importance(self.imatrix.is_some());
            let Ok(choices) = plan.choose(metadata, &tensors) else { continue };
            let fits = |(choice, one): (&TypeChoice, &Planned<'_>)| {
                let stays = choice.ggml_type == one.tensor.ggml_type();
                stays || is_measured(choice.ggml_type) && (!choice.needs_importance || one.importance)
            };
            if choices.iter().zip(planned).all(fits) {
                let types = choices.iter().map(|choice| choice.ggml_type).collect();
                found.push(RecipeTypes { recipe, types });
            }
        }
        found
    }
}
