//! Writes the tensors of a file piece by piece and on all cores. They are copied, or converted by a [`Remake`].

use std::io;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use super::in_order::in_order;
use super::job::{Job, Origin, in_memory};
use super::runs::run_len;
use super::target::Target;
use crate::byte_order::ByteOrder;
use crate::codec::swap_byte_order;
use crate::error::{Error, Result};
#[cfg(any(unix, windows))]
use crate::gguf::TensorInfo;

/// The number of values that a thread processes at a time: whole blocks of every type, and enough that handing out the
/// work costs nothing.
const PIECE_VALUES: u64 = 256 * 1024;

/// A conversion of tensors to another type.
pub(super) trait Remake: Sync {
    /// What is found out about a tensor during conversion.
    type Found: Send;
    /// Scratch memory that is kept from one piece to the next.
    type Scratch: Default + Send;

    /// Returns an error for anything that is impossible whatever the values.
    fn check(&self, job: &Job<'_>) -> Result<()>;

    /// Returns the initial findings for a tensor before its first piece, and the findings for one that is copied.
    fn nothing_yet(&self, job: &Job<'_>) -> Self::Found;

    /// Adds the findings for a piece to those for its tensor.
    fn add(all: &mut Self::Found, piece: Self::Found);

    /// Converts a piece's bytes to `blocks`. Both are little-endian.
    fn remake(
        &self,
        piece: Piece<'_>,
        source: &[u8],
        blocks: &mut Vec<u8>,
        scratch: &mut Self::Scratch,
    ) -> Result<Self::Found>;
}

/// Every tensor keeps its type.
#[cfg_attr(
    not(any(unix, windows)),
    allow(dead_code, reason = "shards are merged where files are read at offsets")
)]
struct Copies;

impl Remake for Copies {
    type Found = ();
    type Scratch = ();

    fn check(&self, job: &Job<'_>) -> Result<()> {
        if job.copies() { Ok(()) } else { Err(Error::NotQuantizable { ty: job.ty }) }
    }

