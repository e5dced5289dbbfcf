//! [`Convert`]: converts tensors of files to the types of another file, a few megabytes at a time and on all cores.

use std::ops::ControlFlow;

use super::job::{Job, in_memory};
use super::pieces::{self, Piece, Remake, told};
use super::target::Target;
use crate::codec::values::{QuantError, dequantize, quantize};
use crate::error::{Error, Result};
use crate::ggml_type::GgmlType;

/// The number of a piece's values that are floats at a time, so that they stay in cache.
const CACHED_VALUES: usize = 16 * 1024;
/// Below this magnitude no scale of any type overflows: f16 represents numbers up to 65504, and the largest quantity
/// stored is the sum of 32 values in Q8_1.
const SAFE_MAGNITUDE: f32 = 65504.0 / 33.0;

/// The result of converting a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct Outcome {
    /// The error of its values, if that was [measured](Convert::measure) and the tensor was not copied.
    pub error: Option<QuantError>,
    /// The number of blocks (for plain types, values) that became infinite although they were finite before: their
    /// values exceeded what the scale of a block can represent.
    pub overflowed: u64,
}

/// Converts tensors of files and writes them to another file.
///
/// Pieces of a tensor are read, converted and written in parallel. Every core converts, and memory does not grow with
/// the model (up to 3 MiB for each of `2n + 1` pieces, where `n` is the number of threads; more with importance, if a
/// single row is longer). Bytes copied from file to file do not pass through memory at all if [the kernel
/// copies](crate::TensorWriter::copy_from). The bytes are those of [`dequantize`](crate::dequantize) and
/// [`quantize`](crate::quantize), for any number of threads.
///
/// ```
/// use std::ops::ControlFlow;
/// use gguf_codec::model::{Convert, Job, Origin};
/// use gguf_codec::{GgmlType, Gguf, Writer};
/// # let mut writer = Writer::new(Vec::new());
/// # writer.declare_tensor("w", &[64, 2], GgmlType::F32)?;
/// # let mut data = writer.write_header()?;
/// # data.write_tensor("w", &[0; 512])?;
/// # let file = data.finish()?;
/// let model = Gguf::parse(&file)?; // or `Gguf::open`, with a `File` as the source below
/// let source = &file;
///
/// let mut writer = Writer::new(Vec::new());
/// writer.copy_metadata_from(&model)?;
/// let jobs: Vec<Job> = model
///     .tensors()
///     .map(|tensor| Job::new(tensor.name(), Origin::of(source, &tensor), GgmlType::Q8_0))
///     .collect();
/// for job in &jobs {
///     writer.declare_tensor(job.name(), job.shape().dims(), job.ggml_type())?;
/// }
/// let mut data = writer.write_header()?;
/// let outcomes = Convert::new()
///     .measure(true)
///     .run_with(&jobs, &mut data, |done, total| {
///         eprint!("\r{done} of {total} bytes");
///         ControlFlow::Continue(())
///     })?;
/// let quantized = data.finish()?;
/// assert_eq!(outcomes[0].error.unwrap().values(), 128);
/// assert_eq!(Gguf::parse(&quantized)?.tensor("w")?.ggml_type(), GgmlType::Q8_0);
/// # Ok::<(), gguf_codec::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "nothing is converted before `run`"]
#[doc(alias = "llama_model_quantize")]
pub struct Convert {
    measure: bool,
}

impl Convert {
    /// Creates a converter that measures nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether to [measure](Outcome::error) the error. This requires dequantizing what was quantized.
    pub fn measure(mut self, measure: bool) -> Self {
        self.measure = measure;
        self
    }

