//! MXFP4: 32 values in 17 bytes, 4-bit floats and a power of two.

use bytemuck::{Pod, Zeroable};

use crate::codec::float::Float;
use crate::codec::format::{Codec, Rows, block_format};
use crate::codec::number::Number;
use crate::codec::operand::{Quants, SmallBlocks};
use crate::codec::pack::bits4;
use crate::codec::pack::fp4;
use crate::codec::search::extremes::greatest_magnitude;
use crate::simd::{Bytes, Floats, Range, Simd};

/// A block of [`MXFP4`]: `value[i] = 2^(e - 127) * v[q[i]]`, 4.25 bits per weight, where `v` is 0, 0.5, 1, 1.5, 2, 3, 4, 6,
/// and the same with a minus sign for the codes from 8 on.
///
/// ```text
/// byte  0   1                                   17
///       | e | q16 q0 | q17 q1 |   …   | q31 q15 |
///       E8M0  high nibble: the second half of the block, low nibble: the first
/// ```
///
/// The format's standard has NaN for an `e` of 255; as in ggml it is 2^128 here, of which half still is a number.
///
/// Below 2^-125 the exponent for the greatest magnitude of a block is negative, and ggml keeps its low byte: values so
/// small become 0 by way of a huge scale. This is done here too, and where that byte is 255,
/// [`GgmlType::validate`](crate::GgmlType::validate) takes it for the standard's NaN.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[allow(clippy::exhaustive_structs, reason = "the layout is the file's")]
pub struct BlockMXFP4 {
    /// The scale: the exponent of a power of two, plus 127.
    pub e: u8,
    /// The codes, two to a byte.
    pub qs: [u8; 16],
}

block_format! {
    /// The format of [`BlockMXFP4`].
    MXFP4, BlockMXFP4
}

const LEN: usize = 32;
const HALF: usize = LEN / 2;

/// Half of the scale of each exponent. The two least are subnormal.
const HALF_SCALES: [f32; 256] = {
    let mut scales = [0.0; 256];
    let mut e = 0;
    while e < 256 {
        scales[e as usize] = f32::from_bits(if e < 2 { 1 << (21 + e) } else { (e - 1) << 23 });
        e += 1;
    }
    scales
};

impl Codec for MXFP4 {
    const ANY_VALUES: bool = true;
    const NUMBERS: &'static [Number] = &[Number::e8m0(0)];

    #[inline(always)]
    fn dequantize<S: Simd, T: Float>(s: S, blocks: &[BlockMXFP4], out: &mut [T]) {
        for (block, out) in blocks.iter().zip(out.as_chunks_mut::<LEN>().0) {
            let half_scale = HALF_SCALES[usize::from(block.e)];
            // The values are whole multiples of it.
            let (scaled, subnormal) = (fp4::scaled(s, half_scale), half_scale.is_subnormal());
            for at in (0..HALF).step_by(S::LANES) {
                let both = s.load_u8(&block.qs[at..]);
                fp4::put(s, &scaled, subnormal, both, &mut out[at..]);
                fp4::put(s, &scaled, subnormal, s.shr::<4>(both), &mut out[HALF + at..]);
            }
        }
    }

    /// The scale is the power of two that maps the greatest magnitude to 4 to 8. Importance is not used, as in ggml.
    #[inline(always)]
    fn quantize<S: Simd>(s: S, rows: Rows<'_>, out: &mut [BlockMXFP4]) {
        for (x, block) in rows.values.as_chunks::<LEN>().0.iter().zip(out) {
            let greatest = greatest_magnitude(s, x);
            block.e = if greatest > 0.0 { (floor_log2(greatest) - 2 + 127) as u8 } else { 0 };
            let scaled = fp4::scaled(s, HALF_SCALES[usize::from(block.e)]);
            for at in (0..HALF).step_by(S::LANES) {
                let low = fp4::nearest(s, &scaled, s.load(&x[at..]));
                let high = fp4::nearest(s, &scaled, s.load(&x[HALF + at..]));
                bits4::pack(s, low, high, &mut block.qs[at..]);
            }
        }
    }
}

/// Returns C's `floorf(log2f(x))` for a finite x above 0. This is the exponent, except for numbers so little below a
/// power of two that the logarithm rounds up to it.
#[inline(always)]
fn floor_log2(x: f32) -> i32 {
    // Exact for subnormals.
    let (x, added) = if x < f32::MIN_POSITIVE { (x * 16_777_216.0, 24) } else { (x, 0) };
    let exponent = (x.to_bits() >> 23) as i32 - 127 - added;
    let missing = (1 << 23) - (x.to_bits() & 0x007f_ffff);
    // Just below a power of two, the logarithm is less than the power's exponent by log2(e) times the relative
    // difference. The terms left out here, and log2f's own error, are far too small to change the rounding. Further away
    // this is not the logarithm, but it is still not the next integer.
    let next = (exponent + 1) as f32;
    let rounds_up = next - missing as f32 * (core::f32::consts::LOG2_E / 16_777_216.0) == next;
    exponent + i32::from(rounds_up)
}

impl Quants for MXFP4 {
    const RANGE: Range = Range::Seven;
    const BIAS: i32 = fp4::BIAS;

    #[inline(always)]
    fn unit<D: Bytes>(d: D, block: &BlockMXFP4, _: usize) -> D::B {
        fp4::bytes(d, d.nibbles(&block.qs))
    }
}

impl SmallBlocks for MXFP4 {
    /// [`HALF_SCALES`], computed with integers.
    #[inline(always)]
    fn scales<'a, D: Bytes>(d: D, unit: impl Fn(usize) -> (&'a BlockMXFP4, usize)) -> [Floats<D>; 2] {
        let s = d.lanes();
        let e = d.widen_eight((0..8).fold(0, |all, j| all | u64::from(unit(j).0.e) << (8 * j)));
        let normal = s.shl::<23>(s.sub_i(e, s.splat_i(1)));
        let subnormal = s.shl::<21>(s.add_i(e, s.splat_i(1)));
        let is_subnormal = s.lt(s.to_float(e), s.splat(2.0));
        [s.as_floats(s.select_i(is_subnormal, subnormal, normal)), s.splat(0.0)]
    }
}

#[cfg(test)]
mod tests {
    use super::floor_log2;

    #[test]
    fn the_logarithm_is_rounded_before_it_is_cut() {
        for power in -149..=128i32 {
            let whole = f64::from(power).exp2();
            let below = |missing: u32| {
                let x = if power > 127 { f32::MAX } else { (whole as f32).next_down() };
                (1..missing).fold(x, |x, _| x.next_down())
            };
            for missing in (1..=100).filter(|&missing| power > -120 || missing < 2) {
                let x = below(missing);
                if x > 0.0 {
                    let want = f64::from(x).log2() as f32;
                    assert_eq!(floor_log2(x), want.floor() as i32, "{x:e}");
                }
            }
            if power < 128 {
                assert_eq!(floor_log2(whole as f32), power);
                assert_eq!(floor_log2((whole * 1.5) as f32), if power == -149 { -148 } else { power });
            }
        }
    }
}
