//! Numbers that are right in themselves, and with which llama.cpp ends.

use super::Family;
use super::keys::Key;
use crate::error::Result;
use crate::model::hf::json::Node;

impl Family {
    /// Refuses numbers with which llama.cpp ends: of experts that a token goes to, and what norms add to a variance.
    pub(in crate::model::hf) fn check_numbers(&self, config: &Node<'_>) -> Result<()> {
        for key in self.keys.iter().copied().flatten() {
            match *key {
                Key::F32(key, names) | Key::F32Or(key, names, _) if key.ends_with("epsilon") => {
                    if let Some(epsilon) = config.any(names) {
                        let number = epsilon.f64()?;
                        if number as f32 <= 0.0 {
                            return Err(epsilon.wrong(&format!(
                                "is {number:?}, and must be more than 0 in single precision: norms divide by it where all values are 0"
                            )));
                        }
                    }
                }
                _ => {}
            }
        }
        let Some(count) = self.experts(config)? else { return Ok(()) };
        let used = self.keys.iter().copied().flatten().find_map(|key| match *key {
            Key::U32("expert_used_count", names) => Some(names),
            Key::Required("expert_used_count", _) => Some(&["num_experts_per_tok"][..]),
            _ => None,
        });
        let Some(names) = used else { return Ok(()) };
        let Some(used) = config.any(names) else {
            let name = names.first().copied().unwrap_or_default();
            return Err(config
                .wrong(&format!("has no '{name}', which says how many experts of {count} a token goes to")));
        };
        match used.u32()? {
            0 => Err(used.wrong(&format!("is 0, and must be from 1 to the number of experts, {count}"))),
            number if number > count => {
                Err(used.wrong(&format!("is {number}, and must be at most the number of experts, {count}")))
            }
            _ => Ok(()),
        }
    }

    /// The number of experts of which a router takes some.
    pub(in crate::model::hf) fn experts(&self, config: &Node<'_>) -> Result<Option<u32>> {
        let names = self.keys.iter().copied().flatten().find_map(|key| match *key {
            Key::U32("expert_count", names) => Some(names),
            _ => None,
        });
        names.and_then(|names| config.any(names)).map(|count| count.u32()).transpose()
    }
}
