//! [`Family`]: models whose names and parameters are known in both worlds, each as one table.
//!
//! A file here holds a family: its tensors, with their names, shapes and what is done to them; its keys in the order in which
//! llama.cpp's converter writes them; and what its class assumes where `config.json` is silent. What can be done to a tensor is
//! the vocabulary of [`Step`].

mod bert;
mod granite;
mod keys;
mod llama;
mod qwen2;
mod qwen3;
mod smollm3;
mod starcoder2;

pub(super) use keys::{Keys, Parameters};

use self::keys::Key;
use super::names::{Renamed, fill, matches};
use crate::GgmlType;
use crate::model::Layer;

/// How long one dimension of a tensor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// Rows of the token embedding, which the tensor itself decides.
    Vocabulary,
    /// `hidden_size`.
    Width,
    /// `intermediate_size`.
    FeedForward,
    /// `num_attention_heads` of `head_dim` values.
    Heads,
    /// `num_key_value_heads` of `head_dim` values.
    KvHeads,
    /// `head_dim`.
    Head,
    /// Half of `head_dim`.
    Pairs,
    /// Any other number of `config.json`, by its key.
    Of(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Always,
    Optional,
    /// Unless the token embedding takes its place.
    UnlessTied,
}

/// Whose heads the rows of a tensor are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeadsOf {
    Queries,
    Keys,
}

/// Something that is done to a tensor on its way into a GGUF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The rows of each head in llama.cpp's order of rotary pairs.
    RotaryRows(HeadsOf),
}

/// A tensor of a family, or several of one kind: `{}` in its names is a layer.
#[derive(Debug)]
pub(super) struct Tensor {
    /// Its name in safetensors.
    pub(super) hf: &'static str,
    /// Its name in GGUF.
    pub(super) gguf: &'static str,
    /// Its extents in GGUF, outermost first.
    pub(super) extents: &'static [Extent],
    pub(super) need: Need,
    pub(super) steps: &'static [Step],
}

/// A tensor that every model has, as it is.
const fn tensor(hf: &'static str, gguf: &'static str, extents: &'static [Extent]) -> Tensor {
    Tensor { hf, gguf, extents, need: Need::Always, steps: &[] }
}

impl Tensor {
    const fn optional(self) -> Self {
        Tensor { need: Need::Optional, ..self }
    }

    const fn unless_tied(self) -> Self {
        Tensor { need: Need::UnlessTied, ..self }
    }

    const fn with(self, steps: &'static [Step]) -> Self {
        Tensor { steps, ..self }
    }
}

/// Models whose tensors are called alike.
#[derive(Debug)]
pub(super) struct Family {
    /// The value of `general.architecture`, and the start of the keys of parameters.
    pub(super) architecture: &'static str,
    /// `model_type` of `config.json`.
    pub(super) model_type: &'static str,
    /// Those that `config.json` names; the names of tensors are those of the first.
    pub(super) classes: &'static [&'static str],
    pub(super) tensors: &'static [&'static [Tensor]],
    /// Patterns of names in safetensors that have no place in GGUF.
    pub(super) left_out: &'static [&'static str],
    /// Starts of names in models that are saved as part of another, or without it, and what they are here.
    pub(super) starts: &'static [(&'static str, &'static str)],
    /// Ends that old models have, and what they are here.
    pub(super) ends: &'static [(&'static str, &'static str)],
    /// The keys of parameters, in llama.cpp's order.
    pub(super) keys: &'static [&'static [Key]],
    /// Values of a head where `config.json` does not say, other than `hidden_size / num_attention_heads`: the class's default.
    pub(super) head_dim: Option<u32>,
    /// Whether the head is the token embedding where `config.json` does not say: the class's default.
    pub(super) is_tied: bool,
    pub(super) attention: Attention,
    /// The name that llama.cpp has in this family for the rules of a pre-tokenizer, by the usual name.
    pub(super) pre_tokenizers: &'static [(&'static str, &'static str)],
    /// Whether the converter asks the tokenizer for `add_prefix_space`.
    pub(super) has_prefix_space: bool,
    /// Whether the scaling of Llama 3.1 becomes a tensor of factors.
    pub(super) has_rope_factors: bool,
    /// What `config.json` of a model that is exported says, beside what every decoder has.
    pub(super) exported: Exported,
}

