//! [`Description`]: the files beside a model's tensors that say what it is.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::json::Document;
use super::pre_tokenizer::QWEN_2;
use super::sentencepiece::SentencePiece;
use crate::error::{Error, Result};
use crate::safetensors::path::{exists, read_bounded};

/// The longest chat template that is read.
const MAX_TEMPLATE_BYTES: u64 = 16_000_000;

/// The largest `tokenizer.model` or `merges.txt` that is read.
const MAX_PIECES_BYTES: u64 = 64_000_000;

/// Texts by their names.
type Named = Vec<(String, String)>;

/// What stands beside a model's safetensors files: `config.json`, `tokenizer.json` and the like. Each may be missing.
#[derive(Debug, Clone, Default)]
pub struct Description {
    pub(super) config: Option<Document>,
    /// How its authors advise to choose tokens.
    pub(super) generation: Option<Document>,
    pub(super) tokenizer: Option<Document>,
    pub(super) tokenizer_config: Option<Document>,
    /// Scores and kinds of tokens, which `tokenizer.json` lacks.
    pub(super) pieces: Option<SentencePiece>,
    /// How an embedding model makes one vector of many.
    pub(super) pooling: Option<Document>,
    pub(super) chat_template: Option<String>,
    /// Others, by their names.
    pub(super) chat_templates: Named,
    pub(super) name: Option<String>,
    /// Files that describe how another program quantized the weights.
    pub(super) quantization: Vec<(&'static str, Document)>,
    /// What PEFT writes beside an adapter.
    pub(super) adapter: Option<Document>,
    /// Tokenizers that are there and not read.
    pub(super) other_tokenizers: Vec<&'static str>,
    paths: Vec<PathBuf>,
}

/// Files that are read where they are there.
const READ: [&str; 9] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "chat_template.jinja",
    "chat_template.json",
    "modules.json",
    "adapter_config.json",
];
/// Files that are there only where weights are quantized by another program.
const QUANTIZATION: [&str; 5] = [
    "quantize_config.json",
    "quant_config.json",
    "hf_quant_config.json",
    "quantization_map.json",
    "quanto_qmap.json",
];
/// Tokenizers in other forms than `tokenizer.json`.
const TOKENIZERS: [&str; 6] =
    ["vocab.json", "merges.txt", "vocab.txt", "sentencepiece.bpe.model", "spiece.model", "tekken.json"];

impl Description {
    /// Reads the files of a folder: `config.json`, `generation_config.json`, `tokenizer.json` (or `vocab.json` with `merges.txt`),
    /// `tokenizer.model`, `tokenizer_config.json`, `chat_template.jinja`, and of sentence transformers `modules.json` and the pooling that it names.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io), and [`Error::Safetensors`](crate::Error::Safetensors) where one is not JSON.
    pub fn read(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        let (chat_template, chat_templates) = templates(folder)?;
        // What the folder is called, not how it was reached.
        let absolute = folder.canonicalize().ok();
        let name =
            absolute.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        let mut quantization = Vec::new();
        for file in QUANTIZATION {
            quantization.extend(Document::read(&folder.join(file))?.map(|document| (file, document)));
        }
        let mut other_tokenizers = Vec::new();
        for file in TOKENIZERS {
            // Not read: a link that leads nowhere is as good as the file.
            other_tokenizers.extend(folder.join(file).symlink_metadata().is_ok().then_some(file));
        }
        let pooling = pooling_folder(folder)?.map(|folder| folder.join("config.json"));
        let beside = READ.iter().chain(&QUANTIZATION).chain(&TOKENIZERS).map(|file| folder.join(file));
        let paths = beside
            .chain(pooling.clone())
            .chain(more_templates(folder))
            .filter(|path| path.symlink_metadata().is_ok())
            .collect();
        Ok(Description {
            paths,
            quantization,
            other_tokenizers,
            adapter: Document::read(&folder.join("adapter_config.json"))?,
            config: Document::read(&folder.join("config.json"))?,
            generation: Document::read(&folder.join("generation_config.json"))?,
            tokenizer: match Document::read(&folder.join("tokenizer.json"))? {
                Some(tokenizer) => Some(tokenizer),
                None => byte_pairs(folder)?,
            },
            pieces: pieces(folder)?,
            tokenizer_config: Document::read(&folder.join("tokenizer_config.json"))?,
            pooling: pooling.map_or(Ok(None), |path| Document::read(&path))?,
            chat_template,
            chat_templates,
            name,
        })
    }

    /// The files that [`read`](Self::read) found: those that it read, and tokenizers in other forms.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// A description of the text of `config.json`.
    ///
    /// # Errors
    /// [`Error::Safetensors`](crate::Error::Safetensors) where it is not JSON.
    pub fn from_config(json: &str) -> Result<Self> {
        Ok(Description { config: Some(Document::parse("config.json", json.as_bytes())?), ..Self::default() })
    }

    /// Adds the text of `adapter_config.json`: the tensors are those of a LoRA adapter then, and `config.json` is that of its base model.
    ///
    /// # Errors
    /// [`Error::Safetensors`](crate::Error::Safetensors) where it is not JSON.
    pub fn with_adapter(mut self, json: &str) -> Result<Self> {
        self.adapter = Some(Document::parse("adapter_config.json", json.as_bytes())?);
        Ok(self)
    }

