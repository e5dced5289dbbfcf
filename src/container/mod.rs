//! The file: its header, its metadata and its table of tensors.

mod array;
mod atomic;
mod cursor;
mod encode;
mod from_value;
mod gguf;
mod header;
mod incremental;
#[cfg(any(unix, windows))]
mod indexed;
mod kernel_copy;
mod layout;
#[cfg(feature = "mmap")]
#[allow(unsafe_code, reason = "the call that maps a file")]
mod mapped;
mod metadata;
mod name_index;
mod options;
#[cfg(any(unix, windows))]
pub(crate) mod patch;
mod read_at;
mod shards;
mod stale;
mod tensor_info;
mod value;
mod writer;

pub use array::{ArrayElement, ArrayIter, ArrayIterAs, ArrayRef};
pub use atomic::{AtomicFile, StagedFile};
pub use from_value::FromValue;
pub use gguf::Gguf;
pub use incremental::{HeaderParser, HeaderProgress};
#[cfg(any(unix, windows))]
pub(crate) use indexed::Indexed;
#[cfg(feature = "mmap")]
pub use mapped::Mapped;
pub use metadata::{Metadata, MetadataIter};
pub use options::GgufOptions;
pub use read_at::ReadAt;
pub use shards::{ShardPaths, ShardPlan, ShardedGguf, ShardedTensorIter};
pub use tensor_info::{TensorInfo, TensorIter};
pub use value::{Array, Value, ValueRef, ValueType};
pub use writer::{DataWriter, Sink, TensorWriter, Writer};