    /// Writes the tensors of the jobs, which must be those that the writer expects next, in order.
    ///
    /// # Errors
    /// As [`run_with`](Self::run_with).
    pub fn run<T: Target>(&self, jobs: &[Job<'_>], writer: &mut T) -> Result<Vec<Outcome>> {
        self.run_with(jobs, writer, |_, _| ControlFlow::Continue(()))
    }

    /// Like [`run`](Self::run), with progress: `progress` is called after each written piece with the number of source bytes
    /// consumed so far and the total. Return `Break` to cancel.
    ///
    /// # Errors
    /// [`Error::Write`], naming the tensor, for jobs that cannot be done: the writer expects another tensor, or this one with
    /// another shape or type; floats cannot be converted to the type, or not without importance; the importance is not as long as
    /// a row, or not finite. All jobs are checked before the first is begun, so these errors leave the output unchanged. The
    /// other errors abandon it: [`Error::Write`], naming the tensor, if a value cannot be stored in its type (NaN and infinity in
    /// a block); [`Error::Io`] if reading or writing fails; [`Error::Interrupted`] if `progress` breaks.
    pub fn run_with<T: Target>(
        &self,
        jobs: &[Job<'_>],
        writer: &mut T,
        progress: impl FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Vec<Outcome>> {
        let total = jobs.iter().map(|job| job.origin().byte_len()).fold(0, u64::saturating_add);
        self.run_in_steps(jobs, writer, &mut told(total, progress))
    }

    /// Like [`run_with`](Self::run_with), for one file of several: `progress` is called with the number of bytes of each piece.
    pub(super) fn run_in_steps<T: Target>(
        &self,
        jobs: &[Job<'_>],
        writer: &mut T,
        progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Vec<Outcome>> {
        pieces::write(self, jobs, writer, progress)
    }
}

impl Remake for Convert {
    type Found = Outcome;
    type Scratch = Floats;

    fn check(&self, job: &Job<'_>) -> Result<()> {
        job.check()
    }

    fn nothing_yet(&self, job: &Job<'_>) -> Outcome {
        let measure = self.measure && !job.copies();
        Outcome { error: measure.then(QuantError::default), overflowed: 0 }
    }

    fn add(all: &mut Outcome, piece: Outcome) {
        all.overflowed += piece.overflowed;
        all.error = all.error.zip(piece.error).map(|(mut all, error)| {
            all += error;
            all
        });
    }

    fn remake(
        &self,
        piece: Piece<'_>,
        source: &[u8],
        blocks: &mut Vec<u8>,
        Floats { values, restored }: &mut Floats,
    ) -> Result<Outcome> {
        let Job { origin, ty, .. } = *piece.job;
        let (from, importance) = (origin.ggml_type(), piece.importance());
        blocks.resize(in_memory(ty.bytes_for(piece.values()).unwrap_or(0))?, 0);
        // Without importance each block is quantized on its own, so it does not matter where rows begin.
        let row_len = match importance {
            Some(_) => in_memory(origin.shape().row_len())?,
            None => in_memory(piece.values())?.min(CACHED_VALUES),
        };
        let at_once = (CACHED_VALUES / row_len).max(1) * row_len;
        let mut outcome = self.nothing_yet(piece.job);
        let mut first = piece.first();
        let parts = source.chunks(from.bytes_in(at_once));
        for (part, out) in parts.zip(blocks.chunks_mut(ty.bytes_in(at_once))) {
            values.resize(from.values_in(part.len()), 0.0);
            dequantize(from, part, values)?;
            let greatest = greatest_magnitude(values);
            if !greatest.is_finite() && ty.is_quantized() {
                return Err(not_finite(piece.job, values, first));
            }
            quantize(ty, values, row_len.min(values.len()), importance, out)?;
            // A large sum of importance weights can make a scale overflow for any values.
            if greatest >= SAFE_MAGNITUDE || greatest.is_nan() || importance.is_some() {
                outcome.overflowed += overflowed(from, part, ty, out)?;
            }
            if let Some(error) = &mut outcome.error {
                restored.resize(values.len(), 0.0);
                dequantize(ty, out, restored)?;
                *error += QuantError::between(values, restored)?;
            }
            first += values.len() as u64;
        }
        Ok(outcome)
    }
}

/// Values being converted from one type to the other.
#[derive(Default)]
pub(super) struct Floats {
    values: Vec<f32>,
    /// The values after conversion.
    restored: Vec<f32>,
}

impl<'a> Piece<'a> {
    /// Returns the index of its first value in the tensor.
    fn first(&self) -> u64 {
        self.job.origin.ggml_type().long_values_in(self.at)
    }

    fn importance(&self) -> Option<&'a [f32]> {
        self.job.weights_of(self.first() / self.job.shape().row_len().max(1))
    }

    fn values(&self) -> u64 {
        self.job.origin.ggml_type().long_values_in(self.bytes)
    }
}

/// Returns NaN if there is one.
fn greatest_magnitude(values: &[f32]) -> f32 {
    // The bits of floats without their signs are ordered like integers, with NaN last.
    f32::from_bits(values.iter().fold(0, |max, value| max.max(value.to_bits() & !(1 << 31))))
}

fn not_finite(job: &Job<'_>, values: &[f32], first: u64) -> Error {
    let at = values.iter().position(|value| !value.is_finite()).unwrap_or(0);
    let (index, row_len) = (first + at as u64, job.shape().row_len());
    let as_float = if job.origin.ggml_type() == GgmlType::F64 { " as an f32" } else { "" };
    Error::write(format!(
        "tensor '{}': value {index} (row {}, column {}) is {}{as_float}, and a block of {} cannot hold that",
        job.name.escape_debug(),
        index / row_len,
        index % row_len,
        values[at],
        job.ty
    ))
}

/// Returns the number of blocks that are not finite although their source values were.
fn overflowed(from: GgmlType, source: &[u8], ty: GgmlType, blocks: &[u8]) -> Result<u64> {
    let (mut count, mut next) = (0, 0);
    while let Err(Error::InvalidBlock { block, .. }) = ty.validate(&blocks[next * ty.block_bytes()..]) {
        next += in_memory(block)?;
        let source = &source[from.bytes_in(next * ty.block_len())..];
        if from.validate(&source[..from.block_bytes()]).is_ok() {
            count += 1;
        }
        next += 1;
    }
    Ok(count)
}
