//! Values of metadata that are one number, or one for each layer.

use crate::error::{Error, Result, Shown};
use crate::gguf::metadata::Metadata;
use crate::gguf::value::Array;
use crate::gguf::value_ref::ValueRef;

/// The numbers of an array.
fn numbers(array: &Array) -> Option<Vec<u32>> {
    fn all<T: Copy + TryInto<u32>>(numbers: &[T]) -> Option<Vec<u32>> {
        numbers.iter().map(|&number| number.try_into().ok()).collect()
    }
    match array {
        Array::U8(numbers) => all(numbers),
        Array::I8(numbers) => all(numbers),
        Array::U16(numbers) => all(numbers),
        Array::I16(numbers) => all(numbers),
        Array::U32(numbers) => all(numbers),
        Array::I32(numbers) => all(numbers),
        Array::U64(numbers) => all(numbers),
        Array::I64(numbers) => all(numbers),
        _ => None,
    }
}

/// The element of this layer.
pub(super) fn of_layer(key: &str, array: &Array, layer: u32) -> Result<u32> {
    let wrong = |problem: String| Error::write(format!("key '{}' {problem}", Shown(key)));
    let numbers =
        numbers(array).ok_or_else(|| wrong("must be a number, or a number for each layer".to_owned()))?;
    numbers.get(layer as usize).copied().ok_or_else(|| {
        wrong(format!("has {} elements, one for each layer, and none for layer {layer}", numbers.len()))
    })
}

/// The number under a key: that of this layer, where each has its own.
pub(super) fn number(metadata: Metadata<'_>, key: &str, layer: u32) -> Result<Option<u32>> {
    match metadata.get(key) {
        Some(ValueRef::Array(array)) => of_layer(key, &array.to_owned(), layer).map(Some),
        _ => metadata.optional(key),
    }
}

/// The number that all layers have. `Some(None)` where they differ.
pub(super) fn common(metadata: Metadata<'_>, key: &str) -> Option<Option<u32>> {
    match metadata.get(key)? {
        ValueRef::Array(array) => {
            let numbers = numbers(&array.to_owned());
            Some(numbers.and_then(|numbers| {
                let first = *numbers.first()?;
                numbers.iter().all(|number| *number == first).then_some(first)
            }))
        }
        _ => metadata.optional(key).ok().flatten().map(Some),
    }
}
