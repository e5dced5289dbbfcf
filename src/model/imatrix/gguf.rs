//! The GGUF form: for each tensor `NAME.in_sum2` of columns × matrices and `NAME.counts` of 1 × matrices.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{CHUNK_SIZE, Imatrix, wrong};
use crate::error::Result;
use crate::ggml_type::GgmlType;
use crate::gguf::index::Gguf;
use crate::math;
use crate::tensor::Tensor;

pub(super) const SQUARES: &str = ".in_sum2";
pub(super) const SUMS: &str = ".in_sum";
pub(super) const COUNTS: &str = ".counts";

pub(super) const DATASETS: &str = "imatrix.datasets";
pub(super) const CHUNK_COUNT: &str = "imatrix.chunk_count";
pub(super) const CHUNK_SIZE_KEY: &str = "imatrix.chunk_size";

pub(super) fn parse<B: AsRef<[u8]>>(file: &Gguf<B>) -> Result<Imatrix> {
    let metadata = file.metadata();
    let mut imatrix = Imatrix::new();
    if metadata.contains(DATASETS) {
        // Paths, in whatever encoding a file system had.
        let names = metadata.require_array::<&[u8]>(DATASETS)?;
        imatrix.datasets =
            names.map(|name| Ok(String::from_utf8_lossy(name?).into_owned())).collect::<Result<_>>()?;
    }
    imatrix.chunk_count = metadata.optional(CHUNK_COUNT)?.unwrap_or(0);
    imatrix.chunk_size = metadata.optional(CHUNK_SIZE_KEY)?.unwrap_or(CHUNK_SIZE);
    let mut others = BTreeMap::new();
    for tensor in file.tensors() {
        if let Some(part) = [SUMS, COUNTS].into_iter().find(|part| tensor.name().ends_with(part)) {
            others.insert((tensor.name().strip_suffix(part).unwrap_or_default(), part), tensor);
        }
    }
    for squares in file.tensors() {
        let Some(name) = squares.name().strip_suffix(SQUARES) else { continue };
        let Some(counts) = others.remove(&(name, COUNTS)) else {
            let message = format!("tensor '{}{COUNTS}' is missing", name.escape_debug());
            return Err(wrong(Some(squares.file_offset()), message));
        };
        let activations = others.remove(&(name, SUMS)).map(|sums| values(&sums.tensor()?)).transpose()?;
        let counts = values(&counts.tensor()?)?.into_iter().map(math::round).collect();
        imatrix.add(name, values(&squares.tensor()?)?, counts, activations)?;
    }
    if let Some(((name, part), tensor)) = others.into_iter().next() {
        let message = format!("tensor '{}{part}' has no '{SQUARES}' beside it", name.escape_debug());
        return Err(wrong(Some(tensor.file_offset()), message));
    }
    if imatrix.entries().is_empty() {
        let message = format!("no tensor is called '…{SQUARES}': this is no importance matrix");
        return Err(wrong(None, message));
    }
    Ok(imatrix)
}

fn values(tensor: &Tensor<'_>) -> Result<Vec<f32>> {
    if tensor.ggml_type() == GgmlType::F32 {
        return tensor.dequantize();
    }
    let name = tensor.name().escape_debug();
    Err(wrong(None, format!("tensor '{name}' is {}, and must be F32", tensor.ggml_type())))
}
