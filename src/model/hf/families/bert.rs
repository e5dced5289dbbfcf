//! BERT, an encoder.

use super::Extent::{Classes, FeedForward, Of, Positions, Vocabulary, Width};
use super::activation::Activation;
use super::fixed::Fixed;
use super::keys::{self, Key};
use super::tensor::{Step, Tensor};
use super::{Attention, Classifier, DECODER, Default, Exported, Family, tensor};

const POSITIONS: &[Tensor] = &[tensor(
    "embeddings.position_embeddings.weight",
    "position_embd.weight",
    &[Of("max_position_embeddings"), Width],
)];

/// Without the rows up to that of padding, which no text has.
const LATER_POSITIONS: &[Tensor] =
    &[tensor("embeddings.position_embeddings.weight", "position_embd.weight", &[Positions, Width])
        .with(&[Step::From("pad_token_id")])];

const EMBEDDINGS: &[Tensor] = &[
    tensor("embeddings.word_embeddings.weight", "token_embd.weight", &[Vocabulary, Width]),
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

/// What tells classes apart. The converter takes that of two classes without names for a layer before it.
const CLASSIFIER: &[Tensor] = &[
    tensor("classifier.weight", "cls.output.weight", &[Classes, Width]).optional(),
    tensor("classifier.bias", "cls.output.bias", &[Classes]).optional(),
];

/// A layer before it, which embeddings do not need, so that the converter leaves it out always. llama.cpp computes with it where it is
/// there, as the class does.
const POOLER: &[Tensor] = &[
    tensor("pooler.dense.weight", "cls.weight", &[Width, Width]).optional(),
    tensor("pooler.dense.bias", "cls.bias", &[Width]).optional(),
];

/// The same with a layer before it.
const DEEP_CLASSIFIER: &[Tensor] = &[
    tensor("classifier.dense.weight", "cls.weight", &[Width, Width]).optional(),
    tensor("classifier.dense.bias", "cls.bias", &[Width]).optional(),
    tensor("classifier.out_proj.weight", "cls.output.weight", &[Classes, Width]).optional(),
    tensor("classifier.out_proj.bias", "cls.output.bias", &[Classes]).optional(),
];

pub(super) const BERT: Family = Family {
    architecture: "bert",
    model_type: "bert",
    classes: &["BertModel", "BertForMaskedLM"],
    tensors: &[POSITIONS, EMBEDDINGS, LAYERS, CLASSIFIER],
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
        &[Key::Labels],
    ],
    attention: Attention::Shared,
    defaults: &[("type_vocab_size", Default::U32(2))],
    fixed: &[Fixed::Flag("is_decoder", false)],
    activations: &[Activation::GELU],
    has_prefix_space: true,
    exported: Exported::Bert,
    ..DECODER
};

pub(super) const BERT_CLASSIFIER: Family = Family {
    classes: &["BertForSequenceClassification"],
    marks: &["cls.weight", "bert.pooler.dense.weight"],
    classifier: Some(Classifier {
        class: "BertForSequenceClassification",
        start: "bert.",
        head: &["classifier."],
        needs: &["cls.weight", "cls.bias", "cls.output.weight", "cls.output.bias"],
    }),
    tensors: &[POSITIONS, EMBEDDINGS, LAYERS, POOLER, CLASSIFIER],
    left_out: &["embeddings.position_ids", "cls.predictions.*", "cls.seq_relationship.*"],
    ..BERT
};

/// XLM-RoBERTa, such as BGE-M3 and multilingual E5: as BERT, with positions that begin behind that of padding.
pub(super) const XLM_ROBERTA: Family = Family {
    model_type: "xlm-roberta",
    classes: &["XLMRobertaModel", "XLMRobertaForMaskedLM", "XLMRobertaForSequenceClassification"],
    marks: &["tokenizer.ggml.precompiled_charsmap"],
    classifier: Some(Classifier {
        class: "XLMRobertaForSequenceClassification",
        start: "roberta.",
        head: &["classifier."],
        needs: &["cls.weight", "cls.bias", "cls.output.weight", "cls.output.bias"],
    }),
    tensors: &[LATER_POSITIONS, EMBEDDINGS, LAYERS, DEEP_CLASSIFIER],
    left_out: &["embeddings.position_ids", "pooler.dense.*", "lm_head.*"],
    starts: &[("roberta.", "")],
    defaults: &[("pad_token_id", Default::U32(1)), ("type_vocab_size", Default::U32(2))],
    keys: &[
        &[
            Key::Required("block_count", "num_hidden_layers"),
            Key::PositionsBehind("pad_token_id"),
            Key::U32("embedding_length", &["hidden_size"]),
            Key::U32("feed_forward_length", &["intermediate_size"]),
            Key::U32("attention.head_count", &["num_attention_heads"]),
            Key::F32Or("attention.layer_norm_epsilon", &["layer_norm_eps"], 1e-12),
        ],
        keys::FILE_TYPE,
        &[Key::Bool("attention.causal", false)],
        keys::POOLING,
        &[Key::Labels],
    ],
    has_prefix_space: false,
    ..BERT
};
