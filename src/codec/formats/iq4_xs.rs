//! IQ4_XS: super-blocks of 256 values in 136 bytes, 4-bit indices into sixteen unevenly spaced values with a 6-bit scale
//! for each 32.

use bytemuck::{Pod, Zeroable};

use crate::codec::float::Float;
use crate::codec::format::{Codec, Rows, block_format};
use crate::codec::number::Number;
use crate::codec::operand::{Quants, SuperBlocks, spread_nibbles};
use crate::codec::search::columns::{Importance, in_common};
use crate::codec::search::{self, columns, uneven};
use crate::simd::{Bytes, MAX_LANES, Range, Simd, nearest};

/// A super-block of [`IQ4_XS`]: `value[i] = d * (scale[i / 32] - 32) * v[q[i]]`, 4.25 bits per weight, where `v` are the
/// sixteen values of [`BlockIQ4_NL`](crate::blocks::BlockIQ4_NL).
///
/// ```text
/// byte  0    2          4            8                                136
///       | d  | scales_h |  scales_l  |  qs: eight runs of 16 bytes    |
///       f16    u16
/// scales_h    bits 4..6 of scale[k] in bits 2k..2k + 2
/// scales_l    bits 0..4 of scale[2k + 1] in the high nibble of byte k, of scale[2k] in the low one
/// each run    of 32 values, the second half in the high nibbles and the first in the low ones
/// ```
#[allow(non_camel_case_types, reason = "the field's name")]
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[allow(clippy::exhaustive_structs, reason = "the layout is the file's")]
pub struct BlockIQ4_XS {
    /// The scale of the scales, an f16 in little-endian bytes.
    pub d: [u8; 2],
    /// The upper two bits of the sub-blocks' scales, a number in little-endian bytes.
    pub scales_h: [u8; 2],
    /// The lower four bits of the sub-blocks' scales, two to a byte.
    pub scales_l: [u8; 4],
    /// The indices, two to a byte.
    pub qs: [u8; 128],
}

block_format! {
    /// The format of [`BlockIQ4_XS`].
    IQ4_XS, BlockIQ4_XS
}

const LEN: usize = 256;
/// The number of values in a sub-block, which share a scale.
const SUB: usize = 32;
const SUBS: usize = LEN / SUB;
/// The number of super-blocks that are searched together, which fill the widest vector with a sub-block in each lane.
const GROUP: usize = MAX_LANES / SUBS;

impl Codec for IQ4_XS {
    const NUMBERS: &'static [Number] = &[Number::f16(0), Number::shorts(2, 1)];

    #[inline(always)]
    fn dequantize<S: Simd, T: Float>(s: S, blocks: &[BlockIQ4_XS], out: &mut [T]) {
        for (block, out) in blocks.iter().zip(out.as_chunks_mut::<LEN>().0) {
            let d = s.widen_f16(block.d);
            let (mut low, mut high) =
                (u32::from_le_bytes(block.scales_l), u16::from_le_bytes(block.scales_h));
            let subs = block.qs.as_chunks::<{ SUB / 2 }>().0.iter().zip(out.as_chunks_mut::<SUB>().0);
            for (nibbles, out) in subs {
                let scale = (low & 15) as i32 | i32::from(high & 3) << 4;
                uneven::dequantize(s, s.splat(d * (scale - 32) as f32), nibbles, out);
                (low, high) = (low >> 4, high >> 2);
            }
        }
    }

    /// Searches a scale for each sub-block, with a sub-block in each lane, and quantizes the scales to 6 bits. Then
    /// quantizes the values with the resulting scales and the scale of scales before it is rounded.
    #[inline(always)]
    fn quantize<S: Simd>(s: S, rows: Rows<'_>, out: &mut [BlockIQ4_XS]) {
        let x = rows.values.as_chunks::<LEN>().0;
        for (group, (x, out)) in x.chunks(GROUP).zip(out.chunks_mut(GROUP)).enumerate() {
            let scales = search(s.wide(), x, rows.importance, group * GROUP);
            for ((x, block), scales) in x.iter().zip(out).zip(&scales) {
                quantize_block(s, x, scales, block);
            }
        }
    }
}

