//! Products of rows with many columns. As many rows as there are lanes are unpacked once, side by side into a *panel* that
//! stays in L2 cache, and each column's bytes are multiplied with all of them at once.
//!
//! The kernels here do not depend on formats: they use only integers, their scales and their mins.

use alloc::vec::Vec;
use core::marker::PhantomData;

use bytemuck::Zeroable;

use super::activations::{Activations, TILE};
use super::chunk::{self, Chunk};
use super::decode::{Decoded, Shape};
use super::table::{FOUR, Products, SEVEN, SIGNED, range_of};
use crate::codec::operand::Terms;
use crate::simd::{Isa, Range, Simd, TileKernel, Tiles};

/// Rows side by side, in the order in which kernels read them: the data of each accumulator is contiguous.
#[derive(Default)]
pub(super) struct Panel {
    /// For each unit, four bytes of each row, eight times.
    quants: Vec<[u8; 64]>,
    /// For each unit or super-block, the scale of each row.
    first: Vec<f32>,
    /// The min or second scale, or the scale of mins.
    second: Vec<f32>,
    /// For each group of a super-block, the scale of each row.
    scales: Vec<i32>,
    /// For each two groups of a super-block, the mins of each row as two 16-bit numbers, which are multiplied with sums of
    /// sixteen activations.
    mins: Vec<i32>,
    /// Some chunks of the rows, one by one.
    rows: Vec<Decoded>,
}

/// Rows to be multiplied with all columns.
pub(super) struct Product<'a> {
    pub(super) isa: Isa,
    pub(super) products: Products,
    /// Whole rows.
    pub(super) bytes: &'a [u8],
    pub(super) row_bytes: usize,
    pub(super) x: &'a Activations,
    /// Indexed as `out[column * stride + row]`.
    pub(super) out: &'a mut [f32],
    pub(super) stride: usize,
    pub(super) panel: &'a mut Panel,
}

/// The number of columns from which on panels pay. With fewer, a row is decoded and multiplied with each.
pub(super) const LEAST_COLUMNS: usize = 7;

/// Multiplies the rows. The instruction set must have [tiles](Isa::has_tiles), and so must the activations.
pub(super) fn multiply(product: Product<'_>) {
    const SCALE: u8 = Terms::Scale as u8;
    const MIN: u8 = Terms::ScaleAndMin as u8;
    const TWO: u8 = Terms::TwoScales as u8;
    let isa = product.isa;
    // If one instruction works for all ranges, there is one kernel for them.
    let tells = isa.tiles_tell_ranges();
    let range = |range| if tells && range != Range::Six { range } else { Range::Seven };
    match product.products.shape {
        Shape::Small { range: of, terms, .. } => match (range(of), terms) {
            (Range::Four, Terms::Scale) => run::<Small<FOUR, SCALE>>(product),
            (Range::Four, Terms::ScaleAndMin) => run::<Small<FOUR, MIN>>(product),
            (Range::Signed, Terms::Scale) => run::<Small<SIGNED, SCALE>>(product),
            (Range::Seven, Terms::Scale) => run::<Small<SEVEN, SCALE>>(product),
            (Range::Seven, Terms::ScaleAndMin) => run::<Small<SEVEN, MIN>>(product),
            (Range::Four | Range::Seven, Terms::TwoScales) => run::<Small<SEVEN, TWO>>(product),
            (Range::Signed | Range::Six, _) => unreachable!("no format has signed bytes and two numbers"),
        },
        Shape::Super { range: of, group, has_mins, .. } => match (range(of), group, has_mins) {
            (Range::Four, 16, true) => run::<Super<FOUR, 16, true>>(product),
            (Range::Four, _, true) => run::<Super<FOUR, 32, true>>(product),
            (Range::Seven, 16, true) => run::<Super<SEVEN, 16, true>>(product),
            (Range::Seven, _, true) => run::<Super<SEVEN, 32, true>>(product),
            (Range::Four, 16, false) => run::<Super<FOUR, 16, false>>(product),
            (Range::Seven, 16, false) => run::<Super<SEVEN, 16, false>>(product),
            (Range::Four | Range::Seven, _, false) => run::<Super<SEVEN, 32, false>>(product),
            (Range::Signed, 32, false) => run::<Super<SIGNED, 32, false>>(product),
            (Range::Signed | Range::Six, ..) => {
                unreachable!("no format has signed bytes and small groups or mins")
            }
        },
    }
}

