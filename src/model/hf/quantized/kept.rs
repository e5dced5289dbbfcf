//! [`Blocks`]: the codes of a checkpoint as blocks of a format of GGUF that has the same.

use std::io;

use super::matrix::{Columns, Factors, Groups, Last, Matrix};
use super::{Codes, Quantized};
use crate::error::{Error, Result};
use crate::file::read_at::{ReadAt, Units};
use crate::ggml_type::GgmlType;
use crate::simd::{f16_to_f32, f32_to_f16};
use crate::tensor::Shape;

/// The largest relative error of a scale that is rounded to f16 and not too small for it: half a unit in the last place.
const HALF_A_UNIT: f32 = 1.0 / 2048.0;

/// What becomes of a weight whose codes a format has.
pub(in crate::model::hf) struct Kept<'a> {
    pub(in crate::model::hf) blocks: Blocks<'a>,
    pub(in crate::model::hf) ty: GgmlType,
    /// A factor for the whole tensor, which is one of its own.
    pub(in crate::model::hf) factor: Option<f32>,
    /// The largest relative error of scales, which are rounded.
    pub(in crate::model::hf) rounded: f32,
}

impl<'a> Quantized<'a> {
    /// Whether a format that has the codes needs a factor beside them.
    pub(in crate::model::hf) fn has_factor(&self) -> bool {
        self.codes == Codes::Nvfp4
    }

