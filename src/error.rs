//! [`Error`]: what is wrong, at which byte, in which key or tensor, and what would be correct.

mod in_file;
mod measured;
#[cfg(feature = "std")]
mod output;
mod parse;
mod place;
mod problem;
#[cfg(feature = "safetensors")]
mod shown;
mod write;

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
#[cfg(feature = "std")]
use std::io;
#[cfg(feature = "std")]
use std::path::PathBuf;

use self::in_file::in_file;
pub use self::measured::Measured;
#[cfg(feature = "std")]
pub use self::output::OutputProblem;
pub use self::parse::{Named, ParseProblem};
pub use self::place::Place;
pub use self::problem::{Problem, ShardProblem};
#[cfg(feature = "safetensors")]
pub(crate) use self::shown::Shown;
pub use self::write::{TensorProblem, WriteProblem};
use crate::ggml_type::GgmlType;
use crate::tensor::Shape;

/// The `Result` type of this crate.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// Any error of this crate, sorted by who can fix it.
///
/// `Display` formats the message of this error, and [`source`](core::error::Error::source) returns its cause, as expected by
/// `anyhow` and similar crates. `Debug` formats both on one line, so that a `main` that returns a [`Result`] shows the problem:
///
/// ```console
/// Error: cannot open 'model.gguf': No such file or directory (os error 2)
/// ```
///
/// `Io` and [`OutOfMemory`](Self::OutOfMemory) come from the machine, [`Malformed`](Self::Malformed) and
/// [`Safetensors`](Self::Safetensors) from the file, [`Limit`](Self::Limit) from the chosen [`Limits`](crate::Limits), and all
/// others from the caller.
///
/// ```
/// use gguf_codec::{Error, Gguf, Problem};
/// let error = Gguf::parse(b"GGUF\x09\0\0\0").unwrap_err();
/// assert_eq!(error.to_string(), "byte 4, in the start of the header: version 9 is unknown; 1, 2 and 3 can be read");
/// assert_eq!(error.offset(), Some(4));
/// assert!(matches!(error, Error::Malformed { problem: Problem::Version { found: 9 }, .. }));
/// ```
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system reported an error. Does not exist without the `std` feature.
    #[cfg(feature = "std")]
    #[error("cannot {action}")]
    Io {
        /// The attempted action, such as `open 'model.gguf'`.
        action: String,
        /// The system's error: the [`source`](std::error::Error::source).
        #[source]
        error: io::Error,
    },

    /// Memory could not be allocated.
    #[error("there is no memory for {what}")]
    OutOfMemory {
        /// What the memory was for, such as `the header`.
        what: &'static str,
    },

    /// The file breaks a rule of the format.
    #[error("{}byte {offset}, {place}: {problem}", in_file(file))]
    Malformed {
        /// The file's path, if it was opened by its path.
        file: Option<String>,
        /// Where the offending field begins, in bytes from the start of the GGUF.
        offset: u64,
        /// The part of the header that contains it.
        place: Place,
        /// The rule that is broken.
        problem: Problem,
    },

    /// The file may be well formed but requires more than the current [`Limits`](crate::Limits) allow.
    #[error("{}byte {offset}, {place}: {what} is {found}, and the limit in force is {limit}", in_file(file))]
    Limit {
        /// The file's path, if it was opened by its path.
        file: Option<String>,
        /// Where the offending field begins, in bytes from the start of the GGUF.
        offset: u64,
        /// The part of the header that contains it.
        place: Place,
        /// The quantity, such as `the number of keys`.
        what: &'static str,
        /// What the file requires.
        found: u64,
        /// What the limit allows.
        limit: u64,
    },

    /// A file is not the shard of a model that it should be.
    #[error("{shard}: {problem}")]
    Shard {
        /// The file's path in quotes, or its number, from 1 as in the names of files.
        shard: String,
        /// What is wrong with it.
        problem: ShardProblem,
    },

    /// The metadata has no such key.
    #[error("the metadata has no key '{key}'")]
    MissingKey {
        /// The requested key.
        key: String,
    },

    /// The key exists, but its value does not convert to the requested type.
    #[error("key '{key}' is {found}, not {wanted}")]
    WrongValue {
        /// The requested key.
        key: String,
        /// The value's type, and the value itself if that explains the error.
        found: String,
        /// The requested type.
        wanted: String,
    },

    /// An element of an array does not convert to the requested type.
    #[error("element {index} of {} is {found}, not {wanted}", array_of(key))]
    WrongElement {
        /// The array's key, if it was requested by key: see [`Metadata::require_array`](crate::Metadata::require_array).
        key: Option<String>,
        /// The element's position, from 0.
        index: u64,
        /// Its type, and its value if that explains the error.
        found: String,
        /// The requested type.
        wanted: String,
    },

    /// The model has no such tensor.
    #[error("there is no tensor '{name}'")]
    MissingTensor {
        /// The requested name.
        name: String,
    },

    /// The tensor is one of [`Gguf::foreign_tensors`](crate::Gguf::foreign_tensors), which cannot be read.
    #[error("tensor '{}' cannot be read: {problem}", tensor.escape_debug())]
    Foreign {
        /// Its name.
        tensor: String,
        /// Why it cannot be read.
        problem: Problem,
    },

    /// The tensor `X.scale` beside an NVFP4 tensor `X.weight` does not contain its scale factors.
    #[cfg(feature = "std")]
    #[error("{message}")]
    Scale {
        /// What is wrong with it.
        message: String,
    },

    /// A key or tensor to be changed is not in the file.
    #[error("{}{}", not_in_file(what, name), is_it(nearest))]
    NotInFile {
        /// `key` or `tensor`.
        what: &'static str,
        /// The requested name.
        name: String,
        /// The most similar names in the file, if any.
        nearest: Vec<String>,
    },

    /// A typed view of a tensor was requested in a type other than the tensor's.
    #[error("tensor '{tensor}' is {found}, not {wanted}")]
    WrongType {
        /// The tensor's name.
        tensor: String,
        /// Its type.
        found: GgmlType,
        /// The requested type.
        wanted: GgmlType,
    },

    /// A tensor does not have the required extents.
    #[error("tensor '{}' has shape {found}, and must have {wanted:?}", tensor.escape_debug())]
    WrongShape {
        /// The tensor's name.
        tensor: String,
        /// Its shape.
        found: Shape,
        /// The required extents, innermost first.
        wanted: Vec<u64>,
    },

    /// This crate does not know what models of this architecture keep of their context, and does not guess.
    #[error("how much memory a context of architecture '{}' takes is not known", architecture.escape_debug())]
    UnknownArchitecture {
        /// `general.architecture`, or empty if the file has none.
        architecture: String,
    },

    /// The tensor's bytes were requested, but only the header was read.
    #[error("tensor '{tensor}' has no data here: only the header was read")]
    HeaderOnly {
        /// The tensor's name.
        tensor: String,
    },

    /// The requested view would need a copy: the tensor's bytes are in the other byte order or not aligned.
    #[error("tensor '{tensor}' cannot be viewed without copying: {why}; dequantize it instead")]
    NotViewable {
        /// The tensor's name.
        tensor: String,
        /// The reason.
        why: &'static str,
    },

    /// A name or a number does not denote any [`GgmlType`], [`ValueType`](crate::ValueType),
    /// [`Recipe`](crate::model::Recipe) or [`Part`](crate::model::Part).
    #[error("{problem}")]
    Parse {
        /// What was parsed, and what is valid.
        problem: ParseProblem,
    },

    /// Floats cannot be converted to integers: GGUF stores no scale for these.
    #[error("cannot quantize to {ty}: integers have no scale")]
    NotQuantizable {
        /// The type.
        ty: GgmlType,
    },

    /// The type has too few bits to treat all values of a row alike, so it needs importance weights.
    #[error("cannot quantize to {ty} without importance weights, one for each value of a row")]
    NeedsImportance {
        /// The type.
        ty: GgmlType,
    },

    /// A slice or a shape has the wrong length.
    #[error("{what} is {found} long, and must be {wanted}")]
    Length {
        /// What it is.
        what: Measured,
        /// Its length.
        found: u64,
        /// The right length, with the reason if it is not obvious.
        wanted: String,
    },

    /// Weights of this type cannot be multiplied.
    #[error("weights of type {ty} cannot be multiplied: it is for numbers that are not weights")]
    NotMultipliable {
        /// The type.
        ty: GgmlType,
    },

    /// Weights are multiplied in place, and these are in the other byte order.
    #[error(
        "tensor '{tensor}' is in big-endian byte order, and weights are multiplied as little-endian blocks: convert the file first"
    )]
    BigEndian {
        /// The tensor's name.
        tensor: String,
    },

    /// Activations were quantized for weights of another granularity.
    #[error(
        "weights of type {ty} are multiplied with activations that have {wanted}, and these have {found}: make them for {ty}"
    )]
    WrongActivations {
        /// The type of the weights.
        ty: GgmlType,
        /// What activations for this type have.
        wanted: &'static str,
        /// What the given activations have.
        found: &'static str,
    },

    /// A range ends before it begins.
    #[error("the range of {what} {start}..{end} is reversed: it ends before it begins")]
    Reversed {
        /// What the range counts, such as `rows`.
        what: &'static str,
        /// Its start.
        start: u64,
        /// Its end.
        end: u64,
    },

    /// A row, range or index is outside the tensor.
    #[error("{what} {found} is out of range: there are {count}")]
    OutOfRange {
        /// What was indexed, such as `row`.
        what: &'static str,
        /// The index, or the range's end.
        found: u64,
        /// How many there are.
        count: u64,
    },

    /// A value to quantize, or an importance weight, is NaN or infinite. Blocks cannot represent it.
    #[error("{what} {index} is {value}, and a quantized block cannot hold that")]
    NonFinite {
        /// `value` or `importance weight`.
        what: &'static str,
        /// Its index in the slice given.
        index: usize,
        /// The value.
        value: f32,
    },

    /// A block is unusable: a scale, or the value of a plain type, is NaN or infinite.
    #[error("block {block} of {ty}: {what}")]
    InvalidBlock {
        /// The blocks' type.
        ty: GgmlType,
        /// The first such block, counted from 0. For plain types a block is a value.
        block: u64,
        /// What is wrong with it, such as `its scale is NaN`.
        what: &'static str,
    },

    /// A file is not an importance matrix, or is a malformed one.
    #[error("{}{}{message}", in_file(file), at(offset))]
    Imatrix {
        /// The file's path, if it was read by its path.
        file: Option<String>,
        /// The position, in bytes from the file's start, if known.
        offset: Option<u64>,
        /// What is wrong, in which tensor, and what would be correct.
        message: String,
    },

    /// The progress callback requested to stop.
    #[error("interrupted")]
    Interrupted,

    /// A safetensors file, or a file that describes its model, is malformed.
    #[error("{}{}{message}", in_file(file), at(offset))]
    Safetensors {
        /// Its path, if it was opened by path.
        file: Option<String>,
        /// The position, in bytes from the file's start, if known.
        offset: Option<u64>,
        /// What is wrong, in which tensor or key, and what would be correct.
        message: String,
    },

    /// A file or folder may not be written at the given path: see [`Inputs`](crate::Inputs).
    #[cfg(feature = "std")]
    #[error("'{}' {problem}", output.display())]
    Output {
        /// The path as the caller wrote it.
        output: PathBuf,
        /// The obstacle.
        problem: OutputProblem,
    },

    /// A file cannot be written as requested.
    #[error("{problem}")]
    Write {
        /// Why not, with the key or tensor and what would be correct.
        problem: WriteProblem,
    },
}

