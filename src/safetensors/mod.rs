//! safetensors, the file format of models on Hugging Face: read from strangers, written as a stream.
//!
//! [`SafeTensors`] is the header of a file, [`Checkpoint`] a model of one or more files in a folder, and [`Writer`] makes
//! files in the stages that [`gguf_codec::Writer`](crate::Writer) has. What becomes of a model's names, metadata and
//! tokenizer between the two formats is [`model::hf`](crate::model::hf)'s.

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
