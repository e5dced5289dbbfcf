//! The values of tensors as floats, which the feature `codecs` adds.

use alloc::vec::Vec;
use alloc::{format, vec};
use core::ops::RangeBounds;

use super::{Tensor, TypedTensor};
use crate::codec::{self, BlockFormat};
use crate::{ByteOrder, Error, Float, Result};

impl Tensor<'_> {
    /// The values as floats: `out` takes exactly [`len`](Self::len) of them. Works in both byte orders, and the
    /// values equal ggml's to the bit.
    ///
    /// # Errors
    /// [`Error::Length`] where `out` has another length.
    pub fn dequantize_into<T: Float>(&self, out: &mut [T]) -> Result<()> {
        self.check_dequantize(out.len())?;
        if self.order == ByteOrder::Little || self.ty.block_bytes() == 1 {
            return codec::dequantize(self.ty, self.bytes, out);
        }
        let at_once = self.blocks_at_once();
        let mut buffer = Vec::new();
        let blocks = self.bytes.chunks(at_once * self.ty.block_bytes());
        for (blocks, out) in blocks.zip(out.chunks_mut(at_once * self.ty.block_len())) {
            self.dequantize_turned(&mut buffer, blocks, out)?;
        }
        Ok(())
    }

    /// Returns the values of a range of rows as floats in `out`, which takes exactly these: what
    /// [`rows`](Self::rows) and [`dequantize_into`](Self::dequantize_into) give, without a tensor in between.
    ///
    /// ```
    /// # let file = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/sample.gguf"));
    /// # let model = gguf_codec::Gguf::parse(file)?;
    /// let tensor = model.tensor("blk.0.attn_q.weight")?;
    /// let mut out = vec![0.0f32; 2 * tensor.row_len()];
    /// tensor.rows_into(3..5, &mut out)?;
    /// assert_eq!(out[64..], tensor.row(4)?.dequantize::<f32>()?);
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`rows`](Self::rows), and [`Error::Length`] where `out` has another length.
    pub fn rows_into<T: Float>(&self, range: impl RangeBounds<usize>, out: &mut [T]) -> Result<()> {
        let (start, end) = self.bounds(range);
        let bytes = self.row_bytes(start, end)?;
        // Fewer than the tensor has.
        let wanted = (end - start).saturating_mul(self.row_len());
        if out.len() != wanted {
            return Err(Error::Length {
                what: "the output, in values,",
                found: out.len() as u64,
                wanted: format!("{wanted}: {} rows of {}", end - start, self.row_len()),
            });
        }
        if self.order == ByteOrder::Little || self.ty.block_bytes() == 1 {
            return codec::dequantize(self.ty, bytes, out);
        }
        self.rows(start..end)?.dequantize_into(out)
    }

    /// Blocks in the other byte order that are turned together.
    fn blocks_at_once(&self) -> usize {
        const BUFFER_BYTES: usize = 16 * 1024;
        (BUFFER_BYTES / self.ty.block_bytes()).max(1)
    }

    /// Kernels read little-endian blocks, so others are turned in `buffer` first.
    fn dequantize_turned<T: Float>(&self, buffer: &mut Vec<u8>, blocks: &[u8], out: &mut [T]) -> Result<()> {
        buffer.clear();
        buffer.extend_from_slice(blocks);
        codec::swap_byte_order(self.ty, buffer);
        codec::dequantize(self.ty, buffer, out)
    }

    /// Refuses where there are not `values` values. The doors for raw bytes refuse too, but do not know the tensor's
    /// name.
    fn check_dequantize(&self, values: usize) -> Result<()> {
        if values != self.len() {
            return Err(Error::Length {
                what: "the output, in values,",
                found: values as u64,
                wanted: format!("{}, as many as tensor '{}' has", self.len(), self.name.escape_debug()),
            });
        }
        Ok(())
    }

    /// [`dequantize_into`](Self::dequantize_into) on all cores.
    ///
    /// ```
    /// # let file = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/sample.gguf"));
    /// # let model = gguf_codec::Gguf::parse(file)?;
    /// let tensor = model.tensor("blk.0.ffn_down.weight")?;
    /// let mut values = vec![0.0f32; tensor.len()];
    /// tensor.par_dequantize_into(&mut values)?;
    /// assert_eq!(values, tensor.dequantize::<f32>()?);
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`dequantize_into`](Self::dequantize_into).
    #[cfg(feature = "rayon")]
    pub fn par_dequantize_into<T: Float>(&self, out: &mut [T]) -> Result<()> {
        use rayon::prelude::*;

        self.check_dequantize(out.len())?;
        if self.order == ByteOrder::Little || self.ty.block_bytes() == 1 {
            return codec::par_dequantize(self.ty, self.bytes, out);
        }
        let at_once = self.blocks_at_once();
        self.bytes
            .par_chunks(at_once * self.ty.block_bytes())
            .zip(out.par_chunks_mut(at_once * self.ty.block_len()))
            .try_for_each_init(Vec::new, |buffer, (blocks, out)| self.dequantize_turned(buffer, blocks, out))
    }

    /// Some rows as floats, in the order asked for, as an embedding is looked up: `out` takes exactly their values.
    ///
    /// ```
    /// # use gguf_codec::{Gguf, Result};
    /// # fn show(model: &Gguf<Vec<u8>>, tokens: &[usize]) -> Result<()> {
    /// let embeddings = model.tensor("token_embd.weight")?;
    /// let mut out = vec![0.0f32; tokens.len() * embeddings.row_len()];
    /// embeddings.dequantize_rows(tokens, &mut out)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Length`] where `out` has another length; [`Error::OutOfRange`] for a row beyond the last.
    pub fn dequantize_rows<T: Float>(&self, rows: &[usize], out: &mut [T]) -> Result<()> {
        let wanted = rows.len().checked_mul(self.row_len());
        if wanted != Some(out.len()) {
            return Err(Error::Length {
                what: "the output, in values,",
                found: out.len() as u64,
                wanted: format!("{} rows of {}", rows.len(), self.row_len()),
            });
        }
        for (&row, out) in rows.iter().zip(out.chunks_mut(self.row_len().max(1))) {
            self.row(row)?.dequantize_into(out)?;
        }
        Ok(())
    }

    /// The values as a new vector of floats.
    ///
    /// # Errors
    /// None today: a tensor's bytes are as many as its shape says.
    pub fn dequantize<T: Float>(&self) -> Result<Vec<T>> {
        let mut out = vec![T::default(); self.len()];
        self.dequantize_into(&mut out)?;
        Ok(out)
    }

    /// [`dequantize`](Self::dequantize) on all cores.
    ///
    /// # Errors
    /// As [`dequantize`](Self::dequantize).
    #[cfg(feature = "rayon")]
    pub fn par_dequantize<T: Float>(&self) -> Result<Vec<T>> {
        let mut out = vec![T::default(); self.len()];
        self.par_dequantize_into(&mut out)?;
        Ok(out)
    }
}

impl<F: BlockFormat> TypedTensor<'_, F> {
    /// The values as floats: `out` takes exactly as many as the tensor has.
    ///
    /// # Errors
    /// [`Error::Length`] where `out` has another length.
    pub fn dequantize_into<T: Float>(&self, out: &mut [T]) -> Result<()> {
        self.tensor().dequantize_into(out)
    }
}
