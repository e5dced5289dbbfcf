//! Q1_0: 128 values in 18 bytes, a scale with either sign.

use bytemuck::{Pod, Zeroable};

use crate::codec::float::Float;
use crate::codec::format::{Codec, Rows, block_format};
use crate::codec::number::Number;
use crate::codec::operand::{Quants, SmallBlocks};
use crate::codec::search::columns;
use crate::codec::search::columns::in_lanes;
use crate::simd::{Bytes, Floats, MAX_LANES, Range, Simd};

/// A block of [`Q1_0`]: `value[i]` is `d` where bit `i` is 1 and `-d` where it is 0, 1.125 bits per weight.
///
/// ```text
/// byte  0    2                                              18
///       | d  | bits 7 … 0 | bits 15 … 8 |   …   | 127 … 120 |
///       f16
/// ```
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[allow(clippy::exhaustive_structs, reason = "the layout is the file's")]
pub struct BlockQ1_0 {
    /// The scale, an f16 in little-endian bytes.
    pub d: [u8; 2],
    /// The signs, the first value's in the lowest bit of the first byte.
    pub qs: [u8; 16],
}

block_format! {
    /// The format of [`BlockQ1_0`].
    Q1_0, BlockQ1_0
}

const LEN: usize = 128;
/// The number of values whose bits are one number.
const RUN: usize = 32;

impl Codec for Q1_0 {
    const NUMBERS: &'static [Number] = &[Number::f16(0)];

    #[inline(always)]
    fn dequantize<S: Simd, T: Float>(s: S, blocks: &[BlockQ1_0], out: &mut [T]) {
        for (block, out) in blocks.iter().zip(out.as_chunks_mut::<LEN>().0) {
            let d = s.widen_f16(block.d);
            let (plus, minus) = (s.splat(d), s.splat(-d));
            for (bits, out) in block.qs.as_chunks().0.iter().zip(out.as_chunks_mut::<RUN>().0) {
                let bits = u32::from_le_bytes(*bits);
                for at in (0..RUN).step_by(S::LANES) {
                    T::put(s, s.select(s.mask(bits >> at), plus, minus), &mut out[at..]);
                }
            }
        }
    }

    /// The scale is the mean magnitude, and zeros count as positive. Importance is not used, as in ggml.
    #[inline(always)]
    fn quantize<S: Simd>(s: S, rows: Rows<'_>, out: &mut [BlockQ1_0]) {
        let x = rows.values.as_chunks::<LEN>().0;
        let zero = s.splat(0.0);
        for (x, out) in x.chunks(S::LANES).zip(out.chunks_mut(S::LANES)) {
            let mut scales = [0.0; MAX_LANES];
            s.store(mean_magnitudes(s, x), &mut scales);
            for ((x, block), scale) in x.iter().zip(out).zip(scales) {
                block.d = s.narrow_f16(scale);
                for (x, bits) in x.as_chunks::<RUN>().0.iter().zip(block.qs.as_chunks_mut().0) {
                    let mut negative = 0;
                    for at in (0..RUN).step_by(S::LANES) {
                        negative |= s.mask_bits(s.lt(s.load(&x[at..]), zero)) << at;
                    }
                    *bits = (!negative).to_le_bytes();
                }
            }
        }
    }
}

/// Returns the mean magnitude of each block, with a block in each lane. Sums the values in order.
#[inline(always)]
fn mean_magnitudes<S: Simd>(s: S, blocks: &[[f32; LEN]]) -> S::F {
    let mut places = in_lanes(0..blocks.len());
    for place in &mut places {
        *place *= LEN / RUN;
    }
    let runs = blocks.as_flattened().as_chunks::<RUN>().0;
    let mut sum = s.splat(0.0);
    for _ in 0..LEN / RUN {
        for x in columns(s, runs, &places) {
            sum = s.add(sum, s.abs(x));
        }
        for place in &mut places {
            *place += 1;
        }
    }
    s.div(sum, s.splat(LEN as f32))
}

impl Quants for Q1_0 {
    const RANGE: Range = Range::Four;
    const BIAS: i32 = 1;

    #[inline(always)]
    fn unit<D: Bytes>(d: D, block: &BlockQ1_0, unit: usize) -> D::B {
        let bits = u32::from_le_bytes(block.qs.as_chunks().0[unit]);
        d.and_b(d.bits_b(bits), d.splat_b(2))
    }
}

impl SmallBlocks for Q1_0 {
    #[inline(always)]
    fn scales<'a, D: Bytes>(d: D, unit: impl Fn(usize) -> (&'a BlockQ1_0, usize)) -> [Floats<D>; 2] {
        [d.gather_f16(|j| unit(j).0.d), d.lanes().splat(0.0)]
    }
}
