//! [`ParseProblem`]: why a text, an id or a value cannot be parsed.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::problem::Problem;

/// Why a text, an id or a value cannot be parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseProblem {
    /// No type has this id.
    #[error("{0}")]
    Id(Problem),
    /// Nothing has this name.
    #[error("no {what} is named '{}'; there are {}", name.escape_debug(), known.join(", "))]
    Name {
        /// The kind of name.
        what: Named,
        /// The name, shortened if it is long.
        name: String,
        /// The valid names.
        known: Vec<&'static str>,
    },
    /// A type has too many nested arrays.
    #[error("arrays are nested {found} deep, and may be {most} at most")]
    Depth {
        /// The depth.
        found: usize,
        /// The maximum depth.
        most: u32,
    },
    /// A text is not a part, such as `2/8`.
    #[error(
        "part '{}' cannot be: it must be k/N, such as 2/8, with k from 1 to N and N at most {}",
        text.escape_debug(),
        u16::MAX
    )]
    Part {
        /// The text.
        text: String,
    },
    /// A text is not UTF-8.
    #[error("byte {at}: not UTF-8")]
    Utf8 {
        /// The first byte that is not.
        at: usize,
    },
    /// A text or a value is not valid for a metadata type.
    #[error("{message}")]
    Value {
        /// What is wrong with it, in which element, and what would be correct.
        message: String,
    },
    /// A line in a file of measurements is invalid.
    #[error("line {line} of the measurements: {message}")]
    Measurement {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        message: String,
    },
    /// A line in a file of sensitivities is invalid.
    #[error("line {line} of the sensitivities: {message}")]
    Sensitivity {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        message: String,
    },
}

/// The kind of name that was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Named {
    /// A [`GgmlType`](crate::GgmlType).
    TensorType,
    /// A [`ValueKind`](crate::ValueKind).
    ValueType,
    /// A [`FileType`](crate::model::FileType).
    FileType,
    /// A [`Recipe`](crate::model::Recipe).
    Recipe,
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Named::TensorType => "tensor type",
            Named::ValueType => "value type",
            Named::FileType => "file type",
            Named::Recipe => "recipe",
        })
    }
}
