//! [`tokenizer_json`]: what the tokenizers library reads.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value as Json, json};

use super::super::pre_tokenizer::{Named, lines, named};
use super::super::tokenizer::kind;
use super::merges;
use super::template::Template;
use super::vocabulary::{MODEL, Model, SPACE, TOKENS, Vocabulary};
use crate::error::{Error, Result, Shown};
use crate::gguf::metadata::Metadata;

const PRE: &str = "tokenizer.ggml.pre";
/// Rules of models whose own tokenizers have a normalizer: those of Qwen.
const NORMALIZED: [&str; 2] = ["qwen2", "qwen35"];

/// Returns the text of a `tokenizer.json` for the tokenizer of a GGUF, which the tokenizers library reads and which gives a text
/// the ids that llama.cpp gives it.
///
/// `tokenizer.ggml.model` may be `gpt2` with any `tokenizer.ggml.pre` whose rules such a file can have, `llama`, `bert`, `t5`,
/// `gemma4` or `whitespace`. The pairs that a `llama` vocabulary merges follow from its scores; where scores are the same, the token with the
/// smaller id comes first, and llama.cpp takes the pair that is first in the text.
///
/// ```no_run
/// use gguf_codec::{Gguf, model::hf};
/// let model = Gguf::read("model.gguf")?;
/// std::fs::write("tokenizer.json", hf::tokenizer_json(&model.metadata())?).unwrap();
/// # Ok::<(), gguf_codec::Error>(())
/// ```
///
/// # Errors
/// [`Error::MissingKey`] where there are no tokens, or no merges or scores where the model needs them; [`Error::WrongValue`] where the
/// model or `tokenizer.ggml.pre` is one that the file cannot have, arrays differ in length, or there is no unknown token where the library
/// needs one (`bert`, `t5`); [`Error::WrongElement`] where a token is not UTF-8 or occurs twice, or a score is not finite.
pub fn tokenizer_json(metadata: &Metadata<'_>) -> Result<String> {
    written(*metadata, &mut Vec::new())
}

/// The same, and what of the metadata is left out.
pub(super) fn written(metadata: Metadata<'_>, notes: &mut Vec<String>) -> Result<String> {
    let vocabulary = Vocabulary::read(metadata)?;
    let unknown = vocabulary.kinds.iter().filter(|kind| !kind::ALL.contains(kind)).count();
    if unknown > 0 {
        let (have, their) =
            if unknown == 1 { ("token has a type", "is") } else { ("tokens have types", "are") };
        notes.push(format!("{unknown} {have} in 'tokenizer.ggml.token_type' that {their} unknown, and count as normal: 0 to 6 are known"));
    }
    let pre = pre(&vocabulary)?;
    if vocabulary.metadata.optional::<&str>(PRE)?.is_some_and(|name| NORMALIZED.contains(&name)) {
        let note = "tokenizer.json has no normalizer: that of Qwen's models, which makes texts NFC, has no place in a GGUF";
        notes.push(note.to_owned());
    }
    let [normalizer, pre_tokenizer, decoder] = steps(&vocabulary, pre.as_ref())?;
    let template = Template::of(&vocabulary, pre.as_ref())?.json();
    let root = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added(&vocabulary)?,
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": template,
        "decoder": decoder,
        "model": model(&vocabulary, pre.as_ref(), notes)?,
    });
    serde_json::to_string_pretty(&root).map_err(|error| Error::write(format!("tokenizer.json: {error}")))
}

/// What the name of the rules stands for, of a vocabulary that has such.
fn pre(vocabulary: &Vocabulary<'_>) -> Result<Option<Named>> {
    if vocabulary.model != Model::Bytes {
        return Ok(None);
    }
    let name = vocabulary.metadata.optional::<&str>(PRE)?.unwrap_or("default");
    match named(name) {
        Some(named) => Ok(Some(named)),
        None => Err(Error::WrongValue {
            key: PRE.to_owned(),
            found: format!("'{}'", Shown(name)),
            wanted: "the name of rules that tokenizer.json can have".to_owned(),
        }),
    }
}

