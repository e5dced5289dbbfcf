//! [`Factors`]: sensitivities by role, where none were measured.

use std::collections::BTreeSet;

use super::super::layer::TOKEN_EMBEDDING;
use super::super::recipe::{Role, layer_of};
use crate::gguf::TensorInfo;

/// What a model suffers where all of it is lost, for sensitivities that are the same for all values: about the sum of the factors.
pub(super) const EQUAL: f64 = 48.0;

/// Where a tensor's sensitivity is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SensitivitySource {
    /// It was given by the tensor's name.
    Given,
    /// The factor of its role, which was fitted to models that were measured.
    Fitted,
    /// The factor of its role, or of roles that are not known, which no measured model has.
    Guessed,
    /// All values count the same.
    Equal,
}

/// Default sensitivities.
pub(super) struct Factors {
    layers: usize,
    is_tied: bool,
}

impl Factors {
    pub(super) fn of(tensors: &[TensorInfo<'_>]) -> Self {
        let layers = BTreeSet::from_iter(tensors.iter().filter_map(|tensor| layer_of(tensor.name())));
        let is_tied = !tensors.iter().any(|tensor| Role::of(tensor.name()) == Role::Output);
        Factors { layers: layers.len().max(1), is_tied }
    }

    pub(super) fn get(&self, tensor: &TensorInfo<'_>, importance: bool) -> (f64, SensitivitySource) {
        use SensitivitySource::{Fitted, Guessed};
        let name = tensor.name();
        let of_layers = |factor: f64| factor / self.layers as f64;
        // Matrices of experts and fused projections have the factors of their role, which were measured on neither.
        let is_stack = tensor.shape().dims().get(2).is_some_and(|&matrices| matrices > 1);
        let is_plain =
            !is_stack && !["_qkv", "_kv_b", "_exps", "_shexp"].iter().any(|part| name.contains(part));
        let fitted = if is_plain && layer_of(name).is_some() { Fitted } else { Guessed };
        match Role::of(name) {
            Role::TokenEmbedding if self.is_tied && name == TOKEN_EMBEDDING => (9.0, Fitted),
            Role::TokenEmbedding => (2.0, Guessed),
            Role::Output => (8.0, Guessed),
            Role::Value => (of_layers(10.0), fitted),
            // A few layers whose inputs have huge values raise the mean above the rest, and importance protects just those.
            Role::Down => (of_layers(if importance { 6.6 } else { 11.0 }), fitted),
            Role::Up => (of_layers(7.0), fitted),
            Role::Other => (of_layers(7.0), Guessed),
            Role::Gate => (of_layers(4.0), fitted),
            Role::AttentionOutput => (of_layers(2.5), fitted),
            Role::Query | Role::Key => (of_layers(2.0), fitted),
        }
    }
}
