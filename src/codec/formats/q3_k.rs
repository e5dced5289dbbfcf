//! Q3_K: super-blocks of 256 values in 110 bytes, with a 6-bit scale for each 16 values.

use bytemuck::{Pod, Zeroable};

use crate::codec::float::Float;
use crate::codec::format::{Codec, Rows, block_format};
use crate::codec::number::Number;
use crate::codec::operand::{Quants, SuperBlocks, bit, chunk, halves, two_bits};
use crate::codec::pack::bits2;
use crate::codec::search::columns::{Importance, in_common};
use crate::codec::search::{self, columns};
use crate::simd::{Bytes, MAX_LANES, Range, Simd, nearest};

/// A super-block of [`Q3_K`]: `value[i] = d * (scale[i / 16] - 32) * (q[i] - 4)`, 3.4375 bits per weight.
///
/// ```text
/// byte  0              32           96           108  110
///       | hmask: high 1b | qs: low 2b | scales 12B | d  |
///                                     sixteen 6-bit f16
///   hmask[l]    bit 2 of q[l + 224], q[l + 192], … q[l + 32], q[l], from the top
/// for each half of 128 values, with l = 0..32:
///   qs[l]       bits 0..2 of q[l + 96], q[l + 64], q[l + 32], q[l], from the top
/// for the scales, with j = 0..8 and k = 0..4:
///   scales[j]       bits 0..4 of scale[j + 8] in the high nibble, of scale[j] in the low one
///   scales[k + 8]   bits 4..6 of scale[k + 12], scale[k + 8], scale[k + 4], scale[k], from the top
/// ```
#[allow(non_camel_case_types, reason = "the field's name")]
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[allow(clippy::exhaustive_structs, reason = "the layout is the file's")]
pub struct BlockQ3_K {
    /// The quants' upper bits, eight to a byte.
    pub hmask: [u8; 32],
    /// The quants' lower two bits, four to a byte.
    pub qs: [u8; 64],
    /// The sub-blocks' scales, 6 bits each.
    pub scales: [u8; 12],
    /// The scale of the scales, an f16 in little-endian bytes.
    pub d: [u8; 2],
}

block_format! {
    /// The format of [`BlockQ3_K`].
    Q3_K, BlockQ3_K
}

const LEN: usize = 256;
/// The number of values in a sub-block, which share a scale.
const SUB: usize = 16;
const SUBS: usize = LEN / SUB;

impl Codec for Q3_K {
    const NUMBERS: &'static [Number] = &[Number::f16(108)];

    #[inline(always)]
    fn dequantize<S: Simd, T: Float>(s: S, blocks: &[BlockQ3_K], out: &mut [T]) {
        let (third_bit, bias) = (s.splat_i(4), s.splat_i(4));
        for (block, out) in blocks.iter().zip(out.as_chunks_mut::<LEN>().0) {
            let (d, packed) = (s.splat_f16(block.d), unpack_scales(&block.scales));
            let mut scales = [0.0; SUBS];
            for at in (0..SUBS).step_by(S::LANES) {
                let scale = s.sub_i(s.load_u8(&packed[at..]), s.splat_i(32));
                s.store(s.mul(d, s.to_float(scale)), &mut scales[at..]);
            }
            for at in (0..32).step_by(S::LANES) {
                // Four of its bits belong to each half.
                let mut high = s.shl::<2>(s.load_u8(&block.hmask[at..]));
                let halves = block.qs.as_chunks::<32>().0.iter().zip(scales.as_chunks::<8>().0);
                for ((qs, scales), out) in halves.zip(out.as_chunks_mut::<128>().0) {
                    for (quarter, low) in bits2::unpack(s, &qs[at..]).into_iter().enumerate() {
                        let q = s.sub_i(s.or(low, s.and(high, third_bit)), bias);
                        high = s.shr::<1>(high);
                        let scale = s.splat(scales[2 * quarter + at / SUB]);
                        T::put(s, s.mul(scale, s.to_float(q)), &mut out[32 * quarter + at..]);
                    }
                }
            }
        }
    }

