//! Copying tensors out of a model that may lie in many files.

use std::fs::File;
use std::ops::Range;

use anyhow::{Context, Result};
use gguf_codec::model::{Convert, Job, Origin};
use gguf_codec::{DataWriter, Mapped, ShardedGguf, Sink};

use crate::work::Work;

/// Copies the tensors at these positions of all, which the writer expects next. Each file is open only while its own
/// tensors are copied, since there may be more of them than a process may have open.
pub(crate) fn tensors<S: Sink>(
    model: &ShardedGguf<Mapped>,
    range: Range<usize>,
    writer: &mut DataWriter<S>,
    work: &Work,
) -> Result<()> {
    let mut start = 0;
    for (shard, path) in model.shards().iter().zip(model.paths()) {
        let end = start + shard.tensor_count();
        let (first, last) = (range.start.clamp(start, end), range.end.clamp(start, end));
        if first < last {
            let file = File::open(path).with_context(|| format!("cannot open '{}'", path.display()))?;
            let tensors = shard.tensors().skip(first - start).take(last - first);
            let copy = |tensor| Job::copy(gguf_codec::TensorInfo::name(&tensor), Origin::of(&file, &tensor));
            let jobs: Vec<_> = tensors.map(copy).collect();
            let copied = Convert::new().run(&jobs, writer, |bytes| work.step(bytes));
            copied.map_err(|error| work.explained(error))?;
        }
        start = end;
    }
    Ok(())
}
