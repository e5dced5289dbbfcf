//! [`Stream`]: the data of declared tensors, one after the other in their order, whatever header is before it.

use std::fmt;

use crate::error::{Error, Result, TensorProblem, WriteProblem};
use crate::file::atomic::{AtomicFile, StagedFile};
use crate::file::read_at::ReadAt;
use crate::file::sink::{Sink, put, put_zeros};
use crate::gguf::layout::{FinalPadding, align_up};

/// Bytes that are left to the kernel at a time: a second's work for a slow disk, so that progress is seen and an
/// interruption heard.
const AT_ONCE: u64 = 64 * 1024 * 1024;

/// An [`Error::Write`] about a tensor.
pub(crate) fn wrong(tensor: &str, problem: TensorProblem) -> Error {
    WriteProblem::tensor(tensor, problem).error()
}

/// A tensor that the header names.
#[derive(Debug, Clone)]
pub(crate) struct Declared<K> {
    pub(crate) name: String,
    /// Of its data, without padding.
    pub(crate) bytes: u64,
    /// What else the format says of it.
    pub(crate) kind: K,
}

/// Takes the data of tensors. An error within a tensor, or a tensor that is begun and not ended, leaves part of its data in the file:
/// nothing more is written then.
pub struct Stream<S: Sink, K> {
    sink: S,
    tensors: Vec<Declared<K>>,
    /// Position in `tensors` of the first that is not ended.
    next: usize,
    /// Whether that one was begun.
    begun: bool,
    /// Its bytes that are in the file.
    written: u64,
    /// Tensors begin at multiples of this many bytes.
    alignment: u32,
    final_padding: FinalPadding,
    /// Why no more can be written.
    broken: Option<String>,
}

impl<S: Sink, K> Stream<S, K> {
    pub(crate) fn new(
        sink: S,
        tensors: Vec<Declared<K>>,
        alignment: u32,
        final_padding: FinalPadding,
    ) -> Self {
        Stream { sink, tensors, next: 0, begun: false, written: 0, alignment, final_padding, broken: None }
    }

    pub(crate) fn alignment(&self) -> u32 {
        self.alignment
    }

    /// Returns the tensor whose data comes next, or is being written; `None` after the last.
    pub(crate) fn next(&self) -> Option<&Declared<K>> {
        self.tensors.get(self.next)
    }

    /// Returns the tensor being written: [`begin`](Self::begin) has found it there, and only [`end`](Self::end) moves on.
    pub(crate) fn current(&self) -> &Declared<K> {
        &self.tensors[self.next]
    }

    /// Returns how many bytes of the current tensor are in the file.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Returns how many bytes of the current tensor are not.
    pub(crate) fn remaining(&self) -> u64 {
        self.current().bytes - self.written
    }

    /// Returns the tensor that comes after `ahead` others. It must have this name.
    pub(crate) fn expect(&self, ahead: usize, name: &str) -> Result<&Declared<K>> {
        self.check_between_tensors()?;
        let at = self.next.saturating_add(ahead);
        let problem = match self.tensors.get(at) {
            Some(next) if next.name == name => return Ok(next),
            next => match (self.tensors.iter().position(|tensor| tensor.name == name), next) {
                (None, _) => TensorProblem::Undeclared,
                (Some(its), Some(next)) if its > at => TensorProblem::NotNext { next: next.name.clone() },
                (Some(_), _) => TensorProblem::Written,
            },
        };
        Err(wrong(name, problem))
    }

    /// Begins the next tensor, which must have this name.
    pub(crate) fn begin(&mut self, name: &str) -> Result<()> {
        self.expect(0, name)?;
        self.begun = true;
        Ok(())
    }

