//! What a model of a known family must have: each tensor, with a shape that follows from `config.json`.
//!
//! The tables say what llama.cpp demands when it loads a model, under the names that tensors have there. A checkpoint that does not
//! fit them is refused before anything is written.

use std::collections::{BTreeMap, BTreeSet};

use super::class::tells_classes_apart;
use super::families::Extent::{
    self, Classes, FeedForward, GateUp, Head, Heads, KvHeads, Of, OfHeads, Pairs, Positions, Product, Qkv,
    Sum, Vocabulary, Width,
};
use super::families::{Attention, Family, Need, Step, Tensor, labels, layer};
use super::json::Node;
use super::names::matches;
use super::steps::{Numbers, before};
use crate::error::{Error, Result, Shown};
use crate::model::layer::TOKEN_EMBEDDING;
use crate::safetensors::{Dtype, Extents};

/// A tensor of the model, as tables see it.
#[derive(Clone, Copy)]
pub(super) struct Listed<'a> {
    pub(super) name: &'a str,
    pub(super) dtype: Dtype,
    /// Outermost extent first.
    pub(super) shape: &'a [u64],
    /// Its place, where it is one of a stack.
    pub(super) member: Option<u64>,
    /// What is done to it.
    pub(super) steps: &'static [Step],
}

/// The configuration's numbers.
impl Numbers for Node<'_> {
    fn of(&self, key: &str) -> Result<u64> {
        self.required(key)?.u32().map(u64::from)
    }
}

/// The tensors that a checkpoint gives a GGUF.
pub(super) struct Present<'a> {
    /// By their names in the GGUF.
    pub(super) tensors: BTreeMap<String, Vec<Listed<'a>>>,
    /// Names that the family's table gives to tensors for which the user has another or none: they are not missed.
    pub(super) taken: BTreeSet<String>,
}

impl Present<'_> {
    /// The rows of the token embedding, and what it is called in the checkpoint.
    pub(super) fn vocabulary(&self) -> Option<(u64, &str)> {
        let tokens = self.tensors.get(TOKEN_EMBEDDING)?.first()?;
        Some((*tokens.shape.first()?, tokens.name))
    }
}

impl Family {
    /// Refuses a checkpoint without a tensor that the family has, or with one of another type or shape.
    pub(super) fn check(&self, config: &Node<'_>, class: Option<&str>, present: &Present<'_>) -> Result<()> {
        self.check_numbers(config)?;
        let sizes = Sizes::read(self, config, present)?;
        if let Some((0, name)) = present.vocabulary() {
            return Err(Error::write(format!(
                "tensor '{}' has no rows, and a model has tokens",
                Shown(name)
            )));
        }
        let count = sizes.layers(config, present)?;
        let tied = self.tied(config, class)?;
        let hf_name = |gguf_name: &str| self.to_hf(gguf_name).unwrap_or_else(|| gguf_name.to_owned());
        let check = |name: &str, extents: &[Extent], need: Need| {
            match present.tensors.get(name) {
            Some(listed) => sizes.check_all(config, listed, extents),
            None if need == Need::Optional || present.taken.contains(name) => Ok(()),
            None if need == Need::UnlessTied => match tied {
                Tied::Yes => Ok(()),
                Tied::No(key) => Err(config.about(&format!(
                    "tensor '{}' is missing, and {key}: without it the model would answer with its token embedding. Set \
                     'tie_word_embeddings' to true where that is meant, or get the file that has the tensor",
                    hf_name(name)
                ))),
            },
            None => Err(Error::Safetensors {
                file: None,
                offset: None,
                message: format!(
                    "tensor '{}' is missing, which every {} model has: the download or the save is not complete",
                    hf_name(name),
                    self.architecture
                ),
            }),
        }
        };
        let (of_layers, others): (Vec<&Tensor>, Vec<&Tensor>) =
            self.all().partition(|tensor| tensor.gguf.starts_with("blk."));
        // A tensor that comes in several forms is missed once.
        let mut seen = BTreeSet::new();
        let mut is_new = |tensor: &&Tensor| seen.insert(tensor.gguf);
        let of_layers: Vec<&Tensor> = of_layers.into_iter().filter(&mut is_new).collect();
        for tensor in others.into_iter().filter(&mut is_new) {
            check(tensor.gguf, tensor.extents, tensor.need)?;
        }
        // No more than there are tensors: each layer has one.
        for layer in 0..count {
            let is_sparse = is_sparse(config, layer)?;
            for tensor in &of_layers {
                let need = match tensor.need {
                    Need::AfterFirst if layer == 0 => Need::Optional,
                    Need::InDense if is_sparse => Need::Optional,
                    Need::InSparse if !is_sparse => Need::Optional,
                    need => need,
                };
                check(&tensor.gguf.replace("{}", &layer.to_string()), tensor.extents, need)?;
            }
        }
        Ok(())
    }

