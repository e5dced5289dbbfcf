//! The crate against vectors that ggml's reference library made; `tests/golden/README.md` says how.

mod common;

use std::path::PathBuf;

use common::compare;
use gguf_codec::GgmlType;

/// A line of `manifest.tsv`.
#[derive(Debug)]
struct Case {
    ty: GgmlType,
    kind: String,
    row_len: usize,
    rows: usize,
    /// The values to quantize; `None` for blocks that are only dequantized.
    values: Option<Vec<f32>>,
    importance: Option<Vec<f32>>,
    /// ggml's bytes for the values.
    blocks: Vec<u8>,
    /// The hash of ggml's values for the blocks.
    hash: u64,
}

impl Case {
    /// What differs from ggml, both ways.
    fn failures(&self) -> Vec<String> {
        let mut found = Vec::new();
        if let Some(values) = &self.values {
            let mut ours = vec![0; self.blocks.len()];
            match gguf_codec::quantize(self.ty, values, self.row_len, self.importance.as_deref(), &mut ours) {
                Ok(()) => found.extend(compare::blocks(self.ty, &ours, &self.blocks)),
                Err(error) => found.push(format!("quantize: {error}")),
            }
        }
        let mut ours = vec![0f32; self.rows * self.row_len];
        match gguf_codec::dequantize(self.ty, &self.blocks, &mut ours) {
            Ok(()) if compare::hash(&ours) == self.hash => {}
            Ok(()) => found.push(format!("dequantized values differ; they begin {:?}", &ours[..8])),
            Err(error) => found.push(format!("dequantize: {error}")),
        }
        let weighted = if self.importance.is_some() { " with importance" } else { "" };
        let Case { ty, kind, rows, row_len, .. } = self;
        found.iter().map(|what| format!("{ty}, {kind}{weighted}, {rows} rows of {row_len}: {what}")).collect()
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn read(name: &str) -> Vec<u8> {
    let path = folder().join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

fn read_floats(name: &str) -> Vec<f32> {
    let bytes = read(name);
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// The cases of one format.
fn cases(ty: GgmlType) -> Vec<Case> {
    let (values, importance) = (read_floats("values.bin"), read_floats("importance.bin"));
    let blocks = read(&format!("{}.bin", ty.name().to_lowercase()));
    let manifest = String::from_utf8(read("manifest.tsv")).unwrap();
    let parse = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [format, kind, weighted, row_len, rows, first_value, first_byte, byte_len, hash] = fields[..]
        else {
            panic!("manifest.tsv: not 9 columns: {line}");
        };
        let number = |field: &str| field.parse::<usize>().unwrap_or_else(|error| panic!("{field}: {error}"));
        let (row_len, rows) = (number(row_len), number(rows));
        (format == ty.name()).then(|| Case {
            ty,
            kind: kind.into(),
            row_len,
            rows,
            values: (first_value != "-").then(|| values[number(first_value)..][..rows * row_len].to_vec()),
            importance: (weighted == "1").then(|| importance[..row_len].to_vec()),
            blocks: blocks[number(first_byte)..][..number(byte_len)].to_vec(),
            hash: u64::from_str_radix(hash, 16).unwrap(),
        })
    };
    manifest.lines().skip(1).filter_map(parse).collect()
}

fn check(ty: GgmlType, count: usize) {
    let cases = cases(ty);
    assert_eq!(cases.len(), count, "cases of {ty} in manifest.tsv");
    let failures: Vec<String> = cases.iter().flat_map(Case::failures).collect();
    let shown = failures.iter().take(12).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} differences from ggml, of which the first:\n{shown}", failures.len());
}

#[test]
fn f16() {
    check(GgmlType::F16, 33);
}

#[test]
fn bf16() {
    check(GgmlType::BF16, 33);
}

#[test]
fn q8_0() {
    check(GgmlType::Q8_0, 65);
}

#[test]
fn q4_0() {
    check(GgmlType::Q4_0, 65);
}

#[test]
fn q4_1() {
    check(GgmlType::Q4_1, 65);
}

#[test]
fn q4_k() {
    check(GgmlType::Q4_K, 33);
}

#[test]
fn q6_k() {
    check(GgmlType::Q6_K, 33);
}
