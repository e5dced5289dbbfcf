//! [`Fixed`]: settings that no key of a GGUF has, because llama.cpp computes the same in every model of a family.
//!
//! Read from the graphs of its models and from how they read their parameters.

use super::Family;
use crate::error::Result;
use crate::model::hf::json::Node;

/// A setting of `config.json` that must be as llama.cpp has it.
#[derive(Debug, Clone, Copy)]
pub(in crate::model::hf) enum Fixed {
    /// A number. A configuration that is silent means this one.
    Number(&'static str, f64),
    /// A flag. A configuration that is silent means this value.
    Flag(&'static str, bool),
    /// A number of any value: without one the class would leave out what llama.cpp computes.
    Always(&'static str),
    /// No number: llama.cpp does not compute what it would be for.
    Never(&'static str),
    /// Layers have a sliding window, except every n-th, which sees the whole text.
    Windows(u32),
    /// Layers have rotary embeddings, except every n-th.
    Positions(u32),
    /// The square of what attention is divided by is a head's length. In the largest model, which has this many layers, it is a head's
    /// share of the width.
    QueryScale(u32),
}

impl Family {
    /// Refuses a configuration of which llama.cpp would compute something else.
    pub(in crate::model::hf) fn check_fixed(&self, config: &Node<'_>) -> Result<()> {
        let wrong = |node: &Node<'_>, what: &str| {
            Err(node.wrong(&format!("{what} in {} models: llama.cpp computes no others", self.architecture)))
        };
        for fixed in self.fixed {
            match *fixed {
                Fixed::Number(key, number) => match config.get(key) {
                    Some(node) if node.f64()? != number => wrong(&node, &format!("must be {number}"))?,
                    _ => {}
                },
                Fixed::Flag(key, flag) => match config.get(key) {
                    Some(node) if node.bool()? != flag => wrong(&node, &format!("must be {flag}"))?,
                    _ => {}
                },
                Fixed::Always(key) => {
                    if config.get(key).is_none() {
                        wrong(&config.or_null(key), "must be a number")?;
                    }
                }
                Fixed::Never(key) => {
                    if let Some(node) = config.get(key) {
                        wrong(&node, "must be null")?;
                    }
                }
                Fixed::Windows(every) => {
                    for key in ["sliding_window_pattern", "_sliding_window_pattern"] {
                        match config.get(key) {
                            Some(node) if node.u32()? != every => wrong(&node, &format!("must be {every}"))?,
                            _ => {}
                        }
                    }
                    for (node, is_nth) in each(config, "layer_types", every)? {
                        let kind = if is_nth { "full_attention" } else { "sliding_attention" };
                        if node.str()? != kind {
                            wrong(&node, &format!("must be '{kind}'"))?;
                        }
                    }
                }
                Fixed::Positions(every) => {
                    let layers = each(config, "no_rope_layers", every)?;
                    // What each layer has counts.
                    match config.get("no_rope_layer_interval").filter(|_| layers.is_empty()) {
                        Some(node) if node.u32()? != every => wrong(&node, &format!("must be {every}"))?,
                        _ => {}
                    }
                    for (node, is_nth) in layers {
                        let knows = u32::from(!is_nth);
                        if node.u32()? != knows {
                            wrong(&node, &format!("must be {knows}"))?;
                        }
                    }
                }
                Fixed::QueryScale(layers) => {
                    let Some(node) = config.get("query_pre_attn_scalar") else { continue };
                    let number = |key: &str| config.get(key).map(|number| number.u32()).transpose();
                    let share = number("hidden_size")?.zip(number("num_attention_heads")?);
                    let share = share.and_then(|(width, heads)| width.checked_div(heads));
                    let length = match number("num_hidden_layers")? == Some(layers) {
                        true => share,
                        false => number("head_dim")?.or(share),
                    };
                    match length {
                        Some(length) if node.f64()? != f64::from(length) => {
                            wrong(&node, &format!("must be {length}, a head's length,"))?;
                        }
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }
}

/// The elements of a list of layers, if there is one, each with whether it is an n-th.
fn each<'a>(config: &Node<'a>, key: &str, every: u32) -> Result<Vec<(Node<'a>, bool)>> {
    let Some(list) = config.get(key) else { return Ok(Vec::new()) };
    Ok(list.array()?.zip(1u32..).map(|(node, layer)| (node, layer.is_multiple_of(every))).collect())
}
