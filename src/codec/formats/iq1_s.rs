//! IQ1_S: super-blocks of 256 values in 50 bytes, with a grid index for each 8 values.

use bytemuck::{Pod, Zeroable};

use crate::codec::float::Float;
use crate::codec::format::{Codec, Rows, block_format};
use crate::codec::grid::{self, Weighting};
use crate::codec::number::Number;
use crate::codec::operand::{Mins, Quants, SuperBlocks, eight, halves};
use crate::simd::{Bytes, Range, Simd};

/// A super-block of [`IQ1_S`]: `value[i] = d * (2 * scale[i / 32] + 1) * (grid[index[i / 8]][i % 8] ± 1/8)`,
/// 1.5625 bits per weight.
///
/// ```text
/// byte  0    2                34                                              50
///       | d  | qs: low 8b ×32 | qh: (high 3b of 4 indices, scale 3b, sign) ×8 |
///       f16    of an index      numbers of 16 bits, the sign at the top: 1 is -1/8
/// ```
///
/// The grid has 2048 points of -1, 0 and 1.
#[allow(non_camel_case_types, reason = "the field's name")]
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[allow(clippy::exhaustive_structs, reason = "the layout is the file's")]
pub struct BlockIQ1_S {
    /// The scale of the scales, an f16 in little-endian bytes.
    pub d: [u8; 2],
    /// The lower eight bits of the grid indices.
    pub qs: [u8; 32],
    /// The upper three bits of the grid indices, the scale and the sign of each 32 values: a 16-bit number in
    /// little-endian bytes.
    pub qh: [[u8; 2]; 8],
}

block_format! {
    /// The format of [`BlockIQ1_S`].
    IQ1_S, BlockIQ1_S
}

const LEN: usize = 256;
/// The number of values in a sub-block, whose bytes are stored together.
const SUB: usize = 32;
/// A sub-block whose magnitudes are all below this counts as zero.
const LEAST: f32 = 1e-12;
const WEIGHTING: Weighting = Weighting { spread: 2.0, alone: 0.0 };

impl Codec for IQ1_S {
    const QUANTIZES_FASTER_IN_AVX512: bool = false;
    const NUMBERS: &'static [Number] = &[Number::f16(0), Number::shorts(34, 8)];
    const NEEDS_IMPORTANCE: bool = true;

    #[inline(always)]
    fn dequantize<S: Simd, T: Float>(s: S, blocks: &[BlockIQ1_S], out: &mut [T]) {
        for (block, out) in blocks.iter().zip(out.as_chunks_mut::<LEN>().0) {
            let d = s.widen_f16(block.d);
            let subs = block.qs.as_chunks::<4>().0.iter().zip(block.qh);
            for ((qs, qh), out) in subs.zip(out.as_chunks_mut::<SUB>().0) {
                let qh = u16::from_le_bytes(qh);
                let scale = d * f32::from(2 * (qh >> 12 & 7) + 1);
                let negative = if qh >> 15 == 1 { u32::MAX } else { 0 };
                let row = |k: usize| &grid::IQ1[usize::from(qs[k]) | usize::from(qh >> (3 * k) & 7) << 8];
                grid::put_shifted(s, row, negative, [scale; 2], out);
            }
        }
    }

    /// Searches each 32 values, through all ways to assign them levels of -1, 0 and 1. For magnitudes beyond about
    /// 1e12, errors are too large to compare: ggml misbehaves, and may abort the process. Here such groups get the
    /// grid point nearest to their levels.
    #[inline(always)]
    fn quantize<S: Simd>(s: S, rows: Rows<'_>, out: &mut [BlockIQ1_S]) {
        let map = grid::iq1();
        for ((x, importance), block) in rows.blocks().zip(out) {
            let weights = grid::weights(s, x, importance, WEIGHTING);
            let mut scales = [0.0; 8];
            *block = Zeroable::zeroed();
            let mut signs = [0; 8];
            let subs = x.as_chunks::<SUB>().0.iter().zip(weights.as_chunks::<SUB>().0).enumerate();
            for (sub, (x, weights)) in subs {
                if x.iter().all(|x| x.abs() < LEAST) {
                    continue;
                }
                let fit = grid::together(s, map, x, weights);
                scales[sub] = fit.scale;
                signs[sub] = u16::from(fit.down[0]) << 15;
                let mut high = 0;
                for (k, index) in fit.indices.iter().enumerate() {
                    block.qs[4 * sub + k] = *index as u8;
                    high |= index >> 8 << (3 * k);
                }
                block.qh[sub] = high.to_le_bytes();
            }
            if let Some((d, scales)) = grid::scale_of_scales::<8, 7>(&scales) {
                block.d = s.narrow_f16(d * 1.125);
                for (qh, (scale, sign)) in block.qh.iter_mut().zip(scales.into_iter().zip(signs)) {
                    *qh = (u16::from_le_bytes(*qh) | u16::from(scale) << 12 | sign).to_le_bytes();
                }
            }
        }
    }
}

impl Quants for IQ1_S {
    /// The points' coordinates, which are one too large. The mins compensate for that and for the shift.
    const RANGE: Range = Range::Four;
}

/// Returns the byte of each sub-block that contains a scale and the sign of a shift.
#[inline(always)]
fn high_bytes(block: &BlockIQ1_S) -> u64 {
    let [low, high] = halves(bytemuck::cast_ref(&block.qh)).map(|four| {
        let high = four >> 8 & 0x00ff_00ff_00ff_00ff;
        let pairs = (high | high >> 8) & 0x0000_ffff_0000_ffff;
        (pairs | pairs >> 16) & 0xffff_ffff
    });
    low | high << 32
}

impl SuperBlocks for IQ1_S {
    const MINS: Mins = Mins::SameScale;
    const GROUP: usize = 32;
    const D_FACTOR: f32 = 0.125;

    #[inline(always)]
    fn d(block: &BlockIQ1_S) -> [u8; 2] {
        block.d
    }
    #[inline(always)]
    fn group_scales(block: &BlockIQ1_S) -> [u64; 2] {
        // In units of an eighth, by which values are shifted: eight times one more than twice a scale, at most 120.
        [high_bytes(block) & eight(0x70) | eight(8), 0]
    }
    #[inline(always)]
    fn group_mins(block: &BlockIQ1_S) -> [u64; 2] {
        // Coordinates are one too large, which adds one, less the shift: at most 135.
        let high = high_bytes(block);
        let odd = high >> 3 & eight(0x0e) | eight(1);
        let down = (high >> 7 & eight(1)) * 0xff;
        [7 * odd + ((odd & down) << 1), 0]
    }
    #[inline(always)]
    fn units<D: Bytes>(d: D, block: &BlockIQ1_S) -> [D::B; 8] {
        let s = d.lanes();
        // Spreads three bits of each number to four bytes.
        let packed = s.and(s.load_u16(&block.qh), s.splat_i(0x0fff));
        let pairs = s.and(s.or(packed, s.shl::<10>(packed)), s.splat_i(0x003f_003f));
        let high = s.and(s.or(pairs, s.shl::<5>(pairs)), s.splat_i(0x0707_0707));
        d.many_rows(&grid::IQ1, &block.qs, d.bytes_of(high))
    }
}
