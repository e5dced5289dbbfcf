//! The rows of the table of tensors, and their totals.

use std::collections::BTreeMap;

use gguf_codec::model::Size;
use gguf_codec::{GgmlType, ShardedGguf};

use crate::numbers::grouped;
use crate::size;

/// A row of the table of tensors; this crate may or may not be able to read the tensor.
pub(super) struct Row<'a> {
    pub(super) name: &'a str,
    pub(super) ty: String,
    pub(super) extents: Vec<u64>,
    pub(super) file_offset: u64,
    pub(super) bytes: Option<u64>,
    pub(super) is_foreign: bool,
}

impl Row<'_> {
    pub(super) fn shape(&self) -> String {
        match self.extents.as_slice() {
            [] => "1".to_owned(),
            extents => extents.iter().map(|&extent| grouped(extent)).collect::<Vec<_>>().join(" × "),
        }
    }

    /// Whether a file of this many bytes ends before the data does.
    pub(super) fn is_cut(&self, len: u64) -> bool {
        self.file_offset.saturating_add(self.bytes.unwrap_or(1)) > len
    }

    pub(super) fn shown_bytes(&self, cut_at: Option<u64>) -> String {
        match (cut_at, self.bytes) {
            (Some(len), _) if self.file_offset >= len => "missing".to_owned(),
            (Some(len), _) if self.is_cut(len) => "cut off".to_owned(),
            (_, None) => "to the end".to_owned(),
            (_, Some(bytes)) => size::shown(bytes),
        }
    }
}

/// All tensors in the order of the files.
pub(super) fn rows<B: AsRef<[u8]>>(model: &ShardedGguf<B>) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    for shard in model.shards() {
        let first = rows.len();
        rows.extend(shard.tensors().map(|tensor| Row {
            name: tensor.name(),
            ty: tensor.ggml_type().to_string(),
            extents: tensor.shape().dims().to_vec(),
            file_offset: tensor.file_offset(),
            bytes: Some(tensor.byte_len()),
            is_foreign: false,
        }));
        rows.extend(shard.foreign_tensors().map(|tensor| Row {
            name: tensor.name(),
            ty: tensor.ggml_type().map_or_else(|| format!("type {}", tensor.type_id()), |ty| ty.to_string()),
            extents: tensor.extents().to_vec(),
            file_offset: tensor.file_offset(),
            bytes: tensor.byte_len(),
            is_foreign: true,
        }));
        rows[first..].sort_by_key(|row| row.file_offset);
    }
    rows
}

pub(super) fn totals(rows: &[Row<'_>]) -> (Size, BTreeMap<(u32, String), Size>) {
    let (mut all, mut by_type) = (Size::default(), BTreeMap::<_, Size>::new());
    // The types in ggml's order, followed by all others.
    let order = |name: &str| name.parse::<GgmlType>().map_or(u32::MAX, GgmlType::id);
    for row in rows {
        let parameters = row.extents.iter().fold(1, |product: u64, &extent| product.saturating_mul(extent));
        let mut size = Size::default();
        (size.tensors, size.parameters, size.bytes) = (1, parameters, row.bytes.unwrap_or(0));
        all += size;
        *by_type.entry((order(&row.ty), row.ty.clone())).or_default() += size;
    }
    (all, by_type)
}
