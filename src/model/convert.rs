//! [`Convert`]: tensors of one file into the types of another, a few megabytes at a time and on all cores.

use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use super::in_order::in_order;
use crate::codec::{dequantize, quantize, swap_byte_order};
use crate::container::ReadAt;
use crate::{ByteOrder, DataWriter, Error, GgmlType, QuantError, Result, Sink, TensorInfo};

/// Values that a thread converts at a time: whole blocks of every type, and enough that nobody waits for the work of
/// handing them out.
const PIECE_VALUES: u64 = 256 * 1024;
/// Of these, values that are floats at a time, for the caches.
const CACHED_VALUES: usize = 16 * 1024;
/// Below this magnitude no scale of any type overflows: f16 holds numbers up to 65504.
const SAFE_MAGNITUDE: f32 = 32768.0;

/// A tensor of the file that is read, and what becomes of it.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// Where it is, and what.
    pub tensor: TensorInfo<'a>,
    /// The type that the other file has it in. Where that is its own, its bytes are copied.
    pub ty: GgmlType,
    /// A weight for each value of a row, as in [`quantize`](crate::quantize).
    pub importance: Option<&'a [f32]>,
}

impl<'a> Job<'a> {
    /// The tensor stays as it is.
    pub fn copy(tensor: TensorInfo<'a>) -> Self {
        Job { tensor, ty: tensor.ggml_type(), importance: None }
    }

    fn copies(&self) -> bool {
        self.tensor.ggml_type() == self.ty
    }
}

/// What became of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct Outcome {
    /// How far its values are from what they were, where that was [measured](Convert::measure) and it was not
    /// copied.
    pub error: Option<QuantError>,
    /// Blocks (of plain types, values) that are infinite now and were not: their values were beyond what the scale of
    /// a block can express.
    pub overflown: u64,
}

/// Converts tensors from one file into another.
///
/// Pieces of a tensor are read, converted and written side by side: every core converts, and memory does not grow with
/// the model. The bytes are those of [`dequantize`](crate::dequantize) and [`quantize`](crate::quantize), in any
/// number of threads.
///
/// ```
/// use std::ops::ControlFlow;
/// use gguf_codec::model::{Convert, Job};
/// use gguf_codec::{GgmlType, Gguf, Writer};
/// # let mut writer = Writer::new(Vec::new());
/// # writer.tensor("w", &[64, 2], GgmlType::F32)?;
/// # let mut data = writer.write_header()?;
/// # data.write_tensor("w", &[0; 512])?;
/// # let file = data.finish()?;
/// let model = Gguf::parse(&file)?; // or `Gguf::open`, with a `File` as the source below
///
/// let mut writer = Writer::new(Vec::new());
/// writer.copy_metadata_from(&model)?;
/// let jobs: Vec<Job> = model
///     .tensors()
///     .map(|tensor| Job { tensor, ty: GgmlType::Q8_0, importance: None })
///     .collect();
/// for Job { tensor, ty, .. } in &jobs {
///     writer.tensor(tensor.name(), tensor.shape().dims(), *ty)?;
/// }
/// let mut data = writer.write_header()?;
/// let outcomes = Convert::new(file.as_slice())
///     .measure(true)
///     .run(&jobs, &mut data, |_bytes_read| ControlFlow::Continue(()))?;
/// let quantized = data.finish()?;
/// assert_eq!(outcomes[0].error.unwrap().values(), 128);
/// assert_eq!(Gguf::parse(&quantized)?.tensor("w")?.ggml_type(), GgmlType::Q8_0);
/// # Ok::<(), gguf_codec::Error>(())
/// ```
#[derive(Debug)]
pub struct Convert<'a, R: ?Sized> {
    source: &'a R,
    measure: bool,
}

impl<'a, R: ReadAt + ?Sized> Convert<'a, R> {
    /// From the file that the jobs' tensors are in: it begins where the GGUF begins.
    pub fn new(source: &'a R) -> Self {
        Convert { source, measure: false }
    }

    /// Whether to [measure](Outcome::error) what is lost. That takes dequantizing what was quantized.
    pub fn measure(mut self, measure: bool) -> Self {
        self.measure = measure;
        self
    }

