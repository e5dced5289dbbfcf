//! [`Checkpoint`]: a model in one or more safetensors files.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};

use super::index::{SafeTensors, TensorInfo};
use super::json;
#[cfg(any(unix, windows))]
use super::path::{exists, read_bounded};
#[cfg(any(unix, windows))]
use super::set::OneOf;
use crate::error::{Error, Measured, Result, Shown};
use crate::file::read_at::ReadAt;
#[cfg(any(unix, windows))]
use crate::file::regular::expect_regular;
#[cfg(any(unix, windows))]
use crate::limits::Limits;
use crate::model::Origin;

/// The file of a model that is not split.
pub(crate) const SINGLE: &str = "model.safetensors";
/// The file that maps the tensors of a split model to its files.
pub(crate) const INDEX: &str = "model.safetensors.index.json";
/// The maximum size of an index: a hundred times that of the largest models.
const MAX_INDEX_BYTES: u64 = 100_000_000;

/// A model in one or more safetensors files, as Hugging Face splits it.
///
/// ```no_run
/// use gguf_codec::safetensors::Checkpoint;
/// let checkpoint = Checkpoint::open("all-MiniLM-L6-v2")?;
/// for tensor in checkpoint.tensors() {
///     println!("{} {} {:?}", tensor.info().name(), tensor.info().dtype(), tensor.info().shape());
/// }
/// # Ok::<(), gguf_codec::Error>(())
/// ```
#[derive(Debug)]
pub struct Checkpoint {
    folder: Option<PathBuf>,
    paths: Vec<PathBuf>,
    parts: Vec<Part>,
}

struct Part {
    /// Its name in messages.
    name: String,
    source: Box<dyn ReadAt>,
    header: SafeTensors,
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("name", &self.name).field("header", &self.header).finish_non_exhaustive()
    }
}

impl Checkpoint {
    /// Opens a file, the index of a split model, or a folder that contains either. In a folder, an index takes
    /// precedence, then `model.safetensors`, then the only safetensors file.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Safetensors`], naming the file, if a rule of the format is broken, a file of the index is
    /// missing, files and index do not have the same tensors, a folder has no model or several, or the file is by its name a
    /// part of a model: `model-00002-of-00004.safetensors`. [`of`](Self::of) accepts parts as they are.
    #[cfg(any(unix, windows))]
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let opening = |error| Error::io(format!("open '{}'", path.display()), error);
        let (folder, file) = if std::fs::metadata(path).map_err(opening)?.is_dir() {
            (path, in_folder(path)?)
        } else {
            (path.parent().unwrap_or(Path::new("")), path.to_owned())
        };
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let mut checkpoint = if file.extension().is_some_and(|extension| extension == "json") {
            Self::open_split(&file, folder)?
        } else {
            let part = open_part(&file)?;
            if let Some(one) = OneOf::parse(&file) {
                return Err(one.alone(folder, path)?);
            }
            Self::of([part])?
        };
        checkpoint.paths.push(file);
        checkpoint.folder = Some(folder.to_owned());
        Ok(checkpoint)
    }

    #[cfg(any(unix, windows))]
    fn open_split(index: &Path, folder: &Path) -> Result<Self> {
        let map = read_index(index)?;
        let mut files: Vec<_> = map.values().collect();
        files.sort();
        files.dedup();
        let wrong = |message| {
            Err(Error::Safetensors { file: Some(index.display().to_string()), offset: None, message })
        };
        let (mut parts, mut paths) = (Vec::new(), Vec::new());
        for file in files {
            // An index must not be able to name files anywhere on the disk.
            let is_plain = Path::new(file).file_name().is_some_and(|name| name == file.as_str());
            if !is_plain {
                return wrong(format!("'{}' must be the name of a file beside the index", Shown(file)));
            }
            if !exists(&folder.join(file))? {
                let its = map.values().filter(|other| *other == file).count();
                return wrong(format!(
                    "'{}' is missing, which has {its} of the {} tensors",
                    Shown(file),
                    map.len()
                ));
            }
            parts.push(open_part(&folder.join(file))?);
            paths.push(folder.join(file));
        }
        let checkpoint = Checkpoint { paths, ..Self::of(parts)? };
        for tensor in checkpoint.tensors() {
            let (name, file) = (tensor.info().name(), &checkpoint.parts[tensor.part].name);
            match map.get(name) {
                Some(wanted) if Path::new(file).file_name().is_some_and(|file| file == wanted.as_str()) => {}
                Some(wanted) => {
                    return wrong(format!(
                        "tensor '{}' is in '{file}', not in '{}'",
                        Shown(name),
                        Shown(wanted)
                    ));
                }
                None => {
                    return wrong(format!("tensor '{}' of '{file}' is not in the index", Shown(name)));
                }
            }
        }
        let mut names: Vec<_> = map.keys().collect();
        names.sort();
        match names.into_iter().find(|name| checkpoint.tensor(name).is_none()) {
            Some(name) => wrong(format!("tensor '{}' is not in '{}'", Shown(name), Shown(&map[name]))),
            None => Ok(checkpoint),
        }
    }

    /// Opens a model of these files, each with its name for messages and its length in bytes.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Safetensors`], naming the file, if a rule of the format is broken, or two files have a
    /// tensor of the same name.
    pub fn of(files: impl IntoIterator<Item = (String, Box<dyn ReadAt>, u64)>) -> Result<Self> {
        let mut parts: Vec<Part> = Vec::new();
        for (name, source, len) in files {
            let header = SafeTensors::read(&*source, len).map_err(|error| named(&name, error))?;
            parts.push(Part { name, source, header });
        }
        let mut found: HashMap<&str, usize> = HashMap::new();
        for (index, part) in parts.iter().enumerate() {
            for tensor in part.header.tensors() {
                if let Some(first) = found.insert(tensor.name(), index) {
                    let message =
                        format!("tensor '{}' is in '{}' too", Shown(tensor.name()), parts[first].name);
                    return Err(Error::Safetensors { file: Some(part.name.clone()), offset: None, message });
                }
            }
        }
        drop(found);
        Ok(Checkpoint { folder: None, paths: Vec::new(), parts })
    }

    /// Returns the folder from which it was opened, which contains the files that describe the model.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Returns the files from which it was opened: those with tensors, and the index. Empty for [`of`](Self::of).
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Returns an iterator over the tensors, file by file, in the order of their data.
    pub fn tensors(&self) -> impl Iterator<Item = CheckpointTensor<'_>> {
        let parts = self.parts.iter().enumerate();
        parts.flat_map(|(part, of)| of.header.tensors().map(move |info| CheckpointTensor { info, part, of }))
    }

    /// Returns the tensor of this name.
    pub fn tensor(&self, name: &str) -> Option<CheckpointTensor<'_>> {
        let mut parts = self.parts.iter().enumerate();
        parts.find_map(|(part, of)| Some(CheckpointTensor { info: of.header.tensor(name)?, part, of }))
    }

    /// Returns the keys and values of all files' `__metadata__`. If a key occurs several times, the first file's value is used.
    pub fn metadata(&self) -> BTreeMap<&str, &str> {
        self.parts.iter().rev().flat_map(|part| part.header.metadata()).collect()
    }

    /// Returns the number of files that contain the tensors.
    pub fn file_count(&self) -> usize {
        self.parts.len()
    }
}

