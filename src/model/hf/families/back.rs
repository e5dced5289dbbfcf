//! [`Back`]: what tensors of a GGUF become in safetensors.

use super::tensor::{Step, Tensor};
use super::{Family, Fate, Target};
use crate::model::hf::names::{fill, fill_some, matches};

/// What a tensor of a GGUF becomes in safetensors.
pub(in crate::model::hf) struct Back {
    pub(in crate::model::hf) name: Origins,
    /// Those that made it, to be taken back.
    pub(in crate::model::hf) steps: &'static [Step],
}

pub(in crate::model::hf) enum Origins {
    One(String),
    /// A name with `{}` for the expert.
    Stack(String),
    /// A tensor in which the rows, or single values, of several take turns.
    Turns(Turns),
}

/// Tensors of a GGUF that were one in safetensors.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::model::hf) struct Turns {
    pub(in crate::model::hf) name: String,
    /// In the order of their turns, and whether the matrices of a part are transposed before.
    pub(in crate::model::hf) parts: Vec<(String, bool)>,
    pub(in crate::model::hf) turn: Turn,
    /// Whether rows are columns in safetensors.
    pub(in crate::model::hf) is_transposed: bool,
}

/// What takes turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model::hf) enum Turn {
    Rows,
    /// Single values.
    Values,
    /// Whole matrices, of which a part has one for each head, with as many rows as a number of `config.json` says.
    Matrices,
}

impl Family {
    /// The tensor of the table that a tensor of a GGUF is made from, where there is one that can be made of it again.
    pub(super) fn reversible(&self, gguf_name: &str) -> Option<(&'static Tensor, String)> {
        self.all().find_map(|tensor| {
            let parts = matches(tensor.gguf, gguf_name)?;
            let reversible = tensor.steps.iter().all(|step| step.is_reversible());
            // Of a stack, a name that lacks the expert.
            reversible.then(|| (tensor, fill(tensor.hf, &parts)))
        })
    }

    /// The tensor in which this one and others take turns, or of which it is the transpose, where its weights are plain.
    fn turns(&self, gguf_name: &str) -> Option<Turns> {
        let is_plain = |tensor: &&Tensor| tensor.is_quantized != Some(true) && !tensor.is_stack();
        let tensor = self.all().filter(is_plain).find(|tensor| matches(tensor.gguf, gguf_name).is_some())?;
        let layers = matches(tensor.gguf, gguf_name)?;
        let place = |tensor: &Tensor| {
            let others: Vec<Step> =
                tensor.steps.iter().copied().filter(|step| *step != Step::Transpose).collect();
            match others[..] {
                [] => Some((0, Turn::Rows)),
                [Step::EverySecond(place)] => Some((place, Turn::Rows)),
                [Step::EverySecondColumn(place)] => Some((place, Turn::Values)),
                [Step::OfEachHead { skip, .. }] => Some((u64::from(skip.is_some()), Turn::Matrices)),
                _ => None,
            }
        };
        let (_, turn) = place(tensor)?;
        let mut parts: Vec<(u64, (String, bool))> = Vec::new();
        for part in self.all().filter(is_plain).filter(|part| part.hf == tensor.hf) {
            let is_transposed = turn == Turn::Matrices && part.steps.contains(&Step::Transpose);
            parts.push((place(part)?.0, (fill(part.gguf, &layers), is_transposed)));
        }
        parts.sort();
        let is_transposed = turn != Turn::Matrices && tensor.steps.contains(&Step::Transpose);
        (is_transposed || parts.len() > 1).then(|| Turns {
            name: fill(tensor.hf, &layers),
            parts: parts.into_iter().map(|(_, part)| part).collect(),
            turn,
            is_transposed,
        })
    }

    /// What a tensor of a GGUF becomes in safetensors, where the table knows it and the way back.
    pub(in crate::model::hf) fn back(&self, gguf_name: &str) -> Option<Back> {
        if let Some(turns) = self.turns(gguf_name) {
            return Some(Back { name: Origins::Turns(turns), steps: &[] });
        }
        let (tensor, name) = self.reversible(gguf_name)?;
        let name = if tensor.is_stack() {
            let parts = matches(tensor.gguf, gguf_name)?;
            Origins::Stack(fill_some(tensor.hf, &parts))
        } else {
            Origins::One(name)
        };
        Some(Back { name, steps: tensor.steps })
    }

    /// The numbers of `config.json` that say how many rows of each head the parts of a tensor are.
    pub(in crate::model::hf) fn rows_of_heads(&self, turns: &Turns) -> Vec<&'static str> {
        let rows = |(name, _): &(String, bool)| {
            let tensor = self.all().find(|tensor| matches(tensor.gguf, name).is_some())?;
            tensor.steps.iter().find_map(|step| match step {
                Step::OfEachHead { keep, .. } => Some(*keep),
                _ => None,
            })
        };
        turns.parts.iter().filter_map(rows).collect()
    }

    /// What becomes of a tensor of safetensors files that were made of a GGUF.
    pub(in crate::model::hf) fn carried_fate(&self, hf_name: &str) -> Option<Fate> {
        let Some(Fate::To(targets)) = self.fate(hf_name, false) else { return None };
        let leads_back = |target: &Target| match (self.back(&target.name)?.name, target.member) {
            (Origins::One(name), None) => Some(name == hf_name),
            (Origins::Stack(name), Some(member)) => Some(fill_some(&name, &[&member.to_string()]) == hf_name),
            (Origins::Turns(turns), None) => Some(turns.name == hf_name),
            _ => None,
        };
        let targets: Vec<Target> =
            targets.into_iter().filter(|target| leads_back(target) == Some(true)).collect();
        let take_turns = targets.len() > 1 && targets.iter().all(|target| self.turns(&target.name).is_some());
        (targets.len() == 1 || take_turns).then_some(Fate::To(targets))
    }
}
