//! Read, write, dequantize and quantize GGUF, the file format of language models for llama.cpp, Ollama, LM
//! Studio and most local runtimes.
//!
//! A GGUF file is an index over bytes. [`Gguf`] parses it without copying, from a file (`Gguf::open`), a buffer
//! ([`Gguf::parse`]) or the start of a stream (`Gguf::read_header`). [`Metadata`] gives typed values in file order. A
//! [`Tensor`] is a view of blocks that converts to floats on request: all of it, a row, or a range of rows.
//! [`TypedTensor`] gives the blocks themselves. [`Writer`] writes files in stages, and calling them in the wrong order
//! does not compile. [`quantize`] and [`dequantize`] serve tools that hold raw bytes. [`model::Convert`] converts the
//! tensors of a file to other types, [`QuantError`] measures what that costs, and [`Codec`] quantizes on all cores, or in
//! place on weights in training. [`ShardedGguf`] is a model in several files, and [`model`] contains the other operations
//! on whole models: recipes, edits, comparisons.
//!
//! Values and bytes equal those of ggml's reference code, to the bit, on every instruction set. Files are untrusted
//! input. A malformed one returns an [`Error`] that names the byte offset, the key or tensor, and what would be correct.
//! A header cannot cause more memory to be allocated than its own size allows. [`Limits`] bound the rest. All types are `Send`
//! and `Sync`, so that threads can share a model; only the guard `Unfinished` stays on its thread.
//!
//! ```
//! use gguf_codec::blocks::Q8_0;
//! use gguf_codec::{GgmlType, Gguf, Writer};
//!
//! // Write a model of one matrix: two rows of 64 values, quantized on the way.
//! let values: Vec<f32> = (0..128).map(|i| (i as f32 / 10.0).sin()).collect();
//! let mut writer = Writer::new(Vec::new());
//! writer.set_metadata("general.architecture", "llama")?;
//! writer.set_metadata("llama.block_count", 1u32)?;
//! writer.declare_tensor("blk.0.ffn_up.weight", &[64, 2], GgmlType::Q8_0)?;
//! let mut data = writer.write_header()?;
//! let mut tensor = data.begin("blk.0.ffn_up.weight")?;
//! tensor.write_values(&values, None)?;
//! tensor.finish()?;
//! let file: Vec<u8> = data.finish()?;
//!
//! // Read it again.
//! let model = Gguf::parse(&file)?;
//! let layers: u32 = model.metadata().require("llama.block_count")?;
//! let tensor = model.tensor("blk.0.ffn_up.weight")?;
//! let mut row = vec![0.0f32; tensor.row_len()];
//! tensor.row(1)?.dequantize_into(&mut row)?;
//! assert!(layers == 1 && (row[0] - values[64]).abs() < 0.01);
//!
//! // The blocks, without copying.
//! let blocks = tensor.typed::<Q8_0>()?.blocks();
//! assert_eq!((blocks.len(), blocks[0].qs.len()), (4, 32));
//! # Ok::<(), gguf_codec::Error>(())
//! ```
//!
//! # Features
//!
//! - `std` (on by default): files, streams, the [`Writer`], shards, the operations of [`model`] on whole models, and run-time
//!   detection of instruction sets. The other features require it.
//! - `mmap` (on by default): `Gguf::map`, which is `unsafe`, makes tensors slices of a mapped file.
//! - `rayon` (on by default): [`Codec::all_cores`], `Tensor::par_dequantize` and similar functions use all cores, and so do
//!   the writer and [`model::Convert`].
//! - `codecs` (on by default): values. This covers [`quantize`], [`dequantize`] and everything that calls them: the values of
//!   tensors and writers, [`Codec`], [`QuantError`], and in [`model`] [`Convert`](model::Convert), [`Diff`](model::Diff),
//!   [`Survey`](model::Survey), [`Imatrix`](model::Imatrix) and `hf`. Without it no kernel is compiled, and files can still be
//!   read, checked, written from blocks, copied, edited, split and merged.
//! - `compute` (on by default; requires `codecs`): the module `compute`, products with quantized weights, and
//!   `Tensor::matrix`. Its kernels take about as long to compile as all of `codecs`.
//! - `safetensors` (off by default): `safetensors` and `model::hf` read and write Hugging Face models.
//!
//! With `default-features = false` the crate is `no_std`. It needs an allocator and pointer-sized compare-and-swap. The
//! following remain: [`Gguf::parse`] and [`HeaderParser`] with everything they return, [`Tensor`] and [`TypedTensor`],
//! [`ShardPlan`], and the parts of [`model`] that decide without writing, [`Recipe`](model::Recipe) and
//! [`TypePlan`](model::TypePlan). With `codecs` alone there are also every [`Codec`], [`QuantError`] and
//! [`Imatrix::parse`](model::Imatrix::parse). Values and bytes are the same. Codecs use the vector instructions that the build
//! enables (`-C target-feature=+avx2,+f16c`). Name look-ups take logarithmic time, where with `std` they take constant time,
//! because randomly keyed hashes need `std`.

