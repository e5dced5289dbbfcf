//! [`Family`]: models whose names and parameters are known in both worlds, each as one table.
//!
//! A file here holds a family: its tensors, with their names, shapes and what is done to them; its keys in the order in which
//! llama.cpp's converter writes them; and what its class assumes where `config.json` is silent. What can be done to a tensor is
//! the vocabulary of [`Step`].

mod activation;
mod back;
mod bert;
mod deepseek2;
mod fixed;
mod gemma;
mod gpt_oss;
mod granite;
mod keys;
mod llama;
mod mistral3;
mod mixtral;
mod modern_bert;
mod numbers;
mod phi3;
mod qwen2;
mod qwen3;
mod qwen_moe;
mod smollm3;
mod starcoder2;
mod tensor;

pub(super) use activation::Activation;
pub(super) use back::{Back, Origins, Turn, Turns};
pub(super) use keys::{Keys, Parameters, labels};
pub(super) use tensor::{Extent, Need, Step, Tensor};

use self::fixed::Fixed;
use self::keys::Key;
use self::tensor::tensor;
use super::names::{fill, fill_some, matches};
use crate::ggml_type::GgmlType;
use crate::model::layer::Layer;

/// What becomes of a tensor of a checkpoint.
#[derive(Debug, PartialEq)]
pub(super) enum Fate {
    LeftOut,
    To(Vec<Target>),
}

/// A tensor of a GGUF that one of a checkpoint becomes, or becomes a part of.
#[derive(Debug, PartialEq)]
pub(super) struct Target {
    pub(super) name: String,
    /// Its place, where it is one of those that are stacked.
    pub(super) member: Option<u64>,
    pub(super) steps: &'static [Step],
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
    /// Keys of the architecture, whole keys, or names of tensors in either form, of which only these models of it have one.
    pub(super) marks: &'static [&'static str],
    /// What becomes of these models with a head that tells classes apart.
    pub(super) classifier: Option<Classifier>,
    /// What the class has where `config.json` is silent, or the part of it that is about text.
    pub(super) defaults: &'static [(&'static str, Default)],
    /// The keys that come right behind the architecture.
    pub(super) first_keys: &'static [Key],
    /// What the converter says of a space before a text, whatever the tokenizer says.
    pub(super) adds_space_prefix: Option<bool>,
    /// Whether codes of 4 bits stay what they are where matrices become floats of 16 bits.
    pub(super) keeps_codes: bool,
    /// Whether layers beyond `num_hidden_layers` are left out.
    pub(super) drops_later_layers: bool,
    /// The keys of parameters, in llama.cpp's order.
    pub(super) keys: &'static [&'static [Key]],
    /// Values of a head where `config.json` does not say, other than `hidden_size / num_attention_heads`: the class's default.
    pub(super) head_dim: Option<u32>,
    /// Whether the head is the token embedding where `config.json` does not say: the class's default.
    pub(super) is_tied: bool,
    /// Whether a head that the files have is left out where it is the token embedding.
    pub(super) drops_tied_head: bool,
    pub(super) attention: Attention,
    /// The name that llama.cpp has in this family for the rules of a pre-tokenizer, by the usual name.
    pub(super) pre_tokenizers: &'static [(&'static str, &'static str)],
    /// Whether the converter asks the tokenizer for `add_prefix_space`.
    pub(super) has_prefix_space: bool,
    /// What llama.cpp computes between the matrices of a feed-forward network, and of a head.
    pub(super) activations: &'static [Activation],
    /// What else of `config.json` must be as llama.cpp has it.
    pub(super) fixed: &'static [Fixed],
    /// What llama.cpp reads of the scaling `yarn`, beside its factor.
    pub(super) yarn: Yarn,
    /// Scaling that becomes tensors of factors.
    pub(super) factors: Option<Factors>,
    /// What `config.json` of a model that is exported says, beside what every decoder has.
    pub(super) exported: Exported,
}

/// A class with a head that tells classes apart, in which the model is a part.
#[derive(Debug, Clone, Copy)]
pub(super) struct Classifier {
    pub(super) class: &'static str,
    /// What the names of the model's tensors begin with there.
    pub(super) start: &'static str,
    /// What those of the head begin with.
    pub(super) head: &'static [&'static str],
    /// The tensors of a GGUF that the head consists of.
    pub(super) needs: &'static [&'static str],
}

