//! [`Session`]: a text that a model reads, token by token or many at once.

use anyhow::{Result, ensure};
use gguf_codec::compute::{Activations, par_matmul};
use gguf_codec::model::ImatrixCollector;
use rayon::prelude::*;

use crate::attention::Head;
use crate::math::{add, rms_norm, rope, swiglu};
use crate::model::{Layer, Model, Weight};

/// Tokens that go through the layers together: what a long prompt takes memory for.
const BATCH: usize = 512;

/// Tokens whose attention is computed together.
const TOGETHER: usize = 16;

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
    /// The keys and values of each layer's heads.
    cache: Vec<Vec<Head>>,
    len: usize,
    collector: Option<&'a mut ImatrixCollector>,
}

impl<'a> Session<'a> {
    /// Nothing read yet.
    pub fn new(model: &'a Model<'a>, precision: Precision) -> Self {
        let heads = || (0..model.config.kv_heads).map(|_| Head::new(model.config.head_len)).collect();
        let cache = model.layers.iter().map(|_| heads()).collect();
        Session { model, precision, cache, len: 0, collector: None }
    }

    /// Shows `collector` what each weight of a layer is multiplied with.
    pub fn collecting(self, collector: &'a mut ImatrixCollector) -> Self {
        Session { collector: Some(collector), ..self }
    }

    /// Forgets what was read.
    pub fn clear(&mut self) {
        self.len = 0;
        self.cache.iter_mut().flatten().for_each(Head::clear);
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
        let heads = &mut self.cache[index];
        heads.par_iter_mut().enumerate().for_each(|(head, cache)| {
            let of_head = |all: &[f32]| -> Vec<f32> {
                all.chunks(kv_len).flat_map(|token| &token[head * head_len..][..head_len]).copied().collect()
            };
            cache.push(self.len, &of_head(&k), &of_head(&v));
        });

        // Queries of `shared` heads, which lie together, take part of the keys and values of one.
        let mut out = vec![0.0; q.len()];
        let some = out.par_chunks_mut(TOGETHER * q_len).zip(q.par_chunks(TOGETHER * q_len)).enumerate();
        some.try_for_each(|(i, (out, q))| {
            let seen = self.len + i * TOGETHER + 1;
            let of_heads = heads.par_iter().enumerate().map(|(head, cache)| {
                let of_head = |token: &[f32]| token[head * shared * head_len..][..shared * head_len].to_vec();
                let queries: Vec<f32> = q.chunks(q_len).flat_map(of_head).collect();
                cache.attend(&queries, |column| seen + column / shared)
            });
            let of_heads: Vec<Vec<f32>> = of_heads.collect::<Result<_>>()?;
            for (head, found) in of_heads.iter().enumerate() {
                for (out, found) in out.chunks_mut(q_len).zip(found.chunks(shared * head_len)) {
                    out[head * shared * head_len..][..shared * head_len].copy_from_slice(found);
                }
            }
            Ok::<(), anyhow::Error>(())
        })?;
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
