//! [`Planned`]: a tensor to be written, with what its values are read from.

use std::collections::BTreeMap;
use std::io;

use super::rope_rows::RopeRows;
use crate::codec::{dequantize, quantize, swap_byte_order};
use crate::error::{Error, Result, Shown};
use crate::model::scaled::{Blocks, Scaled};
use crate::model::{Job, Origin};
use crate::safetensors::Dtype;
use crate::{ByteOrder, GgmlType, ReadAt, Shape};

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
    /// With its rows in another order.
    Rows { rows: RopeRows<'a>, shape: Shape, ty: GgmlType, order: ByteOrder },
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
        let in_rows = |source, offset, order| {
            let rows = RopeRows { source, offset, row_bytes, head_rows, interleave };
            Source::Rows { rows, shape, ty, order }
        };
        Ok(match self {
            Source::File(origin) => in_rows(Box::new(origin.source), origin.offset, origin.order),
            Source::Computed { bytes, .. } => in_rows(bytes, 0, ByteOrder::Little),
            Source::Made(bytes, _) => in_rows(Box::new(bytes), 0, ByteOrder::Little),
            Source::Rows { .. } | Source::Scaled(_) => self,
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
        if origin.ty == self.ty {
            return Ok(origin);
        }
        Origin::new(self, 0, origin.shape, self.ty, ByteOrder::Little)
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
    fn fill_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        /// Values at a time, whole blocks of every type, for the caches.
        const PART: u64 = 16 * 1024;
        let origin = self.source.origin().map_err(io::Error::other)?;
        if origin.ty == self.ty {
            return origin.source.fill_at(buffer, origin.offset + offset);
        }
        let (block_len, block_bytes) = (self.ty.block_len() as u64, self.ty.block_bytes() as u64);
        let (from_len, from_bytes) = (origin.ty.block_len() as u64, origin.ty.block_bytes() as u64);
        let (mut stored, mut values, mut blocks) = (Vec::new(), Vec::new(), Vec::new());
        while !buffer.is_empty() {
            let first = offset / block_bytes * block_len;
            let within = offset % block_bytes;
            let needed = (within + buffer.len() as u64).div_ceil(block_bytes) * block_len;
            let count = needed.min(PART).min(origin.shape.element_count().saturating_sub(first));
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            stored.resize((count / from_len * from_bytes) as usize, 0);
            values.resize(count as usize, 0.0f32);
            blocks.resize((count / block_len * block_bytes) as usize, 0);
            origin.source.fill_at(&mut stored, origin.offset + first / from_len * from_bytes)?;
            if origin.order == ByteOrder::Big {
                swap_byte_order(origin.ty, &mut stored);
            }
            dequantize(origin.ty, &stored, &mut values).map_err(io::Error::other)?;
            quantize(self.ty, &values, values.len(), None, &mut blocks).map_err(io::Error::other)?;
            let len = (blocks.len() as u64 - within).min(buffer.len() as u64) as usize;
            let (filled, rest) = std::mem::take(&mut buffer).split_at_mut(len);
            filled.copy_from_slice(&blocks[within as usize..within as usize + len]);
            buffer = rest;
            offset += len as u64;
        }
        Ok(())
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
