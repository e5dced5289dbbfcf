//! The table of keys, their types and values.

use gguf_codec::model::FileType;
use gguf_codec::{ArrayRef, ShardedGguf, ValueRef, ValueType};

use super::View;
use crate::cli;
use crate::numbers::{grouped, short};
use crate::screen::{columns, padded};

pub(super) fn metadata<B: AsRef<[u8]>>(model: &ShardedGguf<B>, view: &View<'_>) -> String {
    let pairs: Vec<_> = model.metadata().iter().map(|(key, value)| (short(key), key, value)).collect();
    let names = view.names(pairs.iter().map(|(key, ..)| key.as_str()));
    let kinds: Vec<_> = pairs.iter().map(|&(.., value)| shown_type(value)).collect();
    let width = kinds.iter().map(|kind| columns(kind)).max().unwrap_or(0).max(4);
    let heading = format!("metadata ({})", grouped(pairs.len() as u64));
    let mut text = view.screen.line("");
    text += &view.screen.line(&(padded(&heading, names) + &padded("type", width) + "value"));
    let tokens = model.metadata().require::<ArrayRef<'_>>("tokenizer.ggml.tokens").ok();
    for ((shown, key, value), kind) in pairs.iter().zip(&kinds) {
        let start = padded(shown, names) + &padded(kind, width);
        let left = view.screen.width().map(|width| width.saturating_sub(columns(&start)));
        let mut value_text = shown_value(*value, left, view.all);
        if let ("general.file_type", Ok(id)) = (*key, model.metadata().require::<u32>(key)) {
            value_text += &format!("  ({})", FileType::from_id(id));
        }
        let index = key.strip_suffix("_token_id").and_then(|_| model.metadata().require::<usize>(key).ok());
        if let Some(token) = index.and_then(|index| tokens?.get(index)) {
            value_text += &format!("  {}", quoted(token));
        }
        text += &view.screen.line(&(start + &value_text));
    }
    text
}

/// The name of a value's type, in the form that `edit` accepts.
pub(super) fn kind(value: ValueRef<'_>) -> String {
    match value {
        // Arrays within an array may have different types.
        ValueRef::Array(array) if array.element_type() == ValueType::Array => "[[…]]".to_owned(),
        value => value.value_type().to_string().replace("string", "str"),
    }
}

/// As [`kind`], with an array's length: `str[49152]`.
fn shown_type(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Array(array) => {
            let element = array.element_type().to_string().replace("string", "str");
            format!("{element}[{}]", array.len())
        }
        value => kind(value),
    }
}

/// A value on one line, in full or cut to `left` columns. Text is not quoted if it cannot be mistaken for
/// another value.
fn shown_value(value: ValueRef<'_>, left: Option<usize>, all: bool) -> String {
    match value {
        ValueRef::Array(array) => shown_array(array, left, all),
        ValueRef::String(bytes) => {
            let start = left.map_or(bytes, |left| &bytes[..bytes.len().min(4 * left + 8)]);
            let text = printable_line(&String::from_utf8_lossy(start));
            let is_plain = !bytes.is_empty() && text.trim() == text && !text.starts_with('"');
            if is_plain { text } else { format!("\"{text}\"") }
        }
        value => value.to_string(),
    }
}

/// Text without invisible characters and line breaks.
fn printable_line(text: &str) -> String {
    cli::printable(text)
}

/// Text quoted within other text.
fn quoted(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::String(bytes) => format!("\"{}\"", printable_line(&String::from_utf8_lossy(bytes))),
        value => value.to_string(),
    }
}

/// The first elements of an array, or all of them.
fn shown_array(array: ArrayRef<'_>, left: Option<usize>, all: bool) -> String {
    const MOST: usize = 8;
    let most = match left {
        Some(left) => left / 2 + 1,
        None if all => usize::MAX,
        None => MOST,
    };
    let mut text = String::new();
    for (index, element) in array.iter().take(most).enumerate() {
        let element = match element {
            ValueRef::Array(inner) => format!("[…] ({} {})", inner.len(), inner.element_type()),
            ValueRef::String(bytes) => {
                let start = left.map_or(bytes, |left| &bytes[..bytes.len().min(4 * left + 8)]);
                quoted(ValueRef::String(start))
            }
            element => element.to_string(),
        };
        let next = format!("{text}{}{element}", if index > 0 { ", " } else { "" });
        // So that the cut never leaves half an element.
        if left.is_some_and(|left| index > 0 && columns(&next) + 3 > left) && array.len() > index {
            return format!("{text}, …");
        }
        text = next;
    }
    if array.len() > most {
        text + ", …"
    } else if array.is_empty() {
        "[]".to_owned()
    } else {
        text
    }
}
