//! Blocks into values and back, over slices: what the feature `codecs` adds. No other module compiles a kernel.

mod doors;
mod fake_quantize;
pub(in crate::codec) mod kernels;
mod quant_error;

pub use doors::{dequantize, dequantize_with, quantize, quantize_to_vec, quantize_with};
#[cfg(feature = "rayon")]
pub use doors::{par_dequantize, par_quantize};
pub use fake_quantize::{fake_quantize, quantize_measured};
#[cfg(feature = "rayon")]
pub use fake_quantize::{par_fake_quantize, par_quantize_measured};
pub use quant_error::QuantError;
