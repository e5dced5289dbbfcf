//! Quantizing by a scheme.

use alloc::vec;
use alloc::vec::Vec;

use super::calibrate::calibrated;
use super::scheme::Affine;
use super::tensor::AffineTensor;
use crate::error::Result;

impl Affine {
    /// Quantizes whole rows of `row_len` values. `importance` weights the errors of a row's values, the same for all rows.
    /// Only [`Calibration::LeastSquares`](super::Calibration::LeastSquares) uses it.
    ///
    /// # Errors
    /// [`Error::Length`](crate::Error::Length) if the bits are not 2 to 8, a group has no values, the percentile is not 50 to 100, or values or
    /// importance are not whole rows; [`Error::NonFinite`](crate::Error::NonFinite) for a value or weight that is not finite, or a negative weight.
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
}
