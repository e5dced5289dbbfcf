//! Gemma 2 and Gemma 3: norms that multiply by one more than their weight, before and after attention and feed-forward networks.

use super::Extent::{Head, Vocabulary, Width};
use super::activation::Activation;
use super::fixed::Fixed;
use super::keys::{self, Key};
use super::llama::{ATTENTION, FEED_FORWARD};
use super::tensor::{Step, Tensor};
use super::{DECODER, Default, Exported, Family, Other, tensor};

const PLUS_ONE: &[Step] = &[Step::AddOne];

const NORMS: &[Tensor] = &[
    tensor("model.embed_tokens.weight", "token_embd.weight", &[Vocabulary, Width]),
    tensor("model.norm.weight", "output_norm.weight", &[Width]).with(PLUS_ONE),
    tensor("model.layers.{}.input_layernorm.weight", "blk.{}.attn_norm.weight", &[Width]).with(PLUS_ONE),
    tensor("model.layers.{}.post_attention_layernorm.weight", "blk.{}.post_attention_norm.weight", &[Width])
        .with(PLUS_ONE),
    tensor("model.layers.{}.pre_feedforward_layernorm.weight", "blk.{}.ffn_norm.weight", &[Width])
        .with(PLUS_ONE),
    tensor("model.layers.{}.post_feedforward_layernorm.weight", "blk.{}.post_ffw_norm.weight", &[Width])
        .with(PLUS_ONE),
];

const HEAD_NORMS: &[Tensor] = &[
    tensor("model.layers.{}.self_attn.q_norm.weight", "blk.{}.attn_q_norm.weight", &[Head]).with(PLUS_ONE),
    tensor("model.layers.{}.self_attn.k_norm.weight", "blk.{}.attn_k_norm.weight", &[Head]).with(PLUS_ONE),
];

const HEAD: &[Tensor] = &[tensor("lm_head.weight", "output.weight", &[Vocabulary, Width]).unless_tied()];

pub(super) const GEMMA2: Family = Family {
    architecture: "gemma2",
    model_type: "gemma2",
    classes: &["Gemma2ForCausalLM", "Gemma2Model"],
    tensors: &[NORMS, ATTENTION, FEED_FORWARD],
    // The head is the embedding always.
    left_out: &["lm_head.weight", "model.layers.{}.self_attn.rotary_emb.inv_freq"],
    keys: &[&[
        Key::U32("context_length", &["max_position_embeddings"]),
        Key::U32("embedding_length", &["hidden_size"]),
        Key::Required("block_count", "num_hidden_layers"),
        Key::U32("feed_forward_length", &["intermediate_size"]),
        Key::U32("attention.head_count", &["num_attention_heads"]),
        Key::U32("attention.head_count_kv", &["num_key_value_heads"]),
        Key::F32Or("attention.layer_norm_rms_epsilon", &["rms_norm_eps"], 1e-6),
        Key::HeadLengths,
        Key::FileType,
        Key::F32("attn_logit_softcapping", &["attn_logit_softcapping"]),
        Key::F32("final_logit_softcapping", &["final_logit_softcapping"]),
        Key::U32("attention.sliding_window", &["sliding_window"]),
        // The converter forgets it.
        Key::UnusualRopeBase,
    ]],
    defaults: &[
        ("head_dim", Default::U32(256)),
        ("num_key_value_heads", Default::U32(4)),
        ("max_position_embeddings", Default::U32(8192)),
        ("sliding_window", Default::U32(4096)),
        ("attn_logit_softcapping", Default::F64(50.0)),
        ("final_logit_softcapping", Default::F64(30.0)),
        ("query_pre_attn_scalar", Default::U32(256)),
    ],
    is_tied: true,
    activations: ACTIVATIONS,
    fixed: &[
        Fixed::Windows,
        Fixed::QueryScale(46),
        Fixed::Always("attn_logit_softcapping"),
        Fixed::Always("final_logit_softcapping"),
        Fixed::Causal,
        // llama.cpp loads no head beside the embedding.
        Fixed::Flag("tie_word_embeddings", true),
    ],
    adds_space_prefix: Some(false),
    exported: EXPORTED,
    ..DECODER
};

pub(super) const GEMMA3: Family = Family {
    architecture: "gemma3",
    model_type: "gemma3_text",
    classes: &["Gemma3ForCausalLM", "Gemma3TextModel", "Gemma3ForConditionalGeneration"],
    tensors: &[NORMS, ATTENTION, HEAD_NORMS, FEED_FORWARD, HEAD],
    drops_tied_head: true,
    left_out: &[
        "model.layers.{}.self_attn.rotary_emb.inv_freq",
        "vision_tower.*",
        "multi_modal_projector.*",
        "model.vision_tower.*",
        "model.multi_modal_projector.*",
    ],
    starts: &[
        ("language_model.model.", "model."),
        ("model.language_model.", "model."),
        ("language_model.lm_head.", "lm_head."),
        ("layers.", "model.layers."),
        ("embed_tokens.", "model.embed_tokens."),
        ("norm.", "model.norm."),
    ],
    keys: &[
        keys::TRANSFORMER,
        &[
            Key::Rope,
            Key::RopeBaseOf("rope.freq_base_swa", "sliding_attention", "rope_local_base_freq", 10_000.0),
            Key::F32Or("attention.layer_norm_rms_epsilon", &["rms_norm_eps"], 1e-6),
            Key::HeadLengths,
            Key::FileType,
            Key::F32("final_logit_softcapping", &["final_logit_softcapping"]),
            Key::U32("attention.sliding_window", &["sliding_window"]),
        ],
    ],
    // Models inside others are silent where they are like the first of their kind.
    defaults: &[
        ("num_attention_heads", Default::U32(8)),
        ("num_key_value_heads", Default::U32(4)),
        ("head_dim", Default::U32(256)),
        ("max_position_embeddings", Default::U32(131_072)),
        ("sliding_window", Default::U32(4096)),
        ("rope_theta", Default::F64(1_000_000.0)),
        ("rope_local_base_freq", Default::F64(10_000.0)),
        ("query_pre_attn_scalar", Default::U32(256)),
    ],
    is_tied: true,
    activations: ACTIVATIONS,
    fixed: &[Fixed::Windows, Fixed::QueryScale(62), Fixed::Never("attn_logit_softcapping"), Fixed::Causal],
    adds_space_prefix: Some(false),
    exported: EXPORTED,
    ..DECODER
};

/// Under the newer key; what the older one says, the class does not read.
const ACTIVATIONS: &[Activation] = &[Activation::GELU_TANH.under(&["hidden_activation", "hidden_act"])];

const EXPORTED: Exported = Exported::Decoder {
    epsilon: ("rms_norm_eps", "attention.layer_norm_rms_epsilon"),
    biases: &[],
    others: &[("query_pre_attn_scalar", Other::QueryScale)],
};
