//! [`Session`]: a text that a model reads, token by token or many at once.

use anyhow::{Result, ensure};
use gguf_codec::compute::{Activations, par_matmul};
use gguf_codec::model::ImatrixCollector;
use rayon::prelude::*;

use crate::math::{add, dot, rms_norm, rope, softmax, swiglu};
use crate::model::{Layer, Model, Weight};

/// Tokens that go through the layers together: what a long prompt takes memory for.
const BATCH: usize = 512;

/// How weights are multiplied with activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// Activations are rounded to eight bits: fast.
    Rounded,
    /// Activations stay as they are: as exact as single precision.
    Exact,
}

/// What a model has read so far.
pub struct Session<'a> {
    model: &'a Model<'a>,
    precision: Precision,
    /// Each layer's keys and values, of one token after the other.
    cache: Vec<Cache>,
    len: usize,
    collector: Option<&'a mut ImatrixCollector>,
}

#[derive(Default)]
struct Cache {
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl<'a> Session<'a> {
    /// Nothing read yet.
    pub fn new(model: &'a Model<'a>, precision: Precision) -> Self {
        let cache = model.layers.iter().map(|_| Cache::default()).collect();
        Session { model, precision, cache, len: 0, collector: None }
    }

    /// Shows `collector` what each weight of a layer is multiplied with.
    pub fn collecting(self, collector: &'a mut ImatrixCollector) -> Self {
        Session { collector: Some(collector), ..self }
    }

    /// Forgets what was read.
    pub fn clear(&mut self) {
        self.len = 0;
        for Cache { keys, values } in &mut self.cache {
            keys.clear();
            values.clear();
        }
    }

    /// Reads more tokens. Returns what the model expects after each of the last `wanted`: a number for each token that there is,
    /// greater where it is likelier.
    pub fn read(&mut self, tokens: &[u32], wanted: usize) -> Result<Vec<f32>> {
        let (all, most) = (self.len + tokens.len(), self.model.config.context);
        ensure!(all <= most, "the text has {all} tokens, and the model reads no more than {most}");
        ensure!(wanted <= tokens.len(), "{wanted} expectations are wanted of {} tokens", tokens.len());
        let (mut logits, mut left) = (Vec::new(), tokens.len());
        for batch in tokens.chunks(BATCH) {
            let states = self.layers(batch)?;
            // The last of this batch that are among the last wanted of all.
            let first_wanted = (left.saturating_sub(wanted)).min(batch.len());
            left -= batch.len();
            logits.extend(self.output(&states[first_wanted * self.model.config.width..])?);
        }
        Ok(logits)
    }

    /// Takes tokens through the layers.
    fn layers(&mut self, tokens: &[u32]) -> Result<Vec<f32>> {
        let Model { config, layers, embedding, .. } = self.model;
        let mut states = vec![0.0; tokens.len() * config.width];
        let rows: Vec<usize> = tokens.iter().map(|&token| token as usize).collect();
        embedding.matrix.gather_rows(&rows, &mut states)?;
        for (index, layer) in layers.iter().enumerate() {
            let normed = rms_norm(&states, &layer.attn_norm, config.norm_epsilon);
            add(&mut states, &self.attention(index, layer, &normed)?);
            let normed = rms_norm(&states, &layer.ffn_norm, config.norm_epsilon);
            add(&mut states, &self.feed_forward(layer, &normed)?);
        }
        self.len += tokens.len();
        Ok(states)
    }

    fn attention(&mut self, index: usize, layer: &Layer<'_>, x: &[f32]) -> Result<Vec<f32>> {
        let Model { config, rope_steps, .. } = self.model;
        let (head_len, shared) = (config.head_len, config.heads / config.kv_heads);
        let (q_len, kv_len) = (config.heads * head_len, config.kv_heads * head_len);
        let [mut q, mut k, v] = self.multiply([&layer.q, &layer.k, &layer.v], x)?;
        for (values, len) in [(&mut q, q_len), (&mut k, kv_len)] {
            values.par_chunks_mut(len).enumerate().for_each(|(token, heads)| {
                heads.chunks_mut(head_len).for_each(|head| rope(head, self.len + token, rope_steps));
            });
        }
        let cache = &mut self.cache[index];
        cache.keys.extend(k);
        cache.values.extend(v);

        let mut out = vec![0.0; q.len()];
        let scale = 1.0 / (head_len as f32).sqrt();
        out.par_chunks_mut(head_len).zip(q.par_chunks(head_len)).enumerate().for_each(|(i, (out, q))| {
            // Each token sees those before it, and itself.
            let (seen, head) = (self.len + i / config.heads + 1, i % config.heads);
            let of_head = head / shared * head_len..(head / shared + 1) * head_len;
            let [keys, values] = [&cache.keys, &cache.values]
                .map(|all| all.chunks(kv_len).take(seen).map(|token| &token[of_head.clone()]));
            let mut weights: Vec<f32> = keys.map(|key| dot(q, key) * scale).collect();
            softmax(&mut weights);
            for (weight, value) in weights.iter().zip(values) {
                out.iter_mut().zip(value).for_each(|(out, value)| *out += weight * value);
            }
        });
        let [out] = self.multiply([&layer.attn_output], &out)?;
        Ok(out)
    }

    fn feed_forward(&mut self, layer: &Layer<'_>, x: &[f32]) -> Result<Vec<f32>> {
        let [mut gate, up] = self.multiply([&layer.gate, &layer.up], x)?;
        swiglu(&mut gate, &up);
        let [out] = self.multiply([&layer.down], &gate)?;
        Ok(out)
    }

    fn output(&self, states: &[f32]) -> Result<Vec<f32>> {
        let Model { config, output_norm, output, .. } = self.model;
        let [logits] =
            multiply(self.precision, [output], &rms_norm(states, output_norm, config.norm_epsilon))?;
        Ok(logits)
    }

    fn multiply<const N: usize>(&mut self, weights: [&Weight<'_>; N], x: &[f32]) -> Result<[Vec<f32>; N]> {
        if let Some(collector) = &mut self.collector {
            for weight in weights {
                collector.collect(&weight.name, x, weight.matrix.row_len())?;
            }
        }
        multiply(self.precision, weights, x)
    }
}

/// The products of weights with the same columns, on all cores.
fn multiply<const N: usize>(
    precision: Precision,
    weights: [&Weight<'_>; N],
    x: &[f32],
) -> Result<[Vec<f32>; N]> {
    let mut outs =
        weights.map(|weight| vec![0.0; x.len() / weight.matrix.row_len() * weight.matrix.row_count()]);
    let mut products: Vec<_> =
        weights.iter().zip(&mut outs).map(|(weight, out)| (weight.matrix, &mut out[..])).collect();
    match precision {
        Precision::Exact => {
            products.iter_mut().try_for_each(|(weight, out)| weight.par_matmul_f32(x, out))?
        }
        // Weights of several types may take activations in several forms.
        Precision::Rounded => {
            while let Some((first, _)) = products.first() {
                let activations = Activations::new(first.ggml_type(), x, first.row_len())?;
                let (mut served, rest): (Vec<_>, Vec<_>) =
                    products.into_iter().partition(|(weight, _)| activations.serves(weight.ggml_type()));
                par_matmul(&mut served, &activations)?;
                products = rest;
            }
        }
    }
    Ok(outs)
}
