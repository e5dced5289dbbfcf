//! Numbers and metadata as JSON.

use gguf_codec::ValueRef;
use serde_json::{Value as Json, json};

/// Arrays longer than `most` become their type, length and first elements.
pub(crate) fn value(value: ValueRef<'_>, most: usize) -> Json {
    match value {
        ValueRef::U8(value) => json!(value),
        ValueRef::I8(value) => json!(value),
        ValueRef::U16(value) => json!(value),
        ValueRef::I16(value) => json!(value),
        ValueRef::U32(value) => json!(value),
        ValueRef::I32(value) => json!(value),
        ValueRef::U64(value) => json!(value),
        ValueRef::I64(value) => json!(value),
        ValueRef::F32(value) => number(value),
        ValueRef::F64(value) => double(value),
        ValueRef::Bool(value) => json!(value),
        ValueRef::String(bytes) => json!(String::from_utf8_lossy(bytes)),
        ValueRef::Array(array) => {
            let shown: Vec<_> = array.iter().take(most).map(|value| self::value(value, most)).collect();
            if array.len() > most {
                json!({ "array_of": array.element_type().to_string(), "len": array.len(), "first": shown })
            } else {
                json!(shown)
            }
        }
    }
}

/// A float as its own shortest digits, which a reader of doubles turns back into it; JSON has no NaN and no
/// infinity, and these are strings.
pub(crate) fn number(value: f32) -> Json {
    // Widened first, 1e-5 would become 9.999999747378752e-6.
    value.to_string().parse().map_or(Json::Null, double)
}

/// A double; NaN and infinity are strings.
pub(crate) fn double(value: f64) -> Json {
    if value.is_finite() { json!(value) } else { json!(value.to_string()) }
}
