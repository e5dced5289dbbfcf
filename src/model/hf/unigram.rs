//! `tokenizer.ggml.*` of Unigram tokenizers, which cut text into its likeliest pieces.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::charsmap;
use super::description::Description;
use super::json::Node;
use super::special_tokens::special_tokens;
use super::tokenizer::{Tokenizer, Vocabulary, added, added_tokens, kind};
use crate::error::Result;
use crate::gguf::value::{Array, Value};

/// The score of a row without a token.
const UNUSED: f32 = -10_000.0;

/// What is done to a text before it is cut.
pub(super) struct Unigram {
    pub(super) adds_prefix: bool,
    pub(super) removes_spaces: bool,
    /// What characters become, as SentencePiece compiles it.
    pub(super) charsmap: Vec<u8>,
}

impl Unigram {
    pub(super) fn put(
        self,
        vocabulary: Vocabulary,
        scores: Vec<f32>,
        config: Option<&Node<'_>>,
        out: &mut Tokenizer,
    ) -> Result<()> {
        out.push("ggml.model", "t5");
        out.push("ggml.pre", "default");
        vocabulary.put(out, Some(scores));
        out.push("ggml.add_space_prefix", self.adds_prefix);
        if let Some(types) = config.and_then(|config| config.get("type_vocab_size")) {
            out.push("ggml.token_type_count", types.u32()?);
        }
        out.push("ggml.remove_extra_whitespaces", self.removes_spaces);
        if !self.charsmap.is_empty() {
            charsmap::check(&self.charsmap)?;
            out.push("ggml.precompiled_charsmap", Value::Array(Array::U8(self.charsmap)));
        }
        Ok(())
    }
}

pub(super) fn read(
    root: &Node<'_>,
    model: &Node<'_>,
    description: &Description,
    config: Option<&Node<'_>>,
    rows: Option<(u64, &str)>,
    out: &mut Tokenizer,
) -> Result<()> {
    let vocab = model.required("vocab")?;
    let unknown = model.get("unk_id").map(|id| id.u32()).transpose()?;
    let (mut by_id, mut scores) = (HashMap::new(), HashMap::new());
    for (id, piece) in (0..).zip(vocab.array()?) {
        let [text, score] = &piece.array()?.collect::<Vec<_>>()[..] else {
            return Err(piece.wrong("must be a piece and its score"));
        };
        by_id.insert(id, (text.str()?.to_owned(), kind::NORMAL));
        scores.insert(id, score.f64()? as f32);
    }
    for (id, content, special) in added_tokens(root, description)? {
        by_id.insert(id, added(content, special));
        scores.entry(id).or_insert(0.0);
    }
    if let Some((_, kind)) = unknown.and_then(|id| by_id.get_mut(&id)) {
        *kind = kind::UNKNOWN;
    }
    let vocabulary = Vocabulary::of(by_id, &vocab, config, rows)?;
    let scores =
        (0..vocabulary.tokens.len() as u32).map(|id| scores.get(&id).copied().unwrap_or(UNUSED)).collect();
    let settings = description.tokenizer_config.as_ref().map(|config| config.root());
    let cleans = settings.and_then(|settings| settings.get("clean_up_tokenization_spaces"));
    let unigram = Unigram {
        adds_prefix: adds_prefix(root)?,
        removes_spaces: cleans.is_none_or(|flag| flag.value.as_bool() != Some(false)),
        charsmap: charsmap(root)?,
    };
    unigram.put(vocabulary, scores, config, out)?;
    special_tokens(description, root, out)
}

/// The parts of a step of a tokenizer that are in a list, or itself.
fn parts<'a>(root: &Node<'a>, step: &str, list: &str) -> Result<Vec<Node<'a>>> {
    let Some(step) = root.get(step) else { return Ok(Vec::new()) };
    Ok(match step.get(list) {
        Some(several) => several.array()?.collect(),
        None => vec![step],
    })
}

/// Whether a text begins with a space.
fn adds_prefix(root: &Node<'_>) -> Result<bool> {
    for part in parts(root, "pre_tokenizer", "pretokenizers")? {
        if part.required("type")?.str()? == "Metaspace" {
            let scheme = part.get("prepend_scheme").map(|scheme| scheme.str()).transpose()?;
            let flag = part.get("add_prefix_space").map_or(Ok(true), |flag| flag.bool())?;
            return Ok(scheme.map_or(flag, |scheme| scheme != "never"));
        }
    }
    Ok(true)
}

fn charsmap(root: &Node<'_>) -> Result<Vec<u8>> {
    for part in parts(root, "normalizer", "normalizers")? {
        if let Some(map) = part.get("precompiled_charsmap") {
            return STANDARD.decode(map.str()?).map_err(|error| map.wrong(&format!("is no base64: {error}")));
        }
    }
    Ok(Vec::new())
}
