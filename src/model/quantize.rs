//! [`Quantize`]: a model in other types, in one call.

mod files;
mod report;
mod run;
mod tasks;

use std::collections::HashMap;

pub use self::report::{MissingImportance, QuantizeReport, QuantizedTensor};
pub(super) use self::run::converted;
pub(super) use self::tasks::knows;
use super::file_type::FileType;
use super::imatrix::Imatrix;
use super::part::Part;
use super::recipe::Recipe;
use crate::error::{Error, Result};
use crate::file::{Existing, Inputs};
use crate::ggml_type::GgmlType;
use crate::gguf::TensorInfo;
use crate::gguf::metadata::Metadata;

/// Quantizes a model: by one of llama.cpp's recipes, to the bytes that its `llama_model_quantize` writes, or to the types of another
/// model.
///
/// ```
/// use std::ops::ControlFlow;
/// use gguf_codec::GgmlType;
/// use gguf_codec::model::{Input, Quantize, Recipe};
///
/// # let folder = std::env::temp_dir().join(format!("gguf-codec-doc-quantize-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # let output = folder.join("model-Q8_0.gguf");
/// let input = Input::open("examples/sample.gguf")?;
/// let report = Quantize::recipe(Recipe::Q8_0)
///     .output_type(GgmlType::Q6_K)
///     .allow_requantize(true) // some of the sample's tensors are quantized already
///     .run_with(&input, &output, |done, total| {
///         eprint!("\r{done} of {total} bytes");
///         ControlFlow::Continue(())
///     })?;
/// assert_eq!(report.bytes, std::fs::metadata(&output)?.len());
/// println!("{:.2} bits per weight", report.size_after().bits_per_weight());
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use = "nothing is quantized before `run`"]
pub struct Quantize<'a> {
    types: Types,
    imatrix: Option<&'a Imatrix>,
    imatrix_name: Option<String>,
    output_type: Option<GgmlType>,
    token_embedding_type: Option<GgmlType>,
    leave_output: bool,
    pure: bool,
    by_name: Option<&'a ByName<'a>>,
    requantize: bool,
    missing: MissingImportance,
    measure: bool,
    part: Option<Part>,
    keep_split: bool,
    max_shard_size: Option<u64>,
    existing: Existing,
    inputs: Inputs,
}

/// The type for a tensor's name, where it has one.
type ByName<'a> = dyn Fn(&str) -> Option<GgmlType> + Sync + 'a;

#[derive(Clone)]
enum Types {
    Recipe(Recipe),
    /// Those of a model by the names of its tensors, and its `general.file_type`.
    Like(HashMap<String, GgmlType>, Option<u32>),
    /// One for every matrix.
    Uniform(GgmlType),
}

impl<'a> Quantize<'a> {
    /// By a recipe, such as [`Recipe::Q4_K_M`].
    pub fn recipe(recipe: Recipe) -> Self {
        Self::to(Types::Recipe(recipe))
    }

