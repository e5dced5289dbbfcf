//! Quantized checkpoints: files from the real libraries, and every scheme in every variant, compared with its formula.

use std::fs;
use std::path::Path;

use gguf_codec::model::hf::{Description, Export, Fidelity, Import, Renamed};
use gguf_codec::model::{Convert, Job};
use gguf_codec::safetensors::{Dtype, SafeTensors};
use gguf_codec::{GgmlType, Gguf, Result};

mod broken;
mod floats;
mod integers;
mod kept;

use super::common::compare;
use super::{checkpoint, exported_shard, floats, imported, tensors};

/// Slices of checkpoints written by bitsandbytes, compressed-tensors, AutoRound, torchao, ModelOpt and transformers; the hashes are those
/// of the values that their formulas give.
const SLICES: &str = "tests/safetensors/checkpoints";

type Part = (&'static str, Vec<u64>, Dtype, Vec<u8>);

/// The values of a tensor of a model of these parts.
fn values(config: &str, parts: &[Part], name: &str) -> Result<(Vec<u64>, Vec<f32>)> {
    let own: Vec<_> = parts
        .iter()
        .map(|(name, shape, dtype, bytes)| (*name, shape.as_slice(), *dtype, bytes.clone()))
        .collect();
    read(config, tensors(&own), name)
}

fn read(config: &str, file: Vec<u8>, name: &str) -> Result<(Vec<u64>, Vec<f32>)> {
    let (files, description) = (checkpoint([file])?, Description::from_config(config)?);
    let file = imported(Import::new(&files, &description).ggml_type(GgmlType::F32))?;
    let model = Gguf::parse(&file)?;
    let tensor = model.tensor(name)?;
    let mut values = vec![0.0; tensor.shape().element_count() as usize];
    tensor.dequantize_into(&mut values)?;
    Ok((tensor.shape().dims().iter().rev().copied().collect(), values))
}

/// The error message for a model of these parts, from its plan or from reading it.
fn problem(config: &str, parts: &[Part]) -> String {
    format!("{:?}", values(config, parts, "w.weight").unwrap_err())
}

#[test]
fn slices_of_real_checkpoints_have_the_values_that_their_libraries_give() {
    let mut seen = 0;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(SLICES);
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let config = fs::read_to_string(&path).unwrap();
        let about: serde_json::Value = serde_json::from_str(&config).unwrap();
        for (name, hash) in about["expected"].as_object().unwrap() {
            let file = fs::read(path.with_extension("safetensors")).unwrap();
            let (_, values) = read(&config, file, name).unwrap();
            let found = format!("{:016x}", compare::hash(&values));
            assert_eq!(found, hash.as_str().unwrap(), "{} {name}", path.display());
            seen += 1;
        }
    }
    assert_eq!(seen, 25);
}

/// Pseudo-random numbers that are always the same.
fn codes(count: usize, bits: u32) -> Vec<u32> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64 ^ count as u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32 & ((1 << bits) - 1)
    };
    (0..count).map(|_| next()).collect()
}

/// Scales that every float type can represent.
fn scales(count: usize) -> Vec<f32> {
    codes(count, 6).iter().map(|code| (*code as f32 + 1.0) / 1024.0).collect()
}

fn f16s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| gguf_codec::f16::from_f32(*value).to_le_bytes()).collect()
}

fn bf16s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| gguf_codec::bf16::from_f32(*value).to_le_bytes()).collect()
}

/// A stream of codes in words, lowest bits first.
fn stream(codes: &[u32], bits: u32) -> Vec<u32> {
    let mut words = vec![0u32; (codes.len() * bits as usize).div_ceil(32)];
    for (index, code) in codes.iter().enumerate() {
        for bit in 0..bits as usize {
            let at = index * bits as usize + bit;
            words[at / 32] |= (code >> bit & 1) << (at % 32);
        }
    }
    words
}

fn word_bytes(words: impl IntoIterator<Item = u32>) -> Vec<u8> {
    words.into_iter().flat_map(u32::to_le_bytes).collect()
}

fn transposed<T: Copy>(values: &[T], rows: usize) -> Vec<T> {
    let cols = values.len() / rows;
    (0..values.len()).map(|at| values[at % rows * cols + at / rows]).collect()
}

/// The packed matrix that is read.
struct Wanted {
    rows: usize,
    cols: usize,
}

impl Wanted {
    fn check(&self, config: &str, parts: &[Part], wanted: impl Fn(usize, usize) -> f32) {
        let (shape, found) =
            values(config, parts, "w.weight").unwrap_or_else(|error| panic!("{config}: {error}"));
        assert_eq!(shape, [self.rows as u64, self.cols as u64], "{config}");
        for (at, found) in found.iter().enumerate() {
            let (row, col) = (at / self.cols, at % self.cols);
            let wanted = wanted(row, col);
            assert_eq!(found.to_bits(), wanted.to_bits(), "{config}: {found} at {row}, {col}, not {wanted}");
        }
    }
}

fn compressed(groups: &str) -> String {
    format!(
        r#"{{"quantization_config": {{"quant_method": "compressed-tensors", "config_groups": {groups}}}}}"#
    )
}

fn e4m3(code: u8) -> f32 {
    let (exponent, mantissa) = (i32::from(code >> 3 & 15), f32::from(code & 7));
    let magnitude = if exponent == 0 {
        mantissa * 2f32.powi(-9)
    } else {
        (1.0 + mantissa / 8.0) * 2f32.powi(exponent - 7)
    };
    if code & 0x80 == 0 { magnitude } else { -magnitude }
}

fn nibbles(codes: &[u32]) -> Vec<u8> {
    codes.chunks(2).map(|pair| (pair[0] | pair[1] << 4) as u8).collect()
}
