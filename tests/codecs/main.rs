//! Block formats: the same bits as ggml's, on every instruction set, in both directions.

#![cfg(feature = "codecs")]

#[path = "../common/mod.rs"]
mod common;
#[cfg(feature = "compute")]
mod compute;
mod docs;
mod golden;
mod parity;
#[cfg(feature = "compute")]
mod products;
mod promises;
// Comparison with ggml, which is loaded as a library.
#[cfg(not(target_family = "wasm"))]
mod validate;
