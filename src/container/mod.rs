//! The file: its header, its metadata and its table of tensors.

mod array;
#[cfg(feature = "std")]
pub(crate) mod atomic;
mod cursor;
pub(crate) mod edit_marker;
#[cfg(feature = "std")]
mod encode;
mod foreign;
mod from_value;
mod gguf;
mod header;
mod incremental;
#[cfg(all(feature = "std", any(unix, windows)))]
mod indexed;
#[cfg(feature = "std")]
mod kernel_copy;
mod kind;
pub(crate) mod layout;
#[cfg(feature = "mmap")]
#[allow(unsafe_code, reason = "the call that maps a file")]
mod mapped;
mod metadata;
mod name_index;
#[cfg(feature = "std")]
pub(crate) mod opening;
mod options;
#[cfg(feature = "std")]
mod read_at;
mod shards;
mod shown;
mod tensor_info;
mod value;
#[cfg(feature = "std")]
mod writer;

pub use array::{ArrayElement, ArrayIter, ArrayIterAs, ArrayRef};
#[cfg(feature = "std")]
pub use atomic::{AtomicFile, OutputFolder, StagedFile};
pub use foreign::ForeignTensor;
pub use from_value::FromValue;
pub use gguf::Gguf;
pub use incremental::{HeaderParser, HeaderProgress};
#[cfg(all(feature = "std", any(unix, windows)))]
pub(crate) use indexed::Indexed;
pub use kind::ValueKind;
#[cfg(feature = "safetensors")]
pub(crate) use layout::ALIGNMENT_KEY;
#[cfg(feature = "mmap")]
pub use mapped::Mapped;
pub use metadata::{Metadata, MetadataIter};
#[cfg(all(feature = "safetensors", any(unix, windows)))]
pub(crate) use opening::expect_regular;
#[cfg(feature = "safetensors")]
pub(crate) use opening::read_regular;
pub use options::GgufOptions;
#[cfg(feature = "std")]
pub use read_at::ReadAt;
#[cfg(any(all(feature = "std", any(unix, windows)), feature = "safetensors"))]
pub(crate) use shards::SHARD_KEYS;
pub use shards::ShardPlan;
#[cfg(feature = "std")]
pub use shards::{ShardPaths, ShardedGguf, ShardedTensorIter};
pub use tensor_info::{TensorInfo, TensorIter};
pub use value::{Array, Value, ValueRef, ValueType};
#[cfg(feature = "std")]
pub use writer::{DataWriter, Sink, TensorWriter, Writer};
#[cfg(all(feature = "std", any(unix, windows)))]
pub(crate) use writer::{Layout, write_around};
