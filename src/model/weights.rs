//! [`Weights`]: the tensors of a model by the names that an engine requests, with their shapes checked.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::weight::Weight;
use crate::error::{Error, Result};
use crate::gguf::shards::ShardedGguf;
use crate::tensor::Shape;

/// Loads a model into an engine: provides tensors by their names within a layer, checks the shape of each, and reports those
/// that were never requested.
///
/// Cloning takes two reference counts. All `Weights` of a model share the record of requested tensors, so that layers can be
/// loaded on several threads.
///
/// ```
/// use std::sync::Arc;
/// use gguf_codec::{Gguf, ShardedGguf};
/// use gguf_codec::model::{Weight, Weights};
///
/// struct Layer {
///     attn_norm: Vec<f32>,
///     query: Weight<Vec<u8>>,
/// }
///
/// let model: Arc<ShardedGguf<_>> = Arc::new(Gguf::read("examples/sample.gguf")?.into()); // or `ShardedGguf::open`
/// let width: u64 = model.metadata().require_arch("embedding_length")?;
/// let count: u32 = model.metadata().require_arch("block_count")?;
/// let weights = Weights::new(&model);
/// let layers = (0..count).map(|index| {
///     let layer = weights.layer(index);
///     Ok(Layer {
///         attn_norm: layer.floats("attn_norm.weight", &[width])?,
///         query: layer.weight("attn_q.weight", &[width, width])?,
///     })
/// });
/// let layers: Vec<Layer> = layers.collect::<Result<_, gguf_codec::Error>>()?;
/// assert_eq!((layers.len(), layers[0].attn_norm.len()), (2, 64));
///
/// // A bias, say, that an answer would be wrong without.
/// assert_eq!(weights.unused().next(), Some("token_embd.weight"));
/// let error = weights.layer(1).floats("ffn_norm.weight", &[48]).unwrap_err();
/// assert_eq!(error.to_string(), "tensor 'blk.1.ffn_norm.weight' has shape [64], and must have [48]");
/// # Ok::<(), gguf_codec::Error>(())
/// ```
pub struct Weights<B> {
    model: Arc<ShardedGguf<B>>,
    /// The prefix of the names, including the final dot.
    prefix: String,
    /// For each tensor in the model's order.
    used: Arc<Mutex<Vec<bool>>>,
}

impl<B: AsRef<[u8]>> Weights<B> {
    /// Returns the tensors of a model by their full names. None has been requested yet.
    pub fn new(model: &Arc<ShardedGguf<B>>) -> Self {
        let used = vec![false; model.tensor_count()];
        Weights { model: Arc::clone(model), prefix: String::new(), used: Arc::new(Mutex::new(used)) }
    }

    /// Returns those whose names begin with the current prefix, `part` and a dot: `at("v").layer(3)` are the tensors `v.blk.3.`*.
    #[must_use]
    pub fn at(&self, part: &str) -> Self {
        Weights { prefix: format!("{}{part}.", self.prefix), ..self.clone() }
    }

    /// Returns those of a layer: [`at`](Self::at) `blk.`*index*.
    #[must_use]
    pub fn layer(&self, index: u32) -> Self {
        self.at(&format!("blk.{index}"))
    }

    /// Returns the tensor's name in the file.
    pub fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Returns `true` if the model has this tensor. Does not count as requesting it.
    pub fn contains(&self, name: &str) -> bool {
        self.model.tensor_info(&self.name(name)).is_ok()
    }

    /// Returns a tensor that must have these extents, innermost first. Trailing extents of 1 are ignored.
    ///
    /// # Errors
    /// [`Error::WrongShape`] if they differ, and those of [`Weight::new`].
    pub fn weight(&self, name: &str, shape: &[u64]) -> Result<Weight<B>> {
        let name = self.name(name);
        let weight = Weight::new(&self.model, &name)?;
        if !Shape::new(shape).is_some_and(|wanted| wanted.counts_as(weight.shape())) {
            return Err(Error::WrongShape { tensor: name, found: weight.shape(), wanted: shape.to_vec() });
        }
        let index =
            self.model.before.get(weight.shard()).map_or(usize::MAX, |before| before + weight.index());
        if let Some(used) = self.used.lock().unwrap_or_else(PoisonError::into_inner).get_mut(index) {
            *used = true;
        }
        Ok(weight)
    }

    /// Returns the values of a tensor of any type but integers, such as a norm or a bias, which must have these extents,
    /// innermost first.
    ///
    /// # Errors
    /// The errors of [`weight`](Self::weight) and of [`Tensor::dequantize`](crate::Tensor::dequantize).
    #[cfg(feature = "codecs")]
    pub fn floats(&self, name: &str, shape: &[u64]) -> Result<Vec<f32>> {
        self.weight(name, shape)?.tensor()?.dequantize()
    }

    /// Returns their model.
    pub fn model(&self) -> &Arc<ShardedGguf<B>> {
        &self.model
    }

    /// Returns the full names of the model's tensors that were not requested, in the model's order.
    pub fn unused(&self) -> impl Iterator<Item = &str> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.model.tensors().zip(used).filter(|(_, used)| !used).map(|(tensor, _)| tensor.name())
    }
}

impl<B> Clone for Weights<B> {
    fn clone(&self) -> Self {
        Weights { model: Arc::clone(&self.model), prefix: self.prefix.clone(), used: Arc::clone(&self.used) }
    }
}

impl<B> fmt::Debug for Weights<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Weights").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
