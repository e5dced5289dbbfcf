//! [`Task`]: what becomes of a tensor, and the order in which tensors are written.

use super::report::{MissingImportance, QuantizedTensor};
use super::{Quantize, Types, refused};
use crate::error::Result;
use crate::ggml_type::GgmlType;
use crate::gguf::TensorInfo;
use crate::gguf::metadata::Metadata;
use crate::model::imatrix::Imatrix;
use crate::model::job::Job;
use crate::model::layer::TOKEN_EMBEDDING;
use crate::model::recipe::{TypeChoice, TypePlan, by_layer};
use crate::model::source::Source;

/// A tensor, and what becomes of it.
pub(super) struct Task<'a> {
    pub(super) tensor: TensorInfo<'a>,
    pub(super) shard: usize,
    pub(super) choice: TypeChoice,
    pub(super) importance: bool,
    pub(super) without_importance: Option<MissingImportance>,
}

impl Task<'_> {
    pub(super) fn changes(&self) -> bool {
        self.choice.ggml_type != self.tensor.ggml_type()
    }

    pub(super) fn told(&self) -> QuantizedTensor {
        QuantizedTensor {
            name: self.tensor.name().to_owned(),
            shape: self.tensor.shape(),
            from: self.tensor.ggml_type(),
            ggml_type: self.choice.ggml_type,
            instead_of: self.choice.instead_of,
            importance: self.importance,
            without_importance: self.without_importance,
            error: None,
        }
    }
}

impl Quantize<'_> {
    /// What becomes of each tensor, in the order in which llama.cpp writes them.
    pub(super) fn tasks<'m, S: Source>(&self, input: &'m S) -> Result<Vec<Task<'m>>> {
        let model = input.model();
        let mut tensors: Vec<_> = model.tensors().collect();
        if !matches!(self.types, Types::Uniform(_)) {
            tensors.sort_by(|a, b| by_layer(a.name(), b.name()));
        }
        let choices = self.choose(model.metadata(), &tensors)?;
        let mut tasks = Vec::with_capacity(tensors.len());
        for (tensor, choice) in tensors.into_iter().zip(choices) {
            let shard = if self.keep_split { model.shard_of(tensor.name())? } else { 0 };
            let mut task = Task { tensor, shard, choice, importance: false, without_importance: None };
            let (name, from, ty) = (tensor.name(), tensor.ggml_type(), choice.ggml_type);
            if task.changes() {
                let unpacks = matches!(self.types, Types::Uniform(_)) && !ty.is_quantized();
                if from.is_quantized() && !unpacks && !self.requantize {
                    let loss = match ty.is_quantized() {
                        true => {
                            format!("quantizing it again to {ty} loses more than quantizing the original")
                        }
                        false => format!("{ty} keeps what quantizing it lost"),
                    };
                    return refused(format!(
                        "tensor '{name}' is {from} already, and {loss}; with `Quantize::allow_requantize` it is done"
                    ));
                }
                task.importance = self.imatrix.map_or(Ok(false), |imatrix| knows(imatrix, &tensor))?;
                if choice.needs_importance && !task.importance {
                    self.without_importance(&mut task)?;
                }
            }
            if !task.importance && task.without_importance != Some(MissingImportance::Uniform) {
                Job::new(name, input.origin(&tensor)?, task.choice.ggml_type).check()?;
            }
            tasks.push(task);
        }
        let is_quantized = |task: &Task<'_>| task.changes() && task.choice.ggml_type.is_quantized();
        if self.imatrix.is_some()
            && tasks.iter().any(is_quantized)
            && !tasks.iter().any(|task| task.importance)
        {
            let name = self
                .imatrix_name
                .as_ref()
                .map_or_else(|| "the importance matrix".to_owned(), |name| format!("'{name}'"));
            return refused(format!(
                "{name} knows none of the tensors that are quantized: it is another model's"
            ));
        }
        // Shards one after the other, each in llama.cpp's order.
        tasks.sort_by_key(|task| task.shard);
        Ok(tasks)
    }

    /// What becomes of a tensor that needs importance and has none.
    fn without_importance(&self, task: &mut Task<'_>) -> Result<()> {
        let (name, ty) = (task.tensor.name(), task.choice.ggml_type);
        match self.missing {
            MissingImportance::Refuse => {
                let missing = match self.imatrix {
                    Some(_) => "the importance matrix lacks it",
                    None => "there is no importance matrix",
                };
                let needs = match ty.needs_importance() {
                    true => "needs importance",
                    false => "llama.cpp makes by this recipe only with importance",
                };
                return refused(format!(
                    "tensor '{name}' becomes {ty}, which {needs}, and {missing}; `Quantize::missing_importance` says what else to do"
                ));
            }
            MissingImportance::Uniform => {}
            MissingImportance::Type(other) if other.needs_importance() => {
                return refused(format!(
                    "{other} needs importance itself and cannot stand in for what needs it"
                ));
            }
            MissingImportance::Type(other) => {
                let fits = other.fits_rows(task.tensor.shape().row_len());
                task.choice.ggml_type = if fits { other } else { task.tensor.ggml_type() };
            }
        }
        task.without_importance = Some(self.missing);
        Ok(())
    }

    fn choose(&self, metadata: Metadata<'_>, tensors: &[TensorInfo<'_>]) -> Result<Vec<TypeChoice>> {
        let recipe = match &self.types {
            Types::Recipe(recipe) => *recipe,
            Types::Like(types, _) => {
                let choice = |tensor: &TensorInfo<'_>| {
                    let name = tensor.name();
                    let by_name = self.by_name.and_then(|by_name| by_name(name));
                    let ty = by_name.or_else(|| types.get(name).copied());
                    let ty = ty.filter(|ty| !ty.is_integer() && !tensor.ggml_type().is_integer());
                    let ggml_type = ty.unwrap_or(tensor.ggml_type());
                    TypeChoice { ggml_type, instead_of: None, needs_importance: ggml_type.needs_importance() }
                };
                return Ok(tensors.iter().map(choice).collect());
            }
            Types::Uniform(ty) => {
                let choice = |tensor: &TensorInfo<'_>| {
                    uniform(tensor, self.by_name.and_then(|by_name| by_name(tensor.name())).unwrap_or(*ty))
                };
                return Ok(tensors.iter().map(choice).collect());
            }
        };
        let mut plan = TypePlan::new(recipe)
            .importance(self.imatrix.is_some())
            .pure(self.pure)
            .leave_output(self.leave_output)
            .output_type(self.output_type)
            .token_embedding_type(self.token_embedding_type);
        if let Some(by_name) = self.by_name {
            plan = plan.types_by_name(by_name);
        }
        plan.choose(metadata, tensors)
    }

    /// The importance of each tensor that has any.
    pub(super) fn weights(&self, tasks: &[Task<'_>]) -> Vec<Option<Vec<f32>>> {
        let weights = |task: &Task<'_>| {
            if task.without_importance == Some(MissingImportance::Uniform) {
                return usize::try_from(task.tensor.shape().row_len()).ok().map(|columns| vec![1.0; columns]);
            }
            let imatrix = self.imatrix.filter(|_| task.importance);
            imatrix.and_then(|imatrix| imatrix.weights(task.tensor.name()))
        };
        tasks.iter().map(weights).collect()
    }
}

