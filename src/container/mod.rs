//! The file: its header, its metadata and its table of tensors.

mod atomic;
mod encode;
mod layout;
mod value;
mod writer;

pub use atomic::AtomicFile;
pub use value::{Array, ArrayRef, Value, ValueRef, ValueType};
pub use writer::{DataWriter, Sink, TensorWriter, Writer};
