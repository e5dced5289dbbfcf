//! Q8_K: super-blocks of 256 values in 292 bytes, with a single-precision scale and the sums of the quants.

use bytemuck::{Pod, Zeroable};

use crate::codec::float::Float;
use crate::codec::format::{Codec, Rows, block_format};
use crate::codec::number::Number;
use crate::codec::operand::{self, Quants, SuperBlocks};
use crate::codec::search::extremes::first_of_greatest_magnitude;
use crate::simd::{Bytes, Range, Simd};

/// A super-block of [`Q8_K`]: `value[i] = d * q[i]`, 9.125 bits per weight.
///
/// ```text
/// byte  0    4                260             292
///       | d  | qs: i8 × 256   | bsums i16×16  |
///        f32                    bsums[j] = q[16 j] + … + q[16 j + 15]
/// ```
///
/// ggml multiplies the other K-quants with activations in this format, and needs the sums for their mins; no file has it.
/// Where all values are 0, ggml leaves the sums as it finds them. Here they are 0.
#[allow(non_camel_case_types, reason = "the field's name")]
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[allow(clippy::exhaustive_structs, reason = "the layout is the file's")]
pub struct BlockQ8_K {
    /// The scale, an f32 in little-endian bytes.
    pub d: [u8; 4],
    /// The quants.
    pub qs: [i8; 256],
    /// The sum of each 16 quants, an i16 in little-endian bytes.
    pub bsums: [[u8; 2]; 16],
}

block_format! {
    /// The format of [`BlockQ8_K`].
    Q8_K, BlockQ8_K
}

const LEN: usize = 256;

impl Codec for Q8_K {
    const ANY_VALUES: bool = true;
    const NUMBERS: &'static [Number] = &[Number::f32(0), Number::shorts(260, 16)];

    #[inline(always)]
    fn dequantize<S: Simd, T: Float>(s: S, blocks: &[BlockQ8_K], out: &mut [T]) {
        for (block, out) in blocks.iter().zip(out.as_chunks_mut::<LEN>().0) {
            let d = f32::from_le_bytes(block.d);
            // If it is not subnormal, neither are its whole multiples.
            let (d, subnormal) = (s.splat(d), d.is_subnormal());
            for at in (0..LEN).step_by(S::LANES) {
                let value = s.mul(d, s.to_float(s.load_i8(&block.qs[at..])));
                if subnormal {
                    T::put_any(s, value, &mut out[at..])
                } else {
                    T::put(s, value, &mut out[at..])
                }
            }
        }
    }

    /// The value of greatest magnitude becomes -127. Importance is not used, as in ggml.
    #[inline(always)]
    fn quantize<S: Simd>(s: S, rows: Rows<'_>, out: &mut [BlockQ8_K]) {
        for (x, block) in rows.values.as_chunks::<LEN>().0.iter().zip(out) {
            let extreme = first_of_greatest_magnitude(s, x);
            if extreme == 0.0 {
                *block = Zeroable::zeroed();
                continue;
            }
            let inverse = -127.0 / extreme;
            block.d = (1.0 / inverse).to_le_bytes();
            let inverse = s.splat(inverse);
            for at in (0..LEN).step_by(S::LANES) {
                // An infinite inverse, from values below 2^-121, gives numbers whose low byte is 0 as in ggml.
                let q = s.min_i(s.nearest(s.mul(inverse, s.load(&x[at..]))), s.splat_i(127));
                s.store_u8(q, bytemuck::cast_slice_mut(&mut block.qs[at..]));
            }
            for (sum, quants) in block.bsums.iter_mut().zip(block.qs.as_chunks::<16>().0) {
                *sum = quants.iter().fold(0, |sum, &q| sum + i16::from(q)).to_le_bytes();
            }
        }
    }
}

impl Quants for Q8_K {
    const RANGE: Range = Range::Signed;

    #[inline(always)]
    fn unit<D: Bytes>(d: D, block: &BlockQ8_K, unit: usize) -> D::B {
        operand::chunk(d, bytemuck::cast_slice(&block.qs), unit)
    }
}

impl SuperBlocks for Q8_K {
    const GROUP: usize = 32;
    const HAS_SCALES: bool = false;
    const SINGLE_D: bool = true;

    #[inline(always)]
    fn d(_: &BlockQ8_K) -> [u8; 2] {
        unreachable!("its scale has 32 bits")
    }
    #[inline(always)]
    fn single_d(block: &BlockQ8_K) -> f32 {
        f32::from_le_bytes(block.d)
    }
    #[inline(always)]
    fn group_scales(_: &BlockQ8_K) -> [u64; 2] {
        [operand::eight(1), 0]
    }
}
