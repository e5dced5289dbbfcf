//! Compares the crate with vectors made by ggml's reference library; see `tests/golden/README.md`.

use crate::common;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use common::{compare, data};
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
    /// The differences from ggml, in both directions.
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

/// All cases of the manifest.
fn cases() -> Vec<Case> {
    let (values, importance) = (read_floats("values.bin"), read_floats("importance.bin"));
    let manifest = String::from_utf8(read("manifest.tsv")).unwrap();
    let mut blocks = BTreeMap::new();
    let parse = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [format, kind, weighted, row_len, rows, first_value, first_byte, byte_len, hash] = fields[..]
        else {
            panic!("manifest.tsv: not 9 columns: {line}");
        };
        let ty: GgmlType = format.parse().unwrap_or_else(|error| panic!("manifest.tsv: {error}"));
        let blocks = blocks.entry(ty).or_insert_with(|| read(&format!("{}.bin", format.to_lowercase())));
        let number = |field: &str| field.parse::<usize>().unwrap_or_else(|error| panic!("{field}: {error}"));
        let (row_len, rows) = (number(row_len), number(rows));
        Case {
            ty,
            kind: kind.into(),
            row_len,
            rows,
            values: (first_value != "-").then(|| values[number(first_value)..][..rows * row_len].to_vec()),
            importance: (weighted == "1").then(|| importance[..row_len].to_vec()),
            blocks: blocks[number(first_byte)..][..number(byte_len)].to_vec(),
            hash: u64::from_str_radix(hash, 16).unwrap(),
        }
    };
    manifest.lines().skip(1).map(parse).collect()
}

#[test]
fn same_bits_as_ggml() {
    let failures: Vec<String> = cases().iter().flat_map(Case::failures).collect();
    let shown = failures.iter().take(12).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} differences from ggml, of which the first:\n{shown}", failures.len());
}

/// Detects a lost line or a format without vectors.
#[test]
fn every_format_has_every_case() {
    let cases = cases();
    let of = |ty: GgmlType| cases.iter().filter(move |case| case.ty == ty);
    let quantized = |ty: GgmlType| {
        let whole = of(ty).filter(|case| case.values.is_some() && case.row_len == 512);
        whole.map(|case| (case.kind.as_str(), case.importance.is_some())).collect::<BTreeSet<_>>()
    };
    let all = quantized(GgmlType::Q4_K);
    assert_eq!(all.len(), 2 * 20, "the kinds of make_golden.py, with importance and without");
    // ggml has no quantizer for F32 and F64: quantizing these is a copy, or a conversion that every language has.
    let plain = [GgmlType::F32, GgmlType::F64];
    for &ty in GgmlType::ALL.iter().filter(|ty| ty.can_quantize() && !plain.contains(ty)) {
        let possible =
            |case: &&(&str, bool)| (case.1 || !ty.needs_importance()) && !data::ends_ggml(ty, case.0);
        let all: BTreeSet<_> = all.iter().filter(possible).copied().collect();
        assert_eq!(quantized(ty), all, "{ty}: add it to make_golden.py and run that");
        assert!(of(ty).any(|case| case.kind == "random_bytes"), "{ty} has no random bytes");
    }
}
