//! `quantize --part k/N`: N processes build a model without coordinating.

use std::fs;
use std::process::Stdio;

use gguf_codec::{ByteOrder, GgmlType, Gguf, Value, Writer};

use crate::support::*;

/// Four layers in F16, in an order that differs from the quantizer's.
fn source() -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    writer.set_metadata("general.architecture", Value::String(b"llama".to_vec())).unwrap();
    for (key, value) in [("block_count", 4u32), ("attention.head_count", 4), ("attention.head_count_kv", 4)] {
        writer.set_metadata(&format!("llama.{key}"), value).unwrap();
    }
    let mut tensors = vec![("output_norm.weight".to_owned(), vec![256], GgmlType::F32)];
    for layer in (0..4).rev() {
        for (name, rows) in [("attn_q", 64), ("attn_v", 64), ("ffn_down", 200), ("ffn_up", 256)] {
            tensors.push((format!("blk.{layer}.{name}.weight"), vec![256, rows], GgmlType::F16));
        }
        tensors.push((format!("blk.{layer}.attn_norm.weight"), vec![256], GgmlType::F32));
    }
    tensors.push(("token_embd.weight".to_owned(), vec![256, 500], GgmlType::F16));
    for (name, dims, ty) in &tensors {
        writer.declare_tensor(name, dims, *ty).unwrap();
    }
    let mut data = writer.write_header().unwrap();
    for (name, dims, _) in &tensors {
        let mut tensor = data.begin(name).unwrap();
        tensor.write_values(&wave(dims.iter().product::<u64>() as usize), None).unwrap();
        tensor.finish().unwrap();
    }
    data.finish().unwrap()
}

struct Model {
    folder: Folder,
    input: String,
    /// The file that a single process makes.
    whole: Vec<u8>,
}

impl Model {
    fn new(recipe: &str) -> Self {
        let folder = Folder::new();
        let input = folder.file("in.gguf", source());
        let out = folder.path("whole.gguf");
        works("quantize", &[&input, &out, "--recipe", recipe]);
        Model { input, whole: fs::read(out).unwrap(), folder }
    }

    fn shard(&self, number: u16, count: u16) -> String {
        self.folder.path(&format!("out-{number:05}-of-{count:05}.gguf"))
    }

    fn merged(&self, count: u16) -> Vec<u8> {
        let merged = self.folder.path("merged.gguf");
        works("merge", &[&self.shard(1, count), &merged]);
        fs::read(merged).unwrap()
    }
}

#[test]
fn processes_make_together_what_one_makes() {
    let model = Model::new("Q4_K_M");
    let out = model.folder.path("out.gguf");
    // The last parts are empty: there are 22 tensors.
    for count in [1, 3, 25] {
        let start = |part: u16| {
            let mut command = gguf("quantize");
            command.args([&model.input, &out, "--recipe", "Q4_K_M", "--part", &format!("{part}/{count}")]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
        };
        let running: Vec<_> = (1..=count).map(start).collect();
        for mut process in running {
            assert!(process.wait().unwrap().success());
        }
        assert!(model.merged(count) == model.whole, "{count} parts differ from the whole");
        let sizes = (1..=count).map(|number| Gguf::read(model.shard(number, count)).unwrap().tensor_count());
        assert_eq!(sizes.sum::<usize>(), 22);
    }
    assert!(!fs::exists(&out).unwrap());
}

#[test]
fn a_part_that_failed_is_named_and_made_again() {
    let model = Model::new("Q8_0");
    let out = model.folder.path("out.gguf");
    let part = |part: &str| works("quantize", &[&model.input, &out, "--recipe", "Q8_0", "--part", part]);
    for number in [4, 1] {
        let summary = part(&format!("{number}/4"));
        assert!(summary.contains(&format!("out-{number:05}-of-00004.gguf is Q8_0")), "{summary}");
    }
    let line = fails("merge", &[&model.shard(1, 4), &model.folder.path("merged.gguf")]);
    assert_eq!(line, format!("'{}': the shard is missing; others missing: 3", model.shard(2, 4)));
    let before = model.folder.names();
    let nowhere = model.folder.path("no such.gguf");
    fails("quantize", &[&nowhere, &out, "--recipe", "Q8_0", "--part", "2/4"]);
    assert_eq!(model.folder.names(), before);
    part("2/4");
    part("3/4");
    part("3/4");
    assert!(model.merged(4) == model.whole);
    // A shard of another division does not fit.
    part("1/3");
    fs::copy(model.shard(1, 3), model.shard(1, 4)).unwrap();
    let line = fails("merge", &[&model.shard(1, 4), &out]);
    assert!(line.contains("named like the first of them"), "{line}");
}

#[test]
fn what_is_quantized_may_be_sharded() {
    let model = Model::new("Q4_K_M");
    works("split", &[&model.input, &model.folder.path("in"), "--max-size", "100K"]);
    let first =
        model.folder.names().into_iter().find(|path| path.to_string_lossy().contains("in-00001")).unwrap();
    let out = model.folder.path("out.gguf");
    works("quantize", &[first.to_str().unwrap(), &out, "--recipe", "Q4_K_M"]);
    assert!(fs::read(&out).unwrap() == model.whole);
}

#[test]
fn parts_that_cannot_be_are_refused() {
    let folder = Folder::new();
    let input = folder.file("in.gguf", model(ByteOrder::Little, &[]));
    for part in ["0/3", "4/3", "1", "1/0", "a/b", "1/65536", ""] {
        let line = fails("quantize", &[&input, "x", "--recipe", "Q8_0", &format!("--part={part}")]);
        assert!(line.contains("k/N, such as 2/8"), "{line}");
    }
    assert_eq!(folder.names().len(), 1);
}

#[test]
fn a_part_is_not_written_over_a_shard_that_is_read() {
    let folder = Folder::new();
    let input = folder.file("in.gguf", source());
    works("split", &[&input, &folder.path("m"), "--max-tensors", "9"]);
    let first = folder.path("m-00001-of-00003.gguf");
    let before: Vec<_> = folder.names().iter().map(|path| fs::read(path).unwrap()).collect();
    let line = fails("quantize", &[&first, &folder.path("m.gguf"), "--recipe", "Q8_0", "--part", "2/3"]);
    let second = folder.path("m-00002-of-00003.gguf");
    assert_eq!(line, format!("'{second}' is the input '{second}', and no input is overwritten"));
    let after: Vec<_> = folder.names().iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(before == after);
}
