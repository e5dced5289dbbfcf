//! IQ2_S: super-blocks of 256 values in 82 bytes, with a grid index and eight signs for each 8 values.

use bytemuck::{Pod, Zeroable};

use crate::codec::float::Float;
use crate::codec::format::{Codec, Rows, block_format};
use crate::codec::grid::{self, Refit, Search, Trials, Weighting};
use crate::codec::number::Number;
use crate::codec::operand::{Quants, SuperBlocks, eight, spread_nibbles};
use crate::simd::{Bytes, Range, Simd};

/// A super-block of [`IQ2_S`]: `value[i] = d * (scale[i / 16] + 1/2) / 4 * ±grid[index[i / 8]][i % 8]`,
/// 2.5625 bits per weight.
///
/// ```text
/// byte  0    2                34              66             74               82
///       | d  | qs: low 8b ×32 | signs 8b ×32  | qh: high 2b  | scales 4b×16   |
///       f16    of an index      1 is minus      four to a byte even ones in the low nibble
/// ```
///
/// The grid has 1024 points of the magnitudes 8, 25 and 43.
#[allow(non_camel_case_types, reason = "the field's name")]
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[allow(clippy::exhaustive_structs, reason = "the layout is the file's")]
pub struct BlockIQ2_S {
    /// The scale of the scales, an f16 in little-endian bytes.
    pub d: [u8; 2],
    /// The lower eight bits of the grid indices.
    pub qs: [u8; 32],
    /// The signs of each eight values, the first in the lowest bit.
    pub signs: [u8; 32],
    /// The upper two bits of the grid indices, four to a byte, the first lowest.
    pub qh: [u8; 8],
    /// The scales of each 16 values, two to a byte.
    pub scales: [u8; 8],
}

block_format! {
    /// The format of [`BlockIQ2_S`].
    IQ2_S, BlockIQ2_S
}

const LEN: usize = 256;
/// The number of values in a sub-block, whose bytes are stored together.
const SUB: usize = 32;

impl Codec for IQ2_S {
    const QUANTIZES_FASTER_IN_AVX512: bool = false;
    const NUMBERS: &'static [Number] = &[Number::f16(0)];

    #[inline(always)]
    fn dequantize<S: Simd, T: Float>(s: S, blocks: &[BlockIQ2_S], out: &mut [T]) {
        for (block, out) in blocks.iter().zip(out.as_chunks_mut::<LEN>().0) {
            let d = s.widen_f16(block.d);
            let indices = block.qs.as_chunks::<4>().0.iter().zip(block.qh);
            let subs = indices.zip(block.signs.as_chunks::<4>().0).zip(block.scales);
            for ((((qs, qh), signs), scales), out) in subs.zip(out.as_chunks_mut::<SUB>().0) {
                let scales = [scales & 15, scales >> 4].map(|scale| d * (0.5 + f32::from(scale)) * 0.25);
                let row =
                    |k: usize| &grid::IQ2_S[usize::from(qs[k]) | (usize::from(qh) << (8 - 2 * k) & 0x300)];
                grid::put_signed(s, row, u32::from_le_bytes(*signs), scales, out);
            }
        }
    }

    /// Searches each 16 values, over inverse scales around the one that maps the greatest magnitude to the grid's. For
    /// magnitudes beyond about 1e12, errors are too large to compare and ggml aborts the process. Here such groups get
    /// the grid point nearest to their rounded values.
    #[inline(always)]
    fn quantize<S: Simd>(s: S, rows: Rows<'_>, out: &mut [BlockIQ2_S]) {
        let search = Search {
            map: grid::iq2_s(),
            least: 1e-8,
            trials: Trials { levels: 5.0, by: 0.1, last: 9 },
            refit: Refit::OffGrid,
        };
        let weighting = Weighting { spread: 2.0, alone: 0.25 };
        for ((x, importance), block) in rows.blocks().zip(out) {
            let prepared = grid::prepare(s, x, importance, weighting, false);
            let found = search.run::<S, 16>(s, &prepared, None);
            *block = Zeroable::zeroed();
            block.signs = found.signs;
            for (at, index) in found.indices[..32].iter().enumerate() {
                block.qs[at] = *index as u8;
                block.qh[at / 4] |= ((index >> 8) as u8) << (2 * (at % 4));
            }
            if let Some((d, scales)) = grid::scale_of_scales::<16, 15>(&found.scales) {
                block.d = s.narrow_f16(d * 0.9875);
                for (packed, [low, high]) in block.scales.iter_mut().zip(scales.as_chunks().0) {
                    *packed = low | high << 4;
                }
            }
        }
    }
}

impl Quants for IQ2_S {
    const RANGE: Range = Range::Seven;
    const BIAS: i32 = grid::BIAS;
}

impl SuperBlocks for IQ2_S {
    const SIGNED_BY_BITS: bool = true;
    const GROUP: usize = 16;
    const D_FACTOR: f32 = 0.125;

    #[inline(always)]
    fn d(block: &BlockIQ2_S) -> [u8; 2] {
        block.d
    }
    #[inline(always)]
    fn group_scales(block: &BlockIQ2_S) -> [u64; 2] {
        let odd = |four| 2 * spread_nibbles(four) + eight(1);
        let fours = block.scales.as_chunks::<4>().0;
        [odd(fours[0]), odd(fours[1])]
    }
    #[inline(always)]
    fn magnitudes<D: Bytes>(d: D, block: &BlockIQ2_S) -> [D::B; 8] {
        let s = d.lanes();
        // Spreads two bits of each byte to four bytes.
        let packed = d.widen_eight(u64::from_le_bytes(block.qh));
        let pairs = s.and(s.or(packed, s.shl::<12>(packed)), s.splat_i(0x000f_000f));
        let high = s.and(s.or(pairs, s.shl::<6>(pairs)), s.splat_i(0x0303_0303));
        d.many_rows(&grid::IQ2_S, &block.qs, d.bytes_of(high))
    }
    #[inline(always)]
    fn signs<D: Bytes>(_: D, block: &BlockIQ2_S) -> [u32; 8] {
        grid::words(block.signs)
    }
}
