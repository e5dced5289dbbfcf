//! [`Fixed`]: settings that no key of a GGUF has, because llama.cpp computes the same in every model of a family.
//!
//! Read from the graphs of its models and from how they read their parameters.

use std::fmt;

use serde_json::Value as Json;

use super::Family;
use crate::error::{Error, Result};
use crate::model::hf::json::Node;
use crate::model::windows::period;

const SEES_ALL: &str = "use_bidirectional_attention";

/// A setting of `config.json` that must be as llama.cpp has it.
#[derive(Debug, Clone, Copy)]
pub(in crate::model::hf) enum Fixed {
    /// A number. A configuration that is silent means this one.
    Number(&'static str, f64),
    /// A flag. A configuration that is silent means this value.
    Flag(&'static str, bool),
    /// A text, which must be there, in the file or by default.
    Text(&'static str, &'static str),
    /// A number of any value: without one the class would leave out what llama.cpp computes.
    Always(&'static str),
    /// No number: llama.cpp does not compute what it would be for.
    Never(&'static str),
    /// An empty list, or none.
    Empty(&'static str),
    /// One of the keys is there: what the class has where its configuration is silent depends on more than is known here.
    Said(&'static [&'static str]),
    /// Tokens do not attend to later tokens, which they do in embedding models.
    Causal,
    /// Layers have a sliding window, except every n-th, which sees the whole text, as llama.cpp has it for the architecture.
    Windows,
    /// Layers have rotary embeddings, except every n-th.
    Positions(u32),
    /// The square of what attention is divided by is a head's length. In the largest model, which has this many layers, it is a head's
    /// share of the width.
    QueryScale(u32),
}

impl Family {
    /// Refuses a configuration of which llama.cpp would compute something else.
    pub(in crate::model::hf) fn check_fixed(&self, config: &Node<'_>) -> Result<()> {
        for fixed in self.fixed {
            match *fixed {
                Fixed::Number(key, number) => self.expect(config.get(key), Node::f64, number)?,
                // The class takes null for false.
                Fixed::Flag(key, true) if config.value.get(key).is_some_and(Json::is_null) => {
                    return Err(self.other_than(&config.or_null(key), "true"));
                }
                Fixed::Flag(key, flag) => self.expect(config.get(key), Node::bool, flag)?,
                Fixed::Text(key, text) => {
                    self.expect(Some(config.or_null(key)), quoted, format!("'{text}'"))?
                }
                Fixed::Always(key) => {
                    if config.get(key).is_none() {
                        return Err(self.other_than(&config.or_null(key), "a number"));
                    }
                }
                Fixed::Never(key) => {
                    if let Some(node) = config.get(key) {
                        return Err(self.other_than(&node, "null"));
                    }
                }
                Fixed::Empty(key) => {
                    if let Some(list) = config.get(key)
                        && list.array()?.len() > 0
                    {
                        return Err(self.other_than(&list, "an empty list"));
                    }
                }
                Fixed::Said(keys) => {
                    if config.any(keys).is_none() {
                        return Err(config.wrong(&format!(
                            "has no {}, and what the class takes then is not known: add what the model was trained with",
                            or_list(keys)
                        )));
                    }
                }
                Fixed::Causal => {
                    self.expect(config.get("is_causal"), Node::bool, true)?;
                    self.expect(config.get(SEES_ALL), Node::bool, false)?;
                }
                Fixed::Windows => {
                    let Some(every) = period(self.architecture) else { continue };
                    for key in ["sliding_window_pattern", "_sliding_window_pattern"] {
                        self.expect(config.get(key), Node::u32, every)?;
                    }
                    for (node, is_nth) in each(config, "layer_types", every)? {
                        let kind = if is_nth { "'full_attention'" } else { "'sliding_attention'" };
                        self.expect(Some(node), quoted, kind.to_owned())?;
                    }
                }
                Fixed::Positions(every) => {
                    let layers = each(config, "no_rope_layers", every)?;
                    // What each layer has counts.
                    if layers.is_empty() {
                        self.expect(config.get("no_rope_layer_interval"), Node::u32, every)?;
                    }
                    for (node, is_nth) in layers {
                        self.expect(Some(node), Node::u32, u32::from(!is_nth))?;
                    }
                }
                Fixed::QueryScale(_) => {
                    let Some(node) = config.get("query_pre_attn_scalar") else { continue };
                    let number = |key: &str| config.get(key).map(|number| number.u32()).transpose();
                    let share = number("hidden_size")?.zip(number("num_attention_heads")?);
                    let share = share.and_then(|(width, heads)| width.checked_div(heads));
                    let length = self.query_scale(number("num_hidden_layers")?, number("head_dim")?, share);
                    match length {
                        Some(length) if node.f64()? != f64::from(length) => {
                            return Err(self.other_than(&node, &format!("{length}, a head's length,")));
                        }
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }

    /// Returns the flags and texts of `config.json` that all models of the family have alike.
    pub(in crate::model::hf) fn settings(&self) -> impl Iterator<Item = (&'static str, Json)> + use<> {
        self.fixed.iter().filter_map(|fixed| match *fixed {
            Fixed::Flag(key, flag) => Some((key, flag.into())),
            Fixed::Text(key, text) => Some((key, text.into())),
            Fixed::Causal => Some((SEES_ALL, false.into())),
            _ => None,
        })
    }

    /// Returns the square of what attention is divided by, if the family has a rule of its own. `share` is a head's share of the width.
    pub(in crate::model::hf) fn query_scale(
        &self,
        layers: Option<u32>,
        head_dim: Option<u32>,
        share: Option<u32>,
    ) -> Option<u32> {
        let largest = self.fixed.iter().find_map(|fixed| match *fixed {
            Fixed::QueryScale(layers) => Some(layers),
            _ => None,
        })?;
        if layers == Some(largest) { share } else { head_dim.or(share) }
    }

    /// Refuses a value that is there and another than llama.cpp has.
    fn expect<'a, T: PartialEq + fmt::Display>(
        &self,
        node: Option<Node<'a>>,
        read: impl FnOnce(&Node<'a>) -> Result<T>,
        right: T,
    ) -> Result<()> {
        match node {
            Some(node) if read(&node)? != right => Err(self.other_than(&node, &right.to_string())),
            _ => Ok(()),
        }
    }

    fn other_than(&self, node: &Node<'_>, right: &str) -> Error {
        node.wrong(&format!("must be {right} in {} models: llama.cpp computes no others", self.architecture))
    }
}

fn quoted(node: &Node<'_>) -> Result<String> {
    Ok(format!("'{}'", node.str()?))
}

/// Names for a message.
fn or_list(keys: &[&str]) -> String {
    keys.iter().map(|key| format!("'{key}'")).collect::<Vec<_>>().join(" or ")
}

/// The elements of a list of layers, if there is one, each with whether it is an n-th.
fn each<'a>(config: &Node<'a>, key: &str, every: u32) -> Result<Vec<(Node<'a>, bool)>> {
    let Some(list) = config.get(key) else { return Ok(Vec::new()) };
    Ok(list.array()?.zip(1u32..).map(|(node, layer)| (node, layer.is_multiple_of(every))).collect())
}
