//! [`Budget`]: a type for each tensor, so that all fit into a size and the model suffers least.

mod allocation;
mod choose;
mod factors;
mod group;
mod measure;
mod measurements;
mod plan;
mod planned;
mod recipes;
mod sensitivity;
mod solve;
mod table;

use std::collections::{BTreeMap, BTreeSet};

pub use self::allocation::{AllocatedTensor, Allocation, NextStep};
pub use self::factors::SensitivitySource;
pub use self::measurements::Measurements;
pub use self::recipes::Prediction;
use self::sensitivity::Sensitivities;
use super::imatrix::Imatrix;
use crate::error::{Error, Result};
use crate::ggml_type::GgmlType;

/// Chooses a type for each tensor so that a model fits into a size and suffers least.
///
/// For each tensor that llama.cpp's `quantize` would quantize, it measures how much of it each allowed type loses,
/// ‖W − Q‖² / ‖W‖², by a sample of its values; with an [importance matrix](Self::imatrix), times what that leaves of the error that it weighs, at the median of the
/// tensors of a role. That times the tensor's sensitivity is the damage, an estimate of the Kullback–Leibler
/// divergence from the original model in nats, and the sum of all is made as small as the size permits. The sensitivities
/// are those of [`sensitivities`](Self::sensitivities), and where those have none, defaults by the tensor's role, divided by the number
/// of layers:
///
/// | role | factor |
/// |---|---|
/// | token embedding that is the output too | 9, not divided |
/// | `attn_v`, `attn_qkv`, `attn_kv_b` | 10 |
/// | `ffn_down` | 11; 6.6 with importance |
/// | `ffn_up` | 7 |
/// | `ffn_gate` | 4 |
/// | `attn_output` | 2.5 |
/// | `attn_q`, `attn_k` | 2 |
/// | token embedding beside an output | 2, not divided: a guess |
/// | output | 8, not divided: a guess |
/// | any other | 7: a guess |
///
/// They were fitted to two small models, SmolLM2 135M and Gemma 3 270M. The guesses were tested on none.
///
/// ```
/// use gguf_codec::model::{Budget, Input, Quantize};
///
/// let input = Input::open("examples/sample.gguf")?;
/// let allocation = Budget::bits_per_weight(7.0).choose(&input)?;
/// assert!(allocation.size().bits_per_weight() <= 7.0);
/// for tensor in allocation.tensors() {
///     println!("{}: {}, damage {:.2e}", tensor.name, tensor.ggml_type, tensor.damage);
/// }
/// let quantize = Quantize::types(allocation.types(), allocation.file_type());
/// let report = quantize.allow_requantize(true).plan(&input, "model.gguf")?;
/// assert_eq!(report.size_after(), allocation.size());
/// # Ok::<(), gguf_codec::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is chosen before `choose`"]
pub struct Budget<'a> {
    limit: Limit,
    types: Vec<GgmlType>,
    fixed: BTreeMap<String, GgmlType>,
    least: BTreeMap<String, GgmlType>,
    one_type_per_role: bool,
    imatrix: Option<&'a Imatrix>,
    sensitivities: Sensitivities,
    equal: bool,
    may_stay: bool,
    sample: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
enum Limit {
    Bytes(u64),
    BitsPerWeight(f64),
}

impl<'a> Budget<'a> {
    /// So many bytes of tensor data, without the padding between tensors. Keys and names come on top.
    pub fn bytes(bytes: u64) -> Self {
        Self::of(Limit::Bytes(bytes))
    }

    /// So many bits for each value in the mean, those of tensors that are not quantized among them.
    pub fn bits_per_weight(bits: f64) -> Self {
        Self::of(Limit::BitsPerWeight(bits))
    }

    fn of(limit: Limit) -> Self {
        use GgmlType::*;
        Budget {
            limit,
            types: vec![Q2_K, Q3_K, IQ4_XS, IQ4_NL, Q4_K, Q5_0, Q5_K, Q5_1, Q6_K, Q8_0],
            fixed: BTreeMap::new(),
            least: BTreeMap::new(),
            one_type_per_role: false,
            imatrix: None,
            sensitivities: Sensitivities::default(),
            equal: false,
            may_stay: true,
            sample: None,
        }
    }

    /// Allows these types and no others, not even that of a tensor that is quantized already, which may stay as it is otherwise. Those whose blocks do not divide a tensor's rows are left out for that tensor, and so are
    /// those that need importance where it has none; where none is left, it stays as it is.
    pub fn types(self, types: impl IntoIterator<Item = GgmlType>) -> Self {
        let types = BTreeSet::from_iter(types);
        Budget { types: types.into_iter().collect(), may_stay: false, ..self }
    }

    /// Gives tensors of these names these types, whatever else is asked for. Of names that are given twice, the last counts.
    ///
    /// ```
    /// use gguf_codec::GgmlType;
    /// use gguf_codec::model::{Budget, Input};
    ///
    /// let input = Input::open("examples/sample.gguf")?;
    /// let values = input.tensors().map(|tensor| tensor.name().to_owned()).filter(|name| name.contains("attn_v"));
    /// let budget = Budget::bits_per_weight(7.0).fix(values.map(|name| (name, GgmlType::Q8_0)));
    /// for tensor in budget.choose(&input)?.tensors() {
    ///     assert!(tensor.role != "attn_v" || tensor.ggml_type == GgmlType::Q8_0);
    /// }
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    pub fn fix<N: Into<String>>(mut self, types: impl IntoIterator<Item = (N, GgmlType)>) -> Self {
        self.fixed.extend(types.into_iter().map(|(name, ty)| (name.into(), ty)));
        self
    }

    /// Gives no tensor of a role fewer bits than a type has. Roles are named as in [`AllocatedTensor::role`].
    pub fn least_type(mut self, role: impl Into<String>, ty: GgmlType) -> Self {
        self.least.insert(role.into(), ty);
        self
    }

    /// Gives tensors of one role one type, as far as their rows allow the same types: few decisions, which are nearly as good.
    pub fn one_type_per_role(self, one: bool) -> Self {
        Budget { one_type_per_role: one, ..self }
    }

    /// Expects that the values are weighed by an importance matrix when they are quantized: that of
    /// [`Quantize::imatrix`](super::Quantize::imatrix). Tensors that the matrix has suffer less in the same type.
    pub fn imatrix(self, imatrix: impl Into<Option<&'a Imatrix>>) -> Self {
        Budget { imatrix: imatrix.into(), ..self }
    }

    /// Measures about so many values of each tensor, in place of a sixth of them (at least 32,768 and at most 262,144).
    pub fn sample(self, values: u64) -> Self {
        Budget { sample: Some(values), ..self }
    }

    /// Takes sensitivities from a text of lines `name<TAB>sensitivity`: the damage of a tensor that is lost altogether. Empty lines and
    /// lines that begin with `#` are skipped. Tensors that are not in it keep their defaults.
    ///
    /// # Errors
    /// [`Error::Parse`], naming the line, where it is not of that form, where the number is negative, above 1e30 or not finite, or where the
    /// name was there before.
    pub fn sensitivities(self, text: &str) -> Result<Self> {
        Ok(Budget { sensitivities: text.parse()?, ..self })
    }

    /// Takes for tensors without a sensitivity their share of all values, and not the factor of their role: for models whose roles are
    /// like nothing that was measured.
    pub fn equal_sensitivities(self, equal: bool) -> Self {
        Budget { equal, ..self }
    }
}

fn refused<T>(message: String) -> Result<T> {
    Err(Error::write(message))
}

#[cfg(test)]
mod tests;
