//! Tests of `model::Summary`: it reports what the header says, and nothing if the header is silent or wrong.

#![cfg(feature = "std")]

use gguf_codec::model::Summary;
use gguf_codec::{GgmlType, Gguf, Value, Writer};

fn summary(keys: Vec<(&str, Value)>, tensors: &[(&str, &[u64], GgmlType)]) -> Summary {
    let mut writer = Writer::new(Vec::new());
    for (key, value) in keys {
        writer.set_metadata(key, value).unwrap();
    }
    for (name, dims, ty) in tensors {
        writer.declare_tensor(name, dims, *ty).unwrap();
    }
    let mut data = writer.write_header().unwrap();
    for (name, dims, ty) in tensors {
        data.write_tensor(name, &vec![0; ty.bytes_for(dims.iter().product()).unwrap() as usize]).unwrap();
    }
    let file = data.finish().unwrap();
    let model = Gguf::parse(&file).unwrap();
    Summary::new(model.metadata(), model.tensors())
}

#[test]
fn heads_may_differ_from_layer_to_layer() {
    let keys = vec![
        ("general.architecture", "gemma3n".into()),
        ("gemma3n.attention.head_count", 8u32.into()),
        ("gemma3n.attention.head_count_kv", [4u32, 0, 2].into()),
        ("gemma3n.expert_count", 0u32.into()),
        ("tokenizer.ggml.tokens", ["a", "b"].into()),
        ("gemma3n.vocab_size", 9u32.into()),
    ];
    let summary = summary(keys, &[("a", &[32, 2], GgmlType::Q8_0), ("b", &[33], GgmlType::F32)]);
    assert_eq!((summary.heads, summary.kv_heads), (Some(8..=8), Some(0..=4)));
    assert_eq!((summary.vocabulary, summary.experts), (Some(2), None));
    assert_eq!(summary.dominant_type, Some(GgmlType::Q8_0));
    assert_eq!((summary.size.tensors, summary.size.parameters, summary.size.bytes), (2, 97, 68 + 132));
}

#[test]
fn what_makes_no_sense_is_left_out() {
    let keys = vec![
        ("general.architecture", "llama".into()),
        ("general.name", 5u32.into()),
        ("llama.block_count", "many".into()),
        ("llama.attention.head_count", Value::Array(gguf_codec::Array::U32(Vec::new()))),
        ("llama.attention.head_count_kv", [-1i32, 2].into()),
        ("tokenizer.ggml.tokens", 7u8.into()),
    ];
    let summary = summary(keys, &[]);
    assert_eq!((summary.name, summary.layers, summary.heads), (None, None, None));
    assert_eq!((summary.kv_heads, summary.vocabulary, summary.dominant_type), (None, None, None));
    assert_eq!(
        Summary::new(
            Gguf::parse(&b"GGUF\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"[..]).unwrap().metadata(),
            []
        ),
        Summary::default()
    );
}

#[test]
fn a_vocabulary_is_what_its_keys_say() {
    use gguf_codec::model::{TokenType, Vocabulary};
    let file = |tokens: Value| {
        let mut writer = Writer::new(Vec::new());
        writer.set_metadata("tokenizer.ggml.tokens", tokens).unwrap();
        writer.set_metadata("tokenizer.ggml.scores", vec![0.5f32, -1.0, 2.0]).unwrap();
        writer.set_metadata("tokenizer.ggml.token_type", vec![3i32, 1, 99]).unwrap();
        writer.set_metadata("tokenizer.ggml.bos_token_id", 2u32).unwrap();
        writer.set_metadata("tokenizer.ggml.eos_token_id", 3u32).unwrap();
        writer.write_header().unwrap().finish().unwrap()
    };
    let bytes = file(["<s>", "a", "é"].into());
    let model = Gguf::parse(&bytes).unwrap();
    let vocabulary = Vocabulary::of(model.metadata()).unwrap();
    let tokens: [&[u8]; 3] = [b"<s>", b"a", "é".as_bytes()];
    assert!(vocabulary.tokens().eq(tokens) && vocabulary.len() == 3 && !vocabulary.is_empty());
    assert_eq!([2, 3].map(|id| vocabulary.token(id)), [Some(tokens[2]), None]);
    let types = [0, 1, 2, 3].map(|id| vocabulary.token_type(id));
    assert_eq!(types, [Some(TokenType::Control), Some(TokenType::Normal), None, None]);
    let scores: Vec<f32> = vocabulary.scores().unwrap().unwrap().map(|score| score.unwrap()).collect();
    assert_eq!(scores, [0.5, -1.0, 2.0]);
    assert!(vocabulary.merges().unwrap().is_none() && vocabulary.chat_template().is_none());
    // An id past the last token is ignored.
    assert_eq!(["bos", "eos", "eot"].map(|name| vocabulary.special(name)), [Some(2), None, None]);

    let bytes = file(vec![1u32, 2].into());
    let error = Vocabulary::of(Gguf::parse(&bytes).unwrap().metadata()).unwrap_err();
    assert!(error.to_string().contains("not of strings"), "{error}");
}
