//! The page's numbers in JSON, for other programs.

use gguf_codec::QuantError;
use gguf_codec::model::Size;
use serde_json::{Value as Json, json};

use super::gather::{Entry, Gathered};

pub(crate) fn json(gathered: &Gathered<'_>) -> String {
    let by_type: serde_json::Map<_, _> =
        gathered.types.iter().map(|(ty, total)| (ty.name().to_owned(), size(*total))).collect();
    let by_layer: Vec<_> = gathered
        .layers
        .iter()
        .map(|(layer, entries)| {
            let mut json = size(gathered.size(entries));
            json["layer"] = json!(layer.to_string());
            json
        })
        .collect();
    let tensors: Vec<_> = gathered.entries.iter().map(tensor).collect();
    let json = json!({ "totals": size(gathered.total), "by_type": by_type, "by_layer": by_layer, "tensors": tensors });
    crate::json::document(&json)
}

fn size(size: Size) -> Json {
    json!({ "tensors": size.tensors, "parameters": size.parameters, "bytes": size.bytes,
        "bits_per_weight": size.bits_per_weight() })
}

fn tensor(entry: &Entry<'_>) -> Json {
    let distribution = &entry.profile.distribution;
    let some = distribution.finite() > 0;
    json!({ "name": entry.name, "type": entry.ty.name(), "shape": entry.shape.dims(), "bytes": entry.size.bytes,
        "values_looked_at": entry.profile.values, "min": distribution.min(), "max": distribution.max(),
        "mean": some.then(|| distribution.mean()), "standard_deviation": some.then(|| distribution.std_dev()),
        "not_finite": distribution.not_finite(), "error": entry.error().map(error) })
}

/// JSON has no NaN and no infinity, so they are written as strings.
fn error(error: &QuantError) -> Json {
    let double = |value: f64| if value.is_finite() { json!(value) } else { json!(value.to_string()) };
    json!({ "rmse": double(error.rmse()), "max": double(error.max().into()), "snr_db": double(error.snr_db()),
        "cosine": double(error.cosine()) })
}
