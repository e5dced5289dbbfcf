//! `config.json` for a model that is exported.

use serde_json::{Value as Json, json};

use super::config_of::{compressed_context, growing_queries, name_classes};
use super::families::{Activation, Classifier, Exported, Factors, Family, Other, Step};
use super::per_layer::common;
use super::planned::{Planned, most};
use crate::error::Shown;
use crate::ggml_type::GgmlType;
use crate::gguf::metadata::Metadata;

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

    pub(super) fn bool(&self, name: &str) -> Option<bool> {
        self.metadata.optional(&self.key(name)).ok().flatten()
    }

    pub(super) fn strings(&self, name: &str) -> Option<Vec<&'a str>> {
        self.metadata.optional_array(&self.key(name)).ok().flatten()?.collect::<Result<_, _>>().ok()
    }

    pub(super) fn str(&self, name: &str) -> Option<&'a str> {
        self.metadata.optional(&self.key(name)).ok().flatten()
    }
}

/// The key of the token that fills texts up.
pub(super) const PADDING: &str = "tokenizer.ggml.padding_token_id";
/// What it is where no key says: that of XLM-RoBERTa.
pub(super) const USUAL_PADDING: u32 = 1;

/// The token that fills texts up, behind whose position those of a text begin in RoBERTa and its like.
pub(super) fn padding(metadata: Metadata<'_>) -> u32 {
    metadata.optional(PADDING).ok().flatten().unwrap_or(USUAL_PADDING)
}

/// The id of a token that has a meaning, where the file says one that the vocabulary of so many rows has.
pub(super) fn token_id(
    metadata: Metadata<'_>,
    name: &str,
    rows: Option<u64>,
    notes: &mut Vec<String>,
) -> Option<u32> {
    let key = format!("tokenizer.ggml.{name}_token_id");
    let id = metadata.optional::<u32>(&key).ok().flatten()?;
    let Some(rows) = rows.filter(|&rows| u64::from(id) >= rows) else { return Some(id) };
    let note = format!("'{key}' is {id}, and left out: the vocabulary has {rows} rows");
    // Several files have it.
    if !notes.contains(&note) {
        notes.push(note);
    }
    None
}

/// The factors of rotary embeddings that are tensors in a GGUF.
pub(super) struct RopeTensors {
    pub(super) freqs: Option<Vec<f32>>,
    pub(super) long: Option<Vec<f32>>,
    pub(super) short: Option<Vec<f32>>,
}

