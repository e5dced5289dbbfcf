//! Qwen2-MoE and Qwen3-MoE: several feed-forward networks in a layer, of which a router takes some.

use super::Extent::{self, FeedForward, Of, Width};
use super::fixed::Fixed;
use super::keys::{self, Key};
use super::llama::{ATTENTION, ENDS, NORMS};
use super::qwen2::BIASES;
use super::qwen3::HEAD_NORMS;
use super::tensor::{Need, Step, Tensor, fused_experts};
use super::{DECODER, Exported, Family, Other, tensor};

/// Values of an expert's middle.
const MIDDLE: Extent = Of("moe_intermediate_size");
const EXPERTS: Extent = Of("num_experts");
const SHARED: Extent = Of("shared_expert_intermediate_size");

const SPARSE: &[Tensor] = &[
    tensor("model.layers.{}.mlp.gate.weight", "blk.{}.ffn_gate_inp.weight", &[EXPERTS, Width])
        .needed(Need::InSparse),
    tensor(
        "model.layers.{}.mlp.experts.{}.down_proj.weight",
        "blk.{}.ffn_down_exps.weight",
        &[EXPERTS, Width, MIDDLE],
    )
    .needed(Need::InSparse),
    tensor(
        "model.layers.{}.mlp.experts.{}.gate_proj.weight",
        "blk.{}.ffn_gate_exps.weight",
        &[EXPERTS, MIDDLE, Width],
    )
    .needed(Need::InSparse),
    tensor(
        "model.layers.{}.mlp.experts.{}.up_proj.weight",
        "blk.{}.ffn_up_exps.weight",
        &[EXPERTS, MIDDLE, Width],
    )
    .needed(Need::InSparse),
];

const FUSED: &[Tensor] = fused_experts!(EXPERTS, MIDDLE);

/// Networks of layers without experts.
pub(super) const DENSE: &[Tensor] = &[
    tensor("model.layers.{}.mlp.gate_proj.weight", "blk.{}.ffn_gate.weight", &[FeedForward, Width])
        .needed(Need::InDense),
    tensor("model.layers.{}.mlp.up_proj.weight", "blk.{}.ffn_up.weight", &[FeedForward, Width])
        .needed(Need::InDense),
    tensor("model.layers.{}.mlp.down_proj.weight", "blk.{}.ffn_down.weight", &[Width, FeedForward])
        .needed(Need::InDense),
];

const SHARED_EXPERT: &[Tensor] = &[
    tensor("model.layers.{}.mlp.shared_expert_gate.weight", "blk.{}.ffn_gate_inp_shexp.weight", &[Width])
        .with(&[Step::Squeeze])
        .needed(Need::InSparse),
    tensor(
        "model.layers.{}.mlp.shared_expert.gate_proj.weight",
        "blk.{}.ffn_gate_shexp.weight",
        &[SHARED, Width],
    )
    .needed(Need::InSparse),
    tensor(
        "model.layers.{}.mlp.shared_expert.up_proj.weight",
        "blk.{}.ffn_up_shexp.weight",
        &[SHARED, Width],
    )
    .needed(Need::InSparse),
    tensor(
        "model.layers.{}.mlp.shared_expert.down_proj.weight",
        "blk.{}.ffn_down_shexp.weight",
        &[Width, SHARED],
    )
    .needed(Need::InSparse),
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

pub(super) const QWEN2_MOE: Family = Family {
    architecture: "qwen2moe",
    model_type: "qwen2_moe",
    classes: &["Qwen2MoeForCausalLM"],
    tensors: &[ENDS, NORMS, ATTENTION, BIASES, SPARSE, FUSED, SHARED_EXPERT, DENSE],
    keys: KEYS,
    fixed: &[Fixed::Flag("norm_topk_prob", false)],
    exported: Exported::Decoder {
        epsilon: ("rms_norm_eps", "attention.layer_norm_rms_epsilon"),
        biases: &[],
        others: &[],
    },
    ..DECODER
};

pub(super) const QWEN3_MOE: Family = Family {
    architecture: "qwen3moe",
    model_type: "qwen3_moe",
    classes: &["Qwen3MoeForCausalLM"],
    tensors: &[ENDS, NORMS, ATTENTION, HEAD_NORMS, SPARSE, FUSED, DENSE],
    keys: KEYS,
    fixed: &[Fixed::Flag("norm_topk_prob", true)],
    exported: Exported::Decoder {
        epsilon: ("rms_norm_eps", "attention.layer_norm_rms_epsilon"),
        biases: &[],
        others: &[("norm_topk_prob", Other::True)],
    },
    ..DECODER
};
