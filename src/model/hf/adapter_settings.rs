//! Settings of `adapter_config.json` with which an adapter is more than a sum, or one for other weights than the base model's.

use super::json::Node;
use crate::error::{Result, Shown};

/// The end of messages about adapters of PEFT that have more than GGUF's.
pub(super) const MERGE_INSTEAD: &str =
    ": merge the adapter into its model instead (merge_and_unload() of PEFT)";

/// What must not be set, and what it does.
const REFUSED: [(&str, &str); 9] = [
    ("use_dora", "is true, and DoRA has"),
    ("fan_in_fan_out", "is true, and weights that are transposed have"),
    ("use_qalora", "is true, and factors of sums of inputs (QALoRA) have"),
    ("use_bdlora", "is set, and factors of blocks (BD-LoRA) have"),
    ("alpha_pattern", "gives weights an alpha of their own, which has"),
    ("target_parameters", "names parameters that are adapted without a layer, which have"),
    ("trainable_token_indices", "names tokens whose rows were trained as they are, which have"),
    ("layer_replication", "makes a model of other layers, which has"),
    ("arrow_config", "chooses among adapters by the input, which has"),
];

/// Initializations that take something away from the weights of the base model.
const CHANGING_BASE: [&str; 5] = ["pissa", "olora", "corda", "loftq", "lora_ga"];

/// Refuses what W + scale · B · A, with W of the base model, is not.
pub(super) fn check_settings(adapter: &Node<'_>) -> Result<()> {
    for (key, what) in REFUSED {
        if adapter.get(key).is_some_and(|node| is_set(&node)) {
            return Err(adapter.about(&format!("'{key}' {what} no place in a GGUF adapter{MERGE_INSTEAD}")));
        }
    }
    if let Some(node) = adapter.get("init_lora_weights")
        && let Some(name) = node.value.as_str()
        && CHANGING_BASE.iter().any(|start| name.to_lowercase().starts_with(start))
    {
        return Err(node.wrong(&format!(
            "is '{}', which took the factors out of the weights of the base model: they belong to what was left of those. Save the \
             adapter for the weights as they were (`path_initial_model_for_weight_conversion` of PEFT's save_pretrained()), or merge it \
             into its model (merge_and_unload())",
            Shown(name)
        )));
    }
    if adapter.get("invocation_string").is_some() && adapter.get("alora_invocation_tokens").is_none() {
        return Err(adapter.about(
            "there is an 'invocation_string' and no 'alora_invocation_tokens': the adapter acts after these tokens alone, and would \
             always. Add their ids as 'alora_invocation_tokens'",
        ));
    }
    Ok(())
}

/// Whether Python takes a value for true.
fn is_set(node: &Node<'_>) -> bool {
    match node.value {
        serde_json::Value::Null => false,
        serde_json::Value::Bool(flag) => *flag,
        serde_json::Value::Array(elements) => !elements.is_empty(),
        serde_json::Value::Object(members) => !members.is_empty(),
        serde_json::Value::String(text) => !text.is_empty(),
        serde_json::Value::Number(number) => number.as_f64() != Some(0.0),
    }
}
