//! [`Mixture`]: the rules by which a recipe gives some tensors other types than its base type.
//!
//! They are those of llama.cpp's `llama-quant.cpp`, where they were found by measurement. Both choose the same types for a model.

use super::Recipe::{self, *};
use super::role::Role;
use crate::ggml_type::GgmlType as T;

/// The properties of a model that the rules use.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Facts {
    pub(super) layers: usize,
    /// The number of experts in a layer, 0 if there are none.
    pub(super) experts: u64,
    /// The number of query heads that share the keys and values of one head.
    pub(super) heads_per_value: u64,
    pub(super) is_falcon: bool,
    /// Llama 2 70B and similar models, where eight heads share their values: more bits there cost little.
    pub(super) is_70b: bool,
    pub(super) only_experts_are_stacks: bool,
    /// Whether `output.weight` is missing, and the token embedding is also the output.
    pub(super) is_tied: bool,
    pub(super) has_importance: bool,
    /// The number of tensors whose role is [`Role::Value`].
    pub(super) values: usize,
}

/// A tensor as seen by the rules.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    pub(super) role: Role,
    pub(super) row_len: u64,
    /// Whether it is a stack of matrices, one for each expert.
    pub(super) is_stack: bool,
    /// Its position among those of its role, or the layer's number if there are experts and the recipe
    /// [counts](Mixture::counts_layers) layers.
    pub(super) at: usize,
}

/// A recipe for one model.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mixture {
    pub(super) recipe: Recipe,
    pub(super) facts: Facts,
}

impl Mixture {
    pub(super) fn type_of(&self, tensor: Member) -> T {
        let Mixture { recipe, facts } = *self;
        match tensor.role {
            Role::Output => self.output(tensor.row_len),
            Role::TokenEmbedding if facts.is_tied => self.output(tensor.row_len),
            _ if recipe == MXFP4_MOE => {
                if tensor.is_stack {
                    T::MXFP4
                } else {
                    T::Q8_0
                }
            }
            Role::TokenEmbedding => self.token_embedding(),
            role if self.is_smallest() => self.of_the_smallest(role, tensor.at),
            Role::Value => self.value(tensor.at),
            Role::Key if facts.experts == 8 => T::Q8_0,
            Role::Key | Role::Query => match recipe {
                IQ3_XS => T::IQ3_XXS,
                IQ3_XXS => T::IQ2_S,
                _ => recipe.base_type(),
            },
            Role::AttentionOutput => self.attention_output(),
            Role::Down => self.down(tensor.at),
            Role::Gate | Role::Up => match recipe {
                IQ3_XS if self.is_in_the_middle(tensor.at) => T::IQ3_XXS,
                _ => recipe.base_type(),
            },
            Role::Other => recipe.base_type(),
        }
    }

    /// Returns `true` if the rules use the layer of an expert instead of the number of preceding tensors with its role.
    pub(super) fn counts_layers(&self) -> bool {
        self.recipe != MXFP4_MOE && !self.is_smallest()
    }

    /// Below three bits there are separate rules.
    fn is_smallest(&self) -> bool {
        matches!(self.recipe, IQ1_S | IQ1_M | IQ2_XXS | IQ2_XS | IQ2_S | IQ2_M)
    }

    fn output(&self, row_len: u64) -> T {
        let base = self.recipe.base_type();
        let fits = base.fits_rows(row_len);
        match self.recipe {
            MXFP4_MOE => T::Q8_0,
            _ if self.facts.is_falcon || !fits || base == T::Q8_0 => T::Q8_0,
            IQ3_XXS => T::Q5_K,
            _ if self.is_smallest() => T::Q5_K,
            _ => T::Q6_K,
        }
    }

    fn token_embedding(&self) -> T {
        match self.recipe {
            IQ1_S | IQ1_M | IQ2_XXS | IQ2_XS => T::Q2_K,
            IQ2_S | IQ2_M | IQ3_XXS => T::IQ3_S,
            TQ1_0 | TQ2_0 | Q2_0 => T::Q4_K,
            recipe => recipe.base_type(),
        }
    }

