//! [`Activations`]: the other factor of a product, in eight bits.

use alloc::format;
use alloc::vec::Vec;

use super::Grain;
use super::chunk::{CHUNK, Chunk, Column, UNIT};
use super::table::grain;
use crate::codec::Float;
use crate::codec::formats::{BlockQ8_K, Q8_K};
use crate::codec::operand::quantize_super_block;
use crate::error::{Error, Measured, Result};
use crate::ggml_type::GgmlType;
use crate::simd::{Isa, Kernel, MAX_LANES, Simd};

/// The number of columns in a tile.
pub(super) const TILE: usize = 8;
/// From this many columns on, tiles have four or eight.
pub(super) const LEAST_TILED: usize = 4;

/// Columns of activations, ready to be multiplied with weights.
///
/// A column is as long as a row of the weights. Its values are rounded to integers from -127 to 127 with an `f32` scale for each
/// 32 values, or for each 256 if the weights come in super-blocks of that size. The integers are those of ggml's `Q8_0` and
/// `Q8_K`. (The scale is not rounded to 16 bits as in `Q8_0`, where large activations overflow.) For weights that are plain
/// floats, activations are kept in single precision.
///
/// The same `Activations` works with all types of the same granularity, so that they can be quantized once and multiplied with
/// several matrices: see [`serves`](Self::serves).
///
/// If a column contains a NaN or an infinity, every product in which its block takes part is NaN.
///
/// ```
/// use gguf_codec::GgmlType;
/// use gguf_codec::compute::Activations;
///
/// let values: Vec<f32> = (0..2 * 512).map(|i| (i as f32 * 0.37).sin()).collect();
/// let x = Activations::new(GgmlType::Q4_K, &values, 512)?; // two columns of 512
/// assert_eq!((x.columns(), x.row_len()), (2, 512));
/// assert!(x.serves(GgmlType::Q6_K) && !x.serves(GgmlType::Q8_0));
/// # Ok::<(), gguf_codec::Error>(())
/// ```
#[derive(Clone)]
pub struct Activations {
    pub(super) grain: Grain,
    row_len: usize,
    columns: usize,
    /// Indexed as `[tile][chunk of the row][column of the tile]`.
    chunks: Vec<Chunk>,
    /// The values themselves, for weights that are floats.
    floats: Vec<f32>,
}

impl Activations {
    /// Quantizes consecutive columns of `row_len` values, for weights of type `ty` or another type that they
    /// [serve](Self::serves).
    ///
    /// # Errors
    /// [`Error::Length`] if `values` are not whole columns, or `row_len` is not whole blocks of `ty`;
    /// [`Error::NotMultipliable`] for integers.
    pub fn new<T: Float>(ty: GgmlType, values: &[T], row_len: usize) -> Result<Self> {
        Self::new_with(Isa::detect(), ty, values, row_len)
    }

    /// Like [`new`](Self::new), with the given instruction set. The integers are the same; only the speed differs.
    ///
    /// # Errors
    /// The errors of [`new`](Self::new).
    #[doc(hidden)]
    pub fn new_with<T: Float>(isa: Isa, ty: GgmlType, values: &[T], row_len: usize) -> Result<Self> {
        let grain = grain(ty).ok_or(Error::NotMultipliable { ty })?;
        super::check_row(ty, row_len)?;
        let mut activations =
            Activations { grain, row_len, columns: 0, chunks: Vec::new(), floats: Vec::new() };
        activations.set_with(isa, values)?;
        Ok(activations)
    }

    /// Replaces the columns by any number of other columns of the same length. Memory is reused: if there are no more
    /// columns than before, nothing is allocated.
    ///
    /// # Errors
    /// [`Error::Length`] if `values` are not whole columns. The activations are then unchanged.
    pub fn set<T: Float>(&mut self, values: &[T]) -> Result<()> {
        self.set_with(Isa::detect(), values)
    }

    /// Like [`set`](Self::set), with the given instruction set.
    ///
    /// # Errors
    /// The errors of [`set`](Self::set).
    #[doc(hidden)]
    pub fn set_with<T: Float>(&mut self, isa: Isa, values: &[T]) -> Result<()> {
        let columns = super::whole_columns(Measured::Activations, values.len(), self.row_len)?;
        self.columns = columns;
        if self.grain == Grain::Floats {
            self.floats.clear();
            self.floats.extend(values.iter().map(|value| value.to_f32()));
            return Ok(());
        }
        self.chunks.clear();
        let padded: usize = self.tiles().map(|tile| tile.width).sum();
        self.chunks.resize(padded * self.chunks_in_row(), Chunk::ZERO);
        isa.run(Quantize { activations: self, values });
        Ok(())
    }

