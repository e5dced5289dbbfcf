//! [`Memory`] and [`MemoryEstimate`]: the memory that a model takes when it runs.

use alloc::borrow::ToOwned;
use alloc::vec;
use alloc::vec::Vec;

use super::size::Size;
use super::windows::period;
use crate::error::{Error, Measured, Result};
use crate::ggml_type::GgmlType;
use crate::gguf::metadata::Metadata;
use crate::gguf::value_ref::ValueRef;
use crate::gguf::{FromValue, TensorInfo};

/// The settings for running a model that affect its memory.
///
/// ```
/// use gguf_codec::model::Memory;
/// use gguf_codec::{GgmlType, Gguf};
///
/// let model = Gguf::read("examples/sample.gguf")?;
/// let estimate = Memory::at(2048).kv_type(GgmlType::Q8_0).estimate(model.metadata(), model.tensors())?;
/// // 2 layers of 2 heads of 16 keys and as many values: 34 bytes for 32 numbers.
/// assert_eq!(estimate.kv_cache, 2048 * 2 * 2 * 34);
/// assert_eq!(estimate.total(), estimate.weights + estimate.kv_cache);
/// # Ok::<(), gguf_codec::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    context: u64,
    key_type: GgmlType,
    value_type: GgmlType,
    batch: u64,
    full_windows: bool,
}

/// The memory that a model takes when it runs, in bytes.
///
/// This includes the weights and what is kept of the context, but not the buffers in which a runtime computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MemoryEstimate {
    /// All tensors.
    pub weights: u64,
    /// The keys and values of the tokens of the context.
    pub kv_cache: u64,
    /// What recurrent layers keep, regardless of the length of the context.
    pub state: u64,
    /// The number of tokens that fit: the requested context, rounded up to a multiple of 256.
    pub context: u64,
}

impl MemoryEstimate {
    /// Returns the total.
    pub fn total(&self) -> u64 {
        self.weights.saturating_add(self.kv_cache).saturating_add(self.state)
    }
}

/// llama.cpp rounds contexts up to this many tokens.
const CELLS: u64 = 256;
/// The maximum number of layers that llama.cpp loads. It also bounds what a header can make this allocate.
const MOST_LAYERS: u64 = 512;

impl Memory {
    /// Creates settings for a context of this many tokens, with keys and values in F16, as llama.cpp uses for one sequence.
    pub fn at(context: u64) -> Self {
        Memory {
            context,
            key_type: GgmlType::F16,
            value_type: GgmlType::F16,
            batch: 512,
            full_windows: false,
        }
    }

    /// Sets the type of keys and values.
    #[must_use]
    pub fn kv_type(self, ty: GgmlType) -> Self {
        Memory { key_type: ty, value_type: ty, ..self }
    }

    /// Sets the type of keys only.
    #[must_use]
    pub fn key_type(self, ty: GgmlType) -> Self {
        Memory { key_type: ty, ..self }
    }

    /// Sets the type of values only.
    #[must_use]
    pub fn value_type(self, ty: GgmlType) -> Self {
        Memory { value_type: ty, ..self }
    }

    /// Sets how many tokens are computed at a time (llama.cpp's `--ubatch-size`, 512 by default). Layers with window
    /// attention keep that many more.
    #[must_use]
    pub fn batch(self, tokens: u64) -> Self {
        Memory { batch: tokens, ..self }
    }

    /// Keeps the whole context in layers with window attention, too (llama.cpp's `--swa-full`).
    #[must_use]
    pub fn full_windows(self, full: bool) -> Self {
        Memory { full_windows: full, ..self }
    }

