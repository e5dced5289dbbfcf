//! Q4_K: super-blocks of 256 values in 144 bytes, with a 6-bit scale and min for each 32 values.

use bytemuck::{Pod, Zeroable};

use super::format::{Codec, Number, Rows, block_format};
use super::scale_search::{self, Steps};
use super::{k_scales, nibbles};
use crate::Float;
use crate::simd::{MAX_LANES, Simd, nearest};

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
            let (scales, mins) = scales_and_mins(s, block);
            let pairs = block.qs.as_chunks::<SUB>().0.iter().zip(out.as_chunks_mut::<{ 2 * SUB }>().0);
            for (pair, (qs, out)) in pairs.enumerate() {
                let (low_scale, high_scale) = (s.splat(scales[2 * pair]), s.splat(scales[2 * pair + 1]));
                let (low_min, high_min) = (s.splat(mins[2 * pair]), s.splat(mins[2 * pair + 1]));
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
        let importance = rows.importance.map(|importance| importance.as_chunks::<LEN>().0);
        for (group, (x, out)) in x.chunks(GROUP).zip(out.chunks_mut(GROUP)).enumerate() {
            let found = SubBlocks::search(s.wide(), x, importance, group * GROUP);
            let scales = match importance {
                None => Scales::against_greatest(&found),
                Some(_) => Scales::search(s, &found, x.len()),
            };
            for (i, (x, block)) in x.iter().zip(out).enumerate() {
                block.d = s.narrow_f16(scales.d[i]);
                block.dmin = s.narrow_f16(scales.dmin[i]);
                block.scales = k_scales::pack(&scales.scales[i], &scales.mins[i]);
                quantize_with_scales(s, x, &found, i * SUBS, block);
            }
        }
    }
}

/// `d * scale` and `dmin * min` of each sub-block.
#[inline(always)]
fn scales_and_mins<S: Simd>(s: S, block: &BlockQ4_K) -> ([f32; SUBS], [f32; SUBS]) {
    // Scales and mins side by side, so that the widest vector is filled; each product is taken of all 16, and half
    // of them is used.
    let (scales, mins) = k_scales::unpack(&block.scales);
    let mut both = [0u8; 2 * SUBS];
    both[..SUBS].copy_from_slice(&scales);
    both[SUBS..].copy_from_slice(&mins);
    let (d, dmin) = (s.splat_f16(block.d), s.splat_f16(block.dmin));
    let [mut by_d, mut by_dmin] = [[0.0; 2 * SUBS]; 2];
    for at in (0..2 * SUBS).step_by(S::LANES) {
        let factor = s.to_float(s.load_u8(&both[at..]));
        s.store(s.mul(d, factor), &mut by_d[at..]);
        s.store(s.mul(dmin, factor), &mut by_dmin[at..]);
    }
    (std::array::from_fn(|sub| by_d[sub]), std::array::from_fn(|sub| by_dmin[SUBS + sub]))
}

/// Super-blocks that are quantized together: as many as fill the widest vector with one in each lane.
const GROUP: usize = MAX_LANES;

