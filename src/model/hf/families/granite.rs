//! Granite: as Llama, with factors for what is added and multiplied.

use super::keys::{self, Key};
use super::llama::{ALL_BIASES, ENDS, FEED_FORWARD, NORMS, ROTARY_ATTENTION};
use super::{BIASES, DECODER, Default, Exported, Family, Other};

const FACTORS: &[Key] = &[
    Key::F32("attention.scale", &["attention_multiplier"]),
    Key::F32("embedding_scale", &["embedding_multiplier"]),
    Key::F32("residual_scale", &["residual_multiplier"]),
    Key::F32("logit_scale", &["logits_scaling"]),
];

pub(super) const GRANITE: Family = Family {
    architecture: "granite",
    model_type: "granite",
    classes: &["GraniteForCausalLM", "GraniteModel"],
    tensors: &[ENDS, NORMS, ROTARY_ATTENTION, FEED_FORWARD, ALL_BIASES],
    keys: &[
        keys::TRANSFORMER,
        keys::DECODER,
        keys::HEADS,
        keys::FILE_TYPE,
        keys::LLAMA,
        FACTORS,
        keys::POOLING,
    ],
    // llama.cpp divides attention by the root of a head's length where no key says another factor.
    defaults: &[
        ("attention_multiplier", Default::F64(1.0)),
        ("embedding_multiplier", Default::F64(1.0)),
        ("residual_multiplier", Default::F64(1.0)),
        ("logits_scaling", Default::F64(1.0)),
    ],
    pre_tokenizers: &[("smollm", "refact")],
    has_prefix_space: true,
    exported: Exported::Decoder {
        epsilon: ("rms_norm_eps", "attention.layer_norm_rms_epsilon"),
        biases: BIASES,
        others: &[("attention_multiplier", Other::RootOfHead)],
    },
    ..DECODER
};
