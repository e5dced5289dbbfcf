//! Q8_0: 32 values in 34 bytes, a scale and signed bytes.

use bytemuck::{Pod, Zeroable};

use crate::codec::float::Float;
use crate::codec::format::{Codec, Rows, block_format};
use crate::codec::number::Number;
use crate::codec::operand::{Quants, SmallBlocks};
use crate::codec::search::extremes::greatest_magnitude;
use crate::simd::{Bytes, Floats, Range, Simd};

/// A block of [`Q8_0`]: `value[i] = d * qs[i]`, 8.5 bits per weight.
///
/// ```text
/// byte  0    2                                  34
///       | d  | q0 | q1 | q2 |   …    | q30 | q31 |
///       f16    i8 each, in the order of the values
/// ```
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[allow(clippy::exhaustive_structs, reason = "the layout is the file's")]
pub struct BlockQ8_0 {
    /// The scale, an f16 in little-endian bytes.
    pub d: [u8; 2],
    /// The quants.
    pub qs: [i8; 32],
}

block_format! {
    /// The format of [`BlockQ8_0`].
    Q8_0, BlockQ8_0
}

const LEN: usize = 32;

impl Codec for Q8_0 {
    const DIRECT_HALVES: bool = true;
    const NUMBERS: &'static [Number] = &[Number::f16(0)];

    #[inline(always)]
    fn dequantize<S: Simd, T: Float>(s: S, blocks: &[BlockQ8_0], out: &mut [T]) {
        for (block, out) in blocks.iter().zip(out.as_chunks_mut::<LEN>().0) {
            let d = s.splat_f16(block.d);
            for at in (0..LEN).step_by(S::LANES) {
                let q = s.to_float(s.load_i8(&block.qs[at..]));
                T::put(s, s.mul(q, d), &mut out[at..]);
            }
        }
    }

    /// The scale is the greatest magnitude divided by 127. Importance is not used, as in ggml.
    #[inline(always)]
    fn quantize<S: Simd>(s: S, rows: Rows<'_>, out: &mut [BlockQ8_0]) {
        for (x, block) in rows.values.as_chunks::<LEN>().0.iter().zip(out) {
            let d = greatest_magnitude(s, x) / 127.0;
            let inverse = if d != 0.0 { 1.0 / d } else { 0.0 };
            block.d = s.narrow_f16(d);
            let inverse = s.splat(inverse);
            for at in (0..LEN).step_by(S::LANES) {
                // An infinite inverse, from a scale below 2^-128, gives i32::MIN, whose low byte is 0 as in ggml.
                let q = s.round_half_away(s.mul(s.load(&x[at..]), inverse));
                s.store_u8(q, bytemuck::cast_slice_mut(&mut block.qs[at..]));
            }
        }
    }
}

impl Quants for Q8_0 {
    const RANGE: Range = Range::Signed;

    #[inline(always)]
    fn unit<D: Bytes>(d: D, block: &BlockQ8_0, _: usize) -> D::B {
        d.load_b(bytemuck::cast_ref(&block.qs))
    }
}

impl SmallBlocks for Q8_0 {
    #[inline(always)]
    fn scales<'a, D: Bytes>(d: D, unit: impl Fn(usize) -> (&'a BlockQ8_0, usize)) -> [Floats<D>; 2] {
        [d.gather_f16(|j| unit(j).0.d), d.lanes().splat(0.0)]
    }
}
