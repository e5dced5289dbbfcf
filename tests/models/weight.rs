//! The promises of `model::Weight`: the model's own bytes, for as long as anybody has one.

#![cfg(feature = "std")]

use std::sync::Arc;

use gguf_codec::model::Weight;
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
