//! Encoding and decoding of blocks over slices, available with the feature `codecs`. No other module compiles a kernel.

mod api;
mod codec;
mod fake_quantize;
pub(in crate::codec) mod kernels;
mod quant_error;

pub(crate) use api::dequantize_with;
#[cfg(feature = "rayon")]
pub(crate) use api::par_dequantize;
pub use api::{dequantize, quantize, quantize_blocks};
pub use codec::Codec;
pub use quant_error::QuantError;
