//! What sentence transformers read of a model: how one vector is made of many.

use serde_json::{Map, Value as Json, json};

use super::settings::text;
use crate::error::Result;
use crate::gguf::metadata::Metadata;

const FOLDER: &str = "1_Pooling/config.json";

/// The kinds, with `pooling_type` of those that a GGUF can name.
const MODES: [(&str, Option<u32>); 6] = [
    ("pooling_mode_cls_token", Some(2)),
    ("pooling_mode_mean_tokens", Some(1)),
    ("pooling_mode_max_tokens", None),
    ("pooling_mode_mean_sqrt_len_tokens", None),
    ("pooling_mode_weightedmean_tokens", None),
    ("pooling_mode_lasttoken", Some(3)),
];

/// `modules.json` and the configuration of the pooling, where the metadata names one.
pub(super) fn files(metadata: Metadata<'_>) -> Result<Vec<(&'static str, String)>> {
    let number = |key: &str| metadata.optional_arch::<u32>(key).ok().flatten();
    let kind = number("pooling_type").filter(|kind| MODES.iter().any(|(_, id)| *id == Some(*kind)));
    let Some((kind, width)) = kind.zip(number("embedding_length")) else { return Ok(Vec::new()) };
    let module = |idx: u32, path: &str, class: &str| {
        json!({ "idx": idx, "name": idx.to_string(), "path": path,
            "type": format!("sentence_transformers.models.{class}") })
    };
    let modules = json!([module(0, "", "Transformer"), module(1, "1_Pooling", "Pooling")]);
    let mut pooling = Map::new();
    pooling.insert("word_embedding_dimension".to_owned(), width.into());
    pooling.extend(MODES.map(|(mode, id)| (mode.to_owned(), (id == Some(kind)).into())));
    pooling.insert("include_prompt".to_owned(), true.into());
    Ok(vec![
        ("modules.json", text("modules.json", &modules)?),
        (FOLDER, text(FOLDER, &Json::Object(pooling))?),
    ])
}
