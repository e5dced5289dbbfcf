//! TQ1_0: super-blocks of 256 values in 54 bytes, minus the scale, 0 or the scale, five to a byte.

use bytemuck::{Pod, Zeroable};

use crate::codec::float::Float;
use crate::codec::format::{Codec, Rows, block_format};
use crate::codec::number::Number;
use crate::codec::operand::{Quants, SuperBlocks, eight};
use crate::codec::pack::ternary;
use crate::simd::{Bytes, Range, Simd};

/// A super-block of [`TQ1_0`]: `value[i] = d * (q[i] - 1)`, 1.6875 bits per weight.
///
/// ```text
/// byte  0               32               48               52   54
///       | values 0..160 | values 160..240 | values 240..256 | d  |
///                                                            f16
/// byte m of the first 32    q[m], q[m + 32], … q[m + 128]
/// byte m of the next 16     q[m + 160], q[m + 176], … q[m + 224]
/// byte m of the last 4      q[m + 240], q[m + 244], q[m + 248], q[m + 252], and 0
/// ```
///
/// Each five quants, 0 to 2, are the digits after the point of a number in base 3, the first the highest; a byte is
/// this number times 256, rounded up. Three times the byte has the first digit above its lowest eight bits, and in
/// these eight the byte of the digits that are left.
#[allow(non_camel_case_types, reason = "the field's name")]
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[allow(clippy::exhaustive_structs, reason = "the layout is the file's")]
pub struct BlockTQ1_0 {
    /// The first 240 quants, five to a byte.
    pub qs: [u8; 48],
    /// The last 16 quants, four to a byte.
    pub qh: [u8; 4],
    /// The scale, an f16 in little-endian bytes.
    pub d: [u8; 2],
}

block_format! {
    /// The format of [`BlockTQ1_0`].
    TQ1_0, BlockTQ1_0
}

const LEN: usize = 256;
/// The number of quants in a byte.
const DIGITS: usize = 5;
/// Where the runs of bytes begin, among the bytes of five digits and among the values, and their lengths in bytes.
const RUNS: [(usize, usize, usize); 2] = [(0, 0, 32), (32, 160, 16)];
/// Where the values begin that are packed four to a byte, and their length in bytes.
const LAST: (usize, usize) = (240, 4);

impl Codec for TQ1_0 {
    const NUMBERS: &'static [Number] = &[Number::f16(52)];

    #[inline(always)]
    fn dequantize<S: Simd, T: Float>(s: S, blocks: &[BlockTQ1_0], out: &mut [T]) {
        let byte = s.splat_i(255);
        for (block, out) in blocks.iter().zip(out.as_chunks_mut::<LEN>().0) {
            let scaled = ternary::scaled(s.widen_f16(block.d));
            for (from, to, len) in RUNS {
                for at in (0..len).step_by(S::LANES) {
                    let mut digits = s.load_u8(&block.qs[from + at..]);
                    for digit in 0..DIGITS {
                        let tripled = s.add_i(digits, s.add_i(digits, digits));
                        T::put(s, s.lookup4(&scaled, s.shr::<8>(tripled)), &mut out[to + digit * len + at..]);
                        digits = s.and(tripled, byte);
                    }
                }
            }
            let last = last_digits(block.qh);
            for at in (0..last.len()).step_by(S::LANES) {
                let digits = s.load_u8(&last[at..]);
                let tripled = s.add_i(digits, s.add_i(digits, digits));
                T::put(s, s.lookup4(&scaled, s.shr::<8>(tripled)), &mut out[LAST.0 + at..]);
            }
        }
    }