/// How heads of attention may be in number and size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attention {
    /// Heads of any size, those of keys and values a divisor of those of queries.
    Grouped,
    /// As grouped; all heads together are as wide as the model.
    GroupedAsWide,
    /// As many heads of each, which share the width.
    Shared,
}

/// What an exported `config.json` has of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exported {
    /// Of a decoder with this activation, whose epsilon is called so, and under this key in GGUF.
    Decoder {
        activation: &'static str,
        epsilon: (&'static str, &'static str),
        /// Names of flags, with the ends of tensors that are there where they are true.
        biases: &'static [(&'static str, &'static str)],
    },
    Bert,
}

/// Flags without which Llama's class and its like leave out the biases that the files have.
const BIASES: &[(&str, &str)] =
    &[("attention_bias", "self_attn.q_proj.bias"), ("mlp_bias", "mlp.up_proj.bias")];

/// What decoders have in common where nothing else is said, to be taken over with `..DECODER`.
const DECODER: Family = Family {
    architecture: "",
    model_type: "",
    classes: &[],
    tensors: &[],
    left_out: &[
        "model.layers.{}.self_attn.rotary_emb.inv_freq",
        "model.layers.{}.self_attn.masked_bias",
        "model.rotary_emb.inv_freq",
    ],
    starts: &[
        ("layers.", "model.layers."),
        ("embed_tokens.", "model.embed_tokens."),
        ("norm.", "model.norm."),
    ],
    ends: &[],
    keys: &[keys::TRANSFORMER, keys::DECODER, keys::HEADS, keys::FILE_TYPE, keys::POOLING],
    head_dim: None,
    is_tied: false,
    attention: Attention::Grouped,
    pre_tokenizers: &[],
    has_prefix_space: false,
    has_rope_factors: false,
    exported: Exported::Decoder {
        activation: "silu",
        epsilon: ("rms_norm_eps", "attention.layer_norm_rms_epsilon"),
        biases: &[],
    },
};

const ALL: &[&Family] = &[
    &llama::LLAMA,
    &qwen2::QWEN2,
    &qwen3::QWEN3,
    &smollm3::SMOLLM3,
    &granite::GRANITE,
    &starcoder2::STARCODER2,
    &bert::BERT,
];

