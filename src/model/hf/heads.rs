//! [`Heads`]: in how many heads the rows of a tensor are.

use std::collections::BTreeMap;

use super::config::{PADDING, USUAL_PADDING};
use super::families::{Family, Step, layer};
use super::json::Node;
use super::per_layer::of_layer;
use super::steps::Numbers;
use crate::error::{Error, Result, Shown};
use crate::gguf::value::Value;

/// How many heads the rows of a tensor are in.
pub(super) struct Heads<'a> {
    pub(super) carried: &'a BTreeMap<String, Value>,
    pub(super) config: Option<&'a Node<'a>>,
    pub(super) family: Option<&'static Family>,
}

impl Numbers for Heads<'_> {
    fn of(&self, key: &str) -> Result<u64> {
        match self.config {
            Some(config) if self.carried.is_empty() => config.of(key),
            // As `Export` knows it.
            _ if key == "pad_token_id" => match self.carried.get(PADDING) {
                Some(Value::U32(id)) => Ok(u64::from(*id)),
                _ => Ok(u64::from(USUAL_PADDING)),
            },
            config => match (self.carried_number(key), config) {
                (Some(number), _) => Ok(number.into()),
                (None, Some(config)) => config.of(key),
                (None, None) => Err(Error::write(format!("there is no config.json, which has '{key}'"))),
            },
        }
    }
}

impl Heads<'_> {
    /// A number of `config.json`, by the metadata.
    fn carried_number(&self, key: &str) -> Option<u32> {
        let family = self.family?;
        family.number_of(key, |key| match self.carried.get(&format!("{}.{key}", family.architecture)) {
            Some(Value::U32(number)) => Some(*number),
            _ => None,
        })
    }

    /// `None` where rows stay in their order.
    pub(super) fn of(&self, step: Step, gguf_name: &str) -> Result<Option<u32>> {
        let (Some(family), Step::RotaryRows(of)) = (self.family, step) else { return Ok(None) };
        if let Some(config) = self.config.filter(|_| self.carried.is_empty()) {
            let heads = config.required("num_attention_heads")?.u32()?;
            let kv_heads = config.get("num_key_value_heads").map_or(Ok(heads), |heads| heads.u32())?;
            return Ok(Some(of.either(heads, kv_heads)));
        }
        let layer = layer(gguf_name).unwrap_or_default();
        let number = |key: &str| {
            let key = format!("{}.attention.{key}", family.architecture);
            match self.carried.get(&key) {
                Some(Value::U32(heads)) => Ok(Some(*heads)),
                Some(Value::Array(array)) => of_layer(&key, array, layer).map(Some),
                _ => Ok(None),
            }
        };
        let heads = number("head_count")?.ok_or_else(|| {
            Error::write(format!(
                "tensor '{}' is in heads, and the metadata does not say in one number how many",
                Shown(gguf_name)
            ))
        })?;
        Ok(Some(of.either(heads, number("head_count_kv")?.unwrap_or(heads))))
    }
}