    /// To the types that the tensors of another model have: `metadata` and `tensors` of any of the readers. Tensors that are not in
    /// it stay as they are, and so do those of its that have integers.
    pub fn like<'m>(metadata: Metadata<'m>, tensors: impl IntoIterator<Item = TensorInfo<'m>>) -> Self {
        let types = tensors.into_iter().map(|tensor| (tensor.name().to_owned(), tensor.ggml_type()));
        let file_type = metadata.require::<u32>("general.file_type").ok();
        Self::to(Types::Like(types.collect(), file_type))
    }

    /// To these types, by the names of tensors, and with that `general.file_type`: those that a [`Budget`](super::Budget) chose, for
    /// example. Tensors without a type stay as they are, and so do those of integers.
    pub fn types<N: Into<String>>(
        types: impl IntoIterator<Item = (N, GgmlType)>,
        file_type: impl Into<Option<FileType>>,
    ) -> Self {
        let types = types.into_iter().map(|(name, ty)| (name.into(), ty));
        Self::to(Types::Like(types.collect(), file_type.into().map(FileType::id)))
    }

    /// To one type: every matrix whose rows are whole blocks of `ty` becomes that. Vectors, integers and other matrices stay as they
    /// are, and tensors keep their order.
    ///
    /// ```
    /// use gguf_codec::GgmlType;
    /// use gguf_codec::model::{Input, Quantize};
    ///
    /// # let folder = std::env::temp_dir().join(format!("gguf-codec-doc-uniform-{}", std::process::id()));
    /// # std::fs::create_dir_all(&folder)?;
    /// # let output = folder.join("model-F16.gguf");
    /// let input = Input::open("examples/sample.gguf")?;
    /// let report = Quantize::uniform(GgmlType::F16).run(&input, &output)?;
    /// assert!(report.tensors.iter().any(|tensor| tensor.changes() && tensor.ggml_type == GgmlType::F16));
    /// # std::fs::remove_dir_all(&folder)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "convert")]
    pub fn uniform(ty: GgmlType) -> Self {
        Self::to(Types::Uniform(ty))
    }

    fn to(types: Types) -> Self {
        Quantize {
            types,
            imatrix: None,
            imatrix_name: None,
            output_type: None,
            token_embedding_type: None,
            leave_output: false,
            pure: false,
            by_name: None,
            requantize: false,
            missing: MissingImportance::Refuse,
            measure: false,
            part: None,
            keep_split: false,
            max_shard_size: None,
            existing: Existing::default(),
            inputs: Inputs::new(),
        }
    }

    /// Weighs values by an importance matrix.
    pub fn imatrix(self, imatrix: &'a Imatrix) -> Self {
        Quantize { imatrix: Some(imatrix), ..self }
    }

    /// Says where the importance matrix is from: `quantize.imatrix.file` of the files that are written.
    pub fn imatrix_name(self, name: impl Into<String>) -> Self {
        Quantize { imatrix_name: Some(name.into()), ..self }
    }

    /// Sets the type of `output.weight`, and of the token embedding where that serves as the output.
    pub fn output_type(self, ty: impl Into<Option<GgmlType>>) -> Self {
        Quantize { output_type: ty.into(), ..self }
    }

    /// Sets the type of the token embedding.
    pub fn token_embedding_type(self, ty: impl Into<Option<GgmlType>>) -> Self {
        Quantize { token_embedding_type: ty.into(), ..self }
    }

    /// Leaves `output.weight` as it is.
    pub fn leave_output(self, leave: bool) -> Self {
        Quantize { leave_output: leave, ..self }
    }

    /// Gives every matrix the recipe's base type.
    pub fn pure(self, pure: bool) -> Self {
        Quantize { pure, ..self }
    }

    /// Sets types by the names of tensors; `None` leaves the choice to the recipe. Tensors that recipes do not
    /// quantize, such as vectors, ignore it.
    pub fn types_by_name(self, by_name: &'a (dyn Fn(&str) -> Option<GgmlType> + Sync)) -> Self {
        Quantize { by_name: Some(by_name), ..self }
    }

    /// Takes tensors that are quantized already, which give less exact results than the original. Without it they are an error,
    /// except where [`Quantize::uniform`] makes floats of them.
    pub fn allow_requantize(self, allow: bool) -> Self {
        Quantize { requantize: allow, ..self }
    }

    /// Says what becomes of tensors that the importance matrix lacks, or that there is no matrix for, where their type needs importance.
    /// Without it, they are an error.
    pub fn missing_importance(self, missing: MissingImportance) -> Self {
        Quantize { missing, ..self }
    }

    /// Measures how far the values of each tensor that gets another type are from what they were, which takes dequantizing
    /// what was quantized.
    pub fn measure(self, measure: bool) -> Self {
        Quantize { measure, ..self }
    }

    /// Makes one part of several, as one machine of several: `output` is the name of the whole, and the file is the shard of that
    /// number.
    pub fn part(self, part: impl Into<Option<Part>>) -> Self {
        Quantize { part: part.into(), ..self }
    }

    /// Makes as many files as the input has, with the same tensors in each: `output` is the name of the whole, and the files are its
    /// shards.
    pub fn keep_split(self, keep: bool) -> Self {
        Quantize { keep_split: keep, ..self }
    }

    /// Cuts the model into shards whose tensors have so many bytes at most, where it has more: `output` is then the name of the
    /// whole. A tensor that is larger has a shard of its own.
    pub fn max_shard_size(self, bytes: impl Into<Option<u64>>) -> Self {
        Quantize { max_shard_size: bytes.into(), ..self }
    }

    /// Says which files are read besides those of the model, such as that of the importance matrix: none of them is written.
    pub fn inputs(self, inputs: Inputs) -> Self {
        Quantize { inputs, ..self }
    }

    /// Says what happens to files that exist. Without it, they stay and quantizing is an error.
    pub fn existing(self, existing: Existing) -> Self {
        Quantize { existing, ..self }
    }
}

fn refused<T>(message: String) -> Result<T> {
    Err(Error::write(message))
}
