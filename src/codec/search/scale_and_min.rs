//! Code shared by Q2_K, Q4_K and Q5_K: super-blocks of 256 values whose sub-blocks each have a scale and a min. These
//! are small integers, for which the super-block has two scales of its own: `value = d * scale * q - dmin * min`.

use crate::codec::format::{Codec, Rows};
use crate::codec::search::asymmetric::Steps;
use crate::codec::search::columns::{Importance, in_common};
use crate::codec::search::{self, columns};
use crate::simd::{MAX_LANES, Shared, Simd, nearest};

/// The number of values in a super-block.
pub(in crate::codec) const LEN: usize = 256;

/// The scales and mins of a super-block's `SUBS` sub-blocks, and the scales of these.
pub(in crate::codec) struct Scales<const SUBS: usize> {
    /// An f16 in little-endian bytes.
    pub(in crate::codec) d: [u8; 2],
    /// An f16 in little-endian bytes.
    pub(in crate::codec) dmin: [u8; 2],
    pub(in crate::codec) scales: [u8; SUBS],
    pub(in crate::codec) mins: [u8; SUBS],
}

impl<const SUBS: usize> Scales<SUBS> {
    /// Returns `d * scale` and `dmin * min` of each sub-block.
    #[inline(always)]
    pub(in crate::codec) fn products<S: Simd>(&self, s: S) -> ([f32; SUBS], [f32; SUBS]) {
        const { assert!(SUBS <= MAX_LANES / 2) };
        // Both are placed side by side to fill the widest vector. If it has more lanes than there are scales, each
        // product is computed for both, and half of the results are used.
        let mut both = [0u8; MAX_LANES];
        both[..SUBS].copy_from_slice(&self.scales);
        both[SUBS..2 * SUBS].copy_from_slice(&self.mins);
        let (d, dmin) = (s.splat_f16(self.d), s.splat_f16(self.dmin));
        let [mut by_d, mut by_dmin] = [[0.0; MAX_LANES]; 2];
        for at in (0..2 * SUBS).step_by(S::LANES) {
            let factor = s.to_float(s.load_u8(&both[at..]));
            if at < SUBS {
                s.store(s.mul(d, factor), &mut by_d[at..]);
            }
            if at + S::LANES > SUBS {
                s.store(s.mul(dmin, factor), &mut by_dmin[at..]);
            }
        }
        (core::array::from_fn(|sub| by_d[sub]), core::array::from_fn(|sub| by_dmin[SUBS + sub]))
    }
}

/// A format with a scale and a min for each of its `SUBS` sub-blocks of `SUB` values.
pub(in crate::codec) trait ScaleAndMin<const SUB: usize, const SUBS: usize>: Codec {
    /// The greatest quant of a value.
    const LEVELS: i32;
    /// The greatest quant of a scale or min.
    const SCALE_LEVELS: i32;
    /// The limits to which quants of scales and mins are clamped, without importance and with it. ggml clamps only in
    /// some places. If sums overflow, or a scale is negative, its searches return quants outside the requested range.
    const CUT: [u8; 2];
    /// The search without importance.
    const STEPS: Steps;
    /// With importance, the factor of the super-block's mean square, which is added to the square of each value to weight it.
    const MEAN_SQUARES: f32;

    /// The weights of a sub-block's values without importance.
    const WEIGHTS: Weights;
    /// Stores the scales.
    fn put_scales(block: &mut Self::Block, scales: &Scales<SUBS>);
    /// Returns the scales as a reader sees them. They differ from those stored if one did not fit.
    fn scales(block: &Self::Block) -> Scales<SUBS>;
    /// Stores the quants, `0..=LEVELS`.
    fn put_quants<S: Simd>(s: S, block: &mut Self::Block, quants: &[u8; LEN]);
}

/// The weights of values without importance.
#[derive(Clone, Copy)]
pub(in crate::codec) enum Weights {
    /// Their magnitude.
    Magnitudes,
    /// Their magnitude plus the root mean square of the sub-block.
    MagnitudesAboveMean,
}

impl Weights {
    #[inline(always)]
    fn of<S: Simd, const SUB: usize>(self, s: S, x: &[S::F; SUB]) -> [S::F; SUB] {
        let root_mean_square = match self {
            Weights::Magnitudes => None,
            Weights::MagnitudesAboveMean => {
                let mut sum = s.splat(0.0);
                for &x in x {
                    sum = s.add(sum, s.mul(x, x));
                }
                Some(s.sqrt(s.div(sum, s.splat(SUB as f32))))
            }
        };
        let mut weights = *x;
        for weight in &mut weights {
            *weight = s.abs(*weight);
        }
        if let Some(root_mean_square) = root_mean_square {
            for weight in &mut weights {
                *weight = s.add(root_mean_square, *weight);
            }
        }
        weights
    }
}

