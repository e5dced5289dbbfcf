//! Q4_K: super-blocks of 256 values in 144 bytes, with a 6-bit scale and min for each 32 values.

use bytemuck::{Pod, Zeroable};

use super::format::{Codec, Number, Rows, block_format};
use super::scale_search::{self, Steps};
use super::{k_scales, nibbles};
use crate::Float;
use crate::simd::{MAX_LANES, Simd, f32_to_f16, nearest};

/// A super-block of [`Q4_K`]: `value[i] = d * scale[i / 32] * q[i] - dmin * min[i / 32]`, 4.5 bits per weight.
///
/// ```text
/// byte  0    2      4            16                                              144
///       | d  | dmin | scales 12B | q32 q0 … q63 q31 | q96 q64 … | …   … q255 q223 |
///       f16   f16     eight 6-bit  32 bytes for each 64 values: high nibble the
///                     scales and   second half of them, low nibble the first
///                     eight mins
/// ```
#[allow(non_camel_case_types, reason = "the field's name")]
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[allow(clippy::exhaustive_structs, reason = "the layout is the file's")]
pub struct BlockQ4_K {
    /// The scale of the scales, an f16 in little-endian bytes.
    pub d: [u8; 2],
    /// The scale of the mins, an f16 in little-endian bytes.
    pub dmin: [u8; 2],
    /// The sub-blocks' scales and mins, 6 bits each.
    pub scales: [u8; 12],
    /// The quants, two to a byte.
    pub qs: [u8; 128],
}

block_format! {
    /// The format of [`BlockQ4_K`].
    Q4_K, BlockQ4_K
}

const LEN: usize = 256;
/// Values in a sub-block, which share a scale and a min.
const SUB: usize = 32;
const SUBS: usize = LEN / SUB;

impl Codec for Q4_K {
    const NUMBERS: &'static [Number] = &[Number { at: 0, width: 2 }, Number { at: 2, width: 2 }];

    #[inline(always)]
    fn dequantize<S: Simd, T: Float>(s: S, blocks: &[BlockQ4_K], out: &mut [T]) {
        for (block, out) in blocks.iter().zip(out.as_chunks_mut::<LEN>().0) {
            let (d, dmin) = (s.widen_f16(block.d), s.widen_f16(block.dmin));
            let (scales, mins) = k_scales::unpack(&block.scales);
            let pairs = block.qs.as_chunks::<SUB>().0.iter().zip(out.as_chunks_mut::<{ 2 * SUB }>().0);
            for (pair, (qs, out)) in pairs.enumerate() {
                let scale_and_min =
                    |sub: usize| (s.splat(d * f32::from(scales[sub])), s.splat(dmin * f32::from(mins[sub])));
                let (low_scale, low_min) = scale_and_min(2 * pair);
                let (high_scale, high_min) = scale_and_min(2 * pair + 1);
                for at in (0..SUB).step_by(S::LANES) {
                    let (low, high) = nibbles::unpack(s, &qs[at..]);
                    T::put(s, s.sub(s.mul(low_scale, s.to_float(low)), low_min), &mut out[at..]);
                    T::put(s, s.sub(s.mul(high_scale, s.to_float(high)), high_min), &mut out[SUB + at..]);
                }
            }
        }
    }

    /// Searches a scale and a min for each sub-block, quantizes these to 6 bits, and quantizes the values with
    /// what came of it. A sub-block whose 6-bit scale is 0 keeps the search's quants, as in ggml.
    #[inline(always)]
    fn quantize<S: Simd>(s: S, rows: Rows<'_>, out: &mut [BlockQ4_K]) {
        let x = rows.values.as_chunks::<LEN>().0;
        // As many super-blocks at once as fill the widest vector with a sub-block in each lane.
        const AT_ONCE: usize = MAX_LANES / SUBS;
        for (group, (x, out)) in x.chunks(AT_ONCE).zip(out.chunks_mut(AT_ONCE)).enumerate() {
            let importance = rows.importance.map(|importance| {
                let blocks_per_row = rows.row_len / LEN;
                move |block: usize| &importance[(group * AT_ONCE + block) % blocks_per_row * LEN..][..LEN]
            });
            let found = SubBlocks::search(s, x, importance);
            for (i, (x, block)) in x.iter().zip(out).enumerate() {
                let first = i * SUBS;
                let scales = fit_scales(&found, first, rows.importance.is_some());
                block.d = f32_to_f16(scales.d).to_le_bytes();
                block.dmin = f32_to_f16(scales.dmin).to_le_bytes();
                block.scales = k_scales::pack(&scales.scales, &scales.mins);
                // What a reader will see, which differs where a scale was above 63.
                let (scales, mins) = k_scales::unpack(&block.scales);
                let (d, dmin) = (s.widen_f16(block.d), s.widen_f16(block.dmin));
                for (pair, qs) in block.qs.as_chunks_mut::<SUB>().0.iter_mut().enumerate() {
                    for at in (0..SUB).step_by(S::LANES) {
                        let mut nibbles = [s.splat_i(0); 2];
                        for (half, nibble) in nibbles.iter_mut().enumerate() {
                            let sub = 2 * pair + half;
                            let x = s.load(&x[SUB * sub + at..]);
                            let scale = d * f32::from(scales[sub]);
                            let scaled = if scale != 0.0 {
                                let min = dmin * f32::from(mins[sub]);
                                s.div(s.add(x, s.splat(min)), s.splat(scale))
                            } else {
                                let (inverse, base) = (found.inverse[first + sub], found.base[first + sub]);
                                s.mul(s.splat(inverse), s.sub(x, s.splat(base)))
                            };
                            *nibble = s.nearest_within(scaled, 0, 15);
                        }
                        nibbles::pack(s, nibbles[0], nibbles[1], &mut qs[at..]);
                    }
                }
            }
        }
    }
}

