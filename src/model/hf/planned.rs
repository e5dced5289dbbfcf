//! [`Planned`]: a tensor to be written, with what its values are read from.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::composed::{AfterZeros, Floats, InTurns, Shared, Stack, Transposed, value_bytes};
use super::families::Turn;
use super::rows::{RowOrder, Rows};
use crate::byte_order::ByteOrder;
use crate::error::{Error, Result, Shown};
use crate::file::read_at::ReadAt;
use crate::ggml_type::GgmlType;
use crate::model::job::{Job, Origin};
use crate::model::scaled::{Blocks, Scaled};
use crate::safetensors::Dtype;
use crate::tensor::Shape;

pub(super) struct Planned<'a> {
    pub(super) name: String,
    pub(super) source: Source<'a>,
    pub(super) ty: GgmlType,
    /// The shape in safetensors, outermost extent first, where it is not that of the source.
    pub(super) original: Option<Vec<u64>>,
    /// The type in safetensors, where it is not that of `ty`: of bytes, for which `ty` is `I8`.
    pub(super) dtype: Option<Dtype>,
}

pub(super) enum Source<'a> {
    /// As it is in its file.
    File(Origin<'a>),
    /// Made of several tensors when it is read.
    Computed { bytes: Box<dyn ReadAt + 'a>, shape: Shape, ty: GgmlType },
    /// With its rows in another order, or some of them.
    Rows { rows: Rows<'a>, shape: Shape, ty: GgmlType, order: ByteOrder },
    /// Single-precision values that no file has.
    Made(Vec<u8>, Shape),
    /// Times the factors beside it.
    Scaled(Box<Scaled<Source<'a>>>),
}

impl<'a> Source<'a> {
    /// The tensor with the rows of its `heads` in the order that llama.cpp wants, or back.
    pub(super) fn in_heads(self, name: &str, heads: u32, interleave: bool) -> Result<Self> {
        let (shape, ty) = (self.shape(), self.ggml_type());
        // A vector has a row for each value.
        let (rows, row_len) = match shape.dims() {
            [len] => (*len, 1),
            _ => (shape.row_count(), shape.row_len()),
        };
        let head_rows = rows.checked_div(heads.into()).unwrap_or(0);
        let row_bytes = match shape.dims() {
            [_] if ty.is_quantized() => None,
            _ => ty.bytes_for(row_len),
        };
        if shape.element_count() == 0 {
            return Ok(self);
        }
        let fits = head_rows > 0 && head_rows.is_multiple_of(2) && rows.is_multiple_of(heads.into());
        let Some(row_bytes) = row_bytes.filter(|_| fits) else {
            return Err(Error::write(format!(
                "tensor '{}' has {rows} rows, which are not {heads} heads of an even number of rows each",
                Shown(name)
            )));
        };
        let in_heads = match interleave {
            true => RowOrder::Interleaved { group: head_rows },
            false => RowOrder::Halved { group: head_rows },
        };
        let in_rows = |source, offset, order| {
            let rows = Rows { source, offset, row_bytes, order: in_heads };
            Source::Rows { rows, shape, ty, order }
        };
        Ok(match self {
            Source::File(origin) => in_rows(Box::new(origin.source), origin.offset, origin.order),
            Source::Computed { bytes, .. } => in_rows(bytes, 0, ByteOrder::Little),
            Source::Made(bytes, _) => in_rows(Box::new(bytes), 0, ByteOrder::Little),
            Source::Rows { .. } | Source::Scaled(_) => self,
        })
    }

    /// The tensor again, for one of several that are made of it.
    pub(super) fn again(self: &Arc<Self>) -> Source<'a> {
        match &**self {
            Source::File(origin) => Source::File(*origin),
            of => Source::Computed {
                shape: of.shape(),
                ty: of.ggml_type(),
                bytes: Box::new(Shared(self.clone())),
            },
        }
    }

    /// In every group of so many rows, or of single values where `of_values`, these.
    pub(super) fn some_rows(
        self,
        name: &str,
        order: RowOrder,
        of_values: bool,
        shape: Shape,
    ) -> Result<Self> {
        let ty = self.ggml_type();
        let row_len = if of_values { 1 } else { self.shape().row_len() };
        let row_bytes = ty.bytes_for(row_len).filter(|&bytes| bytes > 0);
        let Some(row_bytes) = row_bytes.filter(|_| shape.element_count() > 0) else {
            return Err(unfit(name, "has no rows that can be parted"));
        };
        let source = Box::new(Shared(Arc::new(self)));
        let rows = Rows { source, offset: 0, row_bytes, order };
        Ok(Source::Rows { rows, shape, ty, order: ByteOrder::Little })
    }

    /// Each of its matrices transposed.
    pub(super) fn transposed(self, name: &str, shape: Shape) -> Result<Self> {
        let ty = self.ggml_type();
        let Some(value_bytes) = value_bytes(ty).filter(|_| shape.element_count() > 0) else {
            return Err(unfit(
                name,
                "is transposed in GGUF, which blocks and tensors without values cannot be",
            ));
        };
        let (rows, cols) = (shape.row_len(), shape.dims().get(1).copied().unwrap_or(1));
        let bytes = Transposed::new(Shared(Arc::new(self)), rows, cols, value_bytes)?;
        Ok(Source::Computed { bytes: Box::new(bytes), shape, ty })
    }

    /// Its values in single precision, with something added to each.
    pub(super) fn floats(self: Arc<Self>, add: Option<f32>) -> Self {
        let shape = self.shape();
        let floats = Floats { source: self, add, finite: None };
        Source::Computed { bytes: Box::new(floats), shape, ty: GgmlType::F32 }
    }

    /// Its values in single precision; where one is not finite, an error that names the tensor and the value's place.
    pub(super) fn finite(self, name: &'a str) -> Self {
        let shape = self.shape();
        let floats = Floats { source: Arc::new(self), add: None, finite: Some(name) };
        Source::Computed { bytes: Box::new(floats), shape, ty: GgmlType::F32 }
    }

    /// Tensors whose matrices, or those of one shape whose rows or single values take turns, in single precision.
    pub(super) fn in_turns(name: &str, parts: Vec<Arc<Self>>, turn: Turn) -> Result<Self> {
        if turn == Turn::Matrices {
            return Self::matrices_in_turns(name, parts);
        }
        let of_values = turn == Turn::Values;
        let Some(shape) = parts.first().map(|part| part.shape()) else {
            return Err(unfit(name, "has no parts"));
        };
        let mut dims = shape.dims().to_vec();
        let axis = usize::from(!of_values);
        let count = parts.len() as u64;
        if let Some(extent) = dims.get_mut(axis) {
            *extent = extent.saturating_mul(count);
        }
        let longer = Shape::new(&dims).filter(|_| dims.len() > axis);
        let alike = parts.iter().all(|part| part.shape() == shape);
        let (true, Some(longer)) = (alike && shape.element_count() > 0, longer) else {
            return Err(unfit(name, "is made of tensors that cannot take turns"));
        };
        let piece_bytes = if of_values { 4 } else { 4 * shape.row_len() };
        let part = |part: Arc<Self>| (Shared(Arc::new(part.floats(None))), piece_bytes);
        let bytes = InTurns { parts: parts.into_iter().map(part).collect() };
        Ok(Source::Computed { bytes: Box::new(bytes), shape: longer, ty: GgmlType::F32 })
    }

    /// As one matrix.
    fn matrices_in_turns(name: &str, parts: Vec<Arc<Self>>) -> Result<Self> {
        let wrong = || unfit(name, "is made of tensors whose matrices cannot take turns");
        let (mut rows, mut of_all, mut pieces) = (0u64, None, Vec::new());
        for part in parts {
            let shape = part.shape();
            let [len, own, count] = *shape.dims() else { return Err(wrong()) };
            if *of_all.get_or_insert((len, count)) != (len, count) || shape.element_count() == 0 {
                return Err(wrong());
            }
            rows = rows.checked_add(own).ok_or_else(wrong)?;
            pieces.push((Shared(Arc::new(part.floats(None))), 4 * len * own));
        }
        let (len, count) = of_all.ok_or_else(wrong)?;
        let shape = rows.checked_mul(count).and_then(|rows| Shape::new(&[len, rows])).ok_or_else(wrong)?;
        Ok(Source::Computed { bytes: Box::new(InTurns { parts: pieces }), shape, ty: GgmlType::F32 })
    }

    /// Times the factors beside it, where there are any.
    pub(super) fn scaled(self, scales: Option<Vec<f32>>) -> Self {
        match scales {
            Some(scales) => Source::Scaled(Box::new(Scaled { blocks: self, scales })),
            None => self,
        }
    }

    /// With so many rows of zeros before its own, in single precision.
    pub(super) fn after_zeros(self, name: &str, rows: u64) -> Result<Self> {
        let shape = self.shape();
        let longer = match shape.dims() {
            [row_len, own] => own.checked_add(rows).and_then(|all| Shape::new(&[*row_len, all])),
            _ => None,
        };
        let zeros = shape.row_len().checked_mul(4).and_then(|bytes| bytes.checked_mul(rows));
        let (Some(longer), Some(zeros)) = (longer, zeros) else {
            return Err(unfit(name, "is no matrix that rows can be put before"));
        };
        let bytes = AfterZeros { zeros, source: Shared(Arc::new(Arc::new(self).floats(None))) };
        Ok(Source::Computed { bytes: Box::new(bytes), shape: longer, ty: GgmlType::F32 })
    }

    /// Tensors of one shape, one after the other, in single precision where their types differ.
    pub(super) fn stacked(name: &str, parts: Vec<Arc<Self>>) -> Result<Self> {
        let Some(first) = parts.first() else { return Err(unfit(name, "has no parts")) };
        let shape = first.shape();
        if let Some(other) = parts.iter().find(|part| part.shape() != shape) {
            return Err(unfit(
                name,
                &format!(
                    "is made of tensors of the shapes {:?} and {:?}",
                    shape.dims(),
                    other.shape().dims()
                ),
            ));
        }
        let ty = first.ggml_type();
        let differ = parts.iter().any(|part| part.ggml_type() != ty);
        let count = parts.len() as u64;
        let parts: Vec<_> =
            parts.into_iter().map(|part| if differ { Arc::new(part.floats(None)) } else { part }).collect();
        let ty = if differ { GgmlType::F32 } else { ty };
        let dims: Vec<u64> = shape.dims().iter().copied().chain([count]).collect();
        let part_bytes = ty.bytes_for(shape.element_count()).filter(|&bytes| bytes > 0);
        let (Some(stack), Some(part_bytes)) = (Shape::new(&dims), part_bytes) else {
            return Err(unfit(name, "is made of tensors that are no matrices"));
        };
        let bytes = Stack { parts: parts.into_iter().map(Shared).collect(), part_bytes };
        Ok(Source::Computed { bytes: Box::new(bytes), shape: stack, ty })
    }

    /// The same values in another shape.
    pub(super) fn reshaped(self, shape: Shape) -> Result<Self> {
        let ty = self.ggml_type();
        Ok(match self {
            // In its own byte order.
            Source::File(of) => Source::File(Origin::new(of.source, of.offset, shape, ty, of.order)?),
            of => Source::Computed { bytes: Box::new(Shared(Arc::new(of))), shape, ty },
        })
    }

    pub(super) fn ggml_type(&self) -> GgmlType {
        match self {
            Source::File(origin) => origin.ggml_type(),
            Source::Computed { ty, .. } | Source::Rows { ty, .. } => *ty,
            Source::Made(..) | Source::Scaled(_) => GgmlType::F32,
        }
    }

    pub(super) fn shape(&self) -> Shape {
        match self {
            Source::File(origin) => origin.shape(),
            Source::Computed { shape, .. } | Source::Rows { shape, .. } | Source::Made(_, shape) => *shape,
            Source::Scaled(scaled) => scaled.blocks.shape(),
        }
    }
}

impl Blocks for Source<'_> {
    fn origin(&self) -> Result<Origin<'_>> {
        match self {
            Source::File(origin) => Ok(*origin),
            Source::Computed { bytes, shape, ty } => Origin::new(&**bytes, 0, *shape, *ty, ByteOrder::Little),
            Source::Rows { rows, shape, ty, order } => Origin::new(rows, 0, *shape, *ty, *order),
            Source::Made(bytes, shape) => Origin::new(bytes, 0, *shape, GgmlType::F32, ByteOrder::Little),
            Source::Scaled(scaled) => scaled.origin(),
        }
    }
}

