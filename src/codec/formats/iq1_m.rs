//! IQ1_M: super-blocks of 256 values in 56 bytes, with a grid index for each 8 values.

use bytemuck::{Pod, Zeroable};

use crate::codec::float::Float;
use crate::codec::format::{Codec, Rows, block_format};
use crate::codec::grid::{self, Fit, Weighting};
use crate::codec::number::Number;
use crate::codec::operand::{Quants, SuperBlocks, eight};
use crate::simd::{Aligned, Bytes, Range, Simd};

/// A super-block of [`IQ1_M`]: `value[i] = d * (2 * scale[i / 16] + 1) * (grid[index[i / 8]][i % 8] ± 1/8)`,
/// 1.75 bits per weight.
///
/// ```text
/// byte  0                32                                     48                        56
///       | qs: low 8b ×32 | qh: (high 3b of an index, sign) ×32  | (scale 3b ×4, d 4b) ×4  |
///         of an index      two to a byte, the sign at its         numbers of 16 bits
///                          nibble's top: 1 is -1/8
/// ```
///
/// The grid has 2048 points of -1, 0 and 1. The scale of the scales, `d`, is an f16 in the top nibbles of the four
/// numbers that hold the scales, its lowest bits in the first.
#[allow(non_camel_case_types, reason = "the field's name")]
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[allow(clippy::exhaustive_structs, reason = "the layout is the file's")]
pub struct BlockIQ1_M {
    /// The lower eight bits of the grid indices.
    pub qs: [u8; 32],
    /// The upper three bits of the grid indices and the sign of each eight values, two to a byte.
    pub qh: [u8; 16],
    /// The scales of each 16 values and `d`, 16-bit numbers in little-endian bytes.
    pub scales: [[u8; 2]; 4],
}

block_format! {
    /// The format of [`BlockIQ1_M`].
    IQ1_M, BlockIQ1_M
}

const LEN: usize = 256;
/// The number of values in a sub-block, whose bytes are stored together.
const SUB: usize = 32;
/// A sub-block whose magnitudes are all below this counts as zero.
const LEAST: f32 = 1e-7;
const WEIGHTING: Weighting = Weighting { spread: 2.0, alone: 0.0 };

impl Codec for IQ1_M {
    const QUANTIZES_FASTER_IN_AVX512: bool = false;
    const NUMBERS: &'static [Number] = &[Number::f16_in_nibbles(48)];

    #[inline(always)]
    fn dequantize<S: Simd, T: Float>(s: S, blocks: &[BlockIQ1_M], out: &mut [T]) {
        for (block, out) in blocks.iter().zip(out.as_chunks_mut::<LEN>().0) {
            let numbers = block.scales.map(u16::from_le_bytes);
            let d = s.widen_f16(block.d());
            let indices = block.qs.as_chunks::<4>().0.iter().zip(block.qh.as_chunks::<2>().0);
            for (sub, ((qs, qh), out)) in indices.zip(out.as_chunks_mut::<SUB>().0).enumerate() {
                let scales = numbers[sub / 2] >> (6 * (sub % 2));
                let scales = [scales & 7, scales >> 3 & 7].map(|scale| d * f32::from(2 * scale + 1));
                let qh = u16::from_le_bytes(*qh);
                let row = |k: usize| &grid::IQ1[usize::from(qs[k]) | usize::from(qh >> (4 * k) & 7) << 8];
                grid::put_shifted(s, row, eight_times(qh), scales, out);
            }
        }
    }

