//! [`Matrix`]: a quantized weight, whose values are computed when they are read.

use std::io;

use super::grid::Grid;
use crate::codec::affine;
use crate::file::read_at::{ReadAt, Units};
use crate::model::job::write_floats;

/// Numbers beside codes, of which each holds for a group.
pub(super) enum Factors<'a> {
    Stored(Grid<'a>),
    /// Codes of a table, themselves times a factor for each `block`, and a number for all.
    Nested {
        codes: Grid<'a>,
        factors: Grid<'a>,
        block: u64,
        offset: f32,
    },
}

impl Factors<'_> {
    fn rows(&self, first: u64, out: &mut [f32]) -> io::Result<()> {
        match self {
            Factors::Stored(grid) => grid.values(first, out),
            Factors::Nested { codes, .. } => self.flat(first * codes.cols, out),
        }
    }

    fn flat(&self, first: u64, out: &mut [f32]) -> io::Result<()> {
        match self {
            Factors::Stored(grid) => grid.flat(first, out),
            Factors::Nested { codes, factors, block, offset } => {
                codes.flat(first, out)?;
                let (start, end) = (first / block, (first + out.len() as u64).div_ceil(*block));
                let mut outer = vec![0.0; (end - start) as usize];
                factors.flat(start, &mut outer)?;
                for (value, at) in out.iter_mut().zip(first..) {
                    *value = *value * outer[(at / block - start) as usize] + offset;
                }
                Ok(())
            }
        }
    }

    /// The codes or numbers that are stored.
    pub(super) fn grid(&self) -> &Grid<'_> {
        match self {
            Factors::Stored(grid) | Factors::Nested { codes: grid, .. } => grid,
        }
    }

    pub(super) fn cols(&self) -> usize {
        self.grid().cols as usize
    }
}

/// Which factor is a value's.
pub(super) enum Groups {
    /// That of its number, counted through all rows, divided by this.
    Flat(u64),
    /// Row r of the codes has row r / `matrix_rows` · `matrix_factors` + r % `matrix_rows` / `block` of the factors. There, each
    /// factor is that of so many columns.
    Grid { matrix_rows: u64, matrix_factors: u64, block: u64, columns: Columns },
}

pub(super) enum Columns {
    Width(u64),
    /// Each column's own, as activation order leaves them.
    Index(Vec<u32>),
}

impl Groups {
    /// Row r has row r of the factors.
    pub(super) fn by_row(rows: u64, columns: Columns) -> Self {
        Groups::Grid { matrix_rows: rows.max(1), matrix_factors: rows, block: 1, columns }
    }

    /// All rows have the same factors.
    pub(super) fn by_column(rows: u64) -> Self {
        Groups::Grid {
            matrix_rows: rows.max(1),
            matrix_factors: 0,
            block: rows.max(1),
            columns: Columns::Width(1),
        }
    }

    pub(super) fn factor_row(&self, row: u64) -> u64 {
        match self {
            Groups::Flat(_) => 0,
            Groups::Grid { matrix_rows, matrix_factors, block, .. } => {
                row / matrix_rows * matrix_factors + row % matrix_rows / block
            }
        }
    }
}

/// A factor or divisor for all.
#[derive(Clone, Copy)]
pub(super) enum Last {
    Multiply(f32),
    Divide(f32),
}

/// `value = (code − zero) · scale`, and what little else checkpoints do to it.
pub(in crate::model::hf) struct Matrix<'a> {
    /// Its rows and columns are those that groups count, which may be others than the weight's.
    pub(super) codes: Grid<'a>,
    pub(super) scales: Option<Factors<'a>>,
    /// What becomes of each scale first.
    pub(super) of_scales: Option<Last>,
    pub(super) zeros: Option<Factors<'a>>,
    /// Added to each zero point.
    pub(super) zero_offset: f32,
    /// Whether zeros are subtracted from products and not from codes.
    pub(super) zeros_are_scaled: bool,
    pub(super) groups: Groups,
    pub(super) last: Option<Last>,
    /// A factor for each column.
    pub(super) by_column: Option<Vec<f32>>,
}

/// Values that are computed at a time, for the caches.
const PART_VALUES: u64 = 32 * 1024;

impl<'a> Matrix<'a> {
    pub(super) fn new(codes: Grid<'a>, groups: Groups) -> Self {
        Matrix {
            codes,
            scales: None,
            of_scales: None,
            zeros: None,
            zero_offset: 0.0,
            zeros_are_scaled: false,
            groups,
            last: None,
            by_column: None,
        }
    }

    /// The values of whole rows from `first` on.
    fn rows(&self, first: u64, out: &mut [f32]) -> io::Result<()> {
        self.codes.values(first, out)?;
        let cols = self.codes.cols as usize;
        if cols == 0 {
            return Ok(());
        }
        if let Some(scales) = &self.scales {
            match &self.groups {
                Groups::Flat(block) => self.by_number(scales, *block, first * self.codes.cols, out)?,
                Groups::Grid { columns, .. } => {
                    let last = first + (out.len() / cols) as u64 - 1;
                    let (start, end) = self.factor_rows(first, last);
                    let of_row = scales.cols();
                    let (factors, zeros) = self.factors(start, end)?;
                    for (row, out) in (first..).zip(out.chunks_mut(cols)) {
                        let at = (self.groups.factor_row(row) - start) as usize * of_row;
                        let factors = &factors[at..at + of_row];
                        let zeros = zeros.get(at..at + of_row);
                        self.restore(columns, factors, zeros, out);
                    }
                }
            }
        }
        apply(self.last, out);
        if let Some(factors) = &self.by_column {
            for row in out.chunks_mut(cols) {
                row.iter_mut().zip(factors).for_each(|(value, factor)| *value *= factor);
            }
        }
        Ok(())
    }

