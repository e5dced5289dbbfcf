//! Classes with heads: to GGUF, and back with what the transformers library needs.

use gguf_codec::model::hf::{Description, Export, Import};
use gguf_codec::safetensors::Dtype;
use gguf_codec::{GgmlType, Gguf};
use serde_json::{Value as Json, json};

use super::super::{checkpoint, exported, imported};
use super::{Checkpoint, UNIGRAM, family, files, source};

/// The tensors of a model in its class, with a head.
fn within(family: &Json, start: &str, head: &[(&str, &[u64])]) -> Checkpoint {
    let own = source(family).into_iter().filter(|(name, _)| !name.ends_with("position_ids"));
    let is_head = |name: &str| head.iter().any(|(head, _)| *head == name);
    let mut all: Checkpoint = own
        .map(|(name, tensor)| (format!("{start}{name}"), tensor))
        .filter(|(name, _)| !is_head(name))
        .collect();
    for (name, shape) in head {
        let count = shape.iter().product::<u64>();
        let values = (0..count).flat_map(|at| (at as f32 / 64.0 - 1.0).to_le_bytes());
        all.insert((*name).to_owned(), (Dtype::F32, shape.to_vec(), values.collect()));
    }
    all
}

fn description(config: &str, is_unigram: bool) -> Description {
    let description = Description::from_config(config).unwrap();
    if is_unigram { description.with_tokenizer(UNIGRAM).unwrap() } else { description }
}

#[test]
fn classifiers_come_back_as_their_classes() {
    for (name, class, start, head) in [
        (
            "bert",
            "BertForSequenceClassification",
            "bert.",
            &[
                ("bert.pooler.dense.weight", &[64u64, 64][..]),
                ("bert.pooler.dense.bias", &[64]),
                ("classifier.weight", &[3, 64]),
                ("classifier.bias", &[3]),
            ][..],
        ),
        (
            "xlm-roberta",
            "XLMRobertaForSequenceClassification",
            "roberta.",
            &[
                ("classifier.dense.weight", &[64, 64]),
                ("classifier.dense.bias", &[64]),
                ("classifier.out_proj.weight", &[3, 64]),
                ("classifier.out_proj.bias", &[3]),
            ],
        ),
        (
            "modernbert",
            "ModernBertForSequenceClassification",
            "model.",
            &[
                ("head.dense.weight", &[64, 64]),
                ("head.norm.weight", &[64]),
                ("classifier.weight", &[3, 64]),
                ("classifier.bias", &[3]),
            ],
        ),
        ("qwen3", "Qwen3ForSequenceClassification", "", &[("score.weight", &[3, 64])]),
    ] {
        let mut family = family(name);
        let config = &mut family["config"];
        config["architectures"] = json!([class]);
        config["id2label"] = json!({"0": "low", "1": "middle", "2": "high"});
        let source = within(&family, start, head);
        let files = files(&source);
        let is_unigram = name == "xlm-roberta";
        let import = |config: &str| imported(Import::new(&files, &description(config, is_unigram))).unwrap();
        let bytes = import(&family["config"].to_string());
        let model = Gguf::parse(&bytes).unwrap();
        assert_eq!(model.tensor("cls.output.weight").unwrap().shape().dims(), [64, 3], "{name}");
        let plan = Export::new(&model, &bytes).plan().unwrap();
        assert!(plan.notes().is_empty(), "{name}: {:?}", plan.notes());
        let own = plan.config_json().unwrap();
        let said: Json = serde_json::from_str(own).unwrap();
        for key in ["architectures", "id2label", "model_type"] {
            assert_eq!(said[key], family["config"][key], "{name}");
        }
        assert_eq!(said["label2id"], json!({"low": 0, "middle": 1, "high": 2}));
        let back = checkpoint(exported(&bytes, None).unwrap()).unwrap();
        for (tensor, (dtype, shape, values)) in source.iter().filter(|(name, _)| is_left(name)) {
            let there = back.tensor(tensor).unwrap_or_else(|| panic!("{name}: {tensor} is missing"));
            assert_eq!(there.info().shape(), shape, "{name}: {tensor}");
            // Rows of positions that no text has are zeros now.
            if there.info().dtype() == *dtype && !(is_unigram && tensor.contains("position")) {
                let mut found = vec![0; values.len()];
                there.read_at(&mut found, 0).unwrap();
                assert!(found == *values, "{name}: {tensor}");
            }
        }
        assert!(import(own) == bytes, "{name}");
        for description in [Description::default(), description(own, is_unigram)] {
            assert!(imported(Import::new(&back, &description)).unwrap() == bytes, "{name}");
        }
    }
}

