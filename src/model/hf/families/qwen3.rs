//! Qwen3: as Qwen2, with norms of queries and keys instead of biases.

use super::Extent::{Classes, Head, Width};
use super::llama::{ATTENTION, ENDS, FEED_FORWARD, NORMS};
use super::tensor::Tensor;
use super::{Classifier, DECODER, Default, Family, tensor};

pub(super) const HEAD_NORMS: &[Tensor] = &[
    tensor("model.layers.{}.self_attn.q_norm.weight", "blk.{}.attn_q_norm.weight", &[Head]),
    tensor("model.layers.{}.self_attn.k_norm.weight", "blk.{}.attn_k_norm.weight", &[Head]),
];

/// Of rerankers.
const CLASSIFIER: &[Tensor] = &[tensor("score.weight", "cls.output.weight", &[Classes, Width]).optional()];

pub(super) const QWEN3: Family = Family {
    architecture: "qwen3",
    model_type: "qwen3",
    classes: &["Qwen3ForCausalLM", "Qwen3Model", CLASS],
    classifier: Some(Classifier {
        class: CLASS,
        start: "",
        head: &["score."],
        needs: &["cls.output.weight"],
    }),
    tensors: &[ENDS, NORMS, ATTENTION, HEAD_NORMS, FEED_FORWARD, CLASSIFIER],
    head_dim: Some(128),
    defaults: &[("num_key_value_heads", Default::U32(32))],
    ..DECODER
};

const CLASS: &str = "Qwen3ForSequenceClassification";