    /// Rows of scales and, where there are any, zero points.
    pub(super) fn factors(&self, start: u64, end: u64) -> io::Result<(Vec<f32>, Vec<f32>)> {
        let Some(scales) = &self.scales else { return Ok((Vec::new(), Vec::new())) };
        let of_row = scales.cols();
        let mut factors = vec![0.0; (end - start) as usize * of_row];
        scales.rows(start, &mut factors)?;
        finite(&factors, start, of_row)?;
        apply(self.of_scales, &mut factors);
        let mut zeros = vec![0.0; if self.zeros.is_some() { factors.len() } else { 0 }];
        if let Some(stored) = &self.zeros {
            stored.rows(start, &mut zeros)?;
            finite(&zeros, start, of_row)?;
            zeros.iter_mut().for_each(|zero| *zero += self.zero_offset);
        }
        Ok((factors, zeros))
    }

    /// The scale of every value, where there is one for all.
    pub(super) fn factor_for_all(&self) -> f32 {
        match self.last {
            Some(Last::Multiply(factor)) => factor,
            Some(Last::Divide(divisor)) => 1.0 / divisor,
            None => 1.0,
        }
    }

    /// The rows of factors of these rows, of which the last is one of them.
    pub(super) fn factor_rows(&self, first: u64, last: u64) -> (u64, u64) {
        (self.groups.factor_row(first), self.groups.factor_row(last) + 1)
    }

    fn restore(&self, columns: &Columns, factors: &[f32], zeros: Option<&[f32]>, out: &mut [f32]) {
        match columns {
            Columns::Width(1) => {
                for (column, value) in out.iter_mut().enumerate() {
                    let zero = zeros.map_or(0.0, |zeros| zeros[column]);
                    self.restore_group(std::slice::from_mut(value), factors[column], zero);
                }
            }
            Columns::Width(width) => {
                for (group, values) in out.chunks_mut(*width as usize).enumerate() {
                    let zero = zeros.map_or(0.0, |zeros| zeros[group]);
                    self.restore_group(values, factors[group], zero);
                }
            }
            Columns::Index(index) => {
                for (value, &group) in out.iter_mut().zip(index) {
                    let zero = zeros.map_or(0.0, |zeros| zeros[group as usize]);
                    self.restore_group(std::slice::from_mut(value), factors[group as usize], zero);
                }
            }
        }
    }

    #[inline(always)]
    fn restore_group(&self, values: &mut [f32], scale: f32, zero: f32) {
        if self.zeros_are_scaled {
            values.iter_mut().for_each(|value| *value = *value * scale - zero);
        } else {
            affine::restore(values, scale, zero);
        }
    }

    /// Values whose factors are those of their numbers.
    fn by_number(&self, scales: &Factors<'_>, block: u64, first: u64, out: &mut [f32]) -> io::Result<()> {
        let (start, end) = (first / block, (first + out.len() as u64).div_ceil(block));
        let mut factors = vec![0.0; (end - start) as usize];
        scales.flat(start, &mut factors)?;
        finite(&factors, start, 1)?;
        let mut zeros = vec![0.0; factors.len()];
        if let Some(stored) = &self.zeros {
            stored.flat(start, &mut zeros)?;
            finite(&zeros, start, 1)?;
            zeros.iter_mut().for_each(|zero| *zero += self.zero_offset);
        }
        // The first group may have begun before.
        let begun = ((first % block) as usize).min(out.len());
        let ahead = if begun == 0 { 0 } else { ((block - first % block) as usize).min(out.len()) };
        let (head, rest) = out.split_at_mut(ahead);
        let groups = (ahead > 0).then_some(head).into_iter().chain(rest.chunks_mut(block as usize));
        for ((values, &scale), &zero) in groups.zip(&factors).zip(&zeros) {
            self.restore_group(values, scale, zero);
        }
        Ok(())
    }
}

fn apply(last: Option<Last>, values: &mut [f32]) {
    match last {
        Some(Last::Multiply(factor)) => values.iter_mut().for_each(|value| *value *= factor),
        Some(Last::Divide(divisor)) => values.iter_mut().for_each(|value| *value /= divisor),
        None => {}
    }
}

fn finite(factors: &[f32], first: u64, of_row: usize) -> io::Result<()> {
    match factors.iter().position(|factor| !factor.is_finite()) {
        None => Ok(()),
        Some(at) => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "scale or zero point {} of row {} is {}, and must be finite",
                at % of_row.max(1),
                first + (at / of_row.max(1)) as u64,
                factors[at]
            ),
        )),
    }
}

/// The values as those of an F32 tensor.
impl ReadAt for Matrix<'_> {
    fn fill_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let cols = self.codes.cols.max(1);
        let mut values = Vec::new();
        Units { bytes: 4 * cols, count: self.codes.rows, at_once: PART_VALUES / cols }.fill(
            buffer,
            offset,
            |first, out| {
                values.resize(out.len() / 4, 0.0);
                self.rows(first, &mut values)?;
                write_floats(&values, out);
                Ok(())
            },
        )
    }
}
