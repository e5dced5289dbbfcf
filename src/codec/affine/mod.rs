//! Affine quantization to integers: `q = round(r / s) + z`, and back `r = (q − z) · s`.
//!
//! This formula underlies GPTQ, AWQ, compressed-tensors, bitsandbytes' 8 bits, quanto, HQQ and torchao. They differ in how codes
//! are packed, which values share a scale, and how scales are found. [`Affine`] contains those choices, [`AffineTensor`] the
//! result, and [`Packing`] the orders of codes in bytes. The import of checkpoints (`model::hf`) decodes them by the same
//! formula.
//!
//! ```text
//! Granularity     Tensor            Row               Group(4)
//!                 ┌─────────┐       ┌─────────┐       ┌────┬────┐
//!                 │ s z     │       │ s z     │       │ s z│ s z│
//!                 │         │       ├─────────┤       ├────┼────┤
//!                 │         │       │ s z     │       │ s z│ s z│
//!                 └─────────┘       └─────────┘       └────┴────┘
//! ```
//!
//! | bits | signed | unsigned | symmetric zero point |
//! |---|---|---|---|
//! | b | −2^(b−1) … 2^(b−1) − 1 | 0 … 2^b − 1 | 0, or 2^(b−1) of unsigned integers |
//!
//! Root mean squared errors for 262,144 normally distributed values with a standard deviation of 1, in rows of 4096 (bits per
//! value include 16-bit scales):
//!
//! | scheme | bits per value | min/max | least squares | a format of GGUF |
//! |---|---|---|---|---|
//! | 8 bits, group 32, symmetric | 8.5 | 0.0053 | 0.0050 | Q8_0, 8.5: 0.0053 |
//! | 4 bits, group 32, symmetric | 4.5 | 0.0954 | 0.0845 | Q4_0, 4.5: 0.0846 |
//! | 4 bits, group 32, with zero points | 4.63 | 0.0801 | 0.0768 | Q4_1, 5: 0.0776 |
//! | 4 bits, group 128, symmetric | 4.13 | 0.1144 | 0.0985 | |
//! | 4 bits, row, symmetric | 4 | 0.1487 | 0.1056 | |
//! | 3 bits, group 64, with zero points | 3.3 | 0.1919 | 0.1734 | Q3_K, 3.44: 0.1493 |
//! | 2 bits, group 32, with zero points | 2.56 | 0.4037 | 0.3322 | Q2_K, 2.63: 0.2943 |
//!
//! ```
//! use gguf_codec::affine::{Affine, Calibration, Granularity, Packing};
//! let values: Vec<f32> = (0..256).map(|i| (i as f32 * 0.37).sin()).collect();
//! let scheme = Affine::new(4).granularity(Granularity::Group(32)).calibration(Calibration::LeastSquares);
//! let tensor = scheme.quantize(&values, 128, None)?;
//! assert_eq!((tensor.scales().len(), tensor.pack(Packing::LowFirst)?.len()), (8, 128));
//!
//! let mut restored = vec![0.0; 256];
//! tensor.dequantize(&mut restored)?;
//! assert!(tensor.error(&values)?.max() < 0.12);
//! # Ok::<(), gguf_codec::Error>(())
//! ```

