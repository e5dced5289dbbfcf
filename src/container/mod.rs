//! The file: its header, its metadata and its table of tensors.

mod array;
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
mod kind;
pub(crate) mod layout;
mod metadata;
mod name_index;
#[cfg(feature = "std")]
pub(crate) mod opening;
mod options;
mod shards;
mod shown;
mod tensor_info;
mod value;
#[cfg(feature = "std")]
mod writer;

pub use array::{ArrayElement, ArrayIter, ArrayIterAs, ArrayRef};
pub use foreign::ForeignTensor;
pub use from_value::FromValue;
pub use gguf::Gguf;
pub use incremental::{HeaderParser, HeaderProgress};
#[cfg(all(feature = "std", any(unix, windows)))]
pub(crate) use indexed::Indexed;
pub use kind::ValueKind;
#[cfg(feature = "safetensors")]
pub(crate) use layout::ALIGNMENT_KEY;
pub use metadata::{Metadata, MetadataIter};
pub use options::GgufOptions;
#[cfg(any(all(feature = "std", any(unix, windows)), feature = "safetensors"))]
pub(crate) use shards::SHARD_KEYS;
pub use shards::ShardPlan;
#[cfg(feature = "std")]
pub use shards::{ShardPaths, ShardedGguf, ShardedTensorIter};
pub use tensor_info::{TensorInfo, TensorIter};
pub use value::{Array, Value, ValueRef, ValueType};
#[cfg(feature = "std")]
pub use writer::{DataWriter, TensorWriter, Writer};
#[cfg(all(feature = "std", any(unix, windows)))]
pub(crate) use writer::{Layout, write_around};
