//! Q6_K: super-blocks of 256 values in 210 bytes, with an 8-bit scale for each 16 values.

use bytemuck::{Pod, Zeroable};

use crate::codec::float::Float;
use crate::codec::format::{Codec, Rows, block_format};
use crate::codec::number::Number;
use crate::codec::operand::{Quants, SuperBlocks, chunk, eight, halves, nibble, two_bits};
use crate::codec::search::columns::Importance;
use crate::codec::search::{self, LEAST_MAGNITUDE, columns};
use crate::simd::{Bytes, MAX_LANES, Range, Simd, nearest};

/// A super-block of [`Q6_K`]: `value[i] = d * scales[i / 16] * (q[i] - 32)`, 6.5625 bits per weight.
///
/// ```text
/// byte  0             128           192             208  210
///       | ql: low 4b  | qh: high 2b | scales i8×16  | d  |
///                                                    f16
/// for each half of 128 values, with l = 0..32:
///   ql[l]       q[l + 64] in the high nibble, q[l]      in the low one
///   ql[l + 32]  q[l + 96] in the high nibble, q[l + 32] in the low one
///   qh[l]       bits 4..6 of q[l + 96], q[l + 64], q[l + 32], q[l], from the top
/// ```
#[allow(non_camel_case_types, reason = "the field's name")]
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[allow(clippy::exhaustive_structs, reason = "the layout is the file's")]
pub struct BlockQ6_K {
    /// The lower four bits of the quants.
    pub ql: [u8; 128],
    /// The upper two bits of the quants.
    pub qh: [u8; 64],
    /// The sub-blocks' scales.
    pub scales: [i8; 16],
    /// The scale of the scales, an f16 in little-endian bytes.
    pub d: [u8; 2],
}

block_format! {
    /// The format of [`BlockQ6_K`].
    Q6_K, BlockQ6_K
}

const LEN: usize = 256;
/// The number of values in a sub-block, which share a scale.
const SUB: usize = 16;
const SUBS: usize = LEN / SUB;

impl Codec for Q6_K {
    const DIRECT_HALVES: bool = true;
    const NUMBERS: &'static [Number] = &[Number::f16(208)];

    #[inline(always)]
    fn dequantize<S: Simd, T: Float>(s: S, blocks: &[BlockQ6_K], out: &mut [T]) {
        let (nibble, two_bits, bias) = (s.splat_i(15), s.splat_i(0x30), s.splat_i(32));
        for (block, out) in blocks.iter().zip(out.as_chunks_mut::<LEN>().0) {
            let d = s.splat_f16(block.d);
            let mut scales = [0.0; SUBS];
            for at in (0..SUBS).step_by(S::LANES) {
                s.store(s.mul(d, s.to_float(s.load_i8(&block.scales[at..]))), &mut scales[at..]);
            }
            let halves = block.ql.as_chunks::<64>().0.iter().zip(block.qh.as_chunks::<32>().0);
            let halves = halves.zip(scales.as_chunks::<8>().0).zip(out.as_chunks_mut::<128>().0);
            for (((ql, qh), scales), out) in halves {
                for at in (0..32).step_by(S::LANES) {
                    let (a, b, high) =
                        (s.load_u8(&ql[at..]), s.load_u8(&ql[32 + at..]), s.load_u8(&qh[at..]));
                    let quarters = [
                        (s.and(a, nibble), s.shl::<4>(high)),
                        (s.and(b, nibble), s.shl::<2>(high)),
                        (s.shr::<4>(a), high),
                        (s.shr::<4>(b), s.shr::<2>(high)),
                    ];
                    for (quarter, (low, high)) in quarters.into_iter().enumerate() {
                        let q = s.sub_i(s.or(low, s.and(high, two_bits)), bias);
                        let scale = s.splat(scales[2 * quarter + at / SUB]);
                        T::put(s, s.mul(scale, s.to_float(q)), &mut out[32 * quarter + at..]);
                    }
                }
            }
        }
    }

    /// Searches a scale for each sub-block and quantizes the scales to 8 bits. Then quantizes the values with the
    /// resulting scales. A sub-block whose 8-bit scale is 0 keeps the search's quants, as in ggml.
    #[inline(always)]
    fn quantize<S: Simd>(s: S, rows: Rows<'_>, out: &mut [BlockQ6_K]) {
        let x = rows.values.as_chunks::<LEN>().0;
        for (group, (x, out)) in x.chunks(GROUP).zip(out.chunks_mut(GROUP)).enumerate() {
            let (scales, inverses) = search(s.wide(), x, rows.importance, group * GROUP);
            for (i, (x, block)) in x.iter().zip(out).enumerate() {
                quantize_block(s, x, &scales[i], &inverses[i], block);
            }
        }
    }
}

/// The number of super-blocks that are searched together, which fill the widest vector with a sub-block in each lane.
const GROUP: usize = MAX_LANES / SUBS;

