//! [`Model`]: the weights of a Llama, as views of a GGUF, and their shapes.

use anyhow::{Context, Result, ensure};
use gguf_codec::compute::Matrix;
use gguf_codec::{Gguf, Metadata};

/// Sizes, from the metadata.
#[derive(Debug, Clone)]
pub struct Config {
    pub layers: usize,
    /// Number of values of a token between layers.
    pub width: usize,
    pub feed_forward: usize,
    pub heads: usize,
    /// Number of heads of keys and values: each serves `heads / kv_heads` heads of queries.
    pub kv_heads: usize,
    pub head_len: usize,
    /// Number of values of a head that are rotated, starting with the first.
    pub rope_len: usize,
    pub rope_base: f32,
    pub norm_epsilon: f32,
    /// The context length for which the model was made.
    pub context: usize,
}

/// A weight and its name, which identifies it in an importance matrix.
#[derive(Clone)]
pub struct Weight<'a> {
    pub name: String,
    pub matrix: Matrix<'a>,
}

/// The weights of a layer.
#[derive(Clone)]
pub struct Layer<'a> {
    pub attn_norm: Vec<f32>,
    pub q: Weight<'a>,
    pub k: Weight<'a>,
    pub v: Weight<'a>,
    pub attn_output: Weight<'a>,
    pub ffn_norm: Vec<f32>,
    pub gate: Weight<'a>,
    pub up: Weight<'a>,
    pub down: Weight<'a>,
}

/// A model of the Llama architecture.
#[derive(Clone)]
pub struct Model<'a> {
    pub config: Config,
    pub embedding: Weight<'a>,
    pub layers: Vec<Layer<'a>>,
    pub output_norm: Vec<f32>,
    /// The embedding, if the file has no separate output.
    pub output: Weight<'a>,
    /// The angle by which each pair of a head rotates from one token to the next.
    pub rope_steps: Vec<f32>,
}

impl<'a> Model<'a> {
    /// Loads the model from a GGUF.
    pub fn new<B: AsRef<[u8]>>(file: &'a Gguf<B>) -> Result<Self> {
        let config = Config::new(file.metadata())?;
        let mut weights = Weights { file, used: 0 };
        let Config { width, feed_forward, .. } = config;
        let (q_len, kv_len) = (config.heads * config.head_len, config.kv_heads * config.head_len);

        let embedding = weights.any_rows("token_embd.weight", width)?;
        let rows = embedding.matrix.row_count();
        ensure!(rows > 0, "tensor 'token_embd.weight' has no rows");
        let output = match weights.has("output.weight") {
            true => weights.matrix("output.weight".into(), width, rows)?,
            false => embedding.clone(),
        };
        let output_norm = weights.vector("output_norm.weight", width)?;
        let mut rope_steps = config.rope_steps();
        if weights.has("rope_freqs.weight") {
            let factors = weights.vector("rope_freqs.weight", rope_steps.len())?;
            rope_steps.iter_mut().zip(factors).for_each(|(step, factor)| *step /= factor);
        }
        let layers = (0..config.layers).map(|layer| {
            let name = |weight: &str| format!("blk.{layer}.{weight}.weight");
            Ok(Layer {
                attn_norm: weights.vector(&name("attn_norm"), width)?,
                q: weights.matrix(name("attn_q"), width, q_len)?,
                k: weights.matrix(name("attn_k"), width, kv_len)?,
                v: weights.matrix(name("attn_v"), width, kv_len)?,
                attn_output: weights.matrix(name("attn_output"), q_len, width)?,
                ffn_norm: weights.vector(&name("ffn_norm"), width)?,
                gate: weights.matrix(name("ffn_gate"), width, feed_forward)?,
                up: weights.matrix(name("ffn_up"), width, feed_forward)?,
                down: weights.matrix(name("ffn_down"), feed_forward, width)?,
            })
        });
        let layers = layers.collect::<Result<_>>()?;
        // For example biases or experts: an answer without them would be wrong.
        let (used, all) = (weights.used, file.tensor_count());
        ensure!(used == all, "the file has {all} tensors, of which this example knows the use of {used}");
        Ok(Model { config, embedding, layers, output_norm, output, rope_steps })
    }

