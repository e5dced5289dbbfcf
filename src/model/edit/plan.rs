//! The result of applying an [`Edit`] to a file: the keys and tensors afterwards, and the changes.

use std::collections::{HashMap, HashSet};

use super::change::{EditChange, Name};
use super::renames::{Renames, contradiction};
use super::{Edit, Given, Put};
use crate::byte_order::ByteOrder;
use crate::error::{Error, Result};
use crate::file::sink::Sink;
use crate::gguf::layout::GGML_MAX_NAME_BYTES;
use crate::gguf::metadata::Metadata;
use crate::gguf::shards::SHARD_KEYS;
use crate::gguf::value::Value;
use crate::gguf::value_ref::ValueRef;
use crate::gguf::{Indexed, TensorInfo, ValueKind};
use crate::limits::Limits;
use crate::model::nearest::nearest_names;
use crate::write::Writer;

/// The changes that an [`Edit`] makes to a file, in file order: see [`Edit::plan`].
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct EditPlan {
    /// The changes. Each is displayed as one line.
    pub changes: Vec<EditChange>,
    /// Sentences about what is probably unintended.
    pub notes: Vec<String>,
}

const ARCHITECTURE: &str = "general.architecture";

/// An edit that has been checked against a file.
pub(super) struct Resolved<'a> {
    keys: Renames<'a>,
    tensors: Renames<'a>,
    removed: HashSet<&'a str>,
    removed_tensors: HashSet<&'a str>,
    /// The values of existing keys, by their new names.
    values: HashMap<&'a str, Value>,
    /// The elements of these that were set one by one, with their old values.
    elements: Vec<(&'a str, usize, Value)>,
    added: Vec<(&'a str, Value)>,
    order: ByteOrder,
}

impl<'a> Resolved<'a> {
    /// Returns an error if the edit contradicts itself or the file.
    pub(super) fn new(edit: &'a Edit, source: &Indexed) -> Result<Self> {
        let (metadata, model) = (source.model.metadata(), &source.model);
        let is_key = |key: &str| metadata.contains(key);
        let is_tensor = |name: &str| model.has_tensor(name);
        for key in edit.removed.iter().chain(edit.keys.iter().map(|(from, _)| from)) {
            if !is_key(key) {
                return Err(no_key(key, metadata.iter().map(|(key, _)| key)));
            }
        }
        for name in edit.removed_tensors.iter().chain(edit.tensors.iter().map(|(from, _)| from)) {
            if !is_tensor(name) {
                let nearest = nearest_names(name, source.model.table().map(|(name, _)| name));
                return Err(Error::NotInFile { what: "tensor", name: name.clone(), nearest });
            }
        }
        let removed = edit.removed.iter().map(String::as_str).collect();
        let removed_tensors = edit.removed_tensors.iter().map(String::as_str).collect();
        let mut resolved = Resolved {
            keys: Renames::new("key", &edit.keys, is_key, &removed)?,
            tensors: Renames::new("tensor", &edit.tensors, is_tensor, &removed_tensors)?,
            removed,
            removed_tensors,
            values: HashMap::new(),
            elements: Vec::new(),
            added: Vec::new(),
            order: edit.byte_order.unwrap_or(source.model.byte_order()),
        };
        for (from, to) in &edit.tensors {
            if to.len() > GGML_MAX_NAME_BYTES && to.len() > from.len() {
                let len = to.len();
                return Err(contradiction(
                    "tensor",
                    from,
                    format_args!(
                        "cannot get a name of {len} bytes: ggml reads {GGML_MAX_NAME_BYTES} at most"
                    ),
                ));
            }
        }
        resolved.check_shards(edit, metadata, model.byte_order())?;
        let mut whole = HashSet::new();
        let mut new = HashSet::new();
        for (key, put) in &edit.put {
            let key = key.as_str();
            if resolved.removed.contains(key) && !resolved.keys.gives(key) {
                return Err(contradiction("key", key, "is to be set and to be removed"));
            }
            let current = resolved.keys.source(key, &resolved.removed).and_then(|key| metadata.get(key));
            let once = |set: &mut HashSet<&'a str>| {
                if set.insert(key) { Ok(()) } else { Err(contradiction("key", key, "is to be set twice")) }
            };
            if let Put::Add(value) | Put::SetOrAdd(value) = put
                && (matches!(put, Put::Add(_)) || current.is_none())
            {
                once(&mut new)?;
                if let Some(current) = current {
                    let kind = current.value_type();
                    return Err(contradiction(
                        "key",
                        key,
                        format_args!("is there already: {current} ({kind})"),
                    ));
                }
                resolved.added.push((key, checked(key, value)?));
                continue;
            }
            let current = current.ok_or_else(|| {
                let names = metadata.iter().map(|(key, _)| key);
                no_key(
                    key,
                    names.filter(|key| !resolved.removed.contains(key)).map(|key| resolved.keys.name(key)),
                )
            })?;
            let kind = current.value_type();
            let wrong = |why: String| contradiction("key", key, format_args!("is of type {kind}: {why}"));
            let value = match put {
                Put::Set(given) => given.of_kind(kind, key, &wrong)?,
                Put::Replace(value) | Put::SetOrAdd(value) => checked(key, value)?,
                Put::Retype(kind) => kind.converted(current.to_owned()).map_err(wrong)?,
                Put::Element(index, given) => {
                    if whole.contains(key) {
                        return Err(contradiction("key", key, "is to be set, and an element of it"));
                    }
                    let (ValueRef::Array(array), Some(element)) = (current, kind.element()) else {
                        return Err(wrong("it has no elements of one type".into()));
                    };
                    let value = given.of_kind(element, key, &wrong)?;
                    let from = array.iter().nth(*index).ok_or_else(|| {
                        let last = array.len().saturating_sub(1);
                        wrong(match array.len() {
                            0 => format!("there is no element {index}: it is empty"),
                            _ => format!("there is no element {index}: they are numbered from 0 to {last}"),
                        })
                    })?;
                    if resolved.elements.iter().any(|(its, at, _)| (*its, at) == (key, index)) {
                        let message = format!("is to have its element {index} set twice");
                        return Err(contradiction("key", key, message));
                    }
                    resolved.elements.push((key, *index, from.to_owned()));
                    let array = resolved.values.entry(key).or_insert_with(|| current.to_owned());
                    let Value::Array(array) = array else { continue };
                    if !array.replace_element(*index, value) {
                        return Err(wrong(format!("element {index} is of another type")));
                    }
                    continue;
                }
                Put::Add(_) => continue,
            };
            once(&mut whole)?;
            if resolved.values.insert(key, value).is_some() {
                return Err(contradiction("key", key, "is to be set, and an element of it"));
            }
        }
        Ok(resolved)
    }

    /// A shard's keys specify its set, and a set can be opened only if all shards agree.
    fn check_shards(&self, edit: &Edit, metadata: Metadata<'_>, order: ByteOrder) -> Result<()> {
        let number = |key: &str| metadata.get(key).and_then(|value| value.get::<i64>()).unwrap_or(0);
        let count = number(SHARD_KEYS[1]);
        let is_its = |key: &str| SHARD_KEYS.contains(&key);
        if count > 1 {
            let shard = format!("shard {} of {count}", number(SHARD_KEYS[0]).saturating_add(1));
            if let Some(name) = edit.removed_tensors.first() {
                return Err(contradiction(
                    "tensor",
                    name,
                    format_args!(
                        "cannot be removed: the file is {shard}, which counts its set's tensors; merge the shards first"
                    ),
                ));
            }
            if self.order != order {
                let message =
                    format!("the byte order cannot be changed: the file is {shard}; merge the shards first");
                return Err(Error::write(message));
            }
            let renamed = edit.keys.iter().flat_map(|(from, to)| [from, to]);
            let touched = edit.put.iter().map(|(key, _)| key).chain(&edit.removed).chain(renamed);
            return match touched.into_iter().find(|key| is_its(key)) {
                Some(key) => Err(contradiction(
                    "key",
                    key,
                    format_args!("says which set the file belongs to, {shard}; merge the shards first"),
                )),
                None => Ok(()),
            };
        }
        let renamed = edit.keys.iter().map(|(_, to)| to);
        let put = edit.put.iter().map(|(key, _)| key);
        match put.chain(renamed).find(|key| is_its(key)) {
            Some(key) => {
                let problem = "would make the file one of several, which it is not; split makes shards";
                Err(contradiction("key", key, problem))
            }
            None => Ok(()),
        }
    }

    /// Returns the tensors that are not removed.
    pub(super) fn kept<'b>(&self, source: &'b Indexed) -> impl Iterator<Item = TensorInfo<'b>> {
        source.model.tensors().filter(|tensor| !self.removed_tensors.contains(tensor.name()))
    }

    /// Declares the edited model's header without its tensor table, and the alignment. In a file with unreadable tensors the
    /// table and the data stay as they are, except for names.
    pub(super) fn declare_around_table<S: Sink>(
        &self,
        source: &Indexed,
        mut writer: Writer<S>,
    ) -> Result<(Vec<u8>, u32)> {
        let refused = |problem: &str| {
            let message = format!(
                "{problem} in a file with tensors that cannot be read here, such as '{}', whose data is not known well enough",
                Name(source.an_unreadable_tensor())
            );
            Err(Error::write(message))
        };
        if !self.removed_tensors.is_empty() {
            return refused("a tensor cannot be removed");
        }
        if self.order != source.model.byte_order() {
            return refused("the byte order cannot be changed");
        }
        if source.model.version() == 1 {
            return refused("version 1 of the format cannot be edited");
        }
        self.declare_keys(source, &mut writer)?;
        let (bytes, layout) = writer.header_bytes()?;
        if layout.alignment != source.model.alignment() {
            return refused("the alignment cannot be changed");
        }
        Ok((bytes, layout.alignment))
    }

    /// Appends the tensor table, with the new names, to a header that has none yet.
    pub(super) fn put_table(&self, source: &Indexed, header: &mut Vec<u8>) {
        let order = source.model.byte_order();
        let number = |len: usize| match order {
            ByteOrder::Little => (len as u64).to_le_bytes(),
            ByteOrder::Big => (len as u64).to_be_bytes(),
        };
        // After the magic and the version.
        if let Some(count) = header.get_mut(8..16) {
            count.copy_from_slice(&number(source.declared()));
        }
        for (name, rest) in source.model.table() {
            let name = self.tensors.name(name);
            header.extend(number(name.len()));
            header.extend(name.as_bytes());
            header.extend(rest);
        }
    }

    fn declare_keys<S: Sink>(&self, source: &Indexed, writer: &mut Writer<S>) -> Result<()> {
        writer.copy_form_from(&source.model, source.final_padding)?;
        writer.set_byte_order(self.order);
        let metadata = source.model.metadata();
        for (from, value) in metadata.iter().filter(|(key, _)| !self.removed.contains(key)) {
            let key = self.keys.name(from);
            match self.values.get(key) {
                Some(value) => {
                    writer.set_metadata(key, value.clone())?;
                }
                None => writer.copy_pair(metadata, from, value, key)?,
            }
        }
        for (key, value) in &self.added {
            writer.set_metadata(key, value.clone())?;
        }
        Ok(())
    }

    /// Declares the edited model, and returns the names of its tensors.
    pub(super) fn declare<S: Sink>(&self, source: &Indexed, writer: &mut Writer<S>) -> Result<Vec<String>> {
        self.declare_keys(source, writer)?;
        let mut names = Vec::with_capacity(source.model.tensor_count());
        for tensor in self.kept(source) {
            let name = self.tensors.name(tensor.name());
            writer.declare_tensor(name, tensor.shape().dims(), tensor.ggml_type())?;
            names.push(name.to_owned());
        }
        Ok(names)
    }

    pub(super) fn plan(&self, source: &Indexed) -> EditPlan {
        let mut changes = Vec::new();
        let metadata = source.model.metadata();
        for (from, value) in metadata {
            if self.removed.contains(from) {
                changes.push(EditChange::Removed { key: from.to_owned(), value: value.to_owned() });
                continue;
            }
            let key = self.keys.name(from);
            if key != from {
                changes.push(EditChange::KeyRenamed { from: from.to_owned(), to: key.to_owned() });
            }
            let Some(to) = self.values.get(key) else { continue };
            let elements = self.elements.iter().filter(|(its, ..)| *its == key);
            let elements: Vec<_> = elements
                .filter_map(|(_, index, from)| {
                    let to = element(to, *index)?;
                    Some(EditChange::SetElement {
                        key: key.to_owned(),
                        index: *index,
                        from: from.clone(),
                        to,
                    })
                })
                .collect();
            if elements.is_empty() {
                let (from, to) = (value.to_owned(), to.clone());
                changes.push(EditChange::Set { key: key.to_owned(), from, to });
            }
            changes.extend(elements);
        }
        let added = self.added.iter();
        changes.extend(
            added.map(|(key, value)| EditChange::Added { key: (*key).to_owned(), value: value.clone() }),
        );
        for (from, _) in source.model.table() {
            let to = self.tensors.name(from);
            if self.removed_tensors.contains(from) {
                changes.push(EditChange::TensorRemoved { name: from.to_owned() });
            } else if from != to {
                changes.push(EditChange::TensorRenamed { from: from.to_owned(), to: to.to_owned() });
            }
        }
        let (from, to) = (source.model.byte_order(), self.order);
        if from != to {
            changes.push(EditChange::ByteOrder { from, to });
        }
        let mut notes = self.notes(metadata);
        let kept =
            source.model.table().map(|(name, _)| name).filter(|name| !self.removed_tensors.contains(name));
        let tensors = kept.map(|name| self.tensors.name(name));
        notes.extend(super::checks::notes(&changes, source, self.architecture(metadata), tensors));
        EditPlan { changes, notes }
    }

    fn architecture<'m>(&'m self, metadata: Metadata<'m>) -> Option<&'m str> {
        match self.values.get(ARCHITECTURE) {
            Some(Value::String(bytes)) => std::str::from_utf8(bytes).ok(),
            _ => metadata.require::<&str>(ARCHITECTURE).ok(),
        }
    }

    fn notes(&self, metadata: Metadata<'_>) -> Vec<String> {
        const KEY: &str = ARCHITECTURE;
        let (old, new) = (metadata.require::<&str>(KEY).ok(), self.architecture(metadata));
        let (Some(old), Some(new)) = (old, new) else { return Vec::new() };
        let prefix = format!("{old}.");
        let names = metadata.iter().map(|(key, _)| key).filter(|key| !self.removed.contains(key));
        let names = names.map(|key| self.keys.name(key)).chain(self.added.iter().map(|(key, _)| *key));
        let left = names.filter(|key| key.starts_with(&prefix)).count();
        if old == new || left == 0 {
            return Vec::new();
        }
        let (is, keys) = if left == 1 { ("is", "key") } else { ("are", "keys") };
        let (old, new) = (Name(old), Name(new));
        vec![format!(
            "{KEY} becomes '{new}', and {left} {keys} {is} still called '{old}.…': programs look for '{new}.…'"
        )]
    }
}

fn element(value: &Value, index: usize) -> Option<Value> {
    match value {
        Value::Array(array) => array.element(index),
        _ => None,
    }
}

/// Checks that a value can be read again.
fn checked(key: &str, value: &Value) -> Result<Value> {
    let most = Limits::default().max_array_depth;
    match value {
        Value::Array(array) if !array.fits(most) => Err(contradiction(
            "key",
            key,
            format_args!("has arrays in arrays more than {most} levels deep, which are not read again"),
        )),
        value => Ok(value.clone()),
    }
}

impl Given {
    fn of_kind(&self, kind: ValueKind, key: &str, wrong: &impl Fn(String) -> Error) -> Result<Value> {
        match self {
            Given::Value(value) => kind.converted(checked(key, value)?),
            Given::Text(text) => kind.parse(text),
            Given::Bytes(bytes) => kind.parse_bytes(bytes).map_err(|error| error.to_string()),
        }
        .map_err(wrong)
    }
}

fn no_key<'a>(key: &str, names: impl Iterator<Item = &'a str>) -> Error {
    Error::NotInFile { what: "key", name: key.to_owned(), nearest: nearest_names(key, names) }
}
