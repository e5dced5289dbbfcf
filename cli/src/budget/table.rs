//! What is said of types that were chosen.

use std::fmt::Write;

use anyhow::Result;
use gguf_codec::model::{AllocatedTensor, Allocation, Prediction, SensitivitySource, Size};
use serde_json::json;

use super::{Chosen, named};
use crate::names::Names;
use crate::numbers::counted;
use crate::size;

/// Tensors of a role that have one type.
struct Part {
    role: &'static str,
    ty: &'static str,
    size: Size,
    damage: f64,
    /// Bytes and damage that the next step up of all of them takes and saves.
    next: (u64, f64),
}

fn parts(allocation: &Allocation) -> Vec<Part> {
    let of = |((role, ty), tensors): ((&'static str, gguf_codec::GgmlType), Vec<&AllocatedTensor>)| {
        let next = tensors.iter().filter_map(|tensor| tensor.next);
        Part {
            role,
            ty: ty.name(),
            size: tensors.iter().map(|tensor| tensor.size).sum(),
            damage: tensors.iter().map(|tensor| tensor.damage).sum(),
            next: next.fold((0, 0.0), |(bytes, gain), step| (bytes + step.bytes, gain + step.gain)),
        }
    };
    allocation.by_role().into_iter().map(of).collect()
}

/// The share of the damage that a part has, in percent.
fn share(damage: f64, all: f64) -> f64 {
    if all > 0.0 { damage / all * 100.0 } else { 0.0 }
}

/// A table of roles and types, and how the choice compares.
pub(crate) fn told(chosen: &Chosen) -> Result<String> {
    let Chosen { allocation, notes } = chosen;
    let (mut text, all) = (String::new(), allocation.damage());
    let most = allocation.size().bytes;
    writeln!(text, "  {:<12} {:<8} {:>7} {:>10}  damage  next step up", "role", "type", "tensors", "bytes")?;
    for Part { role, ty, size, damage, next: (more, gain) } in parts(allocation) {
        let next = match more {
            0 => String::new(),
            _ => format!("  {:>9} −{:.1}%", format!("+{}", size::in_unit_of(more, most)), share(gain, all)),
        };
        let bytes = size::in_unit_of(size.bytes, most);
        let share = share(damage, all);
        writeln!(text, "  {role:<12} {ty:<8} {:>7} {bytes:>10}  {share:>5.1}%{next}", size.tensors)?;
    }
    let bound = nats(allocation.bound());
    writeln!(text, "predicted damage {}, no choice of this size below {bound}", nats(all))?;
    text += &compared(allocation);
    let from = |source: SensitivitySource| {
        let mut names = Names::default();
        let tensors = allocation.tensors().iter().filter(|tensor| tensor.damage > 0.0);
        let (names, count) = tensors.filter(|tensor| tensor.sensitivity_source == source).fold(
            (&mut names, 0),
            |(names, count), tensor| {
                names.add(&tensor.name);
                (names, count + 1)
            },
        );
        (count, names.to_string())
    };
    let (given, _) = from(SensitivitySource::Given);
    let (guessed, names) = from(SensitivitySource::Guessed);
    if given > 0 {
        writeln!(text, "sensitivities given: {}", counted(given, "tensor"))?;
    }
    if guessed > 0 {
        writeln!(text, "sensitivities guessed, of roles that no measured model had: {names}")?;
    }
    for note in notes {
        writeln!(text, "{note}")?;
    }
    Ok(text)
}

/// The best of the recipes that are no larger, and which is better.
fn compared(allocation: &Allocation) -> String {
    let Some((name, best)) = allocation.best_recipe().and_then(|best| Some((best.recipe?.name(), best)))
    else {
        return "no recipe of types that may be chosen is as small\n".to_owned();
    };
    let bytes = size::in_unit_of(best.size.bytes, allocation.size().bytes);
    if is_better(best, allocation) {
        let damage = nats(best.damage);
        format!("better by prediction: --recipe {name}, {bytes}, predicted damage {damage}\n")
    } else {
        let times = if best.damage == allocation.damage() { 1.0 } else { best.damage / allocation.damage() };
        let times = if times < 1e5 { format!("{times:.2}") } else { format!("{times:.2e}") };
        let damage = nats(best.damage);
        format!("the best recipe of this size, {name} of {bytes}: {damage}, {times} times as much\n")
    }
}

/// Damage, which is large where sensitivities are in another unit.
fn nats(damage: f64) -> String {
    if damage < 1e5 { format!("{damage:.5}") } else { format!("{damage:.5e}") }
}

fn is_better(recipe: &Prediction, allocation: &Allocation) -> bool {
    recipe.damage < allocation.damage()
}

pub(crate) fn as_json(chosen: &Chosen) -> serde_json::Value {
    let allocation = &chosen.allocation;
    let role = |part: Part| {
        json!({ "role": part.role, "type": part.ty, "tensors": part.size.tensors, "bytes": part.size.bytes, "damage": part.damage,
            "next_bytes": part.next.0, "next_gain": part.next.1 })
    };
    let recipe = |(name, prediction): (&str, &Prediction)| json!({ "recipe": name, "tensor_bytes": prediction.size.bytes, "damage": prediction.damage });
    let best = allocation.best_recipe();
    // Of those that have none of the damage, nothing depends on a guess.
    let is_guessed = |tensor: &&AllocatedTensor| {
        tensor.damage > 0.0 && tensor.sensitivity_source == SensitivitySource::Guessed
    };
    json!({
        "tensor_bytes": allocation.size().bytes,
        "damage": allocation.damage(),
        "bound": allocation.bound(),
        "best_recipe": best.and_then(|best| Some(best.recipe?.name())),
        "recipe_is_better": best.is_some_and(|best| is_better(best, allocation)),
        "guessed_sensitivities": allocation.tensors().iter().filter(is_guessed).count(),
        "roles": parts(allocation).into_iter().map(role).collect::<Vec<_>>(),
        "recipes": named(allocation.recipes()).map(recipe).collect::<Vec<_>>(),
        "notes": chosen.notes,
    })
}
