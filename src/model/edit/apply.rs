//! Applying an [`Edit`] to a file, in place or into another.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use super::Edit;
use super::plan::{EditPlan, Resolved};
use crate::error::{Error, Result};
use crate::file::read_at::ReadAt;
use crate::file::{Existing, Inputs, journal};
use crate::gguf::Indexed;
use crate::gguf::index::Gguf;
use crate::model::job::{Job, Origin};
use crate::model::pieces::{self, told};
use crate::write::{Layout, Writer, write_around};

/// The result of an edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Edited {
    /// The header was changed in place.
    Patched {
        /// The number of bytes that changed.
        changed: u64,
    },
    /// A file was written.
    Written {
        /// Its length in bytes.
        len: u64,
    },
}

impl Edit {
    /// Returns what the edit would change in a file, without changing anything.
    ///
    /// # Errors
    /// The errors of [`write`](Self::write) that do not concern the output.
    pub fn plan(&self, path: impl AsRef<Path>) -> Result<EditPlan> {
        let source = Indexed::open(path.as_ref())?;
        let resolved = Resolved::new(self, &source)?;
        start(&resolved, &source)?;
        Ok(resolved.plan(&source))
    }

    /// Writes the edited model to another file, or to the same one. `output` appears complete or not at all, as with
    /// [`Writer::create`]. From file to file the data is copied as by [`copy_from`](crate::TensorWriter::copy_from).
    ///
    /// # Errors
    /// The errors of [`write_with`](Self::write_with).
    pub fn write(&self, input: impl AsRef<Path>, output: impl AsRef<Path>) -> Result<Edited> {
        self.write_with(input, output, |_, _| ControlFlow::Continue(()))
    }