    /// Returns the number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Returns the number of values in a column, which is that of a row of the weights.
    pub fn row_len(&self) -> usize {
        self.row_len
    }

    /// Returns `true` if these can be multiplied with weights of type `ty`.
    pub fn serves(&self, ty: GgmlType) -> bool {
        grain(ty) == Some(self.grain)
    }

    /// Returns some of the columns, in the order given.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a column past the last.
    pub fn select(&self, columns: &[usize]) -> Result<Self> {
        let mut selected = Activations {
            grain: self.grain,
            row_len: self.row_len,
            columns: columns.len(),
            chunks: Vec::new(),
            floats: Vec::new(),
        };
        if let Some(&beyond) = columns.iter().find(|&&column| column >= self.columns) {
            return Err(Error::OutOfRange {
                what: "column",
                found: beyond as u64,
                count: self.columns as u64,
            });
        }
        if self.grain == Grain::Floats {
            for &column in columns {
                selected.floats.extend_from_slice(self.floats(column));
            }
            return Ok(selected);
        }
        let padded: usize = selected.tiles().map(|tile| tile.width).sum();
        selected.chunks.resize(padded * self.chunks_in_row(), Chunk::ZERO);
        for (to, &from) in columns.iter().enumerate() {
            let (from, to) = (self.column(from), selected.column(to));
            for i in 0..self.chunks_in_row() {
                selected.chunks[to.first + i * to.stride] = self.chunks[from.first + i * from.stride];
            }
        }
        Ok(selected)
    }

    pub(super) fn chunks_in_row(&self) -> usize {
        self.row_len.div_ceil(CHUNK)
    }

    /// Returns the tiles of the columns. Columns that do not exist are zeros.
    pub(super) fn tiles(&self) -> impl Iterator<Item = Tile> {
        (0..self.columns.div_ceil(TILE)).map(|number| self.tile(number))
    }

    fn tile(&self, number: usize) -> Tile {
        let first_column = number * TILE;
        let columns = (self.columns - first_column).min(TILE);
        // Only the last tile is narrower, so that those before it have this width.
        let width = if self.columns < LEAST_TILED { columns } else { columns.next_multiple_of(LEAST_TILED) };
        Tile { first_column, columns, width, first_chunk: first_column * self.chunks_in_row() }
    }

    /// Returns where a column's chunks are.
    pub(super) fn column(&self, column: usize) -> Column {
        let tile = self.tile(column / TILE);
        Column { first: tile.first_chunk + column % TILE, stride: tile.width }
    }

    pub(super) fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// Returns a column's values if they were kept as floats.
    pub(super) fn floats(&self, column: usize) -> &[f32] {
        &self.floats[column * self.row_len..][..self.row_len]
    }

    pub(super) fn all_floats(&self) -> &[f32] {
        &self.floats
    }
}

impl core::fmt::Debug for Activations {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Activations")
            .field("grain", &self.grain)
            .field("row_len", &self.row_len)
            .field("columns", &self.columns)
            .finish_non_exhaustive()
    }
}

/// Adjacent columns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tile {
    pub(super) first_column: usize,
    /// The number of existing columns.
    pub(super) columns: usize,
    /// The number of columns including those of zeros.
    pub(super) width: usize,
    pub(super) first_chunk: usize,
}

struct Quantize<'a, T> {
    activations: &'a mut Activations,
    values: &'a [T],
}

impl<T: Float> Kernel for Quantize<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Quantize { activations, values } = self;
        let mut floats = [0.0; CHUNK];
        if activations.row_len == 0 {
            return;
        }
        for (column, values) in values.chunks_exact(activations.row_len).enumerate() {
            let Column { first, stride } = activations.column(column);
            for (i, values) in values.chunks(CHUNK).enumerate() {
                let chunk = &mut activations.chunks[first + i * stride];
                for (float, value) in floats.iter_mut().zip(values) {
                    *float = value.to_f32();
                }
                match activations.grain {
                    Grain::Units => units(s, &floats, values.len() / UNIT, chunk),
                    _ => super_block(s, &floats, chunk),
                }
                // They fit in 16 bits: 16 * 127.
                for (short, &sum) in chunk.shorts.iter_mut().zip(chunk.sums.as_flattened()) {
                    *short = sum as i16;
                }
                if activations.grain == Grain::SuperBlocks {
                    let scale = chunk.scales[0];
                    activations.chunks[first + (i - i % 8) * stride].scales[i % 8] = scale;
                }
            }
        }
    }
}

