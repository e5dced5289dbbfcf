//! Warns of edits that are probably unintended: values that no model has, or that do not match the tensors.

use std::collections::HashMap;

use super::change::EditChange;
use crate::gguf::metadata::Metadata;
use crate::gguf::value::{Array, Value};
use crate::gguf::value_ref::ValueRef;
use crate::gguf::{Indexed, as_integer};
use crate::model::layer::{Layer, TOKEN_EMBEDDING};

const TOKENS: &str = "tokenizer.ggml.tokens";
const TOKEN_TYPES: &str = "tokenizer.ggml.token_type";

/// Returns a sentence for each change that is probably unintended. `architecture` is that of the edited model, and `tensors` are
/// its tensors.
pub(super) fn notes<'t>(
    changes: &[EditChange],
    source: &Indexed,
    architecture: Option<&str>,
    tensors: impl Iterator<Item = &'t str>,
) -> Vec<String> {
    let model = &source.model;
    let facts = Facts { source, metadata: model.metadata(), layers: layers(tensors) };
    let own = |key: &str| Some(key.strip_prefix(architecture?)?.strip_prefix('.')?.to_owned());
    let note = |change: &EditChange| {
        let (key, problem) = match change {
            EditChange::Set { key, from, to } => {
                let own = own(key);
                let retyped = own.as_ref().and_then(|_| retyped(from, to));
                (key, retyped.or_else(|| facts.problem(own.as_deref().unwrap_or(key), to)))
            }
            EditChange::Added { key, value } => {
                (key, facts.problem(own(key).as_deref().unwrap_or(key), value))
            }
            EditChange::SetElement { key, index, to, .. } => (key, facts.element(key, *index, to)),
            EditChange::Removed { key, .. } | EditChange::KeyRenamed { from: key, .. } => {
                (key, facts.missing(key))
            }
            EditChange::TensorRemoved { name } | EditChange::TensorRenamed { from: name, .. } => {
                let is_missed = name == TOKEN_EMBEDDING && architecture.is_some();
                (name, is_missed.then(|| "no model is without it, and llama.cpp loads none".to_owned()))
            }
            EditChange::ByteOrder { .. } => return None,
        };
        Some(format!("{key}: {}", problem?))
    };
    let mut notes: Vec<_> = changes.iter().filter_map(note).collect();
    let is_count = |change: &EditChange| matches!(change, EditChange::Set { key, .. } if own(key).is_some_and(|key| key == COUNT));
    let before = layers(model.table().map(|(name, _)| name));
    let counted = model.metadata().optional_arch::<u32>(COUNT).ok().flatten();
    if before.is_some() && before == counted && facts.layers != before && !changes.iter().any(is_count) {
        let (count, left) = (before.unwrap_or(0), facts.layers.unwrap_or(0));
        let architecture = architecture.unwrap_or_default();
        notes.push(format!("{architecture}.{COUNT}: it is {count}, and there are tensors of {left} layers"));
    }
    notes
}

const COUNT: &str = "block_count";

/// The number of layers that have tensors.
fn layers<'t>(tensors: impl Iterator<Item = &'t str>) -> Option<u32> {
    let layers = tensors.filter_map(|name| Layer::split(name).0).filter(|layer| layer.part().is_empty());
    layers.map(|layer| layer.index().saturating_add(1)).max()
}

/// Returns the problem with a number of another type than before.
fn retyped(from: &Value, to: &Value) -> Option<String> {
    let is_other = matches!(from, Value::U32(_)) && as_integer(to).is_some() && !matches!(to, Value::U32(_));
    is_other
        .then(|| format!("llama.cpp reads it as u32, and loads no model in which it is {}", to.value_type()))
}

/// What the file contains besides the value.
struct Facts<'a> {
    source: &'a Indexed,
    metadata: Metadata<'a>,
    /// The number of layers that have tensors.
    layers: Option<u32>,
}

