//! [`WriteProblem`] and [`TensorProblem`]: why a file cannot be written as asked.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::Error;
use crate::{GgmlType, Shape};

/// Why a file cannot be written as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteProblem {
    /// The version cannot be written.
    #[error("version {found} cannot be written; it must be 2 or 3")]
    Version {
        /// The version asked for.
        found: u32,
    },
    /// A metadata key is empty.
    #[error("a metadata key is empty; it must have at least one byte")]
    EmptyKey,
    /// An array is nested deeper than readers allow.
    #[error(
        "key '{}' has arrays in arrays more than {most} levels deep, which the limits in force do not let read again",
        key.escape_debug()
    )]
    Depth {
        /// The key.
        key: String,
        /// The most levels.
        most: u32,
    },
    /// The alignment is not a power of two in a u32.
    #[error("key 'general.alignment' is {found}, and must be a u32 that is a power of two")]
    Alignment {
        /// The value, or `of type` and its type.
        found: String,
    },
    /// The alignment is beyond what readers allow.
    #[error("key 'general.alignment' is {found}, and the limits in force let at most {most} be read again")]
    AlignmentLimit {
        /// The alignment.
        found: u32,
        /// The most.
        most: u32,
    },
    /// The header is too long.
    #[error("the header is longer than 64 bits can count")]
    HeaderLength,
    /// The file is too long.
    #[error("with tensor '{}' the file is longer than 64 bits can count", tensor.escape_debug())]
    FileLength {
        /// The tensor with which it is.
        tensor: String,
    },
    /// A shard's number is not below the number of shards.
    #[error("a set of {count} shards has no number {index}: they count from 0")]
    ShardIndex {
        /// The number, from 0.
        index: u16,
        /// How many shards there are.
        count: u16,
    },
    /// A set of shards has too many tensors.
    #[error("{found} tensors are too many for shards: key 'split.tensors.count' holds {} at most", i32::MAX)]
    ShardTensors {
        /// How many there are.
        found: u64,
    },
    /// A tensor cannot be declared or written so.
    #[error("tensor '{}' {problem}", tensor.escape_debug())]
    Tensor {
        /// Its name.
        tensor: String,
        /// What is wrong.
        problem: TensorProblem,
    },
    /// The writing of a tensor failed before, so that the file cannot be whole.
    #[error("the file is given up: {why}")]
    Abandoned {
        /// Which tensor it was, and why.
        why: String,
    },
    /// A tensor was begun and not finished, so that the file cannot be whole.
    #[error(
        "the file is given up: tensor '{}' was dropped before its `finish`, after {written} of {bytes} bytes",
        tensor.escape_debug()
    )]
    Dropped {
        /// The tensor.
        tensor: String,
        /// Bytes of it that are written.
        written: u64,
        /// Bytes that it has.
        bytes: u64,
    },
    /// Not every tensor that was declared is written.
    #[error(
        "tensor '{}' was declared and is not written: {missing} of {declared} tensors are missing",
        tensor.escape_debug()
    )]
    Missing {
        /// The first that is not.
        tensor: String,
        /// How many are not.
        missing: usize,
        /// How many were declared.
        declared: usize,
    },
    /// Something else, which has no variant of its own yet.
    #[error("{message}")]
    Other {
        /// The whole message: which key or tensor it is, and what would be right.
        message: String,
    },
}

