//! Qwen2-MoE and Qwen3-MoE: several feed-forward networks in a layer, of which a router takes some.

use super::Extent::{self, Of, Width};
use super::fixed::Fixed;
use super::keys::{self, Key};
use super::llama::{ATTENTION, ENDS, NORMS};
use super::qwen2::BIASES;
use super::qwen3::HEAD_NORMS;
use super::tensor::{Step, Tensor, fused_experts};
use super::{DECODER, Default, Family, tensor};

/// Values of an expert's middle.
const MIDDLE: Extent = Of("moe_intermediate_size");
const EXPERTS: Extent = Of("num_experts");
const SHARED: Extent = Of("shared_expert_intermediate_size");

const SPARSE: &[Tensor] = &[
    tensor("model.layers.{}.mlp.gate.weight", "blk.{}.ffn_gate_inp.weight", &[EXPERTS, Width]),
    tensor(
        "model.layers.{}.mlp.experts.{}.down_proj.weight",
        "blk.{}.ffn_down_exps.weight",
        &[EXPERTS, Width, MIDDLE],
    ),
    tensor(
        "model.layers.{}.mlp.experts.{}.gate_proj.weight",
        "blk.{}.ffn_gate_exps.weight",
        &[EXPERTS, MIDDLE, Width],
    ),
    tensor(
        "model.layers.{}.mlp.experts.{}.up_proj.weight",
        "blk.{}.ffn_up_exps.weight",
        &[EXPERTS, MIDDLE, Width],
    ),
];

const FUSED: &[Tensor] = fused_experts!(EXPERTS, MIDDLE);

const SHARED_EXPERT: &[Tensor] = &[
    tensor("model.layers.{}.mlp.shared_expert_gate.weight", "blk.{}.ffn_gate_inp_shexp.weight", &[Width])
        .with(&[Step::Squeeze]),
    tensor(
        "model.layers.{}.mlp.shared_expert.gate_proj.weight",
        "blk.{}.ffn_gate_shexp.weight",
        &[SHARED, Width],
    ),
    tensor(
        "model.layers.{}.mlp.shared_expert.up_proj.weight",
        "blk.{}.ffn_up_shexp.weight",
        &[SHARED, Width],
    ),
    tensor(
        "model.layers.{}.mlp.shared_expert.down_proj.weight",
        "blk.{}.ffn_down_shexp.weight",
        &[Width, SHARED],
    ),
];

const SIZES: &[Key] = &[
    Key::U32("expert_feed_forward_length", &["moe_intermediate_size"]),
    Key::U32("expert_shared_feed_forward_length", &["shared_expert_intermediate_size"]),
];

const KEYS: &[&[Key]] = &[
    keys::TRANSFORMER,
    keys::DECODER,
    &[Key::U32("expert_count", &["num_experts"]), Key::U32("expert_used_count", &["num_experts_per_tok"])],
    keys::HEADS,
    keys::FILE_TYPE,
    keys::POOLING,
    SIZES,
];

/// llama.cpp loads experts of each layer, and no other network.
const STEP: Fixed = Fixed::Number("decoder_sparse_step", 1.0);
const NONE_DENSE: Fixed = Fixed::Empty("mlp_only_layers");

pub(super) const QWEN2_MOE: Family = Family {
    architecture: "qwen2moe",
    model_type: "qwen2_moe",
    classes: &["Qwen2MoeForCausalLM"],
    tensors: &[ENDS, NORMS, ATTENTION, BIASES, SPARSE, FUSED, SHARED_EXPERT],
    keys: KEYS,
    defaults: &[
        ("num_key_value_heads", Default::U32(16)),
        ("num_experts", Default::U32(60)),
        ("num_experts_per_tok", Default::U32(4)),
        ("moe_intermediate_size", Default::U32(1408)),
        ("shared_expert_intermediate_size", Default::U32(5632)),
    ],
    fixed: &[Fixed::Flag("norm_topk_prob", false), STEP, NONE_DENSE],
    ..DECODER
};

pub(super) const QWEN3_MOE: Family = Family {
    architecture: "qwen3moe",
    model_type: "qwen3_moe",
    classes: &["Qwen3MoeForCausalLM"],
    tensors: &[ENDS, NORMS, ATTENTION, HEAD_NORMS, SPARSE, FUSED],
    keys: KEYS,
    defaults: &[
        ("num_key_value_heads", Default::U32(4)),
        ("num_experts", Default::Of("num_local_experts")),
        ("num_experts", Default::U32(128)),
        ("num_experts_per_tok", Default::U32(8)),
        ("moe_intermediate_size", Default::U32(768)),
        ("norm_topk_prob", Default::Flag(false)),
    ],
    fixed: &[Fixed::Flag("norm_topk_prob", true), STEP, NONE_DENSE],
    ..DECODER
};
