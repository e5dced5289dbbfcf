//! IQ2_XXS: super-blocks of 256 values in 66 bytes, with a grid index and seven signs for each 8 values.

use bytemuck::{Pod, Zeroable};

use crate::codec::float::Float;
use crate::codec::format::{Codec, Rows, block_format};
use crate::codec::grid::{self, Prepared, Refit, Search, Trials, Weighting};
use crate::codec::number::Number;
use crate::codec::operand::{Quants, SuperBlocks, eight_units};
use crate::codec::search::{self, LEAST_MAGNITUDE};
use crate::simd::{Bytes, MAX_LANES, Range, Simd};

/// A super-block of [`IQ2_XXS`]: `value[i] = d * (scale[i / 32] + 1/2) / 4 * ±grid[index[i / 8]][i % 8]`,
/// 2.0625 bits per weight.
///
/// ```text
/// byte  0    2                                  66
///       | d  | qs: eight bytes for each 32      |
///       f16
/// for each 32 values:
/// byte  0                 4                                  8
///       | i0 | i1 | i2 | i3 | signs 4×7b, scale 4b at the top |
///         grid indices        one number of 32 bits; 1 is minus
/// ```
///
/// The grid has 256 points of the magnitudes 8, 25 and 43. Seven signs of eight are stored: the number of minus signs
/// is even.
#[allow(non_camel_case_types, reason = "the field's name")]
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[allow(clippy::exhaustive_structs, reason = "the layout is the file's")]
pub struct BlockIQ2_XXS {
    /// The scale of the scales, an f16 in little-endian bytes.
    pub d: [u8; 2],
    /// Grid indices, signs and scales. In ggml, and in big-endian files, these are 16-bit numbers.
    pub qs: [[u8; 2]; 32],
}

block_format! {
    /// The format of [`BlockIQ2_XXS`].
    IQ2_XXS, BlockIQ2_XXS
}

const LEN: usize = 256;
/// The number of values in a sub-block, whose bytes are stored together.
const SUB: usize = 32;
const SUBS: usize = LEN / SUB;

impl Codec for IQ2_XXS {
    const QUANTIZES_FASTER_IN_AVX512: bool = false;
    const NUMBERS: &'static [Number] = &[Number::f16(0), Number::shorts(2, 32)];
    const NEEDS_IMPORTANCE: bool = true;

    #[inline(always)]
    fn dequantize<S: Simd, T: Float>(s: S, blocks: &[BlockIQ2_XXS], out: &mut [T]) {
        for (block, out) in blocks.iter().zip(out.as_chunks_mut::<LEN>().0) {
            let d = s.widen_f16(block.d);
            for ([indices, rest], out) in block.subs().iter().zip(out.as_chunks_mut::<SUB>().0) {
                let rest = u32::from_le_bytes(*rest);
                let scale = d * (0.5 + (rest >> 28) as f32) * 0.25;
                let row = |k: usize| &grid::IQ2_XXS[usize::from(indices[k])];
                grid::put_signed(s, row, grid::whole_signs(grid::sevens(rest)), [scale; 2], out);
            }
        }
    }

