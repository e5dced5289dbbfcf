//! Finds the scale and the zero point of a group.
//!
//! Least squares, in pseudo-code:
//!
//! ```text
//! best ← the range from the least value to the greatest
//! for each of 64 fractions of that range, down to a third:
//!     s, z ← scale and zero point of the range
//!     twice:
//!         q ← the integers of the values
//!         s ← Σ w r (q − z) / Σ w (q − z)²        the scale of the least error, given the integers
//!         keep s, z where Σ w (r − s (q − z))² is less than the best
//! ```

use alloc::vec::Vec;

use super::scheme::{Affine, Calibration};
use crate::simd::nearest;

/// The parameters that a group shares.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Range {
    pub(super) scale: f32,
    pub(super) zero: i32,
}

impl Affine {
    /// Returns the integer of a value.
    pub(super) fn code(&self, value: f32, range: Range) -> i32 {
        let (low, high) = self.range();
        // This is far beyond either end of the integers, and small enough to round to integers.
        let steps = if range.scale == 0.0 { 0.0 } else { (value / range.scale).clamp(-1024.0, 1024.0) };
        (nearest(steps) + range.zero).clamp(low, high)
    }
}

/// The number of fractions of the range to try.
const FRACTIONS: u32 = 64;
/// The fractions go from 1 down to 1 minus this, exclusive.
const REACH: f32 = 2.0 / 3.0;

/// Returns the range of a group of finite values. `sorted` is scratch memory.
pub(super) fn calibrated(
    scheme: &Affine,
    values: &[f32],
    weights: &impl Fn(usize) -> f32,
    sorted: &mut Vec<f32>,
) -> Range {
    let ends = match scheme.calibration {
        Calibration::Percentile(percentile) => percentiles(scheme, values, percentile, sorted),
        _ => values.iter().fold((0.0f32, 0.0f32), |(low, high), &value| (low.min(value), high.max(value))),
    };
    let whole = range(scheme, ends.0, ends.1);
    if scheme.calibration != Calibration::LeastSquares || whole.scale == 0.0 {
        return whole;
    }
    let (mut best, mut least) = (whole, error(scheme, values, weights, whole));
    for step in 0..FRACTIONS {
        let part = 1.0 - REACH * step as f32 / FRACTIONS as f32;
        let mut tried = range(scheme, ends.0 * part, ends.1 * part);
        for _ in 0..2 {
            tried.scale = regression(scheme, values, weights, tried);
            // All values are zero, or the sums overflow a float.
            if !tried.scale.is_normal() {
                break;
            }
            let error = error(scheme, values, weights, tried);
            if error < least {
                (best, least) = (tried, error);
            }
        }
    }
    best
}

/// Returns the range from one value to another, which includes 0.
fn range(scheme: &Affine, low: f32, high: f32) -> Range {
    let (least, greatest) = scheme.range();
    if scheme.symmetric {
        let middle = if scheme.signed { 0 } else { 1 << (scheme.bits - 1) };
        // Both sides are equally long. Only least squares uses the integer that has no opposite.
        return Range { scale: high.max(-low) / (greatest - middle) as f32, zero: middle };
    }
    let steps = (greatest - least) as f32;
    // Each end is divided first, because the difference of the largest floats overflows.
    let scale = high / steps - low / steps;
    let zero =
        if scale == 0.0 { 0.0 } else { (least as f32 - low / scale).clamp(least as f32, greatest as f32) };
    Range { scale, zero: crate::simd::nearest(zero) }
}

fn percentiles(scheme: &Affine, values: &[f32], percentile: f32, sorted: &mut Vec<f32>) -> (f32, f32) {
    sorted.clear();
    let of_symmetric = |value: &f32| if scheme.symmetric { value.abs() } else { *value };
    sorted.extend(values.iter().map(of_symmetric));
    sorted.sort_by(f32::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return (0.0, 0.0) };
    let at = |percentile: f32| sorted[((last as f32 * percentile / 100.0) as usize).min(last)];
    if scheme.symmetric {
        (0.0, at(percentile))
    } else {
        (at(100.0 - percentile).min(0.0), at(percentile).max(0.0))
    }
}

fn regression(scheme: &Affine, values: &[f32], weights: &impl Fn(usize) -> f32, range: Range) -> f32 {
    let (mut products, mut squares) = (0.0f64, 0.0f64);
    for (at, &value) in values.iter().enumerate() {
        let steps = f64::from(scheme.code(value, range) - range.zero);
        let weight = f64::from(weights(at));
        products += weight * f64::from(value) * steps;
        squares += weight * steps * steps;
    }
    (products / squares) as f32
}

fn error(scheme: &Affine, values: &[f32], weights: &impl Fn(usize) -> f32, range: Range) -> f64 {
    let mut sum = 0.0;
    for (at, &value) in values.iter().enumerate() {
        let restored = (scheme.code(value, range) - range.zero) as f32 * range.scale;
        let error = f64::from(value) - f64::from(restored);
        sum += f64::from(weights(at)) * error * error;
    }
    sum
}
