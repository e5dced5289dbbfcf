//! ModernBERT, an encoder with rotary embeddings, whose layers see all of a text or what is near.

use super::Extent::{Classes, FeedForward, GateUp, Qkv, Vocabulary, Width};
use super::activation::Activation;
use super::fixed::Fixed;
use super::keys::{self, Key};
use super::tensor::{Need, Tensor};
use super::{Attention, Classifier, DECODER, Default, Exported, Family, tensor};

const TENSORS: &[Tensor] = &[
    tensor("embeddings.tok_embeddings.weight", "token_embd.weight", &[Vocabulary, Width]),
    tensor("embeddings.norm.weight", "token_embd_norm.weight", &[Width]),
    tensor("final_norm.weight", "output_norm.weight", &[Width]),
    tensor("layers.{}.attn_norm.weight", "blk.{}.attn_norm.weight", &[Width]).needed(Need::AfterFirst),
    tensor("layers.{}.attn.Wqkv.weight", "blk.{}.attn_qkv.weight", &[Qkv, Width]),
    tensor("layers.{}.attn.Wo.weight", "blk.{}.attn_output.weight", &[Width, Width]),
    tensor("layers.{}.mlp_norm.weight", "blk.{}.ffn_norm.weight", &[Width]),
    tensor("layers.{}.mlp.Wi.weight", "blk.{}.ffn_up.weight", &[GateUp, Width]),
    tensor("layers.{}.mlp.Wo.weight", "blk.{}.ffn_down.weight", &[Width, FeedForward]),
];

/// The head of a classifier, which another guesses masked tokens with.
const CLASSIFIER: &[Tensor] = &[
    tensor("head.dense.weight", "cls.weight", &[Width, Width]),
    tensor("head.norm.weight", "cls.norm.weight", &[Width]),
    tensor("classifier.weight", "cls.output.weight", &[Classes, Width]).optional(),
    tensor("classifier.bias", "cls.output.bias", &[Classes]).optional(),
];

/// Names that llama.cpp's key does not know are GELU there.
const HIDDEN: Activation = Activation::GELU.under(&["hidden_activation"]).or(&["silu", "swish"]);

pub(super) const MODERN_BERT_CLASSIFIER: Family = Family {
    classes: &["ModernBertForSequenceClassification"],
    // In a GGUF and in safetensors.
    marks: &["cls.weight", "head.dense.weight"],
    classifier: Some(Classifier {
        class: "ModernBertForSequenceClassification",
        start: "model.",
        head: &["head.", "classifier."],
        needs: &["cls.weight", "cls.norm.weight", "cls.output.weight"],
    }),
    tensors: &[TENSORS, CLASSIFIER],
    left_out: &[],
    // llama.cpp gives the head the mean of all tokens, whatever the key of pooling says, and the class that of the first by default.
    defaults: &[("classifier_pooling", Default::Text("cls"))],
    fixed: &[Fixed::Text("classifier_pooling", "mean")],
    activations: &[HIDDEN, Activation::GELU.under(&["classifier_activation"])],
    ..MODERN_BERT
};

pub(super) const MODERN_BERT: Family = Family {
    architecture: "modern-bert",
    model_type: "modernbert",
    classes: &["ModernBertModel", "ModernBertForMaskedLM"],
    tensors: &[TENSORS],
    // The head that guesses masked tokens, which embeddings do not need.
    left_out: &["head.*", "decoder.*"],
    starts: &[("model.", "")],
    keys: &[
        keys::TRANSFORMER,
        &[
            Key::RopeBaseOf("rope.freq_base", "full_attention", "global_rope_theta", 160_000.0),
            Key::RopeBaseOf("rope.freq_base_swa", "sliding_attention", "local_rope_theta", 10_000.0),
            Key::F32Or("attention.layer_norm_rms_epsilon", &["norm_eps"], 1e-5),
            Key::F32Or("attention.layer_norm_epsilon", &["norm_eps"], 1e-5),
            Key::FileType,
            Key::Bool("attention.causal", false),
            Key::Pooling,
            Key::Labels,
            Key::U32Or("attention.sliding_window", &["local_attention"], 128),
            Key::LayerPattern("attention.sliding_window_pattern", "global_attn_every_n_layers", 3),
            Key::Text("rope.scaling.type", "none"),
            Key::VocabularySize,
            Key::TextOr("hidden_activation", "hidden_activation", "gelu"),
        ],
    ],
    attention: Attention::Shared,
    activations: &[HIDDEN],
    pre_tokenizers: &[("gpt-2", "modern-bert")],
    exported: Exported::ModernBert,
    ..DECODER
};
