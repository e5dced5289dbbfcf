//! [`TypePlan`]: the type that each tensor of a model gets.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::fmt;

use super::Recipe;
use super::mixture::{Facts, Member, Mixture};
use super::role::{Role, is_quantized};
use crate::error::{Error, Result};
use crate::ggml_type::GgmlType;
use crate::gguf::TensorInfo;
use crate::gguf::metadata::Metadata;
use crate::gguf::value_ref::ValueRef;

/// Applies a recipe to the tensors of a model. The types are those of llama.cpp's `llama_model_quantize` with the same
/// settings. If that fails because it has no type for rows of some length, the type here is F16.
///
/// ```
/// use gguf_codec::model::{Recipe, TypePlan};
/// use gguf_codec::{GgmlType, Gguf, Writer};
/// # let mut writer = Writer::new(Vec::new());
/// # writer.set_metadata("general.architecture", "llama")?.set_metadata("llama.block_count", 1u32)?;
/// # writer.declare_tensor("blk.0.ffn_down.weight", &[256, 2], GgmlType::F16)?;
/// # writer.declare_tensor("blk.0.attn_norm.weight", &[256], GgmlType::F32)?;
/// # let mut data = writer.write_header()?;
/// # data.write_tensor("blk.0.ffn_down.weight", &[0; 1024])?;
/// # data.write_tensor("blk.0.attn_norm.weight", &[0; 1024])?;
/// # let file = data.finish()?;
/// let model = Gguf::parse(&file)?;
/// let tensors: Vec<_> = model.tensors().collect();
/// let choices = TypePlan::new(Recipe::Q4_K_M).choose(model.metadata(), &tensors)?;
/// assert_eq!(choices[0].ggml_type, GgmlType::Q6_K); // `ffn_down` of the only layer
/// assert_eq!(choices[1].ggml_type, GgmlType::F32); // a vector
/// # Ok::<(), gguf_codec::Error>(())
/// ```
#[derive(Clone, Copy)]
#[must_use = "nothing is chosen before `choose`"]
#[doc(alias = "llama_model_quantize_params")]
pub struct TypePlan<'a> {
    recipe: Recipe,
    has_importance: bool,
    is_pure: bool,
    leaves_output: bool,
    output: Option<GgmlType>,
    token_embedding: Option<GgmlType>,
    by_name: Option<&'a ByName<'a>>,
}

/// The type for a tensor's name, if it specifies one.
type ByName<'a> = dyn Fn(&str) -> Option<GgmlType> + Sync + 'a;

/// The type that a tensor gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TypeChoice {
    /// The type. It is the tensor's own if it is not to be quantized.
    pub ggml_type: GgmlType,
    /// The type that it would have got if its rows were whole blocks of that type.
    pub instead_of: Option<GgmlType>,
    /// Whether llama.cpp refuses to quantize it without importance. Fewer types really require it: see
    /// [`GgmlType::needs_importance`].
    pub needs_importance: bool,
}

impl<'a> TypePlan<'a> {
    /// Creates a plan for the unmodified recipe, without importance.
    pub fn new(recipe: Recipe) -> Self {
        TypePlan {
            recipe,
            has_importance: false,
            is_pure: false,
            leaves_output: false,
            output: None,
            token_embedding: None,
            by_name: None,
        }
    }

    /// Sets whether there is an importance matrix. Some recipes then use fewer bits.
    pub fn importance(self, there_is: bool) -> Self {
        TypePlan { has_importance: there_is, ..self }
    }

    /// Sets whether every tensor gets the base type (llama.cpp's `--pure`).
    pub fn pure(self, pure: bool) -> Self {
        TypePlan { is_pure: pure, ..self }
    }

    /// Sets whether `output.weight` stays as it is.
    pub fn leave_output(self, leave: bool) -> Self {
        TypePlan { leaves_output: leave, ..self }
    }

    /// Sets the type of `output.weight`, and of the token embedding if that is also the output.
    pub fn output_type(self, ty: Option<GgmlType>) -> Self {
        TypePlan { output: ty, ..self }
    }

    /// Sets the type of the token embedding.
    pub fn token_embedding_type(self, ty: Option<GgmlType>) -> Self {
        TypePlan { token_embedding: ty, ..self }
    }

    /// Sets types for tensors by name. `None` leaves the choice to the recipe. Tensors that are not to be quantized
    /// stay as they are regardless, vectors among them, and recipes that quantize nothing do not call this.
    pub fn types_by_name(self, by_name: &'a (dyn Fn(&str) -> Option<GgmlType> + Sync)) -> Self {
        TypePlan { by_name: Some(by_name), ..self }
    }

