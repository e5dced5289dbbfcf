//! [`Edit`]: other keys and other names; the tensors' data stays as it is.

mod change;
mod checks;
mod layers;
mod plan;
mod renames;
mod template;

use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use super::job::{Job, Origin};
use super::pieces::{self, told};
use crate::file::{Existing, Inputs, journal};
use crate::gguf::Indexed;
use crate::write::{Layout, write_around};
use crate::{ByteOrder, Error, Gguf, ReadAt, Result, Value, ValueKind, Writer};
pub use change::EditChange;
pub use plan::EditPlan;
use plan::Resolved;

/// What became of an edited file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Edited {
    /// The header was changed where it is, in `changed` bytes.
    Patched {
        /// Bytes that are others now.
        changed: u64,
    },
    /// A file was written, `len` bytes long.
    Written {
        /// Its length in bytes.
        len: u64,
    },
}

/// Changes to a model's metadata, and tensors that get other names or are left out.
///
/// Keys that are set keep their places and their types, new ones follow the others. The data is never decoded. It keeps its byte
/// order, and moves where the header's length or `general.alignment` changes.
///
/// Removing and renaming speak of the names in the file that is read, so that two names can be exchanged; setting, adding
/// and the like speak of those in the file that is written.
///
/// What could not be opened with the default [`Limits`](crate::Limits) is not written.
///
/// ```no_run
/// use gguf_codec::model::Edit;
///
/// let mut edit = Edit::new();
/// edit.set("general.name", "My model").remove("general.url").rename_tensor("output", "output.weight");
/// for change in edit.plan("in.gguf")?.changes {
///     println!("{change}"); // general.name: "Model" → "My model" (string)
/// }
/// edit.write("in.gguf", "out.gguf")?;
/// # Ok::<(), gguf_codec::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
#[must_use = "nothing is edited before `write` or `in_place`"]
pub struct Edit {
    put: Vec<(String, Put)>,
    removed: Vec<String>,
    keys: Vec<(String, String)>,
    tensors: Vec<(String, String)>,
    removed_tensors: Vec<String>,
    existing: Existing,
    drop_trailing: bool,
    byte_order: Option<ByteOrder>,
}

/// What a key's value becomes.
#[derive(Debug, Clone, PartialEq)]
enum Put {
    Set(Given),
    Element(usize, Given),
    Add(Value),
    Replace(Value),
    Retype(ValueKind),
}

/// A value that gets the type of the key.
#[derive(Debug, Clone, PartialEq)]
enum Given {
    Value(Value),
    Text(String),
    Bytes(Vec<u8>),
}

