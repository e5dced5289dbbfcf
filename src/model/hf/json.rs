//! The JSON files that describe a model, read with errors that name file and key.

use std::path::Path;

use serde_json::Value;

use super::families::Default;

use crate::error::{Error, Result, Shown};
use crate::safetensors::path::{exists, read_bounded};

/// The longest file that is read: more than the largest tokenizer has.
const MAX_BYTES: u64 = 64_000_000;

const TIED: &str = "tie_word_embeddings";

/// A JSON file.
#[derive(Debug, Clone)]
pub(super) struct Document {
    /// What it is called in messages.
    name: String,
    /// Of the value, where it is a part of the file.
    path: &'static str,
    value: Value,
    /// Keys that the file lacks, whose values are the class's defaults.
    filled: Vec<&'static str>,
}

impl Document {
    pub(super) fn parse(name: &str, json: &[u8]) -> Result<Self> {
        // Python writes numbers that JSON does not have, and reads them.
        let parsed = serde_json::from_slice(json).or_else(|error| match without_infinities(json) {
            Some(json) => serde_json::from_slice(&json),
            None => Err(error),
        });
        match parsed {
            Ok(value) => Ok(Self::of(name, value)),
            Err(error) => {
                let message = format!("not JSON: {error}");
                Err(Error::Safetensors { file: Some(name.to_owned()), offset: None, message })
            }
        }
    }

    /// What a file would hold.
    pub(super) fn of(name: &str, value: Value) -> Self {
        Document { name: name.to_owned(), path: "", value, filled: Vec::new() }
    }

    /// `None` where there is no such file.
    pub(super) fn read(path: &Path) -> Result<Option<Self>> {
        if !exists(path)? {
            return Ok(None);
        }
        Self::parse(&path.display().to_string(), &read_bounded(path, MAX_BYTES)?).map(Some)
    }

    pub(super) fn root(&self) -> Node<'_> {
        Node {
            file: &self.name,
            path: self.path.to_owned(),
            value: &self.value,
            filled: &self.filled,
            is_filled: false,
        }
    }

    /// The object of a key, or the whole where there is none, with values of keys that it lacks.
    pub(super) fn with_defaults(&self, part: &'static str, defaults: &[(&'static str, Default)]) -> Self {
        let inner = self.value.get(part).filter(|part| part.is_object());
        let mut value = inner.unwrap_or(&self.value).clone();
        let mut filled = Vec::new();
        if let Some(object) = value.as_object_mut() {
            // Newer files say of the whole model what older ones say of its text, where newer ones may say otherwise.
            if let Some(tied) =
                self.value.get(TIED).filter(|tied| !object.contains_key(TIED) || **tied == true)
            {
                object.insert(TIED.to_owned(), tied.clone());
            }
            for (key, default) in defaults {
                if object.contains_key(*key) {
                    continue;
                }
                let value = match *default {
                    Default::U32(number) => number.into(),
                    Default::F64(number) => number.into(),
                    Default::Flag(flag) => flag.into(),
                    Default::Text(text) => text.into(),
                    Default::Of(other) => match object.get(other) {
                        Some(value) => value.clone(),
                        None => continue,
                    },
                };
                if !matches!(default, Default::Of(_)) {
                    filled.push(*key);
                }
                object.insert((*key).to_owned(), value);
            }
        }
        let path = if inner.is_some() { part } else { "" };
        Document { name: self.name.clone(), path, value, filled }
    }
}

/// The JSON with `NaN`, `Infinity` and `-Infinity` as strings of the same length, so that errors name the same bytes, and a
/// number that is needed there is missed by its key; `None` where there are none.
fn without_infinities(json: &[u8]) -> Option<Vec<u8>> {
    const NAMES: [(&[u8], &[u8]); 3] =
        [(b"NaN", br#""N""#), (b"Infinity", br#""Infini""#), (b"-Infinity", br#""-Infini""#)];
    let mut out = json.to_vec();
    let (mut at, mut found, mut in_string) = (0, false, false);
    while at < json.len() {
        match json[at] {
            b'\\' if in_string => at += 1,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            _ => {
                let name = NAMES.iter().find(|(name, _)| json[at..].starts_with(name));
                if let Some((name, string)) = name {
                    out[at..at + name.len()].copy_from_slice(string);
                    at += name.len() - 1;
                    found = true;
                }
            }
        }
        at += 1;
    }
    found.then_some(out)
}

/// A value of a file, and where it is there.
#[derive(Debug, Clone)]
pub(super) struct Node<'a> {
    file: &'a str,
    path: String,
    pub(super) value: &'a Value,
    /// Keys of this object that the file lacks.
    filled: &'a [&'static str],
    /// Whether this is the value of such a key.
    is_filled: bool,
}

