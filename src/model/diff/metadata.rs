//! Compares key-value pairs.

use super::{ArrayDiff, Change, KeyDiff, Side};
use crate::gguf::value_ref::{ArrayRef, ValueRef};

/// Returns the keys that differ, and the number of those that do not.
pub(super) fn compare<'a>(a: &Side<'a>, b: &Side<'a>) -> (Vec<KeyDiff<'a>>, u64) {
    let (mut keys, mut same) = (Vec::new(), 0);
    for (key, value) in a.pairs() {
        match b.value(key) {
            Some(other) if same_value(value, other) => same += 1,
            Some(other) => keys.push(KeyDiff {
                key,
                value: Change::Both(value, other),
                array: match (value, other) {
                    (ValueRef::Array(a), ValueRef::Array(b)) => array_diff(a, b),
                    _ => None,
                },
            }),
            None => keys.push(KeyDiff { key, value: Change::OnlyInA(value), array: None }),
        }
    }
    let only_in_b = b.pairs().filter(|(key, _)| a.value(key).is_none());
    keys.extend(only_in_b.map(|(key, value)| KeyDiff { key, value: Change::OnlyInB(value), array: None }));
    (keys, same)
}

/// Returns `true` if the values have the same type and are the same. NaNs are the same if their bits are.
fn same_value(a: ValueRef<'_>, b: ValueRef<'_>) -> bool {
    match (a, b) {
        (ValueRef::F32(a), ValueRef::F32(b)) => a.to_bits() == b.to_bits(),
        (ValueRef::F64(a), ValueRef::F64(b)) => a.to_bits() == b.to_bits(),
        (ValueRef::Array(a), ValueRef::Array(b)) => same_array(a, b),
        (a, b) => a == b,
    }
}

fn same_array(a: ArrayRef<'_>, b: ArrayRef<'_>) -> bool {
    if (a.element, a.len) != (b.element, b.len) {
        return false;
    }
    // Long arrays are often copied from one file to the other.
    if (a.order, a.short_lengths) == (b.order, b.short_lengths) {
        return a.bytes == b.bytes;
    }
    a.iter().zip(b.iter()).all(|(a, b)| same_value(a, b))
}

fn array_diff(a: ArrayRef<'_>, b: ArrayRef<'_>) -> Option<ArrayDiff> {
    if a.element != b.element {
        return None;
    }
    let both = a.len.min(b.len);
    let (mut first, mut differing) = (both, a.len.max(b.len) - both);
    for (at, (a, b)) in (0..).zip(a.iter().zip(b.iter())) {
        if !same_value(a, b) {
            first = first.min(at);
            differing += 1;
        }
    }
    Some(ArrayDiff { first, differing })
}
