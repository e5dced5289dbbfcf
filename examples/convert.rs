//! Converts a model's matrices to Q8_0, on all cores; give a sharded model by its first file.
//!
//!     cargo run --release --example convert -- model.gguf smaller.gguf
//!
//! `gguf convert` has every type, and `gguf quantize` llama.cpp's recipes.

use std::error::Error;

use gguf_codec::model::{Convert, FileType, Input, Job};
use gguf_codec::{Existing, GgmlType, Inputs, Writer};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(input), Some(output)) = (arguments.next(), arguments.next()) else {
        return Err("usage: convert IN OUT".into());
    };
    let to = GgmlType::Q8_0;
    let model = Input::open(&input)?;
    // Never overwrite an input, under any name.
    Inputs::new().add_all(model.paths()).check(&output, Existing::Refuse)?;

    let jobs: Vec<_> = model
        .tensors()
        .map(|tensor| {
            let is_matrix = tensor.shape().dims().len() > 1 && !tensor.ggml_type().is_integer();
            let fits = tensor.shape().row_len().is_multiple_of(to.block_len() as u64);
            let ty = if is_matrix && fits { to } else { tensor.ggml_type() };
            Ok(Job::new(tensor.name(), model.origin(&tensor)?, ty))
        })
        .collect::<gguf_codec::Result<_>>()?;

    // The file appears under its name once it is complete.
    let mut writer = Writer::create_with(&output, Existing::Refuse)?;
    writer.copy_sharded_metadata_from(model.model())?;
    if let Some(file_type) = FileType::mostly(to) {
        writer.set_metadata("general.file_type", file_type.id())?;
    }
    for job in &jobs {
        writer.declare_tensor(job.name(), job.shape().dims(), job.ggml_type())?;
    }
    let mut data = writer.write_header()?;
    let outcomes = Convert::new().run(&jobs, &mut data)?;
    let bad = jobs.iter().zip(&outcomes).find(|(_, outcome)| outcome.overflowed > 0);
    if let Some((job, _)) = bad {
        return Err(format!("tensor '{}' has values beyond the range of {to}", job.name()).into());
    }
    data.finish()?;
    Ok(())
}
