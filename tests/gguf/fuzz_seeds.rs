//! The seeds of the fuzz targets: the file of `common::raw::everything` in each version and byte order, the header of a real
//! model, and files from gguf-py; for targets that take blocks, blocks of each type. To rewrite them:
//! `GGUF_CODEC_WRITE_SEEDS=1 cargo test --test gguf fuzz_seeds`.

#![cfg(feature = "std")]

use crate::common;
use common::raw::{every_format, everything};
use gguf_codec::{Array, GgmlType, Gguf, Value, Writer};

/// Checks that a seed has these bytes, or writes them.
fn is_seed(name: &str, bytes: &[u8]) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
    if std::env::var_os("GGUF_CODEC_WRITE_SEEDS").is_some() {
        std::fs::write(&path, bytes).unwrap();
    }
    assert!(std::fs::read(&path).unwrap() == bytes, "{} is not today's", path.display());
}

#[test]
fn the_seeds_of_the_fuzzers_are_todays() {
    every_format(|format| {
        let (version, big) = format;
        let name = format!("everything.v{version}.{}.gguf", if big { "be" } else { "le" });
        is_seed(&name, &everything(format).bytes);
    });
}

/// A byte that chooses the type, and two blocks: every half float is from 1 to 2, whatever the layout.
#[test]
fn every_type_of_block_is_a_seed() {
    for (choice, ty) in GgmlType::ALL.iter().enumerate() {
        let mut bytes = vec![choice as u8];
        bytes.extend((0..2 * ty.block_bytes()).map(|at| 0x3C ^ (at as u8 & 3)));
        is_seed(&format!("../seeds-blocks/{}.bin", ty.name().to_lowercase()), &bytes);
    }
}

/// The keys of SmolLM2 with the first elements of its arrays, and the first block of its first tensors: small enough that
/// fuzzers try all of it.
#[test]
fn the_head_of_a_real_model_is_a_seed() {
    let Some(path) = common::needs("GGUF_CODEC_SMOLLM2", "the_head_of_a_real_model_is_a_seed") else {
        return;
    };
    let model = Gguf::read(path).unwrap();
    let mut writer = Writer::new(Vec::new());
    for (key, value) in model.metadata() {
        let mut value = value.to_owned();
        match &mut value {
            Value::Array(Array::String(strings)) => strings.truncate(4),
            Value::Array(Array::I32(numbers)) => numbers.truncate(4),
            Value::Array(other) => panic!("SmolLM2 has no array of {:?}", other.element_type()),
            Value::String(text) => text.truncate(64),
            _ => {}
        }
        writer.set_metadata(key, value).unwrap();
    }
    let tensors: Vec<_> = model.tensors().take(12).map(|info| info.tensor().unwrap()).collect();
    for tensor in &tensors {
        let ty = tensor.ggml_type();
        writer.declare_tensor(tensor.name(), &[ty.block_len() as u64, 1], ty).unwrap();
    }
    let mut data = writer.write_header().unwrap();
    for tensor in &tensors {
        let first = &tensor.bytes().unwrap()[..tensor.ggml_type().block_bytes()];
        data.write_tensor(tensor.name(), first).unwrap();
    }
    is_seed("smollm2.gguf", &data.finish().unwrap());
}
