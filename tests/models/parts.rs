//! Several processes each make a part of a model without coordinating. Merged, the parts are the file that a single
//! process makes.

#![cfg(feature = "std")]
// WebAssembly starts no processes.
#![cfg(not(target_family = "wasm"))]

use crate::common;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command};

use gguf_codec::model::{Convert, Job, Origin, Part};
use gguf_codec::{GgmlType, Gguf, ShardedGguf, Writer};
use proptest::prelude::*;

/// Set for the processes that this test starts: the folder and the part.
const FOLDER: &str = "GGUF_CODEC_TEST_FOLDER";
const PART: &str = "GGUF_CODEC_TEST_PART";

fn wave(len: usize, phase: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 31 + phase * 7) % 257) as f32 / 100.0 - 1.0).collect()
}

/// Matrices of many sizes, and vectors between them.
fn source() -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    writer
        .set_metadata("general.architecture", "llama")
        .unwrap()
        .set_metadata("llama.block_count", 9u32)
        .unwrap();
    let names: Vec<_> = (0..9).flat_map(|i| [format!("blk.{i}.norm"), format!("blk.{i}.weight")]).collect();
    let rows = |i: usize| if i.is_multiple_of(2) { 1 } else { (i * i) as u64 };
    for (i, name) in names.iter().enumerate() {
        writer.declare_tensor(name, &[256, rows(i)], GgmlType::F32).unwrap();
    }
    let mut data = writer.write_header().unwrap();
    for (i, name) in names.iter().enumerate() {
        let mut tensor = data.begin(name).unwrap();
        tensor.write_values(&wave(256 * rows(i) as usize, i), None).unwrap();
        tensor.finish().unwrap();
    }
    data.finish().unwrap()
}

/// Converts the matrices to Q4_K: all of them, or a part.
fn quantize(folder: &Path, part: Option<Part>) {
    let path = folder.join("in.gguf");
    let model = Gguf::read(&path).unwrap();
    let file = File::open(&path).unwrap();
    let job = |tensor: gguf_codec::TensorInfo<'_>| {
        if tensor.shape().dims()[1] == 1 { GgmlType::F32 } else { GgmlType::Q4_K }
    };
    let jobs: Vec<_> = model
        .tensors()
        .map(|tensor| Job::new(tensor.name(), Origin::of(&file, &tensor), job(tensor)))
        .collect();
    let whole = folder.join("out.gguf");
    let (path, range) = match part {
        None => (whole, 0..jobs.len()),
        Some(part) => (part.path(whole), part.jobs(&jobs)),
    };
    let mut writer = Writer::create(path).unwrap();
    writer.copy_metadata_from(&model).unwrap().set_metadata("general.file_type", 14u32).unwrap();
    if let Some(part) = part {
        writer.set_shard(part.no(), part.count(), jobs.len()).unwrap();
    }
    for job in &jobs[range.clone()] {
        writer.declare_tensor(job.name(), job.shape().dims(), job.ggml_type()).unwrap();
    }
    let mut data = writer.write_header().unwrap();
    Convert::new().run(&jobs[range], &mut data).unwrap();
    data.finish().unwrap();
}

/// Not a separate test: the code that each of the processes runs.
#[test]
fn one_part() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    quantize(Path::new(&folder), Some(std::env::var(PART).unwrap().parse().unwrap()));
}

fn start(folder: &Path, part: Part) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "parts::one_part"]).env(FOLDER, folder).env(PART, part.to_string());
    command.stdout(std::process::Stdio::null()).spawn().unwrap()
}

#[test]
fn processes_make_together_what_one_makes() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("in.gguf"), source()).unwrap();
    quantize(folder, None);
    let whole = fs::read(folder.join("out.gguf")).unwrap();
    for count in [1, 2, 5, 25] {
        let parts: Vec<_> = (0..count).map(|no| Part::new(no, count).unwrap()).collect();
        // All at once, and the first part twice, as after an unnecessary restart.
        let mut running: Vec<_> = parts.iter().map(|part| start(folder, *part)).collect();
        running.push(start(folder, parts[0]));
        for mut process in running {
            assert!(process.wait().unwrap().success());
        }
        let first = parts[0].path(folder.join("out.gguf"));
        let set = ShardedGguf::open_with(&first, |path| Gguf::read(path)).unwrap();
        assert_eq!(set.shards().len(), usize::from(count));
        let mut writer = Writer::new(Vec::new());
        writer.copy_sharded_metadata_from(&set).unwrap();
        for tensor in set.tensors() {
            writer.declare_tensor(tensor.name(), tensor.shape().dims(), tensor.ggml_type()).unwrap();
        }
        let mut data = writer.write_header().unwrap();
        for tensor in set.tensors() {
            data.copy_tensor(&tensor.tensor().unwrap()).unwrap();
        }
        assert!(data.finish().unwrap() == whole, "{count} parts differ from the whole");
    }
    let left: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".tmp")), "{left:?}");
}

proptest! {
    #![proptest_config(common::property(256))]

    #[test]
    fn parts_cover_a_model_and_share_its_work(
        rows in prop::collection::vec((0u64..50, any::<bool>()), 0..40),
        count in 1u16..12,
    ) {
        let source: &'static [u8] = &[];
        let jobs: Vec<_> = rows
            .iter()
            .map(|(rows, converted)| {
                let shape = gguf_codec::Shape::new(&[32, *rows]).unwrap();
                let order = gguf_codec::ByteOrder::Little;
                let origin = Origin::new(&source, 0, shape, GgmlType::F32, order).unwrap();
                Job::new("t", origin, if *converted { GgmlType::Q8_0 } else { GgmlType::F32 })
            })
            .collect();
        let parts: Vec<_> = (0..count).map(|no| Part::new(no, count).unwrap().jobs(&jobs)).collect();
        let all: Vec<usize> = parts.iter().cloned().flatten().collect();
        prop_assert_eq!(all, (0..jobs.len()).collect::<Vec<_>>());
        // No part has more than an equal share plus the largest tensor.
        let work = |job: &Job<'_>| {
            let values = job.shape().element_count();
            if job.copies() { 4 * values } else { 20 * values }
        };
        let greatest = jobs.iter().map(work).max().unwrap_or(0);
        let share = jobs.iter().map(work).sum::<u64>() / u64::from(count) + greatest;
        for part in parts {
            prop_assert!(jobs[part.clone()].iter().map(work).sum::<u64>() <= share, "{part:?}");
        }
    }
}
