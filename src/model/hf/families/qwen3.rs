//! Qwen3: as Qwen2, with norms of queries and keys instead of biases.

use super::Extent::Head;
use super::llama::{ATTENTION, ENDS, FEED_FORWARD, NORMS};
use super::{DECODER, Family, Tensor, tensor};

pub(super) const HEAD_NORMS: &[Tensor] = &[
    tensor("model.layers.{}.self_attn.q_norm.weight", "blk.{}.attn_q_norm.weight", &[Head]),
    tensor("model.layers.{}.self_attn.k_norm.weight", "blk.{}.attn_k_norm.weight", &[Head]),
];

pub(super) const QWEN3: Family = Family {
    architecture: "qwen3",
    model_type: "qwen3",
    classes: &["Qwen3ForCausalLM", "Qwen3Model"],
    tensors: &[ENDS, NORMS, ATTENTION, HEAD_NORMS, FEED_FORWARD],
    head_dim: Some(128),
    ..DECODER
};
