//! Phi-3 and Phi-4: queries, keys and values in one matrix, gate and up in another, and factors for long texts.

use super::Extent::{FeedForward, GateUp, Heads, Pairs, Qkv, Width};
use super::fixed::Fixed;
use super::keys::Key;
use super::llama::{ENDS, NORMS};
use super::tensor::Tensor;
use super::{DECODER, Default, Exported, Factors, Family, Other, tensor};

const LAYERS: &[Tensor] = &[
    tensor("model.layers.{}.self_attn.qkv_proj.weight", "blk.{}.attn_qkv.weight", &[Qkv, Width]),
    tensor("model.layers.{}.self_attn.o_proj.weight", "blk.{}.attn_output.weight", &[Width, Heads]),
    tensor("model.layers.{}.mlp.gate_up_proj.weight", "blk.{}.ffn_up.weight", &[GateUp, Width]),
    tensor("model.layers.{}.mlp.down_proj.weight", "blk.{}.ffn_down.weight", &[Width, FeedForward]),
    // Made from the configuration; a GGUF that became safetensors brings them along.
    tensor("rope_factors_long.weight", "rope_factors_long.weight", &[Pairs]).optional(),
    tensor("rope_factors_short.weight", "rope_factors_short.weight", &[Pairs]).optional(),
];

pub(super) const PHI3: Family = Family {
    architecture: "phi3",
    model_type: "phi3",
    classes: &["Phi3ForCausalLM", "Phi3Model"],
    tensors: &[ENDS, NORMS, LAYERS],
    first_keys: &[Key::LongRopeFactor],
    keys: &[&[
        Key::U32("context_length", &["max_position_embeddings"]),
        Key::OriginalContext,
        Key::U32("embedding_length", &["hidden_size"]),
        Key::U32("feed_forward_length", &["intermediate_size"]),
        Key::Required("block_count", "num_hidden_layers"),
        Key::U32("attention.head_count", &["num_attention_heads"]),
        Key::U32("attention.head_count_kv", &["num_key_value_heads", "num_attention_heads"]),
        Key::F32Or("attention.layer_norm_rms_epsilon", &["rms_norm_eps"], 1e-5),
        Key::PartialRope,
        Key::RopeBase,
        Key::FileType,
        Key::U32Or("attention.sliding_window", &["sliding_window"], 0),
    ]],
    factors: Some(Factors::LongRope),
    fixed: &[Fixed::Causal],
    defaults: &[("original_max_position_embeddings", Default::U32(4096))],
    exported: Exported::Decoder {
        epsilon: ("rms_norm_eps", "attention.layer_norm_rms_epsilon"),
        biases: &[],
        others: &[("pad_token_id", Other::Null)],
    },
    ..DECODER
};