/// What a kernel does with one kind of blocks.
trait Kind {
    const RANGE: u8;
    /// Puts a chunk of each row into the panel, as the `place`-th super-block. The chunks of neighbouring rows are
    /// [`AT_ONCE`] apart.
    fn fill<T: Tiles>(t: T, panel: &mut Panel, rows: &[Decoded], chunks: usize, chunk: usize, place: usize);
    /// Returns the products of a panel with `C` columns. `bias` is what was added to weights.
    fn multiply<T: Tiles, const C: usize>(
        t: T,
        panel: &Panel,
        chunks: usize,
        bias: i32,
        x: &[Chunk],
        width: usize,
        out: &mut [f32],
    );
}

struct Run<'a, K>(Product<'a>, PhantomData<K>);

impl<K: Kind> TileKernel for Run<'_, K> {
    const NEEDS_NO_DOTS: bool = K::RANGE != SEVEN;
    #[inline(always)]
    fn run<T: Tiles>(self, t: T) {
        panels::<T, K>(t, self.0);
    }
}

fn run<K: Kind>(product: Product<'_>) {
    product.isa.run_tiles(Run::<K>(product, PhantomData));
}

struct Small<const RANGE: u8, const TERMS: u8>;
struct Super<const RANGE: u8, const GROUP: usize, const MINS: bool>;

const CHUNK: usize = chunk::CHUNK;

/// The number of chunks of a row that are decoded at once. Those of all rows stay in L1 cache.
const AT_ONCE: usize = 2;

/// Returns the position of chunk `chunk` of a row of `chunks`, where the chunks of an accumulator are contiguous.
fn place(chunk: usize, chunks: usize) -> usize {
    let (accumulator, number) = (chunk % 8, chunk / 8);
    // Earlier accumulators have one more chunk if the row does not end with the last accumulator.
    accumulator * (chunks / 8) + accumulator.min(chunks % 8) + number
}

#[inline(always)]
fn interleave<'a, T: Tiles>(t: T, panel: &mut Panel, unit: usize, row: impl Fn(usize) -> &'a [u8; 32]) {
    let bytes = 32 * T::S::LANES;
    let all: &mut [u8] = panel.quants.as_flattened_mut();
    t.interleave(row, &mut all[unit * bytes..][..bytes]);
}