impl Family {
    /// By the class that `config.json` names.
    pub(super) fn of_class(class: &str) -> Option<&'static Self> {
        ALL.iter().copied().find(|family| family.classes.contains(&class))
    }

    /// By `general.architecture`.
    pub(super) fn of_architecture(architecture: &str) -> Option<&'static Self> {
        ALL.iter().copied().find(|family| family.architecture == architecture)
    }

    /// The class whose tensors the names are those of.
    pub(super) fn class(&self) -> &'static str {
        self.classes.first().copied().unwrap_or_default()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &'static Tensor> + use<> {
        self.tensors.iter().copied().flatten()
    }

    /// What becomes of a tensor of the family; `None` where it has none of this name.
    pub(super) fn to_gguf(&self, hf_name: &str) -> Option<Renamed> {
        if self.left_out.iter().any(|pattern| matches(pattern, hf_name).is_some()) {
            return Some(Renamed::LeftOut);
        }
        self.all().find_map(|tensor| Some(Renamed::To(fill(tensor.gguf, &matches(tensor.hf, hf_name)?))))
    }

    /// The name in safetensors of a tensor of a GGUF.
    pub(super) fn to_hf(&self, gguf_name: &str) -> Option<String> {
        self.all().find_map(|tensor| Some(fill(tensor.hf, &matches(tensor.gguf, gguf_name)?)))
    }

    /// The name as the table has it: models that are saved as part of another, or without it, have another start, and
    /// old ones other ends.
    pub(super) fn usual_name(&self, name: &str) -> String {
        let started = |(old, new): &(&str, &str)| Some(format!("{new}{}", name.strip_prefix(old)?));
        let name = self.starts.iter().find_map(started).unwrap_or_else(|| name.to_owned());
        let ended = |(old, new): &(&str, &str)| Some(format!("{}{new}", name.strip_suffix(old)?));
        self.ends.iter().find_map(ended).unwrap_or(name)
    }

    /// The number of heads by which the rows of this tensor of a GGUF are in another order than in safetensors.
    pub(super) fn rope_heads(&self, gguf_name: &str, heads: u32, kv_heads: u32) -> Option<u32> {
        let tensor = self.all().find(|tensor| matches(tensor.gguf, gguf_name).is_some())?;
        tensor.steps.first().map(|step| match step {
            Step::RotaryRows(HeadsOf::Queries) => heads,
            Step::RotaryRows(HeadsOf::Keys) => kv_heads,
        })
    }

    /// Whether llama.cpp wants a tensor in single precision, whatever the others are.
    pub(super) fn wants_f32(&self, gguf_name: &str, dims: usize) -> bool {
        let is_table = matches!(gguf_name, "position_embd.weight" | "token_types.weight");
        dims < 2 || is_table || gguf_name.ends_with("_norm.weight") || !gguf_name.ends_with(".weight")
    }
}

/// The layer that a tensor of this name in a GGUF belongs to.
pub(super) fn layer(gguf_name: &str) -> Option<u32> {
    Layer::split(gguf_name).0.filter(|layer| layer.part().is_empty()).map(|layer| layer.index())
}

/// What `general.file_type` says of a model whose matrices are mostly of this type.
pub(super) fn file_type_of(ty: GgmlType) -> Option<u32> {
    crate::model::FileType::mostly(ty).map(crate::model::FileType::id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_there_and_back() {
        for (family, there, here) in [
            (&llama::LLAMA, "model.layers.3.self_attn.q_proj.weight", "blk.3.attn_q.weight"),
            (&qwen2::QWEN2, "lm_head.weight", "output.weight"),
            (&qwen3::QWEN3, "model.layers.0.self_attn.q_norm.weight", "blk.0.attn_q_norm.weight"),
            (&smollm3::SMOLLM3, "model.layers.3.mlp.up_proj.weight", "blk.3.ffn_up.weight"),
            (&starcoder2::STARCODER2, "model.layers.3.mlp.c_fc.bias", "blk.3.ffn_up.bias"),
            (&bert::BERT, "encoder.layer.11.output.LayerNorm.bias", "blk.11.layer_output_norm.bias"),
        ] {
            assert_eq!(family.to_gguf(there), Some(Renamed::To(here.to_owned())));
            assert_eq!(family.to_hf(here).as_deref(), Some(there));
        }
        assert_eq!(bert::BERT.usual_name("bert.embeddings.LayerNorm.gamma"), "embeddings.LayerNorm.weight");
        assert_eq!(
            llama::LLAMA.usual_name("layers.0.mlp.up_proj.weight"),
            "model.layers.0.mlp.up_proj.weight"
        );
    }

    #[test]
    fn tables_are_whole() {
        for family in ALL {
            for class in family.classes {
                assert!(std::ptr::eq(Family::of_class(class).unwrap(), *family), "{class}");
            }
            for tensor in family.all() {
                let layers = |name: &str| name.matches("{}").count();
                assert_eq!(layers(tensor.hf), layers(tensor.gguf), "{}", tensor.hf);
                assert!(!tensor.extents.is_empty(), "{}", tensor.hf);
            }
        }
    }
}
