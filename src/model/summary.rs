//! [`Summary`]: a description of a model, from its header.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::String;
use core::ops::RangeInclusive;

use super::file_type::FileType;
use super::size::Size;
use crate::ggml_type::GgmlType;
use crate::gguf::metadata::Metadata;
use crate::gguf::value_ref::{ArrayRef, ValueRef};
use crate::gguf::{FromValue, TensorInfo};

/// A description of a model: its name, architecture, size and dimensions, as far as its header specifies them.
///
/// ```
/// use gguf_codec::Gguf;
/// use gguf_codec::model::Summary;
///
/// let model = Gguf::read("examples/sample.gguf")?;
/// let summary = Summary::new(model.metadata(), model.tensors());
/// assert_eq!(summary.name.as_deref(), Some("Sample Llama 2 layers"));
/// assert_eq!((summary.layers, summary.embedding), (Some(2), Some(64)));
/// assert_eq!((summary.heads, summary.kv_heads), (Some(4..=4), Some(2..=2)));
/// assert_eq!(summary.size.parameters, 127_296);
/// # Ok::<(), gguf_codec::Error>(())
/// ```
///
/// A field is `None` if the file does not have the key, or its value has an unsuitable type: a summary never fails.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Summary {
    /// `general.name`.
    pub name: Option<String>,
    /// `general.architecture`.
    pub architecture: Option<String>,
    /// `general.type`: `model`, `adapter`, `mmproj`, `imatrix`.
    pub kind: Option<String>,
    /// The number of tensors, parameters and bytes.
    pub size: Size,
    /// The type of most parameters.
    pub dominant_type: Option<GgmlType>,
    /// `general.file_type`, which names the recipe.
    pub file_type: Option<FileType>,
    /// The number of layers.
    pub layers: Option<u64>,
    /// The number of values in an embedding: the width of the residual stream.
    pub embedding: Option<u64>,
    /// The number of attention heads in a layer: the minimum and the maximum.
    pub heads: Option<RangeInclusive<u64>>,
    /// The number of key and value heads in a layer: the minimum and the maximum. Equal to `heads` if the file does
    /// not specify it.
    pub kv_heads: Option<RangeInclusive<u64>>,
    /// The number of experts in a layer, for a mixture of experts.
    pub experts: Option<u64>,
    /// The number of experts that a token passes through.
    pub experts_used: Option<u64>,
    /// The longest context that the model was trained for, in tokens.
    pub context: Option<u64>,
    /// The number of tokens in the vocabulary.
    pub vocabulary: Option<u64>,
    /// The kind of tokenizer: `gpt2` for byte pairs, `llama` for SentencePiece and so on.
    pub tokenizer: Option<String>,
    /// How text is split before tokenization: `llama-bpe`, `smollm` and so on.
    pub pre_tokenizer: Option<String>,
}

impl Summary {
    /// Summarizes a model, given `model.metadata()` and `model.tensors()` of a [`Gguf`](crate::Gguf), a `ShardedGguf` or an
    /// `Input`.
    pub fn new<'a>(metadata: Metadata<'a>, tensors: impl IntoIterator<Item = TensorInfo<'a>>) -> Self {
        let mut size = Size::default();
        let mut by_type = BTreeMap::<GgmlType, u64>::new();
        for tensor in tensors {
            let its = Size::of(&tensor);
            size += its;
            let parameters = by_type.entry(tensor.ggml_type()).or_default();
            *parameters = parameters.saturating_add(its.parameters);
        }
        let dominant = by_type.into_iter().filter(|&(_, parameters)| parameters > 0);
        let dominant = dominant.max_by_key(|&(_, parameters)| parameters);
        let text = |key| at::<&str>(metadata, key).map(str::to_owned);
        let number = |key| metadata.optional_arch::<u64>(key).ok().flatten();
        let heads = range(metadata, "attention.head_count");
        let tokens = at::<ArrayRef<'_>>(metadata, "tokenizer.ggml.tokens").map(|tokens| tokens.len() as u64);
        Summary {
            name: text("general.name"),
            architecture: metadata.architecture().map(str::to_owned),
            kind: text("general.type"),
            size,
            dominant_type: dominant.map(|(ty, _)| ty),
            file_type: at::<u32>(metadata, "general.file_type").map(FileType::from_id),
            layers: number("block_count"),
            embedding: number("embedding_length"),
            kv_heads: range(metadata, "attention.head_count_kv").or_else(|| heads.clone()),
            heads,
            experts: number("expert_count").filter(|&experts| experts > 0),
            experts_used: number("expert_used_count").filter(|&experts| experts > 0),
            context: number("context_length"),
            vocabulary: tokens.or_else(|| number("vocab_size")),
            tokenizer: text("tokenizer.ggml.model"),
            pre_tokenizer: text("tokenizer.ggml.pre"),
        }
    }
}

fn at<'a, T: FromValue<'a>>(metadata: Metadata<'a>, key: &str) -> Option<T> {
    metadata.get(key).and_then(T::from_value)
}

/// Returns the range of one number or of an array with a number for each layer.
fn range(metadata: Metadata<'_>, key: &str) -> Option<RangeInclusive<u64>> {
    match metadata.optional_arch::<ValueRef<'_>>(key).ok()?? {
        ValueRef::Array(array) => array.iter_as::<u64>().map_while(Result::ok).fold(None, |range, number| {
            let (least, most) = range.map_or((number, number), RangeInclusive::into_inner);
            Some(least.min(number)..=most.max(number))
        }),
        value => u64::from_value(value).map(|number| number..=number),
    }
}
