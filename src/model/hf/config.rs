//! `config.json` for a model that is exported.

use serde_json::{Value as Json, json};

use super::families::{Exported, Family, Other};
use super::per_layer::common;
use super::planned::{Planned, most};
use crate::{GgmlType, Metadata};

/// The metadata's keys of the model's architecture.
pub(super) struct Parameters<'a> {
    metadata: Metadata<'a>,
    architecture: &'static str,
}

impl<'a> Parameters<'a> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    pub(super) fn u32(&self, name: &str) -> Option<u32> {
        common(self.metadata, &self.key(name)).flatten()
    }

    pub(super) fn f32(&self, name: &str) -> Option<f32> {
        self.metadata.optional(&self.key(name)).ok().flatten()
    }

    /// A single, as short as it can be told from others: 1e-5, not 9.999999747378752e-6.
    pub(super) fn number(&self, name: &str) -> Option<f64> {
        format!("{:?}", self.f32(name)?).parse().ok()
    }

    pub(super) fn str(&self, name: &str) -> Option<&'a str> {
        self.metadata.optional(&self.key(name)).ok().flatten()
    }
}

/// The file, where the metadata has what it must have, and notes of what it lacks. `rope_freqs` are the factors of the tensor
/// of that name, `quantization` what is said of weights that are quantized.
pub(super) fn config(
    family: &Family,
    metadata: Metadata<'_>,
    tensors: &[Planned<'_>],
    rope_freqs: Option<&[f32]>,
    quantization: Option<Json>,
) -> (Option<String>, Vec<String>) {
    let mut notes = Vec::new();
    let mut config = object(family, metadata, tensors, rope_freqs, &mut notes);
    if let Some((config, quantization)) = config.as_mut().zip(quantization) {
        config["quantization_config"] = quantization;
    }
    (config.and_then(|config| serde_json::to_string_pretty(&config).ok()), notes)
}

fn object(
    family: &Family,
    metadata: Metadata<'_>,
    tensors: &[Planned<'_>],
    rope_freqs: Option<&[f32]>,
    notes: &mut Vec<String>,
) -> Option<Json> {
    let parameters = Parameters { metadata, architecture: family.architecture };
    let number = |name: &str| parameters.u32(name);
    let of_layers = ["attention.head_count", "attention.head_count_kv", "feed_forward_length"];
    if let Some(uneven) =
        of_layers.iter().map(|name| parameters.key(name)).find(|key| common(metadata, key) == Some(None))
    {
        notes.push(format!(
            "there is no config.json, which has one number for all layers: those of '{uneven}' differ"
        ));
        return None;
    }
    if tensors.iter().any(|tensor| tensor.name == "rope_factors_long.weight") {
        notes.push("there is no config.json, since its factors for long texts are tensors here".to_owned());
        return None;
    }
    let any = |end: &str| tensors.iter().any(|tensor| tensor.name.ends_with(end));
    let vocabulary = tensors.iter().find(|tensor| {
        tensor.name.ends_with("embed_tokens.weight") || tensor.name.ends_with("word_embeddings.weight")
    })?;
    let heads = number("attention.head_count")?;
    let mut config = json!({
        "architectures": [family.class()],
        "model_type": family.model_type,
        "hidden_size": number("embedding_length")?,
        "intermediate_size": number("feed_forward_length")?,
        "num_hidden_layers": number("block_count")?,
        "num_attention_heads": heads,
        "max_position_embeddings": number("context_length")?,
        "vocab_size": vocabulary.source.shape().row_count(),
    });
    let mut set = |name: &str, value: Json| config[name] = value;
    if let Some(dtype) = most(tensors).and_then(torch_dtype) {
        set("torch_dtype", dtype.into());
    }
    match family.exported {
        Exported::Decoder { activation: (name, activation), epsilon: (epsilon, key), biases, others } => {
            set(name, activation.into());
            set("num_key_value_heads", number("attention.head_count_kv").unwrap_or(heads).into());
            set(epsilon, parameters.number(key)?.into());
            set("rope_theta", parameters.number("rope.freq_base").unwrap_or(10000.0).into());
            set(
                "tie_word_embeddings",
                (!tensors.iter().any(|tensor| tensor.name == "lm_head.weight")).into(),
            );
            let head_dim = number("attention.key_length");
            if let Some(length) = head_dim {
                set("head_dim", length.into());
            }
            for (name, other) in others {
                let width = number("embedding_length")?;
                let is_largest = matches!(number("block_count"), Some(46 | 62));
                match other {
                    Other::True => set(name, true.into()),
                    Other::QueryScale => match head_dim.filter(|_| !is_largest) {
                        Some(length) => set(name, length.into()),
                        None => set(name, width.checked_div(heads)?.into()),
                    },
                }
            }
            if let Some(scaling) = family.rope_scaling(&parameters, rope_freqs, notes) {
                set("rope_scaling", scaling);
            }
            // Without these, the class leaves out the biases that the files have. Qwen2's class has its own always.
            for (name, end) in biases {
                if any(end) {
                    set(name, true.into());
                }
            }
        }
        Exported::None(why) => {
            notes.push(format!("there is no config.json for {}: {why}", family.class()));
            return None;
        }
        Exported::Bert => {
            set("hidden_act", "gelu".into());
            set("layer_norm_eps", parameters.number("attention.layer_norm_epsilon")?.into());
            let types = tensors.iter().find(|tensor| tensor.name.ends_with("token_type_embeddings.weight"));
            set("type_vocab_size", types.map_or(1, |tensor| tensor.source.shape().row_count()).into());
        }
    }
    for (name, key) in [("bos_token_id", "bos"), ("eos_token_id", "eos"), ("pad_token_id", "padding")] {
        if let Ok(Some(id)) = metadata.optional::<u32>(&format!("tokenizer.ggml.{key}_token_id")) {
            set(name, id.into());
        }
    }
    for (key, name, is_integer) in family.numbers() {
        let value: Option<Json> = match is_integer {
            true => number(key).map(Json::from),
            false => parameters.number(key).map(Json::from),
        };
        if let Some(value) = value.filter(|_| config.get(name).is_none()) {
            config[name] = value;
        }
    }
    Some(config)
}

/// What PyTorch calls a type that weights can be in.
fn torch_dtype(ty: GgmlType) -> Option<&'static str> {
    Some(match ty {
        GgmlType::F16 => "float16",
        GgmlType::BF16 => "bfloat16",
        GgmlType::F32 => "float32",
        GgmlType::F64 => "float64",
        _ => return None,
    })
}
