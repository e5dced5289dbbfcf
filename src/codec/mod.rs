//! The block formats, one file each, and the one table that finds them by [`GgmlType`](crate::GgmlType).

pub mod affine;
mod doors;
mod fake_quantize;
mod float;
mod format;
pub(crate) mod formats;
mod grid;
mod pack;
mod quant_error;
mod search;
#[cfg(feature = "safetensors")]
pub(crate) mod small_floats;
mod table;
mod validate;

pub use doors::{dequantize, dequantize_with, quantize, quantize_to_vec, quantize_with};
#[cfg(feature = "rayon")]
pub use doors::{par_dequantize, par_quantize};
pub use fake_quantize::{fake_quantize, quantize_measured};
#[cfg(feature = "rayon")]
pub use fake_quantize::{par_fake_quantize, par_quantize_measured};
pub use float::Float;
pub use format::BlockFormat;
pub use quant_error::QuantError;
pub(crate) use table::swap_byte_order;
pub(crate) use validate::validate;