// Tests always use std.
#![cfg_attr(not(any(feature = "std", test)), no_std)]
#![deny(missing_docs, unsafe_code)]

extern crate alloc;

mod arithmetic;
pub mod blocks;
mod byte_order;
#[cfg_attr(
    not(feature = "compute"),
    allow(
        dead_code,
        unused_imports,
        unreachable_pub,
        reason = "kernels are checked, and not all are compiled"
    )
)]
mod codec;
#[cfg(feature = "compute")]
pub mod compute;
mod display;
mod error;
#[cfg(feature = "std")]
mod file;
mod ggml_type;
mod gguf;
mod limits;
#[cfg_attr(
    not(feature = "codecs"),
    allow(dead_code, unused_imports, unreachable_pub, reason = "kernels are checked, and none is compiled")
)]
mod math;
pub mod model;
#[cfg(feature = "safetensors")]
pub mod safetensors;
#[allow(unsafe_code, reason = "intrinsics, each block with its proof")]
#[cfg_attr(
    not(feature = "compute"),
    allow(
        dead_code,
        unused_imports,
        unreachable_pub,
        reason = "kernels are checked, and not all are compiled"
    )
)]
mod simd;
mod tensor;
#[cfg(feature = "std")]
mod write;

pub use byte_order::ByteOrder;
pub use codec::Float;
#[cfg(feature = "codecs")]
pub use codec::affine;
#[cfg(feature = "codecs")]
pub use codec::values::{Codec, QuantError, dequantize, quantize, quantize_blocks};
#[cfg(feature = "std")]
pub use error::OutputProblem;
pub use error::{
    Error, Measured, Named, ParseProblem, Place, Problem, Result, ShardProblem, TensorProblem, WriteProblem,
};
#[cfg(feature = "std")]
pub use file::atomic::{AtomicFile, OutputFolder, StagedFile};
#[cfg(feature = "mmap")]
pub use file::map::{Advice, Mapped};
#[cfg(feature = "std")]
pub use file::read_at::ReadAt;
#[cfg(feature = "std")]
pub use file::sink::Sink;
#[cfg(feature = "std")]
pub use file::{Existing, Inputs, Unfinished, check_in_place, remove_unfinished};
pub use ggml_type::GgmlType;
pub use gguf::{
    Array, ArrayElement, ArrayIter, ArrayIterAs, ArrayRef, ForeignTensor, FromValue, Gguf, GgufOptions,
    HeaderParser, HeaderProgress, Metadata, MetadataIter, ShardPlan, TensorInfo, TensorIter, Value,
    ValueKind, ValueRef, ValueType,
};
#[cfg(feature = "std")]
pub use gguf::{ShardPaths, ShardedGguf, ShardedTensorIter};
/// Half-precision floats from the crate `half`, as which tensors can be read.
pub use half::{bf16, f16};
pub use limits::Limits;
#[cfg(feature = "codecs")]
#[doc(hidden)]
pub use simd::Isa;
pub use tensor::{Plain, Shape, Tensor, TypedTensor};

#[cfg(feature = "std")]
pub use write::{DataWriter, TensorWriter, Writer};

/// Checks that the README's code compiles.
#[cfg(all(doctest, feature = "std", feature = "codecs"))]
#[doc = include_str!("../README.md")]
pub struct Readme;
