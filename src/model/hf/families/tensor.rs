//! [`Tensor`]: names and shapes of a family's tensors, and what is done to them.

/// How long one dimension of a tensor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model::hf) enum Extent {
    /// Rows of the token embedding, which the tensor itself decides.
    Vocabulary,
    /// `hidden_size`.
    Width,
    /// `intermediate_size`.
    FeedForward,
    /// `num_attention_heads` of `head_dim` values.
    Heads,
    /// `num_key_value_heads` of `head_dim` values.
    KvHeads,
    /// `head_dim`.
    Head,
    /// Half of `head_dim`.
    Pairs,
    /// Rows of queries, keys and values together.
    Qkv,
    /// Twice `intermediate_size`: gate and up together.
    GateUp,
    /// `max_position_embeddings` without those up to that of padding.
    Positions,
    /// `num_attention_heads` of values that these numbers of `config.json` add up to.
    OfHeads(&'static [&'static str]),
    /// The sum of two numbers of `config.json`.
    Sum(&'static str, &'static str),
    /// Their product.
    Product(&'static str, &'static str),
    /// As many as a head tells apart, where the model is of a class with one.
    Classes,
    /// Any other number of `config.json`, by its key.
    Of(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model::hf) enum Need {
    Always,
    Optional,
    /// Unless the token embedding takes its place.
    UnlessTied,
    /// In every layer but the first.
    AfterFirst,
    /// In layers without experts.
    InDense,
    /// In layers with experts.
    InSparse,
}

/// Whose heads the rows of a tensor are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model::hf) enum HeadsOf {
    Queries,
    Keys,
}

impl HeadsOf {
    /// One of the numbers of heads.
    pub(in crate::model::hf) fn either(self, queries: u32, keys: u32) -> u32 {
        match self {
            HeadsOf::Queries => queries,
            HeadsOf::Keys => keys,
        }
    }
}

/// Something that is done to a tensor on its way into a GGUF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model::hf) enum Step {
    /// The rows of each head in llama.cpp's order of rotary pairs.
    RotaryRows(HeadsOf),
    /// The first half (0) of the rows of each matrix, or the second (1).
    Half(u64),
    /// Rows 0, 2, 4 … of each matrix (0), or 1, 3, 5 … (1).
    EverySecond(u64),
    /// The same of columns.
    EverySecondColumn(u64),
    /// The rows behind the one that a number of `config.json` says.
    From(&'static str),
    /// Of the rows of each head, which are those of two parts, one part: without those that a number of `config.json` says, as
    /// many as another says. Each head is a matrix then.
    OfEachHead { skip: Option<&'static str>, keep: &'static str, all: [&'static str; 2] },
    /// Rows become columns in each matrix.
    Transpose,
    /// One is added to each value, in single precision.
    AddOne,
    /// Extents of 1 are left out.
    Squeeze,
}

impl Step {
    /// Whether tensors in blocks stay in them.
    pub(in crate::model::hf) fn keeps_blocks(self) -> bool {
        !matches!(self, Step::Transpose | Step::AddOne | Step::EverySecondColumn(_))
    }

    /// Whether it can be taken back when a GGUF becomes safetensors.
    pub(super) fn is_reversible(self) -> bool {
        matches!(self, Step::RotaryRows(_) | Step::AddOne | Step::Squeeze | Step::From(_))
    }
}

/// A tensor of a family, or several of one kind: `{}` in its names is a layer.
#[derive(Debug)]
pub(in crate::model::hf) struct Tensor {
    /// Its name in safetensors. With one `{}` more than in GGUF, that is an expert, and all of them become one tensor, stacked.
    pub(in crate::model::hf) hf: &'static str,
    /// Its name in GGUF.
    pub(in crate::model::hf) gguf: &'static str,
    /// Its extents in GGUF, outermost first.
    pub(in crate::model::hf) extents: &'static [Extent],
    pub(in crate::model::hf) need: Need,
    pub(in crate::model::hf) steps: &'static [Step],
    /// Whether this is about weights that are quantized (or those that are not) alone.
    pub(super) is_quantized: Option<bool>,
}

/// A tensor that every model has, as it is.
pub(super) const fn tensor(hf: &'static str, gguf: &'static str, extents: &'static [Extent]) -> Tensor {
    Tensor { hf, gguf, extents, need: Need::Always, steps: &[], is_quantized: None }
}

impl Tensor {
    /// Whether several tensors of safetensors, one for each expert, become this one.
    pub(in crate::model::hf) fn is_stack(&self) -> bool {
        self.hf.matches("{}").count() > self.gguf.matches("{}").count()
    }

    pub(super) const fn optional(self) -> Self {
        Tensor { need: Need::Optional, ..self }
    }

    pub(super) const fn needed(self, need: Need) -> Self {
        Tensor { need, ..self }
    }

    /// For weights that are quantized, or those that are not.
    pub(super) const fn if_quantized(self, is: bool) -> Self {
        Tensor { is_quantized: Some(is), ..self }
    }

    pub(super) const fn unless_tied(self) -> Self {
        Tensor { need: Need::UnlessTied, ..self }
    }

    pub(super) const fn with(self, steps: &'static [Step]) -> Self {
        Tensor { steps, ..self }
    }
}

/// Experts as newer versions of the transformers library keep them, each kind in one tensor: so many, with so many values in the middle.
macro_rules! fused_experts {
    ($experts:expr, $middle:expr) => {
        &[
            tensor(
                "model.layers.{}.mlp.experts.down_proj",
                "blk.{}.ffn_down_exps.weight",
                &[$experts, Width, $middle],
            ),
            tensor(
                "model.layers.{}.mlp.experts.gate_up_proj",
                "blk.{}.ffn_gate_exps.weight",
                &[$experts, $middle, Width],
            )
            .with(&[Step::Half(0)]),
            tensor(
                "model.layers.{}.mlp.experts.gate_up_proj",
                "blk.{}.ffn_up_exps.weight",
                &[$experts, $middle, Width],
            )
            .with(&[Step::Half(1)]),
        ]
    };
}

pub(super) use fused_experts;