impl<'a> Node<'a> {
    /// The value of a key; `None` where this is no object, has no such key, or it is null.
    pub(super) fn get(&self, key: &str) -> Option<Node<'a>> {
        Some(self.or_null(key)).filter(|node| !node.value.is_null())
    }

    /// The value of a key, or null.
    pub(super) fn or_null(&self, key: &str) -> Node<'a> {
        let dot = if self.path.is_empty() { "" } else { "." };
        let value = self.value.get(key).unwrap_or(&Value::Null);
        let is_filled = self.filled.contains(&key);
        Node { file: self.file, path: format!("{}{dot}{key}", self.path), value, filled: &[], is_filled }
    }

    /// The value of a key that an object is known to have.
    pub(super) fn of_key(object: &Node<'a>, key: &str) -> Node<'a> {
        let value = object.value.get(key).unwrap_or(&Value::Null);
        Node {
            file: object.file,
            path: format!("{}[{key:?}]", object.path),
            value,
            filled: &[],
            is_filled: false,
        }
    }

    /// The first of several keys that is there.
    pub(super) fn any(&self, keys: &[&str]) -> Option<Node<'a>> {
        keys.iter().find_map(|key| self.get(key))
    }

    pub(super) fn required(&self, key: &str) -> Result<Node<'a>> {
        self.get(key).ok_or_else(|| self.wrong(&format!("has no '{key}'")))
    }

    pub(super) fn u32(&self) -> Result<u32> {
        let number = self.value.as_u64().and_then(|number| u32::try_from(number).ok());
        number.ok_or_else(|| self.wrong("must be an integer from 0 to 4294967295"))
    }

    /// A number that GGUF's single precision has about.
    pub(super) fn f64(&self) -> Result<f64> {
        let number = self.value.as_f64().ok_or_else(|| self.wrong("must be a number"))?;
        match (number as f32).is_finite() {
            true => Ok(number),
            false => Err(self.wrong(&format!("is {number:e}, beyond the range of single precision"))),
        }
    }

    pub(super) fn bool(&self) -> Result<bool> {
        self.value.as_bool().ok_or_else(|| self.wrong("must be true or false"))
    }

    pub(super) fn str(&self) -> Result<&'a str> {
        self.value.as_str().ok_or_else(|| self.wrong("must be a string"))
    }

    pub(super) fn array(&self) -> Result<impl ExactSizeIterator<Item = Node<'a>> + use<'a>> {
        let elements = self.value.as_array().ok_or_else(|| self.wrong("must be an array"))?;
        let (file, path) = (self.file, self.path.clone());
        Ok(elements.iter().enumerate().map(move |(index, value)| Node {
            file,
            path: format!("{path}[{index}]"),
            value,
            filled: &[],
            is_filled: false,
        }))
    }

    pub(super) fn wrong(&self, problem: &str) -> Error {
        let path =
            if self.path.is_empty() { "the file".to_owned() } else { format!("'{}'", Shown(&self.path)) };
        match self.is_filled {
            true => self.error(format!(
                "{path}, which the file lacks and the class takes for {} then, {problem}",
                self.value
            )),
            false => self.error(format!("{path} {problem}")),
        }
    }

    /// An error that this value shows, and is not wrong itself.
    pub(super) fn about(&self, message: &str) -> Error {
        match self.path.is_empty() {
            true => self.error(message.to_owned()),
            false => self.error(format!("'{}': {message}", Shown(&self.path))),
        }
    }

    fn error(&self, message: String) -> Error {
        Error::Safetensors { file: Some(self.file.to_owned()), offset: None, message }
    }
}
