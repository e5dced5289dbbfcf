//! [`Problem`] and [`ShardProblem`]: which rule a file breaks, and why it is not the expected shard.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::Error;
use crate::ggml_type::GgmlType;

/// Describes the kind of file that begins with these bytes, and what can be done with it, for the end of a message.
fn known(magic: &[u8; 4]) -> &'static str {
    match magic {
        b"PK\x03\x04" => {
            ": this is a zip archive, such as PyTorch's; a checkpoint must be converted, not opened"
        }
        [0x80, 2..=5, ..] => {
            ": this is a Python pickle, such as PyTorch's; a checkpoint must be converted, not opened"
        }
        b"lmgg" | b"fmgg" | b"tjgg" | b"algg" => {
            ": this is one of ggml's formats before GGUF; convert the original model anew"
        }
        b"gGUF" => {
            ": this is a merge that consumes its shards and was cut off; `Merge::consume` with the same paths finishes it"
        }
        b"vers" => ": this looks like a pointer of Git LFS; `git lfs pull` fetches the file",
        b"<!DO" | b"<!do" | b"<htm" | b"<HTM" => {
            ": this is a web page, as a download gives that was refused or needs a login"
        }
        b"FUGG" => ": this is GGUF's magic backwards; both byte orders have it forwards",
        b"\x89HDF" => ": this is HDF5, such as Keras writes; a checkpoint must be converted, not opened",
        [0x1f, 0x8b, ..] => ": this is compressed with gzip; unpack it",
        b"\x28\xb5\x2f\xfd" => ": this is compressed with zstd; unpack it",
        b"\xfd7zX" => ": this is compressed with xz; unpack it",
        b"BZh1" | b"BZh9" => ": this is compressed with bzip2; unpack it",
        b"7z\xbc\xaf" => ": this is a 7z archive; unpack it",
        [0, 0, 0, 0] => ": zeros, as a download leaves that has not ended",
        [b'{', ..] => ": this looks like JSON",
        [_, _, _, 0] => ": a safetensors file may begin like this, with the length of its header",
        _ => "",
    }
}

/// A rule of the format that a file breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// There are no bytes at all.
    #[error("the file is empty")]
    Empty,
    /// The file does not begin with `GGUF`.
    #[error("the magic is '{}', not 'GGUF'{}", found.escape_ascii(), known(found))]
    Magic {
        /// Its first four bytes.
        found: [u8; 4],
    },
    /// The file begins with the marker of an in-place edit that was interrupted or is still running.
    #[error(
        "an edit in place of this file was cut off, or is going on: `Edit::recover` puts back what it overwrote"
    )]
    UnfinishedEdit,
    /// The version does not exist yet, or is not a version at all.
    #[error("version {found} is unknown; 1, 2 and 3 can be read")]
    Version {
        /// The number, in the byte order in which it is smaller.
        found: u32,
    },
    /// The file ends within a field.
    #[error("the {what} needs {needed} bytes, and {remaining} remain")]
    Truncated {
        /// The field, such as `key's length`.
        what: &'static str,
        /// Bytes needed.
        needed: u64,
        /// Bytes left.
        remaining: u64,
    },
    /// A count is larger than the rest of the file allows.
    #[error("{count} {what} need at least {needed} bytes, and {remaining} remain for them")]
    Count {
        /// What is counted, such as `keys`.
        what: &'static str,
        /// The declared count.
        count: u64,
        /// The fewest bytes that they take.
        needed: u64,
        /// Bytes left for them.
        remaining: u64,
    },
    /// A key is empty.
    #[error("a key is empty")]
    EmptyKey,
    /// A name is not UTF-8.
    #[error("the {what} is not UTF-8")]
    NotUtf8 {
        /// `key` or `tensor's name`.
        what: &'static str,
    },
    /// Two pairs have the same key.
    #[error("the key occurs a second time; key {first} is the same")]
    DuplicateKey {
        /// The position of the first one, from 0.
        first: u64,
    },
    /// The type of a value or of an array's elements does not exist.
    #[error("value type {found} is unknown; there are 0 to 12")]
    ValueType {
        /// The type's number.
        found: u32,
    },
    /// `general.alignment` is of the wrong type.
    #[error("the alignment is of type {found}, and must be u32")]
    AlignmentType {
        /// The type's name.
        found: &'static str,
    },
    /// `general.alignment` is not a power of two.
    #[error("the alignment is {found}, and must be a power of two")]
    Alignment {
        /// Its value, in bytes.
        found: u32,
    },
    /// A tensor's name is too long.
    #[error("the tensor's name is {len} bytes long, and may be 64 at most")]
    NameLength {
        /// Its length in bytes.
        len: u64,
    },
    /// Two tensors have the same name.
    #[error("the tensor's name occurs a second time; tensor {first} has the same")]
    DuplicateTensor {
        /// The position of the first one, from 0.
        first: u64,
    },
    /// A tensor has too many dimensions.
    #[error("the tensor has {found} dimensions, and may have 4 at most")]
    Dimensions {
        /// The number of dimensions.
        found: u32,
    },
    /// A tensor has more elements than ggml can count.
    #[error("the shape {shape:?} has more elements than 63 bits can count")]
    Elements {
        /// Its extents, innermost first.
        shape: Vec<u64>,
    },
    /// The size of a tensor in bytes overflows.
    #[error("the shape {shape:?} in {ty} takes more bytes than 64 bits can count")]
    Bytes {
        /// Its extents, innermost first.
        shape: Vec<u64>,
        /// Its type.
        ty: GgmlType,
    },
    /// The total size of all tensors in bytes overflows.
    #[error("the tensors up to here take more bytes than 64 bits can count")]
    TotalBytes,
    /// A tensor's type is not one of ggml's.
    #[error("tensor type {id} is unknown: ggml has 0 to 42{}", if *id > 96 { ", and ik_llama.cpp others from 97 on" } else { "" })]
    TypeUnknown {
        /// The type's number.
        id: u32,
    },
    /// A tensor's type is one that ggml has removed.
    #[error("tensor type {id} ({name}) was removed from ggml; the file must be made again from its source")]
    TypeRemoved {
        /// The type's number.
        id: u32,
        /// Its former name.
        name: &'static str,
    },
    /// A tensor's rows end within a block.
    #[error("rows of {row_len} values are not whole blocks: {ty} has {} values in a block", ty.block_len())]
    PartialBlock {
        /// Its type.
        ty: GgmlType,
        /// Values in a row.
        row_len: u64,
    },
    /// A tensor's data does not begin where the one before it ends, padded.
    #[error("the tensor's offset is {found}, and must be {expected}, where the tensor before it ends")]
    Offset {
        /// Its offset, in bytes from the start of the data.
        found: u64,
        /// The correct offset.
        expected: u64,
    },
    /// A tensor's data is incomplete.
    #[error("the tensor's data ends at byte {end}, and the file at {file_len}")]
    DataBeyondEnd {
        /// Where it ends, in bytes from the start of the GGUF.
        end: u64,
        /// Where the file ends.
        file_len: u64,
    },
}

