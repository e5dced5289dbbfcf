//! [`Family`]: architectures whose names and parameters are known in both worlds.

use super::description::Description;
use super::json::Node;
use super::names::NameMap;
use crate::error::Result;
use crate::model::Layer;
use crate::{GgmlType, Value};

/// Models whose tensors are called alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// Llama, and Mistral, which differs in parameters alone.
    Llama,
    /// As Llama, with biases and without llama.cpp's order of rows.
    Qwen2,
    /// As Qwen2, with norms of queries and keys instead of biases.
    Qwen3,
    /// As Llama, with layers that know no positions.
    SmolLm3,
    /// As Llama, with factors for what is added and multiplied.
    Granite,
    /// With biases everywhere, and two matrices in a feed-forward network.
    StarCoder2,
    Bert,
}

/// Beside those of Llama.
const QWEN3: &str = "
    model.layers.{}.self_attn.q_norm.*           blk.{}.attn_q_norm.*
    model.layers.{}.self_attn.k_norm.*           blk.{}.attn_k_norm.*
";

/// Before those of Llama.
const STARCODER2: &str = "
    model.layers.{}.mlp.c_fc.*                   blk.{}.ffn_up.*
    model.layers.{}.mlp.c_proj.*                 blk.{}.ffn_down.*
";

const LLAMA: &str = "
    model.embed_tokens.*                         token_embd.*
    model.norm.*                                 output_norm.*
    lm_head.*                                    output.*
    model.layers.{}.input_layernorm.*            blk.{}.attn_norm.*
    model.layers.{}.self_attn.q_proj.*           blk.{}.attn_q.*
    model.layers.{}.self_attn.k_proj.*           blk.{}.attn_k.*
    model.layers.{}.self_attn.v_proj.*           blk.{}.attn_v.*
    model.layers.{}.self_attn.o_proj.*           blk.{}.attn_output.*
    model.layers.{}.post_attention_layernorm.*   blk.{}.ffn_norm.*
    model.layers.{}.mlp.gate_proj.*              blk.{}.ffn_gate.*
    model.layers.{}.mlp.up_proj.*                blk.{}.ffn_up.*
    model.layers.{}.mlp.down_proj.*              blk.{}.ffn_down.*
    model.layers.{}.self_attn.rotary_emb.inv_freq  -
    model.layers.{}.self_attn.masked_bias        -
    model.rotary_emb.inv_freq                    -
    # Made from the configuration; a GGUF that became safetensors brings it along.
    rope_freqs.weight                            rope_freqs.weight
";

const BERT: &str = "
    embeddings.word_embeddings.*                 token_embd.*
    embeddings.position_embeddings.*             position_embd.*
    embeddings.token_type_embeddings.*           token_types.*
    embeddings.LayerNorm.*                       token_embd_norm.*
    encoder.layer.{}.attention.self.query.*      blk.{}.attn_q.*
    encoder.layer.{}.attention.self.key.*        blk.{}.attn_k.*
    encoder.layer.{}.attention.self.value.*      blk.{}.attn_v.*
    encoder.layer.{}.attention.output.dense.*    blk.{}.attn_output.*
    encoder.layer.{}.attention.output.LayerNorm.*  blk.{}.attn_output_norm.*
    encoder.layer.{}.intermediate.dense.*        blk.{}.ffn_up.*
    encoder.layer.{}.output.dense.*              blk.{}.ffn_down.*
    encoder.layer.{}.output.LayerNorm.*          blk.{}.layer_output_norm.*
    # Not needed for embeddings, or not at all.
    embeddings.position_ids                      -
    pooler.dense.*                               -
    cls.predictions.*                            -
    cls.seq_relationship.*                       -
";

impl Family {
    const ALL: [Self; 7] = [
        Family::Llama,
        Family::Qwen2,
        Family::Qwen3,
        Family::SmolLm3,
        Family::Granite,
        Family::StarCoder2,
        Family::Bert,
    ];

    /// By the class that `config.json` names.
    pub(super) fn of_class(class: &str) -> Option<Self> {
        Some(match class {
            "LlamaForCausalLM" | "LLaMAForCausalLM" | "LlamaModel" | "MistralForCausalLM" => Family::Llama,
            "Qwen2ForCausalLM" | "Qwen2Model" => Family::Qwen2,
            "Qwen3ForCausalLM" | "Qwen3Model" => Family::Qwen3,
            "SmolLM3ForCausalLM" | "SmolLM3Model" => Family::SmolLm3,
            "GraniteForCausalLM" | "GraniteModel" => Family::Granite,
            "Starcoder2ForCausalLM" | "Starcoder2Model" => Family::StarCoder2,
            "BertModel" | "BertForMaskedLM" => Family::Bert,
            _ => return None,
        })
    }

