//! Affine quantization to integers: `q = round(r / s) + z`, and back `r = (q − z) · s`.
//!
//! This formula underlies GPTQ, AWQ, compressed-tensors, bitsandbytes' 8 bits, quanto, HQQ and torchao. They differ in how codes
//! are packed, which values share a scale, and how scales are found. [`Affine`] contains those choices, [`AffineTensor`] the
//! result, and [`Packing`] the orders of codes in bytes. The import of checkpoints (`model::hf`) decodes them by the same
//! formula.
//!
//! ```text
//! Granularity     Tensor            Row               Group(4)
//!                 ┌─────────┐       ┌─────────┐       ┌────┬────┐
//!                 │ s z     │       │ s z     │       │ s z│ s z│
//!                 │         │       ├─────────┤       ├────┼────┤
//!                 │         │       │ s z     │       │ s z│ s z│
//!                 └─────────┘       └─────────┘       └────┴────┘
//! ```
//!
//! | bits | signed | unsigned | symmetric zero point |
//! |---|---|---|---|
//! | b | −2^(b−1) … 2^(b−1) − 1 | 0 … 2^b − 1 | 0, or 2^(b−1) of unsigned integers |
//!
//! Root mean squared errors for 262,144 normally distributed values with a standard deviation of 1, in rows of 4096 (bits per
//! value include 16-bit scales):
//!
//! | scheme | bits per value | min/max | least squares | a format of GGUF |
//! |---|---|---|---|---|
//! | 8 bits, group 32, symmetric | 8.5 | 0.0053 | 0.0050 | Q8_0, 8.5: 0.0053 |
//! | 4 bits, group 32, symmetric | 4.5 | 0.0954 | 0.0845 | Q4_0, 4.5: 0.0846 |
//! | 4 bits, group 32, with zero points | 4.63 | 0.0801 | 0.0768 | Q4_1, 5: 0.0776 |
//! | 4 bits, group 128, symmetric | 4.13 | 0.1144 | 0.0985 | |
//! | 4 bits, row, symmetric | 4 | 0.1487 | 0.1056 | |
//! | 3 bits, group 64, with zero points | 3.3 | 0.1919 | 0.1734 | Q3_K, 3.44: 0.1493 |
//! | 2 bits, group 32, with zero points | 2.56 | 0.4037 | 0.3322 | Q2_K, 2.63: 0.2943 |
//!
//! ```
//! use gguf_codec::affine::{Affine, Calibration, Granularity, Packing};
//! let values: Vec<f32> = (0..256).map(|i| (i as f32 * 0.37).sin()).collect();
//! let scheme = Affine::new(4).granularity(Granularity::Group(32)).calibration(Calibration::LeastSquares);
//! let tensor = scheme.quantize(&values, 128, None)?;
//! assert_eq!((tensor.scales().len(), tensor.pack(Packing::LowFirst)?.len()), (8, 128));
//!
//! let mut restored = vec![0.0; 256];
//! tensor.dequantize(&mut restored)?;
//! assert!(tensor.error(&values)?.max() < 0.12);
//! # Ok::<(), gguf_codec::Error>(())
//! ```

mod calibrate;
mod packing;
mod quantize;
mod scheme;
mod tensor;

pub use self::packing::Packing;
pub use self::scheme::{Affine, Calibration, Granularity};
pub use self::tensor::AffineTensor;
#[cfg(feature = "safetensors")]
pub(crate) use self::tensor::restore;

#[cfg(test)]
mod tests;
