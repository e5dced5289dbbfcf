//! The block formats, one file each, and the single table that maps [`GgmlType`](crate::GgmlType) to them.

#[cfg(feature = "codecs")]
pub mod affine;
mod float;
mod format;
pub(crate) mod formats;
mod grid;
mod number;
pub(crate) mod operand;
mod pack;
mod properties;
mod search;
#[cfg(feature = "safetensors")]
pub(crate) mod small_floats;
#[cfg(feature = "codecs")]
mod stores;
mod table;
mod validate;
#[cfg(feature = "codecs")]
pub(crate) mod values;

pub use float::Float;
pub use format::BlockFormat;
pub(crate) use properties::swap_byte_order;
pub(crate) use validate::validate;
#[cfg(all(feature = "codecs", feature = "rayon"))]
pub(crate) use values::par_dequantize;
#[cfg(feature = "codecs")]
pub(crate) use values::{dequantize, dequantize_with};