/// A tensor of a [`Checkpoint`].
#[derive(Debug, Clone, Copy)]
pub struct CheckpointTensor<'a> {
    info: TensorInfo<'a>,
    part: usize,
    of: &'a Part,
}

impl<'a> CheckpointTensor<'a> {
    /// Returns the header's description of the tensor.
    pub fn info(&self) -> TensorInfo<'a> {
        self.info
    }

    /// Fills `buffer` with the tensor's data, starting at its byte `offset`. Works for any type, including those that
    /// GGUF does not have.
    ///
    /// # Errors
    /// [`Error::Length`] if the data ends before the buffer is full, and [`Error::Io`].
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        let (end, len) = (offset.checked_add(buffer.len() as u64), self.info.byte_len());
        if end.is_none_or(|end| end > len) {
            return Err(Error::Length {
                what: Measured::ReadEnd,
                found: end.unwrap_or(u64::MAX),
                wanted: format!("at most {len}, which tensor '{}' has", Shown(self.info.name())),
            });
        }
        let reading = |error| Error::io(format!("read tensor '{}'", Shown(self.info.name())), error);
        self.of.source.fill_at(buffer, self.info.file_offset() + offset).map_err(reading)
    }

    /// Returns the file that contains it.
    #[cfg(feature = "codecs")]
    pub(crate) fn source(&self) -> &'a dyn ReadAt {
        &*self.of.source
    }

    /// Returns its values in its file, as input for [`Convert`](crate::model::Convert).
    ///
    /// # Errors
    /// The errors of [`TensorInfo::origin`].
    pub fn origin(&self) -> Result<Origin<'a>> {
        self.info.origin(&*self.of.source)
    }
}

/// Adds the file's name to the error if it has none.
pub(super) fn named(name: &str, error: Error) -> Error {
    match error {
        Error::Safetensors { file: None, offset, message } => {
            Error::Safetensors { file: Some(name.to_owned()), offset, message }
        }
        Error::Io { action, error } => Error::Io { action: format!("{action} of '{name}'"), error },
        error => error,
    }
}

#[cfg(any(unix, windows))]
fn open_part(path: &Path) -> Result<(String, Box<dyn ReadAt>, u64)> {
    let opening = |error| Error::io(format!("open '{}'", path.display()), error);
    expect_regular(path, "").map_err(opening)?;
    let file = std::fs::File::open(path).map_err(opening)?;
    let len = file.metadata().map_err(opening)?.len();
    if let Some(other) = other_format(&file, len) {
        let message = format!("this is not a safetensors file but {other}");
        return Err(Error::Safetensors { file: Some(path.display().to_string()), offset: Some(0), message });
    }
    Ok((path.display().to_string(), Box::new(file), len))
}

