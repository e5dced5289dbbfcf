//! safetensors: headers from strangers, files that are written, and models between the formats.
#![cfg(not(target_family = "wasm"))]

#[path = "../common/mod.rs"]
mod common;
mod config;
mod header;
mod import;
mod round_trip;
mod split;
mod tokenizer;
mod writer;

use std::ops::ControlFlow;

use gguf_codec::model::hf::{Export, ExportPlan, Import};
use gguf_codec::model::{Convert, hf};
use gguf_codec::safetensors::{Checkpoint, Dtype, Writer};
use gguf_codec::{Gguf, Result};

/// A file of this header and so many bytes of data.
fn file(json: &str, data: usize) -> Vec<u8> {
    let mut file = (json.len() as u64).to_le_bytes().to_vec();
    file.extend(json.as_bytes());
    file.extend((0..data).map(|i| i as u8));
    file
}

/// A file of these tensors, each with its shape outermost first.
fn tensors(tensors: &[(&str, &[u64], Dtype, Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (name, shape, dtype, _) in tensors {
        writer.tensor(name, shape, *dtype).unwrap();
    }
    let mut data = writer.write_header().unwrap();
    for (name, .., bytes) in tensors {
        data.write_tensor(name, bytes).unwrap();
    }
    data.finish().unwrap()
}

/// A model of files in memory.
fn checkpoint(files: impl IntoIterator<Item = Vec<u8>>) -> Result<Checkpoint> {
    let file = |(index, bytes): (usize, Vec<u8>)| {
        let len = bytes.len() as u64;
        (format!("file {index}"), Box::new(bytes) as Box<dyn gguf_codec::ReadAt>, len)
    };
    Checkpoint::of(files.into_iter().enumerate().map(file))
}

/// The GGUF that is planned.
fn imported(import: Import<'_>) -> Result<Vec<u8>> {
    let plan = import.plan()?;
    let mut writer = gguf_codec::Writer::new(Vec::new());
    plan.declare(&mut writer)?;
    let mut data = writer.write_header()?;
    Convert::new().run(&plan.jobs()?, &mut data, |_| ControlFlow::Continue(()))?;
    data.finish()
}

fn exported_shard(plan: &ExportPlan<'_>, shard: &hf::Shard) -> Result<Vec<u8>> {
    let mut writer = Writer::new(Vec::new());
    plan.declare(shard, &mut writer)?;
    let mut data = writer.write_header()?;
    Convert::new().run(&plan.jobs(shard)?, &mut data, |_| ControlFlow::Continue(()))?;
    data.finish()
}

/// The safetensors files of a GGUF.
fn exported(gguf: &Vec<u8>, max_bytes: Option<u64>) -> Result<Vec<Vec<u8>>> {
    let model = Gguf::parse(gguf)?;
    let plan = Export::new(&model, gguf).plan()?;
    plan.shards(max_bytes).iter().map(|shard| exported_shard(&plan, shard)).collect()
}

fn floats(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}