    /// Searches a scale for each sub-block and quantizes the scales to 6 bits, with importance by another search. Then quantizes
    /// the values with the resulting scales. A sub-block whose scale becomes 0 keeps the search's quants, as in ggml.
    #[inline(always)]
    fn quantize<S: Simd>(s: S, rows: Rows<'_>, out: &mut [BlockQ3_K]) {
        let x = rows.values.as_chunks::<LEN>().0;
        for (group, (x, out)) in x.chunks(GROUP).zip(out.chunks_mut(GROUP)).enumerate() {
            let mut found = Found::NONE;
            match rows.importance {
                None => found.search(s.wide(), x),
                Some(importance) => found.search_weighted(s.wide(), x, importance, group * GROUP),
            }
            let fitted = match rows.importance {
                None => Fitted::against_greatest(&found),
                Some(_) => Fitted::search(s.wide(), &found, x.len()),
            };
            for (i, (x, block)) in x.iter().zip(out).enumerate() {
                block.d = s.narrow_f16(fitted.d[i]);
                block.scales = pack_scales(&fitted.scales[i]);
                let scales = unpack_scales(&block.scales);
                let d = s.widen_f16(block.d);
                let mut quants = [0u8; LEN];
                for (sub, quants) in quants.as_chunks_mut::<SUB>().0.iter_mut().enumerate() {
                    let scale = d * f32::from(scales[sub] as i8 - 32);
                    if scale == 0.0 {
                        for (q, found) in quants.iter_mut().zip(&found.quants) {
                            *q = found[i * SUBS + sub];
                        }
                        continue;
                    }
                    for at in (0..SUB).step_by(S::LANES) {
                        let scaled = s.div(s.load(&x[SUB * sub + at..]), s.splat(scale));
                        let q = s.add_i(s.nearest_within(scaled, -4, 3), s.splat_i(4));
                        s.store_u8(q, &mut quants[at..]);
                    }
                }
                bits2::pack(s, &quants, &mut block.qs);
                for at in (0..32).step_by(S::LANES) {
                    // The bits of each 32 values enter at the top and are shifted down.
                    let mut high = s.splat_i(0);
                    for quants in quants.as_chunks::<32>().0 {
                        let bit = s.shr::<2>(s.load_u8(&quants[at..]));
                        high = s.or(s.shr::<1>(high), s.shl::<7>(bit));
                    }
                    s.store_u8(high, &mut block.hmask[at..]);
                }
            }
        }
    }
}

/// Returns the scales, each in 0..64.
#[inline(always)]
fn unpack_scales(packed: &[u8; 12]) -> [u8; SUBS] {
    // Processes eight bytes at a time. No bits cross between bytes.
    let low = u64::from_le_bytes(*packed.first_chunk().expect("the packed scales have 12 bytes"));
    let high = u64::from(u32::from_le_bytes(*packed.last_chunk().expect("the packed scales have 12 bytes")));
    let low_nibbles = |word: u64| word & 0x0f0f_0f0f_0f0f_0f0f;
    let upper_bits = |word: u64| (word & 0x0303_0303 | (word >> 2 & 0x0303_0303) << 32) << 4;
    let first = low_nibbles(low) | upper_bits(high);
    let second = low_nibbles(low >> 4) | upper_bits(high >> 4);
    let both = u128::from(first) | u128::from(second) << 64;
    both.to_le_bytes()
}

/// Packs scales in 0..64.
#[inline(always)]
fn pack_scales(scales: &[u8; SUBS]) -> [u8; 12] {
    let mut packed = [0; 12];
    for j in 0..8 {
        packed[j] = (scales[j] & 15) | (scales[j + 8] & 15) << 4;
    }
    for (j, scale) in scales.iter().enumerate() {
        packed[8 + j % 4] |= (scale >> 4) << (2 * (j / 4));
    }
    packed
}

