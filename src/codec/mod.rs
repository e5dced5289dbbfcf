//! The block formats, one file each, and the one table that finds them by [`GgmlType`](crate::GgmlType).

mod crumbs;
mod doors;
mod fake_quantize;
mod float;
mod format;
mod k_scales;
mod nibbles;
mod plain;
mod quant_error;
mod scale_and_min;
mod scale_search;
mod table;
mod validate;

mod q2_k;
mod q3_k;
mod q4_0;
mod q4_1;
mod q4_k;
mod q5_k;
mod q6_k;
mod q8_0;
mod q8_k;

pub use doors::{dequantize, dequantize_with, quantize, quantize_with};
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

table::formats! {
    plain: F32;
    plain: F16;
    plain: BF16;
    plain: F64;
    plain: I8;
    plain: I16;
    plain: I32;
    plain: I64;
    q8_0: Q8_0 as BlockQ8_0;
    q4_0: Q4_0 as BlockQ4_0;
    q4_1: Q4_1 as BlockQ4_1;
    q2_k: Q2_K as BlockQ2_K;
    q3_k: Q3_K as BlockQ3_K;
    q4_k: Q4_K as BlockQ4_K;
    q5_k: Q5_K as BlockQ5_K;
    q6_k: Q6_K as BlockQ6_K;
    q8_k: Q8_K as BlockQ8_K;
}
