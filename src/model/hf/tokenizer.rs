//! `tokenizer.ggml.*` from `tokenizer.json`: byte-pair encodings, with and without byte fallback, and WordPiece.

use std::collections::HashMap;

use super::description::Description;
use super::families::Family;
use super::json::Node;
use super::pre_tokenizer::{is_of_words, pre_tokenizer};
use super::special_tokens::special_tokens;
use super::{pieces, unigram};
use crate::error::{Result, Shown};
use crate::gguf::value::{Array, Value};

/// Kinds of tokens, as llama.cpp numbers them.
pub(super) mod kind {
    pub(in crate::model::hf) const NORMAL: i32 = 1;
    pub(in crate::model::hf) const UNKNOWN: i32 = 2;
    pub(in crate::model::hf) const CONTROL: i32 = 3;
    pub(in crate::model::hf) const USER_DEFINED: i32 = 4;
    pub(in crate::model::hf) const UNUSED: i32 = 5;
    pub(in crate::model::hf) const BYTE: i32 = 6;
    /// With 0, which says nothing.
    pub(in crate::model::hf) const ALL: std::ops::RangeInclusive<i32> = 0..=BYTE;
}

/// Ids without a token that a vocabulary may have besides one for each that there is: models round their number up.
const MAX_PADDING: usize = 1 << 16;

/// Pairs of metadata, and what could not be carried over.
#[derive(Debug, Default)]
pub(super) struct Tokenizer {
    pub(super) pairs: Vec<(String, Value)>,
    pub(super) notes: Vec<String>,
}

impl Tokenizer {
    pub(super) fn push(&mut self, key: &str, value: impl Into<Value>) {
        self.pairs.push((format!("tokenizer.{key}"), value.into()));
    }
}

/// How a vocabulary cuts text.
#[derive(Clone, Copy, PartialEq)]
enum Model {
    /// Byte-pair encoding of bytes that stand for themselves, as GPT-2's.
    Bytes,
    /// Byte-pair encoding of characters, with tokens for bytes that none has, as Llama 2's.
    Characters,
    /// Byte-pair encoding of characters between spaces.
    Words,
    WordPiece,
}

