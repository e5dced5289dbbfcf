//! [`QuantizeReport`]: what quantizing makes of a model.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::codec::values::QuantError;
use crate::ggml_type::GgmlType;
use crate::model::size::Size;
use crate::tensor::Shape;

/// What a tensor becomes.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct QuantizedTensor {
    /// Its name.
    pub name: String,
    /// Its extents, innermost first.
    pub shape: Shape,
    /// Its type before.
    pub from: GgmlType,
    /// And after.
    pub ggml_type: GgmlType,
    /// The type that it would have got if its rows were whole blocks of that.
    pub instead_of: Option<GgmlType>,
    /// Whether the importance matrix weighs its values.
    pub importance: bool,
    /// What was done because the importance matrix lacks it, where its type needs importance; `None` for tensors that do without.
    pub without_importance: Option<MissingImportance>,
    /// How far its values are from what they were, where that was [measured](super::Quantize::measure) and its type is another.
    pub error: Option<QuantError>,
}

impl QuantizedTensor {
    /// Whether it has another type than before.
    pub fn changes(&self) -> bool {
        self.from != self.ggml_type
    }

    /// Returns its size before.
    pub fn size_before(&self) -> Size {
        self.size(self.from)
    }

    /// Returns its size after.
    pub fn size_after(&self) -> Size {
        self.size(self.ggml_type)
    }

    fn size(&self, ty: GgmlType) -> Size {
        let parameters = self.shape.element_count();
        Size { tensors: 1, parameters, bytes: ty.bytes_for(parameters).unwrap_or(0) }
    }
}

/// What becomes of tensors that an importance matrix lacks and whose type needs importance, or is one that llama.cpp asks it for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum MissingImportance {
    /// They are an error, as in llama.cpp.
    #[default]
    Refuse,
    /// All their values count the same.
    Uniform,
    /// They get this type, or stay as they are where their rows are not whole blocks of it.
    Type(GgmlType),
}

/// What a model becomes.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct QuantizeReport {
    /// The tensors in the order in which they are written; of one part, its own.
    pub tensors: Vec<QuantizedTensor>,
    /// Bytes of the files.
    pub bytes: u64,
    /// The files, in their order.
    pub paths: Vec<PathBuf>,
}

impl QuantizeReport {
    /// Returns the size of the tensors before.
    pub fn size_before(&self) -> Size {
        self.tensors.iter().map(QuantizedTensor::size_before).sum()
    }

    /// Returns the size of the tensors after.
    pub fn size_after(&self) -> Size {
        self.tensors.iter().map(QuantizedTensor::size_after).sum()
    }

    /// Returns the sizes of the tensors of each type: those that had it before, and those that have it after.
    pub fn by_type(&self) -> BTreeMap<GgmlType, (Size, Size)> {
        let mut types = BTreeMap::<GgmlType, (Size, Size)>::new();
        for tensor in &self.tensors {
            types.entry(tensor.from).or_default().0 += tensor.size_before();
            types.entry(tensor.ggml_type).or_default().1 += tensor.size_after();
        }
        types
    }
}
