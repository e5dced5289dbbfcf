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
    Bert,
}

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
    /// By the class that `config.json` names.
    pub(super) fn of_class(class: &str) -> Option<Self> {
        Some(match class {
            "LlamaForCausalLM" | "LLaMAForCausalLM" | "LlamaModel" | "MistralForCausalLM" => Family::Llama,
            "Qwen2ForCausalLM" | "Qwen2Model" => Family::Qwen2,
            "BertModel" | "BertForMaskedLM" => Family::Bert,
            _ => return None,
        })
    }

    /// By `general.architecture`.
    pub(super) fn of_architecture(architecture: &str) -> Option<Self> {
        [Family::Llama, Family::Qwen2, Family::Bert]
            .into_iter()
            .find(|family| family.architecture() == architecture)
    }

    /// The value of `general.architecture`, and the start of the keys of parameters.
    pub(super) fn architecture(self) -> &'static str {
        match self {
            Family::Llama => "llama",
            Family::Qwen2 => "qwen2",
            Family::Bert => "bert",
        }
    }

    /// The class whose tensors the names are those of.
    pub(super) fn class(self) -> &'static str {
        match self {
            Family::Llama => "LlamaForCausalLM",
            Family::Qwen2 => "Qwen2ForCausalLM",
            Family::Bert => "BertModel",
        }
    }

    pub(super) fn names(self) -> NameMap {
        let text = match self {
            Family::Llama | Family::Qwen2 => LLAMA,
            Family::Bert => BERT,
        };
        // Read by a test of this file.
        text.parse().unwrap_or_default()
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
        match (self, part.split_once('.')?) {
            (Family::Llama, ("attn_q", "weight" | "bias")) => Some(heads),
            (Family::Llama, ("attn_k", "weight" | "bias")) => Some(kv_heads),
            _ => None,
        }
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
            Some(epsilon) => keys.f32("attention.layer_norm_rms_epsilon", epsilon.f64()?),
            // What the class has where its configuration is silent; llama.cpp wants to be told.
            None if self != Family::Bert => keys.f32("attention.layer_norm_rms_epsilon", 1e-6),
            None => {}
        }
        match config.get("layer_norm_eps") {
            Some(epsilon) => keys.f32("attention.layer_norm_epsilon", epsilon.f64()?),
            None if self == Family::Bert => keys.f32("attention.layer_norm_epsilon", 1e-12),
            None => {}
        }
        let head_dim = config.get("head_dim").map(|dim| dim.u32()).transpose()?;
        let per_head = width.u32()?.checked_div(heads.u32()?).ok_or_else(|| heads.wrong("must not be 0"))?;
        // Llama's class has a default for it, and llama.cpp's converter writes that.
        if let Some(length) = head_dim.or((self == Family::Llama).then_some(per_head)) {
            keys.u32("attention.key_length", length);
            keys.u32("attention.value_length", length);
        }
        if let Some(file_type) = file_type {
            keys.pairs.push(("general.file_type".to_owned(), Value::U32(file_type)));
        }
        match self {
            Family::Llama => {
                let size = config.get("vocab_size").map(|size| size.u32()).transpose()?;
                if let Some(size) = size.or(rows) {
                    keys.u32("vocab_size", size);
                }
                keys.u32("rope.dimension_count", head_dim.unwrap_or(per_head));
            }
            Family::Qwen2 => {}
            Family::Bert => keys.push("attention.causal", Value::Bool(false)),
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
