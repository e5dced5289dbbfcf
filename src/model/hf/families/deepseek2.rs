//! DeepSeek V2 and V3: attention over a compressed context, and many small experts beside some that are shared.
//!
//! llama.cpp wants the matrix that makes keys and values of the compressed context parted by heads, that of keys transposed.

use super::Extent::{self, FeedForward, Of, OfHeads, Product, Sum, Width};
use super::fixed::Fixed;
use super::keys::{self, Key};
use super::llama::{ENDS, NORMS};
use super::tensor::{Need, Step, Tensor, fused_experts};
use super::{Attention, DECODER, Default, Exported, Family, Other, Yarn, tensor};

const PLAIN: &str = "qk_nope_head_dim";
const TURNED: &str = "qk_rope_head_dim";
const VALUES: &str = "v_head_dim";
const RANK: &str = "kv_lora_rank";
const HEADS: Extent = Of("num_attention_heads");
const EXPERTS: Extent = Of("n_routed_experts");
const MIDDLE: Extent = Of("moe_intermediate_size");
const SHARED: Extent = Product("moe_intermediate_size", "n_shared_experts");

const ATTENTION: &[Tensor] = &[
    // Either queries are compressed too, or not.
    tensor(
        "model.layers.{}.self_attn.q_proj.weight",
        "blk.{}.attn_q.weight",
        &[OfHeads(&[PLAIN, TURNED]), Width],
    )
    .optional(),
    tensor(
        "model.layers.{}.self_attn.q_a_proj.weight",
        "blk.{}.attn_q_a.weight",
        &[Of("q_lora_rank"), Width],
    )
    .optional(),
    tensor(
        "model.layers.{}.self_attn.q_a_layernorm.weight",
        "blk.{}.attn_q_a_norm.weight",
        &[Of("q_lora_rank")],
    )
    .optional(),
    tensor(
        "model.layers.{}.self_attn.q_b_proj.weight",
        "blk.{}.attn_q_b.weight",
        &[OfHeads(&[PLAIN, TURNED]), Of("q_lora_rank")],
    )
    .optional(),
    tensor(
        "model.layers.{}.self_attn.kv_a_proj_with_mqa.weight",
        "blk.{}.attn_kv_a_mqa.weight",
        &[Sum(RANK, TURNED), Width],
    ),
    tensor("model.layers.{}.self_attn.kv_a_layernorm.weight", "blk.{}.attn_kv_a_norm.weight", &[Of(RANK)]),
    tensor(
        "model.layers.{}.self_attn.kv_b_proj.weight",
        "blk.{}.attn_k_b.weight",
        &[HEADS, Of(RANK), Of(PLAIN)],
    )
    .with(&[Step::OfEachHead { skip: None, keep: PLAIN, all: [PLAIN, VALUES] }, Step::Transpose]),
    tensor(
        "model.layers.{}.self_attn.kv_b_proj.weight",
        "blk.{}.attn_v_b.weight",
        &[HEADS, Of(VALUES), Of(RANK)],
    )
    .with(&[Step::OfEachHead { skip: Some(PLAIN), keep: VALUES, all: [PLAIN, VALUES] }]),
    tensor(
        "model.layers.{}.self_attn.o_proj.weight",
        "blk.{}.attn_output.weight",
        &[Width, OfHeads(&[VALUES])],
    ),
];

const SPARSE: &[Tensor] = &[
    tensor("model.layers.{}.mlp.gate.weight", "blk.{}.ffn_gate_inp.weight", &[EXPERTS, Width])
        .needed(Need::InSparse),
    tensor("model.layers.{}.mlp.gate.e_score_correction_bias", "blk.{}.exp_probs_b.bias", &[EXPERTS])
        .optional(),
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
    tensor(
        "model.layers.{}.mlp.shared_experts.gate_proj.weight",
        "blk.{}.ffn_gate_shexp.weight",
        &[SHARED, Width],
    )
    .needed(Need::InSparse),
    tensor(
        "model.layers.{}.mlp.shared_experts.up_proj.weight",
        "blk.{}.ffn_up_shexp.weight",
        &[SHARED, Width],
    )
    .needed(Need::InSparse),
    tensor(
        "model.layers.{}.mlp.shared_experts.down_proj.weight",
        "blk.{}.ffn_down_shexp.weight",
        &[Width, SHARED],
    )
    .needed(Need::InSparse),
];

/// Networks of layers without experts.
const DENSE: &[Tensor] = &[
    tensor("model.layers.{}.mlp.gate_proj.weight", "blk.{}.ffn_gate.weight", &[FeedForward, Width])
        .needed(Need::InDense),
    tensor("model.layers.{}.mlp.up_proj.weight", "blk.{}.ffn_up.weight", &[FeedForward, Width])
        .needed(Need::InDense),
    tensor("model.layers.{}.mlp.down_proj.weight", "blk.{}.ffn_down.weight", &[Width, FeedForward])
        .needed(Need::InDense),
];