/// The number of super-blocks that are quantized together, which fill the widest vector with one in each lane.
const GROUP: usize = MAX_LANES;

/// What the search found for the sub-blocks of a group of super-blocks, in order.
struct Found {
    scale: [f32; GROUP * SUBS],
    /// Only with importance.
    sum_of_weights: [f32; GROUP * SUBS],
    /// By position in the sub-block. Each is in `0..8`.
    quants: [[u8; GROUP * SUBS]; SUB],
}

impl Found {
    const NONE: Found = Found {
        scale: [0.0; GROUP * SUBS],
        sum_of_weights: [0.0; GROUP * SUBS],
        quants: [[0; GROUP * SUBS]; SUB],
    };

    /// Searches without importance, with a sub-block in each lane: first as far as all can be searched at once, then
    /// only those that are not finished.
    #[inline(always)]
    fn search<S: Simd>(&mut self, s: S, blocks: &[[f32; LEN]]) {
        let count = blocks.len() * SUBS;
        let mut undone = [0; GROUP * SUBS];
        let mut undone_count = 0;
        let blocks = blocks.as_flattened().as_chunks::<SUB>().0;
        for first in (0..count).step_by(S::LANES) {
            let x = columns(s, blocks, &search::in_lanes(first..count));
            let mut found = [s.splat_i(0); SUB];
            let (scale, may_change) = search::symmetric_before_rounds(s, 4, &x, &mut found);
            s.store(scale, &mut self.scale[first..]);
            for (q, quants) in found.into_iter().zip(&mut self.quants) {
                s.store_u8(q, &mut quants[first..]);
            }
            let mut lanes = [0.0; MAX_LANES];
            s.store(may_change, &mut lanes);
            for (lane, may_change) in lanes[..S::LANES.min(count - first)].iter().enumerate() {
                undone[undone_count] = first + lane;
                undone_count += usize::from(*may_change != 0.0);
            }
        }
        for undone in undone[..undone_count].chunks(S::LANES) {
            // Lanes past the last sub-block repeat it.
            let mut subs = [undone[undone.len() - 1]; MAX_LANES];
            subs[..undone.len()].copy_from_slice(undone);
            let mut found = [s.splat_i(0); SUB];
            let scale = search::symmetric_in_rounds(s, 4, &columns(s, blocks, &subs), &mut found);
            let mut scales = [0.0; MAX_LANES];
            s.store(scale, &mut scales);
            for (&sub, scale) in undone.iter().zip(scales) {
                self.scale[sub] = scale;
            }
            for (q, quants) in found.into_iter().zip(&mut self.quants) {
                let mut lanes = [0; MAX_LANES];
                s.store_u8(q, &mut lanes);
                for (&sub, q) in undone.iter().zip(lanes) {
                    quants[sub] = q;
                }
            }
        }
    }

    /// Searches with a row's importance. `first_block` is the position of the group among the super-blocks of all rows.
    #[inline(always)]
    fn search_weighted<S: Simd>(
        &mut self,
        s: S,
        blocks: &[[f32; LEN]],
        importance: &[f32],
        first_block: usize,
    ) {
        let importance = Importance::new(importance, first_block * SUBS);
        let mut mean_squares = [0.0; GROUP];
        for (mean, block) in mean_squares.iter_mut().zip(blocks) {
            *mean = 2.0 * block.iter().fold(0.0, |sum, x| sum + x * x) / LEN as f32;
        }
        for first in (0..blocks.len() * SUBS).step_by(S::LANES) {
            let subs = search::in_lanes(first..blocks.len() * SUBS);
            let x = columns(s, blocks.as_flattened().as_chunks::<SUB>().0, &subs);
            let weights = importance.weigh(s, &subs, in_common(s, &mean_squares, SUBS, &subs), &x);
            let mut sum_of_weights = s.splat(0.0);
            for &weight in &weights {
                sum_of_weights = s.add(sum_of_weights, weight);
            }
            let found = search::symmetric(s, 4, &x, &weights);
            s.store(found.scale, &mut self.scale[first..]);
            s.store(sum_of_weights, &mut self.sum_of_weights[first..]);
            let quants = search::symmetric_quants(s, 4, &x, found.inverse);
            for (q, quants) in quants.into_iter().zip(&mut self.quants) {
                s.store_u8(q, &mut quants[first..]);
            }
        }
    }
}

