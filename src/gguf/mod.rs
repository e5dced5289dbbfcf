//! The GGUF file: its header, its metadata and its tensor table.

mod array;
mod cursor;
pub(crate) mod edit_marker;
#[cfg(feature = "std")]
pub(crate) mod encode;
#[cfg(feature = "std")]
mod file_data;
mod foreign;
mod from_value;
mod header;
#[cfg(feature = "std")]
mod header_at;
pub(crate) mod index;
#[cfg(all(feature = "std", any(unix, windows)))]
mod indexed;
mod kind;
pub(crate) mod layout;
pub(crate) mod metadata;
mod name_index;
#[cfg(feature = "std")]
pub(crate) mod open;
mod options;
mod parser;
pub(crate) mod shards;
mod shown;
mod tensor_info;
mod tensor_iter;
pub(crate) mod value;
pub(crate) mod value_ref;
pub(crate) mod value_type;

pub use array::{ArrayElement, ArrayIter, ArrayIterAs};
pub use foreign::ForeignTensor;
pub use from_value::FromValue;
pub use index::Gguf;
#[cfg(all(feature = "std", any(unix, windows)))]
pub(crate) use indexed::Indexed;
pub use kind::ValueKind;
#[cfg(all(feature = "std", any(unix, windows)))]
pub(crate) use kind::as_integer;
pub use metadata::{Metadata, MetadataIter};
pub use options::GgufOptions;
pub use parser::{HeaderParser, HeaderProgress};
pub use shards::ShardPlan;
#[cfg(feature = "std")]
pub use shards::{ShardPaths, ShardedGguf, ShardedTensorIter};
pub use tensor_info::TensorInfo;
pub use tensor_iter::TensorIter;
pub use value::{Array, Value};
pub use value_ref::{ArrayRef, ValueRef};
pub use value_type::ValueType;
