//! Tests of `model::Weight`: it has the model's own bytes, and keeps them alive.

#![cfg(feature = "std")]

use std::sync::Arc;

use gguf_codec::model::{Weight, Weights};
use gguf_codec::{Error, Gguf, ShardedGguf};

const SAMPLE: &[u8] = include_bytes!("../../examples/sample.gguf");

#[test]
fn weights_outlive_the_handle_of_their_model() {
    fn is_free<T: Send + Sync + Clone + 'static>(_: &T) {}
    let model: Arc<ShardedGguf<Vec<u8>>> = Arc::new(Gguf::parse(SAMPLE.to_vec()).unwrap().into());
    let weights: Vec<_> = model.tensors().map(|tensor| Weight::new(&model, tensor.name()).unwrap()).collect();
    is_free(&weights[0]);
    assert_eq!(Arc::strong_count(&model), 21);
    let parsed = Gguf::parse(SAMPLE).unwrap();
    drop(model);
    let copies = weights.clone();
    drop(weights);
    for (weight, info) in copies.iter().zip(parsed.tensors()) {
        let tensor = weight.tensor().unwrap();
        assert_eq!(
            (weight.name(), tensor.bytes().unwrap()),
            (info.name(), info.tensor().unwrap().bytes().unwrap())
        );
        assert_eq!((weight.ggml_type(), weight.shape()), (info.ggml_type(), info.shape()));
    }
    let error = Weight::new(copies[0].model(), "nothing").unwrap_err();
    assert!(matches!(error, Error::MissingTensor { name } if name == "nothing"));
    assert_eq!(Arc::strong_count(copies[0].model()), 20);
}

#[test]
fn a_header_alone_has_no_weights() {
    let model = Arc::new(ShardedGguf::from(Gguf::read_header(SAMPLE).unwrap()));
    assert!(matches!(Weight::new(&model, "output_norm.weight"), Err(Error::HeaderOnly { .. })));
}

#[test]
fn weights_are_found_by_layer_in_their_shapes_and_the_rest_is_told() {
    let model: Arc<ShardedGguf<_>> = Arc::new(Gguf::parse(SAMPLE).unwrap().into());
    let all: Vec<(String, Vec<u64>)> =
        model.tensors().map(|tensor| (tensor.name().to_owned(), tensor.shape().dims().to_vec())).collect();
    let weights = Weights::new(&model);
    assert_eq!(weights.unused().count(), all.len());
    // All of them know what a layer was asked for.
    for index in 0..2 {
        let layer = weights.clone().layer(index);
        for (name, shape) in &all {
            if let Some(part) = name.strip_prefix(&format!("blk.{index}.")) {
                let weight = layer.weight(part, shape).unwrap();
                assert_eq!((weight.name(), layer.name(part)), (name.as_str(), name.clone()));
            }
        }
    }
    let (name, shape) = all.iter().find(|(name, _)| name == "output_norm.weight").unwrap();
    let norm = model.tensor(name).unwrap().dequantize::<f32>().unwrap();
    assert_eq!(weights.floats(name, shape).unwrap(), norm);
    assert_eq!(weights.floats(name, &[shape[0], 1]).unwrap(), norm);
    assert!(weights.at("blk").at("1").contains("attn_norm.weight") && !weights.contains("attn_norm.weight"));
    assert_eq!(weights.unused().collect::<Vec<_>>(), ["token_embd.weight"]);

    for wrong in [&[shape[0] + 1][..], &[shape[0], 2], &[], &[1; 5]] {
        let error = weights.weight(name, wrong).unwrap_err();
        assert!(
            matches!(&error, Error::WrongShape { tensor, wanted, .. } if tensor == name && wanted == wrong)
        );
        assert_eq!(
            error.to_string(),
            format!("tensor 'output_norm.weight' has shape [64], and must have {wrong:?}")
        );
    }
    assert!(
        matches!(weights.layer(2).weight("attn_q.weight", &[1]), Err(Error::MissingTensor { name }) if name == "blk.2.attn_q.weight")
    );
}
