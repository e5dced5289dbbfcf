//! Tensors that get one type.

use std::collections::BTreeMap;

use super::super::layer::Layer;
use super::super::recipe::Role;
use super::planned::Planned;
use crate::ggml_type::GgmlType;

/// Returns which tensors get a type together, by their indices: those of a role that have the same choices where one type is wanted
/// for each role, else the experts of a layer that are tensors of their own.
pub(super) fn groups(planned: &[Planned<'_>], one_type_per_role: bool) -> Vec<Vec<usize>> {
    let mut found = BTreeMap::<(String, &[GgmlType]), usize>::new();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (index, one) in planned.iter().enumerate() {
        let name = one.tensor.name();
        if one.choices.is_empty() {
            groups.push(vec![index]);
            continue;
        }
        let (layer, kind) = Layer::split(name);
        let kind = if layer.is_some() { without_numbers(kind) } else { kind.to_owned() };
        let key = match (layer, Role::of(name)) {
            (_, Role::Other) | (None, _) if one_type_per_role => kind,
            (_, role) if one_type_per_role => role.name().to_owned(),
            (Some(layer), _) => format!("{layer}.{kind}"),
            (None, _) => kind,
        };
        let group = *found.entry((key, &one.choices)).or_insert(groups.len());
        match groups.get_mut(group) {
            Some(group) => group.push(index),
            None => groups.push(vec![index]),
        }
    }
    groups
}

/// `ffn_up.*.weight` of `ffn_up.7.weight`.
fn without_numbers(kind: &str) -> String {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts = kind.split('.').map(|part| if is_number(part) { "*" } else { part });
    parts.collect::<Vec<_>>().join(".")
}
