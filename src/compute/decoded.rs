//! Products of rows with a handful of columns. A row is decoded once, to memory that stays in L1 cache, and multiplied with
//! one column after the other.
//!
//! The kernels here do not depend on formats, like those of [`matmul`](super::matmul).

use core::marker::PhantomData;

use super::chunk::{Chunk, Column};
use super::decode::{Decoded, Shape, total};
use super::dot::{Rows, integers};
use super::table::{FOUR, Products, SEVEN, SIGNED, SIX, range_of};
use crate::codec::operand::{Terms, eight_units};
use crate::simd::{ByteKernel, Bytes, Isa, Range, Simd};

/// Returns the number of columns from which on decoding to memory pays: two if quants are rows of a grid, which are slow
/// to assemble.
pub(super) fn least_columns(shape: Shape) -> usize {
    if let Shape::Super { range: Range::Seven, .. } = shape { 2 } else { 3 }
}

/// Multiplies rows with each of the columns.
pub(super) fn multiply(isa: Isa, products: Products, rows: Rows<'_>) {
    const SCALE: u8 = Terms::Scale as u8;
    const MIN: u8 = Terms::ScaleAndMin as u8;
    const TWO: u8 = Terms::TwoScales as u8;
    match products.shape {
        Shape::Small { range, terms, .. } => match (range, terms) {
            (Range::Four, Terms::Scale) => run::<Small<FOUR, SCALE>>(isa, products, rows),
            (Range::Four, Terms::ScaleAndMin) => run::<Small<FOUR, MIN>>(isa, products, rows),
            (Range::Signed, Terms::Scale) => run::<Small<SIGNED, SCALE>>(isa, products, rows),
            (_, Terms::Scale) => run::<Small<SEVEN, SCALE>>(isa, products, rows),
            (_, Terms::ScaleAndMin) => run::<Small<SEVEN, MIN>>(isa, products, rows),
            (_, Terms::TwoScales) => run::<Small<SEVEN, TWO>>(isa, products, rows),
        },
        Shape::Super { range, has_mins, .. } => match (range, has_mins) {
            (Range::Four, true) => run::<Super<FOUR, true>>(isa, products, rows),
            (_, true) => run::<Super<SIX, true>>(isa, products, rows),
            (Range::Four, false) => run::<Super<FOUR, false>>(isa, products, rows),
            (Range::Six, false) => run::<Super<SIX, false>>(isa, products, rows),
            (Range::Seven, false) => run::<Super<SEVEN, false>>(isa, products, rows),
            (Range::Signed, false) => run::<Super<SIGNED, false>>(isa, products, rows),
        },
    }
}

/// The part of a kernel that depends on the kind of blocks.
trait Kind {
    /// Returns the product of a decoded row with a column whose chunks are `width` apart. `bias` is what was added to weights.
    fn dot<D: Bytes>(d: D, row: &[Decoded], bias: f32, x: &[Chunk], width: usize) -> f32;
}

struct Small<const RANGE: u8, const TERMS: u8>;
struct Super<const RANGE: u8, const MINS: bool>;

struct Run<'a, K>(Isa, Products, Rows<'a>, PhantomData<K>);

fn run<K: Kind>(isa: Isa, products: Products, rows: Rows<'_>) {
    isa.run_bytes(Run::<K>(isa, products, rows, PhantomData));
}

impl<K: Kind> ByteKernel for Run<'_, K> {
    type Output = ();
    const MULTIPLIES: bool = true;
    #[inline(always)]
    fn run<D: Bytes>(self, d: D) {
        let Run(isa, products, rows, _) = self;
        let Rows { bytes, row_bytes, chunks, columns, out, stride, decoded } = rows;
        let bias = match products.shape {
            Shape::Small { range: Range::Signed, .. } => D::ADDED_TO_SIGNED,
            Shape::Small { bias, .. } => bias,
            Shape::Super { .. } => 0,
        };
        for (r, row) in bytes.chunks_exact(row_bytes.max(1)).enumerate() {
            (products.decode)(isa, row, D::ADDED_TO_SIGNED as u8, decoded);
            for (c, &Column { first, stride: width }) in columns.iter().enumerate() {
                out[c * stride + r] = K::dot(d, decoded, bias as f32, &chunks[first..], width);
            }
        }
    }
}

impl<const RANGE: u8, const TERMS: u8> Kind for Small<RANGE, TERMS> {
    #[inline(always)]
    fn dot<D: Bytes>(d: D, row: &[Decoded], bias: f32, x: &[Chunk], width: usize) -> f32 {
        let s = d.lanes();
        let bias = s.splat(bias);
        let (mut sums, mut at) = (s.splat(0.0), 0);
        for w in row {
            let x = &x[at];
            at += width;
            let units = eight_units!(u => d.load_b(&w.quants[u]));
            let (first, second, e) = (s.load(&w.first), s.load(&w.second), s.load(&x.scales));
            let [sum_low, sum_high] = [integers(d, &x.sums[0]), integers(d, &x.sums[1])];
            // These integers are below 2^24, so floats represent them and their differences exactly.
            let term = if TERMS == Terms::TwoScales as u8 {
                let [low, high] = d.sums(range_of(RANGE), &units, &x.quants);
                let low = s.sub(s.to_float(low), s.mul(bias, s.to_float(sum_low)));
                let high = s.sub(s.to_float(high), s.mul(bias, s.to_float(sum_high)));
                s.add(s.mul(s.mul(first, e), low), s.mul(s.mul(second, e), high))
            } else {
                let sum = s.to_float(s.add_i(sum_low, sum_high));
                let products = s.to_float(d.sums_of_units(range_of(RANGE), &units, &x.quants));
                let scaled = s.mul(s.mul(first, e), s.sub(products, s.mul(bias, sum)));
                if TERMS == Terms::Scale as u8 { scaled } else { s.add(scaled, s.mul(s.mul(second, e), sum)) }
            };
            sums = s.add(sums, term);
        }
        total(d, sums)
    }
}

impl<const RANGE: u8, const MINS: bool> Kind for Super<RANGE, MINS> {
    #[inline(always)]
    fn dot<D: Bytes>(d: D, row: &[Decoded], _: f32, x: &[Chunk], width: usize) -> f32 {
        let s = d.lanes();
        let (mut sums, mut at) = (s.splat(0.0), 0);
        for row in row.chunks(8) {
            let ([mut products, mut mins], [mut first, mut second]) = ([[s.splat_i(0); 8]; 2], [[0.0; 8]; 2]);
            let e = s.load(&x[at].scales);
            for (b, w) in row.iter().enumerate() {
                let x = &x[at];
                at += width;
                let units = eight_units!(u => d.load_b(&w.quants[u]));
                let scales = d.load_b(bytemuck::cast_ref(&w.short_scales));
                products[b] = d.scaled_sums(range_of(RANGE), &units, &x.quants, scales);
                let shorts = d.load_b(bytemuck::cast_ref(&x.shorts));
                let of_mins = d.dot_shorts(d.load_b(bytemuck::cast_ref(&w.mins)), shorts);
                if MINS {
                    mins[b] = of_mins;
                } else {
                    products[b] = s.sub_i(products[b], of_mins);
                }
                (first[b], second[b]) = (w.first[0], w.second[0]);
            }
            let mut terms = s.mul(s.mul(s.load(&first), e), s.to_float(d.totals(&products)));
            if MINS {
                terms = s.sub(terms, s.mul(s.mul(s.load(&second), e), s.to_float(d.totals(&mins))));
            }
            sums = s.add(sums, terms);
        }
        total(d, sums)
    }
}
