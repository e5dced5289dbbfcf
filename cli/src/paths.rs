//! Paths of files that are neither standard input nor output.

use std::path::{Path, PathBuf};

use clap::builder::{PathBufValueParser, TypedValueParser};

/// Whether a path stands for standard input or output.
pub(crate) fn is_stream(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// A path that must be a file, because it is read or written at several offsets, or together with other files.
pub(crate) fn file() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| match is_stream(&path) {
        true => Err("standard input and output cannot be used here, since a file is read or written at several places; \
                     a file of this name is './-'"),
        false => Ok(path),
    })
}
