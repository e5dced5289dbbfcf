//! `tokenizer.ggml.*` from `tokenizer.model`, whose pieces have scores.

use std::collections::{BTreeSet, HashMap};

use super::description::Description;
use super::families::Family;
use super::json::{Document, Node};
use super::sentencepiece::SentencePiece;
use super::special_tokens::special_tokens;
use super::tokenizer::{Tokenizer, Vocabulary, added, added_tokens, known_prefix_space, prefix_space};
use super::unigram::Unigram;
use crate::error::Result;

/// Scores of tokens that were added, and of rows without one, as llama.cpp's converter has them.
const ADDED: f32 = -1000.0;
const UNUSED: f32 = -10_000.0;

pub(super) fn read(
    model: &SentencePiece,
    description: &Description,
    family: Option<&Family>,
    config: Option<&Node<'_>>,
    rows: Option<(u64, &str)>,
    out: &mut Tokenizer,
) -> Result<()> {
    let none = Document::of("tokenizer.model", serde_json::Value::Null);
    let root = description.tokenizer.as_ref().map_or_else(|| none.root(), |document| document.root());
    let pieces = model.pieces.iter();
    let mut by_id: HashMap<u32, (String, i32)> =
        (0..).zip(pieces.map(|piece| (piece.text().to_owned(), piece.kind()))).collect();
    let mut scores: HashMap<u32, f32> = (0..).zip(model.pieces.iter().map(|piece| piece.score())).collect();
    let settings = description.tokenizer_config.as_ref().map(|config| config.root());
    // What the tokenizer's settings say counts for pieces too. Newer ones leave it to tokenizer.json.
    let all_count = settings.as_ref().is_some_and(|settings| {
        settings.get("backend").is_some() && settings.get("added_tokens_decoder").is_none()
    });
    let declared: BTreeSet<u32> = settings
        .and_then(|settings| settings.get("added_tokens_decoder"))
        .and_then(|decoder| {
            Some(decoder.value.as_object()?.keys().filter_map(|id| id.parse().ok()).collect())
        })
        .unwrap_or_default();
    for (id, content, special) in added_tokens(&root, description)? {
        if all_count || declared.contains(&id) || id as usize >= model.pieces.len() {
            by_id.insert(id, added(content, special));
            scores.insert(id, ADDED);
        }
    }
    let vocabulary = Vocabulary::of(by_id, &none.root(), config, rows)?;
    let all =
        (0..vocabulary.tokens.len() as u32).map(|id| scores.get(&id).copied().unwrap_or(UNUSED)).collect();
    if model.is_unigram() {
        let normalizer = model.normalizer.as_ref();
        let unigram = Unigram {
            adds_prefix: normalizer.is_none_or(|normalizer| normalizer.adds_prefix()),
            removes_spaces: normalizer.is_none_or(|normalizer| normalizer.removes_spaces()),
            charsmap: normalizer.map(|normalizer| normalizer.charsmap().to_vec()).unwrap_or_default(),
        };
        unigram.put(vocabulary, all, config, out)?;
    } else {
        prefix_space(description, family, out)?;
        out.push("ggml.model", "llama");
        out.push("ggml.pre", "default");
        vocabulary.put(out, Some(all));
    }
    special_tokens(description, &root, out)?;
    if !model.is_unigram() {
        known_prefix_space(family, out);
    }
    Ok(())
}
