//! [`File`]: which tensors are in which file, and what the file's header says.

use std::iter;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::tasks::{Task, jobs};
use super::{Quantize, Types, refused};
use crate::error::Result;
use crate::file::sink::Sink;
use crate::gguf::shards::ShardPlan;
use crate::gguf::value::Value;
use crate::model::file_type::{FileType, QUANTIZATION_VERSION};
use crate::model::job::Job;
use crate::model::part::Part;
use crate::model::pieces::bytes_of;
use crate::model::source::Source;
use crate::write::Writer;

/// A file that is written.
pub(super) struct File<'t, 'm> {
    pub(super) path: PathBuf,
    pub(super) shard: Option<(u16, u16)>,
    pub(super) tasks: &'t [Task<'m>],
}

impl Quantize<'_> {
    /// The files that are written, with what is in each.
    pub(super) fn files<'t, 'm, S: Source>(
        &self,
        input: &S,
        tasks: &'t [Task<'m>],
        output: &Path,
    ) -> Result<Vec<File<'t, 'm>>> {
        let ways = [self.part.is_some(), self.keep_split, self.max_shard_size.is_some()];
        if ways.into_iter().filter(|&is_asked| is_asked).count() > 1 {
            return refused(
                "one part, the shards of the input, and shards of a size are three ways to divide a model: one of them is possible"
                    .to_owned(),
            );
        }
        let ranges = if let Some(part) = self.part {
            let none = vec![None; tasks.len()];
            vec![part.jobs(&jobs(input, tasks, &none)?)]
        } else if let Some(most) = self.max_shard_size {
            let bytes = tasks.iter().map(|task| task.told().size_after().bytes);
            ShardPlan::by_bytes(bytes, input.model().first().alignment(), most)?.shards().to_vec()
        } else if self.keep_split {
            let start = |shard: usize| tasks.partition_point(|task| task.shard < shard);
            (0..input.model().shards().len()).map(|shard| start(shard)..start(shard + 1)).collect()
        } else {
            iter::once(0..tasks.len()).collect()
        };
        let names = self.names(ranges.len(), output)?;
        let file = |((path, part), range): ((PathBuf, Option<Part>), Range<usize>)| File {
            path,
            shard: part.map(|part| (part.no(), part.count())),
            tasks: &tasks[range],
        };
        Ok(names.into_iter().zip(ranges).map(file).collect())
    }

    /// The names of so many files, and which part of the model each is, where it is not all.
    pub(super) fn names(&self, files: usize, output: &Path) -> Result<Vec<(PathBuf, Option<Part>)>> {
        let count = u16::try_from(files).unwrap_or(u16::MAX);
        let parts = match self.part {
            Some(part) => vec![part],
            None if count > 1 => (0..count).map(|no| Part::new(no, count)).collect::<Result<_>>()?,
            None => return Ok(vec![(output.to_owned(), None)]),
        };
        Ok(parts.into_iter().map(|part| (part.path(output), Some(part))).collect())
    }

    /// Says what will be in a file: the model's keys, with those that quantizing changes, and the jobs' tensors.
    pub(super) fn declare<W: Sink, S: Source>(
        &self,
        mut writer: Writer<W>,
        input: &S,
        file: &File<'_, '_>,
        jobs: &[Job<'_>],
        tasks: &[Task<'_>],
    ) -> Result<Writer<W>> {
        writer.copy_sharded_metadata_from(input.model())?;
        let is_uniform = matches!(self.types, Types::Uniform(_));
        let file_type = match &self.types {
            Types::Recipe(recipe) => Some(recipe.file_type().id()),
            Types::Like(_, file_type) => *file_type,
            // Where nothing got the type, the model is what it was.
            Types::Uniform(ty) => {
                FileType::mostly(*ty).filter(|_| tasks.iter().any(Task::changes)).map(FileType::id)
            }
        };
        let mut keys = Vec::new();
        if file_type.is_some() || !is_uniform {
            keys.push(("general.quantization_version", Value::from(QUANTIZATION_VERSION)));
        }
        keys.extend(file_type.map(|id| ("general.file_type", Value::from(id))));
        if let Some(imatrix) = self.imatrix {
            keys.extend(self.imatrix_name.as_ref().map(|name| ("quantize.imatrix.file", name.into())));
            keys.extend(imatrix.datasets.first().map(|name| ("quantize.imatrix.dataset", name.into())));
            let entries = u32::try_from(imatrix.entries().len()).unwrap_or(u32::MAX);
            keys.push(("quantize.imatrix.entries_count", entries.into()));
            let chunks = Some(imatrix.chunk_count).filter(|&chunks| chunks > 0);
            keys.extend(chunks.map(|chunks| ("quantize.imatrix.chunks_count", chunks.into())));
        }
        for (key, value) in keys {
            // At the end, where llama.cpp has them.
            if !is_uniform {
                writer.remove_metadata(key);
            }
            writer.set_metadata(key, value)?;
        }
        if let Some((no, count)) = file.shard {
            writer.set_shard(no, count, tasks.len())?;
        }
        for job in jobs {
            let shape = if is_uniform { job.shape() } else { job.shape().trim_trailing_ones() };
            writer.declare_tensor(job.name(), shape.dims(), job.ggml_type())?;
        }
        Ok(writer)
    }
}

pub(super) fn bytes_of_files(files: &[File<'_, '_>]) -> u64 {
    let tensors: Vec<_> = files.iter().flat_map(|file| file.tasks).map(|task| task.tensor).collect();
    bytes_of(&tensors)
}
