//! [`Planned`]: a tensor to be written, with what its values are read from.

use std::collections::BTreeMap;

use super::rope_rows::RopeRows;
use crate::error::{Error, Result, Shown};
use crate::model::scaled::{Blocks, Scaled};
use crate::model::{Job, Origin};
use crate::{ByteOrder, GgmlType, Shape};

pub(super) struct Planned<'a> {
    pub(super) name: String,
    pub(super) source: Source<'a>,
    pub(super) ty: GgmlType,
    /// The shape in safetensors, outermost extent first, where it is not that of the source.
    pub(super) original: Option<Vec<u64>>,
}

pub(super) enum Source<'a> {
    /// As it is in its file.
    File(Origin<'a>),
    /// With its rows in another order.
    Rows(RopeRows<'a>, Origin<'a>),
    /// Single-precision values that no file has.
    Made(Vec<u8>, Shape),
    /// Times the factors beside it.
    Scaled(Box<Scaled<Source<'a>>>),
}

impl<'a> Source<'a> {
    /// The tensor with the rows of its `heads` in the order that llama.cpp wants, or back.
    pub(super) fn in_heads(origin: Origin<'a>, name: &str, heads: u32, interleave: bool) -> Result<Self> {
        let shape = origin.shape();
        // A vector has a row for each value.
        let (rows, row_len) = match shape.dims() {
            [len] => (*len, 1),
            _ => (shape.row_count(), shape.row_len()),
        };
        let head_rows = rows.checked_div(heads.into()).unwrap_or(0);
        let row_bytes = match shape.dims() {
            [_] if origin.ty.is_quantized() => None,
            _ => origin.ty.bytes_for(row_len),
        };
        if shape.element_count() == 0 {
            return Ok(Source::File(origin));
        }
        match row_bytes {
            Some(row_bytes)
                if head_rows > 0 && head_rows.is_multiple_of(2) && rows.is_multiple_of(heads.into()) =>
            {
                let rows = RopeRows {
                    source: origin.source,
                    offset: origin.offset,
                    row_bytes,
                    head_rows,
                    interleave,
                };
                Ok(Source::Rows(rows, origin))
            }
            _ => Err(Error::Write {
                message: format!(
                    "tensor '{}' has {rows} rows, which are not {heads} heads of an even number of rows each",
                    Shown(name)
                ),
            }),
        }
    }

    pub(super) fn shape(&self) -> Shape {
        match self {
            Source::File(origin) | Source::Rows(_, origin) => origin.shape(),
            Source::Made(_, shape) => *shape,
            Source::Scaled(scaled) => scaled.blocks.shape(),
        }
    }
}

impl Blocks for Source<'_> {
    fn origin(&self) -> Result<Origin<'_>> {
        match self {
            Source::File(origin) => Ok(*origin),
            Source::Rows(rows, origin) => Origin::new(rows, 0, origin.shape, origin.ty, origin.order),
            Source::Made(bytes, shape) => Origin::new(bytes, 0, *shape, GgmlType::F32, ByteOrder::Little),
            Source::Scaled(scaled) => scaled.origin(),
        }
    }
}

impl Planned<'_> {
    pub(super) fn job(&self) -> Result<Job<'_>> {
        Ok(Job::new(&self.name, self.source.origin()?, self.ty))
    }

    /// Values, for counting parameters.
    pub(super) fn element_count(&self) -> u64 {
        self.source.shape().element_count()
    }
}

/// The type that most bytes of matrices are in.
pub(super) fn most(tensors: &[Planned<'_>]) -> Option<GgmlType> {
    let mut bytes: BTreeMap<GgmlType, u128> = BTreeMap::new();
    for tensor in tensors.iter().filter(|tensor| tensor.source.shape().dims().len() >= 2) {
        *bytes.entry(tensor.ty).or_default() +=
            u128::from(tensor.ty.bytes_for(tensor.element_count()).unwrap_or(u64::MAX));
    }
    bytes.into_iter().max_by_key(|(_, bytes)| *bytes).map(|(ty, _)| ty)
}
