//! IQ3_XXS: super-blocks of 256 values in 98 bytes, with a grid index for each 4 values and seven signs for each 8.

use bytemuck::{Pod, Zeroable};

use crate::codec::float::Float;
use crate::codec::format::{Codec, Rows, block_format};
use crate::codec::grid::{self, Refit, Search, Trials, Weighting};
use crate::codec::number::Number;
use crate::codec::operand::{Quants, SuperBlocks, eight_units};
use crate::simd::{Bytes, Range, Simd};

/// A super-block of [`IQ3_XXS`]: `value[i] = d * (scale[i / 32] + 1/2) / 2 * ±grid[index[i / 4]][i % 4]`,
/// 3.0625 bits per weight.
///
/// ```text
/// byte  0    2                    66                                          98
///       | d  | qs: indices 8b ×64 | (signs 4×7b, scale 4b at the top) ×8      |
///       f16                         numbers of 32 bits; 1 is minus
/// ```
///
/// The grid has 256 points of the magnitudes 4, 12, 20, 28, 36, 44, 52 and 62. Seven signs of eight are stored: the
/// number of minus signs is even.
#[allow(non_camel_case_types, reason = "the field's name")]
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[allow(clippy::exhaustive_structs, reason = "the layout is the file's")]
pub struct BlockIQ3_XXS {
    /// The scale of the scales, an f16 in little-endian bytes.
    pub d: [u8; 2],
    /// Grid indices.
    pub qs: [u8; 64],
    /// The signs and the scale of each 32 values: a 32-bit number in little-endian bytes. In ggml these are bytes.
    pub scales_and_signs: [[u8; 4]; 8],
}

block_format! {
    /// The format of [`BlockIQ3_XXS`].
    IQ3_XXS, BlockIQ3_XXS
}

const LEN: usize = 256;
/// The number of values in a sub-block, whose bytes are stored together.
const SUB: usize = 32;

impl Codec for IQ3_XXS {
    const QUANTIZES_FASTER_IN_AVX512: bool = false;
    const NUMBERS: &'static [Number] = &[Number::f16(0)];

    #[inline(always)]
    fn dequantize<S: Simd, T: Float>(s: S, blocks: &[BlockIQ3_XXS], out: &mut [T]) {
        for (block, out) in blocks.iter().zip(out.as_chunks_mut::<LEN>().0) {
            let d = s.widen_f16(block.d);
            let subs = block.qs.as_chunks::<8>().0.iter().zip(block.scales_and_signs);
            for ((qs, rest), out) in subs.zip(out.as_chunks_mut::<SUB>().0) {
                let rest = u32::from_le_bytes(rest);
                let scale = d * (0.5 + (rest >> 28) as f32) * 0.5;
                let row = |k: usize| &grid::IQ3_XXS[usize::from(qs[k])];
                grid::put_signed(s, row, grid::whole_signs(grid::sevens(rest)), [scale; 2], out);
            }
        }
    }

    /// Searches each 32 values, over inverse scales around the one that maps the greatest magnitude to the grid's. For
    /// magnitudes beyond about 1e12, errors are too large to compare and ggml aborts the process. Here such groups get
    /// the grid point nearest to their rounded values.
    #[inline(always)]
    fn quantize<S: Simd>(s: S, rows: Rows<'_>, out: &mut [BlockIQ3_XXS]) {
        let search = Search {
            map: grid::iq3_xxs(),
            least: 1e-8,
            trials: Trials { levels: 15.0, by: 0.2, last: 15 },
            refit: Refit::OffGrid,
        };
        let weighting = Weighting { spread: 2.0, alone: 0.0 };
        for ((x, importance), block) in rows.blocks().zip(out) {
            let prepared = grid::prepare(s, x, importance, weighting, true);
            let found = search.run::<S, SUB>(s, &prepared, None);
            let Some((d, scales)) = grid::scale_of_scales::<8, 15>(&found.scales) else {
                *block = Zeroable::zeroed();
                continue;
            };
            block.d = s.narrow_f16(d * 1.0125);
            block.qs = found.indices.map(|index| index as u8);
            let signs = found.signs.as_chunks::<4>().0.iter().zip(scales);
            for (rest, (signs, scale)) in block.scales_and_signs.iter_mut().zip(signs) {
                *rest = grid::sevens_and_scale(*signs, scale).to_le_bytes();
            }
        }
    }
}

impl Quants for IQ3_XXS {
    const RANGE: Range = Range::Seven;
    const BIAS: i32 = grid::BIAS;
}

impl SuperBlocks for IQ3_XXS {
    const SIGNED_BY_BITS: bool = true;
    const GROUP: usize = 32;
    const D_FACTOR: f32 = 0.25;

    #[inline(always)]
    fn d(block: &BlockIQ3_XXS) -> [u8; 2] {
        block.d
    }
    #[inline(always)]
    fn group_scales(block: &BlockIQ3_XXS) -> [u64; 2] {
        let mut scales = [0; 8];
        for (scale, rest) in scales.iter_mut().zip(&block.scales_and_signs) {
            *scale = 2 * (rest[3] >> 4) + 1;
        }
        [u64::from_le_bytes(scales), 0]
    }
    #[inline(always)]
    fn magnitudes<D: Bytes>(d: D, block: &BlockIQ3_XXS) -> [D::B; 8] {
        eight_units!(u => {
            let indices = block.qs.as_chunks::<8>().0[u];
            d.rows_b(|k| &grid::IQ3_XXS[usize::from(indices[k])])
        })
    }
    #[inline(always)]
    fn signs<D: Bytes>(d: D, block: &BlockIQ3_XXS) -> [u32; 8] {
        let packed = d.words(&block.scales_and_signs);
        grid::all_whole_signs(d, grid::sevens_of_eight(d, packed))
    }
}
