//! Read, write, dequantize and quantize GGUF, the file format of language models for llama.cpp, Ollama, LM
//! Studio and most local runtimes.

mod byte_order;
mod codec;
mod container;
mod error;
mod ggml_type;
mod limits;
mod simd;
mod tensor;

pub use byte_order::ByteOrder;
pub use codec::{BlockFormat, Float, dequantize, quantize};
pub use container::{Array, ArrayRef, Value, ValueRef, ValueType};
pub use container::{AtomicFile, DataWriter, Sink, TensorWriter, Writer};
pub use error::{Error, Place, Problem, Result};
pub use ggml_type::GgmlType;
pub use limits::Limits;
pub use tensor::{Shape, Tensor};
