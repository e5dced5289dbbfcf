//! Products with quantized weights have the same bits on every machine: those that `tests/golden/products.tsv` has the hashes of.
//! `GGUF_CODEC_WRITE_PRODUCTS=1 cargo test --test codecs products` rewrites it.

use std::path::Path;

use gguf_codec::GgmlType;
use gguf_codec::compute::{Activations, Matrix};

use crate::common::compare;

const ROW_LEN: usize = 512;
const ROWS: usize = 13;
/// More than are multiplied at once, and not a multiple of it.
const COLUMNS: usize = 9;

/// Values that sums of integers make, so that they are the same everywhere: of both signs, and seldom large.
fn values(mut seed: u64, len: usize) -> Vec<f32> {
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 50) as i32 - (1 << 13)
    };
    let scale = 1.0 / f32::from(1u16 << 14);
    (0..len).map(|i| (next() + next() + if i % 61 == 0 { 16 * next() } else { 0 }) as f32 * scale).collect()
}

/// A line of the file: the type, and the hashes of its products with quantized activations and with floats.
fn line(ty: GgmlType) -> Option<String> {
    let weights = values(1, ROWS * ROW_LEN);
    let importance: Vec<f32> = values(2, ROW_LEN).iter().map(|value| value * value + 0.125).collect();
    let activations = values(3, COLUMNS * ROW_LEN);

    let mut blocks = vec![0; ty.bytes_for(weights.len() as u64)? as usize];
    gguf_codec::quantize(ty, &weights, ROW_LEN, Some(&importance), &mut blocks).ok()?;
    let x = Activations::new(ty, &activations, ROW_LEN).ok()?;
    let matrix = Matrix::new(ty, &blocks, ROW_LEN).unwrap();
    let mut products = vec![0.0; COLUMNS * ROWS];
    matrix.matmul(&x, &mut products).unwrap();
    for (row, product) in products[..ROWS].iter().enumerate() {
        assert_eq!(matrix.dot(row, &x).unwrap().to_bits(), product.to_bits(), "{ty}, row {row}");
    }
    let quantized = compare::hash(&products);
    matrix.matmul_f32(&activations, &mut products).unwrap();
    Some(format!("{ty}\t{quantized:016x}\t{:016x}\n", compare::hash(&products)))
}

#[test]
fn products_have_the_same_bits_on_every_machine() {
    let found: String = GgmlType::ALL.iter().copied().filter_map(line).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/products.tsv");
    if std::env::var_os("GGUF_CODEC_WRITE_PRODUCTS").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let wanted = std::fs::read_to_string(path).unwrap();
    assert_eq!(found.lines().count(), 31, "{found}");
    for (found, wanted) in found.lines().zip(wanted.lines()) {
        assert_eq!(found, wanted);
    }
    assert_eq!(found.len(), wanted.len());
}