impl Classifier {
    /// The name of a tensor in the class.
    pub(super) fn named(&self, name: &str) -> String {
        if self.is_head(name) { name.to_owned() } else { format!("{}{name}", self.start) }
    }

    /// The name in the table, where this is one of the class.
    pub(super) fn bare<'n>(&self, name: &'n str) -> Option<&'n str> {
        if self.is_head(name) { Some(name) } else { name.strip_prefix(self.start) }
    }

    fn is_head(&self, name: &str) -> bool {
        self.head.iter().any(|start| name.starts_with(start))
    }
}

/// A default of a class.
#[derive(Debug, Clone, Copy)]
pub(super) enum Default {
    U32(u32),
    F64(f64),
    Flag(bool),
    Text(&'static str),
    /// What another key says, where it is there: newer versions of the class have it under that name.
    Of(&'static str),
}

/// Scaling of rotary embeddings that becomes tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Factors {
    /// Of Llama 3.1.
    Llama3,
    /// For short texts and for long ones.
    LongRope,
}

/// What llama.cpp reads of the scaling `yarn` in models of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Yarn {
    /// Its factor.
    Plain,
    /// And `mscale_all_dim`, of which it takes `mscale` to be the same.
    WithScales,
    /// And `mscale_all_dim`, with an `mscale` of 1, and between which pairs turning slows.
    WithRamp,
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
    /// Of a decoder whose epsilon is called so, and under this key in GGUF.
    Decoder {
        epsilon: (&'static str, &'static str),
        /// Names of flags, with the ends of tensors that are there where they are true.
        biases: &'static [(&'static str, &'static str)],
        others: &'static [(&'static str, Other)],
    },
    Bert,
    ModernBert,
}

/// What an exported `config.json` says that no key of a GGUF does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Other {
    /// No value, where the class's default is one of a larger model.
    Null,
    /// Where YaRN scales pairs in part, it does so between pairs that are counted in fractions, as the models were trained. llama.cpp
    /// rounds their numbers.
    UntruncatedYarn,
    /// How the queries of Ministral grow, if they do, which newer versions of the library say of rotary embeddings.
    GrowingQueries,
    /// The sizes of DeepSeek's heads, and how its experts are chosen.
    CompressedContext,
    /// What products of queries and keys are multiplied by: where no key says, one by the root of a head's length.
    RootOfHead,
    /// What queries are divided by the root of, as llama.cpp has it: the values of a head, or in the largest Gemmas what heads share.
    QueryScale,
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
    drops_tied_head: false,
    attention: Attention::Grouped,
    pre_tokenizers: &[],
    has_prefix_space: false,
    activations: &[Activation::SILU],
    fixed: &[],
    yarn: Yarn::Plain,
    factors: None,
    first_keys: &[],
    defaults: &[],
    marks: &[],
    classifier: None,
    adds_space_prefix: None,
    keeps_codes: false,
    drops_later_layers: false,
    exported: Exported::Decoder {
        epsilon: ("rms_norm_eps", "attention.layer_norm_rms_epsilon"),
        biases: &[],
        others: &[],
    },
};

const ALL: &[&Family] = &[
    &llama::LLAMA,
    &llama::MISTRAL,
    &qwen2::QWEN2,
    &qwen3::QWEN3,
    &smollm3::SMOLLM3,
    &granite::GRANITE,
    &starcoder2::STARCODER2,
    &bert::BERT,
    &qwen_moe::QWEN2_MOE,
    &qwen_moe::QWEN3_MOE,
    &mixtral::MIXTRAL,
    &gemma::GEMMA2,
    &gemma::GEMMA3,
    &phi3::PHI3,
    &gpt_oss::GPT_OSS,
    &modern_bert::MODERN_BERT,
    &modern_bert::MODERN_BERT_CLASSIFIER,
    &mistral3::MISTRAL3,
    &bert::XLM_ROBERTA,
    &bert::BERT_CLASSIFIER,
    &deepseek2::DEEPSEEK2,
    &deepseek2::DEEPSEEK3,
];