    /// The weight in a format that has its codes, where there is one; otherwise as it was. Reads scales and zero points.
    pub(in crate::model::hf) fn kept(self, shape: Shape) -> Result<std::result::Result<Kept<'a>, Self>> {
        let Some((ty, factor, of_factor)) = self.format(shape) else { return Ok(Err(self)) };
        let reading = |error| Error::io("read the scales of a weight", error);
        let rounded = match ty {
            GgmlType::MXFP4 | GgmlType::NVFP4 => Some((ty, of_factor)),
            _ => self.rounding(ty).map_err(reading)?,
        };
        let Some((ty, rounded)) = rounded else { return Ok(Err(self)) };
        let blocks = Blocks { matrix: self.matrix, codes: self.codes, ty };
        Ok(Ok(Kept { blocks, ty, factor, rounded }))
    }

    /// The format that may have the codes, by what they are and how they are grouped; with a factor for all and its rounding.
    fn format(&self, shape: Shape) -> Option<(GgmlType, Option<f32>, f32)> {
        let (matrix, cols) = (&self.matrix, self.matrix.codes.cols);
        let is_usual = matrix.by_column.is_none() && !matrix.zeros_are_scaled && shape.row_len() == cols;
        let ty = match self.codes {
            Codes::Integers { bits: 4, .. } => GgmlType::Q4_0,
            Codes::Integers { bits: 8, .. } => GgmlType::Q8_0,
            Codes::Mxfp4 => GgmlType::MXFP4,
            Codes::Nvfp4 => GgmlType::NVFP4,
            Codes::Ternary => GgmlType::TQ2_0,
            _ => return None,
        };
        let block = ty.block_len() as u64;
        if !is_usual || !cols.is_multiple_of(block) {
            return None;
        }
        if let (Some(_), Codes::Integers { .. }) = (&matrix.scales, self.codes) {
            let whole = match &matrix.groups {
                Groups::Flat(_) => false,
                Groups::Grid { columns: Columns::Width(width), .. } => {
                    width.is_multiple_of(block) || *width >= cols
                }
                Groups::Grid { columns: Columns::Index(index), .. } => {
                    index.chunks(block as usize).all(|run| run.iter().all(|group| *group == run[0]))
                }
            };
            return whole.then_some((ty, None, 0.0));
        }
        match (self.codes, matrix.of_scales) {
            (Codes::Nvfp4, Some(Last::Multiply(factor))) => Some((ty, Some(factor), 0.0)),
            (Codes::Nvfp4, Some(Last::Divide(divisor))) => {
                let factor = 1.0 / divisor;
                let exact = 1.0 / f64::from(divisor);
                let error = ((f64::from(factor) - exact) / exact).abs();
                factor.is_normal().then_some((ty, Some(factor), error as f32))
            }
            _ => Some((ty, None, 0.0)),
        }
    }

    /// The format and the largest relative error of its scales, or `None` where a scale or a zero point does not fit.
    fn rounding(&self, ty: GgmlType) -> io::Result<Option<(GgmlType, f32)>> {
        let (matrix, mut largest, mut ty) = (&self.matrix, 0.0f32, ty);
        let mut round = |value: f32| {
            let error = (f16_to_f32(f32_to_f16(value)) - value).abs();
            let relative = if error == 0.0 { 0.0 } else { error / value.abs() };
            largest = largest.max(relative);
            relative <= HALF_A_UNIT
        };
        let Some(scales) = &matrix.scales else {
            let fits = round(matrix.factor_for_all());
            return Ok((fits && matrix.zeros.is_none() && self.is_symmetric(0.0)).then_some((ty, largest)));
        };
        /// Rows of factors at a time.
        const ROWS: u64 = 256;
        let rows = scales.grid().rows;
        for first in (0..rows).step_by(ROWS as usize) {
            let (factors, zeros) = matrix.factors(first, (first + ROWS).min(rows))?;
            if !factors.iter().all(|&factor| round(factor)) {
                return Ok(None);
            }
            let is_symmetric = match zeros.is_empty() {
                true => self.is_symmetric(0.0),
                false => zeros.iter().all(|&zero| self.is_symmetric(zero)),
            };
            match (is_symmetric, self.codes) {
                (true, _) => {}
                (false, Codes::Integers { bits: 4, .. }) => ty = GgmlType::Q4_1,
                (false, _) => return Ok(None),
            }
        }
        if ty == GgmlType::Q4_1 {
            for first in (0..rows).step_by(ROWS as usize) {
                let (factors, zeros) = matrix.factors(first, (first + ROWS).min(rows))?;
                let zeros = zeros.iter().chain(std::iter::repeat(&0.0));
                if !factors.iter().zip(zeros).all(|(&factor, &zero)| round(self.minimum(factor, zero))) {
                    return Ok(None);
                }
            }
        }
        Ok(Some((ty, largest)))
    }

    /// Whether codes stand for integers of which the least is −2^(bits − 1), and 0 is the middle.
    fn is_symmetric(&self, zero: f32) -> bool {
        match self.codes {
            Codes::Integers { offset: 256, .. } => zero == 0.0,
            Codes::Integers { bits, offset } => offset as f32 + zero == (1u32 << (bits - 1)) as f32,
            _ => true,
        }
    }

    fn minimum(&self, scale: f32, zero: f32) -> f32 {
        minimum(self.codes, scale, zero)
    }
}

/// What the code 0 stands for.
fn minimum(codes: Codes, scale: f32, zero: f32) -> f32 {
    let Codes::Integers { offset, .. } = codes else { return 0.0 };
    (0.0 - (offset as f32 + zero)) * scale
}

/// The bytes of the blocks, made when they are read.
pub(in crate::model::hf) struct Blocks<'a> {
    matrix: Matrix<'a>,
    codes: Codes,
    ty: GgmlType,
}