    /// Returns the choice for each tensor, in the order given. `tensors` must be all of the model's, in any order, since
    /// their number and names affect the result. llama.cpp writes them in the order of [`by_layer`].
    ///
    /// # Errors
    /// [`Error::WrongValue`] or [`Error::WrongElement`] if a key for the number of layers, heads or experts has no such
    /// number, and [`Error::Write`] if a tensor of a model with experts has a name without a layer.
    pub fn choose(&self, metadata: Metadata<'_>, tensors: &[TensorInfo<'_>]) -> Result<Vec<TypeChoice>> {
        let mixture = Mixture { recipe: self.recipe, facts: self.facts(metadata, tensors)? };
        let mut in_order: Vec<_> = tensors.iter().enumerate().collect();
        in_order.sort_by(|(_, a), (_, b)| by_layer(a.name(), b.name()));
        let mut seen = Seen::default();
        let mut choices = vec![None; tensors.len()];
        for (index, tensor) in in_order {
            choices[index] = Some(self.choose_one(tensor, &mixture, &mut seen)?);
        }
        // Every index occurred once.
        Ok(choices.into_iter().flatten().collect())
    }

    fn choose_one(&self, tensor: &TensorInfo<'_>, mixture: &Mixture, seen: &mut Seen) -> Result<TypeChoice> {
        let (name, role) = (tensor.name(), Role::of(tensor.name()));
        let stays = is_left_alone(tensor) || role == Role::Output && self.leaves_output;
        let is_embedding = matches!(role, Role::TokenEmbedding | Role::Output);
        let whole = |ty, instead_of| TypeChoice {
            ggml_type: ty,
            instead_of,
            needs_importance: !is_embedding
                && (is_starved(ty) || self.recipe == Recipe::Q2_K_S && ty == GgmlType::Q2_K),
        };
        if stays {
            return Ok(TypeChoice {
                ggml_type: tensor.ggml_type(),
                instead_of: None,
                needs_importance: false,
            });
        }
        let asked_for = match role {
            Role::TokenEmbedding => self.token_embedding,
            Role::Output => self.output,
            _ => None,
        };
        let base = self.recipe.base_type();
        if let Some(ty) = asked_for.or(Some(base).filter(|base| !base.is_quantized())) {
            return Ok(whole(ty, None));
        }
        let ty = match self.by_name.and_then(|by_name| by_name(name)) {
            Some(ty) => ty,
            None if self.is_pure => base,
            None => self.mixed(tensor, role, mixture, seen)?,
        };
        let row_len = tensor.shape().row_len();
        let fits = |ty: GgmlType| ty.fits_rows(row_len);
        Ok(match ty {
            ty if fits(ty) => whole(ty, None),
            ty => whole(Some(fallback(ty)).filter(|&other| fits(other)).unwrap_or(GgmlType::F16), Some(ty)),
        })
    }

    fn mixed(
        &self,
        tensor: &TensorInfo<'_>,
        role: Role,
        mixture: &Mixture,
        seen: &mut Seen,
    ) -> Result<GgmlType> {
        // If one matrix is both.
        if let (Role::TokenEmbedding, true, Some(ty)) = (role, mixture.facts.is_tied, self.output) {
            return Ok(ty);
        }
        let Facts { experts, layers, .. } = mixture.facts;
        let is_feed_forward = matches!(role, Role::Gate | Role::Up | Role::Down);
        let nth = seen.count(role);
        // The tensors of experts need not be in the order of their layers, nor occur in each.
        let at =
            if is_feed_forward && experts > 1 && mixture.counts_layers() {
                let layer = layer_of(tensor.name()).and_then(|layer| usize::try_from(layer).ok());
                layer.filter(|&layer| layer < layers).ok_or_else(|| Error::write(format!(
                    "tensor '{}' of a model with experts must be one of the {layers} layers, 'blk.0.' and on",
                    tensor.name().escape_debug()
                )))?
            } else {
                nth
            };
        let shape = tensor.shape();
        let is_stack = shape.dims().get(2).is_some_and(|&matrices| matrices > 1)
            // In this architecture the projections of the attention are stacked as well.
            && (!mixture.facts.only_experts_are_stacks || is_feed_forward);
        Ok(mixture.type_of(Member { role, row_len: shape.row_len(), is_stack, at }))
    }

    fn facts(&self, metadata: Metadata<'_>, tensors: &[TensorInfo<'_>]) -> Result<Facts> {
        let architecture = metadata.optional::<&str>("general.architecture")?.unwrap_or_default();
        let number = |key: &str| first_number(metadata, &format!("{architecture}.{key}"));
        let role_count = |role| tensors.iter().filter(|tensor| Role::of(tensor.name()) == role).count();
        let layers = match number("block_count")? {
            Some(layers) => usize::try_from(layers).unwrap_or(usize::MAX / 8),
            // The number that exists, for files that do not specify it.
            None => {
                let last = tensors.iter().filter_map(|tensor| layer_of(tensor.name())).max();
                last.map_or(0, |last| usize::try_from(last).unwrap_or(usize::MAX / 8).saturating_add(1))
            }
        };
        let heads = number("attention.head_count")?.unwrap_or(0);
        let value_heads = number("attention.head_count_kv")?.unwrap_or(heads);
        let is_70b = match architecture {
            "llama" | "llama-embed" => layers == 80 && heads != value_heads,
            "qwen2" | "deci" | "olmo" => layers == 80,
            "jais2" => layers == 68,
            _ => false,
        };
        Ok(Facts {
            // Seven eighths of it are computed.
            layers: layers.min(usize::MAX / 8),
            experts: number("expert_count")?.unwrap_or(0),
            heads_per_value: heads.checked_div(value_heads).unwrap_or(0),
            is_falcon: architecture == "falcon",
            is_70b,
            only_experts_are_stacks: architecture == "bailingmoe3",
            is_tied: role_count(Role::Output) == 0,
            has_importance: self.has_importance,
            values: role_count(Role::Value),
        })
    }
}

