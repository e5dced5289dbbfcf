//! [`Role`]: what a tensor does in its model, by its name.

/// What the mixtures tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model) enum Role {
    TokenEmbedding,
    Output,
    Query,
    Key,
    /// The values, alone or in one matrix with queries and keys: they suffer most.
    Value,
    AttentionOutput,
    Gate,
    Up,
    Down,
    Other,
}

impl Role {
    pub(in crate::model) fn of(name: &str) -> Self {
        /// The first that the name contains decides.
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
            "token_embd.weight" | "per_layer_token_embd.weight" => Role::TokenEmbedding,
            name => PARTS.iter().find(|(part, _)| name.contains(part)).map_or(Role::Other, |(_, role)| *role),
        }
    }
}

#[cfg(all(feature = "codecs", feature = "std", any(unix, windows)))]
impl Role {
    /// As llama.cpp calls its tensors.
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
    // Which expert a token goes to.
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

/// The same of BERT, by their whole names.
const KEPT_WHOLE: [&str; 2] = ["position_embd.weight", "token_types.weight"];

/// Whether llama.cpp quantizes a matrix of this name.
pub(super) fn is_quantized(name: &str) -> bool {
    // llama.cpp asks whether the last `weight` begins six characters before the end. In a name of five there is none, and
    // its numbers for "nowhere" and for five less six are the same.
    (name.ends_with("weight") || name.len() == 5)
        && !KEPT_WHOLE.contains(&name)
        && !KEPT.iter().any(|part| name.contains(part))
}
