//! Llama, Mistral, which differs in parameters alone, and what decoders have from them.

use super::Extent::{FeedForward, Heads, KvHeads, Pairs, Vocabulary, Width};
use super::keys::{self, Key};
use super::tensor::{HeadsOf, Step, Tensor};
use super::{BIASES, DECODER, Default, Exported, Factors, Family, tensor};

/// What every decoder here has.
pub(super) const ENDS: &[Tensor] = &[
    tensor("model.embed_tokens.weight", "token_embd.weight", &[Vocabulary, Width]),
    tensor("model.norm.weight", "output_norm.weight", &[Width]),
    tensor("lm_head.weight", "output.weight", &[Vocabulary, Width]).unless_tied(),
];

pub(super) const NORMS: &[Tensor] = &[
    tensor("model.layers.{}.input_layernorm.weight", "blk.{}.attn_norm.weight", &[Width]),
    tensor("model.layers.{}.post_attention_layernorm.weight", "blk.{}.ffn_norm.weight", &[Width]),
];

pub(super) const ATTENTION: &[Tensor] = &[
    tensor("model.layers.{}.self_attn.q_proj.weight", "blk.{}.attn_q.weight", &[Heads, Width]),
    tensor("model.layers.{}.self_attn.k_proj.weight", "blk.{}.attn_k.weight", &[KvHeads, Width]),
    tensor("model.layers.{}.self_attn.v_proj.weight", "blk.{}.attn_v.weight", &[KvHeads, Width]),
    tensor("model.layers.{}.self_attn.o_proj.weight", "blk.{}.attn_output.weight", &[Width, Heads]),
];

const OF_QUERIES: &[Step] = &[Step::RotaryRows(HeadsOf::Queries)];
const OF_KEYS: &[Step] = &[Step::RotaryRows(HeadsOf::Keys)];

/// The same with rows in llama.cpp's order.
pub(super) const ROTARY_ATTENTION: &[Tensor] = &[
    tensor("model.layers.{}.self_attn.q_proj.weight", "blk.{}.attn_q.weight", &[Heads, Width])
        .with(OF_QUERIES),
    tensor("model.layers.{}.self_attn.k_proj.weight", "blk.{}.attn_k.weight", &[KvHeads, Width])
        .with(OF_KEYS),
    tensor("model.layers.{}.self_attn.v_proj.weight", "blk.{}.attn_v.weight", &[KvHeads, Width]),
    tensor("model.layers.{}.self_attn.o_proj.weight", "blk.{}.attn_output.weight", &[Width, Heads]),
];

/// A gated feed-forward network.
pub(super) const FEED_FORWARD: &[Tensor] = &[
    tensor("model.layers.{}.mlp.gate_proj.weight", "blk.{}.ffn_gate.weight", &[FeedForward, Width]),
    tensor("model.layers.{}.mlp.up_proj.weight", "blk.{}.ffn_up.weight", &[FeedForward, Width]),
    tensor("model.layers.{}.mlp.down_proj.weight", "blk.{}.ffn_down.weight", &[Width, FeedForward]),
];

pub(super) const ALL_BIASES: &[Tensor] = &[
    tensor("model.layers.{}.self_attn.q_proj.bias", "blk.{}.attn_q.bias", &[Heads])
        .with(OF_QUERIES)
        .optional(),
    tensor("model.layers.{}.self_attn.k_proj.bias", "blk.{}.attn_k.bias", &[KvHeads])
        .with(OF_KEYS)
        .optional(),
    tensor("model.layers.{}.self_attn.v_proj.bias", "blk.{}.attn_v.bias", &[KvHeads]).optional(),
    tensor("model.layers.{}.self_attn.o_proj.bias", "blk.{}.attn_output.bias", &[Width]).optional(),
    tensor("model.layers.{}.mlp.gate_proj.bias", "blk.{}.ffn_gate.bias", &[FeedForward]).optional(),
    tensor("model.layers.{}.mlp.up_proj.bias", "blk.{}.ffn_up.bias", &[FeedForward]).optional(),
    tensor("model.layers.{}.mlp.down_proj.bias", "blk.{}.ffn_down.bias", &[Width]).optional(),
    // Made from the configuration; a GGUF that became safetensors brings it along.
    tensor("rope_freqs.weight", "rope_freqs.weight", &[Pairs]).optional(),
];

pub(super) const LLAMA: Family = Family {
    architecture: "llama",
    model_type: "llama",
    classes: &["LlamaForCausalLM", "LLaMAForCausalLM", "LlamaModel"],
    tensors: &[ENDS, NORMS, ROTARY_ATTENTION, FEED_FORWARD, ALL_BIASES],
    keys: &[
        keys::TRANSFORMER,
        keys::DECODER,
        // The class has a default for them, and the converter writes that.
        &[Key::HeadLengthsOrShare],
        keys::FILE_TYPE,
        keys::LLAMA,
    ],
    has_prefix_space: true,
    factors: Some(Factors::Llama3),
    exported: Exported::Decoder {
        epsilon: ("rms_norm_eps", "attention.layer_norm_rms_epsilon"),
        biases: BIASES,
        others: &[],
    },
    ..DECODER
};

/// The same, whose class has fewer heads of keys and values where its configuration is silent.
pub(super) const MISTRAL: Family = Family {
    classes: &["MistralForCausalLM"],
    // GGUFs of both are alike.
    marks: &["-"],
    defaults: &[("num_key_value_heads", Default::U32(8))],
    ..LLAMA
};
