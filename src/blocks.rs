//! Block formats, known at compile time: for each of ggml's types a marker, such as [`Q4_K`], and the block that it stores,
//! such as [`BlockQ4_K`], whose fields are the bytes of a little-endian file. `docs/codecs.md` shows how each is laid out.
//!
//! A marker names the format of a [`TypedTensor`](crate::TypedTensor); a [`GgmlType`](crate::GgmlType) names it at run time.
//!
//! ```
//! use gguf_codec::Gguf;
//! use gguf_codec::blocks::{BlockQ4_K, Q4_K};
//!
//! # let file = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/sample.gguf"));
//! let model = Gguf::parse(file)?;
//! let tensor = model.tensor("blk.0.ffn_down.weight")?;
//! let blocks: &[BlockQ4_K] = tensor.typed::<Q4_K>()?.blocks();
//! assert_eq!(blocks.len(), tensor.len() / 256);
//! # Ok::<(), gguf_codec::Error>(())
//! ```

pub use crate::codec::BlockFormat;
pub use crate::codec::formats::*;
