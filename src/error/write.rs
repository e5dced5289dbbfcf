//! [`WriteProblem`] and [`TensorProblem`]: why a file cannot be written as requested.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::Error;
use crate::ggml_type::GgmlType;
use crate::tensor::Shape;

/// Why a file cannot be written as requested.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteProblem {
    /// The version cannot be written.
    #[error("version {found} cannot be written; it must be 2 or 3")]
    Version {
        /// The requested version.
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
        /// The maximum number of levels.
        most: u32,
    },
    /// The alignment is not a power of two in a u32.
    #[error("key 'general.alignment' is {found}, and must be a u32 that is a power of two")]
    Alignment {
        /// The value, or `of type` and its type.
        found: String,
    },
    /// The alignment exceeds what readers allow.
    #[error("key 'general.alignment' is {found}, and the limits in force let at most {most} be read again")]
    AlignmentLimit {
        /// The alignment.
        found: u32,
        /// The maximum.
        most: u32,
    },
    /// The header is too long.
    #[error("the header is longer than 64 bits can count")]
    HeaderLength,
    /// The file is too long.
    #[error("with tensor '{}' the file is longer than 64 bits can count", tensor.escape_debug())]
    FileLength {
        /// The tensor whose data makes it too long.
        tensor: String,
    },
    /// A shard's number is not below the number of shards.
    #[error("a set of {count} shards has no number {index}: they count from 0")]
    ShardIndex {
        /// The number, from 0.
        index: u16,
        /// The number of shards.
        count: u16,
    },
    /// A set of shards has too many tensors.
    #[error("{found} tensors are too many for shards: key 'split.tensors.count' holds {} at most", i32::MAX)]
    ShardTensors {
        /// The number of tensors.
        found: u64,
    },
    /// A tensor cannot be declared or written.
    #[error("tensor '{}' {problem}", tensor.escape_debug())]
    Tensor {
        /// Its name.
        tensor: String,
        /// What is wrong.
        problem: TensorProblem,
    },
    /// Writing a tensor failed earlier, so the file cannot be completed.
    #[error("the file is given up: {why}")]
    Abandoned {
        /// The tensor and the reason.
        why: String,
    },
    /// A tensor was begun and not finished, so the file cannot be completed.
    #[error(
        "the file is given up: tensor '{}' was dropped before its `finish`, after {written} of {bytes} bytes",
        tensor.escape_debug()
    )]
    Dropped {
        /// The tensor.
        tensor: String,
        /// Bytes written.
        written: u64,
        /// Bytes in total.
        bytes: u64,
    },
    /// Not every declared tensor was written.
    #[error(
        "tensor '{}' was declared and is not written: {missing} of {declared} tensors are missing",
        tensor.escape_debug()
    )]
    Missing {
        /// The first missing tensor.
        tensor: String,
        /// The number of missing tensors.
        missing: usize,
        /// The number of declared tensors.
        declared: usize,
    },
    /// Any other problem, which has no variant of its own yet.
    #[error("{message}")]
    Other {
        /// The whole message, with the key or tensor and what would be correct.
        message: String,
    },
}

/// Why a tensor cannot be declared or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TensorProblem {
    /// Its name is too long.
    #[error("has a name of {len} bytes, and may have {most} at most")]
    NameLength {
        /// Bytes of the name.
        len: usize,
        /// The maximum.
        most: u64,
    },
    /// Another tensor has the same name.
    #[error("is declared twice, the first time as tensor {first}; names must differ")]
    Duplicate {
        /// The other tensor's index, from 0.
        first: usize,
    },
    /// It has too many dimensions.
    #[error("has {found} dimensions, and may have {} at most", Shape::MAX_DIMS)]
    Dimensions {
        /// The number of dimensions.
        found: usize,
    },
    /// The number of elements overflows.
    #[error("has the shape {extents:?}, which is more elements than 63 bits can count")]
    Elements {
        /// Its extents.
        extents: Vec<u64>,
    },
    /// The size in bytes overflows.
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
    /// Another tensor must be written first.
    #[error("cannot be written yet: '{}' was declared before it and comes first", next.escape_debug())]
    NotNext {
        /// The next tensor.
        next: String,
    },
    /// It has already been written.
    #[error("is written already")]
    Written,
    /// It was declared with another type or shape.
    #[error("is {ty} of shape {shape}, and was declared as {declared_ty} of shape {declared_shape}")]
    Declared {
        /// Its type.
        ty: GgmlType,
        /// Its shape.
        shape: Shape,
        /// The declared type.
        declared_ty: GgmlType,
        /// The declared shape.
        declared_shape: Shape,
    },
    /// The number of bytes is not the tensor's.
    #[error("was given {found} bytes, and {ty} of shape {shape} takes {wanted}")]
    Length {
        /// The number of bytes given.
        found: u64,
        /// The number of bytes in the tensor.
        wanted: u64,
        /// Its type.
        ty: GgmlType,
        /// Its shape.
        shape: Shape,
    },
    /// The number of values is not the tensor's.
    #[error("was given {found} values, and its shape {shape} has {}", shape.element_count())]
    Values {
        /// The number of values given.
        found: u64,
        /// Its shape.
        shape: Shape,
    },
    /// More bytes were given than remain.
    #[error("was given {found} more bytes, and only {remaining} of its {bytes} remain")]
    TooMany {
        /// The number of bytes given.
        found: u64,
        /// The number of bytes remaining.
        remaining: u64,
        /// The number of bytes in the tensor.
        bytes: u64,
    },
    /// It was finished before all its bytes were written.
    #[error("ends too early: {missing} of its {bytes} bytes are missing")]
    TooFew {
        /// The number of missing bytes.
        missing: u64,
        /// The number of bytes in the tensor.
        bytes: u64,
    },
    /// Whole blocks or rows cannot follow a partial one.
    #[error("stands {over} bytes within a {unit} of {unit_bytes}, and must be at its end")]
    Within {
        /// Bytes of the partial one.
        over: u64,
        /// `block` or `row`.
        unit: &'static str,
        /// Bytes of a whole one.
        unit_bytes: u64,
    },
    /// The number of importance weights is not the length of a row.
    #[error("has rows of {row_len} values, and was given {found} weights")]
    Weights {
        /// Values in a row.
        row_len: usize,
        /// The number of weights.
        found: usize,
    },
    /// The values given are not whole rows.
    #[error("was given {found} values, which are not whole rows of {row_len}")]
    PartialRow {
        /// The number of values given.
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
    /// Creates a problem of a tensor.
    pub(crate) fn tensor(tensor: &str, problem: TensorProblem) -> Self {
        WriteProblem::Tensor { tensor: tensor.into(), problem }
    }

    /// Converts to an [`Error`]. (With `From`, the target of `?` would be ambiguous where an error's type is inferred.)
    pub(crate) fn error(self) -> Error {
        Error::Write { problem: self }
    }
}

impl Error {
    /// Creates an [`Error::Write`] with this message.
    pub(crate) fn write(message: impl fmt::Display) -> Self {
        use alloc::string::ToString;
        Error::Write { problem: WriteProblem::Other { message: message.to_string() } }
    }
}