    /// The matrices, each once.
    pub fn weights(&self) -> impl Iterator<Item = &Weight<'a>> {
        let layers = self.layers.iter().flat_map(|layer| {
            [&layer.q, &layer.k, &layer.v, &layer.attn_output, &layer.gate, &layer.up, &layer.down]
        });
        let output = Some(&self.output).filter(|output| output.name != self.embedding.name);
        [&self.embedding].into_iter().chain(layers).chain(output)
    }

    /// The same model with another matrix in the place of one.
    pub fn with<'b>(&self, name: &str, matrix: Matrix<'b>) -> Model<'b>
    where
        'a: 'b,
    {
        let mut model: Model<'b> = self.clone();
        let Model { embedding, layers, output, .. } = &mut model;
        let layers = layers.iter_mut().flat_map(|layer| {
            [
                &mut layer.q,
                &mut layer.k,
                &mut layer.v,
                &mut layer.attn_output,
                &mut layer.gate,
                &mut layer.up,
                &mut layer.down,
            ]
        });
        for weight in [embedding, output].into_iter().chain(layers).filter(|weight| weight.name == name) {
            weight.matrix = matrix;
        }
        model
    }
}

impl Config {
    fn new(metadata: Metadata<'_>) -> Result<Self> {
        let architecture: &str = metadata.require("general.architecture")?;
        ensure!(architecture == "llama", "the architecture is '{architecture}', and must be 'llama'");
        let size = |key: &str| -> Result<usize> {
            let size: u32 = metadata.require(key)?;
            ensure!(size > 0, "{key} is 0");
            Ok(size as usize)
        };
        let size_or =
            |key: &str, default: usize| if metadata.contains(key) { size(key) } else { Ok(default) };
        let scaling = metadata.optional::<&str>("llama.rope.scaling.type")?.unwrap_or("none");
        ensure!(scaling == "none", "llama.rope.scaling.type is '{scaling}', and must be 'none'");

        let (width, heads) = (size("llama.embedding_length")?, size("llama.attention.head_count")?);
        let head_len = size_or("llama.attention.key_length", width / heads)?;
        let value_len = size_or("llama.attention.value_length", head_len)?;
        ensure!(value_len == head_len, "heads have {head_len} values in keys and {value_len} in values");
        let kv_heads = size_or("llama.attention.head_count_kv", heads)?;
        ensure!(heads.is_multiple_of(kv_heads), "{heads} heads cannot share {kv_heads} of keys and values");
        let rope_len = size_or("llama.rope.dimension_count", head_len)?;
        let is_whole = rope_len.is_multiple_of(2) && rope_len <= head_len;
        ensure!(is_whole, "{rope_len} values of a head of {head_len} are rotated, which are not pairs of it");
        Ok(Config {
            layers: size("llama.block_count")?,
            width,
            feed_forward: size("llama.feed_forward_length")?,
            heads,
            kv_heads,
            head_len,
            rope_len,
            rope_base: metadata.optional("llama.rope.freq_base")?.unwrap_or(10000.0),
            norm_epsilon: metadata.require("llama.attention.layer_norm_rms_epsilon")?,
            context: size("llama.context_length")?,
        })
    }

    fn rope_steps(&self) -> Vec<f32> {
        let step = |pair: usize| self.rope_base.powf(-2.0 * pair as f32 / self.rope_len as f32);
        (0..self.rope_len / 2).map(step).collect()
    }
}

/// Takes weights from a file and checks their shapes.
struct Weights<'a, B> {
    file: &'a Gguf<B>,
    used: usize,
}

impl<'a, B: AsRef<[u8]>> Weights<'a, B> {
    fn has(&self, name: &str) -> bool {
        self.file.tensor_info(name).is_ok()
    }

    fn any_rows(&mut self, name: &str, row_len: usize) -> Result<Weight<'a>> {
        let tensor = self.file.tensor(name)?;
        let matrix = tensor.matrix().with_context(|| format!("tensor '{name}'"))?;
        let found = matrix.row_len();
        ensure!(
            found == row_len,
            "tensor '{name}' has rows of {found} values, and must have rows of {row_len}"
        );
        self.used += 1;
        Ok(Weight { name: name.to_owned(), matrix })
    }

    fn matrix(&mut self, name: String, row_len: usize, rows: usize) -> Result<Weight<'a>> {
        let weight = self.any_rows(&name, row_len)?;
        let found = weight.matrix.row_count();
        ensure!(found == rows, "tensor '{name}' has {found} rows, and must have {rows}");
        Ok(weight)
    }

    fn vector(&mut self, name: &str, len: usize) -> Result<Vec<f32>> {
        let values = self.file.tensor(name)?.dequantize::<f32>()?;
        ensure!(values.len() == len, "tensor '{name}' has {} values, and must have {len}", values.len());
        self.used += 1;
        Ok(values)
    }
}