/// The normalizer, the pre-tokenizer and the decoder.
fn steps(vocabulary: &Vocabulary<'_>, pre: Option<&Named>) -> Result<[Json; 3]> {
    let spaces = || json!({"type": "Replace", "pattern": {"String": " "}, "content": SPACE});
    let decoded = json!({"type": "Replace", "pattern": {"String": SPACE}, "content": " "});
    let mut decoders = vec![decoded, json!({"type": "ByteFallback"}), json!({"type": "Fuse"})];
    let adds_space = vocabulary.adds_space()?;
    Ok(match vocabulary.model {
        Model::Bytes => {
            let decoder = json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true});
            [Json::Null, pre.map_or(Json::Null, |pre| pre.pre_tokenizer.clone()), decoder]
        }
        Model::Scores | Model::Characters => {
            let normalizer = match adds_space {
                true => {
                    decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
                    let prepend = json!({"type": "Prepend", "prepend": SPACE});
                    json!({"type": "Sequence", "normalizers": [prepend, spaces()]})
                }
                false => spaces(),
            };
            let cut = if vocabulary.model == Model::Characters { lines() } else { Json::Null };
            [normalizer, cut, json!({"type": "Sequence", "decoders": decoders})]
        }
        Model::Words => {
            let lowercase = vocabulary.flag("normalizer.lowercase")?.unwrap_or(false);
            let normalizer = if lowercase { json!({"type": "Lowercase"}) } else { Json::Null };
            [
                normalizer,
                json!({"type": "WhitespaceSplit"}),
                json!({"type": "Sequence", "decoders": decoders.split_off(1)}),
            ]
        }
        Model::WordPiece => {
            let lowercase = vocabulary.flag("normalizer.lowercase")?.unwrap_or(true);
            let strips = vocabulary.flag("normalizer.strip_accents")?;
            let normalizer = json!({"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                "strip_accents": strips, "lowercase": lowercase});
            let decoder = json!({"type": "WordPiece", "prefix": "##", "cleanup": true});
            [normalizer, json!({"type": "BertPreTokenizer"}), decoder]
        }
        Model::Unigram => {
            let map = vocabulary.metadata.optional_array::<u8>("tokenizer.ggml.precompiled_charsmap");
            let map = match map? {
                Some(map) => map.collect::<Result<Vec<u8>>>()?,
                None => Vec::new(),
            };
            let normalizer = match &map[..] {
                [] => Json::Null,
                map => json!({"type": "Precompiled", "precompiled_charsmap": STANDARD.encode(map)}),
            };
            let joins = vocabulary.flag("remove_extra_whitespaces")?.unwrap_or(false);
            let scheme = if adds_space || joins { "always" } else { "never" };
            let marks =
                json!({"type": "Metaspace", "replacement": SPACE, "prepend_scheme": scheme, "split": true});
            let cut = json!({"type": "WhitespaceSplit"});
            let pre_tokenizer = match joins {
                true => json!({"type": "Sequence", "pretokenizers": [cut, marks.clone()]}),
                false => marks.clone(),
            };
            [normalizer, pre_tokenizer, marks]
        }
    })
}

/// Tokens that are found in a text before it is cut, and around which some take spaces away.
fn added(vocabulary: &Vocabulary<'_>) -> Result<Vec<Json>> {
    let metadata = vocabulary.metadata;
    let name = metadata.optional::<&str>("general.name").ok().flatten().unwrap_or_default().to_lowercase();
    let pre = metadata.optional::<&str>(PRE)?.unwrap_or_default();
    let architecture = metadata.architecture().unwrap_or_default();
    // llama.cpp goes by names.
    let is_phi3 = name.contains("phi-3") || name.contains("phi3");
    let is_jina = ["jina-v2-de", "jina-v2-es", "jina-v2-code"].contains(&pre)
        || ["nomic-bert-moe", "jina-bert-v3"].contains(&architecture);
    let is_modern = name.contains("modern-bert");
    let token = |id: usize| {
        let text = vocabulary.text(id);
        let text = match vocabulary.model {
            // It is not within a word.
            Model::WordPiece => text.trim_start_matches("##").to_owned(),
            _ => text,
        };
        let strips_left = is_jina && text == "<mask>" || is_modern && text == "[MASK]";
        let strips_right = is_phi3 && !matches!(text.as_str(), "<unk>" | "<s>" | "<|endoftext|>");
        json!({"id": id, "content": text, "single_word": false, "lstrip": strips_left, "rstrip": strips_right,
            "normalized": false, "special": vocabulary.kinds[id] != kind::USER_DEFINED})
    };
    let is_added =
        |id: &usize| matches!(vocabulary.kinds[*id], kind::CONTROL | kind::USER_DEFINED | kind::UNKNOWN);
    Ok(vocabulary.ids().filter(is_added).map(token).collect())
}