/// Quantizes the scales that the search found, and the values with them.
#[inline(always)]
fn quantize_block<S: Simd>(
    s: S,
    x: &[f32; LEN],
    sub_scales: &[f32; SUBS],
    inverses: &[f32; SUBS],
    block: &mut BlockQ6_K,
) {
    let greatest = search::greatest(sub_scales);
    if greatest.abs() < LEAST_MAGNITUDE {
        *block = Zeroable::zeroed();
        return;
    }
    let inverse = -128.0 / greatest;
    block.d = s.narrow_f16(1.0 / inverse);
    for (scale, sub_scale) in block.scales.iter_mut().zip(sub_scales) {
        *scale = nearest(inverse * sub_scale).min(127) as i8;
    }

    let d = s.widen_f16(block.d);
    let mut quants = [0u8; LEN];
    for (sub, (scale, inverse)) in block.scales.iter().zip(inverses).enumerate() {
        let scale = d * f32::from(*scale);
        for at in (SUB * sub..SUB * (sub + 1)).step_by(S::LANES) {
            let x = s.load(&x[at..]);
            let q = if scale != 0.0 {
                s.nearest_within(s.div(x, s.splat(scale)), -32, 31)
            } else if *inverse != 0.0 {
                s.nearest_within(s.mul(s.splat(*inverse), x), -32, 31)
            } else {
                // For a sub-block of zeros ggml leaves 0 instead of the biased 32.
                s.splat_i(-32)
            };
            s.store_u8(s.add_i(q, s.splat_i(32)), &mut quants[at..]);
        }
    }
    pack(&quants, block);
}

/// Returns the scale of each sub-block and the inverse that gives the search's quants, with a sub-block in each lane.
/// `importance` is that of a row. `first_block` is the position of these blocks among those of all rows.
#[inline(always)]
fn search<S: Simd>(
    s: S,
    blocks: &[[f32; LEN]],
    importance: Option<&[f32]>,
    first_block: usize,
) -> ([[f32; SUBS]; GROUP], [[f32; SUBS]; GROUP]) {
    let [mut scales, mut inverses] = [[[0.0; SUBS]; GROUP]; 2];
    for first in (0..blocks.len() * SUBS).step_by(S::LANES) {
        let subs = search::in_lanes(first..blocks.len() * SUBS);
        let x = columns(s, blocks.as_flattened().as_chunks::<SUB>().0, &subs);
        let weights = match importance {
            Some(importance) => Importance::new(importance, first_block * SUBS).of(s, &subs),
            None => squares(s, &x),
        };
        let found = search::symmetric(s, 32, &x, &weights);
        s.store(found.scale, &mut scales.as_flattened_mut()[first..]);
        s.store(found.inverse, &mut inverses.as_flattened_mut()[first..]);
    }
    (scales, inverses)
}

#[inline(always)]
fn squares<S: Simd>(s: S, x: &[S::F; SUB]) -> [S::F; SUB] {
    let mut squares = *x;
    for square in &mut squares {
        *square = s.mul(*square, *square);
    }
    squares
}

/// Packs 6-bit quants.
#[inline(always)]
fn pack(quants: &[u8; LEN], block: &mut BlockQ6_K) {
    let halves = block.ql.as_chunks_mut::<64>().0.iter_mut().zip(block.qh.as_chunks_mut::<32>().0);
    for (q, (ql, qh)) in quants.as_chunks::<128>().0.iter().zip(halves) {
        for l in 0..32 {
            let [a, b, c, d] = [q[l], q[l + 32], q[l + 64], q[l + 96]];
            ql[l] = (a & 15) | (c << 4);
            ql[l + 32] = (b & 15) | (d << 4);
            qh[l] = (a >> 4) | (b >> 4) << 2 | (c >> 4) << 4 | (d >> 4) << 6;
        }
    }
}

impl Quants for Q6_K {
    const RANGE: Range = Range::Six;
    const BIAS: i32 = 32;

    #[inline(always)]
    fn unit<D: Bytes>(d: D, block: &BlockQ6_K, unit: usize) -> D::B {
        let (half, quarter) = (unit / 4, unit % 4);
        let low = nibble(d, chunk(d, &block.ql, 2 * half + quarter % 2), quarter >= 2);
        d.or_b(low, d.shl_b::<4>(two_bits(d, chunk(d, &block.qh, half), quarter)))
    }
}

impl SuperBlocks for Q6_K {
    const GROUP: usize = 16;
    const SCALE_BIAS: i32 = 128;

    #[inline(always)]
    fn d(block: &BlockQ6_K) -> [u8; 2] {
        block.d
    }
    #[inline(always)]
    fn group_scales(block: &BlockQ6_K) -> [u64; 2] {
        halves(bytemuck::cast_ref(&block.scales)).map(|scales| scales ^ eight(128))
    }
}