    /// Estimates the memory of a model, given `model.metadata()` and `model.tensors()` of a [`Gguf`](crate::Gguf), a
    /// `ShardedGguf` or an `Input`.
    ///
    /// The figures are those that llama.cpp reports for its weights, its KV cache and its recurrent state.
    ///
    /// # Errors
    /// [`Error::UnknownArchitecture`] if it is not known what the architecture keeps; [`Error::MissingKey`] and
    /// [`Error::WrongValue`] if the metadata lacks a required value; [`Error::Length`] if the keys or values of a head are not
    /// whole blocks of their type.
    pub fn estimate<'a>(
        self,
        metadata: Metadata<'a>,
        tensors: impl IntoIterator<Item = TensorInfo<'a>>,
    ) -> Result<MemoryEstimate> {
        let weights: Size = tensors.into_iter().map(|tensor| Size::of(&tensor)).sum();
        let context = self.context.max(1).checked_next_multiple_of(CELLS).unwrap_or(u64::MAX);
        let mut estimate = MemoryEstimate { weights: weights.bytes, context, ..MemoryEstimate::default() };
        let name = metadata.architecture().unwrap_or_default();
        let architecture = Architecture::of(name)
            .ok_or_else(|| Error::UnknownArchitecture { architecture: name.to_owned() })?;
        if architecture.keeps == Keeps::Nothing {
            return Ok(estimate);
        }
        let layers = layers(metadata, &architecture)?;
        for layer in layers {
            let cells = match layer.window {
                Some(window) if !self.full_windows => {
                    let cells = window.saturating_add(self.batch).min(context);
                    cells.checked_next_multiple_of(CELLS).unwrap_or(u64::MAX)
                }
                _ => context,
            };
            let keys = row(layer.keys, self.key_type, Measured::LayerKey)?;
            let values = row(layer.values, self.value_type, Measured::LayerValue)?;
            let cache = cells.saturating_mul(keys.saturating_add(values));
            estimate.kv_cache = estimate.kv_cache.saturating_add(cache);
            // State is F32 whatever the type of the cache.
            estimate.state = estimate.state.saturating_add(layer.state.saturating_mul(4));
        }
        Ok(estimate)
    }
}

/// Returns the size in bytes of this many numbers, which must be whole blocks.
fn row(numbers: u64, ty: GgmlType, what: Measured) -> Result<u64> {
    ty.bytes_for(numbers).ok_or_else(|| Error::Length {
        what,
        found: numbers,
        wanted: alloc::format!("a multiple of {}, for blocks of {ty}", ty.block_len()),
    })
}

/// The numbers that a layer keeps: keys and values of each token, and a state.
#[derive(Debug, Clone, Copy, Default)]
struct LayerMemory {
    keys: u64,
    values: u64,
    state: u64,
    /// The number of tokens that the layer attends to, if not all.
    window: Option<u64>,
}

/// What an architecture keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeps {
    /// Nothing: each token sees all others at once.
    Nothing,
    /// Keys and values, in every layer.
    Attention,
    /// The states of a state space model or of linear attention in every layer.
    State(State),
    /// Keys and values in the layers that have heads for them, states in the others.
    Either(State),
    /// Keys and values in each layer whose number is a multiple of `full_attention_interval`, states in the others.
    Interval(State),
    /// Both in every layer.
    Both(State),
}

/// How large a state is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The state of a convolution and a state space: Mamba, and gated delta networks, whose keys have its form.
    Mamba,
    /// The state of a short convolution only.
    ShortConvolution,
    /// Shifted tokens and a matrix for each head.
    Rwkv,
    /// Three convolutions and a matrix for each head.
    Kda,
}

/// The attention windows of some layers.
#[derive(Debug, Clone, Copy)]
struct Windows {
    /// The period: in each run of this many layers, the last one attends to the whole context, or the first if `dense_first`.
    pattern: u64,
    dense_first: bool,
    /// The window if the file has none. Without it no layer has a window then.
    default: Option<u64>,
    /// The window regardless of the file's, unless the file's is 0.
    fixed: Option<u64>,
    /// The minimum number of layers of a model that has windows.
    least_layers: u64,
}

const EACH: Windows = Windows { pattern: 0, dense_first: false, default: None, fixed: None, least_layers: 0 };

