//! Tensors' bytes out of a [`ReadAt`], left to the kernel where both sides are files.

use super::data::DataWriter;
use super::tensor::TensorWriter;
use crate::error::{Error, Result};
use crate::file::read_at::ReadAt;
use crate::file::sink::Sink;
use crate::gguf::layout::align_up;

/// Bytes that are left to the kernel at a time: a second's work for a slow disk, so that progress is seen and an
/// interruption heard.
const AT_ONCE: u64 = 64 * 1024 * 1024;

impl<S: Sink> TensorWriter<'_, S> {
    /// Copies `bytes` bytes of `source`, which begin at `offset` and must be in this file's byte order.
    ///
    /// From a [`File`](std::fs::File) into the file of [`Writer::create`](crate::Writer::create), Linux copies by
    /// itself (`copy_file_range`): the bytes do not come by this process, and file systems that can share storage
    /// between files (btrfs, XFS) do so where the bytes stand equally far from a multiple of 4096 in both. Elsewhere they
    /// go through 1 MiB of memory.
    ///
    /// ```no_run
    /// # use gguf_codec::{Gguf, Result, Writer};
    /// # fn copy(model: &Gguf<Vec<u8>>, source: &std::fs::File) -> Result<()> {
    /// let mut writer = Writer::create("copy.gguf")?;
    /// writer.copy_header_from(model)?;
    /// let mut data = writer.write_header()?;
    /// for tensor in model.tensors() {
    ///     let mut out = data.begin(tensor.name())?;
    ///     out.copy_from(source, tensor.file_offset(), tensor.byte_len())?;
    ///     out.finish()?;
    /// }
    /// data.finish()
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Write`] where there are more than [`remaining`](Self::remaining), and [`Error::Io`], which names the
    /// tensor where the source ends too early.
    pub fn copy_from(&mut self, source: &dyn ReadAt, offset: u64, bytes: u64) -> Result<()> {
        self.guarded(|tensor| {
            tensor.expect_room(bytes)?;
            tensor.put_from(source, offset, bytes)?;
            tensor.file.written += bytes;
            Ok(())
        })
    }

    fn put_from(&mut self, source: &dyn ReadAt, offset: u64, bytes: u64) -> Result<()> {
        self.file.sink.put_from(source, offset, bytes).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                let name = self.declared().name.escape_debug();
                let what =
                    format!("read {bytes} bytes from byte {offset}, for tensor '{name}' or those behind it");
                Error::io(what, error)
            }
            _ => Error::io(self.file.sink.action(), error),
        })
    }
}

impl<S: Sink> DataWriter<S> {
    /// Whether bytes of files get here without coming by this process.
    pub(crate) fn leaves_to_the_kernel(&self) -> bool {
        self.sink.leaves_files_to_the_kernel()
    }

    /// Copies the next tensor, which is `name`, and the `more` that follow it: they lie in `source` from `offset` on
    /// as they will here, with the padding between them. `step` hears of each part by its bytes and may refuse to go
    /// on.
    pub(crate) fn copy_run(
        &mut self,
        name: &str,
        more: usize,
        source: &dyn ReadAt,
        offset: u64,
        mut step: impl FnMut(u64) -> Result<()>,
    ) -> Result<()> {
        let mut tensor = self.begin(name)?;
        tensor.guarded(|tensor| {
            let first = tensor.file.next;
            let last = first + more;
            let before = tensor.file.tensors[first..last].iter();
            // The layout has checked that all of them can be counted.
            let padded = before.map(|its| align_up(its.bytes, tensor.file.alignment).unwrap_or(its.bytes));
            let (before, bytes) = (padded.sum::<u64>(), tensor.file.tensors[last].bytes);
            let whole = before + bytes;
            let mut done = 0;
            while done < whole {
                // Parts end at the source's round places, so that storage that can be shared is, up to there.
                let part = (AT_ONCE - (offset + done) % AT_ONCE).min(whole - done);
                tensor.put_from(source, offset + done, part)?;
                done += part;
                step(part)?;
            }
            (tensor.file.next, tensor.file.written) = (last, bytes);
            Ok(())
        })?;
        tensor.finish()
    }
}
