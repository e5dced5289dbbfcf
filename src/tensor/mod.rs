//! Views of tensors: [`Tensor`] with its type known at run time, `TypedTensor` at compile time.

mod shape;

pub use shape::Shape;

use crate::{ByteOrder, GgmlType};

/// A tensor's description and its bytes, borrowed from the file.
#[derive(Debug, Clone, Copy)]
pub struct Tensor<'a> {
    name: &'a str,
    shape: Shape,
    ty: GgmlType,
    order: ByteOrder,
    bytes: &'a [u8],
}

impl<'a> Tensor<'a> {
    /// A tensor from parts that the container has checked: `bytes` is as long as `shape` in `ty` takes.
    pub(crate) fn new(name: &'a str, shape: Shape, ty: GgmlType, order: ByteOrder, bytes: &'a [u8]) -> Self {
        debug_assert_eq!(ty.bytes_for(shape.elements()), Some(bytes.len() as u64));
        Tensor { name, shape, ty, order, bytes }
    }

    /// Its name, as in the file.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Its extents, innermost first.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// How its values are stored.
    pub fn ggml_type(&self) -> GgmlType {
        self.ty
    }

    /// The byte order of the numbers in [`bytes`](Self::bytes): the file's.
    pub fn byte_order(&self) -> ByteOrder {
        self.order
    }

    /// Its bytes as in the file, without the padding after them.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}
