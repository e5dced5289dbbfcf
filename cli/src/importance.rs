//! Importance matrices that values are weighed by.

use std::path::PathBuf;

use anyhow::Result;
use gguf_codec::model::{Imatrix, MissingImportance, Quantize};

use crate::cli;

/// The importance matrix that was asked for, and its files.
pub(crate) struct Importance {
    paths: Vec<PathBuf>,
    matrix: Option<Imatrix>,
    missing: MissingImportance,
}

impl Importance {
    /// Reads files of one model, which are put together.
    pub(crate) fn read(paths: &[PathBuf], missing: MissingImportance) -> Result<Self> {
        Ok(Importance { paths: paths.to_vec(), matrix: merged(paths)?, missing })
    }

    pub(crate) fn matrix(&self) -> Option<&Imatrix> {
        self.matrix.as_ref()
    }

    /// Has a model's values weighed by it.
    pub(crate) fn weigh<'a>(&'a self, quantize: Quantize<'a>) -> Quantize<'a> {
        let quantize = quantize.missing_importance(self.missing);
        let Some(matrix) = &self.matrix else { return quantize };
        let names: Vec<_> = self.paths.iter().map(|path| path.display().to_string()).collect();
        quantize.imatrix(matrix).imatrix_name(names.join(", "))
    }
}

/// Files of one model as one; none of no files.
pub(crate) fn merged(paths: &[PathBuf]) -> Result<Option<Imatrix>> {
    let mut all: Option<Imatrix> = None;
    for path in paths {
        let about = |error| cli::about(path, error);
        let read = Imatrix::read(path).map_err(about)?;
        match &mut all {
            Some(all) => all.merge(&read).map_err(about)?,
            None => all = Some(read),
        }
    }
    Ok(all)
}

/// Reads what becomes of tensors without importance: `error`, `uniform`, or a type.
pub(crate) fn missing(argument: &str) -> Result<MissingImportance> {
    Ok(match argument {
        "error" => MissingImportance::Refuse,
        "uniform" => MissingImportance::Uniform,
        ty => MissingImportance::Type(ty.parse()?),
    })
}

/// Entries of the importance matrix, where there is one, that are of no tensor.
pub(crate) struct Idle<'a>(pub(crate) Option<Vec<&'a str>>);

impl<'a> Idle<'a> {
    /// `is_tensor` tells whether the model has one of a name.
    pub(crate) fn new(is_tensor: impl Fn(&str) -> bool, importance: &'a Importance) -> Self {
        let idle_entries = |imatrix: &'a Imatrix| {
            let names = imatrix.entries().iter().map(|entry| entry.name.as_str());
            names.filter(|name| !is_tensor(name)).collect()
        };
        Idle(importance.matrix().map(idle_entries))
    }
}
