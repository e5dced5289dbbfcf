//! The block formats, one file each, and the one table that finds them by [`GgmlType`](crate::GgmlType).

mod doors;
mod fake_quantize;
mod float;
mod format;
pub(crate) mod formats;
mod grid;
pub(crate) mod operand;
mod pack;
mod quant_error;
mod search;
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