/// The number of super-blocks that are quantized together, which fill the widest vector with one in each lane.
const GROUP: usize = MAX_LANES;

/// Searches a scale and a min for each sub-block, quantizes these, and quantizes the values with the result. A
/// sub-block whose quantized scale is 0 keeps the search's quants, as in ggml.
#[inline(always)]
pub(in crate::codec) fn quantize<S: Simd, C: ScaleAndMin<SUB, SUBS>, const SUB: usize, const SUBS: usize>(
    s: S,
    rows: Rows<'_>,
    out: &mut [C::Block],
) {
    let x = rows.values.as_chunks::<LEN>().0;
    let cut = C::CUT[usize::from(rows.importance.is_some())];
    for (group, (x, out)) in x.chunks(GROUP).zip(out.chunks_mut(GROUP)).enumerate() {
        let search = Search::<SUB, SUBS> {
            levels: C::LEVELS,
            steps: C::STEPS,
            weights: C::WEIGHTS,
            mean_squares: C::MEAN_SQUARES,
            blocks: x,
            importance: rows.importance,
            first_block: group * GROUP,
        };
        let found = s.wide().shared(search);
        let fitted = match rows.importance {
            None => Fitted::against_greatest(&found, C::SCALE_LEVELS),
            Some(_) => s.wide().shared(Fit { found: &found, levels: C::SCALE_LEVELS, count: x.len() }),
        };
        for (i, (x, block)) in x.iter().zip(out).enumerate() {
            let scales = Scales {
                d: s.narrow_f16(fitted.d[i]),
                dmin: s.narrow_f16(fitted.dmin[i]),
                scales: fitted.scales[i].map(|scale| scale.min(cut)),
                mins: fitted.mins[i].map(|min| min.min(cut)),
            };
            C::put_scales(block, &scales);
            let scales = C::scales(block);
            let quants =
                s.shared(Quants::<SUB, SUBS> { levels: C::LEVELS, x, scales: &scales, found: &found, at: i });
            C::put_quants(s, block, &quants);
        }
    }
}

/// The quants for a super-block's scales. The super-block is the `at`-th in `found`.
struct Quants<'a, const SUB: usize, const SUBS: usize> {
    levels: i32,
    x: &'a [f32; LEN],
    scales: &'a Scales<SUBS>,
    found: &'a Found<SUBS>,
    at: usize,
}

impl<S: Simd, const SUB: usize, const SUBS: usize> Shared<S> for Quants<'_, SUB, SUBS> {
    type Output = [u8; LEN];

    #[inline(always)]
    fn run(self, s: S) -> [u8; LEN] {
        let Quants { levels, x, scales, found, at } = self;
        let (d, dmin) = (s.widen_f16(scales.d), s.widen_f16(scales.dmin));
        let mut quants = [0u8; LEN];
        let subs = x.as_chunks::<SUB>().0.iter().zip(quants.as_chunks_mut::<SUB>().0);
        for (sub, (x, quants)) in subs.enumerate() {
            let scale = d * f32::from(scales.scales[sub]);
            let min = dmin * f32::from(scales.mins[sub]);
            let (inverse, base) = (found.inverse[at][sub], found.base[at][sub]);
            for at in (0..SUB).step_by(S::LANES) {
                let x = s.load(&x[at..]);
                let scaled = if scale != 0.0 {
                    s.div(s.add(x, s.splat(min)), s.splat(scale))
                } else {
                    s.mul(s.splat(inverse), s.sub(x, s.splat(base)))
                };
                s.store_u8(s.nearest_within(scaled, 0, levels), &mut quants[at..]);
            }
        }
        quants
    }
}

/// What the search found for the sub-blocks of a group of super-blocks.
struct Found<const SUBS: usize> {
    scale: [[f32; SUBS]; GROUP],
    /// Negated, so at least 0.
    min: [[f32; SUBS]; GROUP],
    inverse: [[f32; SUBS]; GROUP],
    base: [[f32; SUBS]; GROUP],
    sum_of_weights: [[f32; SUBS]; GROUP],
}

/// The search for the scales and mins of a group's sub-blocks, one in each lane.
struct Search<'a, const SUB: usize, const SUBS: usize> {
    levels: i32,
    steps: Steps,
    weights: Weights,
    mean_squares: f32,
    blocks: &'a [[f32; LEN]],
    /// The importance of a row.
    importance: Option<&'a [f32]>,
    /// The position of the group among the super-blocks of all rows.
    first_block: usize,
}