/// The super-blocks' scales as integers, biased by 32, and the scales of these.
struct Fitted {
    d: [f32; GROUP],
    scales: [[u8; SUBS]; GROUP],
}

impl Fitted {
    const NONE: Fitted = Fitted { d: [0.0; GROUP], scales: [[0; SUBS]; GROUP] };

    /// Fits without importance: a super-block's scale of greatest magnitude becomes -32.
    #[inline(always)]
    fn against_greatest(found: &Found) -> Fitted {
        let mut fitted = Fitted::NONE;
        for (i, sub_scales) in found.scale.as_chunks::<SUBS>().0.iter().enumerate() {
            let greatest = search::greatest(sub_scales);
            if greatest != 0.0 {
                let inverse = -32.0 / greatest;
                for (scale, sub_scale) in fitted.scales[i].iter_mut().zip(sub_scales) {
                    // ggml truncates to a byte first.
                    let q = nearest(inverse * sub_scale) as i8;
                    *scale = (q.clamp(-32, 31) + 32) as u8;
                }
                fitted.d[i] = 1.0 / inverse;
            }
        }
        fitted
    }

    /// Fits with importance: a search, weighted with the sub-blocks' sums of weights, for the first `count`
    /// super-blocks, with one in each lane.
    #[inline(always)]
    fn search<S: Simd>(s: S, found: &Found, count: usize) -> Fitted {
        let mut fitted = Fitted::NONE;
        for first in (0..count).step_by(S::LANES) {
            let places = search::in_lanes(first..GROUP);
            let x = columns(s, found.scale.as_chunks::<SUBS>().0, &places);
            let weights = columns(s, found.sum_of_weights.as_chunks::<SUBS>().0, &places);
            let scale = search::symmetric_of_any(s, 32, &x, &weights);
            s.store(scale.scale, &mut fitted.d[first..]);
            let quants = search::symmetric_quants(s, 32, &x, scale.inverse);
            for (sub, q) in quants.into_iter().enumerate() {
                let mut lanes = [0; MAX_LANES];
                s.store_u8(q, &mut lanes);
                for (scales, &lane) in fitted.scales[first..].iter_mut().zip(&lanes[..S::LANES]) {
                    scales[sub] = lane;
                }
            }
        }
        fitted
    }
}

impl Quants for Q3_K {
    const RANGE: Range = Range::Four;
    const BIAS: i32 = 4;

    #[inline(always)]
    fn unit<D: Bytes>(d: D, block: &BlockQ3_K, unit: usize) -> D::B {
        let low = two_bits(d, chunk(d, &block.qs, unit / 4), unit % 4);
        d.or_b(low, bit::<D, 2>(d, d.load_b(&block.hmask), unit))
    }
}

impl SuperBlocks for Q3_K {
    const GROUP: usize = 16;
    const SCALE_BIAS: i32 = 32;

    #[inline(always)]
    fn d(block: &BlockQ3_K) -> [u8; 2] {
        block.d
    }
    #[inline(always)]
    fn group_scales(block: &BlockQ3_K) -> [u64; 2] {
        halves(&unpack_scales(&block.scales))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_unpacks() {
        for value in 0..64 {
            for at in 0..SUBS {
                let mut scales = [21; SUBS];
                scales[at] = value;
                assert_eq!(unpack_scales(&pack_scales(&scales)), scales);
            }
        }
    }
}
