//! Qwen2: as Llama, with biases and without llama.cpp's order of rows.

use super::Extent::{Heads, KvHeads};
use super::llama::{ATTENTION, ENDS, FEED_FORWARD, NORMS};
use super::tensor::Tensor;
use super::{Attention, DECODER, Default, Family, tensor};

pub(super) const BIASES: &[Tensor] = &[
    tensor("model.layers.{}.self_attn.q_proj.bias", "blk.{}.attn_q.bias", &[Heads]),
    tensor("model.layers.{}.self_attn.k_proj.bias", "blk.{}.attn_k.bias", &[KvHeads]),
    tensor("model.layers.{}.self_attn.v_proj.bias", "blk.{}.attn_v.bias", &[KvHeads]),
];

pub(super) const QWEN2: Family = Family {
    architecture: "qwen2",
    model_type: "qwen2",
    classes: &["Qwen2ForCausalLM", "Qwen2Model"],
    tensors: &[ENDS, NORMS, ATTENTION, BIASES, FEED_FORWARD],
    attention: Attention::GroupedAsWide,
    defaults: &[("num_key_value_heads", Default::U32(32))],
    ..DECODER
};
