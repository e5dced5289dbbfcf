//! What a format says of itself so that its blocks can be multiplied without becoming floats: its quants as bytes, and its
//! scales as numbers beside them.
//!
//! A *unit* is 32 values, which are one vector of bytes. A format's bytes are what its quants stand for, in whole numbers and
//! with a bias where that makes them fit seven bits, as most instructions want one factor unsigned.

use super::format::{Codec, Rows};
use crate::simd::{Bytes, Floats, Range, Simd};

/// Quants as bytes.
pub(crate) trait Quants: Codec {
    /// Which bytes there are.
    const RANGE: Range;
    /// What is to be subtracted from a byte: 0 or a power of two.
    const BIAS: i32 = 0;
    /// The bytes of 32 values of a block.
    fn unit<D: Bytes>(d: D, block: &Self::Block, unit: usize) -> D::B;
}

/// How units of 32 values become one term of a sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Terms {
    /// `d * q`
    Scale,
    /// `d * q + m`
    ScaleAndMin,
    /// `d * q` in the first sixteen values, and another `d` in the others.
    TwoScales,
}

/// Formats with blocks of 32, 64 or 128 values, which are multiplied with activations that have a scale for each 32.
pub(crate) trait SmallBlocks: Quants {
    const TERMS: Terms = Terms::Scale;
    /// The scales of eight units, and their mins or second scales. `unit(j)` is the block of unit `j`, and its place there.
    fn scales<'a, D: Bytes>(d: D, unit: impl Fn(usize) -> (&'a Self::Block, usize)) -> [Floats<D>; 2];
}

/// Formats with super-blocks of 256 values, which are multiplied with activations that have a scale for each 256.
pub(crate) trait SuperBlocks: Quants {
    /// Values that share a scale: 16 or 32.
    const GROUP: usize;
    /// What is to be subtracted from [`group_scales`](Self::group_scales).
    const SCALE_BIAS: i32 = 0;
    /// Whether groups have scales: where not, all are 1.
    const HAS_SCALES: bool = true;
    /// Whether there are mins, which are subtracted.
    const HAS_MINS: bool = false;
    /// The scale of the scales.
    fn d<S: Simd>(s: S, block: &Self::Block) -> f32;
    /// The scale of the mins.
    #[inline(always)]
    fn dmin<S: Simd>(_: S, _: &Self::Block) -> f32 {
        0.0
    }
    /// The scale of each group, a byte each. The second number is not used where groups have 32 values.
    fn group_scales(block: &Self::Block) -> [u64; 2];
    /// The min of each group.
    #[inline(always)]
    fn group_mins(_: &Self::Block) -> [u64; 2] {
        [0; 2]
    }
}

/// The same byte eight times.
pub(in crate::codec) const fn eight(byte: u8) -> u64 {
    byte as u64 * 0x0101_0101_0101_0101
}

/// Eight nibbles as bytes, the low nibble of the first byte first.
#[inline(always)]
pub(in crate::codec) fn spread_nibbles(packed: [u8; 4]) -> u64 {
    let all = u64::from(u32::from_le_bytes(packed));
    let all = (all | all << 16) & 0x0000_ffff_0000_ffff;
    let all = (all | all << 8) & 0x00ff_00ff_00ff_00ff;
    (all | all << 4) & eight(15)
}

/// Sixteen bytes as two numbers.
#[inline(always)]
pub(in crate::codec) fn halves(bytes: &[u8; 16]) -> [u64; 2] {
    let eights = bytes.as_chunks::<8>().0;
    [u64::from_le_bytes(eights[0]), u64::from_le_bytes(eights[1])]
}

/// Bits `2 * quarter` and the next of each byte, as the lowest.
#[inline(always)]
pub(in crate::codec) fn two_bits<D: Bytes>(d: D, bytes: D::B, quarter: usize) -> D::B {
    let shifted = match quarter {
        0 => bytes,
        1 => d.shr_b::<2>(bytes),
        2 => d.shr_b::<4>(bytes),
        _ => d.shr_b::<6>(bytes),
    };
    d.and_b(shifted, d.splat_b(3))
}

/// Bit `bit` of each byte, as bit `to`.
#[inline(always)]
pub(in crate::codec) fn bit<D: Bytes, const TO: u32>(d: D, bytes: D::B, bit: usize) -> D::B {
    let moved = match bit as i32 - TO as i32 {
        -4 => d.shl_b::<4>(bytes),
        -3 => d.shl_b::<3>(bytes),
        -2 => d.shl_b::<2>(bytes),
        -1 => d.shl_b::<1>(bytes),
        0 => bytes,
        1 => d.shr_b::<1>(bytes),
        2 => d.shr_b::<2>(bytes),
        3 => d.shr_b::<3>(bytes),
        4 => d.shr_b::<4>(bytes),
        5 => d.shr_b::<5>(bytes),
        _ => unreachable!("a byte has eight bits"),
    };
    d.and_b(moved, d.splat_b(1 << TO))
}

/// A low or a high nibble of each byte.
#[inline(always)]
pub(in crate::codec) fn nibble<D: Bytes>(d: D, bytes: D::B, high: bool) -> D::B {
    if high { d.shr_b::<4>(bytes) } else { d.and_b(bytes, d.splat_b(15)) }
}

/// Looks up a chunk of 32 bytes.
#[inline(always)]
pub(in crate::codec) fn chunk<D: Bytes>(d: D, bytes: &[u8], at: usize) -> D::B {
    d.load_b(&bytes.as_chunks().0[at])
}

pub(crate) use super::search::extremes::greatest_magnitude;

/// One super-block of finite values, without importance.
#[inline(always)]
pub(crate) fn quantize_super_block<S: Simd, C: Codec>(s: S, values: &[f32; 256]) -> C::Block {
    let mut block = [bytemuck::Zeroable::zeroed()];
    C::quantize(s, Rows { values, row_len: 256, importance: None }, &mut block);
    let [block] = block;
    block
}