/// How models of an architecture keep their context.
#[derive(Debug, Clone, Copy)]
struct Architecture {
    keeps: Keeps,
    windows: Option<Windows>,
    /// The number of layers with keys and values of their own. Later layers use those of others.
    own_layers: Option<u64>,
}

impl Architecture {
    /// Returns what llama.cpp does with models of this name, or `None` if that is not known.
    fn of(name: &str) -> Option<Self> {
        let plain = Architecture { keeps: Keeps::Attention, windows: None, own_layers: None };
        let keeps = |keeps| Some(Architecture { keeps, ..plain });
        let each = Windows { pattern: period(name).unwrap_or(0).into(), ..EACH };
        let windowed = |windows| Architecture { windows: Some(windows), ..plain };
        match name {
            "llama" | "llama-embed" | "arcee" | "baichuan" | "bailingmoe" | "bailingmoe2" | "bitnet"
            | "bloom" | "chameleon" | "chatglm" | "codeshell" | "cogvlm" | "command-r" | "dbrx" | "deci"
            | "deepseek" | "deepseek2" | "deepseek2-ocr" | "dots1" | "ernie4_5" | "ernie4_5-moe"
            | "exaone" | "falcon" | "gemma" | "glm4" | "glm4moe" | "gpt2" | "gptneox" | "granite"
            | "granitemoe" | "grok" | "grovemoe" | "hunyuan-dense" | "hunyuan-moe" | "hunyuan_vl"
            | "internlm2" | "jais" | "jais2" | "maincoder" | "minicpm" | "minicpm3" | "minimax-m2"
            | "mistral3" | "mistral4" | "mpt" | "nemotron" | "olmo" | "olmoe" | "openelm" | "orion"
            | "paddleocr" | "pangu-embedded" | "phi2" | "phi3" | "phimoe" | "plamo" | "plm" | "qwen"
            | "qwen2" | "qwen2moe" | "qwen2vl" | "qwen3" | "qwen3moe" | "qwen3vl" | "qwen3vlmoe"
            | "refact" | "seed_oss" | "smollm3" | "stablelm" | "starcoder" | "starcoder2" | "xverse"
            | "arctic" => Some(plain),
            "bert" | "nomic-bert" | "nomic-bert-moe" | "jina-bert-v2" | "jina-bert-v3" | "modern-bert"
            | "neo-bert" | "eurobert" | "gemma-embedding" | "llada" | "llada-moe" | "dream" => {
                keeps(Keeps::Nothing)
            }
            "gemma2" => Some(windowed(Windows { default: Some(4096), ..each })),
            // Of the last three, the file specifies which layers have windows.
            "gpt-oss" | "cohere2" | "olmo2" | "exaone-moe" | "afmoe" | "mellum" | "gemma3" | "plamo3"
            | "gemma4" | "mimo2" | "step35" => Some(windowed(each)),
            "gemma3n" => Some(Architecture { own_layers: Some(20), ..windowed(each) }),
            "exaone4" => Some(windowed(Windows { least_layers: 64, ..each })),
            "llama4" => Some(windowed(Windows { default: Some(8192), fixed: Some(8192), ..each })),
            "smallthinker" => Some(windowed(Windows { dense_first: true, fixed: Some(4096), ..each })),
            "mamba" | "mamba2" => keeps(Keeps::State(State::Mamba)),
            "jamba" | "granitehybrid" | "nemotron_h" | "nemotron_h_moe" => keeps(Keeps::Either(State::Mamba)),
            "falcon-h1" => keeps(Keeps::Both(State::Mamba)),
            "lfm2" | "lfm2moe" => keeps(Keeps::Either(State::ShortConvolution)),
            "qwen3next" | "qwen35" | "qwen35moe" => keeps(Keeps::Interval(State::Mamba)),
            "kimi-linear" => keeps(Keeps::Either(State::Kda)),
            "rwkv6" | "rwkv7" | "rwkv6qwen2" | "arwkv7" => keeps(Keeps::State(State::Rwkv)),
            _ => None,
        }
    }
}

