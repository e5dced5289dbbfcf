//! What messages say of a text or a value that has another type.

use alloc::format;
use alloc::string::{String, ToString};

use crate::gguf::value::Value;

/// The problem with a text or a value, without the key.
pub(crate) type Why<T> = Result<T, String>;

/// Describes a value for a message: its type, and its contents if they are short.
pub(super) fn described(value: &Value) -> String {
    match value {
        Value::Array(_) => format!("a value of type {}", value.value_type()),
        value => format!("{value} ({})", value.tag()),
    }
}

/// Returns as much of a text as a message shows.
pub(super) fn start_of(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", text[..at].escape_debug()),
        None => text.escape_debug().to_string(),
    }
}
