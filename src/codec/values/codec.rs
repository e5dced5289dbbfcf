//! [`Codec`]: quantizing and dequantizing with options.

use alloc::vec;
use alloc::vec::Vec;

use super::api::{Plan, dequantize_with, quantize_with};
#[cfg(feature = "rayon")]
use super::api::{par_dequantize, par_quantize};
use super::fake_quantize;
use super::quant_error::QuantError;
use crate::codec::float::Float;
use crate::error::Result;
use crate::ggml_type::GgmlType;
use crate::simd::Isa;

/// Quantizes and dequantizes with options that [`quantize`](crate::quantize) and [`dequantize`](crate::dequantize) do
/// not have: on all cores, into a new vector, with a measure of the error, or in place.
///
/// Bytes and values do not depend on the number of cores.
///
/// ```
/// use gguf_codec::{Codec, GgmlType};
///
/// let weights: Vec<f32> = (0..1 << 20).map(|i| (i as f32 * 0.1).sin()).collect();
/// let importance: Vec<f32> = (0..4096).map(|i| 1.0 + (i % 7) as f32).collect(); // the same for each row
///
/// let codec = Codec::new(GgmlType::Q4_K).importance(Some(&importance)).all_cores(true);
/// let blocks = codec.quantize_to_vec(&weights, 4096)?;
///
/// let mut back = vec![0.0f32; weights.len()];
/// codec.dequantize(&blocks, &mut back)?;
/// assert!(weights.iter().zip(&back).all(|(a, b)| (a - b).abs() < 0.2));
/// # Ok::<(), gguf_codec::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
#[must_use = "it says how values are quantized, and its calls do it"]
pub struct Codec<'a> {
    ty: GgmlType,
    importance: Option<&'a [f32]>,
    all_cores: bool,
    isa: Isa,
}

impl<'a> Codec<'a> {
    /// Creates a codec for blocks of this type, on one core, without importance.
    pub fn new(ty: GgmlType) -> Self {
        Codec { ty, importance: None, all_cores: false, isa: Isa::detect() }
    }

    /// Weights the values of a row against each other during quantization: one weight for each value of a row, the same for
    /// every row. See [`quantize`](crate::quantize) for the effect.
    pub fn importance(self, weights: Option<&'a [f32]>) -> Self {
        Codec { importance: weights, ..self }
    }

    /// Uses all cores, in rayon's current pool. Without the feature `rayon`, uses one.
    pub fn all_cores(self, all: bool) -> Self {
        Codec { all_cores: all, ..self }
    }

    /// Uses this instruction set. Bytes and values are the same; only the speed differs. For tests and measurements.
    #[doc(hidden)]
    pub fn isa(self, isa: Isa) -> Self {
        Codec { isa, ..self }
    }

    /// Quantizes rows of `row_len` values, like [`quantize`](crate::quantize). If there are several errors, returns the first.
    ///
    /// # Errors
    /// The errors of [`quantize`](crate::quantize).
    pub fn quantize(&self, values: &[f32], row_len: usize, out: &mut [u8]) -> Result<()> {
        let Codec { ty, importance, all_cores, isa } = *self;
        match all_cores {
            #[cfg(feature = "rayon")]
            true => par_quantize(isa, ty, values, row_len, importance, out),
            _ => quantize_with(isa, ty, values, row_len, importance, out),
        }
    }

    /// Like [`quantize`](Self::quantize), into a new vector.
    ///
    /// ```
    /// use gguf_codec::{Codec, GgmlType};
    /// let blocks = Codec::new(GgmlType::Q4_K).quantize_to_vec(&[0.5; 2 * 512], 512)?;
    /// assert_eq!(Some(blocks.len() as u64), GgmlType::Q4_K.bytes_for(2 * 512));
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`quantize`](crate::quantize).
    pub fn quantize_to_vec(&self, values: &[f32], row_len: usize) -> Result<Vec<u8>> {
        let mut blocks = vec![0; self.ty.bytes_in(values.len())];
        self.quantize(values, row_len, &mut blocks)?;
        Ok(blocks)
    }

    /// Like [`quantize`](Self::quantize), and measures the error of the result while it is in cache.
    ///
    /// # Errors
    /// The errors of [`quantize`](crate::quantize).
    pub fn quantize_measured(&self, values: &[f32], row_len: usize, out: &mut [u8]) -> Result<QuantError> {
        let Codec { ty, isa, .. } = *self;
        let plan = self.plan(values.len(), row_len)?.into(out.len())?;
        match self.all_cores {
            #[cfg(feature = "rayon")]
            true => fake_quantize::par_quantize_measured(isa, ty, values, &plan, out),
            _ => fake_quantize::quantize_measured(isa, ty, values, &plan, out),
        }
    }

    /// Replaces rows of floats by the result of quantizing and dequantizing them, without keeping the blocks.
    ///
    /// This is the forward pass of quantization-aware training, whose gradient is taken as 1 (straight through). The result
    /// is equal to the bit to that of [`quantize`](Self::quantize) followed by [`dequantize`](Self::dequantize).
    ///
    /// ```
    /// use gguf_codec::{Codec, GgmlType};
    /// let mut weights: Vec<f32> = (0..512).map(|i| (i as f32 * 0.1).sin()).collect();
    /// Codec::new(GgmlType::Q4_K).fake_quantize(&mut weights, 256)?;
    /// assert!((weights[5] - 0.5f32.sin()).abs() < 0.1);
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`quantize`](crate::quantize). After [`Error::NonFinite`](crate::Error::NonFinite), values before the
    /// index may already have been replaced, and on all cores any others. Other errors leave all values unchanged.
    pub fn fake_quantize(&self, values: &mut [f32], row_len: usize) -> Result<()> {
        let Codec { ty, isa, .. } = *self;
        let plan = self.plan(values.len(), row_len)?;
        match self.all_cores {
            #[cfg(feature = "rayon")]
            true => fake_quantize::par_fake_quantize(isa, ty, values, &plan),
            _ => fake_quantize::fake_quantize(isa, ty, values, &plan),
        }
    }

    /// Dequantizes whole blocks, like [`dequantize`](crate::dequantize).
    ///
    /// # Errors
    /// The errors of [`dequantize`](crate::dequantize).
    pub fn dequantize<T: Float>(&self, blocks: &[u8], out: &mut [T]) -> Result<()> {
        match self.all_cores {
            #[cfg(feature = "rayon")]
            true => par_dequantize(self.isa, self.ty, blocks, out),
            _ => dequantize_with(self.isa, self.ty, blocks, out),
        }
    }

    fn plan(&self, values: usize, row_len: usize) -> Result<Plan<'a>> {
        Plan::new(self.ty, values, row_len, self.importance)
    }
}
