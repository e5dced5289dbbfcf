//! [`Key`]: the parameters of a family, from `config.json`.

use super::Family;
use crate::error::{Result, Shown};
use crate::gguf::value::{Array, Value};
use crate::model::hf::class::tells_classes_apart;
use crate::model::hf::description::Description;
use crate::model::hf::json::Node;
use crate::model::hf::rope::{
    USUAL_ROPE_BASE, long_rope_factor, original_context, rope_base, rotary_dimensions, scaling,
};

/// A key of a GGUF, without the architecture that it begins with, or several; with the keys of `config.json`, of which the first
/// that is there counts.
#[derive(Debug, Clone, Copy)]
pub(in crate::model::hf) enum Key {
    /// An integer, where it is there.
    U32(&'static str, &'static [&'static str]),
    /// An integer that must be there.
    Required(&'static str, &'static str),
    /// An integer, and what the class has where its configuration is silent.
    U32Or(&'static str, &'static [&'static str], u32),
    /// The context, from behind the position that a number of `config.json` says.
    PositionsBehind(&'static str),
    /// A number, where it is there.
    F32(&'static str, &'static [&'static str]),
    /// A number, and what the class has where its configuration is silent.
    F32Or(&'static str, &'static [&'static str], f64),
    /// After how many layers one sees all of a text again: an integer, or what `layer_types` says of each layer, and what the class has
    /// where its configuration is silent.
    LayerPattern(&'static str, &'static str, u32),
    /// The same in every model.
    Bool(&'static str, bool),
    /// `true`, where it is.
    Flag(&'static str, &'static str),
    /// The sum of two integers.
    Sum(&'static str, [&'static str; 2]),
    /// The same integer in every model.
    Constant(&'static str, u32),
    /// How a router makes weights of what it computes.
    Gating,
    /// A number of the scaling of rotary embeddings, times a factor, where it is there.
    OfRope(&'static str, &'static str, f64),
    /// The same text in every model.
    Text(&'static str, &'static str),
    /// A text, and what the class has where its configuration is silent.
    TextOr(&'static str, &'static str, &'static str),
    /// The base and the scaling of rotary embeddings.
    Rope,
    /// The base of rotary embeddings alone.
    RopeBase,
    /// The same, where it is not what llama.cpp takes without a key.
    UnusualRopeBase,
    /// That of some layers: of this kind in newer configurations, and under a key of its own in older ones.
    RopeBaseOf(&'static str, &'static str, &'static str, f64),
    /// How many values of a head are turned, where that is a part of them.
    PartialRope,
    /// Positions before long texts were learnt.
    OriginalContext,
    /// What the scaling `longrope` multiplies attention by.
    LongRopeFactor,
    /// Lengths of keys and values of a head, where the configuration or the family has one.
    HeadLengths,
    /// As the last, and otherwise what heads share.
    HeadLengthsOrShare,
    /// `general.file_type`.
    FileType,
    /// `vocab_size`, or the rows of the token embedding.
    VocabularySize,
    /// The values of a head that are turned: all.
    RopeDimensions,
    /// That all of a text is seen, where the configuration says so.
    SeesAll,
    /// How an embedding model makes one vector of many.
    Pooling,
    /// What a classifier tells apart, where that has names.
    Labels,
    /// None: a router that takes experts of the groups whose best ones are best, where llama.cpp goes by the best two of each.
    BestOfGroups,
}

/// What every transformer has.
pub(super) const TRANSFORMER: &[Key] = &[
    Key::Required("block_count", "num_hidden_layers"),
    Key::U32("context_length", &["max_position_embeddings"]),
    Key::U32("embedding_length", &["hidden_size"]),
    Key::U32("feed_forward_length", &["intermediate_size"]),
    Key::U32("attention.head_count", &["num_attention_heads"]),
    Key::U32("attention.head_count_kv", &["num_key_value_heads"]),
];

/// What decoders have whose norms are RMSNorm, behind the keys of all.
pub(super) const DECODER: &[Key] = &[
    Key::Rope,
    Key::F32Or("attention.layer_norm_rms_epsilon", &["rms_norm_eps", "norm_eps"], 1e-6),
    Key::F32("attention.layer_norm_epsilon", &["layer_norm_eps"]),
    Key::SeesAll,
];

pub(super) const HEADS: &[Key] = &[Key::HeadLengths];

pub(super) const EXPERTS: &[Key] = &[
    Key::U32("expert_count", &["num_local_experts"]),
    Key::U32("expert_used_count", &["num_experts_per_tok", "experts_per_token"]),
];

pub(super) const FILE_TYPE: &[Key] = &[Key::FileType];

/// What the converter adds for Llama and what it derives from it.
pub(super) const LLAMA: &[Key] = &[Key::VocabularySize, Key::RopeDimensions];

pub(super) const POOLING: &[Key] = &[Key::Pooling];

/// What keys are read from.
pub(in crate::model::hf) struct Parameters<'a> {
    pub(in crate::model::hf) config: &'a Node<'a>,
    pub(in crate::model::hf) description: &'a Description,
    pub(in crate::model::hf) file_type: Option<u32>,
    /// Those of the token embedding.
    pub(in crate::model::hf) rows: Option<u32>,
}

impl Family {
    /// The keys of the model's parameters, in llama.cpp's order. What the keys cannot say is noted.
    pub(in crate::model::hf) fn parameters(
        &self,
        of: &Parameters<'_>,
        notes: &mut Vec<String>,
    ) -> Result<Vec<(String, Value)>> {
        self.pairs(self.keys, of, notes)
    }

    /// Those that come right behind the architecture.
    pub(in crate::model::hf) fn first_parameters(&self, of: &Parameters<'_>) -> Result<Vec<(String, Value)>> {
        self.pairs(&[self.first_keys], of, &mut Vec::new())
    }

    fn pairs(
        &self,
        which: &[&[Key]],
        of: &Parameters<'_>,
        notes: &mut Vec<String>,
    ) -> Result<Vec<(String, Value)>> {
        let config = of.config;
        let mut keys = Keys { architecture: self.architecture, pairs: Vec::new() };
        let heads = config.required("num_attention_heads")?;
        let width = config.required("hidden_size")?.u32()?;
        let share = width.checked_div(heads.u32()?).ok_or_else(|| heads.wrong("must not be 0"))?;
        let head_dim = config.get("head_dim").map(|dim| dim.u32()).transpose()?;
        for key in which.iter().copied().flatten() {
            match *key {
                Key::U32Or(key, names, or) => {
                    keys.u32(key, config.any(names).map_or(Ok(or), |value| value.u32())?);
                }
                Key::LayerPattern(key, name, or) => {
                    let pattern = match config.get(name) {
                        Some(number) => Some(number.u32()?),
                        None => config.get("layer_types").map(|types| layer_pattern(&types)).transpose()?,
                    };
                    keys.u32(key, pattern.unwrap_or(or));
                }
                Key::PositionsBehind(name) => {
                    let positions = config.required("max_position_embeddings")?;
                    let first = config.required(name)?.u32()?.saturating_add(1);
                    let left = positions.u32()?.checked_sub(first).ok_or_else(|| {
                        positions.wrong(&format!("must not be less than '{name}' and one more, {first}"))
                    })?;
                    keys.u32("context_length", left);
                }
                Key::Flag(key, name) => {
                    if config.get(name).map_or(Ok(false), |flag| flag.bool())? {
                        keys.push(key, Value::Bool(true));
                    }
                }
                Key::Sum(key, [left, right]) => {
                    let (left, right) = (config.required(left)?, config.required(right)?);
                    let sum = left.u32()?.checked_add(right.u32()?);
                    keys.u32(key, sum.ok_or_else(|| left.wrong("is too large"))?);
                }
                Key::Constant(key, number) => keys.u32(key, number),
                Key::Gating => {
                    let function = config.get("scoring_func");
                    match function.as_ref().map(|function| function.str()).transpose()? {
                        Some("softmax") => keys.u32("expert_gating_func", 1),
                        Some("sigmoid") => keys.u32("expert_gating_func", 2),
                        Some(_) => {
                            let wrong = function.map(|function| function.wrong("must be softmax or sigmoid"));
                            return wrong.map_or(Ok(keys.pairs), Err);
                        }
                        None => {}
                    }
                }
                Key::OfRope(key, name, factor) => {
                    if let Some(number) = scaling(config).and_then(|rope| rope.get(name)) {
                        keys.f32(key, factor * number.f64()?);
                    }
                }
                Key::Text(key, text) => keys.push(key, text.into()),
                Key::TextOr(key, name, or) => {
                    keys.push(key, config.get(name).map_or(Ok(or), |text| text.str())?.into());
                }
                Key::RopeBase => keys.f32("rope.freq_base", rope_base(config)?.unwrap_or(USUAL_ROPE_BASE)),
                Key::UnusualRopeBase => {
                    if let Some(base) = rope_base(config)?.filter(|base| *base != USUAL_ROPE_BASE) {
                        keys.f32("rope.freq_base", base);
                    }
                }
                Key::RopeBaseOf(key, layers, name, or) => {
                    let of_layers =
                        config.get("rope_parameters").and_then(|rope| rope.get(layers)?.get("rope_theta"));
                    let base = of_layers.or_else(|| config.get(name));
                    keys.f32(key, base.map_or(Ok(or), |base| base.f64())?);
                }
                Key::PartialRope => keys.u32("rope.dimension_count", rotary_dimensions(config)?),
                Key::OriginalContext => {
                    if let Some(context) = original_context(config)? {
                        keys.u32("rope.scaling.original_context_length", context);
                    }
                }
                Key::LongRopeFactor => {
                    if let Some(factor) = long_rope_factor(config)? {
                        keys.f32("rope.scaling.attn_factor", factor);
                    }
                }
                Key::U32(key, names) => {
                    if let Some(value) = config.any(names) {
                        keys.u32(key, value.u32()?);
                    }
                }
                Key::Required(key, name) => keys.u32(key, config.required(name)?.u32()?),
                Key::F32(key, names) => {
                    if let Some(value) = config.any(names) {
                        keys.f32(key, value.f64()?);
                    }
                }
                Key::F32Or(key, names, or) => {
                    keys.f32(key, config.any(names).map_or(Ok(or), |value| value.f64())?);
                }
                Key::Bool(key, value) => keys.push(key, Value::Bool(value)),
                Key::Rope => self.rope(config, &mut keys, notes)?,
                Key::HeadLengths | Key::HeadLengthsOrShare => {
                    let or = matches!(key, Key::HeadLengthsOrShare).then_some(share);
                    if let Some(length) = head_dim.or(self.head_dim).or(or) {
                        keys.u32("attention.key_length", length);
                        keys.u32("attention.value_length", length);
                    }
                }
                Key::FileType => {
                    let file_type = of.file_type.map(Value::U32);
                    keys.pairs.extend(file_type.map(|ty| ("general.file_type".to_owned(), ty)));
                }
                Key::VocabularySize => {
                    let size = config.get("vocab_size").map(|size| size.u32()).transpose()?;
                    if let Some(size) = size.or(of.rows) {
                        keys.u32("vocab_size", size);
                    }
                }
                Key::RopeDimensions => keys.u32("rope.dimension_count", head_dim.unwrap_or(share)),
                Key::Labels => {
                    if let Some(labels) = labels(config)? {
                        let labels = labels.into_iter().map(String::into_bytes).collect();
                        keys.push("classifier.output_labels", Value::Array(Array::String(labels)));
                    }
                }
                Key::BestOfGroups => {
                    let groups = config.get("n_group");
                    let count = groups.as_ref().map_or(Ok(1), |groups| groups.u32())?;
                    let method = config.get("topk_method").map_or(Ok("greedy"), |method| method.str())?;
                    match groups.filter(|_| count > 1) {
                        Some(_) if method == "group_limited_greedy" => notes.push(format!(
                            "the class takes experts of the groups with the best one ('n_group' {count}), and llama.cpp of those \
                             whose best two are best together: some tokens get other experts"
                        )),
                        Some(groups) => {
                            return Err(groups.wrong(&format!(
                                "is {count}, and 'topk_method' is '{}', with which the class has no groups: llama.cpp would choose \
                                 among them",
                                Shown(method)
                            )));
                        }
                        None => {}
                    }
                }
                Key::SeesAll => {
                    if sees_all(config)? {
                        keys.push("attention.causal", Value::Bool(false));
                    }
                }
                Key::Pooling => {
                    let pooling = of.description.pooling.as_ref();
                    if let Some(kind) = pooling.map_or(Ok(None), |pooling| pooling_type(&pooling.root()))? {
                        keys.u32("pooling_type", kind);
                    }
                }
            }
        }
        Ok(keys.pairs)
    }

    /// The keys in GGUF whose values are numbers of `config.json`, with their names there, and whether they are integers.
    pub(in crate::model::hf) fn numbers(&self) -> impl Iterator<Item = (&'static str, &'static str, bool)> {
        self.keys.iter().copied().flatten().filter_map(|key| match *key {
            Key::F32(key, [name, ..]) | Key::F32Or(key, [name, ..], _) => Some((key, *name, false)),
            Key::RopeBaseOf(key, _, name, _) => Some((key, name, false)),
            Key::U32(key, [name, ..]) | Key::U32Or(key, [name, ..], _) => Some((key, *name, true)),
            Key::Required(key, name) | Key::LayerPattern(key, name, _) => Some((key, name, true)),
            _ => None,
        })
    }

    /// The number of `config.json` with this name, by the keys of a GGUF, which `number` reads without the architecture.
    pub(in crate::model::hf) fn number_of(
        &self,
        name: &str,
        number: impl Fn(&str) -> Option<u32>,
    ) -> Option<u32> {
        let direct = |name: &str| {
            self.numbers().find_map(
                |(key, known, is_integer)| {
                    if known == name && is_integer { number(key) } else { None }
                },
            )
        };
        let of_sum = |key: &Key| match *key {
            Key::Sum(key, [left, right]) if left == name => number(key)?.checked_sub(direct(right)?),
            _ => None,
        };
        direct(name).or_else(|| self.keys.iter().copied().flatten().find_map(of_sum))
    }
}

/// The distance of layers that see all of a text, which the first does.
fn layer_pattern(types: &Node<'_>) -> Result<u32> {
    let sees_all: Vec<bool> =
        types.array()?.map(|kind| Ok(kind.str()? == "full_attention")).collect::<Result<_>>()?;
    let every = (1..sees_all.len()).find(|&layer| sees_all[layer]).unwrap_or(sees_all.len().max(1));
    let is_regular =
        sees_all.iter().enumerate().all(|(layer, sees_all)| *sees_all == layer.is_multiple_of(every));
    match u32::try_from(every) {
        Ok(every) if is_regular => Ok(every),
        _ => Err(types.wrong(
            "must have 'full_attention' for the first layer and others at the same distance from each other, which GGUF has one number for",
        )),
    }
}

/// Whether the class of the model has a head that tells classes apart.
fn has_head(config: &Node<'_>) -> bool {
    let class = config.get("architectures").and_then(|classes| classes.value.get(0)?.as_str());
    class.is_some_and(tells_classes_apart)
}

/// The names of classes by their numbers. llama.cpp loads a head with as many rows as there are names. Two without names of their
/// own count as none in a model without a head, where the transformers library says that of every model.
pub(in crate::model::hf) fn labels(config: &Node<'_>) -> Result<Option<Vec<String>>> {
    let has_head = has_head(config);
    let Some(node) = config.get("id2label") else {
        return Ok(has_head.then(|| ["LABEL_0", "LABEL_1"].map(str::to_owned).to_vec()));
    };
    let Some(object) = node.value.as_object() else {
        return Err(node.wrong("must be an object of numbers and names"));
    };
    let mut labels = Vec::with_capacity(object.len());
    for id in object.keys() {
        let number: u32 = id.parse().map_err(|_| node.wrong("must have numbers as its keys"))?;
        labels.push((number, Node::of_key(&node, id).str()?.to_owned()));
    }
    labels.sort();
    let labels: Vec<String> = labels.into_iter().map(|(_, label)| label).collect();
    let is_unnamed = labels.len() == 2 && labels[0] == "LABEL_0" && !has_head;
    Ok((!is_unnamed && !labels.is_empty()).then_some(labels))
}

/// Whether tokens attend to later tokens.
fn sees_all(config: &Node<'_>) -> Result<bool> {
    let flag = |key: &str| config.get(key).map(|flag| flag.bool()).transpose();
    Ok(flag("is_causal")? == Some(false) || flag("use_bidirectional_attention")? == Some(true))
}

fn pooling_type(pooling: &Node<'_>) -> Result<Option<u32>> {
    for (key, name, id) in [
        ("pooling_mode_mean_tokens", "mean", 1),
        ("pooling_mode_cls_token", "cls", 2),
        ("pooling_mode_lasttoken", "lasttoken", 3),
    ] {
        let named = pooling.get("pooling_mode").and_then(|mode| mode.value.as_str());
        if pooling.get(key).map(|mode| mode.bool()).transpose()?.unwrap_or(false) || named == Some(name) {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

/// Keys that begin with the architecture.
pub(in crate::model::hf) struct Keys {
    architecture: &'static str,
    pairs: Vec<(String, Value)>,
}

impl Keys {
    pub(in crate::model::hf) fn push(&mut self, key: &str, value: Value) {
        self.pairs.push((format!("{}.{key}", self.architecture), value));
    }

    pub(in crate::model::hf) fn u32(&mut self, key: &str, value: u32) {
        self.push(key, Value::U32(value));
    }

    pub(in crate::model::hf) fn f32(&mut self, key: &str, value: f64) {
        self.push(key, Value::F32(value as f32));
    }
}
