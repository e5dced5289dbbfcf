//! Heads that tell classes apart, and rerankers.

use gguf_codec::model::hf::{Description, Import};
use gguf_codec::safetensors::Dtype;
use gguf_codec::{Gguf, Result};
use serde_json::{Value as Json, json};

use super::{Own, checkpoint, completed, floats, imported, needed, tensors};

fn import(config: &Json, tokenizer: Option<&Json>, file: Vec<u8>) -> Result<Gguf<Vec<u8>>> {
    let mut description = Description::from_config(&config.to_string())?;
    if let Some(tokenizer) = tokenizer {
        description = description.with_tokenizer(&tokenizer.to_string())?;
    }
    Gguf::parse(imported(Import::new(&checkpoint([file])?, &description))?)
}

fn labels(model: &Gguf<Vec<u8>>, key: &str) -> Option<Vec<String>> {
    let labels = model.metadata().optional_array(key).unwrap()?;
    Some(labels.map(Result::unwrap).collect())
}

fn zeros(count: usize) -> Vec<u8> {
    floats(vec![0.0; count])
}

#[test]
fn a_classifier_keeps_its_head_and_the_names_of_classes() {
    let mut config = json!({"architectures": ["BertForSequenceClassification"], "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1,
        "num_attention_heads": 2, "vocab_size": 6, "max_position_embeddings": 16, "type_vocab_size": 2});
    const KEY: &str = "bert.classifier.output_labels";
    let file = |config: &Json, rows: u64| {
        let head: [Own<'_>; 3] = [
            ("classifier.weight", &[rows, 8], Dtype::F32, zeros(8 * rows as usize)),
            ("classifier.bias", &[rows], Dtype::F32, zeros(rows as usize)),
            ("bert.pooler.dense.weight", &[8, 8], Dtype::F32, zeros(64)),
        ];
        completed(&config.to_string(), &head)
    };
    for (names, wanted) in [
        (json!({"10": "c", "2": "b", "0": "a"}), vec!["a", "b", "c"]),
        (json!({"0": "LABEL_0"}), vec!["LABEL_0"]),
        // They have no names of their own, and llama.cpp takes their number from the names.
        (json!({"0": "LABEL_0", "1": "LABEL_1"}), vec!["LABEL_0", "LABEL_1"]),
        (Json::Null, vec!["LABEL_0", "LABEL_1"]),
    ] {
        config["architectures"] = json!(["BertForSequenceClassification"]);
        config["id2label"] = names;
        let rows = wanted.len() as u64;
        let model = import(&config, None, file(&config, rows)).unwrap();
        assert_eq!(labels(&model, KEY).unwrap(), wanted);
        assert_eq!(model.tensor("cls.output.weight").unwrap().shape().dims(), [8, rows]);
        assert!(model.tensor("cls.output.bias").is_ok());
        let error = import(&config, None, file(&config, rows + 1)).unwrap_err().to_string();
        assert!(error.contains(&format!("'id2label' names {rows} classes")), "{error}");
        // The library says two of every model.
        config["architectures"] = json!(["BertModel"]);
        let model = import(&config, None, completed(&config.to_string(), &[])).unwrap();
        assert_eq!(labels(&model, KEY).is_some(), wanted[0] != "LABEL_0" || rows == 1);
    }
    config["architectures"] = json!(["BertForSequenceClassification"]);
    config["id2label"] = json!({"a": "b"});
    let error = import(&config, None, file(&config, 2)).unwrap_err().to_string();
    assert!(error.contains("'id2label' must have numbers as its keys"), "{error}");
}

#[test]
fn a_reranker_has_the_rows_of_its_two_answers() {
    let tokens = ["no", "x", "yes", "y"];
    let vocab: serde_json::Map<_, _> =
        (0..).zip(tokens).map(|(id, token)| (token.to_owned(), Json::from(id))).collect();
    let mut tokenizer = json!({"pre_tokenizer": {"type": "ByteLevel"}, "model": {"type": "BPE", "vocab": vocab, "merges": []}});
    for is_tied in [true, false] {
        let config = json!({"architectures": ["Qwen3ForCausalLM"], "_name_or_path": "Qwen/Qwen3-Reranker-0.6B", "hidden_size": 2,
            "intermediate_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 2,
            "vocab_size": 4, "max_position_embeddings": 16, "tie_word_embeddings": is_tied});
        let head = if is_tied { "model.embed_tokens.weight" } else { "lm_head.weight" };
        let rows = floats((0..8).map(|value| value as f32));
        let needed: Vec<_> = needed(&config.to_string())
            .into_iter()
            .filter(|(name, _)| !(is_tied && name == "lm_head.weight"))
            .collect();
        let own: Vec<Own<'_>> = needed
            .iter()
            .map(|(name, shape)| {
                let values =
                    if name == head { rows.clone() } else { zeros(shape.iter().product::<u64>() as usize) };
                (name.as_str(), shape.as_slice(), Dtype::F32, values)
            })
            .collect();
        let model = import(&config, Some(&tokenizer), tensors(&own)).unwrap();
        let answers = model.tensor("cls.output.weight").unwrap();
        let mut values = [0.0; 4];
        answers.dequantize_into(&mut values).unwrap();
        assert_eq!(values, [4.0, 5.0, 0.0, 1.0]);
        assert!(model.tensor("output.weight").is_err());
        assert!(model.tensor("token_embd.weight").is_ok());
        assert_eq!(model.metadata().require::<u32>("qwen3.pooling_type").unwrap(), 4);
        assert_eq!(labels(&model, "qwen3.classifier.output_labels").unwrap(), ["yes", "no"]);
        let template = model.metadata().require::<&str>("tokenizer.chat_template.rerank").unwrap();
        assert!(template.contains("<Query>: {query}\n<Document>: {document}<|im_end|>\n"), "{template}");
        tokenizer["model"]["vocab"].as_object_mut().unwrap().remove("no");
        let error = import(&config, Some(&tokenizer), tensors(&own)).unwrap_err().to_string();
        assert!(error.contains("no token 'no'"), "{error}");
        tokenizer["model"]["vocab"]["no"] = 0.into();
    }
}