/// Formats the message and those of its causes.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut cause = core::error::Error::source(self);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// Names an array in a message.
fn array_of(key: &Option<String>) -> String {
    match key {
        Some(key) => format!("key '{}'", key.escape_debug()),
        None => "the array".to_owned(),
    }
}

fn not_in_file(what: &str, name: &str) -> String {
    let name = name.escape_debug();
    if what == "key" {
        format!("the metadata has no key '{name}'")
    } else {
        format!("there is no {what} '{name}'")
    }
}

/// Suggests similar names at the end of a message.
fn is_it(nearest: &[String]) -> String {
    let names: Vec<_> = nearest.iter().map(|name| format!("'{}'", name.escape_debug())).collect();
    if names.is_empty() { String::new() } else { format!("; is it {}?", names.join(" or ")) }
}

/// Names the byte of a file at the start of a message.
fn at(offset: &Option<u64>) -> String {
    offset.map_or(String::new(), |offset| format!("byte {offset}: "))
}

impl Error {
    /// Creates an I/O error. `action` continues the words "cannot": `open 'model.gguf'`.
    #[cfg(feature = "std")]
    pub fn io(action: impl Into<String>, error: io::Error) -> Self {
        Error::Io { action: action.into(), error }
    }

    /// Returns the position of the problem in the file, in bytes, if there is one.
    pub fn offset(&self) -> Option<u64> {
        match self {
            Error::Malformed { offset, .. } | Error::Limit { offset, .. } => Some(*offset),
            Error::Imatrix { offset, .. } | Error::Safetensors { offset, .. } => *offset,
            _ => None,
        }
    }
}
