//! The names of PEFT's tensors: which weight each belongs to, and which factor it is.

use super::json::Node;
use crate::safetensors::CheckpointTensor;

/// Which of the two factors a tensor is.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Side {
    A,
    B,
}

/// Whether a checkpoint is an adapter of the kind that becomes a GGUF.
pub(super) fn is_lora<'a>(
    config: &Node<'_>,
    mut tensors: impl Iterator<Item = CheckpointTensor<'a>>,
) -> bool {
    let kind = config.get("peft_type").and_then(|kind| kind.value.as_str());
    kind.is_none_or(|kind| kind == "LORA") && tensors.any(|tensor| side(tensor.info().name()).is_some())
}

/// The weight that a tensor belongs to, and which factor it is.
pub(super) fn side(name: &str) -> Option<(String, Side)> {
    let name = name.replace("base_model.model.", "");
    let ends = [
        (".lora_A.weight", Side::A),
        (".lora_B.weight", Side::B),
        (".lora_A.default.weight", Side::A),
        (".lora_B.default.weight", Side::B),
        (".lora_embedding_A", Side::A),
        (".lora_embedding_B", Side::B),
    ];
    ends.iter().find_map(|(end, side)| Some((format!("{}.weight", name.strip_suffix(end)?), *side)))
}