    /// Whether a model of this configuration has its token embedding for a head.
    pub(super) fn is_tied_by(&self, config: &Node<'_>, class: Option<&str>) -> Result<bool> {
        Ok(matches!(self.tied(config, class)?, Tied::Yes))
    }

    /// The extents of a tensor of the GGUF, outermost first, as far as the configuration tells them.
    pub(super) fn extents_of(&self, config: &Node<'_>, gguf_name: &str) -> Result<Vec<Option<u64>>> {
        let sizes = Sizes::read(self, config, &Present { tensors: BTreeMap::new(), taken: BTreeSet::new() })?;
        let tensor = self.all().find(|tensor| matches(tensor.gguf, gguf_name).is_some());
        let extents = tensor.map_or(&[][..], |tensor| tensor.extents);
        Ok(extents.iter().map(|extent| sizes.of(*extent)).collect())
    }

    fn tied(&self, config: &Node<'_>, class: Option<&str>) -> Result<Tied> {
        // Classes without a head are embedding models, and llama.cpp takes the embedding for the head that they lack.
        let is_bare = class.is_some_and(|class| class.ends_with("Model") || tells_classes_apart(class));
        Ok(match config.get("tie_word_embeddings") {
            Some(tied) if tied.bool()? => Tied::Yes,
            _ if is_bare => Tied::Yes,
            Some(_) => Tied::No("'tie_word_embeddings' is false"),
            None if self.is_tied => Tied::Yes,
            None => Tied::No("there is no 'tie_word_embeddings', which is false by default"),
        })
    }
}

/// Whether a layer has experts, where a family has them in some layers only.
fn is_sparse(config: &Node<'_>, layer: u32) -> Result<bool> {
    let first = config.get("first_k_dense_replace").map(|first| first.u32()).transpose()?;
    Ok(first.is_none_or(|first| layer >= first))
}

/// Whether the token embedding is the head's matrix, or why not.
enum Tied {
    Yes,
    No(&'static str),
}

/// What `config.json` says of shapes.
struct Sizes {
    vocabulary: Option<u64>,
    width: u64,
    feed_forward: u64,
    heads: u64,
    kv_heads: u64,
    head_dim: u64,
    /// Whether `config.json` gives it itself.
    has_head_dim: bool,
    /// Behind that of padding.
    positions: u64,
    /// Where the class has a head that tells them apart.
    classes: Option<u64>,
    /// Other numbers, by their keys.
    of: BTreeMap<&'static str, u64>,
}

impl Sizes {
    fn read(family: &Family, config: &Node<'_>, present: &Present<'_>) -> Result<Self> {
        let number = |key: &str| -> Result<u64> {
            let node = config.required(key)?;
            match node.u32()? {
                0 => Err(node.wrong("must not be 0")),
                number => Ok(number.into()),
            }
        };
        let optional = |key: &str| config.get(key).map(|_| number(key)).transpose();
        let (width, heads) = (number("hidden_size")?, number("num_attention_heads")?);
        let kv_heads = optional("num_key_value_heads")?.unwrap_or(heads);
        if family.attention != Attention::Shared && !heads.is_multiple_of(kv_heads) {
            return Err(config.about(&format!(
                "'num_attention_heads' is {heads}, which is no multiple of 'num_key_value_heads', {kv_heads}"
            )));
        }
        let head_dim = optional("head_dim")?.filter(|_| family.attention != Attention::Shared);
        if let Some(head_dim) =
            head_dim.filter(|dim| family.attention == Attention::GroupedAsWide && heads * dim != width)
        {
            return Err(config.about(&format!(
                "'head_dim' is {head_dim} and 'num_attention_heads' is {heads}, and llama.cpp loads a {} only where they make \
                 'hidden_size', {width}",
                family.architecture
            )));
        }
        let known = head_dim.or(family.head_dim.map(u64::from));
        if known.is_none() && !width.is_multiple_of(heads) {
            return Err(config.about(&format!(
                "'hidden_size' is {width}, which 'num_attention_heads', {heads}, does not divide, and there is no 'head_dim'"
            )));
        }
        // All have one, whether or not a tensor depends on it.
        let positions = number("max_position_embeddings")?;
        let padding = optional("pad_token_id").unwrap_or_default().unwrap_or(0);
        let mut of = BTreeMap::new();
        for tensor in family.all() {
            for extent in tensor.extents {
                let keys = match extent {
                    Of(key) => vec![*key],
                    Sum(left, right) | Product(left, right) => vec![*left, *right],
                    OfHeads(keys) => keys.to_vec(),
                    _ => Vec::new(),
                };
                // What only some models have is not asked of the others.
                for key in keys {
                    if tensor.need == Need::Always || config.get(key).is_some() {
                        of.insert(key, number(key)?);
                    }
                }
            }
        }
        Ok(Sizes {
            vocabulary: present.vocabulary().map(|(rows, _)| rows),
            width,
            feed_forward: number("intermediate_size")?,
            heads,
            kv_heads,
            head_dim: known.unwrap_or(width / heads),
            has_head_dim: head_dim.is_some(),
            classes: labels(config)?.map(|labels| labels.len() as u64),
            positions: positions.saturating_sub(padding.saturating_add(1)),
            of,
        })
    }

