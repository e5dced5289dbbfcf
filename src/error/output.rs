//! [`OutputProblem`]: why an output cannot be written.

use core::fmt;
use std::path::PathBuf;

/// Why a file or folder may not be written at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutputProblem {
    /// It is a file that the same job reads. No option permits that.
    Input {
        /// The input, as the caller wrote it.
        input: PathBuf,
    },
    /// It is a folder that contains a file that the same job reads.
    HoldsInput {
        /// The input, as the caller wrote it.
        input: PathBuf,
    },
    /// It exists, and replacing it was not permitted.
    Exists {
        /// The target if it is a symbolic link. The target need not exist.
        leads_to: Option<PathBuf>,
    },
    /// It is the same file as another output of the job.
    Same {
        /// The other output, as the caller wrote it.
        other: PathBuf,
    },
    /// The output is a folder, and a folder that is not empty exists there. No option permits that.
    NotEmpty,
    /// The output is a folder, and a file exists there.
    NotFolder,
    /// The parent folder does not exist.
    NoParent {
        /// The parent folder.
        parent: PathBuf,
    },
    /// The parent is not a folder.
    ParentNotFolder {
        /// The parent.
        parent: PathBuf,
    },
}

impl fmt::Display for OutputProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OutputProblem::Input { input } => {
                write!(f, "is the input '{}', and no input is overwritten", input.display())
            }
            OutputProblem::HoldsInput { input } => {
                write!(f, "has the input '{}' in it, and no input is overwritten", input.display())
            }
            OutputProblem::Exists { leads_to: None } => f.write_str("exists"),
            OutputProblem::Exists { leads_to: Some(leads_to) } => {
                write!(f, "is a symbolic link, which leads to '{}'", leads_to.display())
            }
            OutputProblem::Same { other } => {
                write!(f, "is the same file as another output, '{}'", other.display())
            }
            OutputProblem::NotEmpty => f.write_str("is a folder that is not empty"),
            OutputProblem::NotFolder => f.write_str("is not a folder"),
            OutputProblem::NoParent { parent } => {
                write!(f, "cannot be created: there is no folder '{}'", parent.display())
            }
            OutputProblem::ParentNotFolder { parent } => {
                write!(f, "cannot be created: '{}' is not a folder", parent.display())
            }
        }
    }
}
