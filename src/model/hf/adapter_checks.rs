//! What the tensors of a LoRA adapter are held against: each other, and the configuration of the base model.

use std::collections::HashMap;

use super::adapter::EMBEDDING;
use super::families::{Family, Target, layer};
use super::json::Node;
use super::planned::{Source, unfit};
use crate::error::{Error, Result, Shown};
use crate::model::Origin;
use crate::safetensors::CheckpointTensor;

/// The tensors of the GGUF that were met, and of what.
#[derive(Default)]
pub(super) struct Made(HashMap<(String, Option<u64>), String>);

impl Made {
    /// Refuses a second that becomes the same.
    pub(super) fn once(&mut self, target: &Target, name: &str) -> Result<()> {
        match self.0.insert((target.name.clone(), target.member), name.to_owned()) {
            Some(other) => Err(twice(&other, name)),
            None => Ok(()),
        }
    }
}

/// The error for two tensors of one weight.
pub(super) fn twice(one: &str, other: &str) -> Error {
    Error::write(format!("tensors '{}' and '{}' are of the same weight", Shown(one), Shown(other)))
}

/// Where the values of a tensor are, which are no integers.
pub(super) fn floats<'a>(tensor: &CheckpointTensor<'a>) -> Result<Origin<'a>> {
    let origin = tensor.origin()?;
    match origin.ggml_type().is_integer() {
        true => Err(unfit(
            tensor.info().name(),
            &format!("is {}, and adapters are of floats", tensor.info().dtype()),
        )),
        false => Ok(origin),
    }
}

/// That layers and experts are numbered as usual, so that two names are not of one.
pub(super) fn check_numbers(name: &str) -> Result<()> {
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_usual = |part: &str| part.parse::<u32>().is_ok_and(|number| number.to_string() == part);
    match name.split('.').filter(is_number).find(|part| !is_usual(part)) {
        Some(number) => Err(unfit(
            name,
            &format!(
                "has the number '{}', and numbers are from 0 to 4294967295 without zeros before them",
                Shown(number)
            ),
        )),
        None => Ok(()),
    }
}

fn layer_exists(config: &Node<'_>, name: &str, target: &Target) -> Result<()> {
    let count = config.get("num_hidden_layers").and_then(|count| count.value.as_u64());
    match layer(&target.name).zip(count).is_some_and(|(layer, count)| count <= layer.into()) {
        true => Err(config.about(&format!("'{}' is of a layer that the model does not have", Shown(name)))),
        false => Ok(()),
    }
}

/// That both factors are matrices of the same rank.
pub(super) fn ranks_agree(name: &str, a: &Source<'_>, b: &Source<'_>) -> Result<()> {
    let (a, b) = (a.shape(), b.shape());
    match (a.dims(), b.dims()) {
        ([_, 0], [0, _]) => Err(unfit(name, "has factors of rank 0, which add nothing")),
        ([_, rows], [columns, _]) if rows == columns => Ok(()),
        (a, b) => Err(unfit(
            name,
            &format!(
                "has factors of the shapes {a:?} and {b:?} (innermost extent first), and the second extent of A and the first of B \
                 must be the rank"
            ),
        )),
    }
}

/// That what is added is as large as the weight, as far as the configuration says.
pub(super) fn fits(
    family: &Family,
    config: &Node<'_>,
    name: &str,
    target: &Target,
    a: &Source<'_>,
    b: &Source<'_>,
) -> Result<()> {
    let (a, b) = (a.shape(), b.shape());
    let extent = |dims: &[u64], at: usize| dims.get(at).copied().unwrap_or(1);
    let found = match target.name == EMBEDDING {
        true => [extent(a.dims(), 1), extent(b.dims(), 1)],
        false => [extent(b.dims(), 1), extent(a.dims(), 0)],
    };
    layer_exists(config, name, target)?;
    let wanted = family.extents_of(config, &target.name)?;
    let wanted = &wanted[wanted.len().saturating_sub(2)..];
    let differs =
        found.iter().zip(wanted).any(|(found, wanted)| wanted.is_some_and(|wanted| wanted != *found));
    if !differs || wanted.len() < 2 {
        return Ok(());
    }
    let shown =
        |extent: &Option<u64>| extent.map_or_else(|| "any number of".to_owned(), |extent| extent.to_string());
    Err(config.about(&format!(
        "the adapter of '{}' is of {} rows and {} columns, and the weight has {} rows and {} columns: it is of another model",
        Shown(name),
        found[0],
        found[1],
        shown(&wanted[0]),
        shown(&wanted[1])
    )))
}

/// That a norm is as long as the model's.
pub(super) fn norm_fits(
    family: &Family,
    config: &Node<'_>,
    name: &str,
    target: &Target,
    norm: &Source<'_>,
) -> Result<()> {
    layer_exists(config, name, target)?;
    let shape = norm.shape();
    match family.extents_of(config, &target.name)?[..] {
        [Some(len)] if shape.dims() != [len] => Err(config.about(&format!(
            "'{}' is of the shape {:?}, and the model has {len} values there: the adapter is of another model",
            Shown(name),
            shape.dims()
        ))),
        _ => Ok(()),
    }
}
