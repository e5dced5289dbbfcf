//! Copies bytes from one file to another without passing them through this process.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

/// Whether this system copies between files by itself. [`io::copy`] uses `copy_file_range` on Linux.
pub(super) const IS_THERE: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// File systems that let two files share storage do so for whole blocks, nearly always of this many bytes.
const SHARED_BYTES: u64 = 4096;

/// Opens the same file again, if possible. Copying moves a file's position, which belongs to the holder of the file;
/// the new handle has its own.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn reopen(file: &File) -> Option<File> {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::MetadataExt;
    let identity =
        |file: &File| file.metadata().ok().filter(|its| its.is_file()).map(|its| (its.dev(), its.ino()));
    let identity_here = identity(file)?;
    // Opened by its descriptor and not by its name, which may be that of another file by now.
    let again = File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()?;
    (identity(&again) == Some(identity_here)).then_some(again)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn reopen(_file: &File) -> Option<File> {
    None
}

/// Writes `len` bytes of `source`, starting at `offset`, at the current position of `target`.
pub(crate) fn copy(mut source: File, offset: u64, target: &mut File, len: u64) -> io::Result<()> {
    source.seek(SeekFrom::Start(offset))?;
    let mut left = len;
    let to_boundary = |at: u64| at.next_multiple_of(SHARED_BYTES) - at;
    // Storage can be shared only from where a block begins in both files.
    let before = to_boundary(offset);
    if before > 0 && before == to_boundary(target.stream_position()?) {
        left -= copy_here(&source, target, left.min(before))?;
    }
    copy_here(&source, target, left)?;
    Ok(())
}

fn copy_here(source: &File, target: &mut File, len: u64) -> io::Result<u64> {
    copy_with(source, target, len, |source, target| io::copy(source, target))
}

/// Copies with the given function. If a signal interrupts `copy_file_range`, [`io::copy`] returns without reporting how
/// many bytes it has copied. The positions of the files show that.
fn copy_with(
    mut source: &File,
    target: &mut File,
    len: u64,
    mut copy: impl FnMut(&mut io::Take<&File>, &mut File) -> io::Result<u64>,
) -> io::Result<u64> {
    let (offset, start) = (source.stream_position()?, target.stream_position()?);
    let mut done = 0;
    loop {
        match copy(&mut source.take(len - done), target) {
            Ok(copied) if copied == len - done => return Ok(len),
            Ok(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                done = target.stream_position()?.saturating_sub(start).min(len);
                source.seek(SeekFrom::Start(offset + done))?;
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn places_in_both_files_are_kept_and_the_callers_is_left_alone() {
        let bytes: Vec<u8> = (0..20_000u32).map(|i| (i % 251) as u8).collect();
        let mut source = tempfile::tempfile().unwrap();
        source.write_all(&bytes).unwrap();
        for (offset, before, len) in
            [(0, 0, 20_000), (5, 5, 15_000), (4101, 5, 9000), (5, 4101, 3), (7, 8, 9000), (20_000, 1, 0)]
        {
            let mut target = tempfile::tempfile().unwrap();
            target.write_all(&vec![1; before]).unwrap();
            let again = reopen(&source).unwrap();
            copy(again, offset as u64, &mut target, len as u64).unwrap();
            target.write_all(b"end").unwrap();
            let mut all = Vec::new();
            target.seek(SeekFrom::Start(0)).unwrap();
            target.read_to_end(&mut all).unwrap();
            assert!(
                all == [&vec![1; before], &bytes[offset..offset + len], b"end"].concat(),
                "{offset} {before}"
            );
            assert_eq!(source.stream_position().unwrap(), 20_000);
        }
        let error =
            copy(reopen(&source).unwrap(), 19_000, &mut tempfile::tempfile().unwrap(), 1001).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn interruptions_lose_no_byte_and_repeat_none() {
        let bytes: Vec<u8> = (0..9000u32).map(|i| (i % 251) as u8).collect();
        let mut source = tempfile::tempfile().unwrap();
        source.write_all(&bytes).unwrap();
        for (offset, len) in [(0, 9000), (7, 8000), (8999, 1), (3, 0)] {
            let mut target = tempfile::tempfile().unwrap();
            target.write_all(b"before").unwrap();
            let again = reopen(&source).unwrap();
            (&again).seek(SeekFrom::Start(offset)).unwrap();
            let mut calls = 0;
            let copied = copy_with(&again, &mut target, len, |source, target| {
                calls += 1;
                // Nothing, some, or all was copied when the signal arrived.
                let now = [0, 1, 1000, 4096, u64::MAX][calls.min(4)];
                let copied = io::copy(&mut source.take(now), target)?;
                if calls < 8 { Err(io::ErrorKind::Interrupted.into()) } else { Ok(copied) }
            });
            assert_eq!((copied.unwrap(), calls), (len, 8));
            let mut all = Vec::new();
            target.seek(SeekFrom::Start(0)).unwrap();
            target.read_to_end(&mut all).unwrap();
            assert!(all == [b"before", &bytes[offset as usize..][..len as usize]].concat(), "{offset} {len}");
        }
    }
}
