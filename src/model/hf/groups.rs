//! [`Groups`]: which tensors of a checkpoint become which of a GGUF.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::families::{Step, Target};
use super::planned::Source;
use super::quantized::Kept;
use crate::file::read_at::ReadAt;
use crate::ggml_type::GgmlType;
use crate::model::job::Origin;
use crate::tensor::Shape;

/// A weight of a checkpoint.
pub(super) struct Part<'a> {
    pub(super) name: String,
    /// The type that its values have, or had.
    pub(super) own: GgmlType,
    /// What it is quantized by.
    pub(super) method: Option<String>,
    pub(super) values: Values<'a>,
}

pub(super) enum Values<'a> {
    Plain(Origin<'a>),
    /// Blocks of a type that has the weight's codes.
    Kept(Box<Kept<'a>>, Shape),
    Computed(Box<dyn ReadAt + 'a>, Shape),
}

/// A weight of which it is decided whether its codes are kept.
pub(super) struct Settled<'a> {
    pub(super) name: String,
    pub(super) source: Arc<Source<'a>>,
    pub(super) own: GgmlType,
    pub(super) method: Option<String>,
    /// That of all its values.
    pub(super) factor: Option<f32>,
    /// The largest relative error of its scales, where codes are kept.
    pub(super) rounded: Option<f32>,
}

/// A tensor of a GGUF, and what it is made of.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) steps: &'static [Step],
    /// Parts by their places.
    pub(super) members: BTreeMap<u64, usize>,
    pub(super) is_stack: bool,
    /// Where its last part is met, and the place among the tensors that are made of that.
    last: (usize, usize),
}

#[derive(Debug, Default)]
pub(super) struct Groups {
    groups: Vec<Group>,
    stacks: BTreeMap<String, usize>,
}

impl Groups {
    /// Adds what becomes of a part.
    pub(super) fn add(&mut self, part: usize, targets: Vec<Target>) {
        for (at, Target { name, member, steps }) in targets.into_iter().enumerate() {
            let known = member.and_then(|member| {
                let group = self.groups.get_mut(*self.stacks.get(&name)?)?;
                // Twice is an error that the writer finds.
                (!group.members.contains_key(&member)).then_some((group, member))
            });
            if let Some((group, member)) = known {
                group.members.insert(member, part);
                group.last = (part, at);
                continue;
            }
            if member.is_some() {
                self.stacks.insert(name.clone(), self.groups.len());
            }
            let members = [(member.unwrap_or(0), part)].into();
            self.groups.push(Group { name, steps, members, is_stack: member.is_some(), last: (part, at) });
        }
    }

    /// Keeps codes where all parts of a stack have the same kind.
    pub(super) fn settled<'a>(&self, parts: Vec<Part<'a>>) -> Vec<Settled<'a>> {
        let mut keeps = vec![true; parts.len()];
        for group in self.groups.iter().filter(|group| group.is_stack) {
            let kind = |part: &usize| match &parts[*part].values {
                Values::Kept(kept, _) => Some((kept.ty, kept.factor.is_some())),
                _ => None,
            };
            let mut kinds = group.members.values().map(kind);
            let first = kinds.next();
            if !kinds.all(|kind| Some(kind) == first) {
                group.members.values().for_each(|&part| keeps[part] = false);
            }
        }
        parts.into_iter().zip(keeps).map(|(part, keeps)| part.settle(keeps)).collect()
    }

    /// The tensors, each where its last part is met.
    pub(super) fn in_order(self) -> Vec<Group> {
        let mut groups = self.groups;
        groups.sort_by_key(|group| group.last);
        groups
    }
}

impl<'a> Part<'a> {
    fn settle(self, keeps: bool) -> Settled<'a> {
        let Part { name, own, method, values } = self;
        let computed = |bytes, shape| Source::Computed { bytes, shape, ty: GgmlType::F32 };
        let (source, own, factor, rounded) = match values {
            Values::Plain(origin) => (Source::File(origin), own, None, None),
            Values::Computed(bytes, shape) => (computed(bytes, shape), own, None, None),
            Values::Kept(kept, shape) if !keeps => {
                (computed(Box::new(kept.blocks.into_matrix()), shape), own, None, None)
            }
            Values::Kept(kept, shape) => {
                let Kept { blocks, ty, factor, rounded } = *kept;
                (Source::Computed { bytes: Box::new(blocks), shape, ty }, ty, factor, Some(rounded))
            }
        };
        Settled { name, source: Arc::new(source), own, method, factor, rounded }
    }
}
