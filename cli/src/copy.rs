//! Tensors as they are, from one model into another.

use std::ops::Range;

use anyhow::Result;
use gguf_codec::model::{Convert, Input, Job};
use gguf_codec::{DataWriter, Sink, TensorInfo};

use crate::work::Work;

/// Copies the tensors at these positions of all, which the writer expects next.
pub(crate) fn tensors<S: Sink>(
    input: &Input,
    all: &[TensorInfo<'_>],
    range: Range<usize>,
    writer: &mut DataWriter<S>,
    work: &Work,
) -> Result<()> {
    let jobs = all[range].iter().map(|tensor| Ok(Job::copy(tensor.name(), input.origin(tensor)?)));
    let jobs = jobs.collect::<Result<Vec<_>>>()?;
    let copied = Convert::new().run(&jobs, writer, |bytes| work.step(bytes));
    copied.map(drop).map_err(|error| work.explained(error))
}
