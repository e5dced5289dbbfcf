//! BERT, an encoder.

use super::Extent::{FeedForward, Of, Vocabulary, Width};
use super::keys::{self, Key};
use super::{Attention, DECODER, Exported, Family, Tensor, tensor};

const EMBEDDINGS: &[Tensor] = &[
    tensor("embeddings.word_embeddings.weight", "token_embd.weight", &[Vocabulary, Width]),
    tensor(
        "embeddings.position_embeddings.weight",
        "position_embd.weight",
        &[Of("max_position_embeddings"), Width],
    ),
    tensor("embeddings.token_type_embeddings.weight", "token_types.weight", &[Of("type_vocab_size"), Width]),
    tensor("embeddings.LayerNorm.weight", "token_embd_norm.weight", &[Width]),
    tensor("embeddings.LayerNorm.bias", "token_embd_norm.bias", &[Width]),
];

const LAYERS: &[Tensor] = &[
    tensor("encoder.layer.{}.attention.self.query.weight", "blk.{}.attn_q.weight", &[Width, Width]),
    tensor("encoder.layer.{}.attention.self.query.bias", "blk.{}.attn_q.bias", &[Width]),
    tensor("encoder.layer.{}.attention.self.key.weight", "blk.{}.attn_k.weight", &[Width, Width]),
    tensor("encoder.layer.{}.attention.self.key.bias", "blk.{}.attn_k.bias", &[Width]),
    tensor("encoder.layer.{}.attention.self.value.weight", "blk.{}.attn_v.weight", &[Width, Width]),
    tensor("encoder.layer.{}.attention.self.value.bias", "blk.{}.attn_v.bias", &[Width]),
    tensor("encoder.layer.{}.attention.output.dense.weight", "blk.{}.attn_output.weight", &[Width, Width]),
    tensor("encoder.layer.{}.attention.output.dense.bias", "blk.{}.attn_output.bias", &[Width]),
    tensor("encoder.layer.{}.attention.output.LayerNorm.weight", "blk.{}.attn_output_norm.weight", &[Width]),
    tensor("encoder.layer.{}.attention.output.LayerNorm.bias", "blk.{}.attn_output_norm.bias", &[Width]),
    tensor("encoder.layer.{}.intermediate.dense.weight", "blk.{}.ffn_up.weight", &[FeedForward, Width]),
    tensor("encoder.layer.{}.intermediate.dense.bias", "blk.{}.ffn_up.bias", &[FeedForward]),
    tensor("encoder.layer.{}.output.dense.weight", "blk.{}.ffn_down.weight", &[Width, FeedForward]),
    tensor("encoder.layer.{}.output.dense.bias", "blk.{}.ffn_down.bias", &[Width]),
    tensor("encoder.layer.{}.output.LayerNorm.weight", "blk.{}.layer_output_norm.weight", &[Width]),
    tensor("encoder.layer.{}.output.LayerNorm.bias", "blk.{}.layer_output_norm.bias", &[Width]),
];

pub(super) const BERT: Family = Family {
    architecture: "bert",
    model_type: "bert",
    classes: &["BertModel", "BertForMaskedLM"],
    tensors: &[EMBEDDINGS, LAYERS],
    // Not needed for embeddings, or not at all.
    left_out: &["embeddings.position_ids", "pooler.dense.*", "cls.predictions.*", "cls.seq_relationship.*"],
    starts: &[("bert.", "")],
    ends: &[(".gamma", ".weight"), (".beta", ".bias")],
    keys: &[
        keys::TRANSFORMER,
        &[
            Key::Rope,
            Key::F32("attention.layer_norm_rms_epsilon", &["rms_norm_eps", "norm_eps"]),
            Key::F32Or("attention.layer_norm_epsilon", &["layer_norm_eps"], 1e-12),
        ],
        keys::HEADS,
        keys::FILE_TYPE,
        &[Key::Bool("attention.causal", false)],
        keys::POOLING,
    ],
    attention: Attention::Shared,
    has_prefix_space: true,
    exported: Exported::Bert,
    ..DECODER
};