    /// The number of layers, which those that there are must be.
    fn layers(&self, config: &Node<'_>, present: &Present<'_>) -> Result<u32> {
        let node = config.required("num_hidden_layers")?;
        let count = node.u32()?;
        let mut found: BTreeSet<u32> = present.tensors.keys().filter_map(|name| layer(name)).collect();
        if let Some((name, tensor)) = present
            .tensors
            .iter()
            .find(|(name, _)| layer(name).is_some_and(|layer| layer >= count))
            .and_then(|(name, tensors)| Some((name, tensors.first()?)))
        {
            let last = found.last().copied().unwrap_or_default();
            return Err(node.wrong(&format!(
                "is {count}, and tensor '{}' is of layer {}: the tensors are of {} layers",
                Shown(tensor.name),
                layer(name).unwrap_or_default(),
                u64::from(last) + 1
            )));
        }
        found.extend(present.taken.iter().filter_map(|name| layer(name)));
        match (0..count).find(|layer| !found.contains(layer)) {
            Some(layer) => Err(node.wrong(&format!("is {count}, and layer {layer} has no tensors"))),
            None => Ok(count),
        }
    }

    fn of(&self, extent: Extent) -> Option<u64> {
        Some(match extent {
            Vocabulary => return self.vocabulary,
            Width => self.width,
            FeedForward => self.feed_forward,
            Heads => self.heads.saturating_mul(self.head_dim),
            KvHeads => self.kv_heads.saturating_mul(self.head_dim),
            Head => self.head_dim,
            Pairs => self.head_dim / 2,
            Qkv => (self.heads.saturating_add(self.kv_heads.saturating_mul(2))).saturating_mul(self.head_dim),
            Positions => self.positions,
            Classes => return self.classes,
            Sum(left, right) => self.of.get(left)?.saturating_add(*self.of.get(right)?),
            Product(left, right) => self.of.get(left)?.saturating_mul(*self.of.get(right)?),
            OfHeads(keys) => {
                let each = keys.iter().map(|key| self.of.get(key)).sum::<Option<u64>>()?;
                self.heads.saturating_mul(each)
            }
            GateUp => self.feed_forward.saturating_mul(2),
            Of(key) => return self.of.get(key).copied(),
        })
    }

