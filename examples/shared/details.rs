//! All about one tensor.

use anyhow::Result;
use gguf_codec::Tensor;
use serde_json::Value as Json;

use crate::alternatives::Alternatives;
use crate::statistics::{self, Statistics};
use crate::summary::pretty;

/// Its values in numbers, and what quantizing it would cost: in words, or as JSON.
pub(crate) fn of(tensor: &Tensor<'_>, as_json: bool) -> Result<String> {
    let statistics = Statistics::of(tensor)?;
    let alternatives = Alternatives::of(tensor)?;
    Ok(if as_json {
        let mut json = statistics::json(tensor, &statistics);
        json["quantization_error"] = alternatives.map_or(Json::Null, |alternatives| alternatives.json());
        pretty(&json)
    } else {
        let alternatives = alternatives.map_or_else(String::new, |alternatives| alternatives.text());
        statistics::text(tensor, &statistics) + &alternatives
    })
}
