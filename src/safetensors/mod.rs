//! safetensors, the model file format of Hugging Face: reading untrusted files, and writing files as a stream.
//!
//! [`SafeTensors`] is the header of a file, [`Checkpoint`] is a model of one or more files in a folder, and [`Writer`]
//! writes files in the same stages as [`gguf_codec::Writer`](crate::Writer). [`model::hf`](crate::model::hf) converts a
//! model's names, metadata and tokenizer between the two formats.

mod checkpoint;
mod dtype;
mod index;
mod json;
pub(crate) mod path;
#[cfg(any(unix, windows))]
mod set;
mod writer;

pub use checkpoint::{Checkpoint, CheckpointTensor};
pub use dtype::Dtype;
#[cfg(feature = "codecs")]
pub(crate) use index::{Extents, folded};
pub use index::{SafeTensors, TensorInfo};
pub(crate) use writer::Kind;
pub use writer::{DataWriter, TensorWriter, Writer};
