//! Converts tensors of a GGUF to those of ndarray and candle, and back.
//!
//!     cargo run --manifest-path examples/bridges/Cargo.toml -- examples/sample.gguf
//!     cargo test --manifest-path examples/bridges/Cargo.toml
//!
//! Both libraries list extents in the opposite order to GGUF: outermost first. A matrix whose GGUF shape is
//! `[columns, rows]` is `[rows, columns]` there, and its values have the same order in memory.

#[allow(dead_code, reason = "to be copied from; the tests use it")]
mod candle;
#[allow(dead_code, reason = "to be copied from; the tests use it")]
mod nd;

use anyhow::{Context, Result};
use gguf_codec::{Gguf, Tensor};

/// A tensor's extents, outermost first.
fn extents(tensor: &Tensor<'_>) -> Result<Vec<usize>> {
    let dims = tensor.shape();
    let extents = dims.dims().iter().rev().map(|&extent| usize::try_from(extent));
    Ok(extents.collect::<Result<_, _>>()?)
}

fn main() -> Result<()> {
    let path = std::env::args().nth(1).context("usage: bridges MODEL.gguf")?;
    let model = Gguf::open(&path)?;
    for info in model.tensors() {
        let tensor = info.tensor()?;
        let array = nd::array(&tensor)?;
        let there = candle::tensor(&tensor, &candle_core::Device::Cpu)?;
        let mean = there.to_dtype(candle_core::DType::F32)?.mean_all()?.to_scalar::<f32>()?;
        println!(
            "{:<28} {:<5} ndarray {:?}, candle {:?}, mean {mean:.6}",
            info.name(),
            info.ggml_type(),
            array.shape(),
            there.shape()
        );
    }
    Ok(())
}
