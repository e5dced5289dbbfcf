//! Products of rows with few columns. A row's bytes are unpacked into registers and multiplied there, one row after the
//! other, so that weights are read once and in memory order.

use core::marker::PhantomData;

use bytemuck::Zeroable;

use super::chunk::{Chunk, Column};
use super::decode::{self, Block, Blocks, Decoded, Small, Super, group_mins, group_scales, total};
use crate::codec::operand::{Mins, SmallBlocks, SuperBlocks, Terms, eight_units};
use crate::simd::{ByteKernel, Bytes, Floats, Integers, Isa, Range, Simd};

/// How many bytes ahead of their use data is prefetched. Hardware prefetching stops at the end of a page; this
/// continues into the next rows.
const AHEAD: usize = 8 * 1024;

/// Rows to be multiplied with columns.
pub(super) struct Rows<'a> {
    /// Whole rows.
    pub(super) bytes: &'a [u8],
    pub(super) row_bytes: usize,
    pub(super) chunks: &'a [Chunk],
    pub(super) columns: &'a [Column],
    /// Indexed as `out[column * stride + row]`.
    pub(super) out: &'a mut [f32],
    pub(super) stride: usize,
    /// Scratch memory for a decoded row.
    pub(super) decoded: &'a mut [Decoded],
}

/// A function that multiplies rows.
pub(super) type Dot = fn(Isa, Rows<'_>);

pub(super) fn dot<K: Dots>(isa: Isa, rows: Rows<'_>) {
    isa.run_bytes(DotRows::<K>(rows, PhantomData));
}

/// Multiplication of rows of a kind of blocks without decoding them to memory.
pub(super) trait Dots: Blocks {
    /// Returns the product of a row with a column whose chunks are `width` apart. Meanwhile prefetches `ahead`.
    fn dot<D: Bytes>(d: D, row: &[Block<Self>], x: &[Chunk], width: usize, ahead: &[u8]) -> f32;
}

struct DotRows<'a, K>(Rows<'a>, PhantomData<K>);

impl<K: Dots> ByteKernel for DotRows<'_, K> {
    type Output = ();
    const MULTIPLIES: bool = true;
    #[inline(always)]
    fn run<D: Bytes>(self, d: D) {
        let Rows { bytes, row_bytes, chunks, columns, out, stride, decoded } = self.0;
        for (r, row) in bytes.chunks_exact(row_bytes.max(1)).enumerate() {
            let row: &[Block<K>] = bytemuck::cast_slice(row);
            if !D::FUSED {
                K::decode(d, row, 0, decoded);
                for (c, &Column { first, stride: width }) in columns.iter().enumerate() {
                    out[c * stride + r] = decode::dot(K::SHAPE, decoded, &chunks[first..], width);
                }
                continue;
            }
            let mut ahead = bytes.get(r * row_bytes + AHEAD..).unwrap_or_default();
            for (c, &Column { first, stride: width }) in columns.iter().enumerate() {
                out[c * stride + r] = K::dot(d, row, &chunks[first..], width, ahead);
                // Prefetching once is enough.
                ahead = &[];
            }
        }
    }
}

/// Prefetches `len` bytes from byte `at` of those that lie ahead.
#[inline(always)]
fn ask_for<S: Simd>(s: S, ahead: &[u8], at: usize, len: usize) {
    if let Some(bytes) = ahead.get(at..at + len) {
        s.prefetch(bytes);
    }
}

/// Returns the bytes of eight units, and the bias that was added to them.
#[inline(always)]
fn biased<D: Bytes>(d: D, range: Range, bias: i32, mut units: [D::B; 8]) -> ([D::B; 8], i32) {
    if range != Range::Signed || D::ADDED_TO_SIGNED == 0 {
        return (units, bias);
    }
    for unit in &mut units {
        *unit = d.xor_b(*unit, d.splat_b(D::ADDED_TO_SIGNED as u8));
    }
    (units, D::ADDED_TO_SIGNED)
}

