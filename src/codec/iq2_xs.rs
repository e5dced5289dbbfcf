//! IQ2_XS: super-blocks of 256 values in 74 bytes, with a grid index and seven signs for each 8 values.

use bytemuck::{Pod, Zeroable};

use super::format::{Codec, Number, Rows, block_format};
use super::grid;
use crate::Float;
use crate::simd::Simd;

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
/// Values in a sub-block, which have their bytes together.
const SUB: usize = 32;

impl Codec for IQ2_XS {
    const NUMBERS: &'static [Number] = &Number::scale_and_shorts::<33>(2);
    const QUANTIZES: bool = false;

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

    #[inline(always)]
    fn quantize<S: Simd>(_: S, _: Rows<'_>, _: &mut [BlockIQ2_XS]) {}
}
