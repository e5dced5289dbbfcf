//! Block formats: the same bits as ggml's, on every instruction set, in both directions.

mod codec;
#[path = "../common/mod.rs"]
mod common;
mod docs;
mod golden;
mod parity;
mod validate;
