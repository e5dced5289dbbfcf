//! The text files that options name: sensitivities, measurements, names and hashes, with a line for each tensor.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result};

/// The most bytes of such a file. No list of a model's tensors is nearly as long.
const MOST_BYTES: u64 = 64_000_000;

/// Reads a text file.
pub(crate) fn read(path: &Path) -> Result<String> {
    limited(path).with_context(|| format!("cannot read '{}'", path.display()))
}

/// Reads a text file, if there is one.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<String>> {
    match limited(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        text => text.map(Some).with_context(|| format!("cannot read '{}'", path.display())),
    }
}

/// Reads the text of a file, or of standard input.
pub(crate) fn read_all(from: impl Read) -> io::Result<String> {
    let mut text = String::new();
    from.take(MOST_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MOST_BYTES {
        return Err(io::Error::other(format!(
            "it has more than {MOST_BYTES} bytes, so that it is no such file"
        )));
    }
    Ok(text)
}

fn limited(path: &Path) -> io::Result<String> {
    read_all(File::open(path)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endless_files_are_refused() {
        assert_eq!(read_all("a\tb".as_bytes()).unwrap(), "a\tb");
        let longest = io::repeat(b' ').take(MOST_BYTES);
        assert_eq!(read_all(longest).unwrap().len() as u64, MOST_BYTES);
        let error = read_all(io::repeat(b' ')).unwrap_err().to_string();
        assert!(error.contains("more than 64000000 bytes"), "{error}");
    }
}
