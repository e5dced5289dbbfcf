//! What a text is put between.

use serde_json::{Value as Json, json};

use super::super::pre_tokenizer::Named;
use super::vocabulary::{Model, Special, Vocabulary};
use crate::error::Result;

/// The tokens before, between and after texts.
pub(super) struct Template {
    first: Option<Special>,
    last: Option<Special>,
    between: Vec<Special>,
}

impl Template {
    /// As llama.cpp adds them to one text; between two are those that say the same of `add_sep_token`.
    pub(super) fn of(vocabulary: &Vocabulary<'_>, pre: Option<&Named>) -> Result<Self> {
        let (bos, eos) = (vocabulary.special("bos")?, vocabulary.special("eos")?);
        let separator = vocabulary.special("seperator")?;
        let (first, last) = match vocabulary.model {
            // Always, whatever the file says.
            Model::WordPiece => (bos, separator.clone().or(eos.clone())),
            model => {
                let silent = match model {
                    Model::Scores => (true, false),
                    Model::Unigram => (false, true),
                    _ => (pre.is_some_and(|pre| pre.adds_bos), false),
                };
                let adds_bos = vocabulary.flag("add_bos_token")?.unwrap_or(silent.0);
                let adds_eos = vocabulary.flag("add_eos_token")?.unwrap_or(silent.1);
                (bos.filter(|_| adds_bos), eos.clone().filter(|_| adds_eos))
            }
        };
        let separates = vocabulary.flag("add_sep_token")?;
        let between = match (separates, &last) {
            (Some(true), Some(last)) => vec![last.clone(), separator.unwrap_or_else(|| last.clone())],
            (Some(true), None) => separator.or(eos).into_iter().collect(),
            (_, Some(last)) => vec![last.clone()],
            (Some(false), None) => first.iter().cloned().collect(),
            (None, None) => Vec::new(),
        };
        Ok(Template { first, last, between })
    }

    /// The value of `post_processor`, where anything is added.
    pub(super) fn json(&self) -> Option<Json> {
        let all = || self.first.iter().chain(&self.last).chain(&self.between);
        all().next()?;
        let token = |token: &Special, ty: u32| json!({"SpecialToken": {"id": token.text, "type_id": ty}});
        let text = |name: &str, ty: u32| json!({"Sequence": {"id": name, "type_id": ty}});
        let first = || self.first.iter().map(|first| token(first, 0));
        let single: Vec<Json> =
            first().chain([text("A", 0)]).chain(self.last.iter().map(|last| token(last, 0))).collect();
        let pair: Vec<Json> = first()
            .chain([text("A", 0)])
            .chain(self.between.iter().map(|between| token(between, 0)))
            .chain([text("B", 1)])
            .chain(self.last.iter().map(|last| token(last, 1)))
            .collect();
        let tokens: serde_json::Map<String, Json> = all()
            .map(|token| {
                let (id, text) = (token.id, &token.text);
                (text.clone(), json!({"id": text, "ids": [id], "tokens": [text]}))
            })
            .collect();
        Some(json!({"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": tokens}))
    }
}
