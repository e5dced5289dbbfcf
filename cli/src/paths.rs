//! Paths of files that are neither standard input nor output.

use std::fs;
use std::path::{Path, PathBuf};

use clap::builder::{PathBufValueParser, TypedValueParser};

use crate::glob;

/// Whether a path stands for standard input or output.
pub(crate) fn is_stream(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// The files whose names match, by name, where a path ends with a pattern and is none itself: the shells of Windows match none. Any other
/// path stays as it is.
pub(crate) fn matching(path: &Path) -> Vec<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let entries = match glob::is_pattern(&name) && !path.exists() {
        true => fs::read_dir(folder.unwrap_or(Path::new("."))).ok(),
        false => None,
    };
    let names = entries.into_iter().flatten().flatten().map(|entry| entry.file_name());
    let matching = names.filter(|other| glob::matches(&name, &other.to_string_lossy()));
    let mut paths: Vec<_> = matching.map(|name| path.with_file_name(name)).collect();
    paths.sort();
    if paths.is_empty() { vec![path.to_owned()] } else { paths }
}

/// A path that must be a file, because it is read or written at several offsets, or together with other files.
pub(crate) fn file() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| match is_stream(&path) {
        true => Err("standard input and output cannot be used here, since a file is read or written at several places; \
                     a file of this name is './-'"),
        false => Ok(path),
    })
}
