//! IQ1_S: super-blocks of 256 values in 50 bytes, with a grid index for each 8 values.

use bytemuck::{Pod, Zeroable};

use super::format::{Codec, Number, Rows, block_format};
use super::grid;
use crate::Float;
use crate::simd::Simd;

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
    /// The upper three bits of the grid indices, scale and sign of each 32 values, a 16-bit number in little-endian
    /// bytes.
    pub qh: [[u8; 2]; 8],
}

block_format! {
    /// The format of [`BlockIQ1_S`].
    IQ1_S, BlockIQ1_S
}

const LEN: usize = 256;
/// Values in a sub-block, which have their bytes together.
const SUB: usize = 32;

impl Codec for IQ1_S {
    const NUMBERS: &'static [Number] = &Number::scale_and_shorts::<9>(34);
    const QUANTIZES: bool = false;

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

    #[inline(always)]
    fn quantize<S: Simd>(_: S, _: Rows<'_>, _: &mut [BlockIQ1_S]) {}
}