    /// The scale is the greatest magnitude. Importance is not used, as in ggml.
    #[inline(always)]
    fn quantize<S: Simd>(s: S, rows: Rows<'_>, out: &mut [BlockTQ1_0]) {
        for (x, block) in rows.values.as_chunks::<LEN>().0.iter().zip(out) {
            let (d, inverse) = ternary::scale(s, x);
            block.d = s.narrow_f16(d);
            let inverse = s.splat(inverse);
            for (to, from, len) in RUNS {
                for at in (0..len).step_by(S::LANES) {
                    let mut number = ternary::quants(s, &x[from + at..], inverse);
                    for digit in 1..DIGITS {
                        let q = ternary::quants(s, &x[from + digit * len + at..], inverse);
                        number = s.add_i(s.add_i(number, s.add_i(number, number)), q);
                    }
                    s.store_u8(number, &mut block.qs[to + at..]);
                }
            }
            let mut last = [0u8; LEN - LAST.0];
            for at in (0..last.len()).step_by(S::LANES) {
                s.store_u8(ternary::quants(s, &x[LAST.0 + at..], inverse), &mut last[at..]);
            }
            for (m, number) in block.qh.iter_mut().enumerate() {
                let digits = last[m..].iter().step_by(LAST.1);
                let four = digits.fold(0u8, |number, q| number.wrapping_mul(3).wrapping_add(*q));
                *number = four.wrapping_mul(3);
            }
            block.qs = block.qs.map(fraction);
            block.qh = block.qh.map(fraction);
        }
    }
}

/// Returns the bytes whose first digits are the last values: the four bytes, and what remains of each after one, two
/// and three digits.
#[inline(always)]
fn last_digits(bytes: [u8; 4]) -> [u8; LEN - LAST.0] {
    const EVEN: u32 = 0x00ff_00ff;
    let mut left = [u32::from_le_bytes(bytes); 4];
    for digit in 1..4 {
        let (even, odd) = (left[digit - 1] & EVEN, (left[digit - 1] >> 8) & EVEN);
        left[digit] = ((even * 3) & EVEN) | (((odd * 3) & EVEN) << 8);
    }
    bytemuck::cast(left.map(u32::to_le_bytes))
}

/// Converts a five-digit base-3 number to a fraction of 3^5, in units of 1/256 and rounded up.
#[inline(always)]
fn fraction(number: u8) -> u8 {
    (u16::from(number) * 256).div_ceil(243) as u8
}

impl Quants for TQ1_0 {
    const RANGE: Range = Range::Four;
    const BIAS: i32 = 1;

    #[inline(always)]
    fn unit<D: Bytes>(d: D, block: &BlockTQ1_0, unit: usize) -> D::B {
        let second = d.bits_b(0xffff_0000);
        let digits = if unit < DIGITS {
            d.load_b(block.qs.first_chunk().expect("`qs` has 48 bytes"))
        } else {
            // The same sixteen bytes twice, the second time one digit further.
            let run = d.twice(block.qs.last_chunk().expect("`qs` has 48 bytes"));
            d.add_b(run, d.and_b(second, d.add_b(run, run)))
        };
        let mut digits = d.xor_b(digits, d.splat_b(128));
        let done = if unit < DIGITS { unit } else { 2 * (unit - DIGITS) };
        for _ in 0..done {
            digits = d.times_3(digits);
        }
        if unit == 7 {
            // The last bytes' digits, from the first in the lowest four bytes to the last. Multiplies bytes as parts of 16 bits.
            let last = d.twice(bytemuck::cast_ref(&[block.qh; 4]));
            let (powers, low) = (d.load_b(bytemuck::cast_ref(&POWERS)), d.splat_short(255));
            let high_bytes = d.mul_shorts(d.and_b(last, d.splat_short(!255)), powers);
            let last = d.or_b(d.and_b(d.mul_shorts(last, powers), low), high_bytes);
            let last = d.xor_b(last, d.splat_b(128));
            digits = d.xor_b(digits, d.and_b(second, d.xor_b(digits, last)));
        }
        d.times_3_high(digits)
    }
}

/// What moves one to four digits to the front.
const POWERS: [i16; 16] = [1, 1, 3, 3, 9, 9, 27, 27, 1, 1, 3, 3, 9, 9, 27, 27];

impl SuperBlocks for TQ1_0 {
    const GROUP: usize = 32;
    const HAS_SCALES: bool = false;

    #[inline(always)]
    fn d(block: &BlockTQ1_0) -> [u8; 2] {
        block.d
    }
    #[inline(always)]
    fn group_scales(_: &BlockTQ1_0) -> [u64; 2] {
        [eight(1), 0]
    }
}