/// Returns the scale of each sub-block. `importance` is that of a row. `first_block` is the position of these blocks
/// among those of all rows.
#[inline(always)]
fn search<S: Simd>(
    s: S,
    blocks: &[[f32; LEN]],
    importance: Option<&[f32]>,
    first_block: usize,
) -> [[f32; SUBS]; GROUP] {
    let mut sums = [0.0; GROUP];
    if importance.is_some() {
        for (sum, block) in sums.iter_mut().zip(blocks) {
            *sum = block.iter().fold(0.0, |sum, x| sum + x * x) * (2.0 / LEN as f32);
        }
    }
    let mut scales = [[0.0; SUBS]; GROUP];
    for first in (0..blocks.len() * SUBS).step_by(S::LANES) {
        let subs = search::in_lanes(first..blocks.len() * SUBS);
        let x = columns(s, blocks.as_flattened().as_chunks::<SUB>().0, &subs);
        let weights = match importance {
            None => squares(s, &x),
            Some(importance) => Importance::new(importance, first_block * SUBS).weigh(
                s,
                &subs,
                in_common(s, &sums, SUBS, &subs),
                &x,
            ),
        };
        s.store(uneven::search(s, &x, &weights), &mut scales.as_flattened_mut()[first..]);
    }
    scales
}

#[inline(always)]
fn squares<S: Simd>(s: S, x: &[S::F; SUB]) -> [S::F; SUB] {
    let mut squares = *x;
    for square in &mut squares {
        *square = s.mul(*square, *square);
    }
    squares
}

/// Quantizes the scales that the search found, and the values with them.
#[inline(always)]
fn quantize_block<S: Simd>(s: S, x: &[f32; LEN], sub_scales: &[f32; SUBS], block: &mut BlockIQ4_XS) {
    let greatest = search::greatest(sub_scales);
    let d = -greatest / 32.0;
    block.d = s.narrow_f16(d);
    let inverse = if d != 0.0 { 1.0 / d } else { 0.0 };
    let (mut low, mut high) = (0u32, 0u16);
    let subs = x.as_chunks::<SUB>().0.iter().zip(block.qs.as_chunks_mut::<{ SUB / 2 }>().0);
    for (sub, ((x, nibbles), sub_scale)) in subs.zip(sub_scales).enumerate() {
        let scale = nearest(inverse * sub_scale).clamp(-32, 31);
        let scaled = d * scale as f32;
        uneven::quantize(s, if scaled != 0.0 { 1.0 / scaled } else { 0.0 }, x, nibbles);
        let scale = (scale + 32) as u32;
        low |= (scale & 15) << (4 * sub);
        high |= ((scale >> 4) as u16) << (2 * sub);
    }
    block.scales_l = low.to_le_bytes();
    block.scales_h = high.to_le_bytes();
}

impl Quants for IQ4_XS {
    const RANGE: Range = Range::Signed;

    #[inline(always)]
    fn unit<D: Bytes>(d: D, block: &BlockIQ4_XS, unit: usize) -> D::B {
        uneven::bytes(d, &block.qs.as_chunks().0[unit])
    }
}

impl SuperBlocks for IQ4_XS {
    const GROUP: usize = 32;
    const SCALE_BIAS: i32 = 32;

    #[inline(always)]
    fn d(block: &BlockIQ4_XS) -> [u8; 2] {
        block.d
    }
    #[inline(always)]
    fn group_scales(block: &BlockIQ4_XS) -> [u64; 2] {
        // Moves two bits of each scale to the lowest bits of eight bytes.
        let high = u64::from(u16::from_le_bytes(block.scales_h));
        let high = (high | high << 24) & 0x0000_00ff_0000_00ff;
        let high = (high | high << 12) & 0x000f_000f_000f_000f;
        let high = (high | high << 6) & 0x0303_0303_0303_0303;
        [spread_nibbles(block.scales_l) | high << 4, 0]
    }
}
