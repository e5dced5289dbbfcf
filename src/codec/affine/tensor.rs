//! [`AffineTensor`]: integers with their scales and zero points, and the values that they represent.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use super::packing::Packing;
use super::scheme::{Affine, check_rows};
use crate::codec::values::QuantError;
use crate::error::{Error, Measured, Result};
use crate::simd::{Isa, Kernel, Simd};

/// A tensor of integers with scales and zero points.
#[derive(Debug, Clone, PartialEq)]
pub struct AffineTensor {
    pub(super) scheme: Affine,
    pub(super) row_len: usize,
    /// Each integer minus the least of the scheme.
    pub(super) codes: Vec<u8>,
    pub(super) scales: Vec<f32>,
    pub(super) zero_points: Vec<i32>,
}

impl AffineTensor {
    /// Creates a tensor from stored parts. `codes` are integers minus the least of the scheme. Scales and zero points are
    /// listed row by row.
    ///
    /// ```
    /// use gguf_codec::affine::{Affine, AffineTensor, Granularity};
    /// let scheme = Affine::new(4).signed(false).symmetric(false).granularity(Granularity::Group(2));
    /// let tensor = AffineTensor::from_parts(scheme, 4, vec![0, 15, 7, 8], vec![0.5, 2.0], vec![0, 8])?;
    /// let mut values = [0.0; 4];
    /// tensor.dequantize(&mut values)?;
    /// assert_eq!(values, [0.0, 7.5, -2.0, 0.0]);
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Length`] for an invalid scheme, or if the lengths of the parts do not match; [`Error::OutOfRange`] for a code or
    /// zero point outside the integer range; [`Error::NonFinite`] for a scale that is not finite.
    pub fn from_parts(
        scheme: Affine,
        row_len: usize,
        codes: Vec<u8>,
        scales: Vec<f32>,
        zero_points: Vec<i32>,
    ) -> Result<Self> {
        scheme.check_scheme()?;
        check_rows(codes.len(), row_len)?;
        let wanted = scheme.scale_count(codes.len(), row_len);
        for (what, found) in [(Measured::Scales, scales.len()), (Measured::ZeroPoints, zero_points.len())] {
            if found != wanted {
                return Err(Error::Length {
                    what,
                    found: found as u64,
                    wanted: format!("{wanted}, one for each group"),
                });
            }
        }
        let (low, high) = scheme.range();
        if let Some(code) = codes.iter().find(|&&code| i32::from(code) > high - low) {
            return Err(Error::OutOfRange {
                what: "code",
                found: u64::from(*code),
                count: (high - low + 1) as u64,
            });
        }
        if let Some(zero) = zero_points.iter().find(|zero| !(low..=high).contains(zero)) {
            return Err(Error::OutOfRange {
                what: "zero point, counted from the least integer,",
                found: i64::from(*zero).wrapping_sub(low.into()) as u64,
                count: (high - low + 1) as u64,
            });
        }
        match scales.iter().position(|scale| !scale.is_finite()) {
            Some(index) => Err(Error::NonFinite { what: "scale", index, value: scales[index] }),
            None => Ok(AffineTensor { scheme, row_len, codes, scales, zero_points }),
        }
    }

    /// Returns the scheme.
    pub fn scheme(&self) -> Affine {
        self.scheme
    }

    /// Returns the codes: each integer minus the least of the [range](Affine::range), one byte each.
    pub fn codes(&self) -> &[u8] {
        &self.codes
    }

    /// Returns the integers.
    pub fn integers(&self) -> impl ExactSizeIterator<Item = i32> + '_ {
        let (low, _) = self.scheme.range();
        self.codes.iter().map(move |&code| i32::from(code) + low)
    }

    /// Returns the scales, group by group and row by row.
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// Returns the zero points, one for each scale.
    pub fn zero_points(&self) -> &[i32] {
        &self.zero_points
    }

    /// Dequantizes the values.
    ///
    /// # Errors
    /// [`Error::Length`] if the length of `out` is not the number of codes.
    pub fn dequantize(&self, out: &mut [f32]) -> Result<()> {
        self.dequantize_with(Isa::detect(), out)
    }

    /// Like [`dequantize`](Self::dequantize), with this instruction set. The result is the same to the bit.
    ///
    /// # Errors
    /// The errors of [`dequantize`](Self::dequantize).
    #[doc(hidden)]
    pub fn dequantize_with(&self, isa: Isa, out: &mut [f32]) -> Result<()> {
        if out.len() != self.codes.len() {
            return Err(Error::Length {
                what: Measured::Values,
                found: out.len() as u64,
                wanted: format!("{}, one for each code", self.codes.len()),
            });
        }
        isa.run(Restore { tensor: self, out });
        Ok(())
    }

    /// Returns the error of the dequantized values relative to `values`.
    ///
    /// # Errors
    /// [`Error::Length`] if their number differs.
    pub fn error(&self, values: &[f32]) -> Result<QuantError> {
        let mut restored = vec![0.0; self.codes.len()];
        self.dequantize(&mut restored)?;
        QuantError::between(values, &restored)
    }

    /// Returns the codes packed in this order. Each row begins with a byte or word of its own.
    ///
    /// # Errors
    /// [`Error::Length`] if the order does not support codes of this width.
    pub fn pack(&self, packing: Packing) -> Result<Vec<u8>> {
        let bits = self.scheme.bits;
        let row_bytes = packing.packed_len(bits, self.row_len).ok_or_else(|| Error::Length {
            what: Measured::CodeBits,
            found: bits.into(),
            wanted: "4, which the order has".into(),
        })?;
        let rows = self.codes.len().checked_div(self.row_len).unwrap_or(0);
        let mut packed = vec![0; rows * row_bytes];
        for (codes, out) in self.codes.chunks(self.row_len.max(1)).zip(packed.chunks_mut(row_bytes.max(1))) {
            packing.pack(bits, codes, out)?;
        }
        Ok(packed)
    }
}

struct Restore<'a> {
    tensor: &'a AffineTensor,
    out: &'a mut [f32],
}

impl Kernel for Restore<'_> {
    type Output = ();

    /// The loop needs no vector operations by name: the compiler vectorizes it for each instruction set as it is.
    #[inline(always)]
    fn run<S: Simd>(self, _s: S) {
        let AffineTensor { scheme, row_len, codes, scales, zero_points } = self.tensor;
        let (low, _) = scheme.range();
        let width = scheme.width(codes.len(), *row_len);
        let groups = scheme.runs(codes, *row_len).flat_map(|run| run.chunks(width));
        let outs = scheme.runs_mut(self.out, *row_len).flat_map(|run| run.chunks_mut(width));
        for ((codes, out), (&scale, &zero)) in groups.zip(outs).zip(scales.iter().zip(zero_points)) {
            for (out, &code) in out.iter_mut().zip(codes) {
                *out = f32::from(code);
            }
            restore(out, scale, (zero - low) as f32);
        }
    }
}

/// Replaces codes by their values.
#[inline(always)]
pub(crate) fn restore(codes: &mut [f32], scale: f32, zero: f32) {
    codes.iter_mut().for_each(|code| *code = (*code - zero) * scale);
}
