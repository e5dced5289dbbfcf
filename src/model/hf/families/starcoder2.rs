//! StarCoder2: biases everywhere, norms that subtract the mean, and two matrices in a feed-forward network.

use super::Extent::{FeedForward, Width};
use super::activation::Activation;
use super::keys::{self, Key};
use super::llama::{ATTENTION, ENDS, NORMS};
use super::tensor::Tensor;
use super::{DECODER, Default, Exported, Family, qwen2, tensor};

/// Beside the biases of Qwen2.
const OTHERS: &[Tensor] = &[
    tensor("model.norm.bias", "output_norm.bias", &[Width]),
    tensor("model.layers.{}.input_layernorm.bias", "blk.{}.attn_norm.bias", &[Width]),
    tensor("model.layers.{}.self_attn.o_proj.bias", "blk.{}.attn_output.bias", &[Width]),
    tensor("model.layers.{}.post_attention_layernorm.bias", "blk.{}.ffn_norm.bias", &[Width]),
    tensor("model.layers.{}.mlp.c_fc.weight", "blk.{}.ffn_up.weight", &[FeedForward, Width]),
    tensor("model.layers.{}.mlp.c_fc.bias", "blk.{}.ffn_up.bias", &[FeedForward]),
    tensor("model.layers.{}.mlp.c_proj.weight", "blk.{}.ffn_down.weight", &[Width, FeedForward]),
    tensor("model.layers.{}.mlp.c_proj.bias", "blk.{}.ffn_down.bias", &[Width]),
];

pub(super) const STARCODER2: Family = Family {
    architecture: "starcoder2",
    model_type: "starcoder2",
    classes: &["Starcoder2ForCausalLM", "Starcoder2Model"],
    tensors: &[ENDS, NORMS, ATTENTION, qwen2::BIASES, OTHERS],
    keys: &[
        keys::TRANSFORMER,
        &[Key::Rope, Key::F32Or("attention.layer_norm_epsilon", &["norm_epsilon"], 1e-5), Key::SeesAll],
        keys::HEADS,
        keys::FILE_TYPE,
        keys::POOLING,
    ],
    is_tied: true,
    defaults: &[("num_key_value_heads", Default::U32(2))],
    activations: &[Activation::GELU_TANH],
    pre_tokenizers: &[("smollm", "starcoder")],
    exported: Exported::Decoder {
        epsilon: ("norm_epsilon", "attention.layer_norm_epsilon"),
        biases: &[],
        others: &[],
    },
    ..DECODER
};
