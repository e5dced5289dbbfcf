//! Metadata keys and values as arguments: `KEY=VALUE`, `KEY=TYPE:VALUE`, `KEY[N]=VALUE`.

use std::path::PathBuf;

use gguf_codec::{Value, ValueKind};

/// A key with its value: text, or the file that contains it.
pub(crate) fn key_and_text(argument: &str) -> Result<(String, String), String> {
    let (key, text) = argument.split_once('=').ok_or("there is no '=' after the key")?;
    if key.is_empty() {
        return Err("the key before '=' is empty".to_owned());
    }
    Ok((key.to_owned(), text.to_owned()))
}

/// `KEY=FILE`.
pub(crate) fn key_and_file(argument: &str) -> Result<(String, PathBuf), String> {
    key_and_text(argument).map(|(key, file)| (key, file.into()))
}

fn key_kind_rest(argument: &str) -> Result<(String, ValueKind, Option<String>), String> {
    let (key, typed) = key_and_text(argument)?;
    let (kind, rest) = match typed.split_once(':') {
        Some((kind, rest)) => (kind, Some(rest.to_owned())),
        None => (typed.as_str(), None),
    };
    let parsed = kind.parse::<ValueKind>();
    let hint = if rest.is_none() { " (TYPE:VALUE is wanted)" } else { "" };
    Ok((key, parsed.map_err(|error| format!("{error}{hint}"))?, rest))
}

/// `KEY=TYPE:VALUE`.
pub(crate) fn key_and_value(argument: &str) -> Result<(String, Value), String> {
    let (key, kind, text) = key_kind_rest(argument)?;
    let text = text.ok_or("there is no ':' after the type")?;
    Ok((key, kind.parse_value(&text).map_err(|error| error.to_string())?))
}

/// `KEY=TYPE:FILE`.
pub(crate) fn key_type_and_file(argument: &str) -> Result<(String, ValueKind, PathBuf), String> {
    let (key, kind, file) = key_kind_rest(argument)?;
    Ok((key, kind, file.ok_or("there is no ':' after the type")?.into()))
}

/// The new type of a key by `KEY=TYPE`, with or without a value.
#[derive(Debug, Clone)]
pub(crate) enum Retyped {
    Kind(ValueKind),
    Value(Value),
}

/// `KEY=TYPE` or `KEY=TYPE:VALUE`.
pub(crate) fn key_and_type(argument: &str) -> Result<(String, Retyped), String> {
    let (key, kind, text) = key_kind_rest(argument)?;
    let retyped = match text {
        None => Retyped::Kind(kind),
        Some(text) => Retyped::Value(kind.parse_value(&text).map_err(|error| error.to_string())?),
    };
    Ok((key, retyped))
}

/// Two names with `=` between them.
pub(crate) fn two_names(argument: &str) -> Result<(String, String), String> {
    let (from, to) = argument.split_once('=').ok_or("there is no '=' between the names")?;
    if from.is_empty() || to.is_empty() {
        return Err("a name is empty".to_owned());
    }
    Ok((from.to_owned(), to.to_owned()))
}

/// The array and the element's index in `KEY[N]`.
pub(crate) fn element(key: &str) -> Option<(&str, usize)> {
    let (key, index) = key.strip_suffix(']')?.rsplit_once('[')?;
    let is_number = !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit());
    Some((key, index.parse().ok().filter(|_| is_number && !key.is_empty())?))
}

/// A type, and the rest of `TYPE:VALUE`.
pub(crate) fn typed(text: &str) -> Option<(ValueKind, &str)> {
    let (kind, rest) = text.split_once(':')?;
    Some((kind.parse().ok()?, rest))
}

/// Layer numbers, from 0: `20-25`, `3` or `1,20-25`.
pub(crate) fn layers(text: &str) -> Result<Layers, String> {
    const MOST: u32 = 100_000;
    let number = |text: &str| text.trim().parse::<u32>().ok().filter(|&number| number < MOST);
    let mut layers = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => layers.extend(first..=last),
            _ => {
                return Err(
                    "layers are numbers from 0 or ranges of them, such as 20-25 or 3,7,20-25".to_owned()
                );
            }
        }
    }
    Ok(Layers(layers))
}

/// Layer numbers.
#[derive(Debug, Clone)]
pub(crate) struct Layers(pub(crate) Vec<u32>);
