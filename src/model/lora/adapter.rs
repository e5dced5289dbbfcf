//! [`Adapter`]: the factors of a GGUF adapter, held against the model that they change.

use std::collections::{BTreeMap, HashMap};

use super::super::input::Input;
use super::super::job::{Origin, in_memory};
use super::super::layer::TOKEN_EMBEDDING;
use crate::error::{Error, Result};
use crate::ggml_type::GgmlType;
use crate::gguf::TensorInfo;
use crate::gguf::metadata::Metadata;

const ALPHA: &str = "adapter.lora.alpha";
const INVOCATION: &str = "adapter.alora.invocation_tokens";

/// What is added to a tensor: each of its rows gets a sum of the rows of `basis`, times its coefficients and the scale.
pub(super) struct Delta {
    /// So many for each row, one after the other.
    pub(super) coefficients: Vec<f32>,
    /// A row for each rank, and so for each matrix that the tensor stacks.
    pub(super) basis: Vec<f32>,
    pub(super) rank: usize,
    pub(super) scale: f32,
}

pub(super) struct Adapter {
    pub(super) deltas: HashMap<String, Delta>,
    /// Norms that llama.cpp passes over.
    norms: Vec<String>,
}

/// The factors of a weight.
#[derive(Default)]
struct Pair<'a> {
    a: Option<TensorInfo<'a>>,
    b: Option<TensorInfo<'a>>,
}

impl Adapter {
    pub(super) fn read(adapter: &Input, base: &Input, scale: f32) -> Result<Self> {
        check_metadata(adapter.metadata(), base.metadata())?;
        if let Some(tokens) = adapter.metadata().optional_array::<u32>(INVOCATION)?
            && tokens.len() > 0
        {
            return Err(Error::write(format!(
                "the adapter is an activated one, which acts only after its invocation tokens ('{INVOCATION}', {} of them): merged it \
                 would always. Load it beside the model",
                tokens.len()
            )));
        }
        let alpha = adapter.metadata().optional::<f32>(ALPHA)?.unwrap_or(0.0);
        if !alpha.is_finite() {
            return Err(Error::write(format!("key '{ALPHA}' is {alpha}, and must be a finite number")));
        }
        let mut pairs: BTreeMap<&str, Pair<'_>> = BTreeMap::new();
        let mut norms = Vec::new();
        let tensors: Vec<_> = adapter.tensors().collect();
        for tensor in &tensors {
            let name = tensor.name();
            if let Some(weight) = name.strip_suffix(".lora_a") {
                pairs.entry(weight).or_default().a = Some(*tensor);
            } else if let Some(weight) = name.strip_suffix(".lora_b") {
                pairs.entry(weight).or_default().b = Some(*tensor);
            } else if name.ends_with("_norm.weight") {
                norms.push(name.to_owned());
            } else {
                return refused(name, "is neither a factor of a weight (X.lora_a, X.lora_b) nor a norm");
            }
        }
        if pairs.is_empty() {
            return Err(Error::write("the adapter has no tensors X.lora_a and X.lora_b".to_owned()));
        }
        let mut deltas = HashMap::new();
        for (name, pair) in pairs {
            let (Some(a), Some(b)) = (pair.a, pair.b) else {
                let missing = if pair.a.is_none() { "lora_a" } else { "lora_b" };
                return refused(
                    name,
                    &format!("has no factor '{missing}', which each that an adapter changes has"),
                );
            };
            let Ok(tensor) = base.model().tensor_info(name) else {
                return refused(name, "is changed by the adapter, and the model has none of that name");
            };
            if tensor.ggml_type().is_integer() {
                return refused(name, &format!("is {}, to which nothing can be added", tensor.ggml_type()));
            }
            let rank = fits(name, &tensor, &a, &b)?;
            let (a, b) = (values(adapter.origin(&a)?, a.name())?, values(adapter.origin(&b)?, b.name())?);
            let whole = if alpha == 0.0 { scale } else { scale * alpha / rank as f32 };
            if !whole.is_finite() {
                return refused(
                    name,
                    &format!(
                        "would get factors times {whole}: scale {scale:?}, alpha {alpha:?}, rank {rank}"
                    ),
                );
            }
            let (coefficients, basis) = match name == TOKEN_EMBEDDING {
                // Rows are looked up, and the factors are the other way around.
                true => (a, transposed(&b, rank)?),
                false => (b, a),
            };
            deltas.insert(name.to_owned(), Delta { coefficients, basis, rank, scale: whole });
        }
        Ok(Adapter { deltas, norms })
    }

