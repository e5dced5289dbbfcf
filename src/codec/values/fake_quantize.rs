//! Quantizing and dequantizing in one pass, which shows the effect of quantization on values, with or without keeping the blocks.
//! [`Codec`](super::Codec) has the public methods.

use alloc::vec::Vec;

use super::api::{Plan, dequantize_with};
use super::quant_error::QuantError;
use crate::error::Result;
use crate::ggml_type::GgmlType;
use crate::simd::Isa;

/// Replaces rows of floats by the result of quantizing and dequantizing them.
pub(super) fn fake_quantize(isa: Isa, ty: GgmlType, values: &mut [f32], plan: &Plan<'_>) -> Result<()> {
    let mut there_and_back = ThereAndBack::new(isa, ty, plan);
    for (i, values) in values.chunks_mut(plan.chunk_values).enumerate() {
        there_and_back.replace(i, values)?;
    }
    Ok(())
}

/// Like [`fake_quantize`], on all cores.
#[cfg(feature = "rayon")]
pub(super) fn par_fake_quantize(isa: Isa, ty: GgmlType, values: &mut [f32], plan: &Plan<'_>) -> Result<()> {
    use rayon::prelude::*;

    values
        .par_chunks_mut(plan.chunk_values)
        .enumerate()
        .map_init(
            || ThereAndBack::new(isa, ty, plan),
            |there_and_back, (i, values)| there_and_back.replace(i, values),
        )
        .find_first(Result::is_err)
        .unwrap_or(Ok(()))
}

/// Quantizes, and measures the error of the result while it is in cache.
pub(super) fn quantize_measured(
    isa: Isa,
    ty: GgmlType,
    values: &[f32],
    plan: &Plan<'_>,
    out: &mut [u8],
) -> Result<QuantError> {
    let mut there_and_back = ThereAndBack::new(isa, ty, plan);
    let mut error = QuantError::default();
    for (i, (values, out)) in
        values.chunks(plan.chunk_values).zip(out.chunks_mut(plan.chunk_bytes)).enumerate()
    {
        error += there_and_back.measure(i, values, out)?;
    }
    Ok(error)
}

/// Like [`quantize_measured`], on all cores. The bytes and the error are the same to the last bit.
#[cfg(feature = "rayon")]
pub(super) fn par_quantize_measured(
    isa: Isa,
    ty: GgmlType,
    values: &[f32],
    plan: &Plan<'_>,
    out: &mut [u8],
) -> Result<QuantError> {
    use rayon::prelude::*;

    let parts: Vec<Result<QuantError>> = values
        .par_chunks(plan.chunk_values)
        .zip(out.par_chunks_mut(plan.chunk_bytes))
        .enumerate()
        .map_init(
            || ThereAndBack::new(isa, ty, plan),
            |there_and_back, (i, (values, out))| there_and_back.measure(i, values, out),
        )
        .collect();
    parts.into_iter().sum()
}

impl QuantError {
    /// Returns the error of quantizing rows of floats to `ty`, without keeping the blocks. The arguments are those of
    /// [`quantize`](crate::quantize).
    ///
    /// # Errors
    /// The errors of [`quantize`](crate::quantize).
    pub fn of(
        ty: GgmlType,
        values: &[f32],
        row_len: usize,
        importance: Option<&[f32]>,
    ) -> Result<QuantError> {
        let plan = Plan::new(ty, values.len(), row_len, importance)?;
        let mut there_and_back = ThereAndBack::new(Isa::detect(), ty, &plan);
        let mut blocks = Vec::new();
        let mut error = QuantError::default();
        for (i, values) in values.chunks(plan.chunk_values).enumerate() {
            blocks.resize(ty.bytes_in(values.len()), 0);
            error += there_and_back.measure(i, values, &mut blocks)?;
        }
        Ok(error)
    }
}

/// A plan, and memory for one of its chunks.
struct ThereAndBack<'a> {
    isa: Isa,
    ty: GgmlType,
    plan: &'a Plan<'a>,
    blocks: Vec<u8>,
    restored: Vec<f32>,
}

impl<'a> ThereAndBack<'a> {
    fn new(isa: Isa, ty: GgmlType, plan: &'a Plan<'a>) -> Self {
        ThereAndBack { isa, ty, plan, blocks: Vec::new(), restored: Vec::new() }
    }

    /// Replaces the `index`-th chunk.
    fn replace(&mut self, index: usize, values: &mut [f32]) -> Result<()> {
        self.blocks.resize(self.ty.bytes_in(values.len()), 0);
        self.plan.run(self.isa, index, values, &mut self.blocks)?;
        dequantize_with(self.isa, self.ty, &self.blocks, values)
    }

    /// Measures the `index`-th chunk.
    fn measure(&mut self, index: usize, values: &[f32], out: &mut [u8]) -> Result<QuantError> {
        self.plan.run(self.isa, index, values, out)?;
        self.restored.resize(values.len(), 0.0);
        dequantize_with(self.isa, self.ty, out, &mut self.restored)?;
        Ok(QuantError::measure(self.isa, values, &self.restored))
    }
}
