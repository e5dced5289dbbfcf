//! Types that are chosen for a size: the arguments, and what is said of the choice.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use gguf_codec::model::{Allocation, Budget, Input};
use serde_json::json;

use crate::{cli, size};

/// What conflicts with choosing.
const OTHERS: [&str; 7] = [
    "recipe",
    "types_like",
    "pure",
    "tensor_type",
    "output_tensor_type",
    "token_embedding_type",
    "leave_output_tensor",
];

#[derive(clap::Args)]
pub(crate) struct Wanted {
    /// Instead of a recipe: choose the type of each tensor so that their data takes no more than this and the model suffers least, by
    /// an estimate. A number of bytes, or one with a unit, as in 5.5GB
    #[arg(long, value_name = "SIZE", value_parser = size::size, conflicts_with_all = OTHERS, conflicts_with = "bpw")]
    size: Option<u64>,
    /// The same for so many bits per weight in the mean
    #[arg(long, value_name = "BITS", conflicts_with_all = OTHERS)]
    bpw: Option<f64>,
    /// How much the model suffers from each tensor, instead of defaults by role: lines of a name, a tab and a number. With --size
    /// or --bpw
    #[arg(long, value_name = "FILE", conflicts_with_all = OTHERS)]
    #[arg(value_parser = crate::paths::file())]
    sensitivity: Option<PathBuf>,
}

impl Wanted {
    pub(crate) fn sensitivity(&self) -> &Option<PathBuf> {
        &self.sensitivity
    }

    /// Chooses, where that was asked for.
    pub(crate) fn choose(&self, input: &Input) -> Result<Option<Allocation>> {
        let mut budget = match (self.size, self.bpw) {
            (Some(bytes), _) => Budget::bytes(bytes),
            (None, Some(bits)) => Budget::bits_per_weight(bits),
            (None, None) => return Ok(None),
        };
        if let Some(path) = &self.sensitivity {
            let text =
                fs::read_to_string(path).with_context(|| format!("cannot read '{}'", path.display()))?;
            budget = budget.sensitivities(&text).map_err(|error| cli::about(path, error))?;
        }
        Ok(Some(budget.choose(input)?))
    }
}

/// The share of the damage that a part has, in percent.
fn share(damage: f64, all: f64) -> f64 {
    if all > 0.0 { damage / all * 100.0 } else { 0.0 }
}

/// A table of roles and types.
pub(crate) fn told(allocation: &Allocation) -> Result<String> {
    let (mut text, all) = (String::new(), allocation.damage());
    writeln!(text, "  {:<12} {:<8} {:>7} {:>12}  damage", "role", "type", "tensors", "bytes")?;
    for ((role, ty), (size, damage)) in allocation.by_role() {
        let share = share(damage, all);
        writeln!(text, "  {role:<12} {ty:<8} {:>7} {:>12}  {share:>5.1}%", size.tensors, size.bytes)?;
    }
    writeln!(text, "predicted damage {all:.5}, no choice of this size below {:.5}", allocation.bound())?;
    Ok(text)
}

pub(crate) fn as_json(allocation: &Allocation) -> serde_json::Value {
    let role = |((role, ty), (size, damage)): (
        (&str, gguf_codec::GgmlType),
        (gguf_codec::model::Size, f64),
    )| {
        json!({ "role": role, "type": ty.name(), "tensors": size.tensors, "bytes": size.bytes, "damage": damage })
    };
    json!({
        "tensor_bytes": allocation.size().bytes,
        "damage": allocation.damage(),
        "bound": allocation.bound(),
        "roles": allocation.by_role().into_iter().map(role).collect::<Vec<_>>(),
    })
}
