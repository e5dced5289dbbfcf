//! Rows decoded to integers in memory. [`matmul`](super::matmul) makes its panels of them, and they are multiplied
//! where it does not pay to fuse unpacking with multiplying.

use core::marker::PhantomData;

use bytemuck::Zeroable;

use super::chunk::Chunk;
use crate::codec::BlockFormat;
use crate::codec::operand::{Mins, Quants, SmallBlocks, SuperBlocks, Terms, eight_units};
use crate::simd::{ByteKernel, Bytes, Floats, Isa, Range, Simd};

/// 256 weights of one row.
#[repr(C, align(64))]
#[derive(Debug, Clone, Copy, Zeroable)]
pub(super) struct Decoded {
    /// Biased as the format specifies, or signed, with the requested number added.
    pub(super) quants: [[u8; 32]; 8],
    /// The scale of each unit. For a super-block only the first.
    pub(super) first: [f32; 8],
    /// The min or second scale of each unit. For a super-block only the first, which is the scale of its mins.
    pub(super) second: [f32; 8],
    /// The scale of each group of a super-block.
    pub(super) scales: [i32; 16],
    /// The same in 16 bits, in the order of [`mins`](Self::mins).
    pub(super) short_scales: [i16; 16],
    /// The mins of a super-block's groups, those of the first halves of all units before those of the others. Without mins,
    /// the scales of the groups times the bias. These are multiplied with sums of activations and subtracted.
    pub(super) mins: [i16; 16],
}

/// The properties of a format's integers, for the kernels, which do not depend on formats.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    Small { range: Range, bias: i32, terms: Terms },
    Super { range: Range, group: usize, has_mins: bool },
}

/// A kind of blocks, and how rows of them are decoded.
pub(super) trait Blocks {
    /// The format.
    type Format: Quants;
    /// The properties of the format for the kernels, which do not depend on formats.
    const SHAPE: Shape;
    /// Decodes a row. `added` is added to signed bytes.
    fn decode<D: Bytes>(d: D, row: &[Block<Self>], added: u8, to: &mut [Decoded]);
}

/// A block of kind `K`.
pub(super) type Block<K> = <<K as Blocks>::Format as BlockFormat>::Block;

/// Blocks of 32, 64 or 128 values.
pub(super) struct Small<F>(PhantomData<F>);

/// Super-blocks of 256 values.
pub(super) struct Super<F>(PhantomData<F>);

impl<F: SmallBlocks> Blocks for Small<F> {
    type Format = F;
    const SHAPE: Shape = Shape::Small { range: F::RANGE, bias: F::BIAS, terms: F::TERMS };

    #[inline(always)]
    fn decode<D: Bytes>(d: D, row: &[F::Block], added: u8, to: &mut [Decoded]) {
        let units_of_block = F::TYPE.block_len() / 32;
        let at_once = 8 / units_of_block;
        let whole = row.chunks_exact(at_once);
        let (last, mut to) = (whole.remainder(), to.iter_mut());
        for (blocks, to) in whole.zip(&mut to) {
            small::<D, F>(d, blocks, added, to);
        }
        if let (false, Some(to)) = (last.is_empty(), to.next()) {
            let mut padded = [F::Block::zeroed(); 8];
            padded[..last.len()].copy_from_slice(last);
            small::<D, F>(d, &padded[..at_once], added, to);
            // Blocks of zeros may have nonzero scales.
            let units = last.len() * units_of_block;
            to.first[units..].fill(0.0);
            to.second[units..].fill(0.0);
        }
    }
}

/// Decodes eight units.
#[inline(always)]
fn small<D: Bytes, F: SmallBlocks>(d: D, blocks: &[F::Block], added: u8, to: &mut Decoded) {
    let s = d.lanes();
    let units_of_block = F::TYPE.block_len() / 32;
    let unit = |u: usize| (&blocks[u / units_of_block], u % units_of_block);
    let units = eight_units!(u => F::unit(d, unit(u).0, unit(u).1));
    for (unit, to) in units.into_iter().zip(&mut to.quants) {
        d.store_b(with_added::<D>(d, F::RANGE, unit, added), to);
    }
    let [first, second] = F::scales(d, unit);
    s.store(first, &mut to.first);
    s.store(second, &mut to.second);
}

impl<F: SuperBlocks> Blocks for Super<F> {
    type Format = F;
    const SHAPE: Shape =
        Shape::Super { range: F::RANGE, group: F::GROUP, has_mins: matches!(F::MINS, Mins::OwnScale) };

    #[inline(always)]
    fn decode<D: Bytes>(d: D, row: &[F::Block], added: u8, to: &mut [Decoded]) {
        let s = d.lanes();
        for (block, to) in row.iter().zip(to) {
            let units = F::units(d, block);
            for (unit, to) in units.into_iter().zip(&mut to.quants) {
                d.store_b(with_added::<D>(d, F::RANGE, unit, added), to);
            }
            to.first[0] =
                if F::SINGLE_D { F::single_d(block) } else { s.widen_f16(F::d(block)) * F::D_FACTOR };
            to.second[0] = s.widen_f16(F::dmin(block));
            let bias = if F::RANGE == Range::Signed { i16::from(added) } else { F::BIAS as i16 };
            let [first, second] = F::group_scales(block);
            let scale_bias = s.splat_i(F::SCALE_BIAS);
            store(s, s.sub_i(d.widen_eight(first), scale_bias), &mut to.scales, 0);
            if F::GROUP == 16 {
                store(s, s.sub_i(d.widen_eight(second), scale_bias), &mut to.scales, 8);
            }
            let scales = group_scales::<D, F>(d, block);
            d.store_b(scales, bytemuck::cast_mut(&mut to.short_scales));
            let mins = match F::MINS {
                Mins::None => d.mul_shorts(scales, d.splat_short(bias)),
                _ => group_mins::<D, F>(d, block),
            };
            d.store_b(mins, bytemuck::cast_mut(&mut to.mins));
        }
    }
}