/// What becomes of a tensor where matrices become `ty`.
fn uniform(tensor: &TensorInfo<'_>, ty: GgmlType) -> TypeChoice {
    let from = tensor.ggml_type();
    let is_matrix = tensor.shape().dims().len() >= 2 && !from.is_integer();
    let fits = ty.fits_rows(tensor.shape().row_len());
    TypeChoice {
        ggml_type: if is_matrix && fits { ty } else { from },
        instead_of: (is_matrix && !fits && from != ty).then_some(ty),
        needs_importance: is_matrix && fits && from != ty && ty.needs_importance(),
    }
}

pub(super) fn jobs<'j, S: Source>(
    input: &'j S,
    tasks: &'j [Task<'_>],
    weights: &'j [Option<Vec<f32>>],
) -> Result<Vec<Job<'j>>> {
    let job = |(task, weights): (&'j Task<'_>, &'j Option<Vec<f32>>)| {
        let job = Job::new(task.tensor.name(), input.origin(&task.tensor)?, task.choice.ggml_type);
        Ok(job.importance(weights.as_deref()))
    };
    tasks.iter().zip(weights).map(job).collect()
}

/// Whether the matrix has a tensor's importance.
pub(in crate::model) fn knows(imatrix: &Imatrix, tensor: &TensorInfo<'_>) -> Result<bool> {
    let (name, shape) = (tensor.name(), tensor.shape());
    let Some(entry) = imatrix.entry(name) else { return Ok(false) };
    let wanted = shape.row_len().saturating_mul(shape.dims().get(2).copied().unwrap_or(1));
    let found = entry.sums.len();
    // Embeddings are looked up, not multiplied: what was measured there is something else.
    let is_looked_up = matches!(name, TOKEN_EMBEDDING | "per_layer_token_embd.weight");
    match found as u64 == wanted {
        true => Ok(true),
        false if is_looked_up => Ok(false),
        false => refused(format!(
            "tensor '{name}' has {wanted} columns, and the importance matrix has {found} for it"
        )),
    }
}