    pub(super) fn notes(&self) -> Option<String> {
        let first = self.norms.first()?;
        Some(format!(
            "{} in the adapter, which llama.cpp passes over, and so does this: '{}' is the first",
            match self.norms.len() {
                1 => "1 norm is".to_owned(),
                many => format!("{many} norms are"),
            },
            first.escape_debug()
        ))
    }
}

fn check_metadata(adapter: Metadata<'_>, base: Metadata<'_>) -> Result<()> {
    let said = |metadata: Metadata<'_>, key: &str| -> Result<String> {
        Ok(metadata.optional::<&str>(key)?.unwrap_or_default().to_owned())
    };
    for (key, wanted) in [("general.type", "adapter"), ("adapter.type", "lora")] {
        let found = said(adapter, key)?;
        if found != wanted {
            return Err(Error::write(format!(
                "key '{key}' is '{}', and '{wanted}' in a LoRA adapter",
                found.escape_debug()
            )));
        }
    }
    const KEY: &str = "general.architecture";
    let (found, wanted) = (said(adapter, KEY)?, said(base, KEY)?);
    if found == wanted {
        return Ok(());
    }
    Err(Error::write(format!(
        "the adapter is for models of the architecture '{}', and this one's is '{}'",
        found.escape_debug(),
        wanted.escape_debug()
    )))
}

/// The rank of factors that are as large as what they change.
fn fits(name: &str, tensor: &TensorInfo<'_>, a: &TensorInfo<'_>, b: &TensorInfo<'_>) -> Result<usize> {
    let dims = |tensor: &TensorInfo<'_>| -> [u64; 3] {
        let shape = tensor.shape();
        std::array::from_fn(|at| shape.dims().get(at).copied().unwrap_or(1))
    };
    let ([columns, rows, matrices], [a0, a1, a2], [rank, b1, b2]) = (dims(tensor), dims(a), dims(b));
    let agrees = match name == TOKEN_EMBEDDING {
        true => [rank, rows, columns] == [a0, a1, b1],
        false => [columns, rank, rows] == [a0, a1, b1],
    };
    let are_three = [tensor, a, b].iter().all(|tensor| (2..=3).contains(&tensor.shape().dims().len()));
    if agrees && are_three && rank > 0 && [a2, b2] == [matrices; 2] {
        return in_memory(rank);
    }
    refused(
        name,
        &format!(
            "is of the shape {:?}, and its factors are of {:?} and {:?} (innermost extent first), which do not make that: the adapter is of \
             another model",
            tensor.shape().dims(),
            a.shape().dims(),
            b.shape().dims()
        ),
    )
}

/// All values of a factor, which are finite.
fn values(origin: Origin<'_>, name: &str) -> Result<Vec<f32>> {
    if origin.ggml_type().is_integer() {
        return refused(name, &format!("is {}, and factors are floats or quantized", origin.ggml_type()));
    }
    let count = in_memory(origin.shape().element_count())?;
    let (mut bytes, mut values) = (reserved(count.saturating_mul(4))?, reserved(count)?);
    bytes.resize(count.saturating_mul(4), 0);
    let reading = |error| Error::io(format!("read tensor '{}'", name.escape_debug()), error);
    origin.fill_as(GgmlType::F32, &mut bytes, 0, |_, _| {}).map_err(reading)?;
    values.extend(bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)));
    match values.iter().position(|value| !value.is_finite()) {
        Some(at) => refused(name, &format!("has {} as value {at}, and all must be finite", values[at])),
        None => Ok(values),
    }
}

/// Rows of so many values as columns.
fn transposed(values: &[f32], columns: usize) -> Result<Vec<f32>> {
    let rows = values.chunks_exact(columns);
    let mut turned = reserved(values.len())?;
    turned.extend((0..columns).flat_map(|column| rows.clone().map(move |row| row[column])));
    Ok(turned)
}

fn reserved<T>(len: usize) -> Result<Vec<T>> {
    let mut values = Vec::new();
    match values.try_reserve_exact(len) {
        Ok(()) => Ok(values),
        Err(_) => Err(Error::OutOfMemory { what: "the factors of the adapter" }),
    }
}

fn refused<T>(name: &str, problem: &str) -> Result<T> {
    Err(Error::write(format!("tensor '{}' {problem}", name.escape_debug())))
}
