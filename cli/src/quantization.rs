//! How a model is quantized: the options that several commands have, and the `Quantize` that they make.

use std::path::PathBuf;

use anyhow::Result;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use gguf_codec::model::{MissingImportance, Quantize, Recipe};
use gguf_codec::{GgmlType, ShardedGguf};

use crate::budget::Chosen;
use crate::importance::{self, Importance};
use crate::tensor_types::{self, TensorType};
use crate::{cli, paths};

/// What a model is quantized to.
#[derive(clap::Args)]
#[group(id = "target", multiple = false)]
pub(crate) struct Target {
    /// Quantize by one of llama.cpp's recipes, which choose a type for each tensor
    #[arg(long, value_name = "NAME", ignore_case = true, value_parser = recipe())]
    pub(crate) recipe: Option<Recipe>,
    /// Give each tensor the type that it has in another model. Tensors that are not in that stay as they are
    #[arg(long, value_name = "OTHER", value_parser = paths::file())]
    #[arg(conflicts_with_all = ["pure", "output_tensor_type", "token_embedding_type", "leave_output_tensor"])]
    pub(crate) types_like: Option<PathBuf>,
}

/// The recipes, by name.
fn recipe() -> impl TypedValueParser<Value = Recipe> {
    let names = Recipe::ALL.iter().map(|recipe| recipe.name());
    PossibleValuesParser::new(names).try_map(|name| name.parse::<Recipe>())
}

impl Target {
    /// What quantizes to it or to types that were chosen, where something was asked for.
    pub(crate) fn quantize<'a>(&self, chosen: Option<&Chosen>) -> Result<Option<Quantize<'a>>> {
        if let Some(Chosen { allocation, .. }) = chosen {
            return Ok(Some(Quantize::types(allocation.types(), allocation.file_type())));
        }
        let Some(path) = &self.types_like else { return Ok(self.recipe.map(Quantize::recipe)) };
        let other = ShardedGguf::open(path).map_err(|error| cli::about(path, error))?;
        Ok(Some(Quantize::like(other.metadata(), other.tensors())))
    }

    /// How a summary names it.
    pub(crate) fn name(&self) -> Option<String> {
        let like = self.types_like.as_ref().map(|path| format!("of the types of '{}'", path.display()));
        like.or_else(|| self.recipe.map(|recipe| recipe.to_string()))
    }
}

/// What values are weighed by.
#[derive(clap::Args)]
#[group(id = "weighing", multiple = true)]
pub(crate) struct Weighing {
    /// An importance matrix, in either form that llama.cpp's `imatrix` writes; several of one model are put together
    #[arg(long, value_name = "FILE", value_parser = paths::file())]
    pub(crate) imatrix: Vec<PathBuf>,
    /// What to do with tensors that need importance and have none: error (the default), uniform (all their values count the
    /// same), or a type to use instead
    #[arg(long, value_name = "error|uniform|TYPE", value_parser = importance::missing)]
    missing_importance: Option<MissingImportance>,
}

impl Weighing {
    pub(crate) fn read(&self) -> Result<Importance> {
        Importance::read(&self.imatrix, self.missing_importance.unwrap_or_default())
    }
}

/// Types that are not those of the recipe.
#[derive(clap::Args)]
#[group(id = "exceptions", multiple = true)]
pub(crate) struct Exceptions {
    /// The type for tensors whose names match a regular expression, such as attn_v or 'ffn_.*_exps', as in llama.cpp; or, where it begins
    /// with *, a pattern of the whole name with * and ?, such as '*.attn_v.weight'. Of several that match, the first counts. A tensor whose rows are
    /// not whole blocks of the type gets another, as with a recipe; vectors stay as they are
    #[arg(long, value_name = "PATTERN=TYPE", value_parser = tensor_types::tensor_type)]
    tensor_type: Vec<TensorType>,
    /// The type for output.weight, and for the token embedding where it is the output as well
    #[arg(long, value_name = "TYPE")]
    output_tensor_type: Option<GgmlType>,
    /// The type for the token embedding
    #[arg(long, value_name = "TYPE")]
    token_embedding_type: Option<GgmlType>,
    /// Leave output.weight as it is
    #[arg(long)]
    leave_output_tensor: bool,
    /// Give every matrix the recipe's base type
    #[arg(long)]
    pure: bool,
}

impl Exceptions {
    /// Whether there are patterns.
    pub(crate) fn has_patterns(&self) -> bool {
        !self.tensor_type.is_empty()
    }

    /// Fails where a pattern matches none of the names.
    pub(crate) fn check<'n>(&self, names: impl Iterator<Item = &'n str> + Clone) -> Result<()> {
        tensor_types::check("--tensor-type", &self.tensor_type, names)
    }

    /// The type for a name, where a pattern matches it.
    pub(crate) fn by_name(&self) -> impl Fn(&str) -> Option<GgmlType> + Sync {
        tensor_types::by_name(&self.tensor_type)
    }

    /// Makes the exceptions, with what [`by_name`](Self::by_name) gives.
    pub(crate) fn apply<'a>(
        &self,
        quantize: Quantize<'a>,
        by_name: &'a (dyn Fn(&str) -> Option<GgmlType> + Sync),
    ) -> Quantize<'a> {
        quantize
            .output_type(self.output_tensor_type)
            .token_embedding_type(self.token_embedding_type)
            .leave_output(self.leave_output_tensor)
            .pure(self.pure)
            .types_by_name(by_name)
    }
}
