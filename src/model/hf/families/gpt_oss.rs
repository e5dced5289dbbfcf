//! gpt-oss: experts in MXFP4, whose gate and up are rows in turn, and sinks of attention.

use super::Extent::{self, FeedForward, Heads, KvHeads, Of, Width};
use super::fixed::Fixed;
use super::keys::{self, Key};
use super::llama::{ATTENTION, ENDS};
use super::tensor::{Step, Tensor};
use super::{DECODER, Default, Exported, Family, Other, tensor};

const EXPERTS: Extent = Of("num_local_experts");
const MLP: &[Tensor] = &[
    tensor("model.layers.{}.mlp.router.weight", "blk.{}.ffn_gate_inp.weight", &[EXPERTS, Width]),
    tensor("model.layers.{}.mlp.router.bias", "blk.{}.ffn_gate_inp.bias", &[EXPERTS]),
    tensor(
        "model.layers.{}.mlp.experts.down_proj",
        "blk.{}.ffn_down_exps.weight",
        &[EXPERTS, Width, FeedForward],
    )
    .if_quantized(true),
    // Plain ones have their rows as columns.
    tensor(
        "model.layers.{}.mlp.experts.down_proj",
        "blk.{}.ffn_down_exps.weight",
        &[EXPERTS, Width, FeedForward],
    )
    .with(&[Step::Transpose])
    .if_quantized(false),
    tensor("model.layers.{}.mlp.experts.down_proj_bias", "blk.{}.ffn_down_exps.bias", &[EXPERTS, Width]),
    tensor(
        "model.layers.{}.mlp.experts.gate_up_proj",
        "blk.{}.ffn_gate_exps.weight",
        &[EXPERTS, FeedForward, Width],
    )
    .with(&[Step::EverySecond(0)])
    .if_quantized(true),
    tensor(
        "model.layers.{}.mlp.experts.gate_up_proj",
        "blk.{}.ffn_gate_exps.weight",
        &[EXPERTS, FeedForward, Width],
    )
    .with(&[Step::Transpose, Step::EverySecond(0)])
    .if_quantized(false),
    tensor(
        "model.layers.{}.mlp.experts.gate_up_proj",
        "blk.{}.ffn_up_exps.weight",
        &[EXPERTS, FeedForward, Width],
    )
    .with(&[Step::EverySecond(1)])
    .if_quantized(true),
    tensor(
        "model.layers.{}.mlp.experts.gate_up_proj",
        "blk.{}.ffn_up_exps.weight",
        &[EXPERTS, FeedForward, Width],
    )
    .with(&[Step::Transpose, Step::EverySecond(1)])
    .if_quantized(false),
    tensor(
        "model.layers.{}.mlp.experts.gate_up_proj_bias",
        "blk.{}.ffn_gate_exps.bias",
        &[EXPERTS, FeedForward],
    )
    .with(&[Step::EverySecondColumn(0)]),
    tensor(
        "model.layers.{}.mlp.experts.gate_up_proj_bias",
        "blk.{}.ffn_up_exps.bias",
        &[EXPERTS, FeedForward],
    )
    .with(&[Step::EverySecondColumn(1)]),
];

const OTHERS: &[Tensor] = &[
    tensor("model.layers.{}.input_layernorm.weight", "blk.{}.attn_norm.weight", &[Width]),
    tensor("model.layers.{}.post_attention_layernorm.weight", "blk.{}.post_attention_norm.weight", &[Width]),
    tensor("model.layers.{}.self_attn.q_proj.bias", "blk.{}.attn_q.bias", &[Heads]),
    tensor("model.layers.{}.self_attn.k_proj.bias", "blk.{}.attn_k.bias", &[KvHeads]),
    tensor("model.layers.{}.self_attn.v_proj.bias", "blk.{}.attn_v.bias", &[KvHeads]),
    tensor("model.layers.{}.self_attn.o_proj.bias", "blk.{}.attn_output.bias", &[Width]),
    tensor("model.layers.{}.self_attn.sinks", "blk.{}.attn_sinks.weight", &[Of("num_attention_heads")]),
];

pub(super) const GPT_OSS: Family = Family {
    architecture: "gpt-oss",
    model_type: "gpt_oss",
    classes: &["GptOssForCausalLM"],
    tensors: &[ENDS, OTHERS, ATTENTION, MLP],
    keeps_codes: true,
    keys: &[
        keys::TRANSFORMER,
        keys::DECODER,
        keys::EXPERTS,
        keys::HEADS,
        keys::FILE_TYPE,
        &[
            Key::U32("attention.sliding_window", &["sliding_window"]),
            Key::U32("expert_feed_forward_length", &["intermediate_size"]),
        ],
    ],
    fixed: &[
        Fixed::Windows,
        Fixed::Causal,
        Fixed::Number("swiglu_limit", 7.0),
        // Where it is not there, versions of the class differ in what they take.
        Fixed::Said(&["rope_parameters", "rope_scaling"]),
    ],
    defaults: &[
        ("head_dim", Default::U32(64)),
        ("num_key_value_heads", Default::U32(8)),
        ("num_local_experts", Default::U32(128)),
        ("num_experts_per_tok", Default::U32(4)),
        ("rms_norm_eps", Default::F64(1e-5)),
        ("rope_theta", Default::F64(150_000.0)),
        ("sliding_window", Default::U32(128)),
    ],
    exported: Exported::Decoder {
        epsilon: ("rms_norm_eps", "attention.layer_norm_rms_epsilon"),
        biases: &[("attention_bias", "self_attn.q_proj.bias")],
        others: &[("rope_scaling", Other::UntruncatedYarn)],
    },
    ..DECODER
};
