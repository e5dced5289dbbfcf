//! How a format's blocks are multiplied without decoding them to floats: its quants as bytes, and its scales as separate numbers.
//!
//! A *unit* is 32 values, which is one vector of bytes. The bytes are the quants' integer values. They are biased if that
//! makes them fit in seven bits, because most instructions require one unsigned factor.

use super::format::{Codec, Rows};
use crate::simd::{Bytes, Floats, Range, Simd};

/// Quants as bytes.
pub(crate) trait Quants: Codec {
    /// The range of the bytes.
    const RANGE: Range;
    /// The bias to subtract from each byte: 0, a power of two, or 9.
    const BIAS: i32 = 0;
    /// Returns the bytes of 32 values of a block.
    #[inline(always)]
    fn unit<D: Bytes>(_: D, _: &Self::Block, _: usize) -> D::B {
        unreachable!("a format whose units are all made at once")
    }
}

/// Builds eight units. It is written out because the operations for a unit depend on its number. In a loop that is not unrolled
/// early, they would be selected again for each unit.
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
    /// `d * q` for the first sixteen values, and another `d` for the others.
    TwoScales,
}

/// Formats with blocks of 32, 64 or 128 values, which are multiplied with activations that have a scale for each 32.
pub(crate) trait SmallBlocks: Quants {
    const TERMS: Terms = Terms::Scale;
    /// Returns the scales of eight units, and their mins or second scales. `unit(j)` is the block of unit `j`, and its
    /// index there.
    fn scales<'a, D: Bytes>(d: D, unit: impl Fn(usize) -> (&'a Self::Block, usize)) -> [Floats<D>; 2];
}

/// The factor of the mins of a super-block's groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mins {
    /// There are no mins.
    None,
    /// A scale for the mins.
    OwnScale,
    /// The scale of the groups' scales.
    SameScale,
}

/// Formats with super-blocks of 256 values, which are multiplied with activations that have a scale for each 256.
pub(crate) trait SuperBlocks: Quants {
    /// The number of values that share a scale: 16 or 32.
    const GROUP: usize;
    /// The bias to subtract from [`group_scales`](Self::group_scales).
    const SCALE_BIAS: i32 = 0;
    /// Whether groups have scales. If not, all are 1.
    const HAS_SCALES: bool = true;
    /// The mins of groups, which are subtracted.
    const MINS: Mins = Mins::None;
    /// Returns the bytes of all values of a block.
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
    /// Whether quants are [`magnitudes`](Self::magnitudes) with [`signs`](Self::signs), without a [`unit`](Quants::unit).
    const SIGNED_BY_BITS: bool = false;
    /// Returns the magnitudes of all values of a block, each at most 64.
    #[inline(always)]
    fn magnitudes<D: Bytes>(_: D, _: &Self::Block) -> [D::B; 8] {
        unreachable!("quants without signs of their own")
    }
    /// Returns the signs of all values of a block, one bit each, 1 for minus.
    #[inline(always)]
    fn signs<D: Bytes>(_: D, _: &Self::Block) -> [u32; 8] {
        unreachable!("quants without signs of their own")
    }
    /// The factor of [`d`](Self::d), a power of two.
    const D_FACTOR: f32 = 1.0;
    /// Returns the scale of the scales, an f16 in little-endian bytes.
    fn d(block: &Self::Block) -> [u8; 2];
    /// Whether the scale of the scales is an `f32`, [`single_d`](Self::single_d).
    const SINGLE_D: bool = false;
    /// Returns the scale of the scales if it is an `f32`.
    #[inline(always)]
    fn single_d(_: &Self::Block) -> f32 {
        unreachable!("the scale has 16 bits")
    }
    /// Returns the scale of the mins, like [`d`](Self::d).
    #[inline(always)]
    fn dmin(_: &Self::Block) -> [u8; 2] {
        [0; 2]
    }
    /// Returns the scale of each group, one byte each. The second number is unused if groups have 32 values.
    fn group_scales(block: &Self::Block) -> [u64; 2];
    /// Returns the min of each group.
    #[inline(always)]
    fn group_mins(_: &Self::Block) -> [u64; 2] {
        [0; 2]
    }
}

/// Repeats a byte eight times.
pub(in crate::codec) const fn eight(byte: u8) -> u64 {
    byte as u64 * 0x0101_0101_0101_0101
}

/// Spreads eight nibbles to bytes, the low nibble of the first byte first.
#[inline(always)]
pub(in crate::codec) fn spread_nibbles(packed: [u8; 4]) -> u64 {
    let all = u64::from(u32::from_le_bytes(packed));
    let all = (all | all << 16) & 0x0000_ffff_0000_ffff;
    let all = (all | all << 8) & 0x00ff_00ff_00ff_00ff;
    (all | all << 4) & eight(15)
}

/// Reads sixteen bytes as two numbers.
#[inline(always)]
pub(in crate::codec) fn halves(bytes: &[u8; 16]) -> [u64; 2] {
    let eights = bytes.as_chunks::<8>().0;
    [u64::from_le_bytes(eights[0]), u64::from_le_bytes(eights[1])]
}

/// Moves bits `2 * quarter` and the next of each byte to the lowest two bits.
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

/// Moves bit `bit` of each byte to bit `to`.
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

/// Returns the low or the high nibble of each byte.
#[inline(always)]
pub(in crate::codec) fn nibble<D: Bytes>(d: D, bytes: D::B, high: bool) -> D::B {
    if high { d.shr_b::<4>(bytes) } else { d.and_b(bytes, d.splat_b(15)) }
}

/// Loads the chunk `at` of 32 bytes.
#[inline(always)]
pub(in crate::codec) fn chunk<D: Bytes>(d: D, bytes: &[u8], at: usize) -> D::B {
    d.load_b(&bytes.as_chunks().0[at])
}

pub(crate) use super::search::extremes::greatest_magnitude;

/// Quantizes one super-block of finite values, without importance.
#[inline(always)]
pub(crate) fn quantize_super_block<S: Simd, C: Codec>(s: S, values: &[f32; 256]) -> C::Block {
    let mut block = [bytemuck::Zeroable::zeroed()];
    C::quantize(s, Rows { values, row_len: 256, importance: None }, &mut block);
    let [block] = block;
    block
}