/// The metadata of the tokenizer, or a note where there is none.
///
/// `rows` are those of the token embedding, where it is known, and what that is called.
pub(super) fn tokenizer(
    description: &Description,
    family: Option<&'static Family>,
    rows: Option<(u64, &str)>,
) -> Result<Tokenizer> {
    let mut out = Tokenizer::default();
    let config = description.config.as_ref().map(|config| config.root());
    if let Some(pieces) = description.pieces.as_ref().filter(|_| is_of_pieces(description)) {
        pieces::read(pieces, description, family, config.as_ref(), rows, &mut out)?;
        return Ok(out);
    }
    let Some(document) = &description.tokenizer else {
        let others = match &description.other_tokenizers[..] {
            [] => String::new(),
            others => format!(" ({}, which is there, is not read)", others.join(", ")),
        };
        out.notes.push(format!(
            "there is no tokenizer.json{others}: the model has no tokenizer, and llama.cpp does not load a model without one"
        ));
        return Ok(out);
    };
    let root = document.root();
    let model = root.required("model")?;
    let name = model.get("type").map(|name| name.str()).transpose()?.unwrap_or("BPE");
    let flag = |key: &str| model.get(key).is_some_and(|flag| flag.value.as_bool() == Some(true));
    let kind = match name {
        "BPE" if is_of_words(&root)? => Model::Words,
        "BPE" if flag("byte_fallback") && !flag("ignore_merges") => Model::Characters,
        "BPE" => Model::Bytes,
        "WordPiece" => Model::WordPiece,
        "Unigram" => {
            unigram::read(&root, &model, description, config.as_ref(), rows, &mut out)?;
            return Ok(out);
        }
        other => {
            let other = Shown(other);
            out.notes.push(format!(
                "tokenizers of the kind {other} are not carried over: the model has no tokenizer, and llama.cpp does not load a model without one"
            ));
            return Ok(out);
        }
    };
    let mut vocabulary = Vocabulary::read(&root, &model, description, config.as_ref(), rows)?;
    if let Some(types) =
        config.as_ref().and_then(|config| config.get("type_vocab_size")).filter(|_| kind == Model::WordPiece)
    {
        out.push("ggml.token_type_count", types.u32()?);
    }
    prefix_space(description, family, &mut out)?;
    let mut merges = None;
    match kind {
        Model::Bytes => {
            let renamed = family.map_or(&[][..], |family| family.pre_tokenizers);
            // The same rules under the name that llama.cpp has for them in this family.
            let own = |pre| renamed.iter().find(|(usual, _)| *usual == pre).map_or(pre, |(_, own)| *own);
            let pre = pre_tokenizer(&root)?.map(own);
            out.push("ggml.model", "gpt2");
            out.push("ggml.pre", pre.unwrap_or("default"));
            if pre.is_none() {
                out.notes.push("the pre-tokenizer is none that llama.cpp has a name for: tokenizer.ggml.pre is 'default'".to_owned());
            }
            merges = Some(read_merges(&model)?);
        }
        Model::Words => {
            out.push("ggml.model", "whitespace");
            out.push("ggml.pre", "whitespace");
            merges = Some(read_merges(&model)?);
        }
        Model::Characters => {
            out.push("ggml.model", "llama");
            out.push("ggml.pre", "default");
            vocabulary.mark_bytes_and_unknown(&model)?;
        }
        Model::WordPiece => {
            out.push("ggml.model", "bert");
            out.push("ggml.pre", if vocabulary.is_uncased_bert() { "jina-v2-en" } else { "bert-bge" });
            vocabulary.mark_word_starts();
            vocabulary.check_unique(&model.required("vocab")?)?;
        }
    }
    if kind == Model::Characters {
        let scores = scores(&vocabulary, &read_merges(&model)?);
        vocabulary.put(&mut out, Some(scores));
    } else {
        vocabulary.put(&mut out, None);
    }
    if let Some(merges) = merges {
        out.push(
            "ggml.merges",
            Array::String(merges.into_iter().map(|(left, right)| format!("{left} {right}").into()).collect()),
        );
    }
    special_tokens(description, &root, &mut out)?;
    known_prefix_space(family, &mut out);
    Ok(out)
}

/// What the tokenizer says of a space before a text, where llama.cpp's converter asks for it.
pub(super) fn prefix_space(
    description: &Description,
    family: Option<&Family>,
    out: &mut Tokenizer,
) -> Result<()> {
    if family.is_none_or(|family| family.has_prefix_space)
        && let Some(prefix) =
            description.tokenizer_config.as_ref().and_then(|config| config.root().get("add_prefix_space"))
    {
        out.push("ggml.add_space_prefix", prefix.bool()?);
    }
    Ok(())
}

/// What the family says of it.
pub(super) fn known_prefix_space(family: Option<&Family>, out: &mut Tokenizer) {
    if let Some(adds) = family.and_then(|family| family.adds_space_prefix) {
        out.push("ggml.add_space_prefix", adds);
    }
}

/// Whether tokens are merged by the scores of `tokenizer.model`, which is there.
fn is_of_pieces(description: &Description) -> bool {
    let Some(document) = &description.tokenizer else { return true };
    let model = document.root().get("model");
    let is = |key: &str| {
        model.as_ref().and_then(|model| model.get(key)).is_some_and(|flag| flag.value.as_bool() == Some(true))
    };
    is("byte_fallback") && !is("ignore_merges")
}

/// Tokens and their kinds, by id.
pub(super) struct Vocabulary {
    pub(super) tokens: Vec<String>,
    pub(super) kinds: Vec<i32>,
}

impl Vocabulary {
    fn read(
        root: &Node<'_>,
        model: &Node<'_>,
        description: &Description,
        config: Option<&Node<'_>>,
        rows: Option<(u64, &str)>,
    ) -> Result<Self> {
        let vocab = model.required("vocab")?;
        let Some(known) = vocab.value.as_object() else {
            return Err(vocab.wrong("must be an object of tokens and ids"));
        };
        let mut by_id: HashMap<u32, (String, i32)> = HashMap::new();
        for token in known.keys() {
            // Found again by its name, which may have dots.
            let id = Node::of_key(&vocab, token).u32()?;
            if let Some((other, _)) = by_id.insert(id, (token.clone(), kind::NORMAL)) {
                return Err(vocab.wrong(&format!(
                    "gives the id {id} to '{}' and to '{}'",
                    Shown(&other),
                    Shown(token)
                )));
            }
        }
        for (id, content, special) in added_tokens(root, description)? {
            by_id.insert(id, added(content, special));
        }
        Self::of(by_id, &vocab, config, rows)
    }