    /// Writes the jobs' tensors, which the writer expects next and in their order. `progress` hears of each piece that
    /// is written, by the bytes that were read for it, and decides whether to go on.
    ///
    /// # Errors
    /// [`Error::Io`] where reading or writing fails; [`Error::Write`], naming the tensor, where a value cannot be
    /// stored in its type (NaN and infinity in a block), and for tensors that the writer does not expect;
    /// [`Error::NoFloats`] and [`Error::NeedsImportance`] for types that cannot be made of these;
    /// [`Error::Interrupted`] where `progress` breaks. After each the file that is written is given up.
    pub fn run<S: Sink>(
        self,
        jobs: &[Job<'_>],
        writer: &mut DataWriter<S>,
        mut progress: impl FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Vec<Outcome>> {
        let order = writer.byte_order();
        let memory = Mutex::new(Vec::new());
        let work = |piece: Piece<'_>| {
            let mut buffers: Buffers = lock(&memory).pop().unwrap_or_default();
            let outcome = self.convert(piece, order, &mut buffers);
            (outcome, buffers)
        };
        in_order(jobs.iter().flat_map(Piece::of), work, |next| {
            let mut outcomes = Vec::with_capacity(jobs.len());
            for job in jobs {
                let mut out = writer.begin(job.tensor.name())?;
                let mut all = self.nothing_yet(job);
                for piece in Piece::of(job) {
                    let Some((outcome, buffers)) = next() else { break };
                    let outcome = outcome?;
                    out.write_bytes(if job.copies() { &buffers.source } else { &buffers.blocks })?;
                    lock(&memory).push(buffers);
                    all.overflown += outcome.overflown;
                    all.error = all.error.zip(outcome.error).map(|(mut all, error)| {
                        all += error;
                        all
                    });
                    if progress(piece.bytes).is_break() {
                        return Err(Error::Interrupted);
                    }
                }
                out.finish()?;
                outcomes.push(all);
            }
            Ok(outcomes)
        })
    }

    fn nothing_yet(&self, job: &Job<'_>) -> Outcome {
        let measure = self.measure && !job.copies();
        Outcome { error: measure.then(QuantError::default), overflown: 0 }
    }

    /// Reads a piece and makes its bytes in the other file.
    fn convert(&self, piece: Piece<'_>, order: ByteOrder, buffers: &mut Buffers) -> Result<Outcome> {
        let Job { tensor, ty, .. } = *piece.job;
        buffers.source.resize(in_memory(piece.bytes)?, 0);
        self.source
            .read_exact_at(&mut buffers.source, tensor.file_offset() + piece.at)
            .map_err(|error| Error::io(format!("read tensor '{}'", tensor.name().escape_debug()), error))?;
        if piece.job.copies() {
            if tensor.order != order {
                swap_byte_order(ty, &mut buffers.source);
            }
            return Ok(Outcome::default());
        }
        if tensor.order == ByteOrder::Big {
            swap_byte_order(tensor.ty, &mut buffers.source);
        }
        let outcome = self.requantize(piece, buffers)?;
        if order == ByteOrder::Big {
            swap_byte_order(ty, &mut buffers.blocks);
        }
        Ok(outcome)
    }

    /// Little-endian bytes of the one type into little-endian bytes of the other.
    fn requantize(&self, piece: Piece<'_>, buffers: &mut Buffers) -> Result<Outcome> {
        let Job { tensor, ty, importance } = *piece.job;
        let from = tensor.ggml_type();
        let Buffers { source, values, restored, blocks } = buffers;
        blocks.resize(in_memory(ty.bytes_for(piece.values()).unwrap_or(0))?, 0);
        // Without importance each block is quantized on its own, so that it does not matter where rows begin.
        let row_len = match importance {
            Some(_) => in_memory(tensor.shape().row_len())?,
            None => in_memory(piece.values())?.min(CACHED_VALUES),
        };
        let at_once = (CACHED_VALUES / row_len).max(1) * row_len;
        let mut outcome = self.nothing_yet(piece.job);
        let mut first = piece.first;
        let parts = source.chunks(at_once / from.block_len() * from.block_bytes());
        for (part, out) in parts.zip(blocks.chunks_mut(at_once / ty.block_len() * ty.block_bytes())) {
            values.resize(part.len() / from.block_bytes() * from.block_len(), 0.0);
            dequantize(from, part, values)?;
            let greatest = greatest_magnitude(values);
            if !greatest.is_finite() && ty.is_quantized() {
                return Err(not_finite(piece.job, values, first));
            }
            quantize(ty, values, row_len.min(values.len()), importance, out)?;
            if greatest >= SAFE_MAGNITUDE || greatest.is_nan() {
                outcome.overflown += overflown(from, part, ty, out)?;
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

/// Panics leave nothing half-done behind this lock: it guards spare memory.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn in_memory(len: u64) -> Result<usize> {
    usize::try_from(len).map_err(|_| Error::Length {
        what: "a row that has to be in memory at once",
        found: len,
        wanted: format!("not more than {}", usize::MAX),
    })
}

/// A run of a tensor's blocks; with importance, of its rows.
#[derive(Clone, Copy)]
struct Piece<'a> {
    job: &'a Job<'a>,
    /// Its first value, counted from the tensor's first.
    first: u64,
    /// Where it begins in the tensor's data.
    at: u64,
    /// Its length there.
    bytes: u64,
}

impl<'a> Piece<'a> {
    /// The pieces of a tensor.
    fn of(job: &'a Job<'a>) -> impl Iterator<Item = Piece<'a>> {
        let (shape, from) = (job.tensor.shape(), job.tensor.ggml_type());
        let elements = shape.elements();
        let len = match job.importance {
            Some(_) => (PIECE_VALUES / shape.row_len().max(1)).max(1).saturating_mul(shape.row_len()),
            None => PIECE_VALUES,
        };
        // A tensor's bytes were counted when its header was read, so that those of its parts can be.
        let bytes = move |values: u64| values / from.block_len() as u64 * from.block_bytes() as u64;
        (0..elements.div_ceil(len.max(1))).map(move |index| {
            let first = index * len;
            Piece { job, first, at: bytes(first), bytes: bytes(len.min(elements - first)) }
        })
    }

    fn values(&self) -> u64 {
        let from = self.job.tensor.ggml_type();
        self.bytes / from.block_bytes() as u64 * from.block_len() as u64
    }
}

/// Memory for a piece, which goes from one to the next.
#[derive(Default)]
struct Buffers {
    /// As in the file read.
    source: Vec<u8>,
    values: Vec<f32>,
    restored: Vec<f32>,
    /// As in the file written.
    blocks: Vec<u8>,
}

/// NaN where there is one.
fn greatest_magnitude(values: &[f32]) -> f32 {
    // The bits of floats without their signs are ordered as integers are, NaN last.
    f32::from_bits(values.iter().fold(0, |max, value| max.max(value.to_bits() & !(1 << 31))))
}

fn not_finite(job: &Job<'_>, values: &[f32], first: u64) -> Error {
    let at = values.iter().position(|value| !value.is_finite()).unwrap_or(0);
    let (index, row_len) = (first + at as u64, job.tensor.shape().row_len());
    let as_float = if job.tensor.ggml_type() == GgmlType::F64 { " as an f32" } else { "" };
    Error::Write {
        message: format!(
            "tensor '{}': value {index} (row {}, column {}) is {}{as_float}, and a block of {} cannot hold that",
            job.tensor.name().escape_debug(),
            index / row_len,
            index % row_len,
            values[at],
            job.ty
        ),
    }
}

/// How many of the blocks are not finite and were made of values that were.
fn overflown(from: GgmlType, source: &[u8], ty: GgmlType, blocks: &[u8]) -> Result<u64> {
    let (mut count, mut next) = (0, 0);
    while let Err(Error::InvalidBlock { block, .. }) = ty.validate(&blocks[next * ty.block_bytes()..]) {
        next += in_memory(block)?;
        let source = &source[next * ty.block_len() / from.block_len() * from.block_bytes()..];
        if from.validate(&source[..from.block_bytes()]).is_ok() {
            count += 1;
        }
        next += 1;
    }
    Ok(count)
}
