//! Q5_K: super-blocks of 256 values in 176 bytes, with a 6-bit scale and min for each 32 values.

use bytemuck::{Pod, Zeroable};

use crate::codec::float::Float;
use crate::codec::format::{Codec, Rows, block_format};
use crate::codec::number::Number;
use crate::codec::operand::{Mins, Quants, SuperBlocks, bit, chunk, nibble};
use crate::codec::pack::bits4;
use crate::codec::pack::k_scales;
use crate::codec::search::scale_and_min::{self, LEN, ScaleAndMin, Scales, Weights};
use crate::codec::search::{Deviation, Steps};
use crate::simd::{Bytes, Range, Simd};

/// A super-block of [`Q5_K`]: `value[i] = d * scale[i / 32] * q[i] - dmin * min[i / 32]`, 5.5 bits per weight.
///
/// ```text
/// byte  0    2      4            16            48                                  176
///       | d  | dmin | scales 12B | qh: high 1b | q32 q0 … q63 q31 | …  … q255 q223 |
///       f16   f16     as in Q4_K                 low 4b, as in Q4_K
///
///   qh[l]   bit 4 of q[l + 224], q[l + 192], … q[l + 32], q[l], from the top
/// ```
#[allow(non_camel_case_types, reason = "the field's name")]
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[allow(clippy::exhaustive_structs, reason = "the layout is the file's")]
pub struct BlockQ5_K {
    /// The scale of the scales, an f16 in little-endian bytes.
    pub d: [u8; 2],
    /// The scale of the mins, an f16 in little-endian bytes.
    pub dmin: [u8; 2],
    /// The sub-blocks' scales and mins, 6 bits each.
    pub scales: [u8; 12],
    /// The quants' upper bits, eight to a byte.
    pub qh: [u8; 32],
    /// The quants' lower four bits, two to a byte.
    pub qs: [u8; 128],
}

block_format! {
    /// The format of [`BlockQ5_K`].
    Q5_K, BlockQ5_K
}

/// The number of values in a sub-block, which share a scale and a min.
const SUB: usize = 32;
const SUBS: usize = LEN / SUB;

impl Codec for Q5_K {
    const DIRECT_HALVES: bool = true;
    const NUMBERS: &'static [Number] = &[Number::f16(0), Number::f16(2)];

    #[inline(always)]
    fn dequantize<S: Simd, T: Float>(s: S, blocks: &[BlockQ5_K], out: &mut [T]) {
        let fifth_bit = s.splat_i(16);
        for (block, out) in blocks.iter().zip(out.as_chunks_mut::<LEN>().0) {
            let (scales, mins) = Q5_K::scales(block).products(s);
            for at in (0..SUB).step_by(S::LANES) {
                // Two of its bits belong to each pair of sub-blocks.
                let mut high = s.load_u8(&block.qh[at..]);
                let pairs = block.qs.as_chunks::<SUB>().0.iter().zip(out.as_chunks_mut::<{ 2 * SUB }>().0);
                for (pair, (qs, out)) in pairs.enumerate() {
                    let (low_scale, high_scale) = (s.splat(scales[2 * pair]), s.splat(scales[2 * pair + 1]));
                    let (low_min, high_min) = (s.splat(mins[2 * pair]), s.splat(mins[2 * pair + 1]));
                    let (a, b) = bits4::unpack(s, &qs[at..]);
                    let a = s.or(a, s.and(s.shl::<4>(high), fifth_bit));
                    let b = s.or(b, s.and(s.shl::<3>(high), fifth_bit));
                    high = s.shr::<2>(high);
                    T::put(s, s.sub(s.mul(low_scale, s.to_float(a)), low_min), &mut out[at..]);
                    T::put(s, s.sub(s.mul(high_scale, s.to_float(b)), high_min), &mut out[SUB + at..]);
                }
            }
        }
    }

    #[inline(always)]
    fn quantize<S: Simd>(s: S, rows: Rows<'_>, out: &mut [BlockQ5_K]) {
        scale_and_min::quantize::<S, Q5_K, SUB, SUBS>(s, rows, out);
    }
}

impl ScaleAndMin<SUB, SUBS> for Q5_K {
    const LEVELS: i32 = 31;
    const SCALE_LEVELS: i32 = 63;
    const CUT: [u8; 2] = [63, 63];
    const STEPS: Steps = Steps { from: -0.5, by: 0.1, last: 15, deviation: Deviation::Squared };
    const MEAN_SQUARES: f32 = 2.0;
    const WEIGHTS: Weights = Weights::MagnitudesAboveMean;

    #[inline(always)]
    fn put_scales(block: &mut BlockQ5_K, scales: &Scales<SUBS>) {
        (block.d, block.dmin) = (scales.d, scales.dmin);
        block.scales = k_scales::pack(&scales.scales, &scales.mins);
    }

    #[inline(always)]
    fn scales(block: &BlockQ5_K) -> Scales<SUBS> {
        let (scales, mins) = k_scales::unpack(&block.scales);
        Scales { d: block.d, dmin: block.dmin, scales, mins }
    }

    #[inline(always)]
    fn put_quants<S: Simd>(s: S, block: &mut BlockQ5_K, quants: &[u8; LEN]) {
        let nibble = s.splat_i(15);
        for at in (0..SUB).step_by(S::LANES) {
            let mut high = s.splat_i(0);
            let pairs = quants.as_chunks::<{ 2 * SUB }>().0.iter().zip(block.qs.as_chunks_mut::<SUB>().0);
            for (q, qs) in pairs {
                let (a, b) = (s.load_u8(&q[at..]), s.load_u8(&q[SUB + at..]));
                bits4::pack(s, s.and(a, nibble), s.and(b, nibble), &mut qs[at..]);
                // The bits of each pair enter at the top and are shifted down.
                let bits = s.or(s.shl::<2>(s.shr::<4>(a)), s.shl::<3>(s.shr::<4>(b)));
                high = s.or(s.shr::<2>(high), s.shl::<4>(bits));
            }
            s.store_u8(high, &mut block.qh[at..]);
        }
    }
}

impl Quants for Q5_K {
    const RANGE: Range = Range::Six;

    #[inline(always)]
    fn unit<D: Bytes>(d: D, block: &BlockQ5_K, unit: usize) -> D::B {
        let low = nibble(d, chunk(d, &block.qs, unit / 2), unit % 2 == 1);
        d.or_b(low, bit::<D, 4>(d, d.load_b(&block.qh), unit))
    }
}

impl SuperBlocks for Q5_K {
    const GROUP: usize = 32;
    const MINS: Mins = Mins::OwnScale;

    #[inline(always)]
    fn d(block: &BlockQ5_K) -> [u8; 2] {
        block.d
    }
    #[inline(always)]
    fn dmin(block: &BlockQ5_K) -> [u8; 2] {
        block.dmin
    }
    #[inline(always)]
    fn group_scales(block: &BlockQ5_K) -> [u64; 2] {
        [u64::from_le_bytes(k_scales::unpack(&block.scales).0), 0]
    }
    #[inline(always)]
    fn group_mins(block: &BlockQ5_K) -> [u64; 2] {
        [u64::from_le_bytes(k_scales::unpack(&block.scales).1), 0]
    }
}
