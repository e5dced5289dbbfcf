//! Mixtral: Llama with several feed-forward networks in a layer, of which a router takes some.

use super::Extent::{self, FeedForward, Of, Width};
use super::llama::{ENDS, LLAMA, NORMS, ROTARY_ATTENTION};
use super::tensor::{Step, Tensor, fused_experts};
use super::{Default, Family, keys, tensor};

const EXPERTS: Extent = Of("num_local_experts");
const GATE: &str = "blk.{}.ffn_gate_exps.weight";
const DOWN: &str = "blk.{}.ffn_down_exps.weight";
const UP: &str = "blk.{}.ffn_up_exps.weight";

const SPARSE: &[Tensor] = &[
    tensor("model.layers.{}.block_sparse_moe.gate.weight", "blk.{}.ffn_gate_inp.weight", &[EXPERTS, Width]),
    tensor("model.layers.{}.block_sparse_moe.experts.{}.w1.weight", GATE, &[EXPERTS, FeedForward, Width]),
    tensor("model.layers.{}.block_sparse_moe.experts.{}.w2.weight", DOWN, &[EXPERTS, Width, FeedForward]),
    tensor("model.layers.{}.block_sparse_moe.experts.{}.w3.weight", UP, &[EXPERTS, FeedForward, Width]),
    // As newer versions of the transformers library keep them.
    tensor("model.layers.{}.mlp.gate.weight", "blk.{}.ffn_gate_inp.weight", &[EXPERTS, Width]),
];

const FUSED: &[Tensor] = fused_experts!(EXPERTS, FeedForward);

pub(super) const MIXTRAL: Family = Family {
    model_type: "mixtral",
    classes: &["MixtralForCausalLM"],
    marks: &["expert_count"],
    defaults: &[
        ("num_key_value_heads", Default::U32(8)),
        ("num_local_experts", Default::U32(8)),
        ("num_experts_per_tok", Default::U32(2)),
        ("rms_norm_eps", Default::F64(1e-5)),
        ("rope_theta", Default::F64(1_000_000.0)),
    ],
    tensors: &[ENDS, NORMS, ROTARY_ATTENTION, SPARSE, FUSED],
    keys: &[keys::TRANSFORMER, keys::DECODER, keys::EXPERTS, keys::HEADS, keys::FILE_TYPE, keys::LLAMA],
    ..LLAMA
};