/// What the search found for the sub-blocks of up to [`MAX_LANES`]` / 8` super-blocks, in order.
struct SubBlocks {
    scale: [f32; MAX_LANES],
    /// Negated, so not below 0.
    min: [f32; MAX_LANES],
    inverse: [f32; MAX_LANES],
    base: [f32; MAX_LANES],
    sum_of_weights: [f32; MAX_LANES],
}

impl SubBlocks {
    /// A sub-block in each lane. `importance` gives a super-block's 256 weights.
    #[inline(always)]
    fn search<'a, S: Simd>(
        s: S,
        blocks: &[[f32; LEN]],
        importance: Option<impl Fn(usize) -> &'a [f32]>,
    ) -> SubBlocks {
        let [scale, min, inverse, base, sum_of_weights] = [[0.0; MAX_LANES]; 5];
        let mut found = SubBlocks { scale, min, inverse, base, sum_of_weights };
        let mut mean_squares = [0.0; MAX_LANES / SUBS];
        if importance.is_some() {
            for (mean, block) in mean_squares.iter_mut().zip(blocks) {
                *mean = 2.0 * block.iter().fold(0.0, |sum, x| sum + x * x) / LEN as f32;
            }
        }
        for first in (0..blocks.len() * SUBS).step_by(S::LANES) {
            // Lanes beyond the last sub-block repeat it.
            let sub_of = |lane: usize| (first + lane).min(blocks.len() * SUBS - 1);
            let mut x = [s.splat(0.0); SUB];
            for (i, x) in x.iter_mut().enumerate() {
                *x = s.gather(|lane| blocks[sub_of(lane) / SUBS][sub_of(lane) % SUBS * SUB + i]);
            }
            let mut weights = x;
            let steps = match &importance {
                None => {
                    let mut sum = s.splat(0.0);
                    for &x in &x {
                        sum = s.add(sum, s.mul(x, x));
                    }
                    let root_mean_square = s.sqrt(s.div(sum, s.splat(SUB as f32)));
                    for weight in &mut weights {
                        *weight = s.add(root_mean_square, s.abs(*weight));
                    }
                    Steps::PLAIN
                }
                Some(importance) => {
                    let mean_square = s.gather(|lane| mean_squares[sub_of(lane) / SUBS]);
                    for (i, weight) in weights.iter_mut().enumerate() {
                        let importance =
                            s.gather(|lane| importance(sub_of(lane) / SUBS)[sub_of(lane) % SUBS * SUB + i]);
                        *weight = s.mul(importance, s.sqrt(s.add(mean_square, s.mul(x[i], x[i]))));
                    }
                    Steps::WITH_IMPORTANCE
                }
            };
            let mut sum_of_weights = s.splat(0.0);
            for &weight in &weights {
                sum_of_weights = s.add(sum_of_weights, weight);
            }
            let sub = scale_search::asymmetric(s, 15, steps, &x, &weights);
            s.store(sub.scale, &mut found.scale[first..]);
            s.store(s.mul(sub.min, s.splat(-1.0)), &mut found.min[first..]);
            s.store(sub.inverse, &mut found.inverse[first..]);
            s.store(sub.base, &mut found.base[first..]);
            s.store(sum_of_weights, &mut found.sum_of_weights[first..]);
        }
        found
    }
}

/// A super-block's scales and mins as integers, and the scales of these.
struct Scales {
    d: f32,
    dmin: f32,
    scales: [u8; SUBS],
    mins: [u8; SUBS],
}

/// Quantizes the scales and mins of the super-block whose sub-blocks begin at `first`: against the greatest of
/// them, or with importance by a search of their own, weighted with the sub-blocks' sums of weights.
fn fit_scales(found: &SubBlocks, first: usize, with_importance: bool) -> Scales {
    let of_block = |all: &[f32; MAX_LANES]| -> [f32; SUBS] { std::array::from_fn(|sub| all[first + sub]) };
    let (scale, min) = (of_block(&found.scale), of_block(&found.min));
    let [mut scales, mut mins] = [[0; SUBS]; 2];
    if with_importance {
        let weights = of_block(&found.sum_of_weights);
        let d = scale_search::positive(63, &scale, &weights, &mut scales);
        let dmin = scale_search::positive(63, &min, &weights, &mut mins);
        return Scales { d, dmin, scales, mins };
    }
    let against_greatest = |values: &[f32; SUBS], quants: &mut [u8; SUBS]| {
        let greatest = values.iter().fold(0.0, |max, &value| if value > max { value } else { max });
        let inverse = if greatest > 0.0 { 63.0 / greatest } else { 0.0 };
        for (quant, value) in quants.iter_mut().zip(values) {
            *quant = (nearest(inverse * value) as u8).min(63);
        }
        greatest / 63.0
    };
    let d = against_greatest(&scale, &mut scales);
    let dmin = against_greatest(&min, &mut mins);
    Scales { d, dmin, scales, mins }
}