    /// Writes bytes of the current tensor.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.guarded(|stream| {
            stream.expect_room(bytes.len() as u64)?;
            stream.put(bytes)
        })
    }

    /// Ends the current tensor, and writes the padding after it.
    pub(crate) fn end(&mut self) -> Result<()> {
        self.guarded(|stream| {
            let missing = stream.remaining();
            if missing > 0 {
                return Err(stream.wrong(TensorProblem::TooFew { missing, bytes: stream.current().bytes }));
            }
            let is_last = stream.next + 1 == stream.tensors.len();
            // The layout has checked that the padded file can be counted.
            let padding =
                align_up(stream.written, stream.alignment).unwrap_or(stream.written) - stream.written;
            let padding = if is_last { stream.final_padding.of(padding) } else { padding };
            put_zeros(&mut stream.sink, padding)?;
            stream.next += 1;
            stream.begun = false;
            stream.written = 0;
            Ok(())
        })
    }

    /// Ends the file.
    pub(crate) fn complete(self) -> Result<S::Output> {
        self.check_whole()?;
        self.sink.complete()
    }

    fn check_whole(&self) -> Result<()> {
        self.check_between_tensors()?;
        match self.next() {
            Some(missing) => {
                let declared = self.tensors.len();
                let (tensor, missing) = (missing.name.clone(), declared - self.next);
                Err(WriteProblem::Missing { tensor, missing, declared }.error())
            }
            None => Ok(()),
        }
    }

    /// Refuses where a tensor was begun and left, which the borrow of its writer having ended shows.
    fn check_between_tensors(&self) -> Result<()> {
        self.check_not_broken()?;
        match self.next() {
            Some(Declared { name, bytes, .. }) if self.begun => {
                let (tensor, written, bytes) = (name.clone(), self.written, *bytes);
                Err(WriteProblem::Dropped { tensor, written, bytes }.error())
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn check_not_broken(&self) -> Result<()> {
        self.broken.as_ref().map_or(Ok(()), |why| Err(WriteProblem::Abandoned { why: why.clone() }.error()))
    }

    /// Refuses to write any more, since part of the current tensor's data may be in the file.
    pub(crate) fn give_up(&mut self, error: &Error) {
        let name = self.current().name.escape_debug();
        self.broken = Some(format!("writing tensor '{name}' failed: {error:?}"));
    }

    fn guarded(&mut self, write: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        self.check_not_broken()?;
        write(self).inspect_err(|error| self.give_up(error))
    }

    /// An error about the current tensor.
    pub(crate) fn wrong(&self, problem: TensorProblem) -> Error {
        wrong(&self.current().name, problem)
    }

    pub(crate) fn expect_room(&self, bytes: u64) -> Result<()> {
        let remaining = self.remaining();
        if bytes <= remaining {
            return Ok(());
        }
        Err(self.wrong(TensorProblem::TooMany { found: bytes, remaining, bytes: self.current().bytes }))
    }

    /// Refuses where what is written does not end at a whole number of `unit`s.
    pub(crate) fn expect_boundary(&self, unit: &'static str, unit_bytes: u64) -> Result<()> {
        let over = self.written.checked_rem(unit_bytes).unwrap_or(0);
        if over == 0 {
            return Ok(());
        }
        Err(self.wrong(TensorProblem::Within { over, unit, unit_bytes }))
    }

    /// Writes bytes for which there is room, where the caller gives the file up on an error.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<()> {
        put(&mut self.sink, bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Copies bytes of a source into the current tensor.
    pub(crate) fn copy_from(&mut self, source: &dyn ReadAt, offset: u64, bytes: u64) -> Result<()> {
        self.guarded(|stream| {
            stream.expect_room(bytes)?;
            stream.put_from(source, offset, bytes)?;
            stream.written += bytes;
            Ok(())
        })
    }

    fn put_from(&mut self, source: &dyn ReadAt, offset: u64, bytes: u64) -> Result<()> {
        self.sink.put_from(source, offset, bytes).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                let name = self.current().name.escape_debug();
                let what =
                    format!("read {bytes} bytes from byte {offset}, for tensor '{name}' or those after it");
                Error::io(what, error)
            }
            _ => Error::io(self.sink.action(), error),
        })
    }

    /// Returns whether bytes of files get here without passing through this process.
    pub(crate) fn leaves_to_the_kernel(&self) -> bool {
        self.sink.leaves_files_to_the_kernel()
    }

    /// Copies the next tensor, which is `name`, and the `more` that follow it: they lie in `source` from `offset` on
    /// as they will here, with the padding between them. `step` is called after each part with its bytes, and may refuse to go
    /// on.
    pub(crate) fn copy_run(
        &mut self,
        name: &str,
        more: usize,
        source: &dyn ReadAt,
        offset: u64,
        mut step: impl FnMut(u64) -> Result<()>,
    ) -> Result<()> {
        self.begin(name)?;
        self.guarded(|stream| {
            let first = stream.next;
            let last = first + more;
            let before = stream.tensors[first..last].iter();
            // The layout has checked that all of them can be counted.
            let padded = before.map(|its| align_up(its.bytes, stream.alignment).unwrap_or(its.bytes));
            let (before, bytes) = (padded.sum::<u64>(), stream.tensors[last].bytes);
            let whole = before + bytes;
            let mut done = 0;
            while done < whole {
                // Parts end at the source's round places, so that storage that can be shared is, up to there.
                let part = (AT_ONCE - (offset + done) % AT_ONCE).min(whole - done);
                stream.put_from(source, offset + done, part)?;
                done += part;
                step(part)?;
            }
            (stream.next, stream.written) = (last, bytes);
            Ok(())
        })?;
        self.end()
    }
}

impl<K> Stream<AtomicFile, K> {
    pub(crate) fn stage(self) -> Result<StagedFile> {
        self.check_whole()?;
        self.sink.stage()
    }
}

impl<S: Sink, K: fmt::Debug> fmt::Debug for Stream<S, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("next", &self.next())
            .field("written", &self.written)
            .field("broken", &self.broken)
            .finish_non_exhaustive()
    }
}
