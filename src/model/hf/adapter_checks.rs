//! What the tensors of a LoRA adapter are held against: each other, and the configuration of the base model.

use std::collections::HashMap;

use regex_lite::Regex;

use super::families::{Family, Target, layer};
use super::json::Node;
use super::planned::{Source, unfit};
use crate::error::{Error, Result, Shown};
use crate::model::layer::TOKEN_EMBEDDING;
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

/// The values of a tensor, which are no integers, and must be finite where they are read.
pub(super) fn finite<'a>(tensor: &CheckpointTensor<'a>) -> Result<Source<'a>> {
    let (origin, name) = (tensor.origin()?, tensor.info().name());
    match origin.ggml_type().is_integer() {
        true => Err(unfit(name, &format!("is {}, and adapters are of floats", tensor.info().dtype()))),
        false => Ok(Source::File(origin).finite(name)),
    }
}

/// The ranks that `adapter_config.json` says.
pub(super) struct Ranks<'n> {
    /// That of weights without another.
    usual: Option<(Node<'n>, u32)>,
    /// Those of weights whose names end with what an expression says; without one, of any.
    others: Vec<(Option<Regex>, u32)>,
}

impl<'n> Ranks<'n> {
    pub(super) fn read(adapter: &Node<'n>) -> Result<Self> {
        let usual = adapter.get("r").map(|rank| Ok((rank.clone(), rank.u32()?))).transpose()?;
        let mut others = Vec::new();
        if let Some(patterns) = adapter.get("rank_pattern") {
            let Some(object) = patterns.value.as_object() else {
                return Err(patterns.wrong("must be an object of expressions and ranks"));
            };
            for pattern in object.keys() {
                let rank = Node::of_key(&patterns, pattern).u32()?;
                // Python's expressions can do more.
                others.push((Regex::new(&format!("^(.*\\.)?({pattern})$")).ok(), rank));
            }
        }
        Ok(Ranks { usual, others })
    }

    /// That the factors of a weight are of the rank that is said.
    pub(super) fn check(&self, name: &str, rank: u64) -> Result<()> {
        let module = name.strip_suffix(".weight").unwrap_or(name);
        let mut own = self
            .others
            .iter()
            .filter(|(pattern, _)| pattern.as_ref().is_none_or(|pattern| pattern.is_match(module)))
            .map(|(_, rank)| u64::from(*rank))
            .peekable();
        let Some((node, usual)) = &self.usual else { return Ok(()) };
        let (said, fits) = match own.peek() {
            None => (format!("is {usual}"), u64::from(*usual) == rank),
            Some(first) => (format!("is {first} for it by 'rank_pattern'"), own.any(|own| own == rank)),
        };
        match fits || rank == u64::from(*usual) && self.others.iter().any(|(pattern, _)| pattern.is_none()) {
            true => Ok(()),
            false => Err(node.wrong(&format!(
                "{said}, and the factors of '{}' are of rank {rank}: they are of another adapter, or the configuration is",
                Shown(name)
            ))),
        }
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

/// The rank, which both factors must be matrices of.
pub(super) fn ranks_agree(name: &str, a: &Source<'_>, b: &Source<'_>) -> Result<u64> {
    let (a, b) = (a.shape(), b.shape());
    match (a.dims(), b.dims()) {
        ([_, 0], [0, _]) => Err(unfit(name, "has factors of rank 0, which add nothing")),
        ([_, rows], [columns, _]) if rows == columns => Ok(*rows),
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
    let found = match target.name == TOKEN_EMBEDDING {
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
