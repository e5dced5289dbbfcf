//! [`Export`]: what a GGUF becomes as safetensors.

use std::fmt;

use serde_json::json;

use super::family::Family;
use super::planned::{Planned, Source};
use super::stored;
use crate::container::ReadAt;
use crate::error::{Error, Result};
use crate::model::{FileType, Job, Origin};
use crate::safetensors::{Dtype, Writer};
use crate::{Array, GgmlType, Gguf, Metadata, Sink};

type Names<'a> = Box<dyn Fn(&str) -> Option<String> + Send + Sync + 'a>;

/// Plans safetensors files from a GGUF.
///
/// Plain values stay as they are; blocks become floats. The names of known families become those of Hugging Face. All
/// metadata goes along, so that [`Import`](super::Import) makes the same model of it again.
///
/// ```no_run
/// use std::ops::ControlFlow;
/// use gguf_codec::model::{Convert, hf};
/// use gguf_codec::{Gguf, safetensors};
///
/// let (model, file) = (Gguf::open("model.gguf")?, std::fs::File::open("model.gguf").unwrap());
/// let plan = hf::Export::new(&model, &file).plan()?;
/// for shard in plan.shards(Some(5_000_000_000)) {
///     let mut writer = safetensors::Writer::create(&shard.file_name)?;
///     plan.declare(&shard, &mut writer)?;
///     let mut data = writer.write_header()?;
///     Convert::new().run(&plan.jobs(&shard)?, &mut data, |_| ControlFlow::Continue(()))?;
///     data.finish()?;
/// }
/// # Ok::<(), gguf_codec::Error>(())
/// ```
#[must_use = "nothing is planned before `plan`"]
pub struct Export<'a, B> {
    model: &'a Gguf<B>,
    source: &'a dyn ReadAt,
    ty: GgmlType,
    names: Option<Names<'a>>,
}

impl<'a, B: AsRef<[u8]>> Export<'a, B> {
    /// Of this model, whose tensors are read from `source`, which begins where the GGUF begins.
    pub fn new(model: &'a Gguf<B>, source: &'a dyn ReadAt) -> Self {
        Export { model, source, ty: GgmlType::F16, names: None }
    }

    /// What blocks become: F16 if this is not called, F32 or BF16.
    pub fn ggml_type(mut self, ty: GgmlType) -> Self {
        self.ty = ty;
        self
    }

    /// Names that come before the built-in ones: the function gets a name in the GGUF, and `None` leaves it to them.
    pub fn names(mut self, names: impl Fn(&str) -> Option<String> + Send + Sync + 'a) -> Self {
        self.names = Some(Box::new(names));
        self
    }

    /// Looks at every tensor's name, type and shape, and at the metadata. Data is not read.
    ///
    /// # Errors
    /// [`Error::Write`] where the type for blocks is none of plain floats, two tensors get the same name, or the rows of one
    /// are not in the heads that the metadata speaks of; [`Error::WrongValue`] where their number is none.
    pub fn plan(self) -> Result<ExportPlan<'a>> {
        if !matches!(self.ty, GgmlType::F16 | GgmlType::F32 | GgmlType::BF16) {
            return Err(Error::Write { message: format!("blocks become F16, F32 or BF16, not {}", self.ty) });
        }
        let metadata = self.model.metadata();
        let family =
            metadata.get_opt::<&str>("general.architecture").ok().flatten().and_then(Family::of_architecture);
        let built_in = family.map(Family::names).unwrap_or_default();
        let mut tensors = Vec::with_capacity(self.model.tensor_count());
        for tensor in self.model.tensors() {
            let gguf_name = tensor.name();
            let name =
                self.names.as_ref().and_then(|names| names(gguf_name)).or_else(|| built_in.to_hf(gguf_name));
            let name = name.unwrap_or_else(|| gguf_name.to_owned());
            let origin = Origin::of(self.source, &tensor);
            let source = match heads(family, metadata, gguf_name)?.filter(|_| name != gguf_name) {
                Some(heads) => Source::in_heads(origin, gguf_name, heads, false)?,
                None => Source::File(origin),
            };
            let own = tensor.ggml_type();
            tensors.push(Planned { name, source, ty: if own.is_quantized() { self.ty } else { own } });
        }
        let any_dequantized = self.model.tensors().any(|tensor| tensor.ggml_type().is_quantized());
        Ok(ExportPlan {
            metadata: text(metadata, any_dequantized.then_some(self.ty)),
            config: family.and_then(|family| config(family, metadata, &tensors, self.ty)),
            tensors,
        })
    }
}

impl<B> fmt::Debug for Export<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export").field("type", &self.ty).finish_non_exhaustive()
    }
}