impl fmt::Debug for TypePlan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypePlan").field("recipe", &self.recipe).finish_non_exhaustive()
    }
}

/// The number of tensors with each role so far.
#[derive(Default)]
struct Seen([usize; 4]);

impl Seen {
    /// Counts one more, and returns how many there were before.
    fn count(&mut self, role: Role) -> usize {
        let counter = match role {
            Role::Value => 0,
            Role::Gate => 1,
            Role::Up => 2,
            Role::Down => 3,
            _ => return 0,
        };
        self.0[counter] += 1;
        self.0[counter] - 1
    }
}

/// Returns the order in which llama.cpp writes tensors: those without a layer first, then layer by layer, by name.
pub fn by_layer(a: &str, b: &str) -> Ordering {
    layer_of(a).cmp(&layer_of(b)).then_with(|| a.cmp(b))
}

/// Returns the layer of a tensor, by its name.
pub(in crate::model) fn layer_of(name: &str) -> Option<u64> {
    let rest = name.strip_prefix("blk.")?;
    let digits = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().ok()
}

/// Returns a number, or the first of an array of them: some models have one for each layer.
fn first_number(metadata: Metadata<'_>, key: &str) -> Result<Option<u64>> {
    match metadata.get(key) {
        Some(ValueRef::Array(_)) => metadata.require_array(key)?.next().transpose(),
        _ => metadata.optional(key),
    }
}

/// Returns `true` if llama.cpp never quantizes it.
pub(in crate::model) fn is_left_alone(tensor: &TensorInfo<'_>) -> bool {
    !is_matrix(tensor) || !is_quantized(tensor.name()) || tensor.ggml_type().is_integer()
}

/// ggml counts a dimension only if its extent is more than one.
fn is_matrix(tensor: &TensorInfo<'_>) -> bool {
    tensor.shape().dims().iter().skip(1).any(|&extent| extent > 1)
}

/// Returns `true` for types for which llama.cpp requires importance.
fn is_starved(ty: GgmlType) -> bool {
    use GgmlType::*;
    matches!(ty, IQ1_S | IQ1_M | IQ2_XXS | IQ2_XS | IQ2_S | IQ3_XXS)
}

/// Returns a type with shorter blocks and at least as many bits.
fn fallback(ty: GgmlType) -> GgmlType {
    use GgmlType::*;
    match ty {
        IQ1_S | IQ1_M | IQ2_XXS | IQ2_XS | IQ2_S | IQ3_XXS | IQ3_S | IQ4_XS => IQ4_NL,
        Q2_0 | Q2_K | Q3_K | TQ1_0 | TQ2_0 => Q4_0,
        Q4_K => Q5_0,
        Q5_K => Q5_1,
        Q6_K => Q8_0,
        _ => F16,
    }
}
