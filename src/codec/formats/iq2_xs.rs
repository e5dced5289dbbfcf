//! IQ2_XS: super-blocks of 256 values in 74 bytes, with a grid index and seven signs for each 8 values.

use bytemuck::{Pod, Zeroable};

use crate::codec::float::Float;
use crate::codec::format::{Codec, Rows, block_format};
use crate::codec::grid::{self, Refit, Search, Trials, Weighting};
use crate::codec::number::Number;
use crate::codec::operand::{Quants, SuperBlocks, eight, eight_units, spread_nibbles};
use crate::codec::search::LEAST_MAGNITUDE;
use crate::simd::{Bytes, Range, Simd};

/// A super-block of [`IQ2_XS`]: `value[i] = d * (scale[i / 16] + 1/2) / 4 * ±grid[index[i / 8]][i % 8]`,
/// 2.3125 bits per weight.
///
/// ```text
/// byte  0    2                                           66               74
///       | d  | qs: index 9b, signs 7b at the top, ×32    | scales 4b×16   |
///       f16    numbers of 16 bits; 1 is minus              even ones in the low nibble
/// ```
///
/// The grid has 512 points of the magnitudes 8, 25 and 43. Seven signs of eight are stored: the number of minus signs
/// is even.
#[allow(non_camel_case_types, reason = "the field's name")]
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[allow(clippy::exhaustive_structs, reason = "the layout is the file's")]
pub struct BlockIQ2_XS {
    /// The scale of the scales, an f16 in little-endian bytes.
    pub d: [u8; 2],
    /// Grid indices and signs, 16-bit numbers in little-endian bytes.
    pub qs: [[u8; 2]; 32],
    /// The scales of each 16 values, two to a byte.
    pub scales: [u8; 8],
}

block_format! {
    /// The format of [`BlockIQ2_XS`].
    IQ2_XS, BlockIQ2_XS
}

const LEN: usize = 256;
/// The number of values in a sub-block, whose bytes are stored together.
const SUB: usize = 32;

impl Codec for IQ2_XS {
    const QUANTIZES_FASTER_IN_AVX512: bool = false;
    const NUMBERS: &'static [Number] = &[Number::f16(0), Number::shorts(2, 32)];
    const NEEDS_IMPORTANCE: bool = true;

    #[inline(always)]
    fn dequantize<S: Simd, T: Float>(s: S, blocks: &[BlockIQ2_XS], out: &mut [T]) {
        for (block, out) in blocks.iter().zip(out.as_chunks_mut::<LEN>().0) {
            let d = s.widen_f16(block.d);
            let subs = block.qs.as_chunks::<4>().0.iter().zip(block.scales);
            for ((qs, scales), out) in subs.zip(out.as_chunks_mut::<SUB>().0) {
                let scales = [scales & 15, scales >> 4].map(|scale| d * (0.5 + f32::from(scale)) * 0.25);
                let qs = qs.map(u16::from_le_bytes);
                let row = |k: usize| &grid::IQ2_XS[usize::from(qs[k] & 511)];
                grid::put_signed(s, row, grid::whole_signs(qs.map(|q| (q >> 9) as u8)), scales, out);
            }
        }
    }

    /// Searches each 16 values, over inverse scales around the one that maps the greatest magnitude to the grid's. For
    /// magnitudes beyond about 1e12, errors are too large to compare and ggml aborts the process. Here such groups get
    /// the grid point nearest to their rounded values.
    #[inline(always)]
    fn quantize<S: Simd>(s: S, rows: Rows<'_>, out: &mut [BlockIQ2_XS]) {
        let search = Search {
            map: grid::iq2_xs(),
            least: LEAST_MAGNITUDE,
            trials: Trials { levels: 5.0, by: 0.1, last: 9 },
            refit: Refit::OffGrid,
        };
        let weighting = Weighting { spread: 1.0, alone: 0.0 };
        for ((x, importance), block) in rows.blocks().zip(out) {
            let prepared = grid::prepare(s, x, importance, weighting, true);
            let found = search.run::<S, 16>(s, &prepared, None);
            let Some((d, scales)) = grid::scale_of_scales::<16, 15>(&found.scales) else {
                *block = Zeroable::zeroed();
                continue;
            };
            block.d = s.narrow_f16(d);
            for (packed, [low, high]) in block.scales.iter_mut().zip(scales.as_chunks().0) {
                *packed = low | high << 4;
            }
            for (q, (index, signs)) in block.qs.iter_mut().zip(found.indices.iter().zip(found.signs)) {
                *q = (index | u16::from(signs) << 9).to_le_bytes();
            }
        }
    }
}

impl Quants for IQ2_XS {
    const RANGE: Range = Range::Seven;
    const BIAS: i32 = grid::BIAS;
}

impl SuperBlocks for IQ2_XS {
    const SIGNED_BY_BITS: bool = true;
    const GROUP: usize = 16;
    const D_FACTOR: f32 = 0.125;

    #[inline(always)]
    fn d(block: &BlockIQ2_XS) -> [u8; 2] {
        block.d
    }
    #[inline(always)]
    fn group_scales(block: &BlockIQ2_XS) -> [u64; 2] {
        let odd = |four| 2 * spread_nibbles(four) + eight(1);
        let fours = block.scales.as_chunks::<4>().0;
        [odd(fours[0]), odd(fours[1])]
    }
    #[inline(always)]
    fn magnitudes<D: Bytes>(d: D, block: &BlockIQ2_XS) -> [D::B; 8] {
        eight_units!(u => {
            let qs = block.qs.as_chunks::<4>().0[u].map(u16::from_le_bytes);
            d.rows_b(|k| &grid::IQ2_XS[usize::from(qs[k] & 511)])
        })
    }
    #[inline(always)]
    fn signs<D: Bytes>(d: D, block: &BlockIQ2_XS) -> [u32; 8] {
        grid::all_whole_signs(d, d.shr_b::<1>(d.second_bytes(&block.qs)))
    }
}
