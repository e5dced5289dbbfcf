//! The searches for scales that several quantizers share.
//!
//! Each runs *vertically*: a lane works on a block or sub-block of its own and does ggml's operations in ggml's
//! order, so the result has ggml's bits whatever the number of lanes. `x[i]` holds the i-th value of every lane's
//! block. A search returns how to quantize rather than quants, since most formats quantize once more with their
//! rounded scales: `inverse` (and `base`) give the search's own quants again, exactly, where they are needed.
//!
//! Lanes pass through functions marked `#[inline(always)]` and never through closures: a closure is compiled without
//! the instruction set of the kernel around it, and where it is not inlined each word in it becomes a call.
//!
//! A search is compiled once for each instruction set and not in each kernel again ([`Simd::shared`]), so it takes blocks of
//! any length as slices, of up to [`MOST`] values.

mod asymmetric;
pub(in crate::codec) mod columns;
pub(in crate::codec) mod extremes;
mod in_rounds;
mod positive;
mod row_weights;
pub(in crate::codec) mod scale_and_min;
mod symmetric;
pub(in crate::codec) mod uneven;

use crate::simd::Simd;

pub(in crate::codec) use asymmetric::{Deviation, Steps, asymmetric};
pub(in crate::codec) use columns::{Importance, columns, in_common, in_lanes};
pub(in crate::codec) use in_rounds::{symmetric_before_rounds, symmetric_in_rounds};
pub(in crate::codec) use positive::positive;
pub(in crate::codec) use row_weights::RowWeights;
pub(in crate::codec) use symmetric::{symmetric, symmetric_of_any, symmetric_quants};

/// The most values of a block that is searched.
const MOST: usize = 32;

/// Below this magnitude a block counts as all zero.
pub(in crate::codec) const LEAST_MAGNITUDE: f32 = 1e-15;

/// The first of a super-block's scales whose magnitude no other exceeds. NaNs do not count, and 0 is what is left.
#[inline(always)]
pub(in crate::codec) fn greatest(scales: &[f32]) -> f32 {
    let mut greatest = 0.0;
    for &scale in scales {
        if scale.abs() > f32::abs(greatest) {
            greatest = scale;
        }
    }
    greatest
}

/// The greatest magnitude, and the first value that has it.
#[inline(always)]
fn extreme<S: Simd>(s: S, x: &[S::F]) -> (S::F, S::F) {
    let (mut greatest, mut extreme) = (s.splat(0.0), s.splat(0.0));
    for &x in x {
        let magnitude = s.abs(x);
        let wins = s.lt(greatest, magnitude);
        greatest = s.select(wins, magnitude, greatest);
        extreme = s.select(wins, x, extreme);
    }
    (greatest, extreme)
}