/// Returns what each layer keeps.
fn layers(metadata: Metadata<'_>, architecture: &Architecture) -> Result<Vec<LayerMemory>> {
    let number = |key: &str| metadata.optional_arch::<u64>(key);
    let all = metadata.require_arch::<u64>("block_count")?;
    let count = usize::try_from(all).ok().filter(|_| all <= MOST_LAYERS);
    let count = count.ok_or_else(|| Error::Length {
        what: Measured::Layers,
        found: all,
        wanted: alloc::format!("{MOST_LAYERS} at most"),
    })?;
    // Layers at the end predict further tokens, for speculation, and keep nothing otherwise.
    let used = count.saturating_sub(number("nextn_predict_layers")?.map_or(0, at_most));
    let mut layers = vec![LayerMemory::default(); used];

    let state = match architecture.keeps {
        Keeps::Nothing | Keeps::Attention => 0,
        Keeps::State(state) | Keeps::Either(state) | Keeps::Interval(state) | Keeps::Both(state) => {
            state_size(metadata, state)?
        }
    };
    if let Keeps::State(_) = architecture.keeps {
        layers.iter_mut().for_each(|layer| layer.state = state);
        return Ok(layers);
    }

    let width = metadata.require_arch::<u64>("embedding_length")?;
    let heads = metadata.per_layer::<u64>("attention.head_count", count)?;
    let heads = heads.unwrap_or_else(|| vec![0; count]);
    let kv_heads =
        metadata.per_layer::<u64>("attention.head_count_kv", count)?.unwrap_or_else(|| heads.clone());
    let head = width.checked_div(heads.first().copied().unwrap_or(0));
    let key = number("attention.key_length")?.or(head).unwrap_or(0);
    let value = number("attention.value_length")?.or(head).unwrap_or(0);
    let (window_key, window_value) = (
        number("attention.key_length_swa")?.unwrap_or(key),
        number("attention.value_length_swa")?.unwrap_or(value),
    );
    // Values are compressed together with keys, and read from these.
    let is_latent = metadata.architecture() != Some("deepseek2-ocr")
        && number("attention.key_length_mla")?.is_some_and(|length| length > 0)
        && number("attention.value_length_mla")?.is_some_and(|length| length > 0);
    let windows = match architecture.windows {
        Some(windows) => window_of_layers(metadata, windows, count)?,
        None => vec![None; count],
    };
    let interval = number("full_attention_interval")?.unwrap_or(4).max(1);
    let own = match (architecture.own_layers, number("attention.shared_kv_layers")?) {
        (Some(own), _) => at_most(own),
        (None, Some(shared)) if architecture.windows.is_some() => used.saturating_sub(at_most(shared)),
        _ => used,
    };
    for (index, layer) in layers.iter_mut().enumerate() {
        let attends = match architecture.keeps {
            Keeps::Either(_) => kv_heads[index] > 0,
            Keeps::Interval(_) => (index as u64 + 1).is_multiple_of(interval),
            _ => true,
        };
        if attends && index < own {
            layer.window = windows[index];
            let (key, value) = if layer.window.is_some() { (window_key, window_value) } else { (key, value) };
            layer.keys = key.saturating_mul(kv_heads[index]);
            layer.values = if is_latent { 0 } else { value.saturating_mul(kv_heads[index]) };
        }
        let is_recurrent = match architecture.keeps {
            Keeps::Both(_) => true,
            Keeps::Either(_) | Keeps::Interval(_) => !attends,
            _ => false,
        };
        if is_recurrent && has_state(metadata, index, count)? {
            layer.state = state;
        }
    }
    Ok(layers)
}

/// Returns `true` if a layer without attention is recurrent. In Nemotron-H, layers with a feed-forward network are not.
fn has_state(metadata: Metadata<'_>, index: usize, count: usize) -> Result<bool> {
    if !matches!(metadata.architecture(), Some("nemotron_h" | "nemotron_h_moe")) {
        return Ok(true);
    }
    let widths = metadata.per_layer::<u64>("feed_forward_length", count)?;
    Ok(widths.is_none_or(|widths| widths[index] == 0))
}

