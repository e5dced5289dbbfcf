//! How much of a tensor each type loses, by a sample of its values.

use std::collections::BTreeMap;

use super::super::job::{Origin, in_memory};
use super::measurements::{Loss, Measured};
use crate::codec::values::{QuantError, dequantize, quantize};
use crate::error::{Error, Result};
use crate::file::checksum::Checksum;
use crate::ggml_type::GgmlType;

/// Values of a run: whole blocks of every type.
const RUN: u64 = 4096;

/// The loss of a type whose scales are too small for a tensor's values: more than that of any other.
const OVERFLOWS: Loss = Loss { error: 1e30, left: 1.0 };

/// What is measured of a tensor.
pub(super) struct Sample<'a> {
    pub(super) name: &'a str,
    pub(super) origin: Origin<'a>,
    /// The importance of each column, or of each of every matrix that the tensor stacks.
    pub(super) weights: Option<Vec<f32>>,
    /// About so many of its values, in runs that are spread evenly.
    pub(super) values: u64,
}

impl Sample<'_> {
    fn runs(&self) -> (u64, u64) {
        let all = self.origin.shape().element_count().div_ceil(RUN);
        (self.values.div_ceil(RUN).clamp(1, all.max(1)).min(all), all)
    }

    /// How many values are looked at.
    pub(super) fn len(&self) -> u64 {
        let (chosen, _) = self.runs();
        chosen.saturating_mul(RUN).min(self.origin.shape().element_count())
    }

    /// Returns what `types` lose, and whether all of that was known already: of the same bytes and importance.
    pub(super) fn measure(&self, types: &[GgmlType], known: Option<&Measured>) -> Result<(Measured, bool)> {
        let mut runs = Vec::new();
        let mut content = Checksum::new();
        let (ty, shape) = (self.origin.ggml_type(), self.origin.shape());
        content.add(&ty.id().to_le_bytes());
        shape.dims().iter().for_each(|extent| content.add(&extent.to_le_bytes()));
        let (chosen, all) = self.runs();
        for run in 0..chosen {
            let first = (u128::from(run) * u128::from(all) / u128::from(chosen)) as u64 * RUN;
            let values = self.read(first, RUN.min(shape.element_count() - first), &mut content)?;
            let weights = self.weights_at(first, values.len())?;
            weights.iter().flatten().for_each(|weight| content.add(&weight.to_le_bytes()));
            runs.push(Run { values, weights });
        }
        let content = content.value();
        let known = known.filter(|known| known.content == content);
        let mut losses = known.map(|known| known.losses.clone()).unwrap_or_default();
        let missing: Vec<_> = types.iter().copied().filter(|ty| !losses.contains_key(ty)).collect();
        let is_known = known.is_some() && missing.is_empty();
        self.add(&runs, &missing, &mut losses)?;
        Ok((Measured { content, losses }, is_known))
    }

    fn add(&self, runs: &[Run], types: &[GgmlType], losses: &mut BTreeMap<GgmlType, Loss>) -> Result<()> {
        let mut scratch = Scratch::default();
        for &ty in types {
            let mut sums = Sums::default();
            for run in runs {
                run.add(ty, &mut scratch, &mut sums).map_err(|error| {
                    Error::write(format!("tensor '{}': {error:?}", self.name.escape_debug()))
                })?;
            }
            let mut loss = sums.loss();
            if !loss.error.is_finite() || !loss.left.is_finite() {
                if !runs.iter().flat_map(|run| &run.values).all(|value| value.is_finite()) {
                    let name = self.name.escape_debug();
                    return Err(Error::write(format!("tensor '{name}' has values that are not finite")));
                }
                loss = OVERFLOWS;
            }
            losses.insert(ty, loss);
        }
        Ok(())
    }

    /// The importance of values from `first` on.
    fn weights_at(&self, first: u64, count: usize) -> Result<Option<Vec<f32>>> {
        let Some(weights) = &self.weights else { return Ok(None) };
        let shape = self.origin.shape();
        let (row_len, rows) = (shape.row_len(), shape.dims().get(1).copied().unwrap_or(1));
        let of = |value: u64| {
            let matrix = if weights.len() as u64 > row_len { value / row_len / rows } else { 0 };
            let at = in_memory(matrix * row_len + value % row_len)?;
            Ok(weights.get(at).copied().unwrap_or(1.0))
        };
        (first..).take(count).map(of).collect::<Result<_>>().map(Some)
    }

    fn read(&self, first: u64, count: u64, content: &mut Checksum) -> Result<Vec<f32>> {
        let origin = &self.origin;
        let len = |values: u64| origin.ggml_type().long_bytes_in(values);
        let mut bytes = vec![0; in_memory(len(count))?];
        let mut values = vec![0.0; in_memory(count)?];
        origin
            .fill_little_endian(&mut bytes, len(first))
            .map_err(|error| Error::io(format!("read tensor '{}'", self.name.escape_debug()), error))?;
        content.add(&bytes);
        dequantize(origin.ggml_type(), &bytes, &mut values)?;
        Ok(values)
    }
}

/// Values that follow each other, with the importance of each.
struct Run {
    values: Vec<f32>,
    weights: Option<Vec<f32>>,
}

impl Run {
    fn add(&self, ty: GgmlType, scratch: &mut Scratch, sums: &mut Sums) -> Result<()> {
        let Run { values, weights } = self;
        let weights = weights.as_deref();
        if weights.is_none() || !ty.is_quantized() {
            sums.plain += QuantError::of(ty, values, values.len(), None)?;
            return Ok(());
        }
        let Scratch { blocks, restored } = scratch;
        blocks.resize(ty.bytes_in(values.len()), 0);
        restored.resize(values.len(), 0.0);
        let mut noise = |importance: Option<&[f32]>| {
            quantize(ty, values, values.len(), importance, blocks)?;
            dequantize(ty, blocks, restored)?;
            let weights = weights.unwrap_or_default();
            let noise = values.iter().zip(&*restored).zip(weights).map(|((a, b), weight)| {
                let error = f64::from(a - b);
                f64::from(*weight) * error * error
            });
            Ok((QuantError::between(values, restored)?, noise.sum::<f64>()))
        };
        let (weighted, with) = noise(weights)?;
        if ty.needs_importance() {
            sums.plain += weighted;
            return Ok(());
        }
        let (plain, without) = noise(None)?;
        sums.plain += plain;
        sums.with += with;
        sums.without += without;
        Ok(())
    }
}

#[derive(Default)]
struct Scratch {
    blocks: Vec<u8>,
    restored: Vec<f32>,
}

/// What a type loses of all runs.
#[derive(Default)]
struct Sums {
    plain: QuantError,
    /// Errors that are weighed by importance, of blocks that are made with it and without.
    with: f64,
    without: f64,
}

impl Sums {
    fn loss(&self) -> Loss {
        let left = if self.without > 0.0 { self.with / self.without } else { 1.0 };
        Loss { error: self.plain.relative(), left }
    }
}
