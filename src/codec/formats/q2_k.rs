//! Q2_K: super-blocks of 256 values in 84 bytes, with a 4-bit scale and min for each 16 values.

use bytemuck::{Pod, Zeroable};

use crate::codec::float::Float;
use crate::codec::format::{Codec, Rows, block_format};
use crate::codec::number::Number;
use crate::codec::operand::{Mins, Quants, SuperBlocks, chunk, eight, halves, two_bits};
use crate::codec::pack::bits2;
use crate::codec::search::scale_and_min::{self, LEN, ScaleAndMin, Scales, Weights};
use crate::codec::search::{Deviation, Steps};
use crate::simd::{Bytes, Range, Simd};

/// A super-block of [`Q2_K`]: `value[i] = d * scale[i / 16] * q[i] - dmin * min[i / 16]`, 2.625 bits per weight.
///
/// ```text
/// byte  0              16           80   82     84
///       | scales 16B   | qs: 2b     | d  | dmin |
///         min, scale:                f16   f16
///         high, low nibble
/// for each half of 128 values, with l = 0..32:
///   qs[l]   q[l + 96], q[l + 64], q[l + 32], q[l], from the top
/// ```
#[allow(non_camel_case_types, reason = "the field's name")]
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[allow(clippy::exhaustive_structs, reason = "the layout is the file's")]
pub struct BlockQ2_K {
    /// The sub-blocks' scales in the low nibbles, their mins in the high ones.
    pub scales: [u8; 16],
    /// The quants, four to a byte.
    pub qs: [u8; 64],
    /// The scale of the scales, an f16 in little-endian bytes.
    pub d: [u8; 2],
    /// The scale of the mins, an f16 in little-endian bytes.
    pub dmin: [u8; 2],
}

block_format! {
    /// The format of [`BlockQ2_K`].
    Q2_K, BlockQ2_K
}

/// The number of values in a sub-block, which share a scale and a min.
const SUB: usize = 16;
const SUBS: usize = LEN / SUB;

impl Codec for Q2_K {
    const NUMBERS: &'static [Number] = &[Number::f16(80), Number::f16(82)];

    #[inline(always)]
    fn dequantize<S: Simd, T: Float>(s: S, blocks: &[BlockQ2_K], out: &mut [T]) {
        for (block, out) in blocks.iter().zip(out.as_chunks_mut::<LEN>().0) {
            let (scales, mins) = Q2_K::scales(block).products(s);
            let halves = block.qs.as_chunks::<32>().0.iter().zip(out.as_chunks_mut::<128>().0);
            for ((qs, out), (scales, mins)) in
                halves.zip(scales.as_chunks::<8>().0.iter().zip(mins.as_chunks::<8>().0))
            {
                for at in (0..32).step_by(S::LANES) {
                    for (quarter, q) in bits2::unpack(s, &qs[at..]).into_iter().enumerate() {
                        let sub = 2 * quarter + at / SUB;
                        let (scale, min) = (s.splat(scales[sub]), s.splat(mins[sub]));
                        let value = s.sub(s.mul(scale, s.to_float(q)), min);
                        T::put(s, value, &mut out[32 * quarter + at..]);
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn quantize<S: Simd>(s: S, rows: Rows<'_>, out: &mut [BlockQ2_K]) {
        scale_and_min::quantize::<S, Q2_K, SUB, SUBS>(s, rows, out);
    }
}

impl ScaleAndMin<SUB, SUBS> for Q2_K {
    const LEVELS: i32 = 3;
    const SCALE_LEVELS: i32 = 15;
    const CUT: [u8; 2] = [255, 255];
    const STEPS: Steps = Steps { from: -0.5, by: 0.1, last: 15, deviation: Deviation::Magnitude };
    const MEAN_SQUARES: f32 = 1.0;
    const WEIGHTS: Weights = Weights::Magnitudes;

    /// A scale above 15 spills into its min.
    #[inline(always)]
    fn put_scales(block: &mut BlockQ2_K, scales: &Scales<SUBS>) {
        (block.d, block.dmin) = (scales.d, scales.dmin);
        for ((both, scale), min) in block.scales.iter_mut().zip(&scales.scales).zip(&scales.mins) {
            *both = scale | min << 4;
        }
    }

    #[inline(always)]
    fn scales(block: &BlockQ2_K) -> Scales<SUBS> {
        let (scales, mins) = (block.scales.map(|both| both & 15), block.scales.map(|both| both >> 4));
        Scales { d: block.d, dmin: block.dmin, scales, mins }
    }

    #[inline(always)]
    fn put_quants<S: Simd>(s: S, block: &mut BlockQ2_K, quants: &[u8; LEN]) {
        bits2::pack(s, quants, &mut block.qs);
    }
}

impl Quants for Q2_K {
    const RANGE: Range = Range::Four;

    #[inline(always)]
    fn unit<D: Bytes>(d: D, block: &BlockQ2_K, unit: usize) -> D::B {
        two_bits(d, chunk(d, &block.qs, unit / 4), unit % 4)
    }
}

impl SuperBlocks for Q2_K {
    const GROUP: usize = 16;
    const MINS: Mins = Mins::OwnScale;

    #[inline(always)]
    fn d(block: &BlockQ2_K) -> [u8; 2] {
        block.d
    }
    #[inline(always)]
    fn dmin(block: &BlockQ2_K) -> [u8; 2] {
        block.dmin
    }
    #[inline(always)]
    fn group_scales(block: &BlockQ2_K) -> [u64; 2] {
        halves(&block.scales).map(|both| both & eight(15))
    }
    #[inline(always)]
    fn group_mins(block: &BlockQ2_K) -> [u64; 2] {
        halves(&block.scales).map(|both| both >> 4 & eight(15))
    }
}