impl<S: Simd, const SUB: usize, const SUBS: usize> Shared<S> for Search<'_, SUB, SUBS> {
    type Output = Found<SUBS>;

    #[inline(always)]
    fn run(self, s: S) -> Found<SUBS> {
        let Search { blocks, importance, first_block, .. } = self;
        let [scale, min, inverse, base, sum_of_weights] = [[[0.0; SUBS]; GROUP]; 5];
        let mut found = Found { scale, min, inverse, base, sum_of_weights };
        let mut mean_squares = [0.0; GROUP];
        if importance.is_some() {
            for (mean, block) in mean_squares.iter_mut().zip(blocks) {
                *mean = self.mean_squares * block.iter().fold(0.0, |sum, x| sum + x * x) / LEN as f32;
            }
        }
        for first in (0..blocks.len() * SUBS).step_by(S::LANES) {
            let subs = search::in_lanes(first..blocks.len() * SUBS);
            let x = columns(s, blocks.as_flattened().as_chunks::<SUB>().0, &subs);
            let (weights, steps) = match importance {
                None => (self.weights.of(s, &x), self.steps),
                Some(importance) => {
                    let importance = Importance::new(importance, first_block * SUBS);
                    let mean_squares = in_common(s, &mean_squares, SUBS, &subs);
                    (importance.weigh(s, &subs, mean_squares, &x), Steps::WITH_IMPORTANCE)
                }
            };
            let mut sum_of_weights = s.splat(0.0);
            for &weight in &weights {
                sum_of_weights = s.add(sum_of_weights, weight);
            }
            let sub = search::asymmetric(s, self.levels, steps, &x, &weights);
            s.store(sub.scale, &mut found.scale.as_flattened_mut()[first..]);
            s.store(s.mul(sub.min, s.splat(-1.0)), &mut found.min.as_flattened_mut()[first..]);
            s.store(sub.inverse, &mut found.inverse.as_flattened_mut()[first..]);
            s.store(sub.base, &mut found.base.as_flattened_mut()[first..]);
            s.store(sum_of_weights, &mut found.sum_of_weights.as_flattened_mut()[first..]);
        }
        found
    }
}

/// The super-blocks' scales and mins as integers, and the scales of these.
struct Fitted<const SUBS: usize> {
    d: [f32; GROUP],
    dmin: [f32; GROUP],
    scales: [[u8; SUBS]; GROUP],
    mins: [[u8; SUBS]; GROUP],
}

impl<const SUBS: usize> Fitted<SUBS> {
    const NONE: Self =
        Fitted { d: [0.0; GROUP], dmin: [0.0; GROUP], scales: [[0; SUBS]; GROUP], mins: [[0; SUBS]; GROUP] };

    /// Fits without importance: the greatest in a super-block becomes the greatest quant. Keeps the low bytes, as in ggml.
    fn against_greatest(found: &Found<SUBS>, levels: i32) -> Self {
        let levels = levels as f32;
        let fit = |values: &[f32; SUBS], quants: &mut [u8; SUBS]| {
            let greatest = values.iter().fold(0.0, |max, &value| if value > max { value } else { max });
            let inverse = if greatest > 0.0 { levels / greatest } else { 0.0 };
            for (quant, value) in quants.iter_mut().zip(values) {
                *quant = nearest(inverse * value) as u8;
            }
            greatest / levels
        };
        let mut fitted = Self::NONE;
        for i in 0..GROUP {
            fitted.d[i] = fit(&found.scale[i], &mut fitted.scales[i]);
            fitted.dmin[i] = fit(&found.min[i], &mut fitted.mins[i]);
        }
        fitted
    }
}

/// Fits with importance: another search, weighted with the sub-blocks' sums of weights, for the first `count` super-blocks,
/// with one in each lane.
struct Fit<'a, const SUBS: usize> {
    found: &'a Found<SUBS>,
    levels: i32,
    count: usize,
}

impl<S: Simd, const SUBS: usize> Shared<S> for Fit<'_, SUBS> {
    type Output = Fitted<SUBS>;

    #[inline(always)]
    fn run(self, s: S) -> Fitted<SUBS> {
        let Fit { found, levels, count } = self;
        let mut fitted = Fitted::NONE;
        for first in (0..count).step_by(S::LANES) {
            let places = search::in_lanes(first..GROUP);
            let weights = columns(s, &found.sum_of_weights, &places);
            for (values, d, quants) in [
                (&found.scale, &mut fitted.d, &mut fitted.scales),
                (&found.min, &mut fitted.dmin, &mut fitted.mins),
            ] {
                let (x, mut found) = (columns(s, values, &places), [s.splat_i(0); SUBS]);
                s.store(search::positive(s, levels, &x, &weights, &mut found), &mut d[first..]);
                for (sub, q) in found.into_iter().enumerate() {
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
