//! NVFP4: 64 values in 36 bytes, 4-bit floats with an 8-bit scale for each 16.

use bytemuck::{Pod, Zeroable};

use crate::codec::float::Float;
use crate::codec::format::{Codec, Rows, block_format};
use crate::codec::number::Number;
use crate::codec::operand::{Quants, SmallBlocks, Terms};
use crate::codec::pack::fp4;
use crate::codec::search::extremes::greatest_magnitude;
use crate::simd::{Bytes, Floats, Range, Simd};

/// A block of [`NVFP4`]: `value[i] = scale(d[i / 16]) * v[q[i]]`, 4.5 bits per weight, where `v` is 0, 0.5, 1, 1.5, 2, 3, 4,
/// 6, and the same with a minus sign for the codes from 8 on.
///
/// ```text
/// byte  0               4                                        36
///       | d: UE4M3 × 4  |  qs: four runs of 8 bytes              |
/// d          four bits of exponent (and 7) above three of mantissa
/// each run   of 16 values, the second half in the high nibbles and the first in the low ones
/// ```
///
/// A scale has no sign, and its top bit means nothing. As in ggml, code 0x7f is the scale 0 and not the format's NaN, while
/// 0xff is 480; every byte stands for a number. Quantizing never makes a scale between 240 and 448: what would be there
/// becomes 448, as in ggml.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[allow(clippy::exhaustive_structs, reason = "the layout is the file's")]
pub struct BlockNVFP4 {
    /// The sub-blocks' scales.
    pub d: [u8; 4],
    /// The codes, two to a byte.
    pub qs: [u8; 32],
}

block_format! {
    /// The format of [`BlockNVFP4`].
    NVFP4, BlockNVFP4
}

const LEN: usize = 64;
/// The number of values in a sub-block, which share a scale.
const SUB: usize = 16;

/// Half of the scale of each code.
const HALF_SCALES: [f32; 256] = {
    let mut scales = [0.0; 256];
    let mut code = 0;
    while code < 256u32 {
        if code != 0x7f {
            // Moved to the exponent and mantissa of an f32, the code is the scale with an exponent lower by 120. This
            // includes subnormals.
            let lower = f32::from_bits((code & 0x7f) << 20);
            scales[code as usize] = lower * (f32::from_bits((127 + 119) << 23));
        }
        code += 1;
    }
    scales
};

impl Codec for NVFP4 {
    const NUMBERS: &'static [Number] = &[Number::ue4m3(0, 4)];

    #[inline(always)]
    fn dequantize<S: Simd, T: Float>(s: S, blocks: &[BlockNVFP4], out: &mut [T]) {
        for (block, out) in blocks.iter().zip(out.as_chunks_mut::<LEN>().0) {
            let subs = block.d.iter().zip(block.qs.as_chunks().0).zip(out.as_chunks_mut::<SUB>().0);
            for ((d, nibbles), out) in subs {
                // The least scale is far from subnormal.
                let scaled = fp4::scaled(s, HALF_SCALES[usize::from(*d)]);
                // In the order of the values. The table look-ups use only the low nibbles.
                let both = u64::from_le_bytes(*nibbles);
                let codes: [u8; SUB] = bytemuck::cast([both.to_le_bytes(), (both >> 4).to_le_bytes()]);
                for at in (0..SUB).step_by(S::LANES) {
                    fp4::put(s, &scaled, false, s.load_u8(&codes[at..]), &mut out[at..]);
                }
            }
        }
    }

    /// The scale is a sixth of the greatest magnitude. Importance is not used, as in ggml.
    #[inline(always)]
    fn quantize<S: Simd>(s: S, rows: Rows<'_>, out: &mut [BlockNVFP4]) {
        for (x, block) in rows.values.as_chunks::<LEN>().0.iter().zip(out) {
            let subs = x.as_chunks::<SUB>().0.iter().zip(&mut block.d).zip(block.qs.as_chunks_mut::<8>().0);
            for ((x, d), nibbles) in subs {
                *d = scale_code(greatest_magnitude(s, x) / 6.0);
                let scaled = fp4::scaled(s, HALF_SCALES[usize::from(*d)]);
                let mut codes = [0u8; SUB];
                for at in (0..SUB).step_by(S::LANES) {
                    s.store_u8(fp4::nearest(s, &scaled, s.load(&x[at..])), &mut codes[at..]);
                }
                let [low, high]: [u64; 2] = bytemuck::cast(codes);
                *nibbles = (u64::from_le(low) | u64::from_le(high) << 4).to_le_bytes();
            }
        }
    }
}

/// Returns the code of a nonnegative scale, rounded half up. Subnormals are at most 7.
#[inline(always)]
fn scale_code(scale: f32) -> u8 {
    const LEAST_NORMAL: f32 = 1.0 / 64.0;
    if scale < LEAST_NORMAL {
        return ((scale * 512.0 + 0.5) as u8).min(7);
    }
    // Adds half of the last place that is kept, and changes the exponent's bias from 127 to 7.
    let code = ((scale.to_bits() + (1 << 19)) >> 20) - ((127 - 7) << 3);
    if code >= 15 << 3 { 0x7e } else { code as u8 }
}

impl Quants for NVFP4 {
    const RANGE: Range = Range::Seven;
    const BIAS: i32 = fp4::BIAS;

    #[inline(always)]
    fn unit<D: Bytes>(d: D, block: &BlockNVFP4, unit: usize) -> D::B {
        fp4::bytes(d, d.swap_middle(d.nibbles(&block.qs.as_chunks().0[unit])))
    }
}

impl SmallBlocks for NVFP4 {
    const TERMS: Terms = Terms::TwoScales;

    #[inline(always)]
    fn scales<'a, D: Bytes>(d: D, unit: impl Fn(usize) -> (&'a BlockNVFP4, usize)) -> [Floats<D>; 2] {
        let (s, mut first, mut second) = (d.lanes(), [0.0; 8], [0.0; 8]);
        for j in 0..8 {
            let (block, unit) = unit(j);
            first[j] = HALF_SCALES[usize::from(block.d[2 * unit])];
            second[j] = HALF_SCALES[usize::from(block.d[2 * unit + 1])];
        }
        [s.load(&first), s.load(&second)]
    }
}