/// Why a tensor cannot be declared or written so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TensorProblem {
    /// Its name is too long.
    #[error("has a name of {len} bytes, and may have {most} at most")]
    NameLength {
        /// Bytes of the name.
        len: usize,
        /// The most.
        most: u64,
    },
    /// Another tensor has its name.
    #[error("is declared twice, the first time as tensor {first}; names must differ")]
    Duplicate {
        /// The other's number, from 0.
        first: usize,
    },
    /// It has too many dimensions.
    #[error("has {found} dimensions, and may have {} at most", Shape::MAX_DIMS)]
    Dimensions {
        /// How many it has.
        found: usize,
    },
    /// It has more elements than can be counted.
    #[error("has the shape {extents:?}, which is more elements than 63 bits can count")]
    Elements {
        /// Its extents.
        extents: Vec<u64>,
    },
    /// It has more bytes than can be counted.
    #[error("has the shape {shape}, which in {ty} is more bytes than 64 bits can count")]
    Bytes {
        /// Its shape.
        shape: Shape,
        /// Its type.
        ty: GgmlType,
    },
    /// Its rows are not whole blocks of its type.
    #[error(
        "has rows of {row_len} values, which are not whole blocks of {ty}: the first extent must be a multiple of {}",
        ty.block_len()
    )]
    PartialBlock {
        /// Values in a row.
        row_len: u64,
        /// Its type.
        ty: GgmlType,
    },
    /// It was not declared.
    #[error("was not declared before the header was written")]
    Undeclared,
    /// Another is to be written before it.
    #[error("cannot be written yet: '{}' was declared before it and comes first", next.escape_debug())]
    NotNext {
        /// The next tensor.
        next: String,
    },
    /// It is written.
    #[error("is written already")]
    Written,
    /// It was declared as another.
    #[error("is {ty} of shape {shape}, and was declared as {declared_ty} of shape {declared_shape}")]
    Declared {
        /// Its type.
        ty: GgmlType,
        /// Its shape.
        shape: Shape,
        /// The type that was declared.
        declared_ty: GgmlType,
        /// The shape that was declared.
        declared_shape: Shape,
    },
    /// It was given another number of bytes than it has.
    #[error("was given {found} bytes, and {ty} of shape {shape} takes {wanted}")]
    Length {
        /// How many it was given.
        found: u64,
        /// How many it has.
        wanted: u64,
        /// Its type.
        ty: GgmlType,
        /// Its shape.
        shape: Shape,
    },
    /// It was given another number of values than it has.
    #[error("was given {found} values, and its shape {shape} has {}", shape.element_count())]
    Values {
        /// How many it was given.
        found: u64,
        /// Its shape.
        shape: Shape,
    },
    /// It was given more bytes than remain.
    #[error("was given {found} more bytes, and only {remaining} of its {bytes} remain")]
    TooMany {
        /// How many it was given.
        found: u64,
        /// How many remain.
        remaining: u64,
        /// How many it has.
        bytes: u64,
    },
    /// It was finished before all its bytes were written.
    #[error("ends too early: {missing} of its {bytes} bytes are missing")]
    TooFew {
        /// How many are missing.
        missing: u64,
        /// How many it has.
        bytes: u64,
    },
    /// Blocks or rows are to follow a part of one.
    #[error("stands {over} bytes within a {unit} of {unit_bytes}, and must be at its end")]
    Within {
        /// Bytes of the part.
        over: u64,
        /// `block` or `row`.
        unit: &'static str,
        /// Bytes of a whole one.
        unit_bytes: u64,
    },
    /// It was given importance weights of another length than its rows.
    #[error("has rows of {row_len} values, and was given {found} weights")]
    Weights {
        /// Values in a row.
        row_len: usize,
        /// How many weights there are.
        found: usize,
    },
    /// It was given values that are not whole rows.
    #[error("was given {found} values, which are not whole rows of {row_len}")]
    PartialRow {
        /// How many values it was given.
        found: usize,
        /// Values in a row.
        row_len: usize,
    },
    /// Its values cannot be quantized to its type.
    #[error("cannot be written: {0:?}")]
    Quantize(Box<Error>),
}

#[cfg(feature = "std")]
impl WriteProblem {
    /// A problem of a tensor.
    pub(crate) fn tensor(tensor: &str, problem: TensorProblem) -> Self {
        WriteProblem::Tensor { tensor: tensor.into(), problem }
    }

    /// The error. (`From` would leave open what `?` converts to wherever an error's type is inferred.)
    pub(crate) fn error(self) -> Error {
        Error::Write { problem: self }
    }
}

impl Error {
    /// An [`Error::Write`] in words.
    pub(crate) fn write(message: impl fmt::Display) -> Self {
        use alloc::string::ToString;
        Error::Write { problem: WriteProblem::Other { message: message.to_string() } }
    }
}
