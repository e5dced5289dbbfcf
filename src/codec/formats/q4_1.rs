//! Q4_1: 32 values in 20 bytes, a scale, a min and 4-bit quants.

use bytemuck::{Pod, Zeroable};

use crate::codec::float::Float;
use crate::codec::format::{Codec, Rows, block_format};
use crate::codec::number::Number;
use crate::codec::operand::{Quants, SmallBlocks, Terms};
use crate::codec::pack::bits4;
use crate::codec::search;
use crate::codec::search::extremes::range;
use crate::simd::{Bytes, Floats, Range, Simd};

/// A block of [`Q4_1`]: `value[i] = d * q[i] + m`, 5 bits per weight.
///
/// ```text
/// byte  0    2    4                                   20
///       | d  | m  | q16 q0 | q17 q1 |   …   | q31 q15 |
///       f16  f16    high nibble: the second half of the block, low nibble: the first
/// ```
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[allow(clippy::exhaustive_structs, reason = "the layout is the file's")]
pub struct BlockQ4_1 {
    /// The scale, an f16 in little-endian bytes.
    pub d: [u8; 2],
    /// The min, an f16 in little-endian bytes.
    pub m: [u8; 2],
    /// The quants, two to a byte.
    pub qs: [u8; 16],
}

block_format! {
    /// The format of [`BlockQ4_1`].
    Q4_1, BlockQ4_1
}

const LEN: usize = 32;
const HALF: usize = LEN / 2;

impl Codec for Q4_1 {
    const DIRECT_HALVES: bool = true;
    const NUMBERS: &'static [Number] = &[Number::f16(0), Number::f16(2)];

    #[inline(always)]
    fn dequantize<S: Simd, T: Float>(s: S, blocks: &[BlockQ4_1], out: &mut [T]) {
        for (block, out) in blocks.iter().zip(out.as_chunks_mut::<LEN>().0) {
            let d = s.splat_f16(block.d);
            let m = s.splat_f16(block.m);
            for at in (0..HALF).step_by(S::LANES) {
                let (low, high) = bits4::unpack(s, &block.qs[at..]);
                T::put(s, s.add(s.mul(s.to_float(low), d), m), &mut out[at..]);
                T::put(s, s.add(s.mul(s.to_float(high), d), m), &mut out[HALF + at..]);
            }
        }
    }

    #[inline(always)]
    fn quantize<S: Simd>(s: S, rows: Rows<'_>, out: &mut [BlockQ4_1]) {
        match rows.importance {
            None => round(s, rows.values, out),
            Some(importance) => search(s, rows, importance, out),
        }
    }
}

/// Quantizes without importance: the least value becomes quant 0 and the greatest 15.
#[inline(always)]
fn round<S: Simd>(s: S, values: &[f32], out: &mut [BlockQ4_1]) {
    let (half, most) = (s.splat(0.5), s.splat_i(15));
    for (x, block) in values.as_chunks::<LEN>().0.iter().zip(out) {
        let (min, max) = range(s, x);
        let d = (max - min) / 15.0;
        let inverse = if d != 0.0 { 1.0 / d } else { 0.0 };
        block.d = s.narrow_f16(d);
        block.m = s.narrow_f16(min);
        let (min, inverse) = (s.splat(min), s.splat(inverse));
        for at in (0..HALF).step_by(S::LANES) {
            // If the inverse is infinite, from a scale below 2^-128, or the range overflows, truncation gives
            // i32::MIN, whose low byte is 0 as in ggml.
            let low = s.mul(s.sub(s.load(&x[at..]), min), inverse);
            let high = s.mul(s.sub(s.load(&x[HALF + at..]), min), inverse);
            let low = s.min_i(s.trunc(s.add(low, half)), most);
            let high = s.min_i(s.trunc(s.add(high, half)), most);
            bits4::pack(s, low, high, &mut block.qs[at..]);
        }
    }
}

/// Quantizes with importance: a search finds the scale and min with the least weighted error, with a block in each lane.
#[inline(always)]
fn search<S: Simd>(s: S, rows: Rows<'_>, importance: &[f32], out: &mut [BlockQ4_1]) {
    let x = rows.values.as_chunks::<LEN>().0;
    let weights = search::RowWeights::new(rows, importance);
    for (group, out) in out.chunks_mut(<S::Wide as Simd>::LANES).enumerate() {
        let first = group * <S::Wide as Simd>::LANES;
        let found = weights.asymmetric(s.wide(), 15, x, first..first + out.len());
        for (lane, (x, block)) in x[first..].iter().zip(out).enumerate() {
            block.d = s.narrow_f16(found.scales[lane]);
            block.m = s.narrow_f16(found.mins[lane]);
            let (inverse, base) = (s.splat(found.inverses[lane]), s.splat(found.bases[lane]));
            for at in (0..HALF).step_by(S::LANES) {
                let low = s.mul(inverse, s.sub(s.load(&x[at..]), base));
                let high = s.mul(inverse, s.sub(s.load(&x[HALF + at..]), base));
                let (low, high) = (s.nearest_within(low, 0, 15), s.nearest_within(high, 0, 15));
                bits4::pack(s, low, high, &mut block.qs[at..]);
            }
        }
    }
}

impl Quants for Q4_1 {
    const RANGE: Range = Range::Four;

    #[inline(always)]
    fn unit<D: Bytes>(d: D, block: &BlockQ4_1, _: usize) -> D::B {
        d.nibbles(&block.qs)
    }
}

impl SmallBlocks for Q4_1 {
    const TERMS: Terms = Terms::ScaleAndMin;

    #[inline(always)]
    fn scales<'a, D: Bytes>(d: D, unit: impl Fn(usize) -> (&'a BlockQ4_1, usize)) -> [Floats<D>; 2] {
        [d.gather_f16(|j| unit(j).0.d), d.gather_f16(|j| unit(j).0.m)]
    }
}
