//! The pairs that byte-pair encoding merges, in their order.

use std::collections::{HashMap, HashSet};

use serde_json::{Value as Json, json};

use super::super::tokenizer::kind;
use super::vocabulary::Vocabulary;
use crate::error::Result;

/// Pairs of tokens, in their order.
pub(super) type Merges<'a> = Vec<(&'a str, &'a str)>;

/// As `tokenizer.json` has them: each a text with a space between, or, where a token has a space itself, an array of two.
pub(super) fn json(merges: &Merges<'_>) -> Json {
    match merges.iter().any(|(left, right)| left.contains(' ') || right.contains(' ')) {
        true => merges.iter().map(|(left, right)| json!([left, right])).collect(),
        false => merges.iter().map(|(left, right)| format!("{left} {right}")).collect(),
    }
}

/// Pairs of a list in the metadata, where two parts have a space between. Those of which a part, or what they make, is no token are
/// left out, since the tokenizers library refuses them. A pair that comes again is merged when it comes first.
pub(super) fn listed<'a>(
    vocabulary: &Vocabulary<'a>,
    tokens: &HashMap<String, usize>,
    notes: &mut Vec<String>,
) -> Result<Merges<'a>> {
    let (mut merges, mut seen, mut unknown) = (Vec::new(), HashSet::new(), 0);
    for merge in vocabulary.metadata.require_array::<&str>("tokenizer.ggml.merges")? {
        let merge = merge?;
        // A part may begin with a space.
        let first = merge.chars().next().map_or(0, char::len_utf8);
        let Some(at) = merge.get(first..).and_then(|rest| rest.find(' ')).map(|at| first + at) else {
            unknown += 1;
            continue;
        };
        let (left, right) = (&merge[..at], &merge[at + 1..]);
        let known = |token: &str| !token.is_empty() && tokens.contains_key(token);
        if !(known(left) && known(right) && known(&format!("{left}{right}"))) {
            unknown += 1;
        } else if seen.insert((left, right)) {
            merges.push((left, right));
        }
    }
    if unknown > 0 {
        let (are, their) = if unknown == 1 { ("merge is", "it") } else { ("merges are", "they") };
        notes.push(format!(
            "{unknown} {are} not in tokenizer.json: a part, or what {their} would make, is no token of the vocabulary"
        ));
    }
    Ok(merges)
}

/// The longest token that is taken for one made of others: none that is in use is near it.
const MAX_BYTES: usize = 512;

/// Pairs of tokens that make a token, the greater its score the sooner: what llama.cpp and SentencePiece merge first. Where scores
/// are the same, the token with the smaller id comes first.
pub(super) fn by_score<'a>(vocabulary: &Vocabulary<'a>, scores: &[f32]) -> Merges<'a> {
    let merged = |id: &usize| {
        matches!(vocabulary.kinds[*id], kind::NORMAL | kind::UNUSED)
            && vocabulary.tokens[*id].len() <= MAX_BYTES
    };
    let ids: Vec<usize> = vocabulary.ids().filter(merged).collect();
    let tokens: HashMap<&str, usize> = ids.iter().map(|&id| (vocabulary.tokens[id], id)).collect();
    let mut pairs = Vec::new();
    for id in ids {
        let token = vocabulary.tokens[id];
        for (at, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(at);
            if tokens.contains_key(left) && tokens.contains_key(right) && !token.contains(' ') {
                pairs.push((id, at));
            }
        }
    }
    pairs.sort_by(|(a, at_a), (b, at_b)| {
        scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)).then(at_a.cmp(at_b))
    });
    pairs.into_iter().map(|(id, at)| vocabulary.tokens[id].split_at(at)).collect()
}