fn heads(family: Option<Family>, metadata: Metadata<'_>, name: &str) -> Result<Option<u32>> {
    let Some(family) = family.filter(|family| family.rope_heads(name, 1, 1).is_some()) else {
        return Ok(None);
    };
    let number = |key: &str| metadata.get_opt::<u32>(&format!("{}.attention.{key}", family.architecture()));
    let heads = number("head_count")?.ok_or_else(|| Error::MissingKey {
        key: format!("{}.attention.head_count", family.architecture()),
    })?;
    Ok(family.rope_heads(name, heads, number("head_count_kv")?.unwrap_or(heads)))
}

/// All metadata as text, its order, and a type of file that is true of dequantized tensors.
fn text(metadata: Metadata<'_>, dequantized: Option<GgmlType>) -> Vec<(String, String)> {
    let mut pairs: Vec<_> =
        metadata.iter().map(|(key, value)| (key.to_owned(), stored::to_text(value))).collect();
    if let Some(file_type) = dequantized.and_then(FileType::mostly)
        && let Some((_, text)) = pairs.iter_mut().find(|(key, _)| key == "general.file_type")
    {
        *text = format!("u32:{}", file_type.id());
    }
    let order = Array::String(pairs.iter().map(|(key, _)| key.clone().into_bytes()).collect());
    pairs.push((stored::ORDER.to_owned(), stored::array_to_text(&order)));
    for (key, _) in &mut pairs {
        key.insert_str(0, stored::PREFIX);
    }
    pairs
}

/// `config.json` of a model of the family, where its metadata has what that must.
fn config(family: Family, metadata: Metadata<'_>, tensors: &[Planned<'_>], ty: GgmlType) -> Option<String> {
    let key = |key: &str| format!("{}.{key}", family.architecture());
    let number = |name: &str| metadata.get_opt::<u32>(&key(name)).ok().flatten();
    // As short as it can be told from other singles: 1e-5, not 9.999999747378752e-6.
    let float = |name: &str| {
        let value = metadata.get_opt::<f32>(&key(name)).ok().flatten()?;
        format!("{value:?}").parse::<f64>().ok()
    };
    let vocabulary = tensors.iter().find(|tensor| {
        tensor.name.ends_with("embed_tokens.weight") || tensor.name.ends_with("word_embeddings.weight")
    })?;
    let heads = number("attention.head_count")?;
    let mut config = json!({
        "architectures": [family.class()],
        "model_type": family.architecture(),
        "hidden_size": number("embedding_length")?,
        "intermediate_size": number("feed_forward_length")?,
        "num_hidden_layers": number("block_count")?,
        "num_attention_heads": heads,
        "max_position_embeddings": number("context_length")?,
        "vocab_size": vocabulary.source.shape().row_count(),
        "torch_dtype": match ty { GgmlType::F32 => "float32", GgmlType::BF16 => "bfloat16", _ => "float16" },
    });
    let mut set = |name: &str, value: serde_json::Value| config[name] = value;
    match family {
        Family::Llama | Family::Qwen2 => {
            set("hidden_act", "silu".into());
            set("num_key_value_heads", number("attention.head_count_kv").unwrap_or(heads).into());
            set("rms_norm_eps", float("attention.layer_norm_rms_epsilon")?.into());
            set("rope_theta", float("rope.freq_base").unwrap_or(10000.0).into());
            set(
                "tie_word_embeddings",
                (!tensors.iter().any(|tensor| tensor.name == "lm_head.weight")).into(),
            );
            if let Some(length) = number("attention.key_length") {
                set("head_dim", length.into());
            }
        }
        Family::Bert => {
            set("hidden_act", "gelu".into());
            set("layer_norm_eps", float("attention.layer_norm_epsilon")?.into());
            let types = metadata.get_opt::<u32>("tokenizer.ggml.token_type_count").ok().flatten();
            set("type_vocab_size", types.unwrap_or(1).into());
        }
    }
    for (name, key) in [("bos_token_id", "bos"), ("eos_token_id", "eos"), ("pad_token_id", "padding")] {
        if let Ok(Some(id)) = metadata.get_opt::<u32>(&format!("tokenizer.ggml.{key}_token_id")) {
            set(name, id.into());
        }
    }
    serde_json::to_string_pretty(&config).ok()
}

/// Safetensors files that are planned.
pub struct ExportPlan<'a> {
    metadata: Vec<(String, String)>,
    tensors: Vec<Planned<'a>>,
    config: Option<String>,
}

/// One of the files: some of the tensors.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Shard {
    /// What Hugging Face calls it: `model.safetensors`, or `model-00001-of-00003.safetensors`.
    pub file_name: String,
    /// Which tensors it has, in its order.
    tensors: Vec<usize>,
    /// Whether it carries the metadata.
    first: bool,
    /// Bytes of the tensors' data.
    pub byte_len: u64,
}