impl Family {
    /// By the class that `config.json` names.
    pub(super) fn of_class(class: &str) -> Option<&'static Self> {
        ALL.iter().copied().find(|family| family.classes.contains(&class))
    }

    /// By `general.architecture`, and what keys and tensors there are.
    pub(super) fn of_architecture(architecture: &str, has: impl Fn(&str) -> bool) -> Option<&'static Self> {
        let mut all = ALL.iter().copied().filter(|family| family.architecture == architecture);
        let is_marked = |family: &&Self| {
            family.marks.iter().any(|mark| has(mark) || has(&format!("{architecture}.{mark}")))
        };
        all.clone().find(is_marked).or_else(|| all.find(|family| family.marks.is_empty()))
    }

    /// The class whose tensors the names are those of.
    pub(super) fn class(&self) -> &'static str {
        self.classes.first().copied().unwrap_or_default()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &'static Tensor> + use<> {
        self.tensors.iter().copied().flatten()
    }

    /// What becomes of a tensor of the family; `None` where it has none of this name.
    pub(super) fn fate(&self, hf_name: &str, is_quantized: bool) -> Option<Fate> {
        if self.left_out.iter().any(|pattern| matches(pattern, hf_name).is_some()) {
            return Some(Fate::LeftOut);
        }
        let target = |tensor: &'static Tensor| {
            if tensor.is_quantized.is_some_and(|is| is != is_quantized) {
                return None;
            }
            let parts = matches(tensor.hf, hf_name)?;
            let member = match tensor.is_stack() {
                true => Some(parts.last()?.parse().ok()?),
                false => None,
            };
            Some(Target { name: fill(tensor.gguf, &parts), member, steps: tensor.steps })
        };
        let targets: Vec<Target> = self.all().filter_map(target).collect();
        (!targets.is_empty()).then_some(Fate::To(targets))
    }

    /// The class that a model with these tensors of a GGUF is one of, where it has a whole head.
    pub(super) fn classifier(&self, has: impl Fn(&Classifier, &str) -> bool) -> Option<Classifier> {
        self.classifier.filter(|classifier| classifier.needs.iter().all(|tensor| has(classifier, tensor)))
    }

    /// The name that messages have for a tensor of a GGUF.
    pub(super) fn to_hf(&self, gguf_name: &str) -> Option<String> {
        self.all().find_map(|tensor| Some(fill_some(tensor.hf, &matches(tensor.gguf, gguf_name)?)))
    }

    /// What is done to a tensor to which the user gives a name of the family.
    pub(super) fn steps_of(&self, gguf_name: &str) -> &'static [Step] {
        self.reversible(gguf_name)
            .filter(|(tensor, _)| !tensor.is_stack())
            .map_or(&[], |(tensor, _)| tensor.steps)
    }

    /// The name as the table has it: models that are saved as part of another, or without it, have another start, and
    /// old ones other ends.
    pub(super) fn usual_name(&self, name: &str) -> String {
        let started = |(old, new): &(&str, &str)| Some(format!("{new}{}", name.strip_prefix(old)?));
        let name = self.starts.iter().find_map(started).unwrap_or_else(|| name.to_owned());
        let ended = |(old, new): &(&str, &str)| Some(format!("{}{new}", name.strip_suffix(old)?));
        self.ends.iter().find_map(ended).unwrap_or(name)
    }

    /// Whether llama.cpp wants a tensor in single precision, whatever the others are.
    pub(super) fn wants_f32(&self, gguf_name: &str, dims: usize) -> bool {
        let is_table = matches!(gguf_name, "position_embd.weight" | "token_types.weight");
        dims < 2
            || is_table
            || gguf_name.ends_with("_norm.weight")
            || gguf_name.contains("ffn_gate_inp")
            || !gguf_name.ends_with(".weight")
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
            let Some(Fate::To(targets)) = family.fate(there, false) else { panic!("{there}") };
            assert_eq!((targets.len(), targets[0].name.as_str()), (1, here));
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
            let has_windows = family.fixed.iter().any(|fixed| matches!(fixed, Fixed::Windows));
            assert_eq!(has_windows, crate::model::windows::period(family.architecture).is_some());
            for class in family.classes {
                assert_eq!(Family::of_class(class).unwrap().classes, family.classes, "{class}");
            }
            for tensor in family.all() {
                let layers = |name: &str| name.matches("{}").count();
                let more = layers(tensor.hf) - layers(tensor.gguf);
                assert!(more == usize::from(tensor.is_stack()), "{}", tensor.hf);
                assert!(!tensor.extents.is_empty(), "{}", tensor.hf);
            }
        }
    }
}
