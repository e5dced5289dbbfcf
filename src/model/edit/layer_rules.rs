//! What llama.cpp goes by a layer's number for, or by how many layers there are, where no key says it.

use std::collections::BTreeSet;

use crate::error::{Error, Result};
use crate::gguf::FromValue;
use crate::gguf::index::Gguf;
use crate::gguf::metadata::Metadata;
use crate::gguf::value_ref::{ArrayRef, ValueRef};
use crate::model::layer::Layer;
use crate::model::windows;

/// The key that specifies which layers have a window, by a number or an array.
pub(super) const PATTERN: &str = "attention.sliding_window_pattern";
/// Keys that specify which layers are of another kind by an interval.
const INTERVALS: [&str; 3] = ["full_attention_interval", "interleave_moe_layer_step", "moe_every_n_layers"];

/// Refuses to drop layers where the others would be computed differently by their new numbers or their new count.
pub(super) fn check<B: AsRef<[u8]>>(model: &Gguf<B>, count: u32, dropped: &BTreeSet<u32>) -> Result<()> {
    let metadata = model.metadata();
    let architecture = metadata.architecture().unwrap_or_default();
    let refused = |message: String| Err(Error::write(message));
    if model.has_tensor("per_layer_token_embd.weight") {
        let why = "tensor 'per_layer_token_embd.weight' has values for each layer beside each other";
        return refused(format!("layers cannot be left out: {why}"));
    }
    let part = |name: &str| Layer::split(name).0.is_some_and(|layer| matches!(layer.part(), "enc" | "dec"));
    if let Some((name, _)) = model.table().find(|(name, _)| part(name)) {
        return refused(format!(
            "layers cannot be left out of a model with several stacks of them, such as that of tensor '{name}'"
        ));
    }
    let left = count - dropped.len() as u32;
    if rule_of_count(architecture, count) != rule_of_count(architecture, left) {
        return refused(format!(
            "with {left} layers instead of {count}, a model of architecture '{architecture}' would be computed in another way"
        ));
    }
    if let Some(first) = metadata.optional_arch::<u32>("n_deepstack_layers")?
        && let Some(layer) = dropped.range(..first).next()
    {
        return refused(format!(
            "layer {layer} cannot be left out: the first {first} have a part of each picture added to them, by their numbers"
        ));
    }
    // The first of the layers that stay whose number does not change by a multiple of this.
    let disturbed = |period: u32| {
        let kept = (0..count).filter(|layer| !dropped.contains(layer));
        kept.map(|layer| (layer, dropped.range(..layer).count() as u32))
            .find(|(_, by)| !by.is_multiple_of(period))
            .map(|(layer, by)| format!("layer {layer} would become {}", layer - by))
    };
    let instead =
        |period: u32| format!("leave out {period} layers that follow each other, or a multiple of that");
    for key in INTERVALS {
        let Some(interval) = metadata.optional_arch::<u32>(key)?.filter(|&interval| interval > 1) else {
            continue;
        };
        if let Some(what) = disturbed(interval) {
            let instead = instead(interval);
            return refused(format!("{what} and be of another kind, since '{key}' is {interval}: {instead}"));
        }
    }
    if let Some(period) = period_by_number(metadata)?
        && let Some(what) = disturbed(period)
    {
        let instead = instead(period);
        return refused(format!(
            "{what} and be of another kind, since layers of architecture '{architecture}' repeat every {period}: {instead}"
        ));
    }
    const HALVED: &str = "rescale_every_n_layers";
    if metadata.optional_arch::<u32>(HALVED)?.is_some_and(|every| every > 0)
        && let Some(what) = disturbed(u32::MAX)
    {
        return refused(format!(
            "{what}, and its weights are divided by a power of two that goes by its number ('{HALVED}'): leave out the last layers"
        ));
    }
    Ok(())
}

/// Returns which of its rules llama.cpp applies to a model of this many layers, where the number selects one.
fn rule_of_count(architecture: &str, count: u32) -> u32 {
    match (architecture, count) {
        // The scale of attention.
        ("gemma2", 46) | ("gemma3", 62) => 1,
        // Windows.
        ("exaone4", 64) => 1,
        // Norms of queries and keys.
        ("command-r", 64..) => 1,
        ("deepseek2", 26 | 27) => 1,
        ("deepseek2", 47 | 48) => count,
        // Rotary embeddings: in all layers, or with 32 layers alone, and biases of attention by distance with 40.
        ("smallthinker", 4) => 1,
        ("baichuan", 32 | 40) => count,
        // The scale of residuals, which no key specifies.
        ("minicpm3" | "hrm-text" | "nanbeige", count) => count,
        _ => 0,
    }
}

/// Returns after how many layers llama.cpp applies the same rule again, where the number of a layer determines it and no key can:
/// rotary embeddings in some layers, and windows of architectures that [`Edit::drop_layers`](super::Edit::drop_layers) has no key for.
fn period_by_number(metadata: Metadata<'_>) -> Result<Option<u32>> {
    let window = metadata.optional_arch::<u32>("attention.sliding_window")?;
    let pattern = metadata.optional_arch::<ValueRef<'_>>(PATTERN)?;
    let by_key = |default: u32| match pattern {
        Some(value) if ArrayRef::from_value(value).is_some() => None,
        Some(value) => u32::from_value(value).filter(|&period| period > 1),
        None => Some(default),
    };
    let architecture = metadata.architecture().unwrap_or_default();
    Ok(match architecture {
        "smollm3" => Some(4),
        // Here rotary embeddings go by the windows. In the last two, all layers have them without windows.
        "afmoe" => windows::period(architecture),
        "llama4" if window != Some(0) => windows::period(architecture),
        "smallthinker" if window.is_some_and(|window| window > 0) => windows::period(architecture),
        "modern-bert" => by_key(3),
        "gemma-embedding" => by_key(6),
        "cohere2moe" | "laguna" => by_key(4),
        "qwen3next" | "qwen35" | "qwen35moe" if metadata.optional_arch::<u32>(INTERVALS[0])?.is_none() => {
            Some(4)
        }
        _ => None,
    })
}
