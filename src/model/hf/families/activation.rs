//! [`Activation`]: what llama.cpp computes between matrices, whatever `config.json` says.

use super::Family;
use crate::error::{Result, Shown};
use crate::model::hf::json::Node;

/// A function that no key of a GGUF names, or whose key has few values.
#[derive(Debug, Clone, Copy)]
pub(in crate::model::hf) struct Activation {
    /// Keys of `config.json` that name it; the first is the one that is written.
    keys: &'static [&'static str],
    /// What it is called there, which is what is written.
    name: &'static str,
    /// Other names of the same function, and of what approximates it.
    others: &'static [&'static str],
    /// Names of other functions, which a key of the GGUF can say.
    said: &'static [&'static str],
}

impl Activation {
    pub(super) const SILU: Self = Activation { keys: ACT, name: "silu", others: &["swish"], said: &[] };
    /// Which llama.cpp approximates by the hyperbolic tangent.
    pub(super) const GELU: Self = Activation { keys: ACT, name: "gelu", others: GELUS, said: &[] };
    pub(super) const GELU_TANH: Self = Activation { name: "gelu_pytorch_tanh", ..Self::GELU };

    pub(super) const fn under(self, keys: &'static [&'static str]) -> Self {
        Activation { keys, ..self }
    }

    pub(super) const fn or(self, said: &'static [&'static str]) -> Self {
        Activation { said, ..self }
    }

    /// The key of `config.json`, and its value.
    pub(in crate::model::hf) fn written(&self) -> Option<(&'static str, &'static str)> {
        Some((self.keys.first()?, self.name))
    }
}

const ACT: &[&str] = &["hidden_act"];
const GELUS: &[&str] = &[
    "gelu",
    "gelu_pytorch_tanh",
    "gelu_new",
    "gelu_fast",
    "gelu_accurate",
    "gelu_python",
    "gelu_python_tanh",
];

impl Family {
    /// Refuses a configuration with another function than llama.cpp computes.
    pub(in crate::model::hf) fn check_activations(&self, config: &Node<'_>) -> Result<()> {
        for Activation { keys, name, others, said } in self.activations {
            let others = || others.iter().chain(*said).copied().filter(|other| other != name);
            for node in keys.iter().filter_map(|key| config.get(key)) {
                let function = node.str()?;
                if function != *name && !others().any(|other| other == function) {
                    return Err(node.wrong(&format!(
                        "is '{}', which llama.cpp does not compute in {} models: they have {name}, also by the names {}",
                        Shown(function),
                        self.architecture,
                        others().collect::<Vec<_>>().join(", ")
                    )));
                }
            }
        }
        Ok(())
    }
}