    /// Like [`write`](Self::write), with progress: `progress` is called with the number of bytes of data written so far and the
    /// total. Return `Break` to cancel.
    ///
    /// # Errors
    /// [`Error::NotInFile`] if something to be set, removed or renamed does not exist; [`Error::Write`] if changes contradict
    /// each other, a value does not fit its key's type, a name is taken, the keys of a shard would no longer match its set,
    /// [`Writer`] returns an error, or the result could not be opened with the default [`Limits`](crate::Limits); those of
    /// [`recover`](Self::recover) and of reading a header; [`Error::Io`]; [`Error::Interrupted`] if `progress` breaks.
    pub fn write_with(
        &self,
        input: impl AsRef<Path>,
        output: impl AsRef<Path>,
        progress: impl FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Edited> {
        let (input, output) = (input.as_ref(), output.as_ref());
        Inputs::new().add(input).check(output, self.existing)?;
        Self::recover(input)?;
        self.write_from(&Indexed::open(input)?, output, self.existing, progress)
    }

    /// Edits a file in place.
    ///
    /// If the data need not move, because the header keeps its length or the padding after it makes up for the difference, only
    /// bytes of the header that differ are overwritten (and up to 32 equal bytes between two that differ). During the edit the
    /// file does not begin with `GGUF`, so that no program takes a half edited file for a model: every reader of this crate
    /// returns [`Problem::UnfinishedEdit`](crate::Problem::UnfinishedEdit). The old bytes are kept beside the file in an *undo
    /// record*, `.NAME.NUMBER.undo`, until the new bytes are on disk. After a crash or a power failure during the edit,
    /// [`recover`](Self::recover) and every other edit of the file restore them. If the data must move, the whole file is
    /// rewritten, as by [`write`](Self::write).
    ///
    /// During the edit the file is locked against other in-place edits. **No program may have it mapped**
    /// ([`Gguf::map`](crate::Gguf::map)), because its header would change while mapped. Programs that have it open continue to
    /// read tensors from their old positions.
    ///
    /// ```
    /// use gguf_codec::Gguf;
    /// use gguf_codec::model::{Edit, Edited};
    ///
    /// # let folder = std::env::temp_dir().join(format!("gguf-codec-doc-in-place-{}", std::process::id()));
    /// # std::fs::create_dir_all(&folder)?;
    /// # let path = folder.join("model.gguf");
    /// # std::fs::copy("examples/sample.gguf", &path)?;
    /// let mut edit = Edit::new();
    /// edit.set("llama.rope.freq_base", 500_000.0f32); // as long as what was there
    /// let edited = edit.in_place(&path)?;
    /// assert_eq!(edited, Edited::Patched { changed: 3 });
    /// assert_eq!(Gguf::read(&path)?.metadata().require::<f32>("llama.rope.freq_base")?, 500_000.0);
    /// # std::fs::remove_dir_all(&folder)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`in_place_with`](Self::in_place_with).
    pub fn in_place(&self, path: impl AsRef<Path>) -> Result<Edited> {
        self.in_place_with(path, |_, _| ControlFlow::Continue(()))
    }

    /// Like [`in_place`](Self::in_place), with progress: if the whole file is rewritten, `progress` is called with the number of
    /// bytes of data written so far and the total. Return `Break` to cancel.
    ///
    /// # Errors
    /// The errors of [`write_with`](Self::write_with), and [`Error::Io`] if the file is not writable or another process is
    /// editing it. After any error the file is unchanged, unless the message says otherwise: either the edit is complete but its
    /// undo record could not be removed, or the old bytes could not be restored. The message then describes the state of the file
    /// and names its undo record.
    pub fn in_place_with(
        &self,
        path: impl AsRef<Path>,
        progress: impl FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Edited> {
        let path = path.as_ref();
        let mut files = journal::Files::open(path)?;
        journal::recover_file(&mut files)?;
        // The file that is locked, whatever the path names now.
        let source = Indexed::of(files.file()?)?;
        match self.header_that_fits(&source)? {
            Some(header) if journal::can_patch(&header, source.len()?) => {
                Ok(Edited::Patched { changed: journal::patch(&mut files, &header)? })
            }
            _ => self.write_from(&source, path, Existing::ReplaceTarget, progress),
        }
    }

    /// Restores what an interrupted [in-place edit](Self::in_place) overwrote, and returns whether there was one. Every edit
    /// does that first. Until then, every reader rejects the file, under each of its names.
    ///
    /// The undo record is looked for in the folder of the file, whose name may have changed. A file that does not begin with
    /// the marker of an edit is never changed, whatever is beside it.
    ///
    /// ```
    /// use gguf_codec::Gguf;
    /// use gguf_codec::model::Edit;
    ///
    /// # let folder = std::env::temp_dir().join(format!("gguf-codec-doc-recover-{}", std::process::id()));
    /// # std::fs::create_dir_all(&folder)?;
    /// # let path = folder.join("model.gguf");
    /// # std::fs::copy("examples/sample.gguf", &path)?;
    /// if Edit::recover(&path)? {
    ///     eprintln!("an edit of '{}' was cut off, and is undone", path.display());
    /// }
    /// let model = Gguf::read(&path)?;
    /// # assert_eq!(model.tensor_count(), 20);
    /// # std::fs::remove_dir_all(&folder)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`], also if another process is editing the file. [`Error::Write`] if the undo record is not beside the
    /// file, or does not fit it. The file is then unchanged.
    pub fn recover(path: impl AsRef<Path>) -> Result<bool> {
        journal::recover(path.as_ref())
    }

    /// Like [`recover`](Self::recover), with the path of the undo record, for a file that has been moved to another folder.
    /// The record is removed afterwards.
    ///
    /// # Errors
    /// The errors of [`recover`](Self::recover).
    pub fn recover_with(path: impl AsRef<Path>, undo_record: impl AsRef<Path>) -> Result<bool> {
        journal::recover_with(path.as_ref(), undo_record.as_ref())
    }

    /// Returns everything before the data if the data need not move.
    fn header_that_fits(&self, source: &Indexed) -> Result<Option<Vec<u8>>> {
        let model = &source.model;
        let Start { bytes: mut header, padding, alignment, offsets, .. } =
            start(&Resolved::new(self, source)?, source)?;
        let until = header.len() as u64 + padding;
        let stays = alignment == model.alignment()
            && self.byte_order.unwrap_or(model.byte_order()) == model.byte_order()
            && if source.declared() == 0 {
                header.len() as u64 == model.header_len()
            } else {
                let stay =
                    offsets.is_none_or(|offsets| model.tensors().map(|tensor| tensor.offset()).eq(offsets));
                until == model.data_offset() && stay
            };
        // The excess length of the old header becomes padding. Memory can hold it, as it already does.
        header.resize(header.len().max(usize::try_from(model.header_len()).unwrap_or(0)), 0);
        Ok(stays.then_some(header))
    }

    fn write_from(
        &self,
        source: &Indexed,
        output: &Path,
        existing: Existing,
        progress: impl FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Edited> {
        if source.trailing > 0 && !self.drop_trailing {
            return Err(Error::write(format!(
                "{} bytes follow the data and belong to no tensor, and would be lost: `Edit::drop_trailing` leaves them out",
                source.trailing
            )));
        }
        // If the result is invalid, no file needs to be created to find out.
        let resolved = Resolved::new(self, source)?;
        let start = start(&resolved, source)?;
        if start.offsets.is_none() {
            let data = source.model.data_offset();
            let data = data..source.len()?.saturating_sub(source.trailing).max(data);
            let progress = told(data.end - data.start, progress);
            let part = (&source.file as &dyn ReadAt, data);
            let len = write_around(output, existing, &start.bytes, start.padding, part, progress)?;
            return Ok(Edited::Written { len });
        }
        let mut writer = Writer::create_with(output, existing)?;
        resolved.declare(source, &mut writer)?;
        let len = writer.file_len()?;
        let jobs: Vec<_> = start
            .names
            .iter()
            .zip(resolved.kept(source))
            .map(|(name, tensor)| Job::copy(name, Origin::of(&source.file, &tensor)))
            .collect();
        let mut data = writer.write_header()?;
        let total = jobs.iter().map(|job| job.origin().byte_len()).sum();
        pieces::copy(&jobs, &mut data, &mut told(total, progress))?;
        data.finish()?;
        Ok(Edited::Written { len })
    }
}

/// The start of an edited file.
struct Start {
    /// The names of the tensors after the edit.
    names: Vec<String>,
    /// Everything before the data and the padding that precedes it: a header that can be read again.
    bytes: Vec<u8>,
    padding: u64,
    alignment: u32,
    /// The offsets of the tensors, or `None` if all data stays as it is, in one piece.
    offsets: Option<Vec<u64>>,
}

fn start(resolved: &Resolved<'_>, source: &Indexed) -> Result<Start> {
    let mut writer = Writer::new(io::sink());
    let start = if source.has_foreign() {
        let (mut bytes, alignment) = resolved.declare_around_table(source, writer)?;
        resolved.put_table(source, &mut bytes);
        let len = bytes.len() as u64;
        let padding = len.next_multiple_of(u64::from(alignment)) - len;
        Start { names: Vec::new(), bytes, padding, alignment, offsets: None }
    } else {
        let names = resolved.declare(source, &mut writer)?;
        let (bytes, Layout { padding, alignment, offsets, .. }) = writer.header_bytes()?;
        Start { names, bytes, padding, alignment, offsets: Some(offsets) }
    };
    let again = Gguf::options().foreign_tensors(start.offsets.is_none()).read_header(&start.bytes[..]);
    again.map_err(|error| Error::write(format!("the edited file could not be opened again: {error:?}")))?;
    Ok(start)
}
