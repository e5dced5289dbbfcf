//! Public entry points over raw bytes. Lengths are validated here, once per call; kernels assume them.

use alloc::format;

use super::kernels::{Quantizer, Stores, quantizer};
use crate::codec::float::Float;
use crate::codec::format::Rows;
use crate::simd::{Isa, Kernel, Simd};
use crate::{Error, GgmlType, Result};

/// Values that are checked and quantized together, so that the check finds them in cache for the kernel.
const CHUNK_VALUES: usize = 16 * 1024;

/// Turns whole blocks of `ty`, in the bytes of a little-endian file, into floats. [`Codec`](crate::Codec) does so on all cores.
///
/// The values equal ggml's to the bit, on every machine; `f16` and `bf16` are ggml's `f32` rounded once to
/// nearest even. A block with a NaN or infinite scale gives NaN or infinite values. Integers and `f64` become the
/// nearest `f32`.
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
/// [`Error::Length`] where `blocks` is not whole blocks or `out` has not exactly their values.
#[doc(alias("dequantize_row", "to_float"))]
pub fn dequantize<T: Float>(ty: GgmlType, blocks: &[u8], out: &mut [T]) -> Result<()> {
    dequantize_with(Isa::detect(), ty, blocks, out)
}

/// [`dequantize`] in the instruction set given: the same values, at another speed.
pub(crate) fn dequantize_with<T: Float>(isa: Isa, ty: GgmlType, blocks: &[u8], out: &mut [T]) -> Result<()> {
    check_blocks(ty, blocks.len(), out.len())?;
    T::dequantize(isa, stores_for(out), ty, blocks, out);
    Ok(())
}

/// From this many bytes on, output is written around the caches: `docs/performance.md` has the measurement.
const STREAM_BYTES: usize = 16 * 1024 * 1024;

fn stores_for<T>(out: &[T]) -> Stores {
    if size_of_val(out) >= STREAM_BYTES { Stores::Streaming } else { Stores::Cached }
}

fn check_blocks(ty: GgmlType, bytes: usize, values: usize) -> Result<()> {
    if !bytes.is_multiple_of(ty.block_bytes()) {
        return Err(Error::Length {
            what: "the slice of blocks, in bytes,",
            found: bytes as u64,
            wanted: format!("a multiple of {}, the bytes in a block of {ty}", ty.block_bytes()),
        });
    }
    let wanted = (bytes / ty.block_bytes()) as u128 * ty.block_len() as u128;
    if values as u128 != wanted {
        return Err(Error::Length {
            what: "the output, in values,",
            found: values as u64,
            wanted: format!("{wanted}, as many as {bytes} bytes of {ty} hold"),
        });
    }
    Ok(())
}

/// Turns rows of floats into blocks of `ty`, in the bytes of a little-endian file. [`Codec`](crate::Codec) does so on all cores,
/// into a new vector, or with a measure of what is lost.
///
/// `values` holds whole rows of `row_len` values, and `out` takes exactly their blocks. `importance`, from an
/// importance matrix, weighs the values of a row against each other (`row_len` weights, the same for every row,
/// none of them negative: what ggml makes of those, an infinite scale at worst, is made here too);
/// formats without a search, such as plain types, Q8_0 and MXFP4, do not use it, and a
/// few [cannot do without](GgmlType::needs_importance). The bytes equal those of ggml's `ggml_quantize_chunk`, and of its
/// `quantize_row_q8_1_ref` and `quantize_row_q8_K_ref`, on every machine. Where ggml ends the process, at magnitudes of
/// about 10^12 and more in the IQ1, IQ2 and IQ3 formats, the grid's points nearest to the values are written.
///
/// NaN and infinity: plain floats keep them. A quantized block cannot hold one, so they are an error that gives
/// the first one's index, where ggml would write a block of garbage. Finite values beyond what an f16 scale can
/// express (about 5 × 10^5 for Q4_0, 8 × 10^6 for Q8_0) give an infinite scale, as in ggml.
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
/// [`Error::Length`] where the lengths do not fit each other or rows are not whole blocks; [`Error::NonFinite`];
/// [`Error::NeedsImportance`]; [`Error::NotQuantizable`] for integers. On an error `out` may be partly written.
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

/// [`quantize`] in the instruction set given: the same bytes, at another speed.
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

/// A quantization whose lengths are checked, cut into chunks of whole rows.
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
    /// For `values` values.
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
            return length("the row, in values,", row_len, wanted);
        }
        if !values.is_multiple_of(row_len.max(1)) {
            return length("the input, in values,", values, format!("whole rows of {row_len}"));
        }
        if let Some(importance) = importance {
            if importance.len() != row_len {
                let wanted = format!("{row_len}, a weight for each value of a row");
                return length("the importance, in weights,", importance.len(), wanted);
            }
            check_finite(Isa::detect(), "importance weight", importance, 0)?;
        }
        // Only with importance does a block's result depend on the row around it.
        let unit = if importance.is_some() { row_len.max(ty.block_len()) } else { ty.block_len() };
        let chunk_values = (CHUNK_VALUES / unit).max(1) * unit;
        Ok(Plan {
            ty,
            quantize,
            values,
            row_len: unit,
            importance,
            chunk_values,
            chunk_bytes: chunk_values / ty.block_len() * ty.block_bytes(),
        })
    }

    /// The same plan, where `out_len` is as many bytes as the blocks have.
    pub(super) fn into(self, out_len: usize) -> Result<Self> {
        let Plan { ty, values, .. } = self;
        let bytes = values / ty.block_len() * ty.block_bytes();
        if out_len != bytes {
            return Err(Error::Length {
                what: "the output, in bytes,",
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

/// Fails on NaN and infinity; `first` is the index of `values[0]` in the caller's slice.
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

/// [`dequantize`] on all cores, in the instruction set given.
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

/// [`quantize`] on all cores, in the instruction set given: the same bytes and, of several errors, the same first one.
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
