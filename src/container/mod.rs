//! The file: its header, its metadata and its table of tensors.

mod layout;
mod value;

pub use value::{Array, ArrayRef, Value, ValueRef, ValueType};