fn model(vocabulary: &Vocabulary<'_>, pre: Option<&Named>, notes: &mut Vec<String>) -> Result<Json> {
    let unknown = vocabulary.special("unknown")?;
    let tokens = vocabulary.by_text()?;
    let merges = match vocabulary.model {
        Model::Bytes | Model::Characters | Model::Words => merges::listed(vocabulary, &tokens, notes)?,
        Model::Scores => merges::by_score(vocabulary, &scores(vocabulary)?),
        Model::WordPiece => {
            let unknown = unknown.map_or_else(|| "[UNK]".to_owned(), |unknown| unknown.text);
            if !tokens.contains_key(&unknown) {
                return Err(lacks_unknown(&format!("without the unknown token '{}'", Shown(&unknown))));
            }
            return Ok(json!({"type": "WordPiece", "unk_token": unknown, "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100, "vocab": ids(tokens)}));
        }
        Model::Unigram => {
            let scores = scores(vocabulary)?;
            // Those that end the vocabulary and fill rows are left out.
            let len = vocabulary.ids().last().map_or(0, |last| last + 1);
            let Some(unknown) = unknown else { return Err(lacks_unknown("without an unknown token")) };
            let piece = |id: usize| json!([vocabulary.tokens[id], f64::from(scores[id])]);
            let has_bytes = vocabulary.kinds.contains(&kind::BYTE);
            let pieces: Vec<Json> = (0..len).map(piece).collect();
            return Ok(json!({"type": "Unigram", "unk_id": unknown.id, "vocab": pieces,
                "byte_fallback": has_bytes}));
        }
    };
    let is_of_bytes = vocabulary.model == Model::Bytes;
    Ok(json!({
        "type": "BPE",
        "dropout": null,
        "unk_token": unknown.filter(|_| !is_of_bytes).map(|unknown| unknown.text),
        "continuing_subword_prefix": null,
        "end_of_word_suffix": null,
        "fuse_unk": !is_of_bytes && vocabulary.model != Model::Words,
        "byte_fallback": !is_of_bytes,
        "ignore_merges": pre.is_some_and(|pre| pre.ignores_merges),
        "vocab": ids(tokens),
        "merges": merges::json(&merges),
    }))
}

/// The tokenizers library does not load such a file, or gives errors for texts.
fn lacks_unknown(found: &str) -> Error {
    Error::WrongValue {
        key: TOKENS.to_owned(),
        found: found.to_owned(),
        wanted: "a vocabulary with the one of 'tokenizer.ggml.unknown_token_id'".to_owned(),
    }
}

fn ids(tokens: std::collections::HashMap<String, usize>) -> Map<String, Json> {
    let mut tokens: Vec<_> = tokens.into_iter().collect();
    tokens.sort_by_key(|(_, id)| *id);
    tokens.into_iter().map(|(token, id)| (token, id.into())).collect()
}

/// A score for each token.
fn scores(vocabulary: &Vocabulary<'_>) -> Result<Vec<f32>> {
    const KEY: &str = "tokenizer.ggml.scores";
    if !vocabulary.metadata.contains(KEY) {
        let key = vocabulary.metadata.optional::<&str>(MODEL)?.unwrap_or_default();
        return Err(Error::WrongValue {
            key: MODEL.to_owned(),
            found: format!("'{}' without '{KEY}'", Shown(key)),
            wanted: "a vocabulary with scores".to_owned(),
        });
    }
    let scores: Vec<f32> = vocabulary.metadata.require(KEY)?;
    vocabulary.same_length(KEY, scores.len())?;
    match scores.iter().position(|score| !score.is_finite()) {
        None => Ok(scores),
        Some(index) => Err(Error::WrongElement {
            key: Some(KEY.to_owned()),
            index: index as u64,
            found: scores[index].to_string(),
            wanted: "a finite score".to_owned(),
        }),
    }
}