/// Names the format of a file that does not begin like safetensors. No header has the length that these would make.
#[cfg(any(unix, windows))]
fn other_format(file: &dyn ReadAt, len: u64) -> Option<&'static str> {
    let mut start = [0; 16];
    let start = &mut start[..len.min(16) as usize];
    file.fill_at(start, 0).ok()?;
    [
        (&b"GGUF"[..], "a GGUF already"),
        (
            b"PK\x03\x04",
            "a ZIP, as PyTorch saves weights: load them and save them as safetensors (save_pretrained)",
        ),
        (b"version https://", "a pointer of Git LFS, not the file: fetch it with 'git lfs pull'"),
        (b"\x89HDF", "HDF5, as Keras saves weights"),
        (b"<!DOCTYPE", "an HTML page"),
        (b"<html", "an HTML page"),
    ]
    .into_iter()
    .find_map(|(magic, what)| start.starts_with(magic).then_some(what))
}

/// Unsupported forms of weights, by the ends of their names, and what to do with them.
#[cfg(any(unix, windows))]
const OTHERS: [(&str, &str); 12] = [
    (".gguf", "is a GGUF already"),
    (".bin", "is PyTorch's, which is not read: load the model and save it as safetensors (save_pretrained)"),
    (".pt", "is PyTorch's, which is not read: load the model and save it as safetensors (save_pretrained)"),
    (".pth", "is PyTorch's, which is not read: take the files of the transformers library, as safetensors"),
    (".ckpt", "is a checkpoint of PyTorch or TensorFlow, which is not read: save the model as safetensors"),
    (
        ".bin.index.json",
        "is of PyTorch's files, which are not read: load the model and save it as safetensors (save_pretrained)",
    ),
    (".onnx", "is ONNX, which is not read: take the model that was exported, as safetensors"),
    (".h5", "is TensorFlow's, which is not read: load the model with PyTorch and save it as safetensors"),
    (".msgpack", "is Flax's, which is not read: load the model with PyTorch and save it as safetensors"),
    (".npz", "is of NumPy or MLX, which is not read: save the model as safetensors"),
    (".nemo", "is NeMo's, which is not read: export the model to the form of Hugging Face"),
    (".pkl", "is a pickle, which is not read: save the model as safetensors"),
];

/// Returns the first file of the model in a folder.
#[cfg(any(unix, windows))]
fn in_folder(folder: &Path) -> Result<PathBuf> {
    for name in [INDEX, SINGLE] {
        if exists(&folder.join(name))? {
            return Ok(folder.join(name));
        }
    }
    let reading = |error| Error::io(format!("read the folder '{}'", folder.display()), error);
    let (mut found, mut others) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(folder).map_err(reading)? {
        let path = entry.map_err(reading)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let other = OTHERS.iter().position(|(end, _)| name.ends_with(end));
        // Files that trainers save beside weights are not weights.
        others.extend(other.filter(|_| !name.starts_with("training_args")).map(|at| (at, name.to_owned())));
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            found.push(path);
        }
    }
    found.sort();
    let first = found.first().and_then(|path| OneOf::parse(path));
    let are_one_model = |first: &OneOf<'_>| {
        found.iter().all(|path| OneOf::parse(path).is_some_and(|other| other.is_beside(first)))
    };
    match found.as_slice() {
        [only] => Ok(only.clone()),
        // A part of a split model is reported like one that was requested.
        [first_file, ..] if first.as_ref().is_some_and(are_one_model) => Ok(first_file.clone()),
        [] if !others.is_empty() => {
            others.sort();
            let (at, name) = &others[0];
            let message = format!("the folder has no safetensors file; '{}' {}", Shown(name), OTHERS[*at].1);
            Err(Error::Safetensors { file: Some(folder.display().to_string()), offset: None, message })
        }
        _ => {
            let message = format!(
                "the folder has {} safetensors files, and none is called {SINGLE} or {INDEX}",
                found.len()
            );
            Err(Error::Safetensors { file: Some(folder.display().to_string()), offset: None, message })
        }
    }
}

/// Reads the names of tensors and of the files that contain them.
#[cfg(any(unix, windows))]
fn read_index(path: &Path) -> Result<HashMap<String, String>> {
    let name = path.display().to_string();
    let bytes = read_bounded(path, MAX_INDEX_BYTES)?;
    let wrong = |offset, message| Error::Safetensors { file: Some(name.clone()), offset, message };
    let pairs = json::parse_weight_map(&bytes, Limits::default())
        .map_err(|error| wrong(Some(error.at), error.message))?;
    let count = pairs.len();
    let map: HashMap<_, _> = pairs.into_iter().collect();
    if map.len() < count {
        return Err(wrong(None, "a tensor occurs twice in weight_map".to_owned()));
    }
    Ok(map)
}