    /// Of tokens by their ids, which `vocab` has, with others for the rows that none has.
    pub(super) fn of(
        mut by_id: HashMap<u32, (String, i32)>,
        vocab: &Node<'_>,
        config: Option<&Node<'_>>,
        rows: Option<(u64, &str)>,
    ) -> Result<Self> {
        let least = by_id.keys().max().map_or(0, |&id| id as usize + 1);
        let size = config.and_then(|config| config.get("vocab_size"));
        let len = match (rows, size) {
            (Some((rows, name)), size) => {
                if least as u64 > rows {
                    let size = match size {
                        Some(size) => format!(" ('vocab_size' of config.json is {})", size.u32()?),
                        None => String::new(),
                    };
                    return Err(vocab.about(&format!(
                        "the tokens have ids up to {}, and tensor '{}' has {rows} rows{size}: the tokenizer is of another model, or the \
                         model was not resized for the tokens that were added (resize_token_embeddings). Take the tokenizer that \
                         belongs to the weights",
                        least - 1,
                        Shown(name)
                    )));
                }
                rows as usize
            }
            (None, Some(size)) if (size.u32()? as usize) < least => {
                return Err(size.wrong(&format!(
                    "is {}, and the tokens of tokenizer.json have ids up to {}: one of the two is of another model",
                    size.u32()?,
                    least - 1
                )));
            }
            (None, Some(size)) => size.u32()? as usize,
            (None, None) => least,
        };
        if len > 2 * by_id.len() + MAX_PADDING {
            return Err(vocab.wrong(&format!("has {} tokens, and {len} ids are far more", by_id.len())));
        }
        let pad = |id: u32| (format!("[PAD{id}]"), kind::UNUSED);
        let (tokens, kinds) = (0..len as u32).map(|id| by_id.remove(&id).unwrap_or_else(|| pad(id))).unzip();
        let vocabulary = Vocabulary { tokens, kinds };
        vocabulary.check_unique(vocab)?;
        Ok(vocabulary)
    }

    /// Refuses a text with two ids, with which llama.cpp ends. It gives those without a text names of their own.
    fn check_unique(&self, vocab: &Node<'_>) -> Result<()> {
        let mut ids = HashMap::with_capacity(self.tokens.len());
        for (id, token) in self.tokens.iter().enumerate().filter(|(_, token)| !token.is_empty()) {
            if let Some(first) = ids.insert(token, id) {
                return Err(vocab.about(&format!(
                    "the token '{}' has the ids {first} and {id}, and llama.cpp loads no vocabulary with a text twice: give one of \
                     them another text",
                    Shown(token)
                )));
            }
        }
        Ok(())
    }

    /// Words begin with a mark in llama.cpp, where WordPiece marks what goes on.
    fn mark_word_starts(&mut self) {
        for (token, &kind) in self.tokens.iter_mut().zip(&self.kinds) {
            if kind != kind::CONTROL {
                *token = match token.strip_prefix("##") {
                    Some(rest) => rest.to_owned(),
                    None => format!("\u{2581}{token}"),
                };
            }
        }
    }

    /// Whether this is the vocabulary of `bert-base-uncased`, that most embedding models have and whose name llama.cpp takes
    /// from another model.
    fn is_uncased_bert(&self) -> bool {
        let at = |id: usize| self.tokens.get(id).map(String::as_str);
        self.tokens.len() == 30_522 && at(101) == Some("[CLS]") && at(1996) == Some("the")
    }