impl<'a> Blocks<'a> {
    /// What the values are computed from.
    pub(in crate::model::hf) fn into_matrix(self) -> Matrix<'a> {
        self.matrix
    }

    /// The blocks of whole rows from `first` on.
    fn rows(&self, first: u64, out: &mut [u8]) -> io::Result<()> {
        let (len, bytes) = (self.ty.block_len(), self.ty.block_bytes());
        let cols = self.matrix.codes.cols as usize;
        let row_bytes = cols / len * bytes;
        let rows = out.len() / row_bytes;
        let mut codes = vec![0; rows * cols];
        self.matrix.codes.raw(first, &mut codes)?;
        let last = first + rows as u64 - 1;
        let (start, end) = self.matrix.factor_rows(first, last);
        let raw = matches!(self.ty, GgmlType::MXFP4 | GgmlType::NVFP4);
        let (factors, zeros) = match &self.matrix.scales {
            Some(_) => self.matrix.factors(start, end)?,
            None => (vec![self.matrix.factor_for_all()], Vec::new()),
        };
        let (of_row, mut scale_codes) = (self.matrix.scales.as_ref().map_or(0, Factors::cols), Vec::new());
        if let Some(scales) = self.matrix.scales.as_ref().filter(|_| raw) {
            scale_codes.resize((end - start) as usize * of_row, 0);
            scales.grid().raw(start, &mut scale_codes)?;
            if self.ty == GgmlType::NVFP4 && scale_codes.iter().any(|code| code & 0x80 != 0) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "a scale is negative, which NVFP4 has none of",
                ));
            }
        }
        for (row, (codes, out)) in (first..).zip(codes.chunks(cols).zip(out.chunks_mut(row_bytes))) {
            let at_row =
                if of_row == 0 { 0 } else { (self.matrix.groups.factor_row(row) - start) as usize * of_row };
            for (block, (codes, out)) in codes.chunks(len).zip(out.chunks_mut(bytes)).enumerate() {
                let group = match &self.matrix.groups {
                    _ if of_row == 0 => 0,
                    Groups::Grid { columns: Columns::Index(index), .. } => index[block * len] as usize,
                    Groups::Grid { columns: Columns::Width(width), .. } => (block * len) / *width as usize,
                    Groups::Flat(_) => 0,
                };
                let at = at_row + group;
                let scale = |factor: f32| f32_to_f16(factor).to_le_bytes();
                match self.ty {
                    GgmlType::Q4_0 => {
                        out[..2].copy_from_slice(&scale(factors[at]));
                        halves(codes, &mut out[2..]);
                    }
                    GgmlType::Q4_1 => {
                        let zero = zeros.get(at).copied().unwrap_or(0.0);
                        out[..2].copy_from_slice(&scale(factors[at]));
                        out[2..4].copy_from_slice(&scale(minimum(self.codes, factors[at], zero)));
                        halves(codes, &mut out[4..]);
                    }
                    GgmlType::Q8_0 => {
                        // Without two's complement, the middle is 128.
                        let flip = match self.codes {
                            Codes::Integers { offset: 256, .. } => 0,
                            _ => 0x80,
                        };
                        out[..2].copy_from_slice(&scale(factors[at]));
                        out[2..].iter_mut().zip(codes).for_each(|(out, code)| *out = code ^ flip);
                    }
                    GgmlType::MXFP4 => {
                        out[0] = scale_codes[at];
                        halves(codes, &mut out[1..]);
                    }
                    GgmlType::NVFP4 => {
                        out[..4].copy_from_slice(&scale_codes[at..at + 4]);
                        codes
                            .chunks(16)
                            .zip(out[4..].chunks_mut(8))
                            .for_each(|(codes, out)| halves(codes, out));
                    }
                    _ => {
                        for (half, out) in codes.chunks(128).zip(out[..64].chunks_mut(32)) {
                            for (byte, out) in out.iter_mut().enumerate() {
                                *out = (0..4).map(|plane| half[byte + 32 * plane] << (2 * plane)).sum();
                            }
                        }
                        out[64..].copy_from_slice(&scale(factors[at]));
                    }
                }
            }
        }
        Ok(())
    }
}

/// The first half of the codes in the low nibbles, the second in the high ones.
fn halves(codes: &[u8], out: &mut [u8]) {
    let (low, high) = codes.split_at(out.len());
    for ((out, low), high) in out.iter_mut().zip(low).zip(high) {
        *out = low | high << 4;
    }
}

impl ReadAt for Blocks<'_> {
    fn fill_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        const PART_BYTES: u64 = 64 * 1024;
        let codes = &self.matrix.codes;
        let bytes = self.ty.long_bytes_in(codes.cols);
        Units { bytes, count: codes.rows, at_once: PART_BYTES / bytes.max(1) }.fill(
            buffer,
            offset,
            |first, out| self.rows(first, out),
        )
    }
}