/// Makes panels of rows, and multiplies each with all tiles of columns.
#[inline(always)]
fn panels<T: Tiles, K: Kind>(t: T, product: Product<'_>) {
    let Product { isa, products, bytes, row_bytes, x, out, stride, panel } = product;
    let bias = match products.shape {
        Shape::Small { range: Range::Signed, .. } => i32::from(T::ADDED_TO_SIGNED),
        Shape::Small { bias, .. } => bias,
        Shape::Super { .. } => 0,
    };
    let (lanes, chunks) = (T::S::LANES, x.chunks_in_row());
    panel.quants.resize(chunks * CHUNK * lanes / 64, [0; 64]);
    for floats in [&mut panel.first, &mut panel.second] {
        floats.resize(8 * chunks * lanes, 0.0);
    }
    panel.scales.resize(16 * chunks * lanes, 0);
    panel.mins.resize(8 * chunks * lanes, 0);
    let mut rows = core::mem::take(&mut panel.rows);
    rows.resize(AT_ONCE * lanes, Decoded::zeroed());
    let chunk_bytes = CHUNK / products.block_len * products.block_bytes;
    let mut sums = [0.0; 16 * 8];
    let panel_bytes = lanes * row_bytes;
    let tiles = x.columns().div_ceil(TILE);
    for (p, bytes_of_panel) in bytes.chunks(panel_bytes).enumerate() {
        let here = bytes_of_panel.len() / row_bytes;
        for first in (0..chunks).step_by(AT_ONCE) {
            let here = AT_ONCE.min(chunks - first);
            let (from, to) = (first * chunk_bytes, ((first + here) * chunk_bytes).min(row_bytes));
            for (row, decoded) in bytes_of_panel.chunks(row_bytes).zip(rows.chunks_mut(AT_ONCE)) {
                (products.decode)(isa, &row[from..to], T::ADDED_TO_SIGNED, decoded);
            }
            // Rows that do not exist keep their old contents. Their products are ignored.
            for i in 0..here {
                let chunk = first + i;
                K::fill(t, panel, &rows[i..], chunks, chunk, place(chunk, chunks));
            }
        }
        let next = bytes.get((p + 1) * panel_bytes..).unwrap_or_default();
        let next = &next[..next.len().min(panel_bytes)];
        let share = panel_bytes.div_ceil(tiles).next_multiple_of(64);
        for (i, tile) in x.tiles().enumerate() {
            // Prefetches the next panel's bytes while this one is multiplied.
            let asked = next.get(i * share..).unwrap_or_default();
            t.lanes().prefetch(&asked[..asked.len().min(share)]);
            let columns = if T::COLUMNS == 8 && tile.width == 8 { 8 } else { 4 };
            for c in (0..tile.width).step_by(columns) {
                let x = &x.chunks()[tile.first_chunk + c..];
                if columns == 8 {
                    K::multiply::<T, 8>(t, panel, chunks, bias, x, tile.width, &mut sums);
                } else {
                    K::multiply::<T, 4>(t, panel, chunks, bias, x, tile.width, &mut sums);
                }
                for (c, sums) in (c..tile.columns).zip(sums.chunks(lanes).take(columns)) {
                    let at = (tile.first_column + c) * stride + p * lanes;
                    out[at..at + here].copy_from_slice(&sums[..here]);
                }
            }
        }
    }
    panel.rows = rows;
}

/// Adds up the accumulators and writes to `out[column][row]`.
#[inline(always)]
fn finish<T: Tiles, const C: usize>(t: T, sums: &[[<T::S as Simd>::F; C]; 8], out: &mut [f32]) {
    let s = t.lanes();
    for c in 0..C {
        let four = |a: usize| s.add(sums[a][c], sums[a + 4][c]);
        let (even, odd) = (s.add(four(0), four(2)), s.add(four(1), four(3)));
        s.store(s.add(even, odd), &mut out[c * T::S::LANES..]);
    }
}

/// Combines two 16-bit numbers into one.
#[inline(always)]
fn two_shorts(shorts: &[i16; 16], pair: usize) -> i32 {
    i32::from(shorts[2 * pair]) & 0xffff | i32::from(shorts[2 * pair + 1]) << 16
}

/// Groups bytes by four.
#[inline(always)]
fn fours<const N: usize>(bytes: &[u8]) -> &[[u8; 4]; N] {
    bytes.as_chunks().0.first_chunk().expect("a unit has as many")
}

impl<const RANGE: u8, const TERMS: u8> Kind for Small<RANGE, TERMS> {
    const RANGE: u8 = RANGE;

