//! How much of a tensor each type loses, by a sample of its values.

use super::super::job::{Origin, in_memory};
use crate::codec::dequantize;
use crate::{Error, GgmlType, QuantError, Result};

/// Values of a run: whole blocks of every type.
const RUN: u64 = 4096;

/// Returns ‖W − Q‖² / ‖W‖² of a tensor for each type, over about `sample` of its values: runs that are spread evenly. 0 of values that
/// are all zero.
pub(super) fn relative_errors(
    name: &str,
    origin: &Origin<'_>,
    types: &[GgmlType],
    sample: u64,
) -> Result<Vec<f64>> {
    let elements = origin.shape.element_count();
    let all = elements.div_ceil(RUN);
    let chosen = sample.div_ceil(RUN).clamp(1, all.max(1)).min(all);
    let (mut bytes, mut values) = (Vec::new(), Vec::new());
    let mut errors = vec![QuantError::default(); types.len()];
    for run in 0..chosen {
        let first = (u128::from(run) * u128::from(all) / u128::from(chosen)) as u64 * RUN;
        read(name, origin, first, RUN.min(elements - first), &mut bytes, &mut values)?;
        for (&ty, sum) in types.iter().zip(&mut errors) {
            *sum += QuantError::of(ty, &values, values.len(), None)
                .map_err(|error| Error::write(format!("tensor '{}': {error:?}", name.escape_debug())))?;
        }
    }
    let errors: Vec<f64> = errors.iter().map(QuantError::relative).collect();
    if errors.iter().any(|error| !error.is_finite()) {
        return Err(Error::write(format!(
            "tensor '{}' has values that are not finite or become so",
            name.escape_debug()
        )));
    }
    Ok(errors)
}

fn read(
    name: &str,
    origin: &Origin<'_>,
    first: u64,
    count: u64,
    bytes: &mut Vec<u8>,
    values: &mut Vec<f32>,
) -> Result<()> {
    let len = |values: u64| values / origin.ty.block_len() as u64 * origin.ty.block_bytes() as u64;
    bytes.resize(in_memory(len(count))?, 0);
    values.resize(in_memory(count)?, 0.0);
    origin
        .fill_little_endian(bytes, len(first))
        .map_err(|error| Error::io(format!("read tensor '{}'", name.escape_debug()), error))?;
    dequantize(origin.ty, bytes, values)
}
