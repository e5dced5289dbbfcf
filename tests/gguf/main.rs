//! Reading GGUF: the format's rules, limits and arithmetic, on any bytes.

#![cfg(feature = "codecs")]

mod arithmetic;
mod arrays;
#[path = "../common/mod.rs"]
mod common;
mod container_rules;
mod data_rules;
#[cfg(feature = "std")]
mod errors;
mod foreign;
mod fuzz_seeds;
mod hostile;
mod metadata;
#[cfg(feature = "std")]
mod on_demand;
mod progress;
mod real_files;
mod tensor;
mod values;
