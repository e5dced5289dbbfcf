//! The names of temporary files and folders, by which other processes find those of a writer that died.

use std::ffi::{OsStr, OsString};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::file::checksum::Checksum;

/// Returns a number that is unique among the files and folders of this process.
pub(super) fn next_number() -> u64 {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    COUNTER.fetch_add(1, Ordering::Relaxed)
}

/// Returns `.NAME.PID-N.tmp`.
pub(super) fn temporary_name(name: &OsStr, number: u64) -> OsString {
    format!("{}{}-{number}.tmp", temporary_start(name), process_id()).into()
}

/// WebAssembly has no processes, and asking for the id panics. If a name is taken, the next one is tried.
pub(super) fn process_id() -> u32 {
    if cfg!(target_family = "wasm") { 0 } else { std::process::id() }
}

/// Returns the start of the temporary names of a target: `.NAME.`, short enough that the whole stays within the 255 bytes
/// that file systems allow. It is unique per target: if a name is cut or is not Unicode, a hash of all of it follows.
pub(super) fn temporary_start(name: &OsStr) -> String {
    const MAX_NAME_BYTES: usize = 200;
    const CUT_BYTES: usize = 180;
    if let Some(name) = name.to_str().filter(|name| name.len() <= MAX_NAME_BYTES) {
        return format!(".{name}.");
    }
    // Other processes must compute the same hash.
    let mut hash = Checksum::new();
    hash.add(name.as_encoded_bytes());
    let hash = hash.value();
    let name = name.to_string_lossy();
    let end = (0..=name.len().min(CUT_BYTES)).rev().find(|&end| name.is_char_boundary(end)).unwrap_or(0);
    format!(".{}~{hash:016x}.", &name[..end])
}

/// Splits `.NAME.PID-N.tmp` into its start, `.NAME.`, and PID. Returns `None` for any other name.
pub(super) fn parts(name: &str) -> Option<(&str, &str)> {
    let rest = name.strip_suffix(".tmp")?;
    let (start, numbers) = rest.split_at(rest.rfind('.')? + 1);
    let (process, number) = numbers.split_once('-')?;
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    (start.starts_with('.') && start.len() > 2 && is_number(process) && is_number(number))
        .then_some((start, process))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_names_are_cut_at_a_character_and_stay_different() {
        let name = |name: &str| temporary_name(name.as_ref(), u64::MAX).into_string().unwrap();
        assert!(name("model.gguf").starts_with(".model.gguf."));
        let long = name(&format!("a{}", "é".repeat(127)));
        assert!(long.len() <= 255 && long.contains("éé~"), "{long:?}");
        for length in 150..=235 {
            let shard =
                |n: u32| temporary_start(format!("{}-{n:05}-of-00130.gguf", "p".repeat(length)).as_ref());
            assert_ne!(shard(1), shard(2), "{length}");
        }
        #[cfg(unix)]
        {
            use std::os::unix::ffi::OsStrExt;
            let start = |bytes: &[u8]| temporary_start(OsStr::from_bytes(bytes));
            assert_ne!(start(b"a\xfe"), start(b"a\xff"));
        }
    }
}
