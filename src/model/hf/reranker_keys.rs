//! What rerankers answer with, and the keys that say so.

use super::families::Family;
use super::import_plan::Pairs;
use crate::gguf::value::{Array, Value};

/// The tokens, and what llama.cpp calls the outputs.
pub(super) const ANSWERS: [&str; 2] = ["yes", "no"];

/// `PoolingType.RANK`.
const RANK: u32 = 4;

/// What the model was trained to answer, as llama.cpp fills it in.
const TEMPLATE: &str = "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct provided. \
     Note that the answer can only be \"yes\" or \"no\".<|im_end|>\n<|im_start|>user\n<Instruct>: Given a web search query, retrieve relevant \
     passages that answer the query\n<Query>: {query}\n<Document>: {document}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n";

/// The keys that say so, after those of the family's parameters.
pub(super) fn put_keys(family: &Family, labels: Option<Vec<String>>, asks: bool, pairs: &mut Pairs) {
    let key = |name: &str| format!("{}.{name}", family.architecture);
    let texts =
        |texts: Vec<String>| Value::Array(Array::String(texts.into_iter().map(String::into_bytes).collect()));
    let mut keys = vec![(key("pooling_type"), Value::U32(RANK))];
    keys.extend(labels.map(|labels| (key("classifier.output_labels"), texts(labels))));
    if asks {
        keys.push(("tokenizer.chat_template.rerank".to_owned(), TEMPLATE.into()));
        keys.push(("tokenizer.chat_templates".to_owned(), texts(vec!["rerank".to_owned()])));
    }
    pairs.retain(|(known, _)| keys.iter().all(|(key, _)| key != known));
    let at = pairs.iter().position(|(key, _)| key == "general.quantization_version").unwrap_or(pairs.len());
    pairs.splice(at..at, keys);
}