    fn of_the_smallest(&self, role: Role, at: usize) -> T {
        let Facts { experts, heads_per_value, layers, .. } = self.facts;
        let better = if matches!(self.recipe, IQ2_S | IQ2_M) { T::IQ3_S } else { T::Q2_K };
        match role {
            Role::Value if heads_per_value >= 4 || experts >= 4 => T::Q4_K,
            Role::Value => better,
            Role::Key if experts == 8 => T::Q4_K,
            Role::Down if at < layers / 8 => better,
            Role::AttentionOutput if experts == 8 => T::Q5_K,
            Role::AttentionOutput => match self.recipe {
                IQ1_S | IQ1_M => T::IQ2_XXS,
                IQ2_S | IQ2_M => T::IQ3_S,
                recipe => recipe.base_type(),
            },
            _ => self.recipe.base_type(),
        }
    }

    fn value(&self, at: usize) -> T {
        let Facts { experts, heads_per_value, is_70b, has_importance, values, .. } = self.facts;
        let shared = heads_per_value >= 4;
        let ty = match self.recipe {
            Q2_K | Q2_K_S | IQ3_XXS | IQ3_XS | IQ3_S if shared => T::Q4_K,
            IQ4_NL | IQ4_XS if shared => T::Q5_K,
            Q2_K => T::Q3_K,
            IQ3_XXS if !has_importance => T::IQ3_S,
            IQ3_M => T::Q4_K,
            Q3_K_M if at < 2 => T::Q5_K,
            Q3_K_M => T::Q4_K,
            Q3_K_L => T::Q5_K,
            Q4_K_M | Q5_K_M if gets_more_bits(at, values) => T::Q6_K,
            Q4_K_S if at < 4 => T::Q5_K,
            recipe => recipe.base_type(),
        };
        match ty {
            _ if experts == 8 => T::Q8_0,
            T::Q3_K | T::Q4_K if is_70b => T::Q5_K,
            ty => ty,
        }
    }

    fn attention_output(&self) -> T {
        let base = self.recipe.base_type();
        if self.facts.is_falcon {
            return if self.recipe == Q3_K_L { T::Q4_K } else { base };
        }
        if self.facts.experts == 8 {
            let gains = matches!(
                self.recipe,
                Q2_K | Q3_K_S | Q3_K_M | Q4_K_S | Q4_K_M | IQ3_XXS | IQ3_XS | IQ3_S | IQ3_M | IQ4_NL | IQ4_XS
            );
            return if gains { T::Q5_K } else { base };
        }
        match self.recipe {
            Q2_K => T::Q3_K,
            IQ3_XXS => T::IQ3_S,
            Q3_K_M | IQ3_M => T::Q4_K,
            Q3_K_L => T::Q5_K,
            _ => base,
        }
    }

    fn down(&self, at: usize) -> T {
        let Facts { layers, experts, is_falcon, has_importance, .. } = self.facts;
        let (is_early, more) = (at < layers / 8, gets_more_bits(at, layers));
        match self.recipe {
            Q2_K => T::Q3_K,
            Q2_K_S if is_early => T::Q4_K,
            IQ3_XXS if !has_importance => {
                if is_early {
                    T::Q4_K
                } else {
                    T::Q3_K
                }
            }
            IQ3_M if is_early || experts == 8 && more => T::Q4_K,
            Q3_K_M if at < layers / 16 => T::Q5_K,
            Q3_K_M if !is_falcon || more => T::Q4_K,
            Q3_K_L => {
                if is_falcon {
                    T::Q4_K
                } else {
                    T::Q5_K
                }
            }
            Q4_K_M if is_falcon && at >= layers / 16 => {
                if more {
                    T::Q5_K
                } else {
                    T::Q4_K
                }
            }
            Q4_K_M if is_falcon || more => T::Q6_K,
            Q5_K_M if more => T::Q6_K,
            Q4_K_S if is_early && !is_falcon => T::Q5_K,
            IQ4_NL | IQ4_XS if is_early && !has_importance => T::Q5_K,
            // With importance, the first of these tensors can become inaccurate in blocks without a minimum.
            Q4_0 if is_early && has_importance => T::Q4_1,
            Q5_0 if is_early && has_importance => T::Q5_1,
            recipe => recipe.base_type(),
        }
    }

    fn is_in_the_middle(&self, at: usize) -> bool {
        (self.facts.layers / 8..7 * self.facts.layers / 8).contains(&at)
    }
}

/// Selects the first eighth, the last, and every third in between.
fn gets_more_bits(at: usize, count: usize) -> bool {
    let eighth = count / 8;
    at < eighth || at >= 7 * count / 8 || (at - eighth) % 3 == 2
}