    fn nothing_yet(&self, _: &Job<'_>) {}

    fn add((): &mut (), (): ()) {}

    fn remake(&self, piece: Piece<'_>, _: &[u8], _: &mut Vec<u8>, (): &mut ()) -> Result<()> {
        self.check(piece.job)
    }
}

/// Copies the tensors of the jobs, which keep their types and must be those that the writer expects next, in order.
/// `progress` is called after each written piece with its number of bytes. Return `Break` to cancel.
#[cfg(any(unix, windows))]
pub(super) fn copy<T: Target>(
    jobs: &[Job<'_>],
    writer: &mut T,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<()> {
    write(&Copies, jobs, writer, progress).map(drop)
}

/// Returns the total size of the tensors in bytes.
#[cfg(any(unix, windows))]
pub(super) fn bytes_of(tensors: &[TensorInfo<'_>]) -> u64 {
    tensors.iter().map(TensorInfo::byte_len).fold(0, u64::saturating_add)
}

/// Converts the number of bytes in each step to the number so far and the total.
#[cfg(any(feature = "codecs", unix, windows))]
pub(super) fn told(
    total: u64,
    mut progress: impl FnMut(u64, u64) -> ControlFlow<()>,
) -> impl FnMut(u64) -> ControlFlow<()> {
    let mut done = 0u64;
    move |bytes| {
        // Padding is copied along with small tensors.
        done = done.saturating_add(bytes).min(total);
        progress(done, total)
    }
}

/// Writes the tensors of the jobs, which must be those that the writer expects next, in order. Returns the findings for each.
/// `progress` is called after each written piece with the number of source bytes consumed. Return `Break` to cancel.
pub(super) fn write<R: Remake, T: Target>(
    remake: &R,
    jobs: &[Job<'_>],
    writer: &mut T,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<Vec<R::Found>> {
    for (ahead, job) in jobs.iter().enumerate() {
        writer.expect_tensor(ahead, job.name, job.shape(), job.ty)?;
        remake.check(job)?;
    }
    let order = writer.order();
    let memory = Mutex::new(Vec::new());
    let work = |piece: Piece<'_>| {
        let mut buffers: Buffers<R::Scratch> = lock(&memory).pop().unwrap_or_default();
        let outcome = convert(remake, piece, order, &mut buffers);
        (outcome, buffers)
    };
    // What the kernel copies between files is nobody's work here.
    let stream = writer.stream();
    let runs = stream.leaves_to_the_kernel().then(|| stream.alignment());
    let by_kernel = |job: &Job<'_>| {
        runs.is_some() && job.copies() && job.origin.order == order && job.origin.source.as_file().is_some()
    };
    let pieces = jobs.iter().filter(|job| !by_kernel(job)).flat_map(Piece::of);
    in_order(pieces, work, |next| {
        let mut outcomes = Vec::with_capacity(jobs.len());
        while let Some(job) = jobs.get(outcomes.len()) {
            if let Some(alignment) = runs.filter(|_| by_kernel(job)) {
                let run = run_len(&jobs[outcomes.len()..], alignment, by_kernel);
                let Origin { source, offset, .. } = job.origin;
                stream.copy_run(job.name, run - 1, source, offset, &mut |bytes| {
                    if progress(bytes).is_break() { Err(Error::Interrupted) } else { Ok(()) }
                })?;
                outcomes.extend(jobs[outcomes.len()..][..run].iter().map(|job| remake.nothing_yet(job)));
                continue;
            }
            stream.begin(job.name)?;
            let mut all = remake.nothing_yet(job);
            for piece in Piece::of(job) {
                let Some((outcome, buffers)) = next() else { break };
                let outcome = outcome?;
                stream.write(if job.copies() { &buffers.source } else { &buffers.blocks })?;
                lock(&memory).push(buffers);
                R::add(&mut all, outcome);
                if progress(piece.bytes).is_break() {
                    return Err(Error::Interrupted);
                }
            }
            stream.end()?;
            outcomes.push(all);
        }
        Ok(outcomes)
    })
}

/// Reads a piece and converts its bytes for the other file.
fn convert<R: Remake>(
    remake: &R,
    piece: Piece<'_>,
    order: ByteOrder,
    buffers: &mut Buffers<R::Scratch>,
) -> Result<R::Found> {
    let Job { name, origin, ty, .. } = *piece.job;
    buffers.source.resize(in_memory(piece.bytes)?, 0);
    let reading = || format!("read tensor '{}'", name.escape_debug());
    origin.source.fill_at(&mut buffers.source, origin.offset + piece.at).map_err(|error| {
        match error.downcast::<Error>() {
            // Of values that are computed, which names the tensor itself.
            Ok(error @ Error::Write { .. }) => error,
            Ok(error) => Error::io(reading(), io::Error::other(error)),
            Err(error) => Error::io(reading(), error),
        }
    })?;
    if piece.job.copies() {
        if origin.order != order {
            swap_byte_order(ty, &mut buffers.source);
        }
        return Ok(remake.nothing_yet(piece.job));
    }
    if origin.order == ByteOrder::Big {
        swap_byte_order(origin.ggml_type(), &mut buffers.source);
    }
    let outcome = remake.remake(piece, &buffers.source, &mut buffers.blocks, &mut buffers.scratch)?;
    if order == ByteOrder::Big {
        swap_byte_order(ty, &mut buffers.blocks);
    }
    Ok(outcome)
}

/// A panic leaves nothing inconsistent behind this lock: it guards spare memory.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A range of a tensor's blocks or, with importance, of its rows.
#[derive(Clone, Copy)]
pub(super) struct Piece<'a> {
    pub(super) job: &'a Job<'a>,
    /// Where it begins in the tensor's data.
    pub(super) at: u64,
    /// Its length in bytes.
    pub(super) bytes: u64,
}

impl<'a> Piece<'a> {
    /// Returns the pieces of a tensor. With importance no piece has rows of two matrices.
    fn of(job: &'a Job<'a>) -> impl Iterator<Item = Piece<'a>> {
        let (shape, from) = (job.origin.shape(), job.origin.ggml_type());
        let (run, len) = match job.importance {
            Some(_) if !job.copies() => {
                let row_len = shape.row_len();
                let rows = (PIECE_VALUES / row_len.max(1)).max(1);
                (job.rows_alike().saturating_mul(row_len), rows.saturating_mul(row_len))
            }
            _ => (shape.element_count(), PIECE_VALUES),
        };
        let (run, len, elements) = (run.max(1), len.max(1), shape.element_count());
        let in_run = run.div_ceil(len);
        // The size of the whole tensor is known not to overflow.
        let bytes = move |values: u64| from.long_bytes_in(values);
        (0..elements / run * in_run).map(move |index| {
            let at = index % in_run * len;
            let first = index / in_run * run + at;
            Piece { job, at: bytes(first), bytes: bytes(len.min(run - at)) }
        })
    }
}

/// Memory for a piece, reused for the next.
#[derive(Default)]
struct Buffers<S> {
    /// As in the input.
    source: Vec<u8>,
    /// As in the output.
    blocks: Vec<u8>,
    scratch: S,
}
