//! IQ4_NL: 32 values in 18 bytes, a scale and 4-bit indices into sixteen unevenly spaced values.

use bytemuck::{Pod, Zeroable};

use crate::codec::float::Float;
use crate::codec::format::{Codec, Rows, block_format};
use crate::codec::number::Number;
use crate::codec::operand::{Quants, SmallBlocks};
use crate::codec::search::columns::Importance;
use crate::codec::search::{self, columns, uneven};
use crate::simd::{Bytes, Floats, MAX_LANES, Range, Simd};

/// A block of [`IQ4_NL`]: `value[i] = d * v[q[i]]`, 4.5 bits per weight, where `v` is -127, -104, -83, -65, -49, -35, -22,
/// -10, 1, 13, 25, 38, 53, 69, 89, 113.
///
/// ```text
/// byte  0    2                                   18
///       | d  | q16 q0 | q17 q1 |   …   | q31 q15 |
///       f16    high nibble: the second half of the block, low nibble: the first
/// ```
#[allow(non_camel_case_types, reason = "the field's name")]
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[allow(clippy::exhaustive_structs, reason = "the layout is the file's")]
pub struct BlockIQ4_NL {
    /// The scale, an f16 in little-endian bytes.
    pub d: [u8; 2],
    /// The indices, two to a byte.
    pub qs: [u8; 16],
}

block_format! {
    /// The format of [`BlockIQ4_NL`].
    IQ4_NL, BlockIQ4_NL
}

const LEN: usize = 32;

impl Codec for IQ4_NL {
    const NUMBERS: &'static [Number] = &[Number::f16(0)];

    #[inline(always)]
    fn dequantize<S: Simd, T: Float>(s: S, blocks: &[BlockIQ4_NL], out: &mut [T]) {
        for (block, out) in blocks.iter().zip(out.as_chunks_mut::<LEN>().0) {
            uneven::dequantize(s, s.splat_f16(block.d), &block.qs, out);
        }
    }

    /// Searches the scales with a block in each lane, and quantizes with each scale before it is rounded.
    #[inline(always)]
    fn quantize<S: Simd>(s: S, rows: Rows<'_>, out: &mut [BlockIQ4_NL]) {
        let x = rows.values.as_chunks::<LEN>().0;
        let importance = rows.importance.map(|importance| Importance::new(importance, 0));
        let (wide, lanes) = (s.wide(), <S::Wide as Simd>::LANES);
        for (group, out) in out.chunks_mut(lanes).enumerate() {
            let first = group * lanes;
            let blocks = search::in_lanes(first..first + out.len());
            let values = columns(wide, x, &blocks);
            let weights = weights(wide, &values, importance, &blocks);
            let mut scales = [0.0; MAX_LANES];
            wide.store(uneven::search(wide, &values, &weights), &mut scales);
            for ((x, block), scale) in x[first..].iter().zip(out).zip(scales) {
                block.d = s.narrow_f16(scale);
                let inverse = if scale != 0.0 { 1.0 / scale } else { 0.0 };
                uneven::quantize(s, inverse, x, &mut block.qs);
            }
        }
    }
}

/// Returns `importance * sqrt(2 * mean square of the block + x²)`, or x² without importance.
#[inline(always)]
fn weights<S: Simd>(
    s: S,
    x: &[S::F; LEN],
    importance: Option<Importance<'_, LEN>>,
    blocks: &[usize; MAX_LANES],
) -> [S::F; LEN] {
    let mut squares = *x;
    let mut sum = s.splat(0.0);
    for square in &mut squares {
        *square = s.mul(*square, *square);
        sum = s.add(sum, *square);
    }
    match importance {
        None => squares,
        Some(importance) => importance.weigh(s, blocks, s.mul(sum, s.splat(2.0 / LEN as f32)), x),
    }
}

impl Quants for IQ4_NL {
    const RANGE: Range = Range::Signed;

    #[inline(always)]
    fn unit<D: Bytes>(d: D, block: &BlockIQ4_NL, _: usize) -> D::B {
        uneven::bytes(d, &block.qs)
    }
}

impl SmallBlocks for IQ4_NL {
    #[inline(always)]
    fn scales<'a, D: Bytes>(d: D, unit: impl Fn(usize) -> (&'a BlockIQ4_NL, usize)) -> [Floats<D>; 2] {
        [d.gather_f16(|j| unit(j).0.d), d.lanes().splat(0.0)]
    }
}
