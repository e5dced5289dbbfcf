//! [`Plan`]: the tensors of a model, and the types that each may get.

use crate::ggml_type::GgmlType;
use crate::gguf::TensorInfo;
use crate::model::recipe::Recipe;

/// A tensor, and the types that it may get.
pub(super) struct Planned<'m> {
    pub(super) tensor: TensorInfo<'m>,
    /// None where it stays as it is.
    pub(super) choices: Vec<GgmlType>,
    /// Whether its values are weighed.
    pub(super) importance: bool,
}

/// All tensors, and what recipes would give them.
pub(super) struct Plan<'m> {
    pub(super) tensors: Vec<Planned<'m>>,
    pub(super) recipes: Vec<RecipeTypes>,
    pub(super) limit: u64,
}

/// The types that a recipe gives the tensors, in their order.
pub(super) struct RecipeTypes {
    pub(super) recipe: Recipe,
    pub(super) types: Vec<GgmlType>,
}
