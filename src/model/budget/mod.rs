//! [`Budget`]: a type for each tensor, so that all fit into a size and the model suffers least.

mod measure;
mod sensitivity;
mod solve;

use std::collections::{BTreeMap, BTreeSet};

use self::sensitivity::Sensitivities;
use self::solve::{Candidate, least, solve};
use super::file_type::FileType;
use super::in_order::in_order;
use super::recipe::{Role, is_left_alone, layer_of};
use super::size::Size;
use super::source::Source;
use crate::{Error, GgmlType, Result, TensorInfo};

/// Values of a tensor that are looked at.
const SAMPLE: u64 = 1 << 18;

/// Chooses a type for each tensor so that a model fits into a size and suffers least.
///
/// For each tensor that llama.cpp's `quantize` would quantize, it measures how much of it each allowed type loses,
/// ‖W − Q‖² / ‖W‖², by a sample of its values. That times the tensor's sensitivity is the damage, an estimate of the Kullback–Leibler
/// divergence from the original model in nats, and the sum of all is made as small as the size permits. The sensitivities
/// are those of [`sensitivities`](Self::sensitivities), and where those have none, defaults by the tensor's role, divided by the number
/// of layers:
///
/// | role | factor |
/// |---|---|
/// | token embedding that is the output too | 9, not divided |
/// | `attn_v`, `attn_qkv`, `attn_kv_b` | 10 |
/// | `ffn_down` | 11 |
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
pub struct Budget {
    limit: Limit,
    types: Vec<GgmlType>,
    sensitivities: Sensitivities,
    sample: u64,
}

#[derive(Debug, Clone, Copy)]
enum Limit {
    Bytes(u64),
    BitsPerWeight(f64),
}

/// The type that a tensor gets.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct AllocatedTensor {
    /// Its name.
    pub name: String,
    /// What it does in the model, as in `ffn_down`; `other` where that is not known.
    pub role: &'static str,
    /// Its type: that of before where it is not quantized.
    pub ggml_type: GgmlType,
    /// Its values and bytes.
    pub size: Size,
    /// What it adds to the predicted damage; 0 where it stays as it is.
    pub damage: f64,
}

/// What a [`Budget`] has chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Allocation {
    tensors: Vec<AllocatedTensor>,
    bound: f64,
}

impl Budget {
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
        let types = vec![Q2_K, Q3_K, IQ4_XS, IQ4_NL, Q4_K, Q5_0, Q5_K, Q5_1, Q6_K, Q8_0];
        Budget { limit, types, sensitivities: Sensitivities::default(), sample: SAMPLE }
    }

    /// Allows these types and no others. Those whose blocks do not divide a tensor's rows are left out for that tensor; where none
    /// is left, it stays as it is.
    pub fn types(self, types: impl IntoIterator<Item = GgmlType>) -> Self {
        let types = BTreeSet::from_iter(types);
        Budget { types: types.into_iter().collect(), ..self }
    }

    /// Looks at about so many values of each tensor, and not at 262,144.
    pub fn sample(self, values: u64) -> Self {
        Budget { sample: values, ..self }
    }

    /// Takes sensitivities from a text of lines `name<TAB>sensitivity`: the damage of a tensor that is lost altogether. Empty lines and
    /// lines that begin with `#` are skipped. Tensors that are not in it keep their defaults.
    ///
    /// # Errors
    /// [`Error::Parse`], naming the line, where it is not of that form, where the number is negative or not finite, or where the name
    /// was there before.
    pub fn sensitivities(self, text: &str) -> Result<Self> {
        Ok(Budget { sensitivities: text.parse()?, ..self })
    }

    /// Measures the tensors of a model and chooses. The same model gives the same choice on every machine, whatever the number of its
    /// cores.
    ///
    /// # Errors
    /// [`Error::Write`] where the tensors do not fit whatever their types, saying what the least size is; where a type has no
    /// quantizer or needs importance; where the number of bits is no number above 0; where values are not finite; [`Error::Parse`]
    /// where a sensitivity is that of no tensor; [`Error::Io`] where reading fails.
    pub fn choose<S: Source>(&self, input: &S) -> Result<Allocation> {
        let tensors: Vec<_> = input.model().tensors().collect();
        if let Some(ty) = self.types.iter().find(|ty| !ty.can_quantize() || ty.needs_importance()) {
            return refused(format!(
                "{ty} cannot be chosen for a size: values are not quantized to it without importance"
            ));
        }
        self.sensitivities.check(|name| tensors.iter().any(|tensor| tensor.name() == name))?;
        let limit = self.limit(tensors.iter().map(Size::of).sum())?;
        let asked = tensors.iter().map(|tensor| Ok((*tensor, self.types_of(tensor), input.origin(tensor)?)));
        let asked = asked.collect::<Result<Vec<_>>>()?;
        let errors = in_order(
            asked.iter(),
            |(tensor, types, origin)| measure::relative_errors(tensor.name(), origin, types, self.sample),
            |next| std::iter::from_fn(next).collect::<Result<Vec<_>>>(),
        )?;
        let alpha = Alpha::of(&tensors);
        let candidates = asked.iter().zip(&errors).map(|((tensor, types, _), errors)| {
            let alpha =
                self.sensitivities.get(tensor.name()).unwrap_or_else(|| alpha.default_of(tensor.name()));
            let of = |(ty, error): (&GgmlType, &f64)| Candidate {
                bytes: ty.bytes_for(tensor.shape().element_count()).unwrap_or(u64::MAX),
                damage: alpha * error,
            };
            let stays = Candidate { bytes: tensor.byte_len(), damage: 0.0 };
            if types.is_empty() { vec![stays] } else { types.iter().zip(errors).map(of).collect() }
        });
        let candidates: Vec<Vec<Candidate>> = candidates.collect();
        let Some(found) = solve(&candidates, limit) else {
            let least = least(&candidates);
            return refused(format!(
                "the tensors take {least} bytes at least in the types that are allowed, and {limit} are too few"
            ));
        };
        let chosen =
            asked.iter().zip(&candidates).zip(&found.places).map(|(((tensor, types, _), of), &place)| {
                let Candidate { bytes, damage } = of[place];
                AllocatedTensor {
                    name: tensor.name().to_owned(),
                    role: Role::of(tensor.name()).name(),
                    ggml_type: types.get(place).copied().unwrap_or(tensor.ggml_type()),
                    size: Size { bytes, ..Size::of(tensor) },
                    damage,
                }
            });
        Ok(Allocation { tensors: chosen.collect(), bound: found.bound })
    }

    fn limit(&self, whole: Size) -> Result<u64> {
        match self.limit {
            Limit::Bytes(bytes) => Ok(bytes),
            Limit::BitsPerWeight(bits) if bits.is_finite() && bits > 0.0 => {
                Ok((bits * whole.parameters as f64 / 8.0) as u64)
            }
            Limit::BitsPerWeight(bits) => {
                refused(format!("{bits} bits per weight: that is no number above 0"))
            }
        }
    }

    /// The types that a tensor may get; none where it stays as it is.
    fn types_of(&self, tensor: &TensorInfo<'_>) -> Vec<GgmlType> {
        let fits = |ty: &&GgmlType| tensor.shape().row_len().is_multiple_of(ty.block_len() as u64);
        if is_left_alone(tensor) { Vec::new() } else { self.types.iter().filter(fits).copied().collect() }
    }
}