impl Planned<'_> {
    /// The tensor as it is stored in the file that is planned.
    pub(super) fn stored(&self) -> Result<Origin<'_>> {
        let origin = self.source.origin()?;
        if origin.ggml_type() == self.ty {
            return Ok(origin);
        }
        Origin::new(self, 0, origin.shape(), self.ty, ByteOrder::Little)
    }

    pub(super) fn job(&self) -> Result<Job<'_>> {
        Ok(Job::new(&self.name, self.source.origin()?, self.ty))
    }

    /// Values, for counting parameters.
    pub(super) fn element_count(&self) -> u64 {
        self.source.shape().element_count()
    }
}

/// The bytes that the tensor is stored as, made when they are read.
impl ReadAt for Planned<'_> {
    fn fill_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let origin = self.source.origin().map_err(io::Error::other)?;
        if origin.ggml_type() == self.ty {
            return origin.source.fill_at(buffer, origin.offset + offset);
        }
        origin.fill_as(self.ty, buffer, offset, |_, _| {})
    }
}

/// The type that most bytes of matrices are in.
pub(super) fn most(tensors: &[Planned<'_>]) -> Option<GgmlType> {
    let mut bytes: BTreeMap<GgmlType, u128> = BTreeMap::new();
    let matrices =
        tensors.iter().filter(|tensor| tensor.source.shape().dims().len() >= 2 && tensor.dtype.is_none());
    for tensor in matrices {
        *bytes.entry(tensor.ty).or_default() +=
            u128::from(tensor.ty.bytes_for(tensor.element_count()).unwrap_or(u64::MAX));
    }
    bytes.into_iter().max_by_key(|(_, bytes)| *bytes).map(|(ty, _)| ty)
}

/// An error about a tensor from which another cannot be made.
pub(super) fn unfit(name: &str, problem: &str) -> Error {
    Error::write(format!("tensor '{}' {problem}", Shown(name)))
}
