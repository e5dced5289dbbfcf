//! [`QuantError`]: the difference between values and their quantized versions.

use alloc::format;
use core::iter::Sum;
use core::ops::AddAssign;

use crate::error::{Error, Measured, Result};
use crate::math;
use crate::simd::{Isa, Kernel, Simd};

/// The difference between values and their quantized versions: the sums behind RMSE, signal-to-noise ratio and cosine, in double
/// precision.
///
/// [`Codec::quantize_measured`](crate::Codec::quantize_measured) computes it along with the blocks, [`QuantError::of`] without
/// keeping them, and [`QuantError::between`] from existing values. The errors of a tensor's parts add up to the tensor's.
///
/// ```
/// use gguf_codec::{GgmlType, QuantError};
/// let values: Vec<f32> = (0..4096).map(|i| (i as f32 * 0.37).sin()).collect();
/// let q8 = QuantError::of(GgmlType::Q8_0, &values, 4096, None)?;
/// let q4 = QuantError::of(GgmlType::Q4_K, &values, 4096, None)?;
/// assert!(q8.rmse() < 0.01 && q8.snr_db() > 40.0 && q8.cosine() > 0.9999);
/// assert!(q4.rmse() > q8.rmse() && q4.max() < 0.2);
/// # Ok::<(), gguf_codec::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct QuantError {
    values: u64,
    /// Σ source²
    source: f64,
    /// Σ restored²
    restored: f64,
    /// Σ source · restored
    product: f64,
    /// Σ (source - restored)²
    noise: f64,
    max: f32,
}

impl QuantError {
    /// Returns the error between values and their restored versions.
    ///
    /// # Errors
    /// [`Error::Length`] if the two slices differ in length.
    pub fn between(source: &[f32], restored: &[f32]) -> Result<Self> {
        if source.len() != restored.len() {
            return Err(Error::Length {
                what: Measured::Restored,
                found: restored.len() as u64,
                wanted: format!("{}, as many as there are source values", source.len()),
            });
        }
        Ok(Self::measure(Isa::detect(), source, restored))
    }

    /// Measures slices of the same length.
    pub(super) fn measure(isa: Isa, source: &[f32], restored: &[f32]) -> Self {
        isa.run(Measure { source, restored })
    }

    /// Returns the number of values compared.
    pub fn values(&self) -> u64 {
        self.values
    }

    /// Returns the root mean squared error, in the values' unit. 0 if there are no values.
    pub fn rmse(&self) -> f64 {
        if self.values == 0 { 0.0 } else { math::sqrt_f64(self.noise / self.values as f64) }
    }

    /// Returns the greatest absolute error, in the values' unit. NaN if any error was NaN.
    pub fn max(&self) -> f32 {
        self.max
    }

    /// Returns Σ error² / Σ source², or 0 if all values are zero.
    #[cfg(all(feature = "std", any(unix, windows)))]
    pub(crate) fn relative(&self) -> f64 {
        if self.source == 0.0 { 0.0 } else { self.noise / self.source }
    }

    /// Returns the signal-to-noise ratio in decibels, 10 log₁₀ (Σ source² / Σ error²): 6 dB for each bit of
    /// precision. Infinite if there is no error.
    pub fn snr_db(&self) -> f64 {
        if self.noise == 0.0 { f64::INFINITY } else { 10.0 * math::log10(self.source / self.noise) }
    }

    /// Returns the cosine of the angle between the two as vectors: 1 if they point the same way, whatever their
    /// lengths. Returns 1 for two zero vectors and 0 if only one is zero.
    pub fn cosine(&self) -> f64 {
        match (self.source == 0.0, self.restored == 0.0) {
            (true, true) => 1.0,
            (false, false) => (self.product / math::sqrt_f64(self.source * self.restored)).clamp(-1.0, 1.0),
            _ => 0.0,
        }
    }
}

impl AddAssign for QuantError {
    fn add_assign(&mut self, other: Self) {
        self.values += other.values;
        self.source += other.source;
        self.restored += other.restored;
        self.product += other.product;
        self.noise += other.noise;
        self.max = greater(self.max, other.max);
    }
}

impl Sum for QuantError {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), |mut all, part| {
            all += part;
            all
        })
    }
}

