//! The scale searches that several quantizers share.
//!
//! Each runs *vertically*: every lane processes a block or sub-block of its own and executes ggml's operations in ggml's
//! order, so the result has ggml's bits for any number of lanes. `x[i]` contains the i-th value of every lane's block. A
//! search returns how to quantize instead of quants, since most formats quantize again with their rounded scales. If the
//! search's own quants are needed, `inverse` (and `base`) reproduce them exactly.
//!
//! Vectors are passed through functions marked `#[inline(always)]` and never through closures. A closure is compiled without
//! the instruction set of the surrounding kernel, and if it is not inlined, each operation in it becomes a call.
//!
//! A search is compiled once for each instruction set instead of once in each kernel ([`Simd::shared`]), so it takes blocks
//! of any length as slices, of up to [`MOST`] values.

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
pub(in crate::codec) use columns::{columns, in_lanes};
pub(in crate::codec) use in_rounds::{symmetric_before_rounds, symmetric_in_rounds};
pub(in crate::codec) use positive::positive;
pub(in crate::codec) use row_weights::RowWeights;
pub(in crate::codec) use symmetric::{symmetric, symmetric_of_any, symmetric_quants};

/// The maximum number of values in a block to search.
const MOST: usize = 32;

/// A block whose magnitudes are all below this counts as zero.
pub(in crate::codec) const LEAST_MAGNITUDE: f32 = 1e-15;

/// Returns the first of a super-block's scales of greatest magnitude. NaNs are ignored, and the result is 0 if there
/// is nothing else.
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

/// Returns the greatest magnitude, and the first value that has it.
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
