//! Writing GGUF: stages, atomic files, copies without a change, and the same bytes as gguf-py.

#![cfg(feature = "codecs")]

mod atomic;
#[path = "../common/mod.rs"]
mod common;
mod copies;
mod gguf_py;
mod properties;
mod stages;
mod streams;