    /// Adds `config.json` of the base model of an adapter, which is in this folder.
    ///
    /// # Errors
    /// [`Error::Safetensors`](crate::Error::Safetensors) where there is none, or it is not JSON; [`Error::Io`](crate::Error::Io).
    pub fn with_base(mut self, folder: impl AsRef<Path>) -> Result<Self> {
        let path = folder.as_ref().join("config.json");
        let Some(config) = Document::read(&path)? else {
            let message = "the folder of the base model has no such file".to_owned();
            return Err(Error::Safetensors { file: Some(path.display().to_string()), offset: None, message });
        };
        self.config = Some(config);
        self.paths.push(path);
        Ok(self)
    }

    /// The folder of the base model that an adapter names, where it is on this machine and the adapter's has no `config.json`.
    pub(super) fn local_base(&self) -> Option<PathBuf> {
        let adapter = self.adapter.as_ref().filter(|_| self.config.is_none())?.root();
        let base = PathBuf::from(adapter.get("base_model_name_or_path")?.value.as_str()?);
        base.join("config.json").is_file().then_some(base)
    }

    /// Adds the text of `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::Safetensors`](crate::Error::Safetensors) where it is not JSON.
    pub fn with_tokenizer(mut self, json: &str) -> Result<Self> {
        self.tokenizer = Some(Document::parse("tokenizer.json", json.as_bytes())?);
        Ok(self)
    }

    /// Adds the text of `tokenizer_config.json`.
    ///
    /// # Errors
    /// [`Error::Safetensors`](crate::Error::Safetensors) where it is not JSON.
    pub fn with_tokenizer_config(mut self, json: &str) -> Result<Self> {
        self.tokenizer_config = Some(Document::parse("tokenizer_config.json", json.as_bytes())?);
        Ok(self)
    }
}

/// The chat template of a file of its own, and others beside it, by their names.
fn templates(folder: &Path) -> Result<(Option<String>, Named)> {
    let read = |path: &Path| -> Result<String> {
        Ok(String::from_utf8_lossy(&read_bounded(path, MAX_TEMPLATE_BYTES)?).into_owned())
    };
    let template = folder.join("chat_template.jinja");
    if !exists(&template)? {
        // As processors of several media have it.
        let Some(document) = Document::read(&folder.join("chat_template.json"))? else {
            return Ok((None, Vec::new()));
        };
        let template = document.root().get("chat_template").map(|template| template.str()).transpose()?;
        return Ok((template.map(str::to_owned), Vec::new()));
    }
    let mut others = Vec::new();
    for path in more_templates(folder) {
        if let Some(name) = path.file_stem() {
            others.push((name.to_string_lossy().into_owned(), read(&path)?));
        }
    }
    Ok((Some(read(&template)?), others))
}

/// Files of further chat templates, in the order of their names.
fn more_templates(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder.join("additional_chat_templates")) else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "jinja")).collect();
    paths.sort();
    paths
}

/// The vocabulary of SentencePiece, where the folder has one.
fn pieces(folder: &Path) -> Result<Option<SentencePiece>> {
    let path = folder.join("tokenizer.model");
    if !exists(&path)? {
        return Ok(None);
    }
    SentencePiece::parse(&path.display().to_string(), &read_bounded(&path, MAX_PIECES_BYTES)?).map(Some)
}

/// What `tokenizer.json` would have of the older files `vocab.json` and `merges.txt`, where both are there.
fn byte_pairs(folder: &Path) -> Result<Option<Document>> {
    let merges = folder.join("merges.txt");
    let Some(vocab) = Document::read(&folder.join("vocab.json"))?.filter(|_| merges.is_file()) else {
        return Ok(None);
    };
    let text = read_bounded(&merges, MAX_PIECES_BYTES)?;
    let text = String::from_utf8_lossy(&text);
    let merges: Vec<&str> =
        text.lines().filter(|line| !line.is_empty() && !line.starts_with("#version")).collect();
    let class = Document::read(&folder.join("tokenizer_config.json"))?;
    let class = class
        .as_ref()
        .and_then(|config| config.root().get("tokenizer_class")?.value.as_str().map(str::to_owned));
    let pre = match class.as_deref() {
        Some("Qwen2Tokenizer" | "Qwen2TokenizerFast") => {
            json!({"type": "Split", "pattern": {"Regex": QWEN_2}})
        }
        Some("GPT2Tokenizer" | "GPT2TokenizerFast") => json!({"type": "ByteLevel"}),
        _ => serde_json::Value::Null,
    };
    let tokenizer = json!({"pre_tokenizer": pre,
        "model": {"type": "BPE", "vocab": vocab.root().value, "merges": merges}});
    Ok(Some(Document::of(&folder.join("vocab.json").display().to_string(), tokenizer)))
}

/// The folder of the first pooling that `modules.json` names, inside the model's.
fn pooling_folder(folder: &Path) -> Result<Option<PathBuf>> {
    let Some(modules) = Document::read(&folder.join("modules.json"))? else { return Ok(None) };
    for module in modules.root().array()? {
        if module.required("type")?.str()?.ends_with("Pooling") {
            let path = module.required("path")?;
            let name = path.str()?;
            let is_plain = Path::new(name).file_name().is_some_and(|plain| plain == name);
            return if is_plain {
                Ok(Some(folder.join(name)))
            } else {
                Err(path.wrong("must be the name of a folder"))
            };
        }
    }
    Ok(None)
}