    fn mark_bytes_and_unknown(&mut self, model: &Node<'_>) -> Result<()> {
        let unknown = model.get("unk_token").map(|token| token.str()).transpose()?;
        for (token, kind) in self.tokens.iter().zip(&mut self.kinds) {
            let hex = token.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
            if hex.is_some_and(|hex| hex.len() == 2 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())) {
                *kind = kind::BYTE;
            } else if unknown == Some(token) && *kind == kind::NORMAL {
                *kind = kind::UNKNOWN;
            }
        }
        Ok(())
    }

    pub(super) fn put(self, out: &mut Tokenizer, scores: Option<Vec<f32>>) {
        out.push("ggml.tokens", Array::String(self.tokens.into_iter().map(String::into_bytes).collect()));
        if let Some(scores) = scores {
            out.push("ggml.scores", scores);
        }
        out.push("ggml.token_type", self.kinds);
    }
}

/// A token that was added, and its kind.
pub(super) fn added(content: String, special: bool) -> (String, i32) {
    match special || looks_special(&content) {
        true => (content, kind::CONTROL),
        false => (content.replace('\u{2581}', " "), kind::USER_DEFINED),
    }
}

/// Id, text, and whether it is a control token, of tokens beside the vocabulary.
pub(super) fn added_tokens(root: &Node<'_>, description: &Description) -> Result<Vec<(u32, String, bool)>> {
    let special = |token: &Node<'_>| token.get("special").map_or(Ok(false), |special| special.bool());
    let mut tokens = Vec::new();
    if let Some(config) = &description.tokenizer_config
        && let Some(decoder) = config.root().get("added_tokens_decoder")
        && let Some(entries) = decoder.value.as_object()
    {
        for id in entries.keys() {
            let token = Node::of_key(&decoder, id);
            let id = id.parse().map_err(|_| decoder.wrong("must have ids as its keys"))?;
            tokens.push((id, token.required("content")?.str()?.to_owned(), special(&token)?));
        }
    }
    // Last, so that what the tokenizer itself says counts.
    if let Some(added) = root.get("added_tokens") {
        for token in added.array()? {
            let id = token.required("id")?.u32()?;
            tokens.push((id, token.required("content")?.str()?.to_owned(), special(&token)?));
        }
    }
    Ok(tokens)
}

/// Tokens that some models forget to declare as special.
fn looks_special(token: &str) -> bool {
    let within = |start: &str, end: &str| token.starts_with(start) && token.ends_with(end);
    matches!(token, "<pad>" | "<mask>" | "<2mass>" | "[@BOS@]")
        || within("<|", "|>")
        || within("<\u{ff5c}", "\u{ff5c}>")
        || within("<unused", ">")
}

/// Pairs in their order; spaces inside a part are written as the encoding of bytes writes them.
fn read_merges(model: &Node<'_>) -> Result<Vec<(String, String)>> {
    let Some(merges) = model.get("merges") else { return Ok(Vec::new()) };
    let pair = |merge: Node<'_>| -> Result<(String, String)> {
        if merge.value.is_string() {
            let (left, right) = merge
                .str()?
                .split_once(' ')
                .ok_or_else(|| merge.wrong("must be two parts with a space between"))?;
            return Ok((left.to_owned(), right.to_owned()));
        }
        let parts: Vec<_> = merge
            .array()?
            .map(|part| part.str().map(|part| part.replace(' ', "\u{120}")))
            .collect::<Result<_>>()?;
        match <[String; 2]>::try_from(parts) {
            Ok([left, right]) => Ok((left, right)),
            Err(_) => Err(merge.wrong("must be two parts")),
        }
    };
    merges.array()?.map(pair).collect()
}

/// What llama.cpp merges by: the sooner a pair is merged, the greater the score of what it makes.
///
/// Hugging Face's files have no scores; the converter of llama.cpp gives all tokens the same, and its merges come in
/// another order than the model learnt.
fn scores(vocabulary: &Vocabulary, merges: &[(String, String)]) -> Vec<f32> {
    let mut ranks: HashMap<String, usize> = HashMap::new();
    for (rank, (left, right)) in merges.iter().enumerate() {
        ranks.entry(format!("{left}{right}")).or_insert(rank);
    }
    let worst = -(merges.len() as f32);
    vocabulary.tokens.iter().map(|token| ranks.get(token).map_or(worst, |&rank| -(rank as f32))).collect()
}
