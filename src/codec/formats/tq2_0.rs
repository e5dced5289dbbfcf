//! TQ2_0: super-blocks of 256 values in 66 bytes, minus the scale, 0 or the scale, in 2 bits each.

use bytemuck::{Pod, Zeroable};

use crate::codec::float::Float;
use crate::codec::format::{Codec, Rows, block_format};
use crate::codec::number::Number;
use crate::codec::operand::{Quants, SuperBlocks, chunk, eight, two_bits};
use crate::codec::pack::ternary;
use crate::simd::{Bytes, Range, Simd};

/// A super-block of [`TQ2_0`]: `value[i] = d * (q[i] - 1)`, 2.0625 bits per weight. Quantizing makes quants 0, 1 and 2.
///
/// ```text
/// byte  0                  32                  64   66
///       | values 0..128    | values 128..256   | d  |
///                                               f16
/// for each half of 128 values, in byte m, from the top: q[m + 96], q[m + 64], q[m + 32], q[m]
/// ```
#[allow(non_camel_case_types, reason = "the field's name")]
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[allow(clippy::exhaustive_structs, reason = "the layout is the file's")]
pub struct BlockTQ2_0 {
    /// The quants, four to a byte.
    pub qs: [u8; 64],
    /// The scale, an f16 in little-endian bytes.
    pub d: [u8; 2],
}

block_format! {
    /// The format of [`BlockTQ2_0`].
    TQ2_0, BlockTQ2_0
}

const LEN: usize = 256;
const HALF: usize = LEN / 2;

impl Codec for TQ2_0 {
    const NUMBERS: &'static [Number] = &[Number::f16(64)];

    #[inline(always)]
    fn dequantize<S: Simd, T: Float>(s: S, blocks: &[BlockTQ2_0], out: &mut [T]) {
        for (block, out) in blocks.iter().zip(out.as_chunks_mut::<LEN>().0) {
            let scaled = ternary::scaled(s.widen_f16(block.d));
            let halves = block.qs.as_chunks::<32>().0.iter().zip(out.as_chunks_mut::<HALF>().0);
            for (qs, out) in halves {
                for at in (0..32).step_by(S::LANES) {
                    let q = s.load_u8(&qs[at..]);
                    T::put(s, s.lookup4(&scaled, q), &mut out[at..]);
                    T::put(s, s.lookup4(&scaled, s.shr::<2>(q)), &mut out[32 + at..]);
                    T::put(s, s.lookup4(&scaled, s.shr::<4>(q)), &mut out[64 + at..]);
                    T::put(s, s.lookup4(&scaled, s.shr::<6>(q)), &mut out[96 + at..]);
                }
            }
        }
    }

    /// The scale is the greatest magnitude. Importance is not used, as in ggml.
    #[inline(always)]
    fn quantize<S: Simd>(s: S, rows: Rows<'_>, out: &mut [BlockTQ2_0]) {
        let two_bits = s.splat_i(3);
        for (x, block) in rows.values.as_chunks::<LEN>().0.iter().zip(out) {
            let (d, inverse) = ternary::scale(s, x);
            block.d = s.narrow_f16(d);
            let inverse = s.splat(inverse);
            let halves = x.as_chunks::<HALF>().0.iter().zip(block.qs.as_chunks_mut::<32>().0);
            for (x, qs) in halves {
                for at in (0..32).step_by(S::LANES) {
                    let a = s.and(ternary::quants(s, &x[at..], inverse), two_bits);
                    let b = s.and(ternary::quants(s, &x[32 + at..], inverse), two_bits);
                    let c = s.and(ternary::quants(s, &x[64 + at..], inverse), two_bits);
                    let d = ternary::quants(s, &x[96 + at..], inverse);
                    let low = s.or(a, s.shl::<2>(b));
                    s.store_u8(s.or(low, s.or(s.shl::<4>(c), s.shl::<6>(d))), &mut qs[at..]);
                }
            }
        }
    }
}

impl Quants for TQ2_0 {
    const RANGE: Range = Range::Four;
    const BIAS: i32 = 1;

    #[inline(always)]
    fn unit<D: Bytes>(d: D, block: &BlockTQ2_0, unit: usize) -> D::B {
        two_bits(d, chunk(d, &block.qs, unit / 4), unit % 4)
    }
}

impl SuperBlocks for TQ2_0 {
    const GROUP: usize = 32;
    const HAS_SCALES: bool = false;

    #[inline(always)]
    fn d(block: &BlockTQ2_0) -> [u8; 2] {
        block.d
    }
    #[inline(always)]
    fn group_scales(_: &BlockTQ2_0) -> [u64; 2] {
        [eight(1), 0]
    }
}
