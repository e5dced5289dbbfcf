//! [`ExportPlan`]: safetensors files that are planned.

use std::fmt;

use serde_json::json;

use super::planned::Planned;
use crate::error::{Error, Result, Shown};
use crate::file::sink::Sink;
use crate::model::job::Job;
use crate::safetensors::{Dtype, Writer};

/// Safetensors files that are planned.
pub struct ExportPlan<'a> {
    pub(super) metadata: Vec<(String, String)>,
    pub(super) tensors: Vec<Planned<'a>>,
    pub(super) config: Option<String>,
    pub(super) notes: Vec<String>,
}

/// One of the files: some of the tensors.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Shard {
    /// What Hugging Face calls it: `model.safetensors`, or `model-00001-of-00003.safetensors`.
    pub file_name: String,
    /// Which tensors it has, in its order.
    tensors: Vec<usize>,
    /// Whether it carries the metadata.
    first: bool,
    /// Bytes of the tensors' data.
    pub byte_len: u64,
}

impl ExportPlan<'_> {
    /// `config.json` for the model, where its family is known and its metadata complete.
    pub fn config_json(&self) -> Option<&str> {
        self.config.as_deref()
    }

    /// What [`config_json`](Self::config_json) cannot say of the model, a sentence each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Cuts the tensors into files of at most `max_bytes` of data, or of one tensor where that is larger. In a file the order
    /// is that of the GGUF, unless larger values have to come before smaller ones to be aligned.
    pub fn shards(&self, max_bytes: Option<u64>) -> Vec<Shard> {
        let mut cuts: Vec<(Vec<usize>, u64)> = vec![(Vec::new(), 0)];
        for (index, tensor) in self.tensors.iter().enumerate() {
            let bytes = self.bytes(tensor);
            let full = |(tensors, sum): &(Vec<usize>, u64)| {
                !tensors.is_empty() && max_bytes.is_some_and(|most| sum.saturating_add(bytes) > most)
            };
            if cuts.last().is_some_and(full) {
                cuts.push((Vec::new(), 0));
            }
            if let Some((tensors, sum)) = cuts.last_mut() {
                tensors.push(index);
                *sum = sum.saturating_add(bytes);
            }
        }
        let count = cuts.len();
        let shard = |(index, (mut tensors, byte_len)): (usize, (Vec<usize>, u64))| {
            self.align(&mut tensors);
            let file_name = match count {
                1 => "model.safetensors".to_owned(),
                _ => format!("model-{:05}-of-{count:05}.safetensors", index + 1),
            };
            Shard { file_name, tensors, first: index == 0, byte_len }
        };
        cuts.into_iter().enumerate().map(shard).collect()
    }

    /// `model.safetensors.index.json` for several files.
    pub fn index_json(&self, shards: &[Shard]) -> String {
        let total: u128 = shards.iter().map(|shard| u128::from(shard.byte_len)).sum();
        let total = u64::try_from(total).unwrap_or(u64::MAX);
        let mut map = serde_json::Map::new();
        for shard in shards {
            map.extend(
                shard
                    .tensors
                    .iter()
                    .map(|&index| (self.tensors[index].name.clone(), shard.file_name.as_str().into())),
            );
        }
        format!("{:#}\n", json!({ "metadata": { "total_size": total }, "weight_map": map }))
    }

    /// Declares the metadata and tensors of a file.
    ///
    /// # Errors
    /// [`Error::Write`] where two tensors have the same name.
    pub fn declare<S: Sink>(&self, shard: &Shard, writer: &mut Writer<S>) -> Result<()> {
        // Without it, the transformers library does not load the file.
        writer.set_metadata("format", "pt");
        for (key, value) in self.metadata.iter().filter(|_| shard.first) {
            writer.set_metadata(key, value);
        }
        for &index in &shard.tensors {
            let Planned { name, source, ty, original, dtype } = &self.tensors[index];
            let shape: Vec<u64> = match original {
                Some(shape) => shape.clone(),
                None => source.shape().dims().iter().rev().copied().collect(),
            };
            let dtype = dtype.or_else(|| Dtype::from_ggml_type(*ty)).ok_or_else(|| {
                Error::write(format!(
                    "tensor '{}' would be {ty}, which safetensors does not have",
                    Shown(name)
                ))
            })?;
            writer.declare_tensor(name, &shape, dtype)?;
        }
        Ok(())
    }

    /// The tensors of a file for [`Convert`](crate::model::Convert), in the order in which they are declared.
    ///
    /// # Errors
    /// [`Error::Length`] for a tensor whose end cannot be counted.
    pub fn jobs(&self, shard: &Shard) -> Result<Vec<Job<'_>>> {
        shard.tensors.iter().map(|&index| self.tensors[index].job()).collect()
    }

    fn bytes(&self, tensor: &Planned<'_>) -> u64 {
        tensor.ty.bytes_for(tensor.element_count()).unwrap_or(u64::MAX)
    }

    /// Puts tensors of larger values first where one would not lie at a multiple of their size.
    fn align(&self, tensors: &mut [usize]) {
        let mut at = 0u64;
        let aligned = tensors.iter().all(|&index| {
            let tensor = &self.tensors[index];
            let starts = at;
            at = at.saturating_add(self.bytes(tensor));
            starts.is_multiple_of(tensor.ty.block_bytes() as u64)
        });
        if !aligned {
            tensors.sort_by_key(|&index| std::cmp::Reverse(self.tensors[index].ty.block_bytes()));
        }
    }
}

impl fmt::Debug for ExportPlan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExportPlan")
            .field("keys", &self.metadata.len())
            .field("tensors", &self.tensors.len())
            .finish_non_exhaustive()
    }
}
