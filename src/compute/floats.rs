//! Products with activations that are not rounded. Weights are converted to floats, a few rows at a time.

#![allow(clippy::needless_range_loop, reason = "several arrays are indexed alike")]

use alloc::vec::Vec;

use super::decode::tree;
use crate::codec::{self, Float};
use crate::error::Result;
use crate::ggml_type::GgmlType;
use crate::simd::{Isa, Kernel, Simd};

/// The number of accumulators of an output. Value `i` is added to number `i mod 16`.
const ACCUMULATORS: usize = 16;
/// The number of rows that are converted to floats together.
const ROWS: usize = 4;

/// Rows to be multiplied with columns of floats.
pub(super) struct FloatRows<'a> {
    pub(super) ty: GgmlType,
    /// Whole rows.
    pub(super) bytes: &'a [u8],
    pub(super) row_bytes: usize,
    pub(super) row_len: usize,
    /// Whole columns.
    pub(super) columns: &'a [f32],
    /// Indexed as `out[column * stride + row]`.
    pub(super) out: &'a mut [f32],
    pub(super) stride: usize,
    /// Scratch memory for rows.
    pub(super) floats: &'a mut Vec<f32>,
}

/// Multiplies the rows with the columns.
pub(super) fn matmul(isa: Isa, rows: FloatRows<'_>) -> Result<()> {
    let FloatRows { ty, bytes, row_bytes, row_len, columns, out, stride, floats } = rows;
    if row_len == 0 {
        out.fill(0.0);
        return Ok(());
    }
    for (r, bytes) in bytes.chunks(ROWS * row_bytes).enumerate() {
        let as_they_lie = match ty {
            GgmlType::F32 if cfg!(target_endian = "little") => bytemuck::try_cast_slice(bytes).ok(),
            _ => None,
        };
        let rows = match as_they_lie {
            Some(rows) => rows,
            None => {
                floats.resize(bytes.len() / row_bytes * row_len, 0.0);
                codec::dequantize_with(isa, ty, bytes, floats)?;
                floats.as_slice()
            }
        };
        isa.run(Tiles { rows, columns, row_len, out: &mut out[r * ROWS..], stride });
    }
    Ok(())
}

/// Converts values to `f32`.
pub(super) fn widened<T: Float>(values: &[T]) -> Vec<f32> {
    values.iter().map(|value| value.to_f32()).collect()
}

struct Tiles<'a> {
    rows: &'a [f32],
    columns: &'a [f32],
    row_len: usize,
    out: &'a mut [f32],
    stride: usize,
}

impl Kernel for Tiles<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // As many products at once as there are registers for their accumulators.
        if S::LANES == ACCUMULATORS { self.tiles::<S, 4, 4>(s) } else { self.tiles::<S, 2, 2>(s) }
    }
}

impl Tiles<'_> {
    #[inline(always)]
    fn tiles<S: Simd, const R: usize, const C: usize>(self, s: S) {
        let Tiles { rows, columns, row_len, out, stride } = self;
        let (rows_many, columns_many) = (rows.len() / row_len, columns.len() / row_len);
        let row = |r: usize| &rows[r * row_len..][..row_len];
        let column = |c: usize| &columns[c * row_len..][..row_len];
        for c in (0..columns_many).step_by(C) {
            for r in (0..rows_many).step_by(R) {
                if r + R <= rows_many && c + C <= columns_many {
                    let (mut w, mut x) = ([row(r); R], [column(c); C]);
                    for i in 0..R {
                        w[i] = row(r + i);
                    }
                    for i in 0..C {
                        x[i] = column(c + i);
                    }
                    let products = products::<S, R, C>(s, w, x);
                    for i in 0..R {
                        for j in 0..C {
                            out[(c + j) * stride + r + i] = products[i][j];
                        }
                    }
                } else {
                    for r in r..(r + R).min(rows_many) {
                        for c in c..(c + C).min(columns_many) {
                            let [[product]] = products::<S, 1, 1>(s, [row(r)], [column(c)]);
                            out[c * stride + r] = product;
                        }
                    }
                }
            }
        }
    }
}

/// Returns the products of each row with each column.
#[inline(always)]
fn products<S: Simd, const R: usize, const C: usize>(s: S, w: [&[f32]; R], x: [&[f32]; C]) -> [[f32; C]; R] {
    let vectors = ACCUMULATORS / S::LANES;
    // Vectors have at least four lanes, except for scalar code.
    let mut sums = [[[s.splat(0.0); 4]; C]; R];
    let row_len = w[0].len();
    let whole = row_len / ACCUMULATORS * ACCUMULATORS;
    for at in (0..whole).step_by(ACCUMULATORS) {
        for v in 0..vectors {
            let at = at + v * S::LANES;
            let mut from_x = [s.splat(0.0); C];
            for j in 0..C {
                from_x[j] = s.load(&x[j][at..]);
            }
            for i in 0..R {
                let w = s.load(&w[i][at..]);
                for j in 0..C {
                    sums[i][j][v] = s.add(sums[i][j][v], s.mul(w, from_x[j]));
                }
            }
        }
    }
    let mut out = [[0.0; C]; R];
    for i in 0..R {
        for j in 0..C {
            let mut lanes = [0.0; ACCUMULATORS];
            for v in 0..vectors {
                s.store(sums[i][j][v], &mut lanes[v * S::LANES..]);
            }
            for at in whole..row_len {
                lanes[at % ACCUMULATORS] += w[i][at] * x[j][at];
            }
            let mut eight = [0.0; 8];
            for (k, eight) in eight.iter_mut().enumerate() {
                *eight = lanes[k] + lanes[k + 8];
            }
            out[i][j] = tree(eight);
        }
    }
    out
}
