//! IQ3_S: super-blocks of 256 values in 110 bytes, with a grid index for each 4 values and a sign for each.

use bytemuck::{Pod, Zeroable};

use crate::codec::float::Float;
use crate::codec::format::{Codec, Rows, block_format};
use crate::codec::grid::{self, Refit, Search, Trials, Weighting};
use crate::codec::number::Number;
use crate::codec::operand::{Quants, SuperBlocks, eight, spread_nibbles};
use crate::simd::{Bytes, Range, Simd};

/// A super-block of [`IQ3_S`]: `value[i] = d * (2 * scale[i / 32] + 1) * ±grid[index[i / 4]][i % 4]`,
/// 3.4375 bits per weight.
///
/// ```text
/// byte  0    2                66            74             106            110
///       | d  | qs: low 8b ×64 | qh: high 1b | signs 8b×32  | scales 4b×8  |
///       f16    of an index      eight to a    1 is minus     even ones in the low nibble
///                               byte
/// ```
///
/// The grid has 512 points of the odd magnitudes 1 to 15.
///
/// Quantizing keeps a fault of ggml's, whose bytes these are: of a sub-block of zeros it stores neither indices nor signs,
/// and those of the sub-blocks behind it one place before their own, where nothing that reads blocks looks for them. A
/// super-block with 32 zeros in a row comes back wrong.
#[allow(non_camel_case_types, reason = "the field's name")]
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[allow(clippy::exhaustive_structs, reason = "the layout is the file's")]
pub struct BlockIQ3_S {
    /// The scale of the scales, an f16 in little-endian bytes.
    pub d: [u8; 2],
    /// The lower eight bits of the grid indices.
    pub qs: [u8; 64],
    /// The ninth bits of the grid indices, the first lowest.
    pub qh: [u8; 8],
    /// The signs of each eight values, the first in the lowest bit.
    pub signs: [u8; 32],
    /// The scales of each 32 values, two to a byte.
    pub scales: [u8; 4],
}

block_format! {
    /// The format of [`BlockIQ3_S`].
    IQ3_S, BlockIQ3_S
}

const LEN: usize = 256;
/// The number of values in a sub-block, whose bytes are stored together.
const SUB: usize = 32;

impl Codec for IQ3_S {
    const QUANTIZES_FASTER_IN_AVX512: bool = false;
    const NUMBERS: &'static [Number] = &[Number::f16(0)];

    #[inline(always)]
    fn dequantize<S: Simd, T: Float>(s: S, blocks: &[BlockIQ3_S], out: &mut [T]) {
        for (block, out) in blocks.iter().zip(out.as_chunks_mut::<LEN>().0) {
            let d = s.widen_f16(block.d);
            let indices = block.qs.as_chunks::<8>().0.iter().zip(block.qh);
            let subs = indices.zip(block.signs.as_chunks::<4>().0).zip(out.as_chunks_mut::<SUB>().0);
            for (sub, (((qs, qh), signs), out)) in subs.enumerate() {
                let scale = block.scales[sub / 2] >> (4 * (sub % 2)) & 15;
                let scale = d * f32::from(1 + 2 * scale);
                let row = |k: usize| &grid::IQ3_S[usize::from(qs[k]) | (usize::from(qh) << (8 - k) & 256)];
                grid::put_signed(s, row, u32::from_le_bytes(*signs), [scale; 2], out);
            }
        }
    }

    /// Searches each 32 values, over inverse scales around the one that maps the greatest magnitude to the grid's. For
    /// magnitudes beyond about 1e12, errors are too large to compare and ggml aborts the process. Here such groups get
    /// the grid point nearest to their rounded values.
    #[inline(always)]
    fn quantize<S: Simd>(s: S, rows: Rows<'_>, out: &mut [BlockIQ3_S]) {
        let search = Search {
            map: grid::iq3_s(),
            least: f32::from_bits(1),
            trials: Trials { levels: 15.0, by: 0.2, last: 9 },
            refit: Refit::AllIfAnyOffGrid,
        };
        let weighting = Weighting { spread: 2.0, alone: 0.0 };
        for ((x, importance), block) in rows.blocks().zip(out) {
            let prepared = grid::prepare(s, x, importance, weighting, false);
            let found = search.run::<S, SUB>(s, &prepared, None);
            *block = Zeroable::zeroed();
            let subs = x.as_chunks::<SUB>().0.iter().zip(found.indices.as_chunks::<8>().0).enumerate();
            let not_zero = subs.filter(|(_, (x, _))| x.iter().any(|&x| x != 0.0));
            for (place, (sub, (_, indices))) in not_zero.enumerate() {
                for (k, index) in indices.iter().enumerate() {
                    block.qs[8 * place + k] = *index as u8;
                    block.qh[sub] |= ((index >> 8) as u8) << k;
                }
                block.signs[4 * place..][..4].copy_from_slice(&found.signs[4 * sub..][..4]);
            }
            if let Some((d, scales)) = grid::scale_of_scales::<8, 15>(&found.scales) {
                block.d = s.narrow_f16(d * 1.033);
                for (packed, [low, high]) in block.scales.iter_mut().zip(scales.as_chunks().0) {
                    *packed = low | high << 4;
                }
            }
        }
    }
}

impl Quants for IQ3_S {
    const RANGE: Range = Range::Seven;
    const BIAS: i32 = grid::BIAS;
}

impl SuperBlocks for IQ3_S {
    const SIGNED_BY_BITS: bool = true;
    const GROUP: usize = 32;

    #[inline(always)]
    fn d(block: &BlockIQ3_S) -> [u8; 2] {
        block.d
    }
    #[inline(always)]
    fn group_scales(block: &BlockIQ3_S) -> [u64; 2] {
        [2 * spread_nibbles(block.scales) + eight(1), 0]
    }
    #[inline(always)]
    fn magnitudes<D: Bytes>(d: D, block: &BlockIQ3_S) -> [D::B; 8] {
        let (qs, qh) = (block.qs.as_chunks::<32>().0, block.qh.as_chunks::<4>().0);
        let high = |half: usize| d.and_b(d.bits_b(u32::from_le_bytes(qh[half])), d.splat_b(1));
        let [a, b, c, e] = d.many_rows(&grid::IQ3_S, &qs[0], high(0));
        let [f, g, h, i] = d.many_rows(&grid::IQ3_S, &qs[1], high(1));
        [a, b, c, e, f, g, h, i]
    }
    #[inline(always)]
    fn signs<D: Bytes>(_: D, block: &BlockIQ3_S) -> [u32; 8] {
        grid::words(block.signs)
    }
}
