//! Q4_K: super-blocks of 256 values in 144 bytes, with a 6-bit scale and min for each 32 values.

use bytemuck::{Pod, Zeroable};

use crate::codec::float::Float;
use crate::codec::format::{Codec, Rows, block_format};
use crate::codec::number::Number;
use crate::codec::operand::{Mins, Quants, SuperBlocks, chunk, nibble};
use crate::codec::pack::bits4;
use crate::codec::pack::k_scales;
use crate::codec::search::scale_and_min::{self, LEN, ScaleAndMin, Scales, Weights};
use crate::codec::search::{Deviation, Steps};
use crate::simd::{Bytes, Range, Simd};

/// A super-block of [`Q4_K`]: `value[i] = d * scale[i / 32] * q[i] - dmin * min[i / 32]`, 4.5 bits per weight.
///
/// ```text
/// byte  0    2      4            16                                              144
///       | d  | dmin | scales 12B | q32 q0 … q63 q31 | q96 q64 … | …   … q255 q223 |
///       f16   f16     eight 6-bit  32 bytes for each 64 values: high nibble the
///                     scales and   second half of them, low nibble the first
///                     eight mins
/// ```
#[allow(non_camel_case_types, reason = "the field's name")]
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[allow(clippy::exhaustive_structs, reason = "the layout is the file's")]
pub struct BlockQ4_K {
    /// The scale of the scales, an f16 in little-endian bytes.
    pub d: [u8; 2],
    /// The scale of the mins, an f16 in little-endian bytes.
    pub dmin: [u8; 2],
    /// The sub-blocks' scales and mins, 6 bits each.
    pub scales: [u8; 12],
    /// The quants, two to a byte.
    pub qs: [u8; 128],
}

block_format! {
    /// The format of [`BlockQ4_K`].
    Q4_K, BlockQ4_K
}

/// The number of values in a sub-block, which share a scale and a min.
const SUB: usize = 32;
const SUBS: usize = LEN / SUB;

impl Codec for Q4_K {
    const DIRECT_HALVES: bool = true;
    const NUMBERS: &'static [Number] = &[Number::f16(0), Number::f16(2)];

    #[inline(always)]
    fn dequantize<S: Simd, T: Float>(s: S, blocks: &[BlockQ4_K], out: &mut [T]) {
        for (block, out) in blocks.iter().zip(out.as_chunks_mut::<LEN>().0) {
            let (scales, mins) = Q4_K::scales(block).products(s);
            let pairs = block.qs.as_chunks::<SUB>().0.iter().zip(out.as_chunks_mut::<{ 2 * SUB }>().0);
            for (pair, (qs, out)) in pairs.enumerate() {
                let (low_scale, high_scale) = (s.splat(scales[2 * pair]), s.splat(scales[2 * pair + 1]));
                let (low_min, high_min) = (s.splat(mins[2 * pair]), s.splat(mins[2 * pair + 1]));
                for at in (0..SUB).step_by(S::LANES) {
                    let (low, high) = bits4::unpack(s, &qs[at..]);
                    T::put(s, s.sub(s.mul(low_scale, s.to_float(low)), low_min), &mut out[at..]);
                    T::put(s, s.sub(s.mul(high_scale, s.to_float(high)), high_min), &mut out[SUB + at..]);
                }
            }
        }
    }

    #[inline(always)]
    fn quantize<S: Simd>(s: S, rows: Rows<'_>, out: &mut [BlockQ4_K]) {
        scale_and_min::quantize::<S, Q4_K, SUB, SUBS>(s, rows, out);
    }
}

impl ScaleAndMin<SUB, SUBS> for Q4_K {
    /// Four bits.
    const LEVELS: i32 = 15;
    /// Six bits.
    const SCALE_LEVELS: i32 = 63;
    /// ggml clamps to six bits in `quantize_row_q4_K_ref`, and keeps the search's result in `quantize_row_q4_K_impl`.
    const CUT: [u8; 2] = [63, 255];
    /// The arguments of `quantize_row_q4_K_ref` to `make_qkx2_quants`: the first step, the step width, the last step's
    /// number, and no `use_mad`.
    const STEPS: Steps = Steps { from: -1.0, by: 0.1, last: 20, deviation: Deviation::Squared };
    /// `sigma2` of `quantize_row_q4_K_impl` is twice the mean square.
    const MEAN_SQUARES: f32 = 2.0;
    const WEIGHTS: Weights = Weights::MagnitudesAboveMean;

    #[inline(always)]
    fn put_scales(block: &mut BlockQ4_K, scales: &Scales<SUBS>) {
        (block.d, block.dmin) = (scales.d, scales.dmin);
        block.scales = k_scales::pack(&scales.scales, &scales.mins);
    }

    #[inline(always)]
    fn scales(block: &BlockQ4_K) -> Scales<SUBS> {
        let (scales, mins) = k_scales::unpack(&block.scales);
        Scales { d: block.d, dmin: block.dmin, scales, mins }
    }

    #[inline(always)]
    fn put_quants<S: Simd>(s: S, block: &mut BlockQ4_K, quants: &[u8; LEN]) {
        let pairs = quants.as_chunks::<{ 2 * SUB }>().0.iter().zip(block.qs.as_chunks_mut::<SUB>().0);
        for (q, qs) in pairs {
            for at in (0..SUB).step_by(S::LANES) {
                bits4::pack(s, s.load_u8(&q[at..]), s.load_u8(&q[SUB + at..]), &mut qs[at..]);
            }
        }
    }
}

impl Quants for Q4_K {
    const RANGE: Range = Range::Four;

    #[inline(always)]
    fn unit<D: Bytes>(d: D, block: &BlockQ4_K, unit: usize) -> D::B {
        nibble(d, chunk(d, &block.qs, unit / 2), unit % 2 == 1)
    }
}

impl SuperBlocks for Q4_K {
    const GROUP: usize = 32;
    const MINS: Mins = Mins::OwnScale;

    #[inline(always)]
    fn d(block: &BlockQ4_K) -> [u8; 2] {
        block.d
    }
    #[inline(always)]
    fn dmin(block: &BlockQ4_K) -> [u8; 2] {
        block.dmin
    }
    #[inline(always)]
    fn group_scales(block: &BlockQ4_K) -> [u64; 2] {
        [u64::from_le_bytes(k_scales::unpack(&block.scales).0), 0]
    }
    #[inline(always)]
    fn group_mins(block: &BlockQ4_K) -> [u64; 2] {
        [u64::from_le_bytes(k_scales::unpack(&block.scales).1), 0]
    }
}
