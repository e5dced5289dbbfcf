//! Removing layers, and adjusting the tensors and keys of the others.

use std::collections::BTreeSet;

use super::Edit;
use super::layer_rules::{self, PATTERN};
use crate::error::{Error, Result};
use crate::gguf::FromValue;
use crate::gguf::index::Gguf;
use crate::gguf::value::Value;
use crate::gguf::value_ref::ValueRef;
use crate::model::layer::Layer;
use crate::model::memory::layers_with_windows;
use crate::model::size_label::size_label;

/// More than any model has. A header with a higher count does not get memory for each layer.
const MOST_LAYERS: u32 = 1 << 16;
/// Keys that count layers from the first.
const LEADING: [&str; 3] = ["leading_dense_block_count", "n_layer_dense_lead", "hash_layer_count"];
/// Keys that count layers from the last.
const TRAILING: [&str; 2] = ["nextn_predict_layers", "attention.shared_kv_layers"];
/// Arrays that have an element for each layer.
const PER_LAYER: [&str; 17] = [
    "attention.compress_ratios",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.indexer.types",
    "attention.recurrent_layers",
    "attention.rope_pattern",
    "attention.sliding_window_pattern",
    "expert_feed_forward_length",
    "expert_used_count",
    "feed_forward_length",
    "swiglu_clamp_exp",
    "swiglu_clamp_shexp",
    "xielu.alpha_n",
    "xielu.alpha_p",
    "xielu.beta",
    "xielu.eps",
    "activation_sparsity_scale",
];
/// Arrays whose length is not the number of layers, though it may be equal to it.
const OTHER_ARRAYS: [&str; 3] = ["rope.dimension_sections", "classifier.output_labels", "deepstack_mapping"];
const SIZE_LABEL: &str = "general.size_label";