impl Facts<'_> {
    /// The length of a matrix's rows, or the number of them.
    fn extent(&self, name: &str, axis: usize) -> Option<f64> {
        let shape = self.source.model.tensor_info(name).ok()?.shape();
        shape.dims().get(axis).map(|&extent| extent as f64)
    }

    /// Returns the problem if there is no such key any more.
    fn missing(&self, key: &str) -> Option<String> {
        match key {
            "general.architecture" => Some("without it no program knows what the model is".to_owned()),
            TOKENS if self.metadata.contains("tokenizer.ggml.model") => {
                Some("without it the tokenizer has no tokens".to_owned())
            }
            _ => None,
        }
    }

    /// Returns the problem with an element of an array.
    fn element(&self, key: &str, index: usize, value: &Value) -> Option<String> {
        match (key, value) {
            (TOKENS, Value::String(text)) => {
                let tokens = self.metadata.require_array::<&[u8]>(TOKENS).ok()?;
                let mut others = tokens.enumerate().filter(|(other, _)| *other != index);
                let (other, _) = others.find(|(_, token)| token.as_ref().is_ok_and(|token| token == text))?;
                Some(twice(text, other, index))
            }
            (TOKEN_TYPES, value) => no_kind(value),
            _ => None,
        }
    }

    /// Returns the problem with the value of a key, whose name may be without its architecture.
    fn problem(&self, key: &str, value: &Value) -> Option<String> {
        if key == "tokenizer.chat_template" || key.starts_with("tokenizer.chat_template.") {
            let Value::String(text) = value else { return None };
            return super::template::problem(text);
        }
        if let Some(name) =
            key.strip_prefix("tokenizer.ggml.").and_then(|name| name.strip_suffix("_token_id"))
        {
            let Some(ValueRef::Array(tokens)) = self.metadata.get(TOKENS) else {
                return None;
            };
            let count = tokens.len() as f64;
            let id = number(value)?;
            return (id >= count)
                .then(|| format!("there are {count} tokens, and none is {id}, the {name} token's"));
        }
        if let Value::Array(array) = value {
            return match key {
                TOKENS => {
                    let mut ids = HashMap::new();
                    let Array::String(texts) = array else { return None };
                    texts
                        .iter()
                        .enumerate()
                        .find_map(|(id, text)| Some(twice(text, ids.insert(text, id)?, id)))
                }
                TOKEN_TYPES => (0..array.len()).find_map(|id| no_kind(&array.element(id)?)),
                _ => None,
            };
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
                let row = self.extent(TOKEN_EMBEDDING, 0)?;
                let number = number.filter(|number| *number != row)?;
                Some(format!("it becomes {number}, and token_embd.weight has rows of {row}"))
            }
            "vocab_size" => {
                let rows = self.extent(TOKEN_EMBEDDING, 1)?;
                let number = number.filter(|number| *number != rows)?;
                Some(format!("it becomes {number}, and token_embd.weight has {rows} rows"))
            }
            "attention.head_count" => {
                let number = number?;
                let rows = self.extent("blk.0.attn_q.weight", 1);
                let split = rows.filter(|rows| number > 0.0 && rows % number != 0.0);
                let split = split.map(|rows| {
                    format!(
                        "it becomes {number}, and the {rows} rows of blk.0.attn_q.weight are no whole heads"
                    )
                });
                split.or_else(|| positive(number))
            }
            "feed_forward_length" => {
                let number = number?;
                let rows = self.extent("blk.0.ffn_up.weight", 1);
                // Some matrices hold what others have in two.
                let other = rows.filter(|rows| number > 0.0 && *rows != number && *rows != 2.0 * number);
                let other =
                    other.map(|rows| format!("it becomes {number}, and blk.0.ffn_up.weight has {rows} rows"));
                other.or_else(|| positive(number))
            }
            "context_length"
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

fn twice(text: &[u8], first: usize, second: usize) -> String {
    let text = String::from_utf8_lossy(text);
    format!(
        "tokens {first} and {second} are both '{}', and llama.cpp loads no such vocabulary",
        text.escape_debug()
    )
}

fn no_kind(value: &Value) -> Option<String> {
    let kind = as_integer(value).filter(|kind| !(0..=6).contains(kind))?;
    Some(format!("{kind} is no kind of token: they are 1 (normal) to 6 (byte)"))
}

fn number(value: &Value) -> Option<f64> {
    match *value {
        Value::F32(value) => Some(value.into()),
        Value::F64(value) => Some(value),
        _ => as_integer(value).map(|integer| integer as f64),
    }
}
