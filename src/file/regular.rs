//! Accepts only regular files. Anything whose end cannot be known is rejected before it is opened.

use std::fs;
use std::io;
#[cfg(any(unix, windows, feature = "safetensors"))]
use std::io::Read;
use std::path::Path;

#[cfg(any(unix, windows, feature = "safetensors"))]
use crate::gguf::layout::to_u64;

/// Advice for a pipe or a device that may contain a GGUF.
pub(crate) const READ_HEADER: &str = "; open it and give it to Gguf::read_header";

/// Rejects anything whose end cannot be known: opening a pipe waits for a writer, and a device may never end.
/// `instead` ends the message.
pub(crate) fn expect_regular(path: &Path, instead: &str) -> io::Result<()> {
    let metadata = fs::metadata(path)?;
    let problem = if metadata.is_dir() {
        "it is a directory".to_owned()
    } else if !metadata.is_file() {
        format!("it is not a regular file{instead}")
    } else {
        return Ok(());
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, problem))
}

/// Reads a regular file of at most `most` bytes.
#[cfg(any(unix, windows, feature = "safetensors"))]
pub(crate) fn read_regular(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let too_long = || {
        let message = format!("the file is longer than {most} bytes");
        io::Error::new(io::ErrorKind::FileTooLarge, message)
    };
    expect_regular(path, "")?;
    let file = fs::File::open(path)?;
    let len = file.metadata()?.len();
    if len > most {
        return Err(too_long());
    }
    let mut bytes = Vec::new();
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    bytes.try_reserve_exact(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
    // It may have grown in the meantime.
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if to_u64(bytes.len()) > most { Err(too_long()) } else { Ok(bytes) }
}

#[cfg(all(test, any(unix, windows)))]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_the_most_it_may_have() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "0123456789").unwrap();
        assert_eq!(read_regular(&path, 10).unwrap(), b"0123456789");
        let error = read_regular(&path, 9).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert!(error.to_string().contains("longer than 9 bytes"), "{error}");
    }
}
