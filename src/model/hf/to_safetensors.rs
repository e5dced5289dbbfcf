//! [`ToSafetensors`]: a Hugging Face model of a GGUF, in one call.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::export::Export;
use super::export_plan::{ExportPlan, Shard};
use super::names::NameMap;
use super::written::described;
use crate::error::{Error, Result};
use crate::file::atomic::{AtomicFile, OutputFolder};
use crate::file::{Existing, Inputs};
use crate::ggml_type::GgmlType;
use crate::model::convert::Convert;
use crate::model::input::Input;
use crate::model::layer::TOKEN_EMBEDDING;
use crate::model::pieces::told;
use crate::model::quantize::converted;
use crate::safetensors;

/// Makes safetensors files of a GGUF.
///
/// ```
/// use gguf_codec::GgmlType;
/// use gguf_codec::model::Input;
/// use gguf_codec::model::hf::{FromSafetensors, ToSafetensors};
///
/// # let folder = std::env::temp_dir().join(format!("gguf-codec-doc-to-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// let input = Input::open("examples/sample.gguf")?;
/// let report = ToSafetensors::new(&input).ggml_type(GgmlType::F32).run(folder.join("model"))?;
/// assert_eq!(report.files[0].file_name, "model.safetensors");
/// assert!(folder.join("model/config.json").exists());
///
/// let back = FromSafetensors::open(folder.join("model"))?.run(folder.join("back.gguf"))?;
/// assert_eq!(back.tensors, 20);
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing is written before `run`"]
pub struct ToSafetensors<'a> {
    input: &'a Input,
    ty: Option<GgmlType>,
    names: Option<NameMap>,
    compressed: bool,
    max_file_size: Option<u64>,
    existing: Existing,
    inputs: Inputs,
}

/// What a GGUF became.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ExportReport {
    /// The files that have tensors, in their order.
    pub files: Vec<Shard>,
    /// All files that were written: those with tensors, and then the index, `config.json` and its like.
    pub paths: Vec<PathBuf>,
    /// What the files cannot say, in sentences.
    pub notes: Vec<String>,
}

impl ExportReport {
    /// Returns how many bytes of tensors the files have.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.byte_len).sum()
    }
}

impl<'a> ToSafetensors<'a> {
    /// Of this model, in the types that [`Export`] gives its tensors.
    pub fn new(input: &'a Input) -> Self {
        ToSafetensors {
            input,
            ty: None,
            names: None,
            compressed: false,
            max_file_size: None,
            existing: Existing::default(),
            inputs: Inputs::new(),
        }
    }

    /// Sets the type that quantized tensors become, as [`Export::ggml_type`] does.
    pub fn ggml_type(self, ty: impl Into<Option<GgmlType>>) -> Self {
        ToSafetensors { ty: ty.into(), ..self }
    }

    /// Adds names, which come before the built-in ones.
    pub fn names(self, names: impl Into<Option<NameMap>>) -> Self {
        ToSafetensors { names: names.into(), ..self }
    }

    /// Keeps codes, as [`Export::compressed_tensors`] does.
    pub fn compressed_tensors(self, compressed: bool) -> Self {
        ToSafetensors { compressed, ..self }
    }

    /// Divides the model into files of so many bytes of tensors at most, where it has more.
    pub fn max_file_size(self, bytes: impl Into<Option<u64>>) -> Self {
        ToSafetensors { max_file_size: bytes.into(), ..self }
    }

    /// Says what happens to what exists. Without it, it stays and the conversion is an error.
    pub fn existing(self, existing: Existing) -> Self {
        ToSafetensors { existing, ..self }
    }

    /// Says which files are read besides those of the model: none of them is written.
    pub fn inputs(self, inputs: Inputs) -> Self {
        ToSafetensors { inputs, ..self }
    }

