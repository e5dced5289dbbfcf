//! Q5_0: 32 values in 22 bytes, a scale and 5-bit quants around 16.

use bytemuck::{Pod, Zeroable};

use crate::codec::float::Float;
use crate::codec::format::{Codec, Rows, block_format};
use crate::codec::number::Number;
use crate::codec::operand::{Quants, SmallBlocks};
use crate::codec::pack::bits5;
use crate::codec::search;
use crate::codec::search::extremes::first_of_greatest_magnitude;
use crate::simd::{Bytes, Floats, Range, Simd};

/// A block of [`Q5_0`]: `value[i] = d * (q[i] - 16)`, 5.5 bits per weight.
///
/// ```text
/// byte  0    2       6                                   22
///       | d  |  qh   | q16 q0 | q17 q1 |   …   | q31 q15 |
///       f16    bit i of these 32 is the top bit of q[i]
///                      high nibble: the rest of q in the second half of the block, low nibble: in the first
/// ```
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[allow(clippy::exhaustive_structs, reason = "the layout is the file's")]
pub struct BlockQ5_0 {
    /// The scale, an f16 in little-endian bytes.
    pub d: [u8; 2],
    /// The top bits of the quants, the first quant's in the lowest bit of the first byte.
    pub qh: [u8; 4],
    /// The lower four bits of the quants, two to a byte.
    pub qs: [u8; 16],
}

block_format! {
    /// The format of [`BlockQ5_0`].
    Q5_0, BlockQ5_0
}

const LEN: usize = 32;
const HALF: usize = LEN / 2;

impl Codec for Q5_0 {
    const NUMBERS: &'static [Number] = &[Number::f16(0)];

    #[inline(always)]
    fn dequantize<S: Simd, T: Float>(s: S, blocks: &[BlockQ5_0], out: &mut [T]) {
        let sixteen = s.splat_i(16);
        for (block, out) in blocks.iter().zip(out.as_chunks_mut::<LEN>().0) {
            let d = s.splat_f16(block.d);
            let fifth = u32::from_le_bytes(block.qh);
            for at in (0..HALF).step_by(S::LANES) {
                let (low, high) = bits5::unpack(s, &block.qs, fifth, at);
                T::put(s, s.mul(s.to_float(s.sub_i(low, sixteen)), d), &mut out[at..]);
                T::put(s, s.mul(s.to_float(s.sub_i(high, sixteen)), d), &mut out[HALF + at..]);
            }
        }
    }

    #[inline(always)]
    fn quantize<S: Simd>(s: S, rows: Rows<'_>, out: &mut [BlockQ5_0]) {
        match rows.importance {
            None => round(s, rows.values, out),
            Some(importance) => search(s, rows, importance, out),
        }
    }
}

/// Quantizes without importance: the value of greatest magnitude becomes quant 0, which is -16 times the scale.
#[inline(always)]
fn round<S: Simd>(s: S, values: &[f32], out: &mut [BlockQ5_0]) {
    let (offset, most) = (s.splat(16.5), s.splat_i(31));
    for (x, block) in values.as_chunks::<LEN>().0.iter().zip(out) {
        let d = first_of_greatest_magnitude(s, x) / -16.0;
        let inverse = if d != 0.0 { 1.0 / d } else { 0.0 };
        block.d = s.narrow_f16(d);
        let inverse = s.splat(inverse);
        let mut fifth = 0;
        for at in (0..HALF).step_by(S::LANES) {
            // |x * inverse| is at most 16 plus a rounding error, so the sum stays within 0..=32. An infinite inverse,
            // from a scale below 2^-128, gives i32::MIN, whose low byte is 0 as in ggml.
            let low = s.min_i(s.trunc(s.add(s.mul(s.load(&x[at..]), inverse), offset)), most);
            let high = s.min_i(s.trunc(s.add(s.mul(s.load(&x[HALF + at..]), inverse), offset)), most);
            fifth |= bits5::pack(s, low, high, &mut block.qs, at);
        }
        block.qh = fifth.to_le_bytes();
    }
}

/// Quantizes with importance: a search finds the scale with the least weighted error, with a block in each lane.
#[inline(always)]
fn search<S: Simd>(s: S, rows: Rows<'_>, importance: &[f32], out: &mut [BlockQ5_0]) {
    let x = rows.values.as_chunks::<LEN>().0;
    let weights = search::RowWeights::new(rows, importance);
    for (group, out) in out.chunks_mut(<S::Wide as Simd>::LANES).enumerate() {
        let first = group * <S::Wide as Simd>::LANES;
        let found = weights.symmetric(s.wide(), 16, x, first..first + out.len());
        for (lane, (x, block)) in x[first..].iter().zip(out).enumerate() {
            block.d = s.narrow_f16(found.scales[lane]);
            if found.inverses[lane] == 0.0 {
                (block.qh, block.qs) = ([0; 4], [0; 16]);
                continue;
            }
            let (inverse, sixteen) = (s.splat(found.inverses[lane]), s.splat_i(16));
            let mut fifth = 0;
            for at in (0..HALF).step_by(S::LANES) {
                let low = s.nearest_within(s.mul(inverse, s.load(&x[at..])), -16, 15);
                let high = s.nearest_within(s.mul(inverse, s.load(&x[HALF + at..])), -16, 15);
                let (low, high) = (s.add_i(low, sixteen), s.add_i(high, sixteen));
                fifth |= bits5::pack(s, low, high, &mut block.qs, at);
            }
            block.qh = fifth.to_le_bytes();
        }
    }
}

impl Quants for Q5_0 {
    const RANGE: Range = Range::Seven;
    const BIAS: i32 = 16;

    #[inline(always)]
    fn unit<D: Bytes>(d: D, block: &BlockQ5_0, _: usize) -> D::B {
        bits5::bytes(d, &block.qs, block.qh)
    }
}

impl SmallBlocks for Q5_0 {
    #[inline(always)]
    fn scales<'a, D: Bytes>(d: D, unit: impl Fn(usize) -> (&'a BlockQ5_0, usize)) -> [Floats<D>; 2] {
        [d.gather_f16(|j| unit(j).0.d), d.lanes().splat(0.0)]
    }
}