impl Edit {
    /// Removes layers of a model, numbered from 0, as in pruning. Removes their tensors, renumbers those of the layers after
    /// them, and adjusts `block_count` and the keys and arrays with something for each layer. `general.size_label`, where there is
    /// one, becomes that of the parameters that are kept.
    ///
    /// `model` is the file to be edited.
    ///
    /// ```
    /// use gguf_codec::Gguf;
    /// use gguf_codec::model::Edit;
    ///
    /// let model = Gguf::read("examples/sample.gguf")?;
    /// let mut edit = Edit::new();
    /// edit.drop_layers(&model, [0])?;
    /// let plan = edit.plan("examples/sample.gguf")?;
    /// assert_eq!(plan.changes[0].to_string(), "llama.block_count: 2 → 1 (u32)");
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Write`] if the model has no such layer, none would be left, or llama.cpp would compute the remaining layers
    /// differently: in some models the number of a layer determines whether it has experts, full attention, a window or rotary
    /// embeddings, or the number of layers a factor; or if it is not known whether an array has an element for each layer.
    /// [`Error::MissingKey`] and [`Error::WrongValue`] if the metadata lacks `block_count`.
    pub fn drop_layers<B: AsRef<[u8]>>(
        &mut self,
        model: &Gguf<B>,
        layers: impl IntoIterator<Item = u32>,
    ) -> Result<&mut Self> {
        let metadata = model.metadata();
        let count = metadata.require_arch::<u32>("block_count")?;
        let dropped: BTreeSet<u32> = layers.into_iter().collect();
        let refused = |message: String| Err(Error::write(message));
        let Some(&last) = dropped.last() else { return Ok(self) };
        if count > MOST_LAYERS {
            return refused(format!(
                "the metadata counts {count} layers, and {MOST_LAYERS} at most can be renumbered"
            ));
        }
        if last >= count {
            return refused(format!("there is no layer {last}: the model has {count}, numbered from 0"));
        }
        if dropped.len() as u32 == count {
            return refused("no layer would be left".to_owned());
        }
        // The new number of a layer that stays.
        let moved = |layer: u32| layer - dropped.range(..layer).count() as u32;
        let kept: Vec<u32> = (0..count).filter(|layer| !dropped.contains(layer)).collect();
        layer_rules::check(model, count, &dropped)?;
        let architecture = metadata.architecture().unwrap_or_default();
        let full = |key: &str| format!("{architecture}.{key}");
        if architecture == "minicpm" && metadata.optional_arch::<f32>("residual_scale")?.is_none() {
            // What llama.cpp takes it to be without the key.
            self.add(full("residual_scale"), 1.4 / (count as f32).sqrt());
        }
        self.set(full("block_count"), u64::from(count) - dropped.len() as u64);
        let mut less = |keys: &[&str], is_counted: &dyn Fn(u32, u32) -> bool| -> Result<()> {
            for key in keys {
                let Some(number) = metadata.optional_arch::<u32>(key)? else { continue };
                let gone = dropped.iter().filter(|&&layer| is_counted(layer, number)).count() as u32;
                if gone > 0 {
                    self.set(full(key), number - gone);
                }
            }
            Ok(())
        };
        less(&LEADING, &|layer, number| layer < number)?;
        less(&TRAILING, &|layer, number| layer >= count.saturating_sub(number))?;
        self.drop_elements(model, architecture, count, &dropped)?;
        self.keep_windows(model, count, &kept)?;
        let is_kept = |name: &str| {
            let (layer, _) = Layer::split(name);
            layer.is_none_or(|layer| !layer.part().is_empty() || !dropped.contains(&layer.index()))
        };
        self.label_size(model, is_kept)?;
        for (name, _) in model.table() {
            let (Some(layer), kind) = Layer::split(name) else { continue };
            if !layer.part().is_empty() || layer.index() >= count {
                continue;
            }
            if dropped.contains(&layer.index()) {
                self.remove_tensor(name);
            } else if moved(layer.index()) != layer.index() {
                self.rename_tensor(name, format!("blk.{}.{kind}", moved(layer.index())));
            }
        }
        Ok(self)
    }

    /// Says in `general.size_label` how many parameters are kept, unless the edit says otherwise of it.
    fn label_size<B: AsRef<[u8]>>(&mut self, model: &Gguf<B>, is_kept: impl Fn(&str) -> bool) -> Result<()> {
        let mut named = self.put.iter().map(|(key, _)| key).chain(&self.removed);
        if !model.metadata().contains(SIZE_LABEL) || named.any(|key| key == SIZE_LABEL) {
            return Ok(());
        }
        let experts = model.metadata().optional_arch::<u32>("expert_count")?;
        let kept = model.tensors().filter(|tensor| is_kept(tensor.name()));
        self.replace(SIZE_LABEL, size_label(kept.map(|tensor| (tensor.name(), tensor.shape())), experts));
        Ok(())
    }

    /// Removes elements from arrays of the architecture that have one for each layer.
    fn drop_elements<B: AsRef<[u8]>>(
        &mut self,
        model: &Gguf<B>,
        architecture: &str,
        count: u32,
        dropped: &BTreeSet<u32>,
    ) -> Result<()> {
        for (key, value) in model.metadata() {
            // Some keys are called alike in all architectures.
            let name = key.strip_prefix(architecture).and_then(|rest| rest.strip_prefix('.'));
            let name = name.or(Some(key).filter(|key| PER_LAYER.contains(key)));
            let (Some(name), ValueRef::Array(array)) = (name, value) else { continue };
            if array.len() as u64 != u64::from(count) || OTHER_ARRAYS.contains(&name) {
                continue;
            }
            if !PER_LAYER.contains(&name) {
                return Err(Error::write(format!(
                    "'{key}' has {count} elements, equal to the number of layers, and it is not known whether there is one for each layer"
                )));
            }
            let is_kept = |index: usize| u32::try_from(index).is_ok_and(|index| !dropped.contains(&index));
            self.replace(key, Value::Array(array.to_owned().filtered(is_kept)));
        }
        Ok(())
    }

    /// Specifies for each layer whether it has a window, if counting would give windows to other layers than before.
    fn keep_windows<B: AsRef<[u8]>>(&mut self, model: &Gguf<B>, count: u32, kept: &[u32]) -> Result<()> {
        let metadata = model.metadata();
        let is_array = metadata
            .optional_arch::<ValueRef<'_>>(PATTERN)?
            .is_some_and(|value| crate::ArrayRef::from_value(value).is_some());
        let Some(before) = layers_with_windows(metadata, count as usize)?.filter(|_| !is_array) else {
            return Ok(());
        };
        let before: Vec<bool> = kept.iter().map(|&layer| before[layer as usize]).collect();
        let after = layers_with_windows(metadata, kept.len())?.unwrap_or_default();
        if before == after {
            return Ok(());
        }
        let architecture = metadata.architecture().unwrap_or_default();
        if !["gemma2", "gemma3", "cohere2", "olmo2", "plamo3", "gpt-oss", "exaone-moe"]
            .contains(&architecture)
        {
            let message = format!(
                "layers that attend to windows would be others than before, and models of architecture '{architecture}' cannot say which \
                 they are"
            );
            return Err(Error::write(message));
        }
        let key = format!("{architecture}.{PATTERN}");
        if metadata.contains(&key) {
            self.replace(key, before)
        } else {
            self.add(key, before)
        };
        Ok(())
    }
}