    /// Checks a tensor, or all that are stacked to one.
    fn check_all(&self, config: &Node<'_>, listed: &[Listed<'_>], extents: &[Extent]) -> Result<()> {
        let Some(first) = listed.first() else { return Ok(()) };
        if first.member.is_none() {
            return listed.iter().try_for_each(|tensor| self.check(config, tensor, extents));
        }
        let (Some(&extent), Some(each)) = (extents.first(), extents.get(1..)) else { return Ok(()) };
        let count = self.of(extent).unwrap_or(listed.len() as u64);
        let found: BTreeSet<u64> = listed.iter().filter_map(|tensor| tensor.member).collect();
        let key = if let Of(key) = extent { key } else { "the configuration" };
        if let Some(tensor) = listed.iter().find(|tensor| tensor.member >= Some(count)) {
            return Err(config.about(&format!(
                "'{key}' is {count}, and tensor '{}' is of one more: where the tensors are right, change the configuration",
                Shown(tensor.name)
            )));
        }
        if let Some(missing) = (0..count).find(|member| !found.contains(member)) {
            return Err(config.about(&format!(
                "'{key}' is {count}, and the tensor of number {missing} beside '{}' is missing: the download or the save is \
                 not complete",
                Shown(first.name)
            )));
        }
        listed.iter().try_for_each(|tensor| self.check(config, tensor, each))
    }

    fn check(&self, config: &Node<'_>, tensor: &Listed<'_>, extents: &[Extent]) -> Result<()> {
        let (name, dtype, shape) = (Shown(tensor.name), tensor.dtype, tensor.shape);
        if !matches!(dtype, Dtype::F16 | Dtype::BF16 | Dtype::F32 | Dtype::F64) {
            return Err(Error::write(format!(
                "tensor '{name}' is {dtype}, and must be F16, BF16, F32 or F64: such values are no weights without what \
                     quantized them. Dequantize the model and save it in BF16"
            )));
        }
        let wanted: Vec<u64> = extents
            .iter()
            .enumerate()
            .map(|(at, extent)| self.of(*extent).unwrap_or_else(|| shape.get(at).copied().unwrap_or(1)))
            .collect();
        let is_changed = !tensor.steps.is_empty();
        let wanted = before(tensor.steps, &wanted, config)?;
        if shape == wanted {
            return Ok(());
        }
        let (found, asked) = (Extents(shape), Extents(&wanted));
        let same_len = shape.len() == wanted.len();
        let other = (0..wanted.len()).find(|&at| same_len && shape[at] != wanted[at]);
        let extent = |at: usize| Some((*extents.get(at)?, shape[at]));
        let why = match other.map(extent) {
            Some(None) => "it follows from config.json".to_owned(),
            Some(Some(_)) if is_changed && shape.len() != extents.len() => {
                "it follows from config.json".to_owned()
            }
            None => format!("it has {} dimensions", wanted.len()),
            Some(Some((Vocabulary, _))) => "as many rows as the token embedding".to_owned(),
            Some(Some((extent @ (Width | FeedForward | Of(_)), found))) => {
                let key = match extent {
                    Width => "hidden_size",
                    Of(key) => key,
                    _ => "intermediate_size",
                };
                let asked = self.of(extent).unwrap_or_default();
                format!("'{key}' is {asked}, and would have to be {found}")
            }
            Some(Some((extent, _))) => {
                let Sizes { heads, kv_heads, head_dim, width, .. } = self;
                let head = match self.has_head_dim {
                    true => format!("'head_dim' is {head_dim}"),
                    false if *head_dim != width / heads => {
                        format!("there is no 'head_dim', which is {head_dim} by default")
                    }
                    false => format!(
                        "a head has {head_dim} values ('hidden_size' {width} / 'num_attention_heads' {heads})"
                    ),
                };
                match extent {
                    Sum(left, right) | Product(left, right) => {
                        format!("it follows from '{left}' and '{right}'")
                    }
                    OfHeads(keys) => {
                        format!(
                            "'num_attention_heads' is {heads}, and a head has values of {}",
                            keys.join(" and ")
                        )
                    }
                    GateUp => format!("'intermediate_size' is {}", self.feed_forward),
                    Classes => format!(
                        "'id2label' names {} classes, or as many are the default",
                        self.classes.unwrap_or_default()
                    ),
                    Heads => format!("'num_attention_heads' is {heads}, and {head}"),
                    KvHeads | Qkv => format!(
                        "'num_key_value_heads' is {kv_heads}, 'num_attention_heads' is {heads}, and {head}"
                    ),
                    _ => head,
                }
            }
        };
        Err(config.about(&format!(
            "tensor '{name}' has the shape {found}, and must have {asked}: {why}. Where the tensors are right, change the configuration"
        )))
    }
}
