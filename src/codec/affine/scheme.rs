//! [`Affine`]: a scheme, and how it divides rows into groups.

use alloc::format;

use crate::error::{Error, Measured, Result};

/// Which values share a scale and a zero point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Granularity {
    /// All values of the tensor.
    Tensor,
    /// The values of a row, which is an output channel.
    Row,
    /// This many consecutive values of a row. The last group of a row may be shorter.
    Group(usize),
}

/// How scales and zero points are found.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Calibration {
    /// The range extends from the least value to the greatest. Nothing is clipped.
    MinMax,
    /// Values beyond this percentile, from 50 to 100, are clipped. The percentile is of magnitudes if the scheme is
    /// symmetric, and otherwise applies at either end.
    Percentile(f32),
    /// Minimizes the sum of squared errors, each weighted with the value's importance. Tries ranges from that of
    /// [`MinMax`](Self::MinMax) down to a third of it, and refines the scale by regression.
    LeastSquares,
}

/// An affine quantization scheme.
///
/// By default, integers are signed and symmetric, each row shares a scale, and calibration is [`Calibration::MinMax`].
#[derive(Debug, Clone, Copy, PartialEq)]
#[must_use = "a scheme does nothing before `quantize`"]
pub struct Affine {
    pub(super) bits: u32,
    pub(super) signed: bool,
    pub(super) symmetric: bool,
    pub(super) granularity: Granularity,
    pub(super) calibration: Calibration,
}

impl Affine {
    /// Returns a scheme with integers of `bits` bits, from 2 to 8.
    pub const fn new(bits: u32) -> Self {
        Affine {
            bits,
            signed: true,
            symmetric: true,
            granularity: Granularity::Row,
            calibration: Calibration::MinMax,
        }
    }

    /// Sets whether integers are signed.
    pub const fn signed(self, signed: bool) -> Self {
        Affine { signed, ..self }
    }

    /// Sets whether the zero point is the middle of the integer range. Otherwise each scale has its own.
    pub const fn symmetric(self, symmetric: bool) -> Self {
        Affine { symmetric, ..self }
    }

    /// Sets which values share a scale.
    pub const fn granularity(self, granularity: Granularity) -> Self {
        Affine { granularity, ..self }
    }

    /// Sets how scales are found.
    pub const fn calibration(self, calibration: Calibration) -> Self {
        Affine { calibration, ..self }
    }

    /// Returns the number of bits of an integer.
    pub const fn bits(&self) -> u32 {
        self.bits
    }

    /// Returns the least and the greatest integer.
    pub const fn range(&self) -> (i32, i32) {
        let values = 1 << self.bits;
        if self.signed { (-(values / 2), values / 2 - 1) } else { (0, values - 1) }
    }

    /// Returns the number of values in a group, which is the whole run if they share one scale.
    pub(super) fn width(&self, values: usize, row_len: usize) -> usize {
        match self.granularity {
            Granularity::Tensor => values.max(1),
            Granularity::Row => row_len.max(1),
            Granularity::Group(width) => width.min(row_len).max(1),
        }
    }

    /// Returns the number of values in a run. Each run is divided into groups from its start.
    fn run_len(&self, values: usize, row_len: usize) -> usize {
        if self.granularity == Granularity::Tensor { values.max(1) } else { row_len.max(1) }
    }

    pub(super) fn runs<'v, T>(
        &self,
        values: &'v [T],
        row_len: usize,
    ) -> impl Iterator<Item = &'v [T]> + use<'v, T> {
        values.chunks(self.run_len(values.len(), row_len))
    }

    pub(super) fn runs_mut<'v, T>(
        &self,
        values: &'v mut [T],
        row_len: usize,
    ) -> impl Iterator<Item = &'v mut [T]> + use<'v, T> {
        let len = self.run_len(values.len(), row_len);
        values.chunks_mut(len)
    }

    /// Returns the number of scales for `values` values.
    pub(super) fn scale_count(&self, values: usize, row_len: usize) -> usize {
        let run = self.run_len(values, row_len);
        values.div_ceil(run) * run.div_ceil(self.width(values, row_len))
    }

    pub(super) fn check_scheme(&self) -> Result<()> {
        let length = |what, found, wanted: &str| Err(Error::Length { what, found, wanted: wanted.into() });
        if !(2..=8).contains(&self.bits) {
            return length(Measured::IntegerBits, self.bits.into(), "2 to 8");
        }
        if self.granularity == Granularity::Group(0) {
            return length(Measured::Group, 0, "at least 1");
        }
        match self.calibration {
            Calibration::Percentile(percentile) if !(50.0..=100.0).contains(&percentile) => {
                length(Measured::Percentile, percentile as u64, "50 to 100")
            }
            _ => Ok(()),
        }
    }

    pub(super) fn check(&self, values: &[f32], row_len: usize, importance: Option<&[f32]>) -> Result<()> {
        self.check_scheme()?;
        check_rows(values.len(), row_len)?;
        if let Some(weights) = importance {
            if weights.len() != row_len {
                return Err(Error::Length {
                    what: Measured::Importance,
                    found: weights.len() as u64,
                    wanted: format!("{row_len}, a weight for each value of a row"),
                });
            }
            let is_wrong = |weight: &f32| !weight.is_finite() || *weight < 0.0;
            if let Some(index) = weights.iter().position(is_wrong) {
                return Err(Error::NonFinite { what: "importance weight", index, value: weights[index] });
            }
        }
        match values.iter().position(|value| !value.is_finite()) {
            Some(index) => Err(Error::NonFinite { what: "value", index, value: values[index] }),
            None => Ok(()),
        }
    }
}

pub(super) fn check_rows(values: usize, row_len: usize) -> Result<()> {
    if values.checked_rem(row_len).unwrap_or(values) == 0 {
        return Ok(());
    }
    Err(Error::Length {
        what: Measured::Values,
        found: values as u64,
        wanted: format!("whole rows of {row_len} values"),
    })
}