/// Returns which of `count` layers have a window, for an architecture in which some do.
#[cfg(all(feature = "std", any(unix, windows)))]
pub(super) fn layers_with_windows(metadata: Metadata<'_>, count: usize) -> Result<Option<Vec<bool>>> {
    let windows =
        metadata.architecture().and_then(Architecture::of).and_then(|architecture| architecture.windows);
    let Some(windows) = windows else { return Ok(None) };
    let windows = window_of_layers(metadata, windows, count)?;
    Ok(windows.iter().any(Option::is_some).then(|| windows.iter().map(Option::is_some).collect()))
}

/// Returns the window of each layer that has one.
fn window_of_layers(metadata: Metadata<'_>, windows: Windows, count: usize) -> Result<Vec<Option<u64>>> {
    const PATTERN: &str = "attention.sliding_window_pattern";
    let window = metadata.optional_arch::<u64>("attention.sliding_window")?.or(windows.default).unwrap_or(0);
    if window == 0 || (count as u64) < windows.least_layers {
        return Ok(vec![None; count]);
    }
    let window = windows.fixed.unwrap_or(window);
    let has_window: Vec<bool> = match metadata.optional_arch::<ValueRef<'_>>(PATTERN)? {
        // True, or a nonzero number, for layers with a window.
        Some(ValueRef::Array(array)) if array.len() == count => {
            let is_windowed =
                |value| bool::from_value(value).or_else(|| u64::from_value(value).map(|n| n != 0));
            array.iter().map(|value| is_windowed(value).unwrap_or(false)).collect()
        }
        Some(ValueRef::Array(_)) => metadata.per_layer::<bool>(PATTERN, count)?.unwrap_or_default(),
        other => {
            let pattern = other.and_then(u64::from_value).unwrap_or(windows.pattern);
            let is_windowed = |index: u64| match pattern {
                0 => true,
                pattern if windows.dense_first => !index.is_multiple_of(pattern),
                pattern => index % pattern < pattern - 1,
            };
            (0..count as u64).map(is_windowed).collect()
        }
    };
    Ok(has_window.into_iter().map(|has| has.then_some(window)).collect())
}

/// Returns the number of values in a layer's state.
fn state_size(metadata: Metadata<'_>, state: State) -> Result<u64> {
    let number = |key: &str| metadata.require_arch::<u64>(key);
    let width = number("embedding_length")?;
    Ok(match state {
        State::Mamba => {
            let (inner, size) = (number("ssm.inner_size")?, number("ssm.state_size")?);
            let groups = metadata.optional_arch::<u64>("ssm.group_count")?.unwrap_or(0);
            let taps = number("ssm.conv_kernel")?.saturating_sub(1);
            let channels = inner.saturating_add(groups.saturating_mul(size).saturating_mul(2));
            taps.saturating_mul(channels).saturating_add(size.saturating_mul(inner))
        }
        State::ShortConvolution => width.saturating_mul(number("shortconv.l_cache")?.saturating_sub(1)),
        State::Rwkv => {
            let shifts = metadata.optional_arch("token_shift_count")?.unwrap_or(2);
            width.saturating_mul(number("wkv.head_size")?.saturating_add(shifts))
        }
        State::Kda => {
            let head = number("kda.head_dim")?;
            let heads = match metadata.require_arch::<ValueRef<'_>>("attention.head_count")? {
                ValueRef::Array(array) => array.get(0).and_then(u64::from_value).unwrap_or(0),
                value => u64::from_value(value).unwrap_or(0),
            };
            let inner = heads.saturating_mul(head);
            let taps = number("ssm.conv_kernel")?.saturating_sub(1);
            inner.saturating_mul(taps.saturating_mul(3).saturating_add(head))
        }
    })
}

/// Converts to `usize`, saturating.
fn at_most(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
