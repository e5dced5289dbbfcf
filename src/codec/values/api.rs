//! Public entry points over raw bytes. Lengths are validated here, once per call; kernels assume them.

use alloc::format;

use super::kernels::{Quantizer, quantizer};
use crate::codec::float::Float;
use crate::codec::format::{BlockFormat, Rows};
use crate::codec::stores::Stores;
use crate::error::{Error, Measured, Result};
use crate::ggml_type::GgmlType;
use crate::simd::{Isa, Kernel, Simd};

/// The number of values that are checked and quantized together, so that the kernel finds them in cache after the check.
const CHUNK_VALUES: usize = 16 * 1024;

/// Decodes whole blocks of `ty`, in the bytes of a little-endian file, to floats. [`Codec`](crate::Codec) does so on all cores.
///
/// The values equal ggml's to the bit, on every machine. `f16` and `bf16` are ggml's `f32` rounded once to nearest even. A
/// block with a NaN or infinite scale gives NaN or infinite values. Integers and `f64` convert to the nearest `f32`.
///
/// Small outputs that begin at a multiple of 64 bytes are written about a fifth faster where vectors are as long as a cache line
/// (AVX-512), and a few per cent faster elsewhere; `docs/performance.md` has figures.
///
/// ```
/// use gguf_codec::{GgmlType, dequantize, quantize};
/// let values: Vec<f32> = (0..64).map(|i| i as f32 / 64.0).collect();
/// let mut blocks = vec![0; 2 * GgmlType::Q8_0.block_bytes()];
/// quantize(GgmlType::Q8_0, &values, 32, None, &mut blocks)?;
/// let mut back = [0.0f32; 64];
/// dequantize(GgmlType::Q8_0, &blocks, &mut back)?;
/// assert!(values.iter().zip(&back).all(|(a, b)| (a - b).abs() < 0.005));
/// # Ok::<(), gguf_codec::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] if `blocks` is not whole blocks, or the length of `out` is not their number of values.
#[doc(alias("dequantize_row", "to_float"))]
pub fn dequantize<T: Float>(ty: GgmlType, blocks: &[u8], out: &mut [T]) -> Result<()> {
    dequantize_with(Isa::detect(), ty, blocks, out)
}

/// Like [`dequantize`], with the given instruction set. The values are the same; only the speed differs.
pub(crate) fn dequantize_with<T: Float>(isa: Isa, ty: GgmlType, blocks: &[u8], out: &mut [T]) -> Result<()> {
    check_blocks(ty, blocks.len(), out.len())?;
    T::dequantize(isa, stores_for(out), ty, blocks, out);
    Ok(())
}

/// From this many bytes on, output bypasses the caches: see the measurement in `docs/performance.md`.
const STREAM_BYTES: usize = 16 * 1024 * 1024;

fn stores_for<T>(out: &[T]) -> Stores {
    if size_of_val(out) >= STREAM_BYTES { Stores::Streaming } else { Stores::Cached }
}

fn check_blocks(ty: GgmlType, bytes: usize, values: usize) -> Result<()> {
    if !bytes.is_multiple_of(ty.block_bytes()) {
        return Err(Error::Length {
            what: Measured::Blocks,
            found: bytes as u64,
            wanted: format!("a multiple of {}, the bytes in a block of {ty}", ty.block_bytes()),
        });
    }
    let wanted = (bytes / ty.block_bytes()) as u128 * ty.block_len() as u128;
    if values as u128 != wanted {
        return Err(Error::Length {
            what: Measured::OutputValues,
            found: values as u64,
            wanted: format!("{wanted}, as many as {bytes} bytes of {ty} hold"),
        });
    }
    Ok(())
}