/// Why a file is not the shard of a model that it should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShardProblem {
    /// The file does not exist.
    #[error("the shard is missing{}", also(others))]
    Missing {
        /// The numbers of other missing files, from 1, such as `5 to 6, 9`. Empty if there are none.
        others: String,
    },
    /// The file cannot be read, or is malformed.
    #[error("{0:?}")]
    File(Box<Error>),
    /// The first file's path now leads to a different file than when it was opened.
    #[error("the set was replaced while it was opened; open it again")]
    Replaced,
    /// Another GGUF follows the first in its file.
    #[error("another GGUF begins at byte {at}, after the data: shards are merged, and not joined with cat")]
    Joined {
        /// Where it begins.
        at: u64,
    },
    /// The first file's name does not match the number of shards.
    #[error(
        "the file is one of {count} by its key 'split.count', and is not named like the first of them: \
             its name must end with '-00001-of-{count:05}.gguf'"
    )]
    Name {
        /// The number of files by its key `split.count`.
        count: u16,
    },
    /// The file that was opened is not the first.
    #[error("this is shard {} of {count} (its key 'split.no' is {no}); open the first", u32::from(*no) + 1)]
    NotFirst {
        /// Its number, from 0.
        no: u16,
        /// The number of files.
        count: u16,
    },
    /// A key of a shard is missing.
    #[error("the shard has no key '{key}'")]
    MissingKey {
        /// The key.
        key: &'static str,
    },
    /// A key's value does not match the set.
    #[error("key '{key}' is {found}, and must be {wanted}")]
    Key {
        /// The key.
        key: &'static str,
        /// Its value.
        found: i64,
        /// The correct value.
        wanted: i64,
    },
    /// A key has another type than llama.cpp gives it.
    #[error("key '{key}' is of type {found}, and must be {wanted}")]
    KeyType {
        /// The key.
        key: &'static str,
        /// Its type.
        found: &'static str,
        /// The correct type.
        wanted: &'static str,
    },
    /// The declared number of tensors is negative.
    #[error("key 'split.tensors.count' is {tensors}, and cannot be negative")]
    Negative {
        /// The value of `split.tensors.count`.
        tensors: i32,
    },
    /// More files were given than the set has shards.
    #[error("there is one shard too many: by the first one's key 'split.count' there are {count}")]
    Surplus {
        /// The number of shards by the first one's key `split.count`.
        count: u16,
    },
    /// The number of tensors does not match the set's.
    #[error(
        "with this shard there are {found} tensors, and by the key 'split.tensors.count' there are {total} in all"
    )]
    Tensors {
        /// The number of tensors up to this shard.
        found: u64,
        /// The total number of tensors by `split.tensors.count`.
        total: i32,
    },
    /// A tensor is in two shards.
    #[error("tensor '{}' is in {first} already", name.escape_debug())]
    DuplicateTensor {
        /// Its name.
        name: String,
        /// The other shard: its path in quotes, or its number, from 1.
        first: String,
    },
    /// The shard is in another byte order than the first.
    #[error("the shard is in the other byte order than the first")]
    ByteOrder,
    /// The shard specifies another alignment than the first.
    #[error("key 'general.alignment' is {found}, and tensors of the first shard are aligned to {wanted}")]
    Alignment {
        /// Its alignment, in bytes.
        found: u32,
        /// The first one's.
        wanted: u32,
    },
    /// The shard is of another model.
    #[error("'general.architecture' is {found}, and the first shard's is {wanted}")]
    Architecture {
        /// Its `general.architecture`.
        found: String,
        /// The first one's.
        wanted: String,
    },
    /// Memory for an index of all tensors could not be allocated.
    #[error("there is no memory for an index of {found} tensors")]
    TooMany {
        /// The number of tensors.
        found: u64,
    },
}

fn also(others: &str) -> String {
    if others.is_empty() { String::new() } else { format!("; others missing: {others}") }
}
