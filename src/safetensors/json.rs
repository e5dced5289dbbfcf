//! Parses the header's JSON, entry by entry. Memory use is bounded by the header's length.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::dtype::Dtype;
use crate::error::Shown;
use crate::limits::Limits;

/// A tensor as described by the header.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    /// Outermost first, as in the file.
    pub(super) shape: Vec<u64>,
    /// The range of its bytes, relative to the start of all data.
    pub(super) start: u64,
    pub(super) end: u64,
}

#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) metadata: Vec<(String, String)>,
    pub(super) entries: Vec<Entry>,
}

/// A problem in JSON, and its position in bytes.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) at: u64,
    pub(super) message: String,
}

/// The key that does not describe a tensor.
pub(super) const METADATA: &str = "__metadata__";

pub(super) fn parse(json: &[u8], limits: Limits) -> Result<Parsed, Wrong> {
    let mut from = serde_json::Deserializer::from_slice(json);
    Root { max_tensors: limits.max_tensors, max_keys: limits.max_keys }
        .deserialize(&mut from)
        .and_then(|parsed| from.end().map(|()| parsed))
        .map_err(|error| wrong(json, &error))
}

/// Converts the line and column of an error to a byte offset, and shortens what it quotes of the file.
pub(super) fn wrong(json: &[u8], error: &serde_json::Error) -> Wrong {
    const MOST: usize = 300;
    let lines = json.split_inclusive(|&byte| byte == b'\n');
    let before: usize = lines.take(error.line().saturating_sub(1)).map(<[u8]>::len).sum();
    let text = error.to_string();
    let mut message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message).to_owned();
    if message.len() > MOST {
        let end = (0..=MOST).rev().find(|&end| message.is_char_boundary(end)).unwrap_or(0);
        message.truncate(end);
        message.push('…');
    }
    Wrong { at: (before + error.column().saturating_sub(1)) as u64, message }
}

struct Root {
    max_tensors: u64,
    max_keys: u64,
}

impl<'de> DeserializeSeed<'de> for Root {
    type Value = Parsed;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Parsed, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Root {
    type Value = Parsed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with an entry for each tensor")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parsed, A::Error> {
        let mut parsed = Parsed::default();
        let mut has_metadata = false;
        while let Some(name) = map.next_key::<String>()? {
            if name != METADATA {
                if parsed.entries.len() as u64 == self.max_tensors {
                    return Err(A::Error::custom(format_args!(
                        "there are more than {} tensors",
                        self.max_tensors
                    )));
                }
                parsed.entries.push(map.next_value_seed(EntryOf(name))?);
            } else if std::mem::replace(&mut has_metadata, true) {
                return Err(A::Error::custom("__metadata__ occurs twice"));
            } else {
                // The format's own library treats null like an absent value.
                let texts = Texts { name: METADATA, most: self.max_keys };
                parsed.metadata = map.next_value_seed(OrNull(texts))?.unwrap_or_default();
            }
        }
        Ok(parsed)
    }
}

/// An object of strings, its name, and the maximum number of pairs: two strings take far more memory than the bytes of a
/// short pair.
struct Texts {
    name: &'static str,
    most: u64,
}

impl<'de> DeserializeSeed<'de> for Texts {
    type Value = Vec<(String, String)>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Texts {
    type Value = Vec<(String, String)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to be an object of strings", self.name)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut texts = Vec::new();
        while let Some(entry) = map.next_entry::<String, String>()? {
            if texts.len() as u64 == self.most {
                return Err(A::Error::custom(format_args!(
                    "{} has more than {} pairs",
                    self.name, self.most
                )));
            }
            texts.push(entry);
        }
        Ok(texts)
    }
}

/// A value that may be null.
struct OrNull<S>(S);

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for OrNull<S> {
    type Value = Option<S::Value>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_option(self)
    }
}

impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for OrNull<S> {
    type Value = Option<S::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings, or null")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        self.0.deserialize(from).map(Some)
    }
}

/// The object that describes the tensor of this name.
struct EntryOf(String);

impl<'de> DeserializeSeed<'de> for EntryOf {
    type Value = Entry;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Entry, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EntryOf {
    type Value = Entry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tensor '{}' to be an object with dtype, shape and data_offsets", Shown(&self.0))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
        let own = self.0.clone();
        let shown = Shown(&own);
        let (mut dtype, mut shape, mut offsets) = (None, None, None);
        let twice = |field: &str| A::Error::custom(format_args!("tensor '{shown}' has {field} twice"));
        while let Some(field) = map.next_key::<String>()? {
            match field.as_str() {
                "dtype" if dtype.is_some() => return Err(twice("dtype")),
                "shape" if shape.is_some() => return Err(twice("shape")),
                "data_offsets" if offsets.is_some() => return Err(twice("data_offsets")),
                "dtype" => {
                    let name = map.next_value::<String>()?;
                    dtype = Some(Dtype::from_name(&name).ok_or_else(|| {
                        let known: Vec<_> = Dtype::ALL.iter().map(|dtype| dtype.name()).collect();
                        A::Error::custom(format_args!(
                            "tensor '{shown}' has the unknown dtype '{}'; known are {}",
                            Shown(&name),
                            known.join(", ")
                        ))
                    })?);
                }
                "shape" => shape = Some(map.next_value_seed(Numbers)?),
                "data_offsets" => offsets = Some(map.next_value::<(u64, u64)>()?),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let missing = |field: &str| A::Error::custom(format_args!("tensor '{shown}' has no {field}"));
        let (start, end) = offsets.ok_or_else(|| missing("data_offsets"))?;
        Ok(Entry {
            dtype: dtype.ok_or_else(|| missing("dtype"))?,
            shape: shape.ok_or_else(|| missing("shape"))?,
            start,
            end,
            name: self.0,
        })
    }
}

/// A shape, kept in no more memory than it needs.
struct Numbers;

impl<'de> DeserializeSeed<'de> for Numbers {
    type Value = Vec<u64>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Vec<u64>, D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Numbers {
    type Value = Vec<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a shape to be an array of counts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<u64>, A::Error> {
        let mut numbers = Vec::new();
        while let Some(number) = seq.next_element()? {
            numbers.push(number);
        }
        numbers.shrink_to_fit();
        Ok(numbers)
    }
}

/// Parses the pairs of an index's `weight_map`: tensors and their files.
#[cfg(any(unix, windows))]
pub(super) fn parse_weight_map(json: &[u8], limits: Limits) -> Result<Vec<(String, String)>, Wrong> {
    let mut from = serde_json::Deserializer::from_slice(json);
    WeightMap { max_tensors: limits.max_tensors }
        .deserialize(&mut from)
        .and_then(|map| from.end().map(|()| map))
        .map_err(|error| wrong(json, &error))
}

#[cfg(any(unix, windows))]
struct WeightMap {
    max_tensors: u64,
}

#[cfg(any(unix, windows))]
impl<'de> DeserializeSeed<'de> for WeightMap {
    type Value = Vec<(String, String)>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_map(self)
    }
}

#[cfg(any(unix, windows))]
impl<'de> Visitor<'de> for WeightMap {
    type Value = Vec<(String, String)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a weight_map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = None;
        while let Some(key) = map.next_key::<String>()? {
            if key == "weight_map" && pairs.is_some() {
                return Err(A::Error::custom("weight_map occurs twice"));
            } else if key == "weight_map" {
                pairs = Some(map.next_value_seed(Texts { name: "weight_map", most: self.max_tensors })?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        pairs.ok_or_else(|| A::Error::custom("the index has no weight_map"))
    }
}