impl ExportPlan<'_> {
    /// `config.json` for the model, where its family is known and its metadata complete.
    pub fn config_json(&self) -> Option<&str> {
        self.config.as_deref()
    }

    /// Cuts the tensors into files of at most `max_bytes` of data, or of one tensor where that is larger. In a file the order
    /// is that of the GGUF, unless larger values have to come before smaller ones to be aligned.
    pub fn shards(&self, max_bytes: Option<u64>) -> Vec<Shard> {
        let mut cuts: Vec<(Vec<usize>, u64)> = vec![(Vec::new(), 0)];
        for (index, tensor) in self.tensors.iter().enumerate() {
            let bytes = self.bytes(tensor);
            let full = |(tensors, sum): &(Vec<usize>, u64)| {
                !tensors.is_empty() && max_bytes.is_some_and(|most| sum.saturating_add(bytes) > most)
            };
            if cuts.last().is_some_and(full) {
                cuts.push((Vec::new(), 0));
            }
            if let Some((tensors, sum)) = cuts.last_mut() {
                tensors.push(index);
                *sum = sum.saturating_add(bytes);
            }
        }
        let count = cuts.len();
        let shard = |(index, (mut tensors, byte_len)): (usize, (Vec<usize>, u64))| {
            self.align(&mut tensors);
            let file_name = match count {
                1 => "model.safetensors".to_owned(),
                _ => format!("model-{:05}-of-{count:05}.safetensors", index + 1),
            };
            Shard { file_name, tensors, first: index == 0, byte_len }
        };
        cuts.into_iter().enumerate().map(shard).collect()
    }

    /// `model.safetensors.index.json` for several files.
    pub fn index_json(&self, shards: &[Shard]) -> String {
        let total: u128 = shards.iter().map(|shard| u128::from(shard.byte_len)).sum();
        let total = u64::try_from(total).unwrap_or(u64::MAX);
        let mut map = serde_json::Map::new();
        for shard in shards {
            map.extend(
                shard
                    .tensors
                    .iter()
                    .map(|&index| (self.tensors[index].name.clone(), shard.file_name.as_str().into())),
            );
        }
        format!("{:#}\n", json!({ "metadata": { "total_size": total }, "weight_map": map }))
    }

    /// Declares the metadata and tensors of a file.
    ///
    /// # Errors
    /// [`Error::Write`] where two tensors have the same name.
    pub fn declare<S: Sink>(&self, shard: &Shard, writer: &mut Writer<S>) -> Result<()> {
        // Without it, the transformers library does not load the file.
        writer.metadata("format", "pt");
        for (key, value) in self.metadata.iter().filter(|_| shard.first) {
            writer.metadata(key, value);
        }
        for &index in &shard.tensors {
            let Planned { name, source, ty } = &self.tensors[index];
            let shape: Vec<u64> = source.shape().dims().iter().rev().copied().collect();
            let dtype = Dtype::from_ggml_type(*ty).ok_or_else(|| Error::Write {
                message: format!(
                    "tensor '{}' would be {ty}, which safetensors does not have",
                    name.escape_debug()
                ),
            })?;
            writer.tensor(name, &shape, dtype)?;
        }
        Ok(())
    }

    /// The tensors of a file for [`Convert`](crate::model::Convert), in the order in which they are declared.
    ///
    /// # Errors
    /// [`Error::Length`] for a tensor whose end cannot be counted.
    pub fn jobs(&self, shard: &Shard) -> Result<Vec<Job<'_>>> {
        shard.tensors.iter().map(|&index| self.tensors[index].job()).collect()
    }

    fn bytes(&self, tensor: &Planned<'_>) -> u64 {
        tensor.ty.bytes_for(tensor.element_count()).unwrap_or(u64::MAX)
    }

    /// Puts tensors of larger values first where one would not lie at a multiple of their size.
    fn align(&self, tensors: &mut [usize]) {
        let mut at = 0u64;
        let aligned = tensors.iter().all(|&index| {
            let tensor = &self.tensors[index];
            let starts = at;
            at = at.saturating_add(self.bytes(tensor));
            starts.is_multiple_of(tensor.ty.block_bytes() as u64)
        });
        if !aligned {
            tensors.sort_by_key(|&index| std::cmp::Reverse(self.tensors[index].ty.block_bytes()));
        }
    }
}

impl fmt::Debug for ExportPlan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExportPlan")
            .field("keys", &self.metadata.len())
            .field("tensors", &self.tensors.len())
            .finish_non_exhaustive()
    }
}