    #[inline(always)]
    fn fill<T: Tiles>(t: T, panel: &mut Panel, rows: &[Decoded], chunks: usize, chunk: usize, _: usize) {
        let lanes = T::S::LANES;
        let row = |r: usize| &rows[r * AT_ONCE];
        let [mut first, mut second] = [[0.0f32; 8 * 16]; 2];
        t.interleave(|r| bytemuck::cast_ref(&row(r).first), bytemuck::cast_slice_mut(&mut first));
        t.interleave(|r| bytemuck::cast_ref(&row(r).second), bytemuck::cast_slice_mut(&mut second));
        // Unit u of all chunks belongs to one accumulator.
        for u in 0..8 {
            let unit = u * chunks + chunk;
            interleave(t, panel, unit, |r| &row(r).quants[u]);
            panel.first[unit * lanes..][..lanes].copy_from_slice(&first[u * lanes..][..lanes]);
            panel.second[unit * lanes..][..lanes].copy_from_slice(&second[u * lanes..][..lanes]);
        }
    }

    #[inline(always)]
    fn multiply<T: Tiles, const C: usize>(
        t: T,
        panel: &Panel,
        chunks: usize,
        bias: i32,
        x: &[Chunk],
        width: usize,
        out: &mut [f32],
    ) {
        let (s, lanes) = (t.lanes(), T::S::LANES);
        let quants = panel.quants.as_flattened();
        let mut accumulators = [[s.splat(0.0); C]; 8];
        for (u, accumulators) in accumulators.iter_mut().enumerate() {
            let mut sums = [s.splat(0.0); C];
            for (chunk, x) in x.chunks(width).take(chunks).enumerate() {
                let x: &[Chunk; C] = x.first_chunk().expect("a tile has as many columns");
                let unit = u * chunks + chunk;
                let w = &quants[unit * 32 * lanes..][..32 * lanes];
                let first = s.load(&panel.first[unit * lanes..]);
                if TERMS == Terms::TwoScales as u8 {
                    let second = s.load(&panel.second[unit * lanes..]);
                    let mut halves = [[s.splat_i(0); C]; 2];
                    for (half, dots) in halves.iter_mut().enumerate() {
                        let mut y = [fours::<4>(&x[0].quants[u]); C];
                        for c in 0..C {
                            dots[c] = s.splat_i(-bias * x[c].sums[half][u]);
                            y[c] = fours(&x[c].quants[u][16 * half..]);
                        }
                        t.dots(range_of(RANGE), dots, &w[16 * lanes * half..], y);
                    }
                    for c in 0..C {
                        let e = s.splat(x[c].scales[u]);
                        let low = s.mul(s.mul(first, e), s.to_float(halves[0][c]));
                        let high = s.mul(s.mul(second, e), s.to_float(halves[1][c]));
                        sums[c] = s.add(sums[c], s.add(low, high));
                    }
                    continue;
                }
                let mut dots = [s.splat_i(0); C];
                let mut y = [fours::<8>(&x[0].quants[u]); C];
                for c in 0..C {
                    dots[c] = s.splat_i(-bias * (x[c].sums[0][u] + x[c].sums[1][u]));
                    y[c] = fours(&x[c].quants[u]);
                }
                t.dots(range_of(RANGE), &mut dots, w, y);
                for c in 0..C {
                    let e = s.splat(x[c].scales[u]);
                    let mut term = s.mul(s.mul(first, e), s.to_float(dots[c]));
                    if TERMS == Terms::ScaleAndMin as u8 {
                        let sum = s.splat((x[c].sums[0][u] + x[c].sums[1][u]) as f32);
                        let second = s.load(&panel.second[unit * lanes..]);
                        term = s.add(term, s.mul(s.mul(second, e), sum));
                    }
                    sums[c] = s.add(sums[c], term);
                }
            }
            *accumulators = sums;
        }
        finish::<T, C>(t, &accumulators, out);
    }
}

impl<const RANGE: u8, const GROUP: usize, const MINS: bool> Kind for Super<RANGE, GROUP, MINS> {
    const RANGE: u8 = RANGE;

