//! What is done to the tensors of a checkpoint, step by step, and what their shapes were before.

use std::sync::Arc;

use super::families::Step;
use super::planned::{Source, unfit};
use super::rows::RowOrder;
use crate::error::{Error, Result};
use crate::tensor::Shape;

/// Numbers of a model that steps depend on.
pub(super) trait Numbers {
    /// A number of `config.json`.
    fn of(&self, key: &str) -> Result<u64>;
}

/// Which rows of a group a step leaves: those of the group in the checkpoint, the first, the distance, and how many.
fn rows(step: Step, rows: u64, numbers: &dyn Numbers) -> Result<Option<(u64, u64, u64, u64)>> {
    Ok(Some(match step {
        Step::Half(half) => (rows, half * (rows / 2), 1, rows / 2),
        Step::EverySecond(first) | Step::EverySecondColumn(first) => (rows, first, 2, rows / 2),
        Step::From(key) => {
            let first = numbers.of(key)?.saturating_add(1);
            (rows, first, 1, rows.saturating_sub(first))
        }
        Step::OfEachHead { skip, keep, all: [left, right] } => {
            let group = numbers.of(left)?.saturating_add(numbers.of(right)?);
            (group, skip.map_or(Ok(0), |key| numbers.of(key))?, 1, numbers.of(keep)?)
        }
        _ => return Ok(None),
    }))
}

/// The source after a step other than that of rotary rows, which depends on the layer.
pub(super) fn applied<'a>(
    step: Step,
    source: Source<'a>,
    name: &str,
    numbers: &dyn Numbers,
) -> Result<Source<'a>> {
    let shape = source.shape();
    let dims = shape.dims();
    let of_values = matches!(step, Step::EverySecondColumn(_));
    let axis = usize::from(!of_values);
    match step {
        Step::RotaryRows(_) => Ok(source),
        Step::AddOne => Ok(Arc::new(source).floats(Some(1.0))),
        Step::Transpose => {
            let mut turned = dims.to_vec();
            if turned.len() < 2 {
                return Err(unfit(name, "must be a matrix"));
            }
            turned.swap(0, 1);
            source.transposed(name, shape_of(name, &turned)?)
        }
        Step::Squeeze => {
            let kept: Vec<u64> = dims.iter().copied().filter(|&extent| extent != 1).collect();
            source.reshaped(shape_of(name, &kept)?)
        }
        _ => {
            let of = dims.get(axis).copied().unwrap_or(0);
            let Some((group, first, stride, count)) = rows(step, of, numbers)? else { return Ok(source) };
            let last = first.checked_add(count.saturating_sub(1).saturating_mul(stride));
            let fits = count > 0 && last.is_some_and(|last| last < group) && of.is_multiple_of(group);
            if !fits {
                return Err(unfit(
                    name,
                    &format!("has {of} rows, which cannot be parted into groups of {group}"),
                ));
            }
            let mut left = dims.to_vec();
            left[axis] = count;
            if matches!(step, Step::OfEachHead { .. }) {
                left.insert(axis + 1, of / group);
            }
            let order = RowOrder::Some { group, first, stride, count };
            source.some_rows(name, order, of_values, shape_of(name, &left)?)
        }
    }
}

fn shape_of(name: &str, dims: &[u64]) -> Result<Shape> {
    Shape::new(dims).ok_or_else(|| unfit(name, "has a shape that GGUF does not have"))
}

/// The extents that a tensor has in the checkpoint, outermost first, where it has these after the steps.
pub(super) fn before(steps: &[Step], extents: &[u64], numbers: &dyn Numbers) -> Result<Vec<u64>> {
    let mut extents = extents.to_vec();
    for step in steps.iter().rev() {
        let len = extents.len();
        let too_few = || Error::write("a table of a family has too few extents".to_owned());
        match *step {
            Step::RotaryRows(_) | Step::AddOne => {}
            Step::Squeeze => extents.insert(0, 1),
            Step::Transpose if len > 1 => extents.swap(len - 1, len - 2),
            Step::Half(_) | Step::EverySecond(_) if len > 1 => {
                extents[len - 2] = extents[len - 2].saturating_mul(2);
            }
            Step::EverySecondColumn(_) => {
                let last = extents.last_mut().ok_or_else(too_few)?;
                *last = last.saturating_mul(2);
            }
            Step::From(key) => {
                let first = extents.first_mut().ok_or_else(too_few)?;
                *first = first.saturating_add(numbers.of(key)?).saturating_add(1);
            }
            Step::OfEachHead { all: [left, right], .. } if len > 2 => {
                let heads = extents.remove(len - 3);
                let group = numbers.of(left)?.saturating_add(numbers.of(right)?);
                extents[len - 3] = heads.saturating_mul(group);
            }
            _ => return Err(too_few()),
        }
    }
    Ok(extents)
}
