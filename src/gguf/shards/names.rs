//! [`ShardPaths`]: the file names of a sharded model.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// The file names of a sharded model: `PREFIX-00001-of-00003.gguf` and so on, as in llama.cpp.
///
/// Names count from 1. Everything else here counts from 0, like the key `split.no`.
///
/// ```
/// use gguf_codec::ShardPaths;
/// use std::path::Path;
///
/// let paths = ShardPaths::new("models/llama", 3);
/// assert_eq!(paths.path(0), Path::new("models/llama-00001-of-00003.gguf"));
/// assert_eq!(ShardPaths::parse("models/llama-00003-of-00003.gguf"), Some((paths, 2)));
/// assert_eq!(ShardPaths::parse("models/llama.gguf"), None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[doc(alias("llama_split_path", "split_prefix"))]
pub struct ShardPaths {
    prefix: OsString,
    count: u16,
}

impl ShardPaths {
    /// Returns the names of `count` files that begin with `prefix`: a path without the number and without `.gguf`.
    pub fn new(prefix: impl Into<OsString>, count: u16) -> Self {
        ShardPaths { prefix: prefix.into(), count }
    }

    /// Parses a shard's file name. Returns the names of its set and its number in the set, from 0. Returns `None` if the
    /// file is not named like a shard.
    pub fn parse(path: impl AsRef<Path>) -> Option<(Self, u16)> {
        let path = path.as_ref().as_os_str();
        let (_, ending) = path.as_encoded_bytes().split_last_chunk::<ENDING_LEN>()?;
        let (number, count) = numbers(ending)?;
        let prefix = cut(path, ENDING_LEN).filter(|prefix| !prefix.is_empty())?;
        (1..=count).contains(&number).then(|| (ShardPaths { prefix, count }, number - 1))
    }

    /// Returns the path of shard `no`, from 0.
    pub fn path(&self, no: u16) -> PathBuf {
        let mut path = self.prefix.clone();
        path.push(format!("-{:05}-of-{:05}.gguf", u32::from(no) + 1, self.count));
        path.into()
    }

    /// Returns the common prefix of all names.
    pub fn prefix(&self) -> &OsStr {
        &self.prefix
    }

    /// Returns the number of shards.
    pub fn count(&self) -> u16 {
        self.count
    }
}

const ENDING_LEN: usize = "-00001-of-00003.gguf".len();

/// Returns 1 and 3 for `-00001-of-00003.gguf`.
fn numbers(ending: &[u8; ENDING_LEN]) -> Option<(u16, u16)> {
    let number = |digits: &[u8]| -> Option<u16> {
        // `parse` would accept a sign.
        let digits = digits.iter().all(u8::is_ascii_digit).then_some(digits)?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    };
    let rest = ending.strip_prefix(b"-")?.strip_suffix(b".gguf")?;
    let (first, second) = rest.split_at_checked(5)?;
    Some((number(first)?, number(second.strip_prefix(b"-of-")?)?))
}

/// Returns the text without its last bytes, which are ASCII.
#[cfg(unix)]
fn cut(text: &OsStr, bytes: usize) -> Option<OsString> {
    use std::os::unix::ffi::OsStrExt;
    let text = text.as_bytes();
    Some(OsStr::from_bytes(text.get(..text.len().checked_sub(bytes)?)?).to_owned())
}

/// Without `unsafe`, only a Unicode name can be cut here.
#[cfg(not(unix))]
fn cut(text: &OsStr, bytes: usize) -> Option<OsString> {
    let text = text.to_str()?;
    Some(text.get(..text.len().checked_sub(bytes)?)?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_like_a_shard_is_one() {
        let parsed = |path: &str| {
            ShardPaths::parse(path).map(|(paths, no)| (paths.prefix().to_owned(), no, paths.count()))
        };
        assert_eq!(parsed("a-00001-of-00001.gguf"), Some(("a".into(), 0, 1)));
        assert_eq!(parsed("d/a-1-65535-of-65535.gguf"), Some(("d/a-1".into(), 65534, 65535)));
        assert_eq!(parsed("d/-00002-of-00003.gguf"), Some(("d/".into(), 1, 3)));
        for other in [
            "",
            "-00001-of-00001.gguf",
            "a.gguf",
            "a-00000-of-00001.gguf",
            "a-00002-of-00001.gguf",
            "a-00001-of-00000.gguf",
            "a-0001-of-00002.gguf",
            "a-000001-of-00002.gguf",
            "a-+0001-of-00002.gguf",
            "a-00001-of-99999.gguf",
            "a-00001_of-00002.gguf",
            "a-00001-of-00002.GGUF",
            "a-00001-of-00002.gguf.tmp",
            "é0001-of-00002.gguf",
        ] {
            assert_eq!(parsed(other), None, "{other}");
        }
    }

    #[test]
    fn every_name_made_is_read_again() {
        for count in [1, 2, 9, 10, 99_u16, 12_345, 65_535] {
            let paths = ShardPaths::new("some where/model-Q4_K", count);
            for no in [0, count / 2, count - 1] {
                assert_eq!(ShardPaths::parse(paths.path(no)), Some((paths.clone(), no)));
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_name_need_not_be_unicode() {
        use std::os::unix::ffi::OsStrExt;
        let paths = ShardPaths::new(OsStr::from_bytes(b"a\xff/b\xfe"), 2);
        assert_eq!(paths.path(1).as_os_str().as_bytes(), b"a\xff/b\xfe-00002-of-00002.gguf");
        assert_eq!(ShardPaths::parse(paths.path(1)), Some((paths, 1)));
    }
}
