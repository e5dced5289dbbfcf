//! What works without `std` besides the codecs: decisions about models, and importance matrices in memory.

#![cfg(feature = "codecs")]

use gguf_codec::ShardPlan;
use gguf_codec::model::Imatrix;

#[test]
fn an_importance_matrix_is_parsed_from_memory() {
    let imatrix = Imatrix::parse(include_bytes!("../fuzz/seeds/imatrix.dat")).unwrap();
    let entry = imatrix.entry("a").unwrap();
    assert_eq!((imatrix.entries().len(), entry.sums.len()), (1, 2));
    assert_eq!(entry.weights(), [0.5, 1.0]);
    Imatrix::parse(&[1, 0, 0, 0, 9]).unwrap_err();
}

#[test]
fn tensors_are_divided_into_shards() {
    let plan = ShardPlan::by_tensors(5, 2).unwrap();
    assert_eq!(plan.shards(), [0..2, 2..4, 4..5]);
    let plan = ShardPlan::by_bytes([64, 64, 1000], 32, 200).unwrap();
    assert_eq!(plan.shards(), [0..2, 2..3]);
}
