//! Files that a checkpoint names or may have beside it.

use std::path::Path;

use crate::error::{Error, Result};
use crate::file::regular::read_regular;

/// Returns `true` if something exists at the path. A dangling link, or a path that cannot be examined, is an error: the file is
/// part of the model, and without it the model would be a different one.
pub(crate) fn exists(path: &Path) -> Result<bool> {
    let looking = |error| Error::io(format!("look at '{}'", path.display()), error);
    match std::fs::symlink_metadata(path) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(looking(error)),
    }
    // Where the link leads.
    std::fs::metadata(path).map_err(looking).map(|_| true)
}

/// Reads a regular file of at most `most` bytes.
pub(crate) fn read_bounded(path: &Path, most: u64) -> Result<Vec<u8>> {
    let reading = |error| Error::io(format!("read '{}'", path.display()), error);
    read_regular(path, most).map_err(|error| match error.kind() {
        std::io::ErrorKind::FileTooLarge => Error::Safetensors {
            file: Some(path.display().to_string()),
            offset: None,
            message: error.to_string(),
        },
        _ => reading(error),
    })
}