    #[inline(always)]
    fn fill<T: Tiles>(t: T, panel: &mut Panel, rows: &[Decoded], _: usize, _: usize, place: usize) {
        let lanes = T::S::LANES;
        let row = |r: usize| &rows[r * AT_ONCE];
        for u in 0..8 {
            interleave(t, panel, 8 * place + u, |r| &row(r).quants[u]);
        }
        for r in 0..lanes {
            panel.first[place * lanes + r] = row(r).first[0];
            panel.second[place * lanes + r] = row(r).second[0];
        }
        for half in 0..CHUNK / GROUP / 8 {
            let to = &mut panel.scales[(CHUNK / GROUP * place + 8 * half) * lanes..][..8 * lanes];
            t.interleave(
                |r| &bytemuck::cast_ref::<_, [[u8; 32]; 2]>(&row(r).scales)[half],
                bytemuck::cast_slice_mut(to),
            );
        }
        let to = &mut panel.mins[8 * place * lanes..][..8 * lanes];
        t.interleave(|r| bytemuck::cast_ref(&row(r).mins), bytemuck::cast_slice_mut(to));
    }

    #[inline(always)]
    fn multiply<T: Tiles, const C: usize>(
        t: T,
        panel: &Panel,
        chunks: usize,
        _: i32,
        x: &[Chunk],
        width: usize,
        out: &mut [f32],
    ) {
        let (s, lanes) = (t.lanes(), T::S::LANES);
        let quants = panel.quants.as_flattened();
        let load = |from: &[i32]| s.bits(s.load(bytemuck::cast_slice(from)));
        let mut accumulators = [[s.splat(0.0); C]; 8];
        let mut at = 0;
        for (a, accumulators) in accumulators.iter_mut().enumerate() {
            let mut sums = [s.splat(0.0); C];
            for chunk in (a..chunks).step_by(8) {
                let x: &[Chunk; C] = x[chunk * width..].first_chunk().expect("a tile has as many columns");
                let w = &quants[at * CHUNK * lanes..][..CHUNK * lanes];
                let scales = &panel.scales[at * (CHUNK / GROUP) * lanes..][..CHUNK / GROUP * lanes];
                let mins = &panel.mins[8 * at * lanes..][..8 * lanes];
                let mut products = [s.splat_i(0); C];
                for u in 0..8 {
                    let w = &w[u * 32 * lanes..][..32 * lanes];
                    if GROUP == 16 {
                        for half in 0..2 {
                            let mut y = [fours::<4>(&x[0].quants[u]); C];
                            for c in 0..C {
                                y[c] = fours(&x[c].quants[u][16 * half..]);
                            }
                            let scale = load(&scales[(2 * u + half) * lanes..]);
                            let w = &w[16 * lanes * half..];
                            t.scaled_dots(range_of(RANGE), &mut products, w, y, scale);
                        }
                    } else {
                        let mut y = [fours::<8>(&x[0].quants[u]); C];
                        for c in 0..C {
                            y[c] = fours(&x[c].quants[u]);
                        }
                        let scale = load(&scales[u * lanes..]);
                        t.scaled_dots(range_of(RANGE), &mut products, w, y, scale);
                    }
                }
                let first = s.load(&panel.first[at * lanes..]);
                for c in 0..C {
                    let e = s.splat(x[c].scales[0]);
                    let mut min = s.splat_i(0);
                    for u in 0..8 {
                        min = t.add_pairs(
                            min,
                            load(&mins[u * lanes..]),
                            s.splat_i(two_shorts(&x[c].shorts, u)),
                        );
                    }
                    let term = if MINS {
                        let second = s.load(&panel.second[at * lanes..]);
                        let of_products = s.mul(s.mul(first, e), s.to_float(products[c]));
                        s.sub(of_products, s.mul(s.mul(second, e), s.to_float(min)))
                    } else {
                        s.mul(s.mul(first, e), s.to_float(s.sub_i(products[c], min)))
                    };
                    sums[c] = s.add(sums[c], term);
                }
                at += 1;
            }
            *accumulators = sums;
        }
        finish::<T, C>(t, &accumulators, out);
    }
}
