//! Warns of edits that are probably unintended: values that no model has, or that do not match the tensors.

use super::change::EditChange;
use crate::gguf::metadata::Metadata;
use crate::gguf::value::Value;
use crate::gguf::value_ref::ValueRef;
use crate::gguf::{Indexed, as_integer};
use crate::model::layer::{Layer, TOKEN_EMBEDDING};

/// Returns a sentence for each change that is probably unintended. `architecture` is that of the edited model, and `tensors` are
/// its tensors.
pub(super) fn notes<'t>(
    changes: &[EditChange],
    source: &Indexed,
    architecture: Option<&str>,
    tensors: impl Iterator<Item = &'t str>,
) -> Vec<String> {
    let facts = Facts {
        metadata: source.model.metadata(),
        layers: tensors
            .filter_map(|name| Layer::split(name).0)
            .filter(|layer| layer.part().is_empty())
            .map(|layer| layer.index() + 1)
            .max(),
        row: source.model.tensor_info(TOKEN_EMBEDDING).ok().map(|tensor| tensor.shape().row_len()),
    };
    let note = |change: &EditChange| {
        let (key, value) = match change {
            EditChange::Set { key, to, .. } => (key, to),
            EditChange::Added { key, value } => (key, value),
            _ => return None,
        };
        let own = architecture.and_then(|name| key.strip_prefix(name)?.strip_prefix('.'));
        let problem = facts.problem(own.unwrap_or(key), value)?;
        Some(format!("{key}: {problem}"))
    };
    changes.iter().filter_map(note).collect()
}

/// What the file contains besides the value.
struct Facts<'a> {
    metadata: Metadata<'a>,
    /// The number of layers that have tensors.
    layers: Option<u32>,
    /// The length of a row of the token embedding.
    row: Option<u64>,
}

impl Facts<'_> {
    /// Returns the problem with the value of a key, whose name may be without its architecture.
    fn problem(&self, key: &str, value: &Value) -> Option<String> {
        if key == "tokenizer.chat_template" || key.starts_with("tokenizer.chat_template.") {
            let Value::String(text) = value else { return None };
            return super::template::problem(text);
        }
        if let Some(name) =
            key.strip_prefix("tokenizer.ggml.").and_then(|name| name.strip_suffix("_token_id"))
        {
            let Some(ValueRef::Array(tokens)) = self.metadata.get("tokenizer.ggml.tokens") else {
                return None;
            };
            let count = tokens.len() as f64;
            let id = number(value)?;
            return (id >= count)
                .then(|| format!("there are {count} tokens, and none is {id}, the {name} token's"));
        }
        let number = number(value);
        let positive = |number: f64| {
            let is_positive = number.is_finite() && number > 0.0;
            (!is_positive).then(|| format!("{number} is not greater than 0, as programs take for granted"))
        };
        match key {
            "block_count" => {
                let layers = f64::from(self.layers?);
                let number = number.filter(|number| *number != layers)?;
                Some(format!("it becomes {number}, and there are tensors of {layers} layers"))
            }
            "embedding_length" => {
                let row = self.row? as f64;
                let number = number.filter(|number| *number != row)?;
                Some(format!("it becomes {number}, and token_embd.weight has rows of {row}"))
            }
            "context_length"
            | "feed_forward_length"
            | "attention.head_count"
            | "vocab_size"
            | "rope.freq_base"
            | "rope.scaling.factor"
            | "rope.scaling.original_context_length"
            | "attention.key_length"
            | "attention.value_length" => positive(number?),
            "attention.layer_norm_rms_epsilon" | "attention.layer_norm_epsilon" => {
                let number = number.filter(|number| !(*number > 0.0 && *number < 1.0))?;
                Some(format!("{number} is not between 0 and 1, as programs take for granted"))
            }
            "rope.dimension_count" => {
                let number = number.filter(|number| *number <= 0.0 || *number % 2.0 != 0.0)?;
                Some(format!("{number} is not even and greater than 0: rope turns pairs"))
            }
            "rope.scaling.type" => {
                const KNOWN: [&str; 4] = ["none", "linear", "yarn", "longrope"];
                let Value::String(text) = value else { return None };
                let text = String::from_utf8_lossy(text);
                (!KNOWN.contains(&&*text))
                    .then(|| format!("'{}' is not one of {}", text.escape_debug(), KNOWN.join(", ")))
            }
            _ => None,
        }
    }
}

fn number(value: &Value) -> Option<f64> {
    match *value {
        Value::F32(value) => Some(value.into()),
        Value::F64(value) => Some(value),
        _ => as_integer(value).map(|integer| integer as f64),
    }
}
