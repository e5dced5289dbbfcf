//! The details of one tensor.

use anyhow::Result;
use gguf_codec::Tensor;
use serde_json::Value as Json;

use crate::alternatives::Alternatives;
use crate::statistics::{self, Statistics};

/// Statistics of its values, and the cost of quantizing it, as text. `values` are the tensor's values, possibly scaled.
pub(crate) fn text(tensor: &Tensor<'_>, values: &Tensor<'_>) -> Result<String> {
    let statistics = Statistics::of(values)?;
    let alternatives = Alternatives::of(values)?.map_or_else(String::new, |alternatives| alternatives.text());
    Ok(statistics::text(tensor, &statistics) + &alternatives)
}

/// The same as JSON.
pub(crate) fn json(tensor: &Tensor<'_>, values: &Tensor<'_>) -> Result<Json> {
    let mut json = statistics::json(tensor, &Statistics::of(values)?);
    json["quantization_error"] =
        Alternatives::of(values)?.map_or(Json::Null, |alternatives| alternatives.json());
    Ok(json)
}