/// The file, where the metadata has what it must have, and notes of what it lacks. `quantization` is what is said of weights that
/// are quantized.
pub(super) fn config(
    family: &Family,
    classifier: Option<&Classifier>,
    metadata: Metadata<'_>,
    tensors: &[Planned<'_>],
    rope: &RopeTensors,
    quantization: Option<Json>,
) -> (Option<String>, Vec<String>) {
    let mut notes = Vec::new();
    let mut config = object(family, classifier, metadata, tensors, rope, &mut notes);
    if let Some((config, quantization)) = config.as_mut().zip(quantization) {
        config["quantization_config"] = quantization;
    }
    (config.and_then(|config| serde_json::to_string_pretty(&config).ok()), notes)
}

fn object(
    family: &Family,
    classifier: Option<&Classifier>,
    metadata: Metadata<'_>,
    tensors: &[Planned<'_>],
    rope: &RopeTensors,
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
    let any = |end: &str| tensors.iter().any(|tensor| tensor.name.ends_with(end));
    let vocabulary = tensors.iter().find(|tensor| {
        ["embed_tokens.weight", "word_embeddings.weight", "tok_embeddings.weight"]
            .iter()
            .any(|end| tensor.name.ends_with(end))
    })?;
    let rows = vocabulary.source.shape().row_count();
    let heads = number("attention.head_count")?;
    let skips = family.all().any(|tensor| tensor.steps.iter().any(|step| matches!(step, Step::From(_))));
    let skipped = if skips { padding(metadata).saturating_add(1) } else { 0 };
    let mut config = json!({
        "architectures": [classifier.map_or(family.class(), |classifier| classifier.class)],
        "model_type": family.model_type,
        "hidden_size": number("embedding_length")?,
        "intermediate_size": number("feed_forward_length")?,
        "num_hidden_layers": number("block_count")?,
        "num_attention_heads": heads,
        "max_position_embeddings": number("context_length")?.saturating_add(skipped),
        "vocab_size": rows,
    });
    let is_head = |name: &str| ["classifier.", "score.", "cls."].iter().any(|start| name.starts_with(start));
    if let Some(head) = tensors.iter().find(|tensor| is_head(&tensor.name)).filter(|_| classifier.is_none()) {
        notes.push(format!(
            "config.json is that of the model without its classifier: the class {} has no tensor '{}'",
            family.class(),
            Shown(&head.name)
        ));
    }
    let mut set = |name: &str, value: Json| config[name] = value;
    if let Some(dtype) = most(tensors).and_then(torch_dtype) {
        set("torch_dtype", dtype.into());
    }
    if let Some((name, activation)) = family.activations.first().and_then(Activation::written) {
        set(name, activation.into());
    }
    match family.exported {
        Exported::Decoder { epsilon: (epsilon, key), biases, others } => {
            set("num_key_value_heads", number("attention.head_count_kv").unwrap_or(heads).into());
            set(epsilon, parameters.number(key)?.into());
            set("rope_theta", parameters.number("rope.freq_base").unwrap_or(10000.0).into());
            set(
                "tie_word_embeddings",
                (!tensors.iter().any(|tensor| tensor.name == "lm_head.weight")).into(),
            );
            if parameters.bool("attention.causal") == Some(false) {
                set("is_causal", false.into());
            }
            let head_dim = number("attention.key_length");
            if let Some(length) = head_dim {
                set("head_dim", length.into());
            }
            for (name, other) in others {
                let width = number("embedding_length")?;
                match other {
                    // Below, where there is scaling, and where all else is there.
                    Other::UntruncatedYarn | Other::GrowingQueries | Other::CompressedContext => {}
                    Other::Null => set(name, Json::Null),
                    Other::RootOfHead => {
                        let length = head_dim.or(width.checked_div(heads)).filter(|&length| length > 0)?;
                        if parameters.number("attention.scale").is_none_or(|scale| scale == 0.0) {
                            set(name, (1.0 / f64::from(length).sqrt()).into());
                        }
                    }
                    Other::QueryScale => {
                        let share = width.checked_div(heads);
                        set(name, family.query_scale(number("block_count"), head_dim, share)?.into());
                    }
                }
            }
            let scaling = match (&rope.long, &rope.short) {
                (Some(long), Some(short)) => Some(json!({ "type": "longrope", "rope_type": "longrope",
                    "long_factor": decimals(long), "short_factor": decimals(short) })),
                _ => family.rope_scaling(&parameters, rope.freqs.as_deref(), notes),
            };
            let is_untruncated = others.contains(&("rope_scaling", Other::UntruncatedYarn));
            if let Some(mut scaling) = scaling {
                if is_untruncated && scaling["rope_type"] == "yarn" {
                    scaling["truncate"] = false.into();
                }
                set("rope_scaling", scaling);
            } else if is_untruncated {
                // Where nothing is said, the class has scaling of its own.
                set("rope_scaling", json!({ "rope_type": "default" }));
            }
            if family.factors == Some(Factors::LongRope) {
                if let Some(context) = number("rope.scaling.original_context_length") {
                    set("original_max_position_embeddings", context.into());
                }
                // Of the values of a head, those that are turned.
                let share = number("embedding_length")?.checked_div(heads)?;
                if let Some(turned) = number("rope.dimension_count").filter(|&turned| turned != share) {
                    set("partial_rotary_factor", (f64::from(turned) / f64::from(share)).into());
                }
            }
            // Without these, the class leaves out the biases that the files have. Qwen2's class has its own always.
            for (name, end) in biases {
                if any(end) {
                    set(name, true.into());
                }
            }
        }
        Exported::ModernBert => {
            // Where no key says it, and the class has one of a larger vocabulary.
            set("pad_token_id", Json::Null);
            if let Some(activation) = parameters.str("hidden_activation") {
                set("hidden_activation", activation.into());
            }
            for (name, key) in [("cls_token_id", "bos"), ("sep_token_id", "seperator")] {
                if let Some(id) = token_id(metadata, key, Some(rows), notes) {
                    set(name, id.into());
                }
            }
        }
        Exported::Bert => {
            set("layer_norm_eps", parameters.number("attention.layer_norm_epsilon")?.into());
            let types = tensors.iter().find(|tensor| tensor.name.ends_with("token_type_embeddings.weight"));
            set("type_vocab_size", types.map_or(1, |tensor| tensor.source.shape().row_count()).into());
        }
    }
    for (name, setting) in family.settings() {
        set(name, setting);
    }
    for (name, key) in [("bos_token_id", "bos"), ("eos_token_id", "eos"), ("pad_token_id", "padding")] {
        if let Some(id) = token_id(metadata, key, Some(rows), notes) {
            set(name, id.into());
        }
    }
    for (key, name, is_integer) in family.numbers() {
        let value: Option<Json> = match is_integer {
            true => number(key).map(Json::from),
            false => parameters.number(key).map(Json::from),
        };
        // A window of none is none.
        let value =
            value.map(|value| if name == "sliding_window" && value == 0 { Json::Null } else { value });
        if let Some(value) = value.filter(|_| config.get(name).is_none()) {
            config[name] = value;
        }
    }
    if let Exported::Decoder { others, .. } = family.exported {
        for (_, other) in others {
            match other {
                Other::GrowingQueries => growing_queries(&mut config, &parameters),
                Other::CompressedContext => {
                    let is_corrected = any("mlp.gate.e_score_correction_bias");
                    compressed_context(&mut config, family, &parameters, is_corrected, notes)?;
                }
                _ => {}
            }
        }
    }
    if classifier.is_some() {
        let name = family.to_hf("cls.output.weight")?;
        let head = tensors.iter().find(|tensor| tensor.name == name)?;
        name_classes(&mut config, head.source.shape().row_count(), &parameters);
    }
    Some(config)
}

/// Singles as short as they can be told from others.
fn decimals(singles: &[f32]) -> Vec<Json> {
    singles.iter().map(|single| format!("{single:?}").parse::<f64>().map_or(Json::Null, Json::from)).collect()
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
