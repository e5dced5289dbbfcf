//! Numbers and metadata as JSON.

use gguf_codec::ValueRef;
use serde_json::{Value as Json, json};

use crate::cli::is_invisible;

/// Arrays longer than `most` are shown as their type, length and first elements.
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
        ValueRef::String(bytes) => Json::String(text(bytes)),
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

/// Marks a byte that is not UTF-8, which is encoded in the next character, until [`pretty`] writes it. Text does not use this
/// noncharacter; if it occurs in a text, it is doubled.
const ESCAPE: char = '\u{10fffe}';

/// The characters after [`ESCAPE`] are this number plus the byte.
const BYTES: u32 = 0x100;

fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            text.extend(std::iter::repeat_n(character, if character == ESCAPE { 2 } else { 1 }));
        }
        for &byte in chunk.invalid() {
            text.push(ESCAPE);
            text.extend(char::from_u32(BYTES + u32::from(byte)));
        }
    }
    text
}

/// The document on several lines. Characters that are invisible are escaped, so that names from files cannot control a terminal.
pub(crate) fn document(json: &Json) -> String {
    visible(&format!("{json:#}\n"))
}

/// [`document`] for texts by [`text`]: bytes that are not UTF-8 are written as the lone surrogates that Python uses for them, `\udcff`
/// for 0xFF, which `edit` accepts.
pub(crate) fn pretty(json: &Json) -> String {
    visible(&written(&format!("{json:#}\n")))
}

/// The same on one line.
pub(crate) fn line(json: &Json) -> String {
    visible(&written(&json.to_string()))
}

fn visible(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for character in json.chars() {
        if character != '\n' && is_invisible(character) {
            let mut units = [0; 2];
            out.extend(character.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            out.push(character);
        }
    }
    out
}

fn written(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut characters = json.chars();
    while let Some(character) = characters.next() {
        match (character, characters.clone().next()) {
            (ESCAPE, Some(ESCAPE)) => {
                characters.next();
                out.push(ESCAPE);
            }
            (ESCAPE, Some(byte)) if (BYTES + 0x80..BYTES + 0x100).contains(&u32::from(byte)) => {
                characters.next();
                out += &format!("\\udc{:02x}", u32::from(byte) - BYTES);
            }
            _ => out.push(character),
        }
    }
    out
}

/// A float by its own shortest digits, which a parser of doubles converts back to the same float. JSON has no NaN and no
/// infinity, so these are strings.
pub(crate) fn number(value: f32) -> Json {
    // If it were widened first, 1e-5 would become 9.999999747378752e-6.
    value.to_string().parse().map_or(Json::Null, double)
}

/// A double; NaN and infinity are strings.
pub(crate) fn double(value: f64) -> Json {
    if value.is_finite() { json!(value) } else { json!(value.to_string()) }
}
