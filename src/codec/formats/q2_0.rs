//! Q2_0: 64 values in 18 bytes, a scale and 2-bit quants around 1.

use bytemuck::{Pod, Zeroable};

use crate::codec::float::Float;
use crate::codec::format::{Codec, Rows, block_format};
use crate::codec::number::Number;
use crate::codec::operand::{Quants, SmallBlocks};
use crate::codec::pack::ternary;
use crate::codec::search::extremes::greatest_magnitude;
use crate::simd::{Bytes, Floats, Range, Simd};

/// A block of [`Q2_0`]: `value[i] = d * (q[i] - 1)`, 2.25 bits per weight. Quantizing makes quants 0, 1 and 2.
///
/// ```text
/// byte  0    2                                                      18
///       | d  | q3 q2 q1 q0 | q7 q6 q5 q4 |   …   | q63 q62 q61 q60 |
///       f16    two bits each
/// ```
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[allow(clippy::exhaustive_structs, reason = "the layout is the file's")]
pub struct BlockQ2_0 {
    /// The scale, an f16 in little-endian bytes.
    pub d: [u8; 2],
    /// The quants, four to a byte.
    pub qs: [u8; 16],
}

block_format! {
    /// The format of [`BlockQ2_0`].
    Q2_0, BlockQ2_0
}

const LEN: usize = 64;
/// The number of values whose bits are one number.
const RUN: usize = 32;

impl Codec for Q2_0 {
    const NUMBERS: &'static [Number] = &[Number::f16(0)];

    #[inline(always)]
    fn dequantize<S: Simd, T: Float>(s: S, blocks: &[BlockQ2_0], out: &mut [T]) {
        for (block, out) in blocks.iter().zip(out.as_chunks_mut::<LEN>().0) {
            let scaled = ternary::scaled(s.widen_f16(block.d));
            for (bits, out) in block.qs.as_chunks().0.iter().zip(out.as_chunks_mut::<RUN>().0) {
                let bits = u64::from_le_bytes(*bits);
                for at in (0..RUN).step_by(S::LANES) {
                    T::put(s, s.lookup4(&scaled, s.two_bits(bits >> (2 * at))), &mut out[at..]);
                }
            }
        }
    }

    /// The scale is the greatest magnitude. Importance is not used, as in ggml.
    #[inline(always)]
    fn quantize<S: Simd>(s: S, rows: Rows<'_>, out: &mut [BlockQ2_0]) {
        let (zero, most) = (s.splat_i(0), s.splat_i(3));
        for (x, block) in rows.values.as_chunks::<LEN>().0.iter().zip(out) {
            let d = greatest_magnitude(s, x);
            block.d = s.narrow_f16(d);
            let inverse = s.splat(if d > 0.0 { 1.0 / d } else { 0.0 });
            let mut quants = [0u8; LEN];
            for at in (0..LEN).step_by(S::LANES) {
                let q = s.max_i(s.min_i(ternary::quants(s, &x[at..], inverse), most), zero);
                s.store_u8(q, &mut quants[at..]);
            }
            for (byte, [a, b, c, d]) in block.qs.iter_mut().zip(quants.as_chunks().0) {
                *byte = a | b << 2 | c << 4 | d << 6;
            }
        }
    }
}

impl Quants for Q2_0 {
    const RANGE: Range = Range::Four;
    const BIAS: i32 = 1;

    #[inline(always)]
    fn unit<D: Bytes>(d: D, block: &BlockQ2_0, unit: usize) -> D::B {
        let s = d.lanes();
        // Puts the four quants of each byte in the four bytes of a lane.
        let all = d.widen_eight(u64::from_le_bytes(block.qs.as_chunks().0[unit]));
        let twice = s.or(all, s.shl::<6>(all));
        d.and_b(d.bytes_of(s.or(twice, s.shl::<12>(twice))), d.splat_b(3))
    }
}

impl SmallBlocks for Q2_0 {
    #[inline(always)]
    fn scales<'a, D: Bytes>(d: D, unit: impl Fn(usize) -> (&'a BlockQ2_0, usize)) -> [Floats<D>; 2] {
        [d.gather_f16(|j| unit(j).0.d), d.lanes().splat(0.0)]
    }
}
