//! [`CarriedWeight`]: what became of a weight that another program had quantized.

use crate::ggml_type::GgmlType;

/// What becomes of a weight that another program quantized: an element of
/// [`ImportPlan::carried_weights`](super::ImportPlan::carried_weights).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CarriedWeight {
    /// Its name in the GGUF.
    pub name: String,
    /// The scheme that it is quantized by, such as `GPTQ`.
    pub method: String,
    /// Its type in the GGUF.
    pub ggml_type: GgmlType,
    /// How its values compare with those of the checkpoint.
    pub fidelity: Fidelity,
}

/// How the values of a weight in a GGUF compare with those of its checkpoint.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Fidelity {
    /// Equal: the format has the same codes and scales, or holds each value as it is.
    Exact,
    /// The same codes; scales and minima are rounded to what the format holds.
    ScalesRounded {
        /// The largest relative error of one.
        largest: f32,
    },
    /// Computed, and rounded or quantized to the type. [`Convert::measure`](crate::model::Convert::measure) says how far values
    /// are from what they were.
    Requantized,
}
