//! [`Role`]: the role of a tensor in its model, by its name.

use super::super::layer::TOKEN_EMBEDDING;

/// The roles that the mixtures distinguish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::model) enum Role {
    TokenEmbedding,
    Output,
    Query,
    Key,
    /// The values, alone or in one matrix with queries and keys. They suffer most.
    Value,
    AttentionOutput,
    Gate,
    Up,
    Down,
    Other,
}

impl Role {
    pub(in crate::model) fn of(name: &str) -> Self {
        /// The first of these that the name contains decides.
        const PARTS: [(&str, Role); 9] = [
            ("attn_qkv.weight", Role::Value),
            ("attn_kv_b.weight", Role::Value),
            ("attn_v.weight", Role::Value),
            ("attn_k.weight", Role::Key),
            ("attn_q.weight", Role::Query),
            ("attn_output.weight", Role::AttentionOutput),
            ("ffn_up", Role::Up),
            ("ffn_gate", Role::Gate),
            ("ffn_down", Role::Down),
        ];
        match name {
            "output.weight" => Role::Output,
            TOKEN_EMBEDDING | "per_layer_token_embd.weight" => Role::TokenEmbedding,
            name => PARTS.iter().find(|(part, _)| name.contains(part)).map_or(Role::Other, |(_, role)| *role),
        }
    }
}

#[cfg(all(feature = "codecs", feature = "std", any(unix, windows)))]
impl Role {
    pub(in crate::model) const ALL: [Role; 10] = [
        Role::TokenEmbedding,
        Role::Output,
        Role::Query,
        Role::Key,
        Role::Value,
        Role::AttentionOutput,
        Role::Gate,
        Role::Up,
        Role::Down,
        Role::Other,
    ];

    /// Returns llama.cpp's name for such tensors.
    pub(in crate::model) fn name(self) -> &'static str {
        match self {
            Role::TokenEmbedding => "token_embd",
            Role::Output => "output",
            Role::Query => "attn_q",
            Role::Key => "attn_k",
            Role::Value => "attn_v",
            Role::AttentionOutput => "attn_output",
            Role::Gate => "ffn_gate",
            Role::Up => "ffn_up",
            Role::Down => "ffn_down",
            Role::Other => "other",
        }
    }
}

/// Names, or parts of them, of matrices that are too small or too sensitive to be quantized.
const KEPT: [&str; 35] = [
    "_norm.weight",
    // The router that selects experts for a token.
    "ffn_gate_inp.weight",
    "ffn_gate_tid2eid.weight",
    "indexer.k_proj.weight",
    "indexer.q_proj.weight",
    // Gemma 3n
    "altup",
    "laurel",
    "per_layer_model_proj",
    // Convolutions of state-space models
    "ssm_conv1d",
    "shortconv.conv.weight",
    // RWKV
    "time_mix_first.weight",
    "time_mix_w0.weight",
    "time_mix_w1.weight",
    "time_mix_w2.weight",
    "time_mix_v0.weight",
    "time_mix_v1.weight",
    "time_mix_v2.weight",
    "time_mix_a0.weight",
    "time_mix_a1.weight",
    "time_mix_a2.weight",
    "time_mix_g1.weight",
    "time_mix_g2.weight",
    "time_mix_decay_w1.weight",
    "time_mix_decay_w2.weight",
    "time_mix_lerp_fused.weight",
    // T5
    "attn_rel_b.weight",
    // Images
    ".position_embd",
    "sam.pos_embd",
    "sam.neck.",
    "sam.net_",
    ".rel_pos",
    ".patch_embd",
    ".patch_merger",
    // Sound
    "a.rvq.codebook",
    "mm.a.code_embd",
];

/// The same for BERT, by their full names.
const KEPT_WHOLE: [&str; 2] = ["position_embd.weight", "token_types.weight"];

/// Returns `true` if llama.cpp quantizes a matrix of this name.
pub(super) fn is_quantized(name: &str) -> bool {
    // llama.cpp checks whether the last `weight` begins six characters before the end. A name of five characters does not
    // contain it, and the number for "nowhere" is then equal to five minus six.
    (name.ends_with("weight") || name.len() == 5)
        && !KEPT_WHOLE.contains(&name)
        && !KEPT.iter().any(|part| name.contains(part))
}
