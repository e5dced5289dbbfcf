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
    /// What is to be subtracted from a byte: 0, a power of two, or 9.
    const BIAS: i32 = 0;
    /// The bytes of 32 values of a block.
    #[inline(always)]
    fn unit<D: Bytes>(_: D, _: &Self::Block, _: usize) -> D::B {
        unreachable!("a format whose units are all made at once")
    }
}

/// Eight units. Written out, since what a unit is made of depends on its number: in a loop that is not unrolled at once it would
/// be asked for again for each.
macro_rules! eight_units {
    ($u:ident => $unit:expr) => {
        [
            {
                let $u = 0;
                $unit
            },
            {
                let $u = 1;
                $unit
            },
            {
                let $u = 2;
                $unit
            },
            {
                let $u = 3;
                $unit
            },
            {
                let $u = 4;
                $unit
            },
            {
                let $u = 5;
                $unit
            },
            {
                let $u = 6;
                $unit
            },
            {
                let $u = 7;
                $unit
            },
        ]
    };
}
pub(crate) use eight_units;

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

/// What the mins of a super-block's groups are multiplied by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mins {
    /// There are none.
    None,
    /// A scale of their own.
    OwnScale,
    /// The scale of the groups' scales.
    SameScale,
}

/// Formats with super-blocks of 256 values, which are multiplied with activations that have a scale for each 256.
pub(crate) trait SuperBlocks: Quants {
    /// Values that share a scale: 16 or 32.
    const GROUP: usize;
    /// What is to be subtracted from [`group_scales`](Self::group_scales).
    const SCALE_BIAS: i32 = 0;
    /// Whether groups have scales: where not, all are 1.
    const HAS_SCALES: bool = true;
    /// The mins of groups, which are subtracted.
    const MINS: Mins = Mins::None;
    /// The bytes of all values of a block.
    #[inline(always)]
    fn units<D: Bytes>(d: D, block: &Self::Block) -> [D::B; 8] {
        if Self::SIGNED_BY_BITS {
            let (mut units, signs) = (Self::magnitudes(d, block), Self::signs(d, block));
            for (unit, signs) in units.iter_mut().zip(signs) {
                *unit = d.add_b(d.negate_b(*unit, signs), d.splat_b(Self::BIAS as u8));
            }
            return units;
        }
        eight_units!(u => Self::unit(d, block, u))
    }
    /// Whether quants are [`magnitudes`](Self::magnitudes) with [`signs`](Self::signs), and have no [`unit`](Quants::unit).
    const SIGNED_BY_BITS: bool = false;
    /// The magnitudes of all values of a block, at most 64 each.
    #[inline(always)]
    fn magnitudes<D: Bytes>(_: D, _: &Self::Block) -> [D::B; 8] {
        unreachable!("quants without signs of their own")
    }
    /// The signs of all values of a block, a bit for each, 1 for minus.
    #[inline(always)]
    fn signs<D: Bytes>(_: D, _: &Self::Block) -> [u32; 8] {
        unreachable!("quants without signs of their own")
    }
    /// What [`d`](Self::d) is to be multiplied by: a power of two.
    const D_FACTOR: f32 = 1.0;
    /// The scale of the scales, an f16 in little-endian bytes.
    fn d(block: &Self::Block) -> [u8; 2];
    /// Whether the scale of the scales is an `f32`, [`single_d`](Self::single_d).
    const SINGLE_D: bool = false;
    /// The scale of the scales where it is an `f32`.
    #[inline(always)]
    fn single_d(_: &Self::Block) -> f32 {
        unreachable!("the scale has 16 bits")
    }
    /// The scale of the mins, as [`d`](Self::d).
    #[inline(always)]
    fn dmin(_: &Self::Block) -> [u8; 2] {
        [0; 2]
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
