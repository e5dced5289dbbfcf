//! [`Edit`]: changes keys and names. The tensors' data is unchanged.

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

/// Changes to a model's metadata, and tensors to rename or remove.
///
/// Keys that are set keep their places and their types. New keys follow the others. The data is never decoded. It keeps its byte
/// order, and moves if the header's length or `general.alignment` changes.
///
/// Removing and renaming refer to the names in the input file, so that two names can be exchanged. Setting, adding and similar
/// changes refer to those in the output file.
///
/// A file that could not be opened with the default [`Limits`](crate::Limits) is not written.
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

/// The change to a key's value.
#[derive(Debug, Clone, PartialEq)]
enum Put {
    Set(Given),
    Element(usize, Given),
    Add(Value),
    SetOrAdd(Value),
    Replace(Value),
    Retype(ValueKind),
}

/// A value that is given the type of the key.
#[derive(Debug, Clone, PartialEq)]
enum Given {
    Value(Value),
    Text(String),
    Bytes(Vec<u8>),
}

impl Edit {
    /// Creates an edit without changes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the value of an existing key, keeping the key's type.
    ///
    /// A value of another type is converted if that is lossless, as by [`ValueKind::convert`]: an integer of any width
    /// that fits, `1e-5` to an `f32`, each element of an array. Anything else is an error, and so is a missing key.
    /// [`add`](Self::add) creates a new key, and [`replace`](Self::replace) changes the type.
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

    /// Like [`set`](Self::set), with a value that [`ValueKind::parse_value`] parses from text according to the key's type.
    pub fn set_text(&mut self, key: impl Into<String>, text: impl Into<String>) -> &mut Self {
        self.put(key, Put::Set(Given::Text(text.into())))
    }

    /// Like [`set_text`](Self::set_text), with the contents of a file: bytes for a string, UTF-8 or not, and for other
    /// types text that may end with line breaks.
    pub fn set_bytes(&mut self, key: impl Into<String>, bytes: impl Into<Vec<u8>>) -> &mut Self {
        self.put(key, Put::Set(Given::Bytes(bytes.into())))
    }

    /// Sets one element of an array, keeping the element type. The other elements are unchanged.
    pub fn set_element(
        &mut self,
        key: impl Into<String>,
        index: usize,
        value: impl Into<Value>,
    ) -> &mut Self {
        self.put(key, Put::Element(index, Given::Value(value.into())))
    }

    /// Like [`set_element`](Self::set_element), from text as in [`set_text`](Self::set_text).
    pub fn set_element_text(
        &mut self,
        key: impl Into<String>,
        index: usize,
        text: impl Into<String>,
    ) -> &mut Self {
        self.put(key, Put::Element(index, Given::Text(text.into())))
    }

    /// Like [`set_element`](Self::set_element), from bytes as in [`set_bytes`](Self::set_bytes).
    pub fn set_element_bytes(
        &mut self,
        key: impl Into<String>,
        index: usize,
        bytes: impl Into<Vec<u8>>,
    ) -> &mut Self {
        self.put(key, Put::Element(index, Given::Bytes(bytes.into())))
    }

    /// Adds a key, which must not exist, with the value's own type.
    pub fn add(&mut self, key: impl Into<String>, value: impl Into<Value>) -> &mut Self {
        self.put(key, Put::Add(value.into()))
    }

    /// Gives a key this value and the value's own type, whether or not the key exists: like [`replace`](Self::replace) where it
    /// does, and like [`add`](Self::add) where it does not. A misspelt key is not noticed.
    ///
    /// ```
    /// use gguf_codec::model::Edit;
    ///
    /// let mut edit = Edit::new();
    /// edit.set_or_add("general.name", "Mine").set_or_add("general.url", "https://example.com");
    /// let changes = edit.plan("examples/sample.gguf")?.changes;
    /// assert_eq!(changes[0].to_string(), "general.name: \"Sample Llama 2 layers\" → \"Mine\" (string)");
    /// assert_eq!(changes[1].to_string(), "general.url: added, \"https://example.com\" (string)");
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    pub fn set_or_add(&mut self, key: impl Into<String>, value: impl Into<Value>) -> &mut Self {
        self.put(key, Put::SetOrAdd(value.into()))
    }

    /// Replaces the value of an existing key by one of any type.
    pub fn replace(&mut self, key: impl Into<String>, value: impl Into<Value>) -> &mut Self {
        self.put(key, Put::Replace(value.into()))
    }

    /// Changes the type of a key's value, if [`ValueKind::convert`] can do so without loss.
    pub fn retype(&mut self, key: impl Into<String>, kind: impl Into<ValueKind>) -> &mut Self {
        self.put(key, Put::Retype(kind.into()))
    }

    fn put(&mut self, key: impl Into<String>, put: Put) -> &mut Self {
        self.put.push((key.into(), put));
        self
    }

    /// Sets the byte order of the output: of its header, and of the numbers in its tensors. If it differs from that of the input,
    /// the whole file is rewritten.
    pub fn byte_order(&mut self, order: ByteOrder) -> &mut Self {
        self.byte_order = Some(order);
        self
    }

    /// Removes bytes after the data that belong to no tensor. Otherwise they are kept if the data does not move, and are an
    /// error if the file is rewritten.
    pub fn drop_trailing(&mut self) -> &mut Self {
        self.drop_trailing = true;
        self
    }

    /// Sets what happens if the output of [`write`](Self::write) exists. By default the file stays and writing is an error.
    pub fn existing(&mut self, existing: Existing) -> &mut Self {
        self.existing = existing;
        self
    }

    /// Removes a key, which must exist.
    pub fn remove(&mut self, key: impl Into<String>) -> &mut Self {
        self.removed.push(key.into());
        self
    }

    /// Renames a key, keeping its place.
    pub fn rename_key(&mut self, from: impl Into<String>, to: impl Into<String>) -> &mut Self {
        self.keys.push((from.into(), to.into()));
        self
    }

    /// Renames a tensor, keeping its place.
    pub fn rename_tensor(&mut self, from: impl Into<String>, to: impl Into<String>) -> &mut Self {
        self.tensors.push((from.into(), to.into()));
        self
    }

    /// Removes a tensor, which must exist. The data of the tensors after it moves.
    pub fn remove_tensor(&mut self, name: impl Into<String>) -> &mut Self {
        self.removed_tensors.push(name.into());
        self
    }

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
            && self.order(source) == model.byte_order()
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

    /// Returns the byte order of the output.
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
