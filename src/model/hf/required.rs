//! What a model of a known family must have: each tensor, with a shape that follows from `config.json`.
//!
//! The tables say what llama.cpp demands when it loads a model, under the names that tensors have there. A checkpoint that does not
//! fit them is refused before anything is written.

use std::collections::{BTreeMap, BTreeSet};

use super::families::Extent::{self, FeedForward, Head, Heads, KvHeads, Of, Pairs, Vocabulary, Width};
use super::families::{Attention, Family, Need, Tensor, layer};
use super::json::Node;
use crate::error::{Error, Result, Shown};
use crate::safetensors::{Dtype, Extents};

const TOKENS: &str = "token_embd.weight";

/// A tensor of the model, as tables see it.
#[derive(Clone, Copy)]
pub(super) struct Listed<'a> {
    pub(super) name: &'a str,
    pub(super) dtype: Dtype,
    /// Outermost extent first.
    pub(super) shape: &'a [u64],
}

/// The tensors that a checkpoint gives a GGUF.
pub(super) struct Present<'a> {
    /// By their names in the GGUF.
    pub(super) tensors: BTreeMap<String, Listed<'a>>,
    /// Names that the family's table gives to tensors for which the user has another or none: they are not missed.
    pub(super) taken: BTreeSet<String>,
}

impl Present<'_> {
    /// The rows of the token embedding, and what it is called in the checkpoint.
    pub(super) fn vocabulary(&self) -> Option<(u64, &str)> {
        let tokens = self.tensors.get(TOKENS)?;
        Some((*tokens.shape.first()?, tokens.name))
    }
}

impl Family {
    /// Refuses a checkpoint without a tensor that the family has, or with one of another type or shape.
    pub(super) fn check(&self, config: &Node<'_>, class: Option<&str>, present: &Present<'_>) -> Result<()> {
        let sizes = Sizes::read(self, config, present)?;
        let count = sizes.layers(config, present)?;
        let tied = self.tied(config, class)?;
        let hf_name = |gguf_name: &str| self.to_hf(gguf_name).unwrap_or_else(|| gguf_name.to_owned());
        let check = |name: &str, extents: &[Extent], need: Need| {
            match present.tensors.get(name) {
            Some(tensor) => sizes.check(config, tensor, extents),
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
        for tensor in others {
            check(tensor.gguf, tensor.extents, tensor.need)?;
        }
        // No more than there are tensors: each layer has one.
        for layer in 0..count {
            for tensor in &of_layers {
                check(&tensor.gguf.replace("{}", &layer.to_string()), tensor.extents, tensor.need)?;
            }
        }
        Ok(())
    }

    fn tied(&self, config: &Node<'_>, class: Option<&str>) -> Result<Tied> {
        // Classes without a head are embedding models, and llama.cpp takes the embedding for the head that they lack.
        let is_bare = class.is_some_and(|class| class.ends_with("Model"));
        Ok(match config.get("tie_word_embeddings") {
            Some(tied) if tied.bool()? => Tied::Yes,
            _ if is_bare => Tied::Yes,
            Some(_) => Tied::No("'tie_word_embeddings' is false"),
            None if self.is_tied => Tied::Yes,
            None => Tied::No("there is no 'tie_word_embeddings', which is false by default"),
        })
    }
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
        // All decoders have one, whether or not a tensor depends on it.
        number("max_position_embeddings")?;
        let mut of = BTreeMap::new();
        for extent in family.all().flat_map(|tensor| tensor.extents) {
            if let Of(key) = extent {
                of.insert(*key, number(key)?);
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
            of,
        })
    }

    /// The number of layers, which those that there are must be.
    fn layers(&self, config: &Node<'_>, present: &Present<'_>) -> Result<u32> {
        let node = config.required("num_hidden_layers")?;
        let count = node.u32()?;
        let mut found: BTreeSet<u32> = present.tensors.keys().filter_map(|name| layer(name)).collect();
        if let Some((name, tensor)) =
            present.tensors.iter().find(|(name, _)| layer(name).is_some_and(|layer| layer >= count))
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
            Of(key) => return self.of.get(key).copied(),
        })
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
        if shape == wanted {
            return Ok(());
        }
        let (found, asked) = (Extents(shape), Extents(&wanted));
        let same_len = shape.len() == wanted.len();
        let other = (0..wanted.len()).find(|&at| same_len && shape[at] != wanted[at]);
        let why = match other.map(|at| (extents[at], shape[at])) {
            None => format!("it has {} dimensions", wanted.len()),
            Some((Vocabulary, _)) => "as many rows as the token embedding".to_owned(),
            Some((extent @ (Width | FeedForward | Of(_)), found)) => {
                let key = match extent {
                    Width => "hidden_size",
                    Of(key) => key,
                    _ => "intermediate_size",
                };
                let asked = self.of(extent).unwrap_or_default();
                format!("'{key}' is {asked}, and would have to be {found}")
            }
            Some((extent, _)) => {
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
                    Heads => format!("'num_attention_heads' is {heads}, and {head}"),
                    KvHeads => format!(
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
