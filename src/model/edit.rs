//! [`Edit`]: other keys and other names; the tensors' data stays as it is.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use super::convert::Convert;
use super::job::{Job, Origin};
use crate::container::Indexed;
use crate::file::{Existing, Inputs, journal};
use crate::{Error, Result, Sink, TensorInfo, Value, Writer};

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
/// Keys that are set keep their places, new ones follow behind the others. The data is never decoded. It keeps its byte
/// order, and moves where the header's length or `general.alignment` changes.
///
/// Removing and renaming speak of the names in the file that is read, so that two names can be exchanged; setting
/// speaks of those in the file that is written.
///
/// ```no_run
/// use std::ops::ControlFlow;
/// use gguf_codec::model::Edit;
///
/// let mut edit = Edit::new();
/// edit.set("general.name", "My model").remove("general.url").rename_tensor("output", "output.weight");
/// edit.write("in.gguf", "out.gguf", |_bytes| ControlFlow::Continue(()))?;
/// # Ok::<(), gguf_codec::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
#[must_use = "nothing is edited before `write` or `in_place`"]
pub struct Edit {
    set: Vec<(String, Value)>,
    removed: Vec<String>,
    keys: Vec<(String, String)>,
    tensors: Vec<(String, String)>,
    removed_tensors: Vec<String>,
    existing: Existing,
}

impl Edit {
    /// No changes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives a key a value, whether it is there or not.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<Value>) -> &mut Self {
        self.set.push((key.into(), value.into()));
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

    /// Writes the edited model into another file, or the same: `output` appears whole or not at all, as with
    /// [`Writer::create`]. From file to file the data is copied as [`copy_from`](crate::TensorWriter::copy_from) says.
    /// `progress` hears of the data by its bytes, and decides whether to go on.
    ///
    /// # Errors
    /// [`Error::MissingKey`] and [`Error::MissingTensor`] for what is to be removed or renamed; [`Error::Write`] where
    /// changes contradict each other, a name is taken, or [`Writer`] refuses; those of [`recover`](Self::recover)
    /// and of reading a header; [`Error::Io`]; [`Error::Interrupted`] where `progress` breaks.
    pub fn write(
        &self,
        input: impl AsRef<Path>,
        output: impl AsRef<Path>,
        progress: impl FnMut(u64) -> ControlFlow<()>,
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
    /// move, the whole file is written anew, as with [`write`](Self::write).
    ///
    /// As long as this goes on the file is locked against other edits of this kind. **Nobody may have it mapped**, as
    /// `Gguf::open` does: whoever has sees the header change.
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// use gguf_codec::Gguf;
    /// use gguf_codec::model::{Edit, Edited};
    ///
    /// # let folder = std::env::temp_dir().join(format!("gguf-codec-doc-in-place-{}", std::process::id()));
    /// # std::fs::create_dir_all(&folder)?;
    /// # let path = folder.join("model.gguf");
    /// # std::fs::copy("examples/sample.gguf", &path)?;
    /// let mut edit = Edit::new();
    /// edit.set("llama.rope.freq_base", 500_000.0f32); // as long as what was there
    /// let edited = edit.in_place(&path, |_bytes| ControlFlow::Continue(()))?;
    /// assert_eq!(edited, Edited::Patched { changed: 3 });
    /// assert_eq!(Gguf::read(&path)?.metadata().get::<f32>("llama.rope.freq_base")?, 500_000.0);
    /// # std::fs::remove_dir_all(&folder)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`write`](Self::write), and [`Error::Io`] where the file may not be written to or another process edits it.
    /// After any the file is as it was, except where the message says otherwise: that the edit is complete, and its undo
    /// record could not be removed; or that what was there could not be put back, what the file is now, and where its undo
    /// record is.
    pub fn in_place(
        &self,
        path: impl AsRef<Path>,
        progress: impl FnMut(u64) -> ControlFlow<()>,
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
        let mut writer = Writer::new(io::sink());
        self.declare(source, &mut writer)?;
        let (mut header, layout) = writer.header_bytes()?;
        let model = &source.model;
        let offsets = model.tensors().map(|tensor| tensor.offset());
        let until = header.len() as u64 + layout.padding;
        let stays = layout.alignment == model.alignment()
            && if model.tensor_count() == 0 {
                header.len() as u64 == model.header_len()
            } else {
                until == model.data_offset() && offsets.eq(layout.offsets)
            };
        // What the old header has beyond the new one becomes padding. Memory can hold it: it has.
        header.resize(header.len().max(usize::try_from(model.header_len()).unwrap_or(0)), 0);
        Ok(stays.then_some(header))
    }

    fn write_from(
        &self,
        source: &Indexed,
        output: &Path,
        existing: Existing,
        progress: impl FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Edited> {
        // Where something cannot be, no file need be made to know it.
        let names = self.declare(source, &mut Writer::new(io::sink()))?;
        let mut writer = Writer::create_with(output, existing)?;
        self.declare(source, &mut writer)?;
        let len = writer.file_len()?;
        let jobs: Vec<_> = names
            .iter()
            .zip(self.kept(source))
            .map(|(name, tensor)| Job::copy(name, Origin::of(&source.file, &tensor)))
            .collect();
        let mut data = writer.write_header()?;
        Convert::new().run(&jobs, &mut data, progress)?;
        data.finish()?;
        Ok(Edited::Written { len })
    }

    /// The tensors that are not left out.
    fn kept<'a>(&self, source: &'a Indexed) -> impl Iterator<Item = TensorInfo<'a>> {
        let removed: HashSet<&str> = self.removed_tensors.iter().map(String::as_str).collect();
        source.model.tensors().filter(move |tensor| !removed.contains(tensor.name()))
    }

