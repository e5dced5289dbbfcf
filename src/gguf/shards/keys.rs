//! [`ShardKeys`]: a file's metadata about the set of shards that it belongs to.

use crate::error::ShardProblem;
use crate::gguf::index::Gguf;
use crate::gguf::value_ref::ValueRef;

/// u16: the file's number, from 0.
pub(crate) const NO: &str = "split.no";
/// u16: the number of files.
pub(crate) const COUNT: &str = "split.count";
/// i32: the number of tensors in all files together.
pub(crate) const TENSORS: &str = "split.tensors.count";

/// The keys that exist only in a file that is one of several.
pub(crate) const SHARD_KEYS: [&str; 3] = [NO, COUNT, TENSORS];

/// The values of the three keys, if present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ShardKeys {
    pub(super) no: Option<u16>,
    pub(super) count: Option<u16>,
    pub(super) tensors: Option<i32>,
}

impl ShardKeys {
    /// Reads the keys, which must have exactly the types that llama.cpp writes and requires.
    pub(super) fn of<B: AsRef<[u8]>>(file: &Gguf<B>) -> Result<Self, ShardProblem> {
        let metadata = file.metadata();
        let wrong = |key, value: ValueRef<'_>, wanted| {
            Err(ShardProblem::KeyType { key, found: value.tag().name(), wanted })
        };
        let a_u16 = |key| match metadata.get(key) {
            None => Ok(None),
            Some(ValueRef::U16(value)) => Ok(Some(value)),
            Some(value) => wrong(key, value, "u16"),
        };
        let an_i32 = |key| match metadata.get(key) {
            None => Ok(None),
            Some(ValueRef::I32(value)) => Ok(Some(value)),
            Some(value) => wrong(key, value, "i32").map(|_: Option<u16>| None),
        };
        Ok(ShardKeys { no: a_u16(NO)?, count: a_u16(COUNT)?, tensors: an_i32(TENSORS)? })
    }
}