mod calibrate;
mod packing;
mod tensor;

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use self::calibrate::{Range, calibrated};
pub use self::packing::Packing;
pub use self::tensor::AffineTensor;
#[cfg(feature = "safetensors")]
pub(crate) use self::tensor::restore;
use crate::error::Measured;
use crate::simd::nearest;
use crate::{Error, Result};

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
    bits: u32,
    signed: bool,
    symmetric: bool,
    granularity: Granularity,
    calibration: Calibration,
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

    /// Quantizes whole rows of `row_len` values. `importance` weights the errors of a row's values, the same for all rows.
    /// Only [`Calibration::LeastSquares`] uses it.
    ///
    /// # Errors
    /// [`Error::Length`] if the bits are not 2 to 8, a group has no values, the percentile is not 50 to 100, or values or
    /// importance are not whole rows; [`Error::NonFinite`] for a value or weight that is not finite, or a negative weight.
    pub fn quantize(
        &self,
        values: &[f32],
        row_len: usize,
        importance: Option<&[f32]>,
    ) -> Result<AffineTensor> {
        self.check(values, row_len, importance)?;
        let (low, _) = self.range();
        let mut tensor = AffineTensor {
            scheme: *self,
            row_len,
            codes: vec![0; values.len()],
            scales: Vec::new(),
            zero_points: Vec::new(),
        };
        let mut sorted = Vec::new();
        let width = self.width(values.len(), row_len);
        for (run, codes) in self.runs(values, row_len).zip(self.runs_mut(&mut tensor.codes, row_len)) {
            for (index, (group, codes)) in run.chunks(width).zip(codes.chunks_mut(width)).enumerate() {
                let weights =
                    |at: usize| importance.map_or(1.0, |weights| weights[(index * width + at) % row_len]);
                let range = calibrated(self, group, &weights, &mut sorted);
                for (code, &value) in codes.iter_mut().zip(group) {
                    *code = (self.code(value, range) - low) as u8;
                }
                tensor.scales.push(range.scale);
                tensor.zero_points.push(range.zero);
            }
        }
        Ok(tensor)
    }

    /// Replaces values by the result of quantizing and dequantizing them, and returns the straight-through mask: `true` where
    /// a gradient passes, `false` where the value was clipped to the range.
    ///
    /// ```
    /// use gguf_codec::affine::{Affine, Calibration};
    /// let mut values = [0.1, -0.2, 0.3, 10.0];
    /// let passes = Affine::new(8).calibration(Calibration::Percentile(75.0)).fake_quantize(&mut values, 4, None)?;
    /// assert_eq!(passes, [true, true, true, false]);
    /// assert!((values[3] - 0.3).abs() < 0.01, "clipped to the range of the others");
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`quantize`](Self::quantize). The values are then unchanged.
    pub fn fake_quantize(
        &self,
        values: &mut [f32],
        row_len: usize,
        importance: Option<&[f32]>,
    ) -> Result<Vec<bool>> {
        let tensor = self.quantize(values, row_len, importance)?;
        let mut passes = Vec::with_capacity(values.len());
        let (low, high) = self.range();
        let width = self.width(values.len(), row_len);
        let ranges = tensor.scales.iter().zip(&tensor.zero_points);
        let groups = self.runs(values, row_len).flat_map(|run| run.chunks(width));
        for (group, (&scale, &zero)) in groups.zip(ranges) {
            let (least, greatest) = ((low - zero) as f32 - 0.5, (high - zero) as f32 + 0.5);
            passes.extend(group.iter().map(|&value| {
                let steps = if scale == 0.0 { 0.0 } else { value / scale };
                (least..=greatest).contains(&steps)
            }));
        }
        tensor.dequantize(values)?;
        Ok(passes)
    }

    /// Returns the integer of a value.
    fn code(&self, value: f32, range: Range) -> i32 {
        let (low, high) = self.range();
        // This is far beyond either end of the integers, and small enough to round to integers.
        let steps = if range.scale == 0.0 { 0.0 } else { (value / range.scale).clamp(-1024.0, 1024.0) };
        (nearest(steps) + range.zero).clamp(low, high)
    }

    /// Returns the number of values in a group, which is the whole run if they share one scale.
    fn width(&self, values: usize, row_len: usize) -> usize {
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

    fn runs<'v, T>(&self, values: &'v [T], row_len: usize) -> impl Iterator<Item = &'v [T]> + use<'v, T> {
        values.chunks(self.run_len(values.len(), row_len))
    }

    fn runs_mut<'v, T>(
        &self,
        values: &'v mut [T],
        row_len: usize,
    ) -> impl Iterator<Item = &'v mut [T]> + use<'v, T> {
        let len = self.run_len(values.len(), row_len);
        values.chunks_mut(len)
    }

    /// Returns the number of scales for `values` values.
    fn scale_count(&self, values: usize, row_len: usize) -> usize {
        let run = self.run_len(values, row_len);
        values.div_ceil(run) * run.div_ceil(self.width(values, row_len))
    }

    fn check_scheme(&self) -> Result<()> {
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

    fn check(&self, values: &[f32], row_len: usize, importance: Option<&[f32]>) -> Result<()> {
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

fn check_rows(values: usize, row_len: usize) -> Result<()> {
    if values.checked_rem(row_len).unwrap_or(values) == 0 {
        return Ok(());
    }
    Err(Error::Length {
        what: Measured::Values,
        found: values as u64,
        wanted: format!("whole rows of {row_len} values"),
    })
}

#[cfg(test)]
mod tests;
