//! [`Error`]: what is wrong, at which byte, in which key or tensor, and what would be right.

mod measured;
#[cfg(feature = "std")]
mod output;
mod parse;
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

pub use self::measured::Measured;
#[cfg(feature = "std")]
pub use self::output::OutputProblem;
pub use self::parse::{Named, ParseProblem};
pub use self::problem::{Problem, ShardProblem};
#[cfg(feature = "safetensors")]
pub(crate) use self::shown::Shown;
pub use self::write::{TensorProblem, WriteProblem};
use crate::{GgmlType, Shape};

/// The crate's result.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// Everything that can go wrong, sorted by who can fix it.
///
/// `Display` gives the message of this error, and [`source`](core::error::Error::source) its cause, as `anyhow` and its like print
/// them. `Debug` gives both in one line, so that a `main` that returns a [`Result`] shows what was wrong:
///
/// ```console
/// Error: cannot open 'model.gguf': No such file or directory (os error 2)
/// ```
///
/// `Io` and [`OutOfMemory`](Self::OutOfMemory) are the machine's, [`Malformed`](Self::Malformed) and
/// [`Safetensors`](Self::Safetensors) the file's, [`Limit`](Self::Limit) the choice of [`Limits`](crate::Limits), and the others
/// are the caller's.
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
    /// The operating system refused. Without the `std` feature there is none.
    #[cfg(feature = "std")]
    #[error("cannot {action}")]
    Io {
        /// What was being done, such as `open 'model.gguf'`.
        action: String,
        /// What the system answered: the [`source`](std::error::Error::source).
        #[source]
        error: io::Error,
    },

    /// There is not the memory that was asked for.
    #[error("there is no memory for {what}")]
    OutOfMemory {
        /// What it is for, such as `the header`.
        what: &'static str,
    },

    /// The file breaks a rule of the format.
    #[error("byte {offset}, {place}: {problem}")]
    Malformed {
        /// Where the offending field begins, in bytes from the start of the GGUF.
        offset: u64,
        /// Which part of the header it belongs to.
        place: Place,
        /// The rule that is broken.
        problem: Problem,
    },

    /// The file is perhaps well formed but asks for more than the [`Limits`](crate::Limits) in force allow.
    #[error("byte {offset}, {place}: {what} is {found}, and the limit in force is {limit}")]
    Limit {
        /// Where the offending field begins, in bytes from the start of the GGUF.
        offset: u64,
        /// Which part of the header it belongs to.
        place: Place,
        /// The quantity, such as `the number of keys`.
        what: &'static str,
        /// What the file asks for.
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
        /// The key asked for.
        key: String,
    },

    /// The key is there, and its value cannot be had as the type asked for.
    #[error("key '{key}' is {found}, not {wanted}")]
    WrongValue {
        /// The key asked for.
        key: String,
        /// The value's type, and the value where that explains the refusal.
        found: String,
        /// What was asked for.
        wanted: String,
    },

    /// An element of an array cannot be had as the type asked for.
    #[error("element {index} of {} is {found}, not {wanted}", array_of(key))]
    WrongElement {
        /// The array's key, where it was asked for by that: see [`Metadata::require_array`](crate::Metadata::require_array).
        key: Option<String>,
        /// The element's position, from 0.
        index: u64,
        /// Its type, and its value where that explains the refusal.
        found: String,
        /// What was asked for.
        wanted: String,
    },

    /// The model has no such tensor.
    #[error("there is no tensor '{name}'")]
    MissingTensor {
        /// The name asked for.
        name: String,
    },

    /// The tensor is one of [`Gguf::foreign_tensors`](crate::Gguf::foreign_tensors), which cannot be read.
    #[error("tensor '{}' cannot be read: {problem}", tensor.escape_debug())]
    Foreign {
        /// Its name.
        tensor: String,
        /// Why not.
        problem: Problem,
    },

    /// The tensor `X.scale` beside an NVFP4 tensor `X.weight` does not hold its factors.
    #[cfg(feature = "std")]
    #[error("{message}")]
    Scale {
        /// What is wrong with it.
        message: String,
    },

    /// A key or tensor that is to be changed is not in the file.
    #[error("{}{}", not_in_file(what, name), is_it(nearest))]
    NotInFile {
        /// `key` or `tensor`.
        what: &'static str,
        /// The name asked for.
        name: String,
        /// The names in the file that are most like it, if any are.
        nearest: Vec<String>,
    },

    /// A typed view of a tensor was asked for in another type than the tensor's own.
    #[error("tensor '{tensor}' is {found}, not {wanted}")]
    WrongType {
        /// The tensor's name.
        tensor: String,
        /// Its type.
        found: GgmlType,
        /// The type asked for.
        wanted: GgmlType,
    },

    /// A tensor does not have the extents that it must have.
    #[error("tensor '{}' has shape {found}, and must have {wanted:?}", tensor.escape_debug())]
    WrongShape {
        /// The tensor's name.
        tensor: String,
        /// Its shape.
        found: Shape,
        /// The extents that were asked for, innermost first.
        wanted: Vec<u64>,
    },

    /// What models of this architecture keep of their context is not known here, and is not guessed.
    #[error("how much memory a context of architecture '{}' takes is not known", architecture.escape_debug())]
    UnknownArchitecture {
        /// `general.architecture`, or nothing where the file has none.
        architecture: String,
    },

    /// The tensor's bytes were asked for, and only the header is there.
    #[error("tensor '{tensor}' has no data here: only the header was read")]
    HeaderOnly {
        /// The tensor's name.
        tensor: String,
    },

    /// The view asked for would have to copy: the tensor's bytes are in the other byte order or not aligned.
    #[error("tensor '{tensor}' cannot be viewed without copying: {why}; dequantize it instead")]
    NotViewable {
        /// The tensor's name.
        tensor: String,
        /// What stands in the way.
        why: &'static str,
    },

    /// A name or a number stands for nothing there is: no such [`GgmlType`], [`ValueType`](crate::ValueType),
    /// [`Recipe`](crate::model::Recipe) or [`Part`](crate::model::Part).
    #[error("{problem}")]
    Parse {
        /// Which, and what there is.
        problem: ParseProblem,
    },

    /// Floats cannot become integers: GGUF gives these no scale.
    #[error("cannot quantize to {ty}: integers have no scale")]
    NotQuantizable {
        /// The type.
        ty: GgmlType,
    },

    /// The type has too few bits to treat all values of a row alike.
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
        /// The right length, with the reason where it is not plain.
        wanted: String,
    },

    /// A type that weights are not multiplied in.
    #[error("weights of type {ty} cannot be multiplied: it is for numbers that are not weights")]
    NotMultipliable {
        /// The type.
        ty: GgmlType,
    },

    /// Weights are multiplied as they lie, and these are in the other byte order.
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
        /// What activations for it have.
        wanted: &'static str,
        /// What these have.
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

    /// A row, range or index lies outside the tensor.
    #[error("{what} {found} is out of range: there are {count}")]
    OutOfRange {
        /// What was indexed, such as `row`.
        what: &'static str,
        /// The index, or the range's end.
        found: u64,
        /// How many there are.
        count: u64,
    },

    /// A value to quantize, or an importance weight, is NaN or infinite. Blocks cannot hold one.
    #[error("{what} {index} is {value}, and a quantized block cannot hold that")]
    NonFinite {
        /// `value` or `importance weight`.
        what: &'static str,
        /// Its index in the slice given.
        index: usize,
        /// What it is.
        value: f32,
    },

    /// A block that no reader can use: a scale, or the value of a plain type, is NaN or infinite.
    #[error("block {block} of {ty}: {what}")]
    InvalidBlock {
        /// The blocks' type.
        ty: GgmlType,
        /// The first such block, counted from 0. For plain types a block is a value.
        block: u64,
        /// What is wrong with it, such as `its scale is NaN`.
        what: &'static str,
    },

    /// A file is no importance matrix, or a broken one.
    #[error("{}{message}", at(offset))]
    Imatrix {
        /// Where, in bytes from its start, where that is known.
        offset: Option<u64>,
        /// What is wrong, in which tensor, and what would be right.
        message: String,
    },

    /// Whoever was told of the progress asked to stop.
    #[error("interrupted")]
    Interrupted,

    /// A safetensors file, or a file that describes its model, breaks a rule.
    #[error("{}{}{message}", in_file(file), at(offset))]
    Safetensors {
        /// Its path, where it was opened by one.
        file: Option<String>,
        /// Where, in bytes from its start, where that is known.
        offset: Option<u64>,
        /// What is wrong, in which tensor or key, and what would be right.
        message: String,
    },

    /// A file or folder may not be written where it is asked for: see [`Inputs`](crate::Inputs).
    #[cfg(feature = "std")]
    #[error("'{}' {problem}", output.display())]
    Output {
        /// The path as the caller wrote it.
        output: PathBuf,
        /// What is in the way.
        problem: OutputProblem,
    },

    /// A file cannot be written as asked.
    #[error("{problem}")]
    Write {
        /// Why not, with the key or tensor and what would be right.
        problem: WriteProblem,
    },
}

