//! [`Merged`]: a model whose weights have adapters added when they are read.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use super::super::input::Input;
use super::super::job::Origin;
use super::super::scaled::scales;
use super::super::source::Source;
use super::adapter::{Adapter, Delta};
use crate::byte_order::ByteOrder;
use crate::error::{Error, Result};
use crate::file::read_at::ReadAt;
use crate::ggml_type::GgmlType;
use crate::gguf::TensorInfo;
use crate::gguf::index::Gguf;
use crate::gguf::shards::ShardedGguf;
use crate::write::Writer;

pub(super) struct Merged<'a> {
    base: &'a Input,
    /// The base's header, with F32 for what adapters change.
    model: ShardedGguf<Vec<u8>>,
    weights: HashMap<String, Changed<'a>>,
}

/// A weight, and what is added to it.
struct Changed<'a> {
    name: &'a str,
    origin: Origin<'a>,
    deltas: Vec<&'a Delta>,
    /// What values are multiplied by after they were read: one factor, one for each matrix, or none.
    factors: Vec<f32>,
}

impl<'a> Merged<'a> {
    pub(super) fn new(base: &'a Input, adapters: &'a [Adapter]) -> Result<Self> {
        let tensors: Vec<TensorInfo<'a>> = base.tensors().collect();
        let origins = tensors.iter().map(|tensor| Ok((tensor.name(), base.origin(tensor)?)));
        let origins = origins.collect::<Result<Vec<_>>>()?;
        let mut factors = scales(origins.iter().copied())?;
        let mut weights = HashMap::new();
        for (name, origin) in &origins {
            let deltas: Vec<_> = adapters.iter().filter_map(|adapter| adapter.deltas.get(*name)).collect();
            if !deltas.is_empty() {
                let factors = factors.remove(name).unwrap_or_default();
                weights.insert((*name).to_owned(), Changed { name, origin: *origin, deltas, factors });
            }
        }
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        writer.copy_sharded_metadata_from(base.model())?;
        for tensor in &tensors {
            let changes = weights.contains_key(tensor.name());
            let ty = if changes { GgmlType::F32 } else { tensor.ggml_type() };
            writer.declare_tensor(tensor.name(), tensor.shape().dims(), ty)?;
        }
        drop(writer.write_header()?);
        Ok(Merged { base, model: Gguf::read_header(bytes.as_slice())?.into(), weights })
    }

    /// Whether an adapter changes a tensor.
    pub(super) fn changes(&self, name: &str) -> bool {
        self.weights.contains_key(name)
    }
}

impl Source for Merged<'_> {
    type Bytes = Vec<u8>;

    fn model(&self) -> &ShardedGguf<Vec<u8>> {
        &self.model
    }

    fn origin(&self, tensor: &TensorInfo<'_>) -> Result<Origin<'_>> {
        match self.weights.get(tensor.name()) {
            Some(changed) => {
                Origin::new(changed, 0, changed.origin.shape(), GgmlType::F32, ByteOrder::Little)
            }
            None => self.base.origin(&self.base.model().tensor_info(tensor.name())?),
        }
    }

    /// What adapters change is made where it is read.
    fn validate(&self, tensor: &TensorInfo<'_>) -> Result<()> {
        let name = tensor.name();
        if self.changes(name) { Ok(()) } else { self.base.model().tensor(name)?.validate() }
    }

    fn paths(&self) -> impl Iterator<Item = &Path> {
        self.base.paths()
    }
}

impl ReadAt for Changed<'_> {
    fn fill_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let shape = self.origin.shape();
        let row_len = shape.row_len().max(1);
        let rows = shape.dims().get(1).copied().unwrap_or(1).max(1);
        let (mut sums, mut bad) = (Vec::new(), None);
        self.origin.fill_as(GgmlType::F32, buffer, offset, |first, values| {
            let (mut at, mut rest) = (first, &mut *values);
            while !rest.is_empty() {
                let (row, column) = (at / row_len, (at % row_len) as usize);
                let len = rest.len().min(row_len as usize - column);
                let (part, others) = std::mem::take(&mut rest).split_at_mut(len);
                let matrix = (row / rows) as usize;
                // Readers multiply the whole by it.
                let factor = self.factors.get(matrix).or(self.factors.last()).copied().unwrap_or(1.0);
                for delta in &self.deltas {
                    sums.clear();
                    sums.resize(len, 0.0f32);
                    delta.add_row(row as usize, matrix, row_len as usize, column, &mut sums);
                    let scale = delta.scale / factor;
                    part.iter_mut().zip(&sums).for_each(|(value, sum)| *value += scale * sum);
                }
                (at, rest) = (at + len as u64, others);
            }
            let not_finite = values.iter().zip(first..).find(|(value, _)| !value.is_finite());
            bad = bad.or(not_finite.map(|(value, at)| (*value, at)));
        })?;
        let Some((value, at)) = bad else { return Ok(()) };
        Err(io::Error::other(Error::write(format!(
            "tensor '{}': value {at} would be {value} with what adapters add to it",
            self.name.escape_debug()
        ))))
    }
}

impl Delta {
    /// Adds what belongs to a part of a row, without the scale.
    fn add_row(&self, row: usize, matrix: usize, row_len: usize, column: usize, sums: &mut [f32]) {
        let coefficients = self.coefficients.get(row * self.rank..(row + 1) * self.rank).unwrap_or_default();
        let basis = self.basis.chunks_exact(row_len).skip(matrix * self.rank);
        for (coefficient, basis) in coefficients.iter().zip(basis) {
            for (sum, value) in sums.iter_mut().zip(basis.iter().skip(column)) {
                *sum += coefficient * value;
            }
        }
    }
}