/// Returns the greater of two magnitudes. NaN counts as the greatest.
#[inline(always)]
fn greater(a: f32, b: f32) -> f32 {
    // The bits of floats without a sign are ordered like integers.
    f32::from_bits(a.to_bits().max(b.to_bits()))
}

struct Measure<'a> {
    source: &'a [f32],
    restored: &'a [f32],
}

/// The number of separate sums, so that a vector of them is added at a time. It is the same on every instruction set.
const SUMS: usize = 8;

impl Kernel for Measure<'_> {
    type Output = QuantError;
    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> QuantError {
        // [`Simd`] has no doubles. The compiler vectorizes loops over arrays of this length.
        let [mut source, mut restored, mut product, mut noise] = [[0.0f64; SUMS]; 4];
        let mut max = [0.0f32; SUMS];
        let ((a, a_rest), (b, b_rest)) = (self.source.as_chunks::<SUMS>(), self.restored.as_chunks::<SUMS>());
        let [mut a_last, mut b_last] = [[0.0; SUMS]; 2];
        a_last[..a_rest.len()].copy_from_slice(a_rest);
        b_last[..b_rest.len()].copy_from_slice(b_rest);
        for (a, b) in a.iter().zip(b).chain([(&a_last, &b_last)]) {
            for i in 0..SUMS {
                let (wide_a, wide_b) = (f64::from(a[i]), f64::from(b[i]));
                source[i] += wide_a * wide_a;
                restored[i] += wide_b * wide_b;
                product[i] += wide_a * wide_b;
                noise[i] += (wide_a - wide_b) * (wide_a - wide_b);
                max[i] = greater(max[i], (a[i] - b[i]).abs());
            }
        }
        QuantError {
            values: self.source.len() as u64,
            source: source.iter().sum(),
            restored: restored.iter().sum(),
            product: product.iter().sum(),
            noise: noise.iter().sum(),
            max: max.into_iter().fold(0.0, greater),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_what_their_names_say() {
        let error = QuantError::between(&[3.0, 0.0, -4.0], &[3.0, 0.5, -3.0]).unwrap();
        assert_eq!(error.values(), 3);
        assert_eq!(error.rmse(), (1.25f64 / 3.0).sqrt());
        assert_eq!(error.max(), 1.0);
        assert!((error.snr_db() - 10.0 * 20f64.log10()).abs() < 1e-12);
        assert!((error.cosine() - 21.0 / (5.0 * 18.25f64.sqrt())).abs() < 1e-12);
    }

    #[test]
    fn nothing_lost_and_nothing_there() {
        let same = QuantError::between(&[1.0, -2.0], &[1.0, -2.0]).unwrap();
        assert_eq!((same.rmse(), same.max(), same.snr_db(), same.cosine()), (0.0, 0.0, f64::INFINITY, 1.0));
        let none = QuantError::between(&[], &[]).unwrap();
        assert_eq!((none, none.rmse(), none.cosine()), (QuantError::default(), 0.0, 1.0));
        assert_eq!(QuantError::between(&[1.0], &[0.0]).unwrap().cosine(), 0.0);
        assert_eq!(QuantError::between(&[1.0], &[0.0]).unwrap().snr_db(), 0.0);
        assert!(QuantError::between(&[1.0], &[]).is_err());
    }

    #[test]
    fn nan_is_not_lost() {
        let error = QuantError::between(&[0.0, 1.0, 2.0], &[0.0, f32::NAN, 2.5]).unwrap();
        assert!(error.max().is_nan() && error.rmse().is_nan());
        let mut sum = QuantError::between(&[1.0], &[3.0]).unwrap();
        sum += error;
        assert!(sum.max().is_nan() && sum.values() == 4);
    }

    #[test]
    fn parts_add_up() {
        let source: Vec<f32> = (0..1003).map(|i| (i % 17) as f32 - 8.0).collect();
        let restored: Vec<f32> = source.iter().map(|x| x * 0.75).collect();
        let whole = QuantError::between(&source, &restored).unwrap();
        let parts = source.chunks(100).zip(restored.chunks(100));
        // All sums here are exact.
        assert_eq!(whole, parts.map(|(a, b)| QuantError::between(a, b).unwrap()).sum());
        for isa in Isa::available() {
            assert_eq!(whole, QuantError::measure(isa, &source, &restored), "{isa:?}");
        }
    }
}