const SIZES: &[Key] = &[
    Key::Required("block_count", "num_hidden_layers"),
    Key::U32("context_length", &["max_position_embeddings"]),
    Key::U32("embedding_length", &["hidden_size"]),
    Key::U32("feed_forward_length", &["intermediate_size"]),
    Key::U32("attention.head_count", &["num_attention_heads"]),
    // What is compressed is one head for all.
    Key::Constant("attention.head_count_kv", 1),
];

const COMPRESSED: &[Key] = &[
    Key::Required("expert_used_count", "num_experts_per_tok"),
    Key::U32("expert_group_count", &["n_group"]),
    Key::U32("expert_group_used_count", &["topk_group"]),
    Key::Gating,
    Key::FileType,
    Key::U32Or("leading_dense_block_count", &["first_k_dense_replace"], 0),
    Key::VocabularySize,
    Key::U32("attention.q_lora_rank", &["q_lora_rank"]),
    Key::Required("attention.kv_lora_rank", RANK),
    Key::Sum("attention.key_length", [RANK, TURNED]),
    Key::Required("attention.value_length", RANK),
    Key::Sum("attention.key_length_mla", [PLAIN, TURNED]),
    Key::Required("attention.value_length_mla", VALUES),
    Key::U32("expert_feed_forward_length", &["moe_intermediate_size"]),
    Key::U32("expert_count", &["n_routed_experts"]),
    Key::U32Or("expert_shared_count", &["n_shared_experts"], 0),
    Key::F32("expert_weights_scale", &["routed_scaling_factor"]),
    Key::Flag("expert_weights_norm", "norm_topk_prob"),
    Key::Required("rope.dimension_count", TURNED),
    // A tenth, unlike in other families.
    Key::OfRope("rope.scaling.yarn_log_multiplier", "mscale_all_dim", 0.1),
];

/// The same, whose class knows one function to choose experts by.
pub(super) const DEEPSEEK3: Family = Family {
    classes: &["DeepseekV3ForCausalLM"],
    // GGUFs of both are told apart by that function.
    marks: &["-"],
    defaults: &[
        ("first_k_dense_replace", Default::U32(3)),
        ("kv_lora_rank", Default::U32(512)),
        ("moe_intermediate_size", Default::U32(2048)),
        ("n_group", Default::U32(8)),
        ("n_routed_experts", Default::U32(256)),
        ("n_shared_experts", Default::U32(1)),
        ("norm_topk_prob", Default::Flag(true)),
        ("num_experts_per_tok", Default::U32(8)),
        ("q_lora_rank", Default::U32(1536)),
        ("qk_nope_head_dim", Default::U32(128)),
        ("qk_rope_head_dim", Default::U32(64)),
        ("routed_scaling_factor", Default::F64(2.5)),
        ("scoring_func", Default::Text("sigmoid")),
        ("topk_group", Default::U32(4)),
        ("v_head_dim", Default::U32(128)),
    ],
    keys: &[SIZES, keys::DECODER, COMPRESSED],
    ..DEEPSEEK2
};

const FUSED: &[Tensor] = fused_experts!(EXPERTS, MIDDLE);

pub(super) const DEEPSEEK2: Family = Family {
    architecture: "deepseek2",
    model_type: "deepseek_v2",
    classes: &["DeepseekV2ForCausalLM"],
    tensors: &[ENDS, NORMS, ATTENTION, SPARSE, FUSED, DENSE],
    attention: Attention::Shared,
    defaults: &[
        ("kv_lora_rank", Default::U32(512)),
        ("moe_intermediate_size", Default::U32(1407)),
        ("n_routed_experts", Default::U32(64)),
        ("n_shared_experts", Default::U32(2)),
        ("q_lora_rank", Default::U32(1536)),
        ("qk_nope_head_dim", Default::U32(128)),
        ("qk_rope_head_dim", Default::U32(64)),
        ("v_head_dim", Default::U32(128)),
    ],
    yarn: Yarn::WithScales,
    // Layers that guess further tokens.
    drops_later_layers: true,
    fixed: &[Fixed::Causal, Fixed::Flag("rope_interleave", true), Fixed::Number("moe_layer_freq", 1.0)],
    keys: &[SIZES, keys::DECODER, COMPRESSED, &[Key::BestOfGroups]],
    exported: Exported::Decoder {
        epsilon: ("rms_norm_eps", "attention.layer_norm_rms_epsilon"),
        biases: &[],
        others: &[("kv_lora_rank", Other::CompressedContext)],
    },
    ..DECODER
};