/// The message, and those of its causes.
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

/// An array in a message.
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

/// Names that may have been meant, after a message.
fn is_it(nearest: &[String]) -> String {
    let names: Vec<_> = nearest.iter().map(|name| format!("'{}'", name.escape_debug())).collect();
    if names.is_empty() { String::new() } else { format!("; is it {}?", names.join(" or ")) }
}

/// A byte of a file, before a message.
fn at(offset: &Option<u64>) -> String {
    offset.map_or(String::new(), |offset| format!("byte {offset}: "))
}

/// A file, before a message.
fn in_file(file: &Option<String>) -> String {
    file.as_ref().map_or(String::new(), |file| format!("'{file}': "))
}

impl Error {
    /// An I/O error, with what was being done in the words that follow "cannot": `open 'model.gguf'`.
    #[cfg(feature = "std")]
    pub fn io(action: impl Into<String>, error: io::Error) -> Self {
        Error::Io { action: action.into(), error }
    }

    /// The byte of the file at which the problem lies, where there is one.
    pub fn offset(&self) -> Option<u64> {
        match self {
            Error::Malformed { offset, .. } | Error::Limit { offset, .. } => Some(*offset),
            Error::Imatrix { offset, .. } | Error::Safetensors { offset, .. } => *offset,
            _ => None,
        }
    }
}

/// The part of a header that an error was met in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// The fixed fields at the start.
    Start,
    /// A key-value pair, counted from 0.
    Key {
        /// Its position.
        index: u64,
        /// Its key, once that was read; cut short and ended with `…` where it is longer than 256 bytes.
        key: Option<String>,
    },
    /// A tensor's description or data, counted from 0.
    Tensor {
        /// Its position.
        index: u64,
        /// Its name, once that was read.
        name: Option<String>,
    },
    /// The padding between the header and the tensors' data.
    Padding,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Start => f.write_str("in the start of the header"),
            Place::Key { index, key: None } => write!(f, "in key {index}"),
            Place::Key { index, key: Some(key) } => write!(f, "in key {index} '{}'", key.escape_debug()),
            Place::Tensor { index, name: None } => write!(f, "in tensor {index}"),
            Place::Tensor { index, name: Some(name) } => {
                write!(f, "in tensor {index} '{}'", name.escape_debug())
            }
            Place::Padding => f.write_str("in the padding before the tensors' data"),
        }
    }
}
