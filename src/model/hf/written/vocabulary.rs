//! [`Vocabulary`]: the tokens of a GGUF, and what they are for.

use std::collections::HashMap;

use super::super::tokenizer::kind;
use crate::error::{Error, Result, Shown};
use crate::gguf::metadata::Metadata;

pub(super) const MODEL: &str = "tokenizer.ggml.model";
pub(super) const TOKENS: &str = "tokenizer.ggml.tokens";

/// The mark of a space, and of the start of a word.
pub(super) const SPACE: char = '\u{2581}';

/// How a vocabulary cuts text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Model {
    /// Byte-pair encoding of bytes that stand for themselves.
    Bytes,
    /// Byte-pair encoding of characters, by the scores of what pairs make.
    Scores,
    /// Byte-pair encoding of characters by a list of merges, as Gemma 4's.
    Characters,
    /// The same of what is between spaces, as in a Chinese model of Jina.
    Words,
    WordPiece,
    Unigram,
}

/// A token that has a meaning, by its id.
#[derive(Debug, Clone)]
pub(super) struct Special {
    pub(super) id: u32,
    pub(super) text: String,
}

pub(super) struct Vocabulary<'a> {
    pub(super) metadata: Metadata<'a>,
    pub(super) model: Model,
    pub(super) tokens: Vec<&'a str>,
    pub(super) kinds: Vec<i32>,
}

impl<'a> Vocabulary<'a> {
    pub(super) fn read(metadata: Metadata<'a>) -> Result<Self> {
        let name: &str = metadata.require(MODEL)?;
        let pre = metadata.optional::<&str>("tokenizer.ggml.pre")?;
        let model = match (name, pre) {
            ("gemma4", _) | ("gpt2", Some("gemma4" | "granite-embed-multi-311m" | "sarvam-moe")) => {
                Model::Characters
            }
            ("whitespace", Some("whitespace")) => Model::Words,
            ("gpt2", _) => Model::Bytes,
            ("llama", _) => Model::Scores,
            ("bert", _) => Model::WordPiece,
            ("t5", _) => Model::Unigram,
            (other, _) => {
                return Err(Error::WrongValue {
                    key: MODEL.to_owned(),
                    found: format!("'{}'", Shown(other)),
                    wanted: "one that tokenizer.json has: gpt2, llama, bert, t5, gemma4 or whitespace"
                        .to_owned(),
                });
            }
        };
        let tokens: Vec<&str> = metadata.require(TOKENS)?;
        let kinds = match metadata.optional::<Vec<i32>>("tokenizer.ggml.token_type")? {
            Some(kinds) => kinds,
            None => vec![kind::NORMAL; tokens.len()],
        };
        let vocabulary = Vocabulary { metadata, model, tokens, kinds };
        vocabulary.same_length("tokenizer.ggml.token_type", vocabulary.kinds.len())?;
        Ok(vocabulary)
    }

    /// That there is one element of an array for each token.
    pub(super) fn same_length(&self, key: &str, len: usize) -> Result<()> {
        if len == self.tokens.len() {
            return Ok(());
        }
        Err(Error::WrongValue {
            key: key.to_owned(),
            found: format!("an array of {len}"),
            wanted: format!("one of {}, as many as there are tokens", self.tokens.len()),
        })
    }

    /// What `tokenizer.json` writes for a token.
    pub(super) fn text(&self, id: usize) -> String {
        let token = self.tokens[id];
        if self.model != Model::WordPiece || self.kinds[id] == kind::CONTROL {
            return token.to_owned();
        }
        match token.strip_prefix(SPACE) {
            Some(word) => word.to_owned(),
            None => format!("##{token}"),
        }
    }

    /// Whether this fills a row of the model that has no token.
    pub(super) fn is_padding(&self, id: usize) -> bool {
        let text = self.tokens[id];
        let number =
            text.trim_start_matches(SPACE).strip_prefix("[PAD").and_then(|rest| rest.strip_suffix(']'));
        self.kinds[id] == kind::UNUSED && number.and_then(|number| number.parse().ok()) == Some(id)
    }

    /// The ids of tokens that are no padding.
    pub(super) fn ids(&self) -> impl Iterator<Item = usize> {
        (0..self.tokens.len()).filter(|&id| !self.is_padding(id))
    }

    /// Texts and ids, each text once.
    pub(super) fn by_text(&self) -> Result<HashMap<String, usize>> {
        let mut all = HashMap::with_capacity(self.tokens.len());
        for id in self.ids() {
            if let Some(other) = all.insert(self.text(id), id) {
                return Err(Error::WrongElement {
                    key: Some(TOKENS.to_owned()),
                    index: id as u64,
                    found: format!("'{}', as element {other} is", Shown(self.tokens[id])),
                    wanted: "a token of its own".to_owned(),
                });
            }
        }
        Ok(all)
    }

    /// The token with a meaning, by the name that its key has: what the file says, or what llama.cpp takes where it is silent and no
    /// kind tells.
    pub(super) fn special(&self, name: &str) -> Result<Option<Special>> {
        let silent = match (self.model, name) {
            (Model::Scores, "bos") | (Model::Unigram, "eos") => Some(1),
            (Model::Scores, "eos") | (Model::Unigram, "unknown") => Some(2),
            (Model::Scores, "unknown") => Some(0),
            (Model::WordPiece, "bos") => Some(101),
            (Model::WordPiece, "seperator") => Some(102),
            (Model::WordPiece, "unknown") => Some(100),
            _ => None,
        };
        let told = match name {
            "unknown" => self.kinds.iter().position(|&kind| kind == kind::UNKNOWN),
            _ => None,
        };
        let silent = told.and_then(|id| u32::try_from(id).ok()).or(silent);
        Ok(self.id(name)?.or(silent).and_then(|id| self.token(id)))
    }

    /// The id that the file says, where it is one of the vocabulary.
    fn id(&self, name: &str) -> Result<Option<u32>> {
        let id: Option<u32> = self.metadata.optional(&format!("tokenizer.ggml.{name}_token_id"))?;
        Ok(id.filter(|&id| (id as usize) < self.tokens.len()))
    }

    /// The token with a meaning, where the file says which.
    pub(super) fn said(&self, name: &str) -> Result<Option<Special>> {
        Ok(self.id(name)?.and_then(|id| self.token(id)))
    }

    /// None of padding, which is not written.
    fn token(&self, id: u32) -> Option<Special> {
        let at = id as usize;
        (at < self.tokens.len() && !self.is_padding(at)).then(|| Special { id, text: self.text(at) })
    }

    /// A flag of the tokenizer.
    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>> {
        self.metadata.optional(&format!("tokenizer.ggml.{name}"))
    }

    /// Whether a text begins with the mark of a space.
    pub(super) fn adds_space(&self) -> Result<bool> {
        let silent = matches!(self.model, Model::Scores | Model::Unigram);
        Ok(self.flag("add_space_prefix")?.unwrap_or(silent))
    }
}
