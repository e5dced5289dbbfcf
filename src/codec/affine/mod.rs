//! Affine quantization to integers: `q = round(r / s) + z`, and back `r = (q − z) · s`.
//!
//! This is the formula behind GPTQ, AWQ, compressed-tensors, bitsandbytes' 8 bits, quanto, HQQ and torchao, which differ in how
//! codes are packed, in what shares a scale and in how scales are found. [`Affine`] has those choices, [`AffineTensor`] the
//! result, and [`Packing`] the orders of codes in bytes. The import of checkpoints (`model::hf`) reads them by the same formula.
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
//! The root of the mean squared error of 262,144 values of a normal distribution with a deviation of 1, in rows of 4096 (bits per
//! value count scales of 16 bits):
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

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use self::calibrate::{Range, calibrated};
pub use self::packing::Packing;
use crate::codec::QuantError;
use crate::simd::{Isa, Kernel, Simd, nearest};
use crate::{Error, Result};

/// Which values share a scale and a zero point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Granularity {
    /// All of the tensor.
    Tensor,
    /// Those of a row: an output channel.
    Row,
    /// So many values of a row that follow each other; the last group of a row may be shorter.
    Group(usize),
}

/// How scales and zero points are found.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Calibration {
    /// The range reaches from the least value to the greatest: nothing is clipped.
    MinMax,
    /// Values beyond this percentile, from 50 to 100, are clipped: of magnitudes where the scheme is symmetric, otherwise at
    /// either end.
    Percentile(f32),
    /// The scale and zero point of the least sum of squared errors, each weighed by the value's importance. Ranges from that of
    /// [`MinMax`](Self::MinMax) down to a third of it are tried, and the best is refined by regression.
    LeastSquares,
}

/// A scheme of affine quantization.
///
/// Integers are signed and symmetric, a row shares a scale, and ranges are those of [`Calibration::MinMax`] unless the scheme says
/// otherwise.
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
    /// Returns a scheme of integers of so many bits, from 2 to 8.
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

    /// Sets whether the zero point is the middle of the integers; otherwise each scale has its own.
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

    /// Returns the bits of an integer.
    pub const fn bits(&self) -> u32 {
        self.bits
    }

    /// Returns the least integer and the greatest.
    pub const fn range(&self) -> (i32, i32) {
        let values = 1 << self.bits;
        if self.signed { (-(values / 2), values / 2 - 1) } else { (0, values - 1) }
    }

    /// Quantizes whole rows of `row_len` values. `importance` weighs the errors of a row's values, the same for all rows; only
    /// [`Calibration::LeastSquares`] uses it.
    ///
    /// # Errors
    /// [`Error::Length`] where the bits are not 2 to 8, a group has no values, the percentile is not 50 to 100, or values or
    /// importance are not whole rows; [`Error::NonFinite`] for a value or weight that is not finite, or a weight that is negative.
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

    /// Replaces values by what they become when they are quantized and restored, and returns the straight-through mask: `true`
    /// where a gradient passes, `false` where the value was clipped to the range.
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
    /// As [`quantize`](Self::quantize); then values are as they were.
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

    /// The integer of a value.
    fn code(&self, value: f32, range: Range) -> i32 {
        let (low, high) = self.range();
        // Far beyond either end of what there is, and near enough to round to integers.
        let steps = if range.scale == 0.0 { 0.0 } else { (value / range.scale).clamp(-1024.0, 1024.0) };
        (nearest(steps) + range.zero).clamp(low, high)
    }

    /// Values of a group; of a whole run where that is all.
    fn width(&self, values: usize, row_len: usize) -> usize {
        match self.granularity {
            Granularity::Tensor => values.max(1),
            Granularity::Row => row_len.max(1),
            Granularity::Group(width) => width.min(row_len).max(1),
        }
    }

    /// Values that are divided into groups, beginning with one.
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

    /// How many scales so many values have.
    fn scale_count(&self, values: usize, row_len: usize) -> usize {
        let run = self.run_len(values, row_len);
        values.div_ceil(run) * run.div_ceil(self.width(values, row_len))
    }

    fn check_scheme(&self) -> Result<()> {
        let length = |what, found, wanted: &str| Err(Error::Length { what, found, wanted: wanted.into() });
        if !(2..=8).contains(&self.bits) {
            return length("an integer, in bits,", self.bits.into(), "2 to 8");
        }
        if self.granularity == Granularity::Group(0) {
            return length("a group, in values,", 0, "at least 1");
        }
        match self.calibration {
            Calibration::Percentile(percentile) if !(50.0..=100.0).contains(&percentile) => {
                length("the percentile", percentile as u64, "50 to 100")
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
                    what: "the importance, in weights,",
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
        what: "the values",
        found: values as u64,
        wanted: format!("whole rows of {row_len} values"),
    })
}

/// A tensor of integers, with scales and zero points.
#[derive(Debug, Clone, PartialEq)]
pub struct AffineTensor {
    scheme: Affine,
    row_len: usize,
    /// Integers less the least of the scheme.
    codes: Vec<u8>,
    scales: Vec<f32>,
    zero_points: Vec<i32>,
}

