//! The values of tensors as floats, available with the feature `codecs`.

use alloc::vec::Vec;
use alloc::{format, vec};
use core::ops::RangeBounds;

use super::data::Data;
use super::typed::TypedTensor;
use super::{READ_BYTES, Tensor};
use crate::byte_order::ByteOrder;
use crate::codec::Float;
use crate::codec::{self, BlockFormat};
use crate::error::Measured;
use crate::error::{Error, Result};
#[cfg(feature = "rayon")]
use crate::simd::Isa;

impl Tensor<'_> {
    /// Writes the values as floats to `out`, which must have exactly [`len`](Self::len) elements. Works in both byte
    /// orders, and the values equal ggml's to the bit.
    ///
    /// # Errors
    /// [`Error::Length`] if `out` has another length. For a tensor in a file, `Error::Io` if it cannot be read.
    pub fn dequantize_into<T: Float>(&self, out: &mut [T]) -> Result<()> {
        self.check_dequantize(out.len())?;
        self.dequantize_data(self.data, out)
    }

    /// Writes the values of a range of rows as floats to `out`, which must have exactly their number of elements. This is
    /// equivalent to [`rows`](Self::rows) and [`dequantize_into`](Self::dequantize_into), without a tensor in between.
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
    /// The errors of [`rows`](Self::rows), and [`Error::Length`] if `out` has another length.
    pub fn rows_into<T: Float>(&self, range: impl RangeBounds<usize>, out: &mut [T]) -> Result<()> {
        let (start, end) = self.bounds(range);
        let data = self.row_data(start, end)?;
        // Less than the number of values in the tensor.
        let wanted = (end - start).saturating_mul(self.row_len());
        if out.len() != wanted {
            return Err(Error::Length {
                what: Measured::OutputValues,
                found: out.len() as u64,
                wanted: format!("{wanted}: {} rows of {}", end - start, self.row_len()),
            });
        }
        self.dequantize_data(data, out)
    }

    /// Writes the values of some rows to `out`, whose length is their number.
    fn dequantize_data<T: Float>(&self, data: Data<'_>, out: &mut [T]) -> Result<()> {
        let bytes = data.in_memory();
        if let Some(bytes) = bytes.filter(|_| self.is_little()) {
            return codec::dequantize(self.ty, bytes, out);
        }
        let data = bytes.map_or(data, Data::Bytes);
        let at_once = self.blocks_at_once(data);
        let mut chunks = out.chunks_mut(at_once * self.ty.block_len());
        data.for_each_chunk((at_once * self.ty.block_bytes()) as u64, &mut Vec::new(), |blocks| {
            self.dequantize_chunk(blocks, chunks.next().unwrap_or_default())
        })
    }

    /// Returns `true` if the blocks are in the byte order that kernels read.
    fn is_little(&self) -> bool {
        self.order == ByteOrder::Little || self.ty.block_bytes() == 1
    }

    /// Returns the number of blocks that are copied at once, either to read them from a file or to swap their byte order.
    fn blocks_at_once(&self, data: Data<'_>) -> usize {
        const TURNED_BYTES: usize = 16 * 1024;
        let bytes = if matches!(data, Data::Bytes(_)) { TURNED_BYTES } else { READ_BYTES };
        (bytes / self.ty.block_bytes()).max(1)
    }

    /// Kernels read little-endian blocks, so others are swapped first.
    fn dequantize_chunk<T: Float>(&self, blocks: &mut [u8], out: &mut [T]) -> Result<()> {
        if !self.is_little() {
            codec::swap_byte_order(self.ty, blocks);
        }
        codec::dequantize(self.ty, blocks, out)
    }

    /// Returns an error unless the tensor has `values` values. The entry points for raw bytes check this too, but do
    /// not know the tensor's name.
    fn check_dequantize(&self, values: usize) -> Result<()> {
        if values != self.len() {
            return Err(Error::Length {
                what: Measured::OutputValues,
                found: values as u64,
                wanted: format!("{}, as many as tensor '{}' has", self.len(), self.name.escape_debug()),
            });
        }
        Ok(())
    }

    /// Like [`dequantize_into`](Self::dequantize_into), on all cores.
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
    /// The errors of [`dequantize_into`](Self::dequantize_into).
    #[cfg(feature = "rayon")]
    pub fn par_dequantize_into<T: Float>(&self, out: &mut [T]) -> Result<()> {
        use rayon::prelude::*;

        self.check_dequantize(out.len())?;
        let bytes = self.data.in_memory();
        if let Some(bytes) = bytes.filter(|_| self.is_little()) {
            return codec::par_dequantize(Isa::detect(), self.ty, bytes, out);
        }
        let data = bytes.map_or(self.data, Data::Bytes);
        let at_once = self.blocks_at_once(data);
        let chunk = (at_once * self.ty.block_bytes()) as u64;
        out.par_chunks_mut(at_once * self.ty.block_len()).enumerate().try_for_each_init(
            Vec::new,
            |buffer, (index, out)| {
                buffer.resize(self.ty.bytes_in(out.len()), 0);
                data.read(index as u64 * chunk, buffer)?;
                self.dequantize_chunk(buffer, out)
            },
        )
    }

    /// Writes some rows as floats to `out`, in the order given, as in an embedding look-up. `out` must have exactly their values.
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
    /// [`Error::Length`] if `out` has another length; [`Error::OutOfRange`] for a row past the last.
    pub fn dequantize_rows<T: Float>(&self, rows: &[usize], out: &mut [T]) -> Result<()> {
        let wanted = rows.len().checked_mul(self.row_len());
        if wanted != Some(out.len()) {
            return Err(Error::Length {
                what: Measured::OutputValues,
                found: out.len() as u64,
                wanted: format!("{} rows of {}", rows.len(), self.row_len()),
            });
        }
        for (&row, out) in rows.iter().zip(out.chunks_mut(self.row_len().max(1))) {
            self.row(row)?.dequantize_into(out)?;
        }
        Ok(())
    }

    /// Returns the values as a new vector of floats.
    ///
    /// # Errors
    /// For a tensor in a file, `Error::Io` if it cannot be read.
    pub fn dequantize<T: Float>(&self) -> Result<Vec<T>> {
        let mut out = vec![T::default(); self.len()];
        self.dequantize_into(&mut out)?;
        Ok(out)
    }

    /// Like [`dequantize`](Self::dequantize), on all cores.
    ///
    /// # Errors
    /// The errors of [`dequantize`](Self::dequantize).
    #[cfg(feature = "rayon")]
    pub fn par_dequantize<T: Float>(&self) -> Result<Vec<T>> {
        let mut out = vec![T::default(); self.len()];
        self.par_dequantize_into(&mut out)?;
        Ok(out)
    }
}

impl<F: BlockFormat> TypedTensor<'_, F> {
    /// Writes the values as floats to `out`, which must have exactly as many elements as the tensor has values.
    ///
    /// # Errors
    /// [`Error::Length`] if `out` has another length.
    pub fn dequantize_into<T: Float>(&self, out: &mut [T]) -> Result<()> {
        self.tensor().dequantize_into(out)
    }
}