    /// By `general.architecture`.
    pub(super) fn of_architecture(architecture: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.architecture() == architecture)
    }

    /// The value of `general.architecture`, and the start of the keys of parameters.
    pub(super) fn architecture(self) -> &'static str {
        match self {
            Family::Llama => "llama",
            Family::Qwen2 => "qwen2",
            Family::Qwen3 => "qwen3",
            Family::SmolLm3 => "smollm3",
            Family::Granite => "granite",
            Family::StarCoder2 => "starcoder2",
            Family::Bert => "bert",
        }
    }

    /// The class whose tensors the names are those of.
    pub(super) fn class(self) -> &'static str {
        match self {
            Family::Llama => "LlamaForCausalLM",
            Family::Qwen2 => "Qwen2ForCausalLM",
            Family::Qwen3 => "Qwen3ForCausalLM",
            Family::SmolLm3 => "SmolLM3ForCausalLM",
            Family::Granite => "GraniteForCausalLM",
            Family::StarCoder2 => "Starcoder2ForCausalLM",
            Family::Bert => "BertModel",
        }
    }

    pub(super) fn names(self) -> NameMap {
        let texts: &[&str] = match self {
            Family::Llama | Family::Qwen2 | Family::SmolLm3 | Family::Granite => &[LLAMA],
            Family::Qwen3 => &[LLAMA, QWEN3],
            Family::StarCoder2 => &[STARCODER2, LLAMA],
            Family::Bert => &[BERT],
        };
        // Read by a test of this file.
        texts.concat().parse().unwrap_or_default()
    }

    /// The name as the table has it: models that are saved as part of another, or without it, have another start, and
    /// old BERTs other ends.
    pub(super) fn usual_name(self, name: &str) -> String {
        if self == Family::Bert {
            let name = name.strip_prefix("bert.").unwrap_or(name);
            let end = |old: &str, new: &str| name.strip_suffix(old).map(|start| format!("{start}{new}"));
            return end(".gamma", ".weight")
                .or_else(|| end(".beta", ".bias"))
                .unwrap_or_else(|| name.to_owned());
        }
        let bare = ["layers.", "embed_tokens.", "norm."].iter().any(|start| name.starts_with(start));
        if bare { format!("model.{name}") } else { name.to_owned() }
    }

    /// The number of heads by which the rows of this tensor of a GGUF are in another order than in safetensors.
    pub(super) fn rope_heads(self, gguf_name: &str, heads: u32, kv_heads: u32) -> Option<u32> {
        let part = gguf_name.strip_prefix("blk.")?.split_once('.')?.1;
        if !self.is_like_llama() {
            return None;
        }
        match part.split_once('.')? {
            ("attn_q", "weight" | "bias") => Some(heads),
            ("attn_k", "weight" | "bias") => Some(kv_heads),
            _ => None,
        }
    }

    /// The values of a head where `config.json` does not say, other than `hidden_size / num_attention_heads`: the class's default.
    pub(super) fn default_head_dim(self) -> Option<u32> {
        (self == Family::Qwen3).then_some(128)
    }

    /// Whether the head is the token embedding where `config.json` does not say: the class's default.
    pub(super) fn is_tied_by_default(self) -> bool {
        matches!(self, Family::SmolLm3 | Family::StarCoder2)
    }

    /// Whether llama.cpp's converter treats the family as Llama: its order of rows, and its keys.
    pub(super) fn is_like_llama(self) -> bool {
        matches!(self, Family::Llama | Family::SmolLm3 | Family::Granite)
    }

    /// Factors of the architecture: the key in GGUF, and the one in `config.json`.
    pub(super) fn factors(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Family::Granite => &[
                ("attention.scale", "attention_multiplier"),
                ("embedding_scale", "embedding_multiplier"),
                ("residual_scale", "residual_multiplier"),
                ("logit_scale", "logits_scaling"),
            ],
            _ => &[],
        }
    }

    /// Whether norms subtract the mean, as LayerNorm does and RMSNorm does not.
    fn has_layer_norms(self) -> bool {
        matches!(self, Family::StarCoder2 | Family::Bert)
    }

    /// Whether llama.cpp wants a tensor in single precision, whatever the others are.
    pub(super) fn wants_f32(self, gguf_name: &str, dims: usize) -> bool {
        let is_table = matches!(gguf_name, "position_embd.weight" | "token_types.weight");
        dims < 2 || is_table || gguf_name.ends_with("_norm.weight") || !gguf_name.ends_with(".weight")
    }

    /// The keys of the model's parameters, in llama.cpp's order; `file_type` goes where it has its place, and `rows` are those of the
    /// token embedding. What the keys cannot
    /// say is noted.
    pub(super) fn parameters(
        self,
        config: &Node<'_>,
        description: &Description,
        file_type: Option<u32>,
        rows: Option<u32>,
        notes: &mut Vec<String>,
    ) -> Result<Vec<(String, Value)>> {
        let mut keys = Keys { architecture: self.architecture(), pairs: Vec::new() };
        let heads = config.required("num_attention_heads")?;
        let width = config.required("hidden_size")?;
        keys.u32("block_count", config.required("num_hidden_layers")?.u32()?);
        for (key, names) in [
            ("context_length", &["max_position_embeddings"][..]),
            ("embedding_length", &["hidden_size"]),
            ("feed_forward_length", &["intermediate_size"]),
            ("attention.head_count", &["num_attention_heads"]),
            ("attention.head_count_kv", &["num_key_value_heads"]),
        ] {
            if let Some(value) = config.any(names) {
                keys.u32(key, value.u32()?);
            }
        }
        self.rope(config, &mut keys, notes)?;
        match config.any(&["rms_norm_eps", "norm_eps"]) {
            _ if self == Family::StarCoder2 => {}
            Some(epsilon) => keys.f32("attention.layer_norm_rms_epsilon", epsilon.f64()?),
            // What the class has where its configuration is silent; llama.cpp wants to be told.
            None if !self.has_layer_norms() => keys.f32("attention.layer_norm_rms_epsilon", 1e-6),
            None => {}
        }
        let epsilon = if self == Family::StarCoder2 { "norm_epsilon" } else { "layer_norm_eps" };
        match config.get(epsilon) {
            Some(epsilon) => keys.f32("attention.layer_norm_epsilon", epsilon.f64()?),
            None if self == Family::Bert => keys.f32("attention.layer_norm_epsilon", 1e-12),
            None if self == Family::StarCoder2 => keys.f32("attention.layer_norm_epsilon", 1e-5),
            None => {}
        }
        let head_dim = config.get("head_dim").map(|dim| dim.u32()).transpose()?;
        let per_head = width.u32()?.checked_div(heads.u32()?).ok_or_else(|| heads.wrong("must not be 0"))?;
        // Llama's class has a default for it, and llama.cpp's converter writes that.
        let by_default = self.default_head_dim().or((self == Family::Llama).then_some(per_head));
        if let Some(length) = head_dim.or(by_default) {
            keys.u32("attention.key_length", length);
            keys.u32("attention.value_length", length);
        }
        if let Some(file_type) = file_type {
            keys.pairs.push(("general.file_type".to_owned(), Value::U32(file_type)));
        }
        match self {
            Family::Llama | Family::SmolLm3 | Family::Granite => {
                let size = config.get("vocab_size").map(|size| size.u32()).transpose()?;
                if let Some(size) = size.or(rows) {
                    keys.u32("vocab_size", size);
                }
                keys.u32("rope.dimension_count", head_dim.unwrap_or(per_head));
            }
            Family::Qwen2 | Family::Qwen3 | Family::StarCoder2 => {}
            Family::Bert => keys.push("attention.causal", Value::Bool(false)),
        }
        for (key, name) in self.factors() {
            if let Some(factor) = config.get(name) {
                keys.f32(key, factor.f64()?);
            }
        }
        if self != Family::Llama
            && let Some(pooling) = &description.pooling
            && let Some(kind) = pooling_type(&pooling.root())?
        {
            keys.u32("pooling_type", kind);
        }
        Ok(keys.pairs)
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

fn pooling_type(pooling: &Node<'_>) -> Result<Option<u32>> {
    for (key, name, id) in [
        ("pooling_mode_mean_tokens", "mean", 1),
        ("pooling_mode_cls_token", "cls", 2),
        ("pooling_mode_lasttoken", "lasttoken", 3),
    ] {
        let named = pooling.get("pooling_mode").and_then(|mode| mode.value.as_str());
        if pooling.get(key).map(|mode| mode.bool()).transpose()?.unwrap_or(false) || named == Some(name) {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

/// Keys that begin with the architecture.
pub(super) struct Keys {
    architecture: &'static str,
    pairs: Vec<(String, Value)>,
}

impl Keys {
    pub(super) fn push(&mut self, key: &str, value: Value) {
        self.pairs.push((format!("{}.{key}", self.architecture), value));
    }

    pub(super) fn u32(&mut self, key: &str, value: u32) {
        self.push(key, Value::U32(value));
    }

    pub(super) fn f32(&mut self, key: &str, value: f64) {
        self.push(key, Value::F32(value as f32));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::hf::Renamed;

    #[test]
    fn the_tables_are_read_and_lead_back() {
        for (family, there, here) in [
            (Family::Llama, "model.layers.3.self_attn.q_proj.weight", "blk.3.attn_q.weight"),
            (Family::Qwen2, "lm_head.weight", "output.weight"),
            (Family::Qwen3, "model.layers.0.self_attn.q_norm.weight", "blk.0.attn_q_norm.weight"),
            (Family::SmolLm3, "model.layers.3.mlp.up_proj.weight", "blk.3.ffn_up.weight"),
            (Family::StarCoder2, "model.layers.3.mlp.c_fc.bias", "blk.3.ffn_up.bias"),
            (Family::Bert, "encoder.layer.11.output.LayerNorm.bias", "blk.11.layer_output_norm.bias"),
        ] {
            let names = family.names();
            assert_eq!(names.to_gguf(there), Some(Renamed::To(here.to_owned())));
            assert_eq!(names.to_hf(here).as_deref(), Some(there));
            assert_eq!(Family::of_class(family.class()), Some(family));
            assert_eq!(Family::of_architecture(family.architecture()), Some(family));
        }
        assert_eq!(Family::Bert.usual_name("bert.embeddings.LayerNorm.gamma"), "embeddings.LayerNorm.weight");
        assert_eq!(
            Family::Llama.usual_name("layers.0.mlp.up_proj.weight"),
            "model.layers.0.mlp.up_proj.weight"
        );
    }
}
