//! [`Measured`]: what has a wrong length.

use core::fmt;

/// What has a wrong length: see [`Error::Length`](super::Error::Length).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Measured {
    /// Activations, in values.
    Activations,
    /// Blocks that are read, in bytes.
    Blocks,
    /// A code, in bits.
    CodeBits,
    /// A column of activations, in values.
    Column,
    /// The shape of a tensor of experts, in dimensions.
    ExpertDimensions,
    /// The rows of all experts' weights.
    ExpertRows,
    /// A list of experts.
    Experts,
    /// The rest of a GGUF whose bytes have changed, in bytes.
    GgufBytes,
    /// A group of an affine scheme, in values.
    Group,
    /// Importance weights, one for each value of a row.
    Importance,
    /// A row that must be in memory at once.
    InMemory,
    /// A file or buffer, in bytes.
    InputBytes,
    /// Input values.
    InputValues,
    /// An integer of an affine scheme, in bits.
    IntegerBits,
    /// A list of layers.
    Layers,
    /// Output blocks, in bytes.
    OutputBytes,
    /// Output values.
    OutputValues,
    /// Packed codes, in bytes.
    PackedBytes,
    /// The percentile of a calibration.
    Percentile,
    /// The end of a part of a tensor that is to be read, in bytes.
    ReadEnd,
    /// Values after quantization and dequantization.
    Restored,
    /// A row, in values.
    Row,
    /// A range of rows.
    RowRange,
    /// Scales of an affine tensor.
    Scales,
    /// A list of shards.
    Shards,
    /// The distance between columns of a product, in values.
    Stride,
    /// A tensor's data, in bytes.
    TensorBytes,
    /// A tensor, in values.
    TensorValues,
    /// Values that are compared or quantized.
    Values,
    /// The weights of a matrix, in bytes.
    WeightBytes,
    /// Zero points of an affine tensor.
    ZeroPoints,
    /// A key of a layer, in numbers.
    LayerKey,
    /// A value of a layer, in numbers.
    LayerValue,
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Measured::Activations => "the activations, in values,",
            Measured::Blocks => "the slice of blocks, in bytes,",
            Measured::CodeBits => "a code, in bits,",
            Measured::Column => "a column of the activations, in values,",
            Measured::ExpertDimensions => "the shape of experts, in dimensions,",
            Measured::ExpertRows => "the experts' weights, in rows,",
            Measured::Experts => "the list of experts",
            Measured::GgufBytes => "what is left of the GGUF, in bytes,",
            Measured::Group => "a group, in values,",
            Measured::Importance => "the importance, in weights,",
            Measured::InMemory => "a row that has to be in memory at once",
            Measured::InputBytes => "the input, in bytes,",
            Measured::InputValues => "the input, in values,",
            Measured::IntegerBits => "an integer, in bits,",
            Measured::Layers => "the list of layers",
            Measured::OutputBytes => "the output, in bytes,",
            Measured::OutputValues => "the output, in values,",
            Measured::PackedBytes => "the packed codes, in bytes,",
            Measured::Percentile => "the percentile",
            Measured::ReadEnd => "the end of what is read of a tensor, in bytes,",
            Measured::Restored => "the slice of restored values",
            Measured::Row => "the row, in values,",
            Measured::RowRange => "the range of rows",
            Measured::Scales => "the scales",
            Measured::Shards => "the list of shards",
            Measured::Stride => "the stride, in values,",
            Measured::TensorBytes => "the tensor's data, in bytes,",
            Measured::TensorValues => "the tensor, in values,",
            Measured::Values => "the values",
            Measured::WeightBytes => "the weights, in bytes,",
            Measured::ZeroPoints => "the zero points",
            Measured::LayerKey => "a key of a layer",
            Measured::LayerValue => "a value of a layer",
        })
    }
}
