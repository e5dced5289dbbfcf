//! Tensors of a file that is written, a piece at a time and on all cores: copied, or remade by whoever is given.

use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use super::in_order::in_order;
use super::job::{Job, Origin, in_memory};
use super::runs::run_len;
use super::target::Target;
#[cfg(any(unix, windows))]
use crate::TensorInfo;
use crate::codec::swap_byte_order;
use crate::{ByteOrder, Error, Result};

/// Values that a thread has at a time: whole blocks of every type, and enough that nobody waits for the work of handing
/// them out.
const PIECE_VALUES: u64 = 256 * 1024;

/// What is made of tensors that get another type.
pub(super) trait Remake: Sync {
    /// What is found out about a tensor on the way.
    type Found: Send;
    /// What it keeps from one piece to the next for its memory.
    type Scratch: Default + Send;

    /// Refuses what cannot be done whatever the values are.
    fn check(&self, job: &Job<'_>) -> Result<()>;

    /// What is known of a tensor before its first piece, and of one that is copied.
    fn nothing_yet(&self, job: &Job<'_>) -> Self::Found;

    /// Adds what a piece showed to what is known of its tensor.
    fn add(all: &mut Self::Found, piece: Self::Found);

    /// Makes `blocks` of a piece's bytes, both little-endian.
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

/// Copies the jobs' tensors, which keep their types and which the writer expects next and in their order. `progress` hears
/// of each piece that is written, by its bytes, and decides whether to go on.
#[cfg(any(unix, windows))]
pub(super) fn copy<T: Target>(
    jobs: &[Job<'_>],
    writer: &mut T,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<()> {
    write(&Copies, jobs, writer, progress).map(drop)
}

/// The bytes that tensors have.
#[cfg(any(unix, windows))]
pub(super) fn bytes_of(tensors: &[TensorInfo<'_>]) -> u64 {
    tensors.iter().map(TensorInfo::byte_len).fold(0, u64::saturating_add)
}

/// Turns the bytes of one step into those of all steps so far and the total.
#[cfg(any(unix, windows))]
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

/// Writes the jobs' tensors, which the writer expects next and in their order, and gives what was found out about each.
/// `progress` hears of each piece that is written, by the bytes that were read for it, and decides whether to go on.
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

/// Reads a piece and makes its bytes in the other file.
fn convert<R: Remake>(
    remake: &R,
    piece: Piece<'_>,
    order: ByteOrder,
    buffers: &mut Buffers<R::Scratch>,
) -> Result<R::Found> {
    let Job { name, origin, ty, .. } = *piece.job;
    buffers.source.resize(in_memory(piece.bytes)?, 0);
    origin
        .source
        .fill_at(&mut buffers.source, origin.offset + piece.at)
        .map_err(|error| Error::io(format!("read tensor '{}'", name.escape_debug()), error))?;
    if piece.job.copies() {
        if origin.order != order {
            swap_byte_order(ty, &mut buffers.source);
        }
        return Ok(remake.nothing_yet(piece.job));
    }
    if origin.order == ByteOrder::Big {
        swap_byte_order(origin.ty, &mut buffers.source);
    }
    let outcome = remake.remake(piece, &buffers.source, &mut buffers.blocks, &mut buffers.scratch)?;
    if order == ByteOrder::Big {
        swap_byte_order(ty, &mut buffers.blocks);
    }
    Ok(outcome)
}

/// Panics leave nothing half-done behind this lock: it guards spare memory.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A run of a tensor's blocks; with importance, of its rows.
#[derive(Clone, Copy)]
pub(super) struct Piece<'a> {
    pub(super) job: &'a Job<'a>,
    /// Where it begins in the tensor's data.
    pub(super) at: u64,
    /// Its length there.
    pub(super) bytes: u64,
}

impl<'a> Piece<'a> {
    /// The pieces of a tensor. With importance none has rows of two matrices.
    fn of(job: &'a Job<'a>) -> impl Iterator<Item = Piece<'a>> {
        let (shape, from) = (job.origin.shape, job.origin.ty);
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
        // Those of the whole tensor are known to be few enough to count.
        let bytes = move |values: u64| values / from.block_len() as u64 * from.block_bytes() as u64;
        (0..elements / run * in_run).map(move |index| {
            let at = index % in_run * len;
            let first = index / in_run * run + at;
            Piece { job, at: bytes(first), bytes: bytes(len.min(run - at)) }
        })
    }
}

/// Memory for a piece, which goes from one to the next.
#[derive(Default)]
struct Buffers<S> {
    /// As in the file read.
    source: Vec<u8>,
    /// As in the file written.
    blocks: Vec<u8>,
    scratch: S,
}