    /// Declares the edited model, and gives the names of its tensors.
    fn declare<S: Sink>(&self, source: &Indexed, writer: &mut Writer<S>) -> Result<Vec<String>> {
        let (metadata, model) = (source.model.metadata(), &source.model);
        let removed: HashSet<&str> = self.removed.iter().map(String::as_str).collect();
        for key in &self.removed {
            if !metadata.contains(key) {
                return Err(Error::MissingKey { key: key.clone() });
            }
        }
        let removed_tensors: HashSet<&str> = self.removed_tensors.iter().map(String::as_str).collect();
        for name in &self.removed_tensors {
            model.tensor_info(name)?;
        }
        let keys = Renames::new(
            "key",
            &self.keys,
            |key| metadata.contains(key),
            &removed,
            |key| Error::MissingKey { key },
        )?;
        let tensors = Renames::new(
            "tensor",
            &self.tensors,
            |name| model.tensor_info(name).is_ok(),
            &removed_tensors,
            |name| Error::MissingTensor { name },
        )?;
        let mut values = HashMap::new();
        for (key, value) in &self.set {
            if removed.contains(key.as_str()) {
                return Err(contradiction("key", key, "is to be set and to be removed"));
            }
            if values.insert(key.as_str(), value).is_some() {
                return Err(contradiction("key", key, "is to be set twice"));
            }
        }

        writer.copy_form_from(model, source.final_padding)?;
        for (key, value) in metadata.iter().filter(|(key, _)| !removed.contains(key)) {
            let key = keys.name(key);
            match values.get(key) {
                Some(&value) => writer.metadata(key, value.clone())?,
                None => writer.metadata_ref(key, value)?,
            };
        }
        // Those that are there already are set to the same once more.
        for (key, value) in &self.set {
            writer.metadata(key, value.clone())?;
        }
        let mut names = Vec::with_capacity(model.tensor_count());
        for tensor in self.kept(source) {
            let name = tensors.name(tensor.name());
            writer.tensor(name, tensor.shape().dims(), tensor.ggml_type())?;
            names.push(name.to_owned());
        }
        Ok(names)
    }
}

/// Names and what they become.
struct Renames<'a>(HashMap<&'a str, &'a str>);

impl<'a> Renames<'a> {
    /// Refuses where a name is not there, or is there afterwards twice.
    fn new(
        what: &str,
        renames: &'a [(String, String)],
        is_there: impl Fn(&str) -> bool,
        removed: &HashSet<&str>,
        missing: impl Fn(String) -> Error,
    ) -> Result<Self> {
        let mut to = HashMap::new();
        for (from, name) in renames {
            if !is_there(from) {
                return Err(missing(from.clone()));
            }
            if removed.contains(from.as_str()) {
                return Err(contradiction(what, from, "is to be renamed and to be removed"));
            }
            if to.insert(from.as_str(), name.as_str()).is_some() {
                return Err(contradiction(what, from, "is to be renamed twice"));
            }
        }
        let mut taken = HashSet::new();
        for (from, name) in renames {
            let stays = is_there(name) && !to.contains_key(name.as_str()) && !removed.contains(name.as_str());
            if stays || !taken.insert(name) {
                let name = name.escape_debug();
                return Err(contradiction(
                    what,
                    from,
                    format_args!("cannot become '{name}', which is another {what}'s name"),
                ));
            }
        }
        Ok(Renames(to))
    }

    fn name<'b>(&self, name: &'b str) -> &'b str
    where
        'a: 'b,
    {
        self.0.get(name).copied().unwrap_or(name)
    }
}

fn contradiction(what: &str, name: &str, problem: impl Display) -> Error {
    Error::Write { message: format!("{what} '{}' {problem}", name.escape_debug()) }
}
