//! IQ2_XXS: super-blocks of 256 values in 66 bytes, with a grid index and seven signs for each 8 values.

use bytemuck::{Pod, Zeroable};

use super::format::{Codec, Number, Rows, block_format};
use super::grid;
use crate::Float;
use crate::simd::Simd;

/// A super-block of [`IQ2_XXS`]: `value[i] = d * (scale[i / 32] + 1/2) / 4 * ±grid[index[i / 8]][i % 8]`,
/// 2.0625 bits per weight.
///
/// ```text
/// byte  0    2                                  66
///       | d  | qs: eight bytes for each 32      |
///       f16
/// for each 32 values:
/// byte  0                 4                                  8
///       | i0 | i1 | i2 | i3 | signs 4×7b, scale 4b at the top |
///         grid indices        one number of 32 bits; 1 is minus
/// ```
///
/// The grid has 256 points of the magnitudes 8, 25 and 43. Seven signs of eight are stored: the number of minus signs
/// is even.
#[allow(non_camel_case_types, reason = "the field's name")]
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[allow(clippy::exhaustive_structs, reason = "the layout is the file's")]
pub struct BlockIQ2_XXS {
    /// The scale of the scales, an f16 in little-endian bytes.
    pub d: [u8; 2],
    /// Grid indices, signs and scales. To ggml, and in big-endian files, these are numbers of 16 bits.
    pub qs: [[u8; 2]; 32],
}

block_format! {
    /// The format of [`BlockIQ2_XXS`].
    IQ2_XXS, BlockIQ2_XXS
}

const LEN: usize = 256;
/// Values in a sub-block, which have their bytes together.
const SUB: usize = 32;

impl Codec for IQ2_XXS {
    const NUMBERS: &'static [Number] = &Number::scale_and_shorts::<33>(2);
    const QUANTIZES: bool = false;

    #[inline(always)]
    fn dequantize<S: Simd, T: Float>(s: S, blocks: &[BlockIQ2_XXS], out: &mut [T]) {
        for (block, out) in blocks.iter().zip(out.as_chunks_mut::<LEN>().0) {
            let d = s.widen_f16(block.d);
            let subs: &[[[u8; 4]; 2]; LEN / SUB] = bytemuck::cast_ref(&block.qs);
            for ([indices, rest], out) in subs.iter().zip(out.as_chunks_mut::<SUB>().0) {
                let rest = u32::from_le_bytes(*rest);
                let scale = d * (0.5 + (rest >> 28) as f32) * 0.25;
                let row = |k: usize| &grid::IQ2_XXS[usize::from(indices[k])];
                grid::put_signed(s, row, grid::whole_signs(grid::sevens(rest)), [scale; 2], out);
            }
        }
    }

    #[inline(always)]
    fn quantize<S: Simd>(_: S, _: Rows<'_>, _: &mut [BlockIQ2_XXS]) {}
}