    /// Searches each 32 values, over inverse scales around the one that maps the greatest level of a fit without the grid
    /// to the grid's. For magnitudes beyond about 1e12, errors are too large to compare and ggml aborts the process. Here
    /// such groups get the grid point nearest to their rounded values.
    #[inline(always)]
    fn quantize<S: Simd>(s: S, rows: Rows<'_>, out: &mut [BlockIQ2_XXS]) {
        let search = Search {
            map: grid::iq2_xxs(),
            least: LEAST_MAGNITUDE,
            trials: Trials { levels: 5.0, by: 0.1, last: 6 },
            refit: Refit::All,
        };
        let weighting = Weighting { spread: 1.0, alone: 0.0 };
        let mut blocks = rows.blocks();
        for out in out.chunks_mut(GROUP) {
            let mut prepared = [const { None }; GROUP];
            for (prepared, (x, importance)) in prepared.iter_mut().zip(blocks.by_ref()) {
                *prepared = Some(grid::prepare(s, x, importance, weighting, true));
            }
            let fitted = fit(s.wide(), &prepared);
            for ((prepared, fitted), block) in prepared.iter().flatten().zip(&fitted).zip(out) {
                let found = search.run::<S, SUB>(s, prepared, Some(fitted));
                let Some((d, scales)) = grid::scale_of_scales::<8, 15>(&found.scales) else {
                    *block = Zeroable::zeroed();
                    continue;
                };
                block.d = s.narrow_f16(d);
                let subs: &mut [[[u8; 4]; 2]; SUBS] = bytemuck::cast_mut(&mut block.qs);
                for (at, [indices, rest]) in subs.iter_mut().enumerate() {
                    *indices = core::array::from_fn(|k| found.indices[4 * at + k] as u8);
                    let signs = &found.signs.as_chunks().0[at];
                    *rest = grid::sevens_and_scale(*signs, scales[at]).to_le_bytes();
                }
            }
        }
    }
}

/// The number of super-blocks that are fitted together, which fill the widest vector with a sub-block in each lane.
const GROUP: usize = MAX_LANES / SUBS;

/// Returns the best scale for each sub-block if any quants of up to four levels are allowed. There is a sub-block in each lane.
#[inline(always)]
fn fit<S: Simd>(s: S, prepared: &[Option<Prepared>; GROUP]) -> [[f32; SUBS]; GROUP] {
    let mut scales = [[0.0; SUBS]; GROUP];
    let count = SUBS * prepared.iter().flatten().count();
    for first in (0..count).step_by(S::LANES) {
        // Lanes past the last sub-block are zeros.
        let [mut x, mut weights] = [[&[0.0; SUB]; MAX_LANES]; 2];
        for lane in 0..S::LANES {
            if let Some(Some(p)) = prepared.get((first + lane) / SUBS) {
                x[lane] = &p.magnitudes.as_chunks().0[(first + lane) % SUBS];
                weights[lane] = &p.weights.as_chunks().0[(first + lane) % SUBS];
            }
        }
        let (x, weights, quants) = (s.columns(&x), s.columns(&weights), &mut [s.splat_i(0); SUB]);
        s.store(search::positive(s, 4, &x, &weights, quants), &mut scales.as_flattened_mut()[first..]);
    }
    scales
}

impl Quants for IQ2_XXS {
    const RANGE: Range = Range::Seven;
    const BIAS: i32 = grid::BIAS;
}

impl SuperBlocks for IQ2_XXS {
    const SIGNED_BY_BITS: bool = true;
    const GROUP: usize = 32;
    const D_FACTOR: f32 = 0.125;

    #[inline(always)]
    fn d(block: &BlockIQ2_XXS) -> [u8; 2] {
        block.d
    }
    #[inline(always)]
    fn group_scales(block: &BlockIQ2_XXS) -> [u64; 2] {
        let mut scales = [0; SUBS];
        for (scale, [_, rest]) in scales.iter_mut().zip(block.subs()) {
            *scale = 2 * (rest[3] >> 4) + 1;
        }
        [u64::from_le_bytes(scales), 0]
    }
    #[inline(always)]
    fn magnitudes<D: Bytes>(d: D, block: &BlockIQ2_XXS) -> [D::B; 8] {
        eight_units!(u => {
            let [indices, _] = block.subs()[u];
            d.rows_b(|k| &grid::IQ2_XXS[usize::from(indices[k])])
        })
    }
    #[inline(always)]
    fn signs<D: Bytes>(d: D, block: &BlockIQ2_XXS) -> [u32; 8] {
        grid::all_whole_signs(d, grid::sevens_of_eight(d, d.second_words(block.subs())))
    }
}

impl BlockIQ2_XXS {
    /// Returns four indices, and their signs and scale, for each 32 values.
    #[inline(always)]
    fn subs(&self) -> &[[[u8; 4]; 2]; SUBS] {
        bytemuck::cast_ref(&self.qs)
    }
}