/// Returns `sums - bias * of`, where the bias is 0, a power of two, or 9.
#[inline(always)]
fn less_bias<D: Bytes>(d: D, sums: Integers<D>, bias: i32, of: Integers<D>) -> Integers<D> {
    let s = d.lanes();
    match bias {
        0 => sums,
        1 => s.sub_i(sums, of),
        9 => s.sub_i(s.sub_i(sums, of), s.shl::<3>(of)),
        4 => s.sub_i(sums, s.shl::<2>(of)),
        8 => s.sub_i(sums, s.shl::<3>(of)),
        16 => s.sub_i(sums, s.shl::<4>(of)),
        32 => s.sub_i(sums, s.shl::<5>(of)),
        64 => s.sub_i(sums, s.shl::<6>(of)),
        128 => s.sub_i(sums, s.shl::<7>(of)),
        _ => unreachable!("no format has another bias"),
    }
}

/// Loads eight integers of a chunk.
#[inline(always)]
pub(super) fn integers<D: Bytes>(d: D, from: &[i32; 8]) -> Integers<D> {
    let s = d.lanes();
    s.bits(s.load(bytemuck::cast_ref::<_, [f32; 8]>(from)))
}

impl<F: SmallBlocks> Dots for Small<F> {
    #[inline(always)]
    fn dot<D: Bytes>(d: D, row: &[F::Block], x: &[Chunk], width: usize, ahead: &[u8]) -> f32 {
        let s = d.lanes();
        let at_once = 8 / (F::TYPE.block_len() / 32);
        let bytes_at_once = at_once * size_of::<F::Block>();
        let mut sums = s.splat(0.0);
        let blocks = row.chunks_exact(at_once);
        let (last, mut at) = (blocks.remainder(), 0);
        for (i, blocks) in blocks.enumerate() {
            ask_for(s, ahead, i * bytes_at_once, bytes_at_once);
            sums = s.add(sums, small_terms::<D, F>(d, blocks, &x[at]));
            at += width;
        }
        if !last.is_empty() {
            let mut padded = [F::Block::zeroed(); 8];
            padded[..last.len()].copy_from_slice(last);
            sums = s.add(sums, small_terms::<D, F>(d, &padded[..at_once], &x[at]));
        }
        total(d, sums)
    }
}

/// Returns the terms of eight units.
#[inline(always)]
fn small_terms<D: Bytes, F: SmallBlocks>(d: D, blocks: &[F::Block], x: &Chunk) -> Floats<D> {
    let s = d.lanes();
    let units_of_block = F::TYPE.block_len() / 32;
    let unit = |u: usize| (&blocks[u / units_of_block], u % units_of_block);
    let units = eight_units!(u => F::unit(d, unit(u).0, unit(u).1));
    let (units, bias) = biased(d, F::RANGE, F::BIAS, units);
    let [first, second] = F::scales(d, unit);
    let e = s.load(&x.scales);
    let [sum_low, sum_high] = [integers(d, &x.sums[0]), integers(d, &x.sums[1])];
    if F::TERMS == Terms::TwoScales {
        let [low, high] = d.sums(F::RANGE, &units, &x.quants);
        let low = s.to_float(less_bias(d, low, bias, sum_low));
        let high = s.to_float(less_bias(d, high, bias, sum_high));
        return s.add(s.mul(s.mul(first, e), low), s.mul(s.mul(second, e), high));
    }
    let sum = s.add_i(sum_low, sum_high);
    let products = s.to_float(less_bias(d, d.sums_of_units(F::RANGE, &units, &x.quants), bias, sum));
    let scaled = s.mul(s.mul(first, e), products);
    if F::TERMS == Terms::Scale {
        return scaled;
    }
    s.add(scaled, s.mul(s.mul(second, e), s.to_float(sum)))
}

