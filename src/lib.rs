//! Read, write, dequantize and quantize GGUF, the file format of language models for llama.cpp, Ollama, LM
//! Studio and most local runtimes.

#![deny(missing_docs)]

mod byte_order;
mod codec;
mod container;
mod error;
mod ggml_type;
mod limits;
mod model;
mod simd;
mod tensor;

pub use byte_order::ByteOrder;
pub use codec::formats::*;
pub use codec::{BlockFormat, Float, dequantize, dequantize_with, quantize, quantize_with};
#[cfg(feature = "rayon")]
pub use codec::{par_dequantize, par_quantize};
#[cfg(feature = "mmap")]
pub use container::Mapped;
pub use container::{
    Array, ArrayIter, ArrayIterAs, ArrayRef, AtomicFile, DataWriter, Element, FromValue, Gguf, GgufOptions,
    HeaderParser, Metadata, MetadataIter, Progress, Sink, TensorInfo, TensorIter, TensorWriter, Value,
    ValueRef, ValueType, Writer,
};
pub use error::{Error, Place, Problem, Result};
pub use ggml_type::GgmlType;
pub use limits::Limits;
pub use model::{FileType, QUANTIZATION_VERSION};
pub use simd::Isa;
pub use tensor::{Plain, Shape, Tensor, TypedTensor};