/// Encodes rows of floats as blocks of `ty`, in the bytes of a little-endian file. [`Codec`](crate::Codec) does so on all cores,
/// into a new vector, or with a measure of the error.
///
/// `values` must be whole rows of `row_len` values, and `out` must have exactly the size of their blocks. `importance`, from an
/// importance matrix, weights the values of a row against each other. It has `row_len` weights, the same for every row. None
/// should be negative; the result for negative weights, at worst an infinite scale, is the same as in ggml. Formats without a
/// search, such as plain types, Q8_0 and MXFP4, ignore it, and a few [require it](GgmlType::needs_importance). The bytes equal
/// those of ggml's `ggml_quantize_chunk`, and of its `quantize_row_q8_1_ref` and `quantize_row_q8_K_ref`, on every machine. For
/// magnitudes of about 10^12 and more in the IQ1, IQ2 and IQ3 formats, ggml aborts the process, and this function writes the
/// grid points nearest to the values.
///
/// Plain floats preserve NaN and infinity. A quantized block cannot represent them, so they are an error with the index of the
/// first one, while ggml would write an invalid block. Finite values beyond what an f16 scale can represent (about 5 × 10^5 for
/// Q4_0, 8 × 10^6 for Q8_0) give an infinite scale, as in ggml.
///
/// ```
/// use gguf_codec::{GgmlType, quantize};
/// let values: Vec<f32> = (0..2 * 512).map(|i| (i as f32 / 100.0).sin()).collect(); // two rows of 512
/// let importance: Vec<f32> = (0..512).map(|i| 1.0 + (i % 7) as f32).collect(); // the same for each row
/// let mut blocks = [0; 2 * (512 / GgmlType::IQ2_XS.block_len()) * GgmlType::IQ2_XS.block_bytes()];
/// quantize(GgmlType::IQ2_XS, &values, 512, Some(&importance), &mut blocks)?;
/// # Ok::<(), gguf_codec::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] if the lengths do not match or rows are not whole blocks; [`Error::NonFinite`];
/// [`Error::NeedsImportance`]; [`Error::NotQuantizable`] for integers. After an error `out` may be partly written.
#[doc(alias("ggml_quantize_chunk", "quantize_row", "from_float"))]
pub fn quantize(
    ty: GgmlType,
    values: &[f32],
    row_len: usize,
    importance: Option<&[f32]>,
    out: &mut [u8],
) -> Result<()> {
    quantize_with(Isa::detect(), ty, values, row_len, importance, out)
}

/// Encodes rows of floats as the blocks of a format, as [`quantize`] does.
///
/// ```
/// use bytemuck::Zeroable;
/// use gguf_codec::blocks::{BlockQ4_K, Q4_K};
/// let values: Vec<f32> = (0..2 * 512).map(|i| (i as f32 / 100.0).sin()).collect(); // two rows of 512
/// let mut blocks = [BlockQ4_K::zeroed(); 4];
/// gguf_codec::quantize_blocks::<Q4_K>(&values, 512, None, &mut blocks)?;
/// assert_ne!(blocks[3].d, [0, 0]);
/// # Ok::<(), gguf_codec::Error>(())
/// ```
///
/// # Errors
/// Those of [`quantize`].
pub fn quantize_blocks<F: BlockFormat>(
    values: &[f32],
    row_len: usize,
    importance: Option<&[f32]>,
    out: &mut [F::Block],
) -> Result<()> {
    quantize(F::TYPE, values, row_len, importance, bytemuck::cast_slice_mut(out))
}

/// Like [`quantize`], with the given instruction set. The bytes are the same; only the speed differs.
pub(super) fn quantize_with(
    isa: Isa,
    ty: GgmlType,
    values: &[f32],
    row_len: usize,
    importance: Option<&[f32]>,
    out: &mut [u8],
) -> Result<()> {
    let plan = Plan::new(ty, values.len(), row_len, importance)?.into(out.len())?;
    for (i, (values, out)) in
        values.chunks(plan.chunk_values).zip(out.chunks_mut(plan.chunk_bytes)).enumerate()
    {
        plan.run(isa, i, values, out)?;
    }
    Ok(())
}

/// A quantization whose lengths have been checked, split into chunks of whole rows.
pub(super) struct Plan<'a> {
    ty: GgmlType,
    quantize: Quantizer,
    values: usize,
    row_len: usize,
    importance: Option<&'a [f32]>,
    pub(super) chunk_values: usize,
    pub(super) chunk_bytes: usize,
}

