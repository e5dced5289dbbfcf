//! Products of quantized weights with activations, without unpacking the weights to memory.
//!
//! Inference multiplies a matrix of weights, a few bits each, with one column of activations (a *matvec*, for each generated
//! token) or with many columns at once (a *matmul*, for a prompt or a batch). [`Activations`] rounds the columns to eight bits,
//! [`Matrix`] is a view of blocks as stored in a file, and the product is computed from the integers of both.
//!
//! ```
//! use gguf_codec::compute::{Activations, Matrix};
//! use gguf_codec::{Codec, GgmlType};
//!
//! // Weights: 3 rows of 512. Activations: 2 columns of 512.
//! let weights: Vec<f32> = (0..3 * 512).map(|i| (i as f32 * 0.11).cos()).collect();
//! let blocks = Codec::new(GgmlType::Q4_K).quantize_to_vec(&weights, 512)?;
//! let values: Vec<f32> = (0..2 * 512).map(|i| (i as f32 * 0.37).sin()).collect();
//!
//! let w = Matrix::new(GgmlType::Q4_K, &blocks, 512)?;
//! let x = Activations::new(GgmlType::Q4_K, &values, 512)?;
//! let mut out = [0.0; 2 * 3]; // out[column][row]
//! w.matmul(&x, &mut out)?;
//! assert_eq!(out[2], w.dot(2, &x)?); // the same bits
//! # Ok::<(), gguf_codec::Error>(())
//! ```
//!
//! # The same bits everywhere
//!
//! An output depends only on its row's bytes and its column's values. It does not depend on the instruction set, the number of
//! threads, the number of columns, or how the work is split. Sums of integers are exact, and floats are summed in one order:
//!
//! > An output has eight accumulators, initially zero. Block `b` of the activations, of 32 values or of 256, is added to
//! > accumulator `b mod 8`, in order of `b`. The term is `c = (d * e) * P` for weights without a min. For weights with a min,
//! > whose values are `d * q + m` or `d * q - m`, it is `c = (d * e) * P + (m * e) * M` or `c = (d * e) * P - (m * e) * M`. `P`
//! > is the sum of the products of integers, including the scales of a super-block's groups as factors, and `M` is that of the
//! > groups' mins and sums of activations. Both are exact. `d` and `m` are the weights' scale and min in single precision, and
//! > `e` is the activations' scale. NVFP4, which has two scales in a block, adds `c = (d0 * e) * P0 + (d1 * e) * P1`. Each
//! > operation is rounded to nearest even separately, and nothing is fused. The result is
//! > `((a0 + a4) + (a2 + a6)) + ((a1 + a5) + (a3 + a7))`.
//!
//! [`Matrix::matmul_f32`] does not round the activations, for cases where that matters more than speed. Its documentation
//! states its order.

mod activations;
mod chunk;
mod decode;
mod decoded;
mod dot;
mod experts;
mod floats;
mod matmul;
mod matrix;
mod table;

use alloc::format;

pub use activations::Activations;
pub use experts::Experts;
#[cfg(feature = "rayon")]
pub use matrix::par_matmul;
pub use matrix::{Matrix, Scratch};
pub(crate) use table::grain;

use crate::error::{Error, Measured, Result};
use crate::ggml_type::GgmlType;

/// How activations are quantized for a type of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grain {
    /// A scale for each 32 values.
    Units,
    /// A scale for each 256 values.
    SuperBlocks,
    /// Not quantized.
    Floats,
}

impl Grain {
    /// Describes the activations, for messages.
    fn of(self) -> &'static str {
        match self {
            Grain::Units => "a scale for each 32 values",
            Grain::SuperBlocks => "a scale for each 256 values",
            Grain::Floats => "values in single precision",
        }
    }
}

fn check_row(ty: GgmlType, row_len: usize) -> Result<()> {
    if row_len.is_multiple_of(ty.block_len()) {
        return Ok(());
    }
    Err(Error::Length {
        what: Measured::Row,
        found: row_len as u64,
        wanted: format!("a multiple of {}, the values in a block of {ty}", ty.block_len()),
    })
}

/// Returns the number of columns of `row_len` values.
fn whole_columns(what: Measured, len: usize, row_len: usize) -> Result<usize> {
    if row_len == 0 && len == 0 {
        return Ok(0);
    }
    if row_len == 0 || !len.is_multiple_of(row_len) {
        return Err(Error::Length { what, found: len as u64, wanted: format!("whole columns of {row_len}") });
    }
    Ok(len / row_len)
}