impl<F: SuperBlocks> Dots for Super<F> {
    #[inline(always)]
    fn dot<D: Bytes>(d: D, row: &[F::Block], x: &[Chunk], width: usize, ahead: &[u8]) -> f32 {
        let s = d.lanes();
        let block_bytes = size_of::<F::Block>();
        // Small blocks share lines, of which each is asked for once if all eight blocks' are.
        let together = block_bytes < 128;
        let zeros = [s.splat_i(0); 8];
        // Each vector contains the integers of a super-block, which are later summed over lanes, eight vectors at a time.
        let (mut products, mut mins) = (zeros, zeros);
        let mut sums = s.splat(0.0);
        let mut at = 0;
        for (i, blocks) in row.chunks(8).enumerate() {
            if blocks.len() < 8 {
                (products, mins) = (zeros, zeros);
            }
            if together {
                ask_for(s, ahead, 8 * i * block_bytes, 8 * block_bytes);
            }
            let first_x = &x[at];
            for (b, block) in blocks.iter().enumerate() {
                if !together {
                    ask_for(s, ahead, (8 * i + b) * block_bytes, block_bytes);
                }
                let x = &x[at];
                at += width;
                (products[b], mins[b]) = integers_of::<D, F>(d, block, x);
            }
            let e = s.load(&first_x.scales);
            let mut first = if F::SINGLE_D {
                let mut single = [0.0; 8];
                for (single, block) in single.iter_mut().zip(blocks) {
                    *single = F::single_d(block);
                }
                s.load(&single)
            } else {
                halves_of::<D, F>(d, blocks, F::d)
            };
            if F::D_FACTOR != 1.0 {
                first = s.mul(first, s.splat(F::D_FACTOR));
            }
            let mut terms = s.mul(s.mul(first, e), s.to_float(d.totals(&products)));
            if F::MINS == Mins::OwnScale {
                let second = halves_of::<D, F>(d, blocks, F::dmin);
                terms = s.sub(terms, s.mul(s.mul(second, e), s.to_float(d.totals(&mins))));
            }
            sums = s.add(sums, terms);
        }
        total(d, sums)
    }
}

/// Returns a half float of each of up to eight blocks, and zeros. Whole groups are read where they are: going through memory
/// that has just been written in smaller pieces would wait for those.
#[inline(always)]
fn halves_of<D: Bytes, F: SuperBlocks>(
    d: D,
    blocks: &[F::Block],
    of: impl Fn(&F::Block) -> [u8; 2],
) -> Floats<D> {
    if let Some(blocks) = blocks.first_chunk::<8>() {
        return d.gather_f16(|b| of(&blocks[b]));
    }
    let mut halves = [[0; 2]; 8];
    for (half, block) in halves.iter_mut().zip(blocks) {
        *half = of(block);
    }
    d.gather_f16(|b| halves[b])
}

/// Returns the products of a super-block and of its mins, which remain to be summed over the lanes.
#[inline(always)]
fn integers_of<D: Bytes, F: SuperBlocks>(d: D, block: &F::Block, x: &Chunk) -> (Integers<D>, Integers<D>) {
    let s = d.lanes();
    let scales = group_scales::<D, F>(d, block);
    // Before the units, because what scales and mins share is not kept over the assembly there.
    let group_mins = group_mins::<D, F>(d, block);
    let shorts = d.load_b(bytemuck::cast_ref(&x.shorts));
    let sums = |range, units: &[D::B; 8], x: &[[u8; 32]; 8]| {
        if F::HAS_SCALES { d.scaled_sums(range, units, x, scales) } else { d.sums_of_all(range, units, x) }
    };
    if F::SIGNED_BY_BITS {
        // The signs are applied to the activations.
        let (signs, mut signed) = (F::signs(d, block), [[0; 32]; 8]);
        for u in 0..8 {
            d.store_b(d.negate_b(d.load_b(&x.quants[u]), signs[u]), &mut signed[u]);
        }
        let products = sums(Range::Six, &F::magnitudes(d, block), &signed);
        return (products, s.splat_i(0));
    }
    let (units, bias) = biased(d, F::RANGE, F::BIAS, F::units(d, block));
    let products = sums(F::RANGE, &units, &x.quants);
    match F::MINS {
        Mins::OwnScale => (products, d.dot_shorts(group_mins, shorts)),
        Mins::SameScale => (s.sub_i(products, d.dot_shorts(group_mins, shorts)), s.splat_i(0)),
        Mins::None if bias == 0 => (products, s.splat_i(0)),
        Mins::None => (less_bias(d, products, bias, d.dot_shorts(scales, shorts)), s.splat_i(0)),
    }
}