impl<'a> Plan<'a> {
    /// Creates a plan for `values` values.
    pub(super) fn new(
        ty: GgmlType,
        values: usize,
        row_len: usize,
        importance: Option<&'a [f32]>,
    ) -> Result<Self> {
        let quantize = quantizer(ty).ok_or(Error::NotQuantizable { ty })?;
        if ty.needs_importance() && importance.is_none() {
            return Err(Error::NeedsImportance { ty });
        }
        let length = |what, found: usize, wanted| Err(Error::Length { what, found: found as u64, wanted });
        if !row_len.is_multiple_of(ty.block_len()) || (row_len == 0 && values != 0) {
            let wanted = format!("a multiple of {}, the values in a block of {ty}", ty.block_len());
            return length(Measured::Row, row_len, wanted);
        }
        if !values.is_multiple_of(row_len.max(1)) {
            return length(Measured::InputValues, values, format!("whole rows of {row_len}"));
        }
        if let Some(importance) = importance {
            if importance.len() != row_len {
                let wanted = format!("{row_len}, a weight for each value of a row");
                return length(Measured::Importance, importance.len(), wanted);
            }
            check_finite(Isa::detect(), "importance weight", importance, 0)?;
        }
        // A block's result depends on the row around it only if there is importance.
        let unit = if importance.is_some() { row_len.max(ty.block_len()) } else { ty.block_len() };
        let chunk_values = (CHUNK_VALUES / unit).max(1) * unit;
        Ok(Plan {
            ty,
            quantize,
            values,
            row_len: unit,
            importance,
            chunk_values,
            chunk_bytes: ty.bytes_in(chunk_values),
        })
    }

    /// Returns the plan if `out_len` is the size of its blocks in bytes.
    pub(super) fn into(self, out_len: usize) -> Result<Self> {
        let Plan { ty, values, .. } = self;
        let bytes = ty.bytes_in(values);
        if out_len != bytes {
            return Err(Error::Length {
                what: Measured::OutputBytes,
                found: out_len as u64,
                wanted: format!("{bytes}, the bytes of {values} values in {ty}"),
            });
        }
        Ok(self)
    }

    /// Quantizes the `index`-th chunk.
    pub(super) fn run(&self, isa: Isa, index: usize, values: &[f32], out: &mut [u8]) -> Result<()> {
        if self.ty.is_quantized() {
            check_finite(isa, "value", values, index * self.chunk_values)?;
        }
        let rows = Rows { values, row_len: self.row_len, importance: self.importance };
        (self.quantize)(isa, rows, out);
        Ok(())
    }
}

/// Returns an error for NaN and infinity. `first` is the index of `values[0]` in the caller's slice.
fn check_finite(isa: Isa, what: &'static str, values: &[f32], first: usize) -> Result<()> {
    if isa.run(AllFinite(values)) {
        return Ok(());
    }
    match values.iter().position(|value| !value.is_finite()) {
        Some(at) => Err(Error::NonFinite { what, index: first + at, value: values[at] }),
        None => Ok(()),
    }
}

struct AllFinite<'a>(&'a [f32]);

impl Kernel for AllFinite<'_> {
    type Output = bool;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> bool {
        let vectors = self.0.chunks_exact(S::LANES);
        let rest = vectors.remainder();
        let infinity = s.splat(f32::INFINITY);
        let mut finite = s.lt(s.splat(0.0), infinity);
        for vector in vectors {
            finite = s.both(finite, s.lt(s.abs(s.load(vector)), infinity));
        }
        s.all(finite) && rest.iter().all(|value| value.is_finite())
    }
}

/// Like [`dequantize`], on all cores, with the given instruction set.
#[cfg(feature = "rayon")]
pub(crate) fn par_dequantize<T: Float>(isa: Isa, ty: GgmlType, blocks: &[u8], out: &mut [T]) -> Result<()> {
    use rayon::prelude::*;

    check_blocks(ty, blocks.len(), out.len())?;
    let stores = stores_for(out);
    let chunk_blocks = (CHUNK_VALUES / ty.block_len()).max(1);
    blocks
        .par_chunks(chunk_blocks * ty.block_bytes())
        .zip(out.par_chunks_mut(chunk_blocks * ty.block_len()))
        .for_each(|(blocks, out)| T::dequantize(isa, stores, ty, blocks, out));
    Ok(())
}

/// Like [`quantize`], on all cores, with the given instruction set. The bytes are the same and so is the error, which
/// is the first one.
#[cfg(feature = "rayon")]
pub(crate) fn par_quantize(
    isa: Isa,
    ty: GgmlType,
    values: &[f32],
    row_len: usize,
    importance: Option<&[f32]>,
    out: &mut [u8],
) -> Result<()> {
    use rayon::prelude::*;

    let plan = Plan::new(ty, values.len(), row_len, importance)?.into(out.len())?;
    values
        .par_chunks(plan.chunk_values)
        .zip(out.par_chunks_mut(plan.chunk_bytes))
        .enumerate()
        .map(|(i, (values, out))| plan.run(isa, i, values, out))
        .find_first(Result::is_err)
        .unwrap_or(Ok(()))
}
