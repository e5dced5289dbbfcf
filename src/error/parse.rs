//! [`ParseProblem`]: why a text, an id or a value stands for nothing there is.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::Problem;

/// Why a text, an id or a value stands for nothing there is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseProblem {
    /// No type has this id.
    #[error("{0}")]
    Id(Problem),
    /// Nothing has this name.
    #[error("no {what} is named '{}'; there are {}", name.escape_debug(), known.join(", "))]
    Name {
        /// What was looked for.
        what: Named,
        /// The name, cut short where it is long.
        name: String,
        /// The names there are.
        known: Vec<&'static str>,
    },
    /// A type has too many arrays in arrays.
    #[error("arrays are nested {found} deep, and may be {most} at most")]
    Depth {
        /// How deep they are.
        found: usize,
        /// How deep they may be.
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
    /// A text or a value is not one of a metadata type.
    #[error("{message}")]
    Value {
        /// What is wrong with it, in which element, and what would be right.
        message: String,
    },
    /// A line of sensitivities is not one.
    #[error("line {line} of the sensitivities: {message}")]
    Sensitivity {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        message: String,
    },
}

/// What a name was to be of.
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
