//! The file that an error is about, if it was opened by its path.

use alloc::format;
use alloc::string::String;
#[cfg(feature = "std")]
use std::path::Path;

#[cfg(feature = "std")]
use super::Error;

/// Names the file at the start of a message.
pub(super) fn in_file(file: &Option<String>) -> String {
    file.as_ref().map_or(String::new(), |file| format!("'{file}': "))
}

#[cfg(feature = "std")]
impl Error {
    /// Names the file that is malformed, or beyond the limits.
    pub(crate) fn of(mut self, path: &Path) -> Self {
        if let Some(file) = self.file() {
            file.get_or_insert_with(|| path.display().to_string());
        }
        self
    }

    /// The same error, for a message that names the file otherwise.
    pub(crate) fn without_file(mut self) -> Self {
        if let Some(file) = self.file() {
            *file = None;
        }
        self
    }

    fn file(&mut self) -> Option<&mut Option<String>> {
        match self {
            Error::Malformed { file, .. } | Error::Limit { file, .. } | Error::Imatrix { file, .. } => {
                Some(file)
            }
            _ => None,
        }
    }
}
