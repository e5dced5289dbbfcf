//! Block formats known at compile time. Each of ggml's types has a marker, such as [`Q4_K`], and a block, such as
//! [`BlockQ4_K`], whose fields are the bytes of a little-endian file. `docs/codecs.md` shows the layout of each.
//!
//! A marker names the format of a [`TypedTensor`](crate::TypedTensor). [`GgmlType`](crate::GgmlType) names it at run time.
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