    /// Searches each 16 values, through all ways to assign them levels of -1, 0 and 1. For magnitudes beyond about
    /// 1e12, errors are too large to compare: ggml misbehaves, and may abort the process. Here such groups get the
    /// grid point nearest to their levels.
    #[inline(always)]
    fn quantize<S: Simd>(s: S, rows: Rows<'_>, out: &mut [BlockIQ1_M]) {
        let map = grid::iq1();
        for ((x, importance), block) in rows.blocks().zip(out) {
            let weights = grid::weights(s, x, importance, WEIGHTING);
            let subs = || x.as_chunks::<16>().0.iter().zip(weights.as_chunks::<16>().0).enumerate();
            let mut fits = [Fit::ZEROS; 16];
            for (sub, (x, weights)) in subs() {
                if !x.iter().all(|x| x.abs() < LEAST) {
                    fits[sub] = grid::apart(s, map, x, weights);
                }
            }
            *block = Zeroable::zeroed();
            for (sub, fit) in fits.iter().enumerate() {
                block.qs[2 * sub] = fit.indices[0] as u8;
                block.qs[2 * sub + 1] = fit.indices[1] as u8;
                block.qh[sub] = (fit.indices[0] >> 8 | fit.indices[1] >> 8 << 4) as u8;
            }
            let Some((mut d, scales)) = grid::scale_of_scales::<16, 7>(&fits.map(|fit| fit.scale)) else {
                continue;
            };
            let (mut sum_xq, mut sum_qq) = (0.0, 0.0);
            let mut numbers = [0u16; 4];
            for (sub, (x, weights)) in subs() {
                let fit = &fits[sub];
                numbers[sub / 4] |= u16::from(scales[sub]) << (3 * (sub % 4));
                block.qh[sub] |= u8::from(fit.down[0]) << 3 | u8::from(fit.down[1]) << 7;
                for (i, (x, weight)) in x.iter().zip(weights).enumerate() {
                    let level = grid::IQ1[usize::from(fit.indices[i / 8])][i % 8];
                    let q = grid::stands_for(level, fit.down[i / 8]) * f32::from(2 * scales[sub] + 1);
                    sum_xq += weight * q * x;
                    sum_qq += weight * q * q;
                }
            }
            if sum_qq > 0.0 {
                d = sum_xq / sum_qq;
            }
            let d = u16::from_le_bytes(s.narrow_f16(d * 1.1125));
            for (k, (to, number)) in block.scales.iter_mut().zip(numbers).enumerate() {
                *to = (number | (d >> (4 * k) & 15) << 12).to_le_bytes();
            }
        }
    }
}

impl Quants for IQ1_M {
    const RANGE: Range = Range::Seven;
    /// Eight because coordinates are stored one too large, and one for shifts down.
    const BIAS: i32 = 9;
}

impl SuperBlocks for IQ1_M {
    const GROUP: usize = 16;
    const D_FACTOR: f32 = 0.125;

    #[inline(always)]
    fn d(block: &BlockIQ1_M) -> [u8; 2] {
        block.d()
    }
    #[inline(always)]
    fn group_scales(block: &BlockIQ1_M) -> [u64; 2] {
        [0, 2].map(|first| {
            // Spreads four three-bit numbers to four bytes, twice.
            let four = |at: usize| {
                let packed = u64::from(u16::from_le_bytes(block.scales[at]));
                packed & 7 | packed << 5 & 0x700 | packed << 10 & 0x7_0000 | packed << 15 & 0x700_0000
            };
            2 * (four(first) | four(first + 1) << 32) + eight(1)
        })
    }
    #[inline(always)]
    fn units<D: Bytes>(d: D, block: &BlockIQ1_M) -> [D::B; 8] {
        let nibbles = d.spread_nibbles(&block.qh);
        let mut units = d.many_rows(&grid::IQ1, &block.qs, nibbles);
        // All bits of a byte are set if the shift is up.
        let mut up = Aligned([0; 32]);
        d.store_b(d.sub_b(d.shr_b::<3>(nibbles), d.splat_b(1)), &mut up.0);
        let up = grid::words(up.0);
        for (unit, up) in units.iter_mut().zip(up) {
            // The coordinates are stored one too large.
            *unit = d.add_where_b(d.shl_within_b::<3>(*unit), up, 2);
        }
        units
    }
}

impl BlockIQ1_M {
    /// Returns the scale of the scales.
    #[inline(always)]
    fn d(&self) -> [u8; 2] {
        let d = (0..4).fold(0, |d, k| d | u16::from_le_bytes(self.scales[k]) >> 12 << (4 * k));
        d.to_le_bytes()
    }
}

/// Repeats the top bit of each nibble eight times.
#[inline(always)]
fn eight_times(qh: u16) -> u32 {
    let signs = u32::from(qh >> 3) & 0x1111;
    let signs = (signs | signs << 8) & 0x0011_0011;
    ((signs | signs << 4) & 0x0101_0101) * 0xff
}