/// Default sensitivities.
struct Alpha {
    layers: usize,
    is_tied: bool,
}

impl Alpha {
    fn of(tensors: &[TensorInfo<'_>]) -> Self {
        let layers = BTreeSet::from_iter(tensors.iter().filter_map(|tensor| layer_of(tensor.name())));
        let is_tied = !tensors.iter().any(|tensor| Role::of(tensor.name()) == Role::Output);
        Alpha { layers: layers.len().max(1), is_tied }
    }

    fn default_of(&self, name: &str) -> f64 {
        let of_layers = |factor: f64| factor / self.layers as f64;
        match Role::of(name) {
            Role::TokenEmbedding if self.is_tied && name == "token_embd.weight" => 9.0,
            Role::TokenEmbedding => 2.0,
            Role::Output => 8.0,
            Role::Value => of_layers(10.0),
            Role::Down => of_layers(11.0),
            Role::Up | Role::Other => of_layers(7.0),
            Role::Gate => of_layers(4.0),
            Role::AttentionOutput => of_layers(2.5),
            Role::Query | Role::Key => of_layers(2.0),
        }
    }
}

impl Allocation {
    /// Returns the tensors in the model's order.
    pub fn tensors(&self) -> &[AllocatedTensor] {
        &self.tensors
    }

    /// Returns names and types, as [`Quantize::types`](super::Quantize::types) takes them.
    pub fn types(&self) -> impl Iterator<Item = (&str, GgmlType)> {
        self.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.ggml_type))
    }

    /// Returns the size of all tensors.
    pub fn size(&self) -> Size {
        self.tensors.iter().map(|tensor| tensor.size).sum()
    }

    /// Returns the predicted damage: about the Kullback–Leibler divergence from the original model in nats, where that is small.
    pub fn damage(&self) -> f64 {
        self.tensors.iter().fold(0.0, |sum, tensor| sum + tensor.damage)
    }

    /// Returns a bound below: no choice within the size has less predicted damage.
    pub fn bound(&self) -> f64 {
        self.bound
    }

    /// Returns what `general.file_type` says of it: the type that most of the values have.
    pub fn file_type(&self) -> Option<FileType> {
        let mut values = BTreeMap::<GgmlType, u64>::new();
        for tensor in &self.tensors {
            let sum = values.entry(tensor.ggml_type).or_default();
            *sum = sum.saturating_add(tensor.size.parameters);
        }
        values.into_iter().max_by_key(|(_, values)| *values).and_then(|(ty, _)| FileType::mostly(ty))
    }

    /// Returns sizes and damage for each role and each type in it.
    pub fn by_role(&self) -> BTreeMap<(&'static str, GgmlType), (Size, f64)> {
        let mut roles = BTreeMap::<_, (Size, f64)>::new();
        for tensor in &self.tensors {
            let (size, damage) = roles.entry((tensor.role, tensor.ggml_type)).or_default();
            *size += tensor.size;
            *damage += tensor.damage;
        }
        roles
    }
}

fn refused<T>(message: String) -> Result<T> {
    Err(Error::write(message))
}

#[cfg(test)]
mod tests;