/// Quantizes a super-block's values with the scales that it has. `first` is its first sub-block in `found`.
#[inline(always)]
fn quantize_with_scales<S: Simd>(
    s: S,
    x: &[f32; LEN],
    found: &SubBlocks,
    first: usize,
    block: &mut BlockQ4_K,
) {
    // What a reader will see, which differs from what was packed where a scale was above 63.
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

/// What the search found for the sub-blocks of a group of super-blocks, in order.
struct SubBlocks {
    scale: [f32; GROUP * SUBS],
    /// Negated, so not below 0.
    min: [f32; GROUP * SUBS],
    inverse: [f32; GROUP * SUBS],
    base: [f32; GROUP * SUBS],
    sum_of_weights: [f32; GROUP * SUBS],
}

impl SubBlocks {
    /// A sub-block in each lane. `importance` is a row's, by super-block; `first_block` is where the group begins
    /// among all rows' super-blocks.
    #[inline(always)]
    fn search<S: Simd>(
        s: S,
        blocks: &[[f32; LEN]],
        importance: Option<&[[f32; LEN]]>,
        first_block: usize,
    ) -> SubBlocks {
        let [scale, min, inverse, base, sum_of_weights] = [[0.0; GROUP * SUBS]; 5];
        let mut found = SubBlocks { scale, min, inverse, base, sum_of_weights };
        let mut mean_squares = [0.0; GROUP];
        if importance.is_some() {
            for (mean, block) in mean_squares.iter_mut().zip(blocks) {
                *mean = 2.0 * block.iter().fold(0.0, |sum, x| sum + x * x) / LEN as f32;
            }
        }
        for first in (0..blocks.len() * SUBS).step_by(S::LANES) {
            // Lanes beyond the last sub-block repeat it.
            let subs: [usize; MAX_LANES] =
                std::array::from_fn(|lane| (first + lane).min(blocks.len() * SUBS - 1));
            let x = s.columns(&subs.map(|sub| &blocks[sub / SUBS].as_chunks::<SUB>().0[sub % SUBS]));
            let mut weights = x;
            let steps = match importance {
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
                    let mean_square = s.gather(|lane| mean_squares[subs[lane] / SUBS]);
                    weights = s.columns(&subs.map(|sub| {
                        let block = &importance[(first_block + sub / SUBS) % importance.len()];
                        &block.as_chunks::<SUB>().0[sub % SUBS]
                    }));
                    for (weight, &x) in weights.iter_mut().zip(&x) {
                        *weight = s.mul(*weight, s.sqrt(s.add(mean_square, s.mul(x, x))));
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

/// The super-blocks' scales and mins as integers, and the scales of these.
struct Scales {
    d: [f32; GROUP],
    dmin: [f32; GROUP],
    scales: [[u8; SUBS]; GROUP],
    mins: [[u8; SUBS]; GROUP],
}

impl Scales {
    const NONE: Scales =
        Scales { d: [0.0; GROUP], dmin: [0.0; GROUP], scales: [[0; SUBS]; GROUP], mins: [[0; SUBS]; GROUP] };

    /// Without importance: 63 is the greatest of a super-block.
    #[inline(always)]
    fn against_greatest(found: &SubBlocks) -> Scales {
        let fit = |values: &[f32; SUBS], quants: &mut [u8; SUBS]| {
            let greatest = values.iter().fold(0.0, |max, &value| if value > max { value } else { max });
            let inverse = if greatest > 0.0 { 63.0 / greatest } else { 0.0 };
            for (quant, value) in quants.iter_mut().zip(values) {
                *quant = (nearest(inverse * value) as u8).min(63);
            }
            greatest / 63.0
        };
        let mut fitted = Scales::NONE;
        let (scale, min) = (found.scale.as_chunks::<SUBS>().0, found.min.as_chunks::<SUBS>().0);
        for i in 0..GROUP {
            fitted.d[i] = fit(&scale[i], &mut fitted.scales[i]);
            fitted.dmin[i] = fit(&min[i], &mut fitted.mins[i]);
        }
        fitted
    }

    /// With importance: a search of its own, weighted with the sub-blocks' sums of weights, for the first `count`
    /// super-blocks, one in each lane.
    #[inline(always)]
    fn search<S: Simd>(s: S, found: &SubBlocks, count: usize) -> Scales {
        let mut fitted = Scales::NONE;
        for first in (0..count).step_by(S::LANES) {
            let mut weights = [s.splat(0.0); SUBS];
            for (sub, weight) in weights.iter_mut().enumerate() {
                *weight = s.gather(|lane| found.sum_of_weights[(first + lane) * SUBS + sub]);
            }
            for (values, d, quants) in [
                (&found.scale, &mut fitted.d, &mut fitted.scales),
                (&found.min, &mut fitted.dmin, &mut fitted.mins),
            ] {
                let mut x = weights;
                for (sub, x) in x.iter_mut().enumerate() {
                    *x = s.gather(|lane| values[(first + lane) * SUBS + sub]);
                }
                let positive = scale_search::positive(s, 63, &x, &weights);
                s.store(positive.scale, &mut d[first..]);
                for (sub, q) in positive.quants.into_iter().enumerate() {
                    let mut lanes = [0; MAX_LANES];
                    s.store_u8(q, &mut lanes);
                    for lane in 0..S::LANES {
                        quants[first + lane][sub] = lanes[lane];
                    }
                }
            }
        }
        fitted
    }
}
