//! Mistral 3 and Ministral 3, alone or inside a model that sees: as Llama, with queries that grow after the first positions.

use super::fixed::Fixed;
use super::keys::{self, Key};
use super::llama::LLAMA;
use super::{BIASES, Exported, Family, Other, Yarn};

pub(super) const MISTRAL3: Family = Family {
    architecture: "mistral3",
    model_type: "ministral3",
    classes: &[
        "Ministral3ForCausalLM",
        "Ministral3Model",
        "Mistral3ForConditionalGeneration",
        "Mistral3Model",
    ],
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
        ("language_model.", "model."),
        ("layers.", "model.layers."),
        ("embed_tokens.", "model.embed_tokens."),
        ("norm.", "model.norm."),
    ],
    yarn: Yarn::WithRamp,
    // The text is of one of several classes, whose defaults differ.
    fixed: &[Fixed::Said(&["rms_norm_eps"]), Fixed::Said(&["rope_parameters", "rope_scaling", "rope_theta"])],
    keys: &[
        keys::TRANSFORMER,
        keys::DECODER,
        &[Key::HeadLengthsOrShare],
        keys::FILE_TYPE,
        keys::LLAMA,
        &[
            Key::OfRope("rope.scaling.yarn_log_multiplier", "mscale_all_dim", 1.0),
            Key::OfRope("attention.temperature_scale", "llama_4_scaling_beta", 1.0),
        ],
    ],
    exported: Exported::Decoder {
        epsilon: ("rms_norm_eps", "attention.layer_norm_rms_epsilon"),
        biases: BIASES,
        others: &[("rope_parameters", Other::GrowingQueries)],
    },
    ..LLAMA
};
