//! Which layers of a model see a window of a text, where llama.cpp goes by the architecture.

/// Returns the length of a run of layers of which one sees the whole text and the others a window, or `None` if layers are alike or the
/// file says which have one.
pub(in crate::model) fn period(architecture: &str) -> Option<u32> {
    Some(match architecture {
        "gemma2" | "gpt-oss" => 2,
        "cohere2" | "olmo2" | "exaone-moe" | "afmoe" | "mellum" | "exaone4" | "llama4" | "smallthinker" => 4,
        "gemma3n" => 5,
        "gemma3" => 6,
        "plamo3" => 8,
        _ => return None,
    })
}
