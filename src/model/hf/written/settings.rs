//! `tokenizer_config.json` and `generation_config.json`.

use serde_json::{Map, Value as Json, json};

#[cfg(any(unix, windows))]
use super::super::config::token_id;
use super::vocabulary::{Model, Vocabulary};
use crate::error::{Error, Result};
use crate::gguf::metadata::Metadata;

/// Returns the text of a `tokenizer_config.json` for the tokenizer of a GGUF: special tokens, whether they are added to a text, and
/// chat templates. It belongs beside what [`tokenizer_json`](super::tokenizer_json) returns.
///
/// # Errors
/// As [`tokenizer_json`](super::tokenizer_json) for the tokens and their kinds; [`Error::WrongValue`] where a chat template is not text.
pub fn tokenizer_config_json(metadata: &Metadata<'_>) -> Result<String> {
    settings(metadata, &mut Vec::new())
}

/// The same, and what of the metadata is left out.
pub(super) fn settings(metadata: &Metadata<'_>, notes: &mut Vec<String>) -> Result<String> {
    let vocabulary = Vocabulary::read(*metadata)?;
    // The class that takes tokenizer.json as it is.
    let mut config = json!({"tokenizer_class": "PreTrainedTokenizerFast"});
    let mut set = |name: &str, value: Json| config[name] = value;
    let separator = vocabulary.said("seperator")?;
    let is_bert = vocabulary.model == Model::WordPiece;
    for (name, key) in [
        ("bos", "bos"),
        ("eos", "eos"),
        ("unk", "unknown"),
        ("sep", "seperator"),
        ("pad", "padding"),
        ("cls", "bos"),
        ("mask", "mask"),
    ] {
        let is_left_out = match name {
            // Encoders have other names for them.
            "bos" => is_bert,
            "eos" => is_bert && separator.is_some(),
            "cls" => separator.is_none() && !is_bert,
            _ => false,
        };
        if let Some(token) = vocabulary.said(key)?.filter(|_| !is_left_out) {
            set(&format!("{name}_token"), token.text.into());
        }
    }
    for (name, key) in [("add_bos_token", "bos"), ("add_eos_token", "eos")] {
        match vocabulary.flag(name)? {
            Some(true) if vocabulary.special(key)?.is_none() => notes.push(format!(
                "tokenizer_config.json has no '{name}', which is true: there is no such token in the vocabulary"
            )),
            Some(adds) => set(name, adds.into()),
            None => {}
        }
    }
    if let Some(adds) = vocabulary.flag("add_space_prefix")?.filter(|_| vocabulary.model != Model::Unigram) {
        set("add_prefix_space", adds.into());
    }
    let joins = vocabulary.flag("remove_extra_whitespaces")?;
    set("clean_up_tokenization_spaces", joins.unwrap_or(is_bert).into());
    if let Some(length) = metadata.optional_arch::<u64>("context_length").ok().flatten() {
        set("model_max_length", length.into());
    }
    if let Some(templates) = chat_templates(metadata)? {
        set("chat_template", templates);
    }
    if is_bert && let Some(lowercase) = vocabulary.flag("normalizer.lowercase")? {
        set("do_lower_case", lowercase.into());
    }
    // Decoders take no others.
    let has_types = metadata.optional::<u32>("tokenizer.ggml.token_type_count").ok().flatten() > Some(1);
    let inputs = ["input_ids", "token_type_ids", "attention_mask"];
    set(
        "model_input_names",
        inputs.iter().filter(|name| has_types || **name != inputs[1]).copied().collect(),
    );
    text("tokenizer_config.json", &config)
}

/// One template, or several with their names.
fn chat_templates(metadata: &Metadata<'_>) -> Result<Option<Json>> {
    const KEY: &str = "tokenizer.chat_template";
    let first: Option<&str> = metadata.optional(KEY)?;
    let Some(names) = metadata.optional_array::<&str>("tokenizer.chat_templates")? else {
        return Ok(first.map(Json::from));
    };
    let mut all: Vec<Json> =
        first.into_iter().map(|template| json!({"name": "default", "template": template})).collect();
    for name in names {
        let name = name?;
        if let Some(template) = metadata.optional::<&str>(&format!("{KEY}.{name}"))? {
            all.push(json!({"name": name, "template": template}));
        }
    }
    Ok(Some(all.into()))
}

/// The text of a `generation_config.json`, where the model goes on with a text and the metadata says anything of how. `rows` are those of
/// the token embedding.
#[cfg(any(unix, windows))]
pub(super) fn generation_config_json(
    metadata: Metadata<'_>,
    rows: Option<u64>,
    notes: &mut Vec<String>,
) -> Result<Option<String>> {
    if metadata.optional_arch::<bool>("attention.causal").ok().flatten() == Some(false) {
        return Ok(None);
    }
    let mut config = Map::new();
    let mut left_out = |key: &str, value: String, wanted: &str| {
        notes.push(format!("'general.sampling.{key}' is {value}, and left out of generation_config.json: it is to be {wanted}"));
    };
    let single = |key: &str| metadata.optional::<f32>(&format!("general.sampling.{key}")).ok().flatten();
    // The transformers library refuses others.
    let (share, positive) = ((0.0..=1.0, "from 0 to 1"), (f32::MIN_POSITIVE..=f32::MAX, "above 0"));
    for (name, key, (range, wanted)) in [
        ("temperature", "temp", positive.clone()),
        ("top_p", "top_p", share.clone()),
        ("min_p", "min_p", share),
        ("repetition_penalty", "penalty_repeat", positive),
    ] {
        match single(key) {
            // That of the most likely token, always.
            Some(0.0) if name == "temperature" => drop(config.insert("do_sample".to_owned(), false.into())),
            Some(number) if !range.contains(&number) => left_out(key, number.to_string(), wanted),
            // As short as it can be told from others: 0.6, not 0.6000000238418579.
            Some(number) => {
                let number = format!("{number:?}").parse::<f64>().ok();
                config.extend(number.map(|number| (name.to_owned(), number.into())));
            }
            None => {}
        }
    }
    match metadata.optional::<i32>("general.sampling.top_k").ok().flatten() {
        Some(top_k) if top_k < 0 => left_out("top_k", top_k.to_string(), "0 (all tokens) or more"),
        top_k => config.extend(top_k.map(|top_k| ("top_k".to_owned(), top_k.into()))),
    }
    if !config.is_empty() {
        config.entry("do_sample").or_insert_with(|| true.into());
    }
    let mut id = |name: &str| token_id(metadata, name, rows, notes);
    for (name, key) in [("bos_token_id", "bos"), ("eos_token_id", "eos"), ("pad_token_id", "padding")] {
        config.extend(id(key).map(|id| (name.to_owned(), id.into())));
    }
    if let Some((eos, eot)) = id("eos").zip(id("eot")).filter(|(eos, eot)| eos != eot) {
        config.insert("eos_token_id".to_owned(), json!([eos, eot]));
    }
    match config.is_empty() {
        true => Ok(None),
        false => text("generation_config.json", &Json::Object(config)).map(Some),
    }
}

pub(super) fn text(name: &str, json: &Json) -> Result<String> {
    serde_json::to_string_pretty(json).map_err(|error| Error::write(format!("{name}: {error}")))
}