    /// Writes a file, where the name of `output` ends with `.safetensors`, and else a folder with `config.json`, `tokenizer.json`,
    /// `tokenizer_config.json`, `generation_config.json`, and of sentence transformers `modules.json` and `1_Pooling/config.json`, as far as
    /// the metadata has what they say, and an index where there are several files. It appears when it is complete.
    ///
    /// # Errors
    /// As [`run_with`](Self::run_with).
    pub fn run(&self, output: impl AsRef<Path>) -> Result<ExportReport> {
        self.run_with(output, |_, _| ControlFlow::Continue(()))
    }

    /// As [`run`](Self::run), with progress: `progress` is called with the number of bytes of the tensors that are done and how many
    /// there are. Return `Break` to cancel.
    ///
    /// # Errors
    /// Those of [`Export::plan`]; [`Error::Output`] where `output` is one of the inputs, contains one, or exists; [`Error::Write`] where
    /// values would be infinite in their new type, or a file would have to be several; [`Error::Io`]; [`Error::Interrupted`] where
    /// `progress` breaks. After any of them what was at `output` is as it was.
    pub fn run_with(
        &self,
        output: impl AsRef<Path>,
        progress: impl FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<ExportReport> {
        let output = output.as_ref();
        let is_file = output.extension().is_some_and(|extension| extension == "safetensors");
        let mut inputs = self.inputs.clone();
        inputs.add_all(self.input.paths());
        if is_file {
            inputs.check(output, self.existing)?;
        } else {
            inputs.check_folder(output, self.existing)?;
        }
        let mut export = Export::sharded(self.input.model(), |tensor| self.input.origin(tensor))?
            .compressed_tensors(self.compressed);
        if let Some(ty) = self.ty {
            export = export.ggml_type(ty);
        }
        if let Some(names) = &self.names {
            export = export.names(move |name| names.to_hf(name));
        }
        let plan = export.plan()?;
        let files = plan.shards(self.max_file_size);
        let total = self.input.tensors().map(|tensor| tensor.byte_len()).sum();
        let mut progress = told(total, progress);
        if is_file {
            let [only] = &files[..] else {
                return Err(Error::write(format!(
                    "'{}' is one file, and {} are asked for: give a folder",
                    output.display(),
                    files.len()
                )));
            };
            write(&plan, only, output, self.existing, &mut progress)?;
            // A file has no config.json beside it.
            return Ok(ExportReport { files, paths: vec![output.to_owned()], notes: Vec::new() });
        }
        let folder = OutputFolder::create(output, self.existing)?;
        for file in &files {
            write(&plan, file, &folder.path().join(&file.file_name), Existing::Refuse, &mut progress)?;
        }
        let mut names: Vec<_> = files.iter().map(|file| file.file_name.clone()).collect();
        let mut put = |name: &str, text: &str| {
            let path = folder.path().join(name);
            if let Some(parent) = path.parent().filter(|parent| *parent != folder.path()) {
                std::fs::create_dir_all(parent)
                    .map_err(|error| Error::io(format!("create the folder of '{name}'"), error))?;
            }
            names.push(name.to_owned());
            AtomicFile::write(path, text.as_bytes())
        };
        if files.len() > 1 {
            put("model.safetensors.index.json", &plan.index_json(&files))?;
        }
        if let Some(config) = plan.config_json() {
            put("config.json", config)?;
        }
        let mut notes = plan.notes().to_vec();
        let embedding = self.input.tensors().find(|tensor| tensor.name() == TOKEN_EMBEDDING);
        let rows = embedding.map(|tensor| tensor.shape().row_count());
        for (name, text) in described(self.input.model().metadata(), rows, &mut notes)? {
            put(name, &text)?;
        }
        folder.finish()?;
        let paths = names.iter().map(|name| output.join(name)).collect();
        Ok(ExportReport { files, paths, notes })
    }
}

fn write(
    plan: &ExportPlan<'_>,
    shard: &Shard,
    path: &Path,
    existing: Existing,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<()> {
    let mut writer = safetensors::Writer::create_with(path, existing)?;
    plan.declare(shard, &mut writer)?;
    let (data, _) = converted(writer.write_header()?, &plan.jobs(shard)?, Convert::new(), false, progress)?;
    data.finish().map(drop)
}