/// Returns `true` if all values are finite.
#[inline(always)]
fn are_finite<S: Simd>(s: S, values: &[f32]) -> bool {
    let infinity = s.splat(f32::INFINITY);
    let mut finite = s.lt(s.splat(0.0), infinity);
    for at in (0..values.len()).step_by(S::LANES) {
        finite = s.both(finite, s.lt(s.abs(s.load(&values[at..])), infinity));
    }
    s.all(finite)
}

/// Quantizes `units` times 32 values like ggml's Q8_0, except that the scale is not rounded.
#[inline(always)]
fn units<S: Simd>(s: S, values: &[f32; CHUNK], units: usize, chunk: &mut Chunk) {
    const { assert!(UNIT.is_multiple_of(MAX_LANES)) };
    for (u, values) in values.as_chunks::<UNIT>().0.iter().take(units).enumerate() {
        if !are_finite(s, values) {
            chunk.scales[u] = f32::NAN;
            continue;
        }
        let d = crate::codec::operand::greatest_magnitude(s, values) / 127.0;
        chunk.scales[u] = d;
        let inverse = s.splat(if d != 0.0 { 1.0 / d } else { 0.0 });
        let quants = &mut chunk.quants[u];
        for at in (0..UNIT).step_by(S::LANES) {
            // An infinite inverse, from a scale below 2^-128, gives i32::MIN, whose low byte is 0 as in ggml.
            s.store_u8(s.round_half_away(s.mul(s.load(&values[at..]), inverse)), &mut quants[at..]);
        }
        for (half, quants) in chunk.quants[u].as_chunks::<16>().0.iter().enumerate() {
            chunk.sums[half][u] = quants.iter().map(|&q| i32::from(q as i8)).sum();
        }
    }
}

/// Quantizes 256 values like ggml's Q8_K.
#[inline(always)]
fn super_block<S: Simd>(s: S, values: &[f32; CHUNK], chunk: &mut Chunk) {
    if !are_finite(s, values) {
        chunk.scales[0] = f32::NAN;
        return;
    }
    let block: BlockQ8_K = quantize_super_block::<S, Q8_K>(s, values);
    chunk.scales[0] = f32::from_le_bytes(block.d);
    chunk.quants = bytemuck::cast(block.qs);
    for (j, sum) in block.bsums.iter().enumerate() {
        chunk.sums[j % 2][j / 2] = i32::from(i16::from_le_bytes(*sum));
    }
}

impl Activations {
    /// Returns the activations as they are multiplied: their integers times their scales. For measuring the cost of rounding.
    pub fn dequantize(&self) -> Vec<f32> {
        if self.grain == Grain::Floats {
            return self.floats.clone();
        }
        let mut values = Vec::with_capacity(self.columns * self.row_len);
        for column in 0..self.columns {
            let Column { first, stride } = self.column(column);
            for i in 0..self.chunks_in_row() {
                let chunk = &self.chunks[first + i * stride];
                let here = (self.row_len - i * CHUNK).min(CHUNK);
                for (at, &q) in chunk.quants.as_flattened()[..here].iter().enumerate() {
                    let unit = if self.grain == Grain::Units { at / UNIT } else { 0 };
                    values.push(f32::from(q as i8) * chunk.scales[unit]);
                }
            }
        }
        values
    }
}

/// Checks that activations and weights are compatible.
pub(super) fn check_pair(ty: GgmlType, row_len: usize, x: &Activations) -> Result<()> {
    if x.row_len != row_len {
        return Err(Error::Length {
            what: Measured::Column,
            found: x.row_len as u64,
            wanted: format!("{row_len}, as a row of the weights"),
        });
    }
    if !x.serves(ty) {
        return Err(Error::WrongActivations {
            ty,
            wanted: grain(ty).map_or("", Grain::of),
            found: x.grain.of(),
        });
    }
    Ok(())
}