impl AffineTensor {
    /// Returns a tensor of stored parts: `codes` are integers less the least of the scheme, and scales and zero points follow
    /// each other row by row.
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
    /// [`Error::Length`] for a scheme that cannot be, or where the parts are not as long as each other need;
    /// [`Error::OutOfRange`] for a code beyond the bits, or a zero point beyond the integers; [`Error::NonFinite`] for a scale that
    /// is not finite.
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
        for (what, found) in [("the scales", scales.len()), ("the zero points", zero_points.len())] {
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

    /// Returns the codes: each integer less the least of the [range](Affine::range), a byte each.
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

    /// Restores the values.
    ///
    /// # Errors
    /// [`Error::Length`] where `out` is not as long as there are codes.
    pub fn dequantize(&self, out: &mut [f32]) -> Result<()> {
        self.dequantize_with(Isa::detect(), out)
    }

    /// As [`dequantize`](Self::dequantize), in this instruction set: the bits are the same in each.
    ///
    /// # Errors
    /// As [`dequantize`](Self::dequantize).
    #[doc(hidden)]
    pub fn dequantize_with(&self, isa: Isa, out: &mut [f32]) -> Result<()> {
        if out.len() != self.codes.len() {
            return Err(Error::Length {
                what: "the slice of values",
                found: out.len() as u64,
                wanted: format!("{}, one for each code", self.codes.len()),
            });
        }
        isa.run(Restore { tensor: self, out });
        Ok(())
    }

    /// Returns how far the restored values are from these.
    ///
    /// # Errors
    /// [`Error::Length`] where there are not as many.
    pub fn error(&self, values: &[f32]) -> Result<QuantError> {
        let mut restored = vec![0.0; self.codes.len()];
        self.dequantize(&mut restored)?;
        QuantError::between(values, &restored)
    }

    /// Returns the codes in this order, each row beginning with a byte or word of its own.
    ///
    /// # Errors
    /// [`Error::Length`] where the order has no codes of so many bits.
    pub fn pack(&self, packing: Packing) -> Result<Vec<u8>> {
        let bits = self.scheme.bits;
        let row_bytes = packing.packed_len(bits, self.row_len).ok_or_else(|| Error::Length {
            what: "a code, in bits,",
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

    /// The loop has nothing that lanes have a word for: it is compiled for each instruction set's vectors as it is.
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

/// Replaces codes by what they stand for.
#[inline(always)]
pub(crate) fn restore(codes: &mut [f32], scale: f32, zero: f32) {
    codes.iter_mut().for_each(|code| *code = (*code - zero) * scale);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(count: usize) -> Vec<f32> {
        let mut state = 7u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 24) as f32 - 0.4
        };
        (0..count).map(|_| next() * next() * next()).collect()
    }

    fn schemes() -> impl Iterator<Item = Affine> {
        let granularities =
            [Granularity::Tensor, Granularity::Row, Granularity::Group(32), Granularity::Group(7)];
        (2..=8).flat_map(move |bits| {
            granularities.into_iter().flat_map(move |granularity| {
                [(true, true), (true, false), (false, true), (false, false)].map(|(signed, symmetric)| {
                    Affine::new(bits).granularity(granularity).signed(signed).symmetric(symmetric)
                })
            })
        })
    }

    #[test]
    fn nothing_is_clipped_and_errors_are_within_half_a_step() {
        let values = values(8 * 96);
        for scheme in schemes() {
            let tensor = scheme.quantize(&values, 96, None).unwrap();
            assert_eq!(tensor.scales.len(), scheme.scale_count(values.len(), 96));
            let mut restored = vec![0.0; values.len()];
            tensor.dequantize(&mut restored).unwrap();
            let (low, high) = scheme.range();
            let width = scheme.width(values.len(), 96);
            let groups = scheme.runs(&values, 96).flat_map(|run| run.chunks(width));
            let others = scheme.runs(&restored, 96).flat_map(|run| run.chunks(width));
            for ((group, restored), (scale, zero)) in
                groups.zip(others).zip(tensor.scales.iter().zip(&tensor.zero_points))
            {
                assert!((low..=high).contains(zero));
                for (value, restored) in group.iter().zip(restored) {
                    // Rounding the zero point moves the range by up to half a step.
                    let most = if scheme.symmetric { 0.5001 } else { 1.0001 };
                    assert!(
                        (value - restored).abs() <= scale * most,
                        "{scheme:?}: {value} {restored} {scale}"
                    );
                }
            }
            for isa in Isa::available() {
                let mut same = vec![0.0; values.len()];
                tensor.dequantize_with(isa, &mut same).unwrap();
                assert_eq!(same, restored, "{isa:?}");
            }
            let parts = AffineTensor::from_parts(
                scheme,
                96,
                tensor.codes.clone(),
                tensor.scales.clone(),
                tensor.zero_points.clone(),
            );
            assert_eq!(parts.unwrap(), tensor);
        }
    }

    #[test]
    fn least_squares_is_never_worse_and_follows_importance() {
        let values = values(4 * 64);
        let weighed = |tensor: &AffineTensor, weights: &[f32]| {
            let mut restored = vec![0.0; values.len()];
            tensor.dequantize(&mut restored).unwrap();
            let errors = values.iter().zip(&restored).zip(weights.iter().cycle());
            errors
                .map(|((value, restored), weight)| f64::from(weight * (value - restored).powi(2)))
                .sum::<f64>()
        };
        let weights: Vec<f32> = (0..64).map(|at| if at % 3 == 0 { 50.0 } else { 1.0 }).collect();
        for scheme in schemes() {
            let searching = scheme.calibration(Calibration::LeastSquares);
            let ends = scheme.quantize(&values, 64, None).unwrap();
            let plain = searching.quantize(&values, 64, None).unwrap();
            let with = searching.quantize(&values, 64, Some(&weights)).unwrap();
            assert!(weighed(&plain, &[1.0; 64]) <= weighed(&ends, &[1.0; 64]) * 1.000_001, "{scheme:?}");
            assert!(weighed(&with, &weights) <= weighed(&ends, &weights) * 1.000_001, "{scheme:?}");
        }
        let scheme =
            Affine::new(3).granularity(Granularity::Group(64)).calibration(Calibration::LeastSquares);
        let plain = scheme.quantize(&values, 64, None).unwrap();
        let with = scheme.quantize(&values, 64, Some(&weights)).unwrap();
        assert!(weighed(&with, &weights) < weighed(&plain, &weights));
    }

    #[test]
    fn fake_quantization_says_what_was_clipped() {
        let mut values = vec![0.5, -0.25, 100.0, 0.125, -0.5, 0.0, 0.25, -100.0];
        let scheme =
            Affine::new(6).granularity(Granularity::Tensor).calibration(Calibration::Percentile(75.0));
        let passes = scheme.fake_quantize(&mut values, 4, None).unwrap();
        assert_eq!(passes, [true, true, false, true, true, true, true, false]);
        assert!(values[2] <= 0.6 && values[7] >= -0.6, "{values:?}");
        let mut zeros = [0.0; 8];
        assert_eq!(Affine::new(2).fake_quantize(&mut zeros, 4, None).unwrap(), [true; 8]);
        assert_eq!(zeros, [0.0; 8]);
        assert!(Affine::new(4).fake_quantize(&mut [], 0, None).unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let values = [0.0; 8];
        for scheme in [
            Affine::new(1),
            Affine::new(9),
            Affine::new(u32::MAX),
            Affine::new(4).granularity(Granularity::Group(0)),
            Affine::new(4).calibration(Calibration::Percentile(f32::NAN)),
            Affine::new(4).calibration(Calibration::Percentile(12.0)),
        ] {
            assert!(scheme.quantize(&values, 4, None).is_err(), "{scheme:?}");
            assert!(AffineTensor::from_parts(scheme, 4, vec![0; 8], vec![0.0; 2], vec![0; 2]).is_err());
        }
        let scheme = Affine::new(4);
        assert!(scheme.quantize(&values, 3, None).is_err());
        assert!(scheme.quantize(&values, 0, None).is_err());
        assert!(scheme.quantize(&values, 4, Some(&[1.0; 3])).is_err());
        assert!(scheme.quantize(&values, 4, Some(&[1.0, -1.0, 0.0, 0.0])).is_err());
        assert!(scheme.quantize(&[f32::NAN; 4], 4, None).is_err());
        let parts = |codes: u8, scale: f32, zero: i32| {
            AffineTensor::from_parts(scheme, 4, vec![codes; 8], vec![scale; 2], vec![zero; 2])
        };
        assert!(
            parts(15, 1.0, 7).is_ok() && parts(16, 1.0, 0).is_err() && parts(0, f32::INFINITY, 0).is_err()
        );
        assert!(parts(0, 1.0, 8).is_err() && parts(0, 1.0, -9).is_err());
        assert!(AffineTensor::from_parts(scheme, 4, vec![0; 8], vec![1.0], vec![0]).is_err());
        // The greatest values there are, and the least.
        for value in [f32::MAX, f32::MIN_POSITIVE, 1e-45] {
            for calibration in [Calibration::MinMax, Calibration::LeastSquares] {
                for symmetric in [true, false] {
                    let scheme = scheme.calibration(calibration).symmetric(symmetric);
                    let tensor = scheme.quantize(&[value, -value, 0.0, value / 2.0], 4, None).unwrap();
                    assert!(tensor.scales[0].is_finite(), "{value} {tensor:?}");
                }
            }
        }
    }

    #[test]
    fn rows_are_packed_each_for_itself() {
        let tensor = Affine::new(3).quantize(&values(6), 3, None).unwrap();
        let packed = tensor.pack(Packing::LowFirst).unwrap();
        assert_eq!(packed.len(), 4);
        let mut codes = [0; 3];
        Packing::LowFirst.unpack(3, &packed[2..], &mut codes).unwrap();
        assert_eq!(codes, tensor.codes[3..]);
        assert!(tensor.pack(Packing::Awq).is_err());
    }
}
