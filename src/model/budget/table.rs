//! What each type of each tensor costs.

use std::collections::BTreeMap;

use super::Budget;
use super::allocation::{AllocatedTensor, NextStep};
use super::factors::{self, Factors, SensitivitySource};
use super::group::groups;
use super::measurements::{Loss, Measurements};
use super::planned::{Plan, Planned};
use super::solve::Candidate;
use crate::error::Result;
use crate::ggml_type::GgmlType;
use crate::model::recipe::Role;
use crate::model::size::Size;

/// What is known of the tensors of a plan.
pub(super) struct Table<'p> {
    pub(super) planned: &'p [Planned<'p>],
    pub(super) alpha: Vec<(f64, SensitivitySource)>,
    left: Left,
    candidates: Vec<Vec<Candidate>>,
    /// Tensors that get one type, by their indices.
    pub(super) groups: Vec<Vec<usize>>,
}

/// What importance leaves of the error of each type, at the median of each role's tensors.
type Left = BTreeMap<(Role, GgmlType), f64>;

impl Table<'_> {
    /// What a tensor costs in a type.
    pub(super) fn candidate(
        &self,
        index: usize,
        ty: GgmlType,
        measurements: &Measurements,
    ) -> Result<Candidate> {
        let Planned { tensor, importance, .. } = &self.planned[index];
        if ty == tensor.ggml_type() {
            return Ok(Candidate { bytes: tensor.byte_len(), damage: 0.0 });
        }
        let bytes = ty.bytes_for(tensor.shape().element_count()).unwrap_or(u64::MAX);
        let Loss { error, left } = measurements.loss(tensor.name(), ty)?;
        let (alpha, source) = self.alpha[index];
        // Where few columns have nearly all importance, next to nothing is left of the error. Such tensors are the most sensitive ones,
        // which a factor of their role does not know.
        let left = match source {
            SensitivitySource::Given => left,
            _ if !importance => left,
            _ => self.left.get(&(Role::of(tensor.name()), ty)).copied().unwrap_or(left),
        };
        Ok(Candidate { bytes, damage: alpha * error * left })
    }

    /// The candidates of each group.
    pub(super) fn grouped(&self) -> Vec<Vec<Candidate>> {
        let of = |group: &Vec<usize>| {
            let mut all: Vec<Candidate> = Vec::new();
            for &index in group {
                for (place, &Candidate { bytes, damage }) in self.candidates[index].iter().enumerate() {
                    match all.get_mut(place) {
                        Some(sum) => {
                            sum.bytes = sum.bytes.saturating_add(bytes);
                            sum.damage += damage;
                        }
                        None => all.push(Candidate { bytes, damage }),
                    }
                }
            }
            all
        };
        self.groups.iter().map(of).collect()
    }

    pub(super) fn allocated(&self, index: usize, place: usize) -> AllocatedTensor {
        let (Planned { tensor, choices, .. }, candidates) = (&self.planned[index], &self.candidates[index]);
        let now = candidates[place];
        let gain = |(_, next): &(&GgmlType, &Candidate)| {
            (now.damage - next.damage) / (next.bytes.saturating_sub(now.bytes)) as f64
        };
        let better = choices.iter().zip(candidates);
        let better = better.filter(|(_, next)| next.bytes > now.bytes && next.damage < now.damage);
        let next = better.max_by(|a, b| gain(a).total_cmp(&gain(b)));
        AllocatedTensor {
            name: tensor.name().to_owned(),
            role: Role::of(tensor.name()).name(),
            ggml_type: choices.get(place).copied().unwrap_or(tensor.ggml_type()),
            size: Size { bytes: now.bytes, ..Size::of(tensor) },
            damage: now.damage,
            sensitivity: self.alpha[index].0,
            sensitivity_source: self.alpha[index].1,
            next: next.map(|(&ggml_type, next)| NextStep {
                ggml_type,
                bytes: next.bytes - now.bytes,
                gain: now.damage - next.damage,
            }),
        }
    }
}

impl Budget<'_> {
    /// The sensitivity of each tensor, and what each of its choices costs.
    pub(super) fn table<'p>(&self, plan: &'p Plan<'p>, measurements: &Measurements) -> Result<Table<'p>> {
        let tensors: Vec<_> = plan.tensors.iter().map(|one| one.tensor).collect();
        let factors = Factors::of(&tensors);
        let values: u64 = Size::sum_of(&tensors).parameters.max(1);
        let alpha = |one: &Planned<'_>| match self.sensitivities.get(one.tensor.name()) {
            Some(alpha) => (alpha, SensitivitySource::Given),
            None if self.equal => {
                let share = one.tensor.shape().element_count() as f64 / values as f64;
                (share * factors::EQUAL, SensitivitySource::Equal)
            }
            None => factors.get(&one.tensor, one.importance),
        };
        let mut table = Table {
            planned: &plan.tensors,
            alpha: plan.tensors.iter().map(alpha).collect(),
            left: left(&plan.tensors, measurements),
            candidates: Vec::new(),
            groups: groups(&plan.tensors, self.one_type_per_role),
        };
        for (index, one) in plan.tensors.iter().enumerate() {
            let stays = [one.tensor.ggml_type()];
            let types = if one.choices.is_empty() { &stays } else { &one.choices[..] };
            let of = |&ty: &GgmlType| table.candidate(index, ty, measurements);
            let candidates = types.iter().map(of).collect::<Result<Vec<_>>>()?;
            table.candidates.push(candidates);
        }
        Ok(table)
    }
}

fn left(planned: &[Planned<'_>], measurements: &Measurements) -> Left {
    let mut all = BTreeMap::<(Role, GgmlType), Vec<f64>>::new();
    for one in planned.iter().filter(|one| one.importance) {
        let (name, role) = (one.tensor.name(), Role::of(one.tensor.name()));
        for (&ty, loss) in measurements.get(name).iter().flat_map(|measured| &measured.losses) {
            all.entry((role, ty)).or_default().push(loss.left);
        }
    }
    let median = |mut numbers: Vec<f64>| {
        numbers.sort_by(f64::total_cmp);
        numbers[numbers.len() / 2]
    };
    all.into_iter().map(|(of, numbers)| (of, median(numbers))).collect()
}