/// What the class does not use.
fn is_left(name: &str) -> bool {
    !name.starts_with("roberta.pooler")
}

/// llama.cpp gives the head the mean of all tokens, and the class the first where nothing is said.
#[test]
fn a_head_that_llama_cpp_gives_something_else_is_refused() {
    let mut family = family("modernbert");
    family["config"]["architectures"] = json!(["ModernBertForSequenceClassification"]);
    let head: &[(&str, &[u64])] =
        &[("head.dense.weight", &[64, 64]), ("head.norm.weight", &[64]), ("classifier.weight", &[2, 64])];
    let files = files(&within(&family, "model.", head));
    let error = |config: &Json| {
        let description = description(&config.to_string(), false);
        Import::new(&files, &description).plan().map_err(|error| error.to_string()).err()
    };
    assert_eq!(error(&family["config"]), None);
    let mut silent = family["config"].clone();
    silent.as_object_mut().unwrap().remove("classifier_pooling");
    family["config"]["classifier_pooling"] = "cls".into();
    let start = "'config.json': 'classifier_pooling'";
    let wanted = "must be 'mean' in modern-bert models: llama.cpp computes no others";
    assert_eq!(error(&family["config"]), Some(format!("{start} {wanted}")));
    let lacks = "which the file lacks and the class takes for \"cls\" then";
    assert_eq!(error(&silent), Some(format!("{start}, {lacks}, {wanted}")));
    family["config"]["classifier_pooling"] = Json::Null;
    assert_eq!(error(&family["config"]), Some(format!("{start} must be a string")));
    // Without a head the key means nothing.
    family["config"]["architectures"] = json!(["ModernBertModel"]);
    assert!(error(&family["config"]).is_none_or(|error| !error.contains("pooling")));
}

/// llama.cpp makes chances of a decoder's answers: beside 0, one answer has that of its sigmoid.
#[test]
fn one_answer_becomes_two() {
    let mut family = family("qwen3");
    family["config"]["architectures"] = json!(["Qwen3ForSequenceClassification"]);
    family["config"]["id2label"] = json!({"0": "LABEL_0"});
    let mut source = within(&family, "", &[("score.weight", &[1, 64])]);
    let head: Vec<f32> = super::values(&source, "score.weight");
    for (id, asks) in [("Qwen/Qwen3-Reranker-0.6B-seq-cls", true), ("someone/judge", false)] {
        family["config"]["_name_or_path"] = id.into();
        let files = files(&source);
        let description = description(&family["config"].to_string(), false);
        let bytes = imported(Import::new(&files, &description).ggml_type(GgmlType::BF16)).unwrap();
        let model = Gguf::parse(bytes).unwrap();
        let tensor = model.tensor("cls.output.weight").unwrap();
        assert_eq!((tensor.shape().dims(), tensor.ggml_type()), (&[64, 2][..], GgmlType::BF16));
        let values: Vec<f32> = tensor.dequantize().unwrap();
        assert!(values[..64] == head && values[64..].iter().all(|value| *value == 0.0));
        let metadata = model.metadata();
        assert_eq!(metadata.require::<u32>("qwen3.pooling_type").unwrap(), 4);
        let labels = metadata.require_array::<&str>("qwen3.classifier.output_labels").unwrap();
        assert_eq!(labels.map(Result::unwrap).collect::<Vec<_>>(), ["yes", "no"]);
        assert_eq!(metadata.get("tokenizer.chat_template.rerank").is_some(), asks);
    }
    source.remove("score.weight");
    let files = files(&source);
    let description = description(&family["config"].to_string(), false);
    let error = Import::new(&files, &description).plan().unwrap_err().to_string();
    assert!(error.contains("'score.weight' is missing"), "{error}");
}