impl Edit {
    /// No changes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives a key, which must be there, another value of the type that it has.
    ///
    /// A value of another type is converted where that loses nothing, as [`ValueKind::convert`] says: an integer of any
    /// width that fits, `1e-5` into an `f32`, each element of an array. Anything else is an error, as is a key that is not
    /// there. [`add`](Self::add) makes a new key, [`replace`](Self::replace) changes the type.
    ///
    /// ```
    /// use gguf_codec::Gguf;
    /// use gguf_codec::model::Edit;
    ///
    /// # let folder = std::env::temp_dir().join(format!("gguf-codec-doc-set-{}", std::process::id()));
    /// # std::fs::create_dir_all(&folder)?;
    /// # let path = folder.join("model.gguf");
    /// # std::fs::copy("examples/sample.gguf", &path)?;
    /// let mut edit = Edit::new();
    /// edit.set("llama.context_length", 16384); // an i32, and a u32 in the file
    /// assert_eq!(edit.plan(&path)?.changes[0].to_string(), "llama.context_length: 2048 → 16384 (u32)");
    ///
    /// let mut typo = Edit::new();
    /// typo.set("llama.context_lenght", 16384);
    /// assert_eq!(
    ///     typo.plan(&path).unwrap_err().to_string(),
    ///     "the metadata has no key 'llama.context_lenght'; is it 'llama.context_length'?"
    /// );
    /// # std::fs::remove_dir_all(&folder)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<Value>) -> &mut Self {
        self.put(key, Put::Set(Given::Value(value.into())))
    }

    /// As [`set`](Self::set), with a value that [`ValueKind::parse_value`] reads from text by the key's type.
    pub fn set_text(&mut self, key: impl Into<String>, text: impl Into<String>) -> &mut Self {
        self.put(key, Put::Set(Given::Text(text.into())))
    }

    /// As [`set_text`](Self::set_text) with what a file holds: for a string its bytes, UTF-8 or not, and for other types
    /// text that may end with line breaks.
    pub fn set_bytes(&mut self, key: impl Into<String>, bytes: impl Into<Vec<u8>>) -> &mut Self {
        self.put(key, Put::Set(Given::Bytes(bytes.into())))
    }

    /// Gives one element of an array another value of the elements' type. The others stay.
    pub fn set_element(
        &mut self,
        key: impl Into<String>,
        index: usize,
        value: impl Into<Value>,
    ) -> &mut Self {
        self.put(key, Put::Element(index, Given::Value(value.into())))
    }

    /// As [`set_element`](Self::set_element), from text as in [`set_text`](Self::set_text).
    pub fn set_element_text(
        &mut self,
        key: impl Into<String>,
        index: usize,
        text: impl Into<String>,
    ) -> &mut Self {
        self.put(key, Put::Element(index, Given::Text(text.into())))
    }

    /// As [`set_element`](Self::set_element), from bytes as in [`set_bytes`](Self::set_bytes).
    pub fn set_element_bytes(
        &mut self,
        key: impl Into<String>,
        index: usize,
        bytes: impl Into<Vec<u8>>,
    ) -> &mut Self {
        self.put(key, Put::Element(index, Given::Bytes(bytes.into())))
    }

    /// Adds a key, which must not be there, of the value's own type.
    pub fn add(&mut self, key: impl Into<String>, value: impl Into<Value>) -> &mut Self {
        self.put(key, Put::Add(value.into()))
    }

    /// Gives a key, which must be there, a value of whatever type.
    pub fn replace(&mut self, key: impl Into<String>, value: impl Into<Value>) -> &mut Self {
        self.put(key, Put::Replace(value.into()))
    }

    /// Gives a key's value another type, where [`ValueKind::convert`] can without loss.
    pub fn retype(&mut self, key: impl Into<String>, kind: impl Into<ValueKind>) -> &mut Self {
        self.put(key, Put::Retype(kind.into()))
    }

    fn put(&mut self, key: impl Into<String>, put: Put) -> &mut Self {
        self.put.push((key.into(), put));
        self
    }

    /// Writes the file in this byte order: the header, and the numbers inside the tensors. Where it is another than the file has,
    /// the whole file is rewritten.
    pub fn byte_order(&mut self, order: ByteOrder) -> &mut Self {
        self.byte_order = Some(order);
        self
    }

    /// Leaves out bytes behind the data, which belong to no tensor. Without it, they stay where the data stays where it is, and
    /// are an error where the file is rewritten.
    pub fn drop_trailing(&mut self) -> &mut Self {
        self.drop_trailing = true;
        self
    }

    /// Says what happens to a file that exists where [`write`](Self::write) puts its own. Without it, the file stays and
    /// writing is an error.
    pub fn existing(&mut self, existing: Existing) -> &mut Self {
        self.existing = existing;
        self
    }

    /// Takes a key away, which must be there.
    pub fn remove(&mut self, key: impl Into<String>) -> &mut Self {
        self.removed.push(key.into());
        self
    }

    /// Renames a key, in its place.
    pub fn rename_key(&mut self, from: impl Into<String>, to: impl Into<String>) -> &mut Self {
        self.keys.push((from.into(), to.into()));
        self
    }

    /// Renames a tensor, in its place.
    pub fn rename_tensor(&mut self, from: impl Into<String>, to: impl Into<String>) -> &mut Self {
        self.tensors.push((from.into(), to.into()));
        self
    }

    /// Leaves out a tensor, which must be there. The data of those behind it moves.
    pub fn remove_tensor(&mut self, name: impl Into<String>) -> &mut Self {
        self.removed_tensors.push(name.into());
        self
    }

    /// Says what the edit would change in a file, and changes nothing.
    ///
    /// # Errors
    /// Those of [`write`](Self::write) that do not concern the file that is written.
    pub fn plan(&self, path: impl AsRef<Path>) -> Result<EditPlan> {
        let source = Indexed::open(path.as_ref())?;
        let resolved = Resolved::new(self, &source)?;
        start(&resolved, &source)?;
        Ok(resolved.plan(&source))
    }

    /// Writes the edited model into another file, or the same: `output` appears whole or not at all, as with
    /// [`Writer::create`]. From file to file the data is copied as [`copy_from`](crate::TensorWriter::copy_from) says.
    ///
    /// # Errors
    /// As [`write_with`](Self::write_with).
    pub fn write(&self, input: impl AsRef<Path>, output: impl AsRef<Path>) -> Result<Edited> {
        self.write_with(input, output, |_, _| ControlFlow::Continue(()))
    }

    /// As [`write`](Self::write), with progress: `progress` is called with the number of bytes of the data that are written and how
    /// many there are. Return `Break` to cancel.
    ///
    /// # Errors
    /// [`Error::NotInFile`] for what is to be set, removed or renamed; [`Error::Write`] where changes contradict each other, a
    /// value does not fit its key's type, a name is taken, the keys of a shard would no longer fit its set, [`Writer`]
    /// refuses, or the result could not be opened with the default [`Limits`](crate::Limits); those of
    /// [`recover`](Self::recover) and of reading a header; [`Error::Io`]; [`Error::Interrupted`] where `progress` breaks.
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

    /// Edits a file in its place.
    ///
    /// Where the data can stay where it is, since the header keeps its length or the padding behind it makes up for
    /// the difference, only bytes of the header that differ are overwritten (and up to 32 equal ones between two that
    /// do). Meanwhile the file does not begin with `GGUF`, so that no program takes a half edited file for a model: every
    /// reader of this crate answers with [`Problem::UnfinishedEdit`](crate::Problem::UnfinishedEdit). What was there is kept
    /// beside the file in an *undo record*, `.NAME.NUMBER.undo`, until the new bytes are on the disk: after a crash or a power
    /// failure within the edit, [`recover`](Self::recover) and every other edit of the file put it back. Where the data must
    /// move, the whole file is rewritten, as with [`write`](Self::write).
    ///
    /// As long as this goes on the file is locked against other edits of this kind. **No program may have it mapped**
    /// ([`Gguf::map`](crate::Gguf::map)): the header changes in their hands. Those who have it open read tensors where they were.
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
    /// As [`in_place_with`](Self::in_place_with).
    pub fn in_place(&self, path: impl AsRef<Path>) -> Result<Edited> {
        self.in_place_with(path, |_, _| ControlFlow::Continue(()))
    }

    /// As [`in_place`](Self::in_place), with progress: where the whole file is written, `progress` is called with the number of bytes
    /// of the data that are written and how many there are. Return `Break` to cancel.
    ///
    /// # Errors
    /// As [`write_with`](Self::write_with), and [`Error::Io`] where the file may not be written to or another process edits it.
    /// After any the file is as it was, except where the message says otherwise: that the edit is complete, and its undo
    /// record could not be removed; or that what was there could not be put back, what the file is now, and where its undo
    /// record is.
    pub fn in_place_with(
        &self,
        path: impl AsRef<Path>,
        progress: impl FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Edited> {
        let path = path.as_ref();
        let mut files = journal::Files::open(path)?;
        journal::recover_file(&mut files)?;
        // The file that is locked, whatever the path names by now.
        let source = Indexed::of(files.file()?)?;
        match self.header_that_fits(&source)? {
            Some(header) if journal::can_patch(&header, source.len()?) => {
                Ok(Edited::Patched { changed: journal::patch(&mut files, &header)? })
            }
            _ => self.write_from(&source, path, Existing::ReplaceTarget, progress),
        }
    }

    /// Puts back what an [edit in place](Self::in_place) overwrote that was cut off, and says whether there was one. Every
    /// edit does that first. Before, every reader refuses the file, under each of its names.
    ///
    /// The undo record is found in the folder of the file, whose name may be another by now. A file that does not begin with
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
    /// [`Error::Io`], where another process edits the file as well. [`Error::Write`] where the undo record is not beside the
    /// file, or does not fit it; then the file stays as it is.
    pub fn recover(path: impl AsRef<Path>) -> Result<bool> {
        journal::recover(path.as_ref())
    }

    /// As [`recover`](Self::recover), with the path of the undo record, for a file that was moved to another folder since. The
    /// record is removed afterwards.
    ///
    /// # Errors
    /// As [`recover`](Self::recover).
    pub fn recover_with(path: impl AsRef<Path>, undo_record: impl AsRef<Path>) -> Result<bool> {
        journal::recover_with(path.as_ref(), undo_record.as_ref())
    }

    /// Everything before the data, where the data need not move.
    fn header_that_fits(&self, source: &Indexed) -> Result<Option<Vec<u8>>> {
        let model = &source.model;
        let Start { bytes: mut header, padding, alignment, offsets, .. } =
            start(&Resolved::new(self, source)?, source)?;
        let until = header.len() as u64 + padding;
        let stays = alignment == model.alignment()
            && self.order(source) == model.byte_order()
            && if source.declared() == 0 {
                header.len() as u64 == model.header_len()
            } else {
                let stay =
                    offsets.is_none_or(|offsets| model.tensors().map(|tensor| tensor.offset()).eq(offsets));
                until == model.data_offset() && stay
            };
        // What the old header has beyond the new one becomes padding. Memory can hold it: it has.
        header.resize(header.len().max(usize::try_from(model.header_len()).unwrap_or(0)), 0);
        Ok(stays.then_some(header))
    }

    /// The byte order of the file that is written.
    fn order(&self, source: &Indexed) -> ByteOrder {
        self.byte_order.unwrap_or(source.model.byte_order())
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
        // Where something cannot be, no file need be made to know it.
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

/// What an edited file begins with.
struct Start {
    /// The names of the tensors afterwards.
    names: Vec<String>,
    /// Everything before the data and the padding before that: a header that can be read again.
    bytes: Vec<u8>,
    padding: u64,
    alignment: u32,
    /// Of the tensors; none where all data stays as it is, in one piece.
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