/// Returns the scales of a super-block's groups: those of the first halves of all units, then those of the others.
#[inline(always)]
pub(super) fn group_scales<D: Bytes, F: SuperBlocks>(d: D, block: &F::Block) -> D::B {
    let scales = halves_of_units::<D, F>(d, F::group_scales(block));
    if F::SCALE_BIAS == 0 { scales } else { d.sub_shorts(scales, d.splat_short(F::SCALE_BIAS as i16)) }
}

/// Returns the mins of a super-block's groups, in the order of [`group_scales`].
#[inline(always)]
pub(super) fn group_mins<D: Bytes, F: SuperBlocks>(d: D, block: &F::Block) -> D::B {
    halves_of_units::<D, F>(d, F::group_mins(block))
}

#[inline(always)]
fn halves_of_units<D: Bytes, F: SuperBlocks>(d: D, groups: [u64; 2]) -> D::B {
    if F::GROUP == 16 { d.halves_of_units(groups) } else { d.both_of_units(groups[0]) }
}

/// Stores eight integers.
#[inline(always)]
fn store<S: Simd>(s: S, value: S::I, to: &mut [i32], at: usize) {
    s.store(s.as_floats(value), &mut bytemuck::cast_slice_mut(to)[at..]);
}

#[inline(always)]
fn with_added<D: Bytes>(d: D, range: Range, unit: D::B, added: u8) -> D::B {
    if range == Range::Signed { d.add_b(unit, d.splat_b(added)) } else { unit }
}

/// Returns the product of a decoded row with a column, as the contract defines it. All other implementations equal it.
pub(super) fn dot(shape: Shape, row: &[Decoded], chunks: &[Chunk], stride: usize) -> f32 {
    let mut accumulators = [0.0f32; 8];
    for (i, w) in row.iter().enumerate() {
        let x = &chunks[i * stride];
        match shape {
            Shape::Small { range, bias, terms } => {
                for (u, accumulator) in accumulators.iter_mut().enumerate() {
                    let e = x.scales[u];
                    let [low, high] = halves(range, &w.quants[u], &x.quants[u]);
                    let [sum_low, sum_high] = [x.sums[0][u], x.sums[1][u]];
                    let (low, high) = (low - bias * sum_low, high - bias * sum_high);
                    *accumulator += match terms {
                        Terms::Scale => (w.first[u] * e) * (low + high) as f32,
                        Terms::ScaleAndMin => {
                            (w.first[u] * e) * (low + high) as f32
                                + (w.second[u] * e) * (sum_low + sum_high) as f32
                        }
                        Terms::TwoScales => (w.first[u] * e) * low as f32 + (w.second[u] * e) * high as f32,
                    };
                }
            }
            Shape::Super { range, group, has_mins, .. } => {
                let (mut products, mut mins) = (0i32, 0i32);
                for u in 0..8 {
                    let [low, high] = halves(range, &w.quants[u], &x.quants[u]);
                    let (g, h) = if group == 16 { (2 * u, 2 * u + 1) } else { (u, u) };
                    products += w.scales[g] * low + w.scales[h] * high;
                    mins += i32::from(w.mins[u]) * x.sums[0][u] + i32::from(w.mins[8 + u]) * x.sums[1][u];
                }
                let e = x.scales[0];
                accumulators[i % 8] += if has_mins {
                    (w.first[0] * e) * products as f32 - (w.second[0] * e) * mins as f32
                } else {
                    (w.first[0] * e) * (products - mins) as f32
                };
            }
        }
    }
    tree(accumulators)
}

/// Returns the sums of products of the first sixteen bytes, and of the others.
#[inline(always)]
fn halves(range: Range, w: &[u8; 32], x: &[u8; 32]) -> [i32; 2] {
    let mut sums = [0; 2];
    for ((w, x), sum) in w.as_chunks::<16>().0.iter().zip(x.as_chunks::<16>().0).zip(&mut sums) {
        for (&w, &x) in w.iter().zip(x) {
            // The range is the same for a whole matrix.
            let w = if range == Range::Signed { i16::from(w as i8) } else { i16::from(w) };
            *sum += i32::from(w * i16::from(x as i8));
        }
    }
    sums
}

/// Adds up the accumulators of a sum.
#[inline(always)]
pub(super) fn tree([a0, a1, a2, a3, a4, a5, a6, a7]: [f32; 8]) -> f32 {
    ((a0 + a4) + (a2 + a6)) + ((a1 + a5) + (a3 + a7))
}

/// The sum of eight accumulators in lanes.
#[inline(always)]
pub(super) fn total<D: Bytes>(d: D, sums: Floats<D>) -> f32 {
    let mut lanes = [0.0; 8];
    d.lanes().store(sums, &mut lanes);
    tree(lanes)
}

/// A function that decodes a row.
pub(super) type Decode = fn(Isa, &[u8], u8, &mut [Decoded]);

pub(super) fn decode<K: Blocks>(isa: Isa, row: &[u8], added: u8, to: &mut [Decoded]) {
    isa.run_bytes(DecodeRow::<K> { row: bytemuck::cast_slice(row), added, to });
}

struct DecodeRow<'a, K: Blocks> {
    row: &'a [Block<K>],
    added: u8,
    to: &'a mut [Decoded],
}

impl<K: Blocks> ByteKernel for DecodeRow<'_, K> {
    type Output = ();
    const MULTIPLIES: bool = false;
    #[inline(always)]
    fn run<D: Bytes>(self, d: D) {
        K::decode(d, self.row, self.added, self.to);
    }
}
