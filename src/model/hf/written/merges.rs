//! The pairs that byte-pair encoding merges, in their order.

use std::collections::HashMap;

use super::super::tokenizer::kind;
use super::vocabulary::Vocabulary;
use crate::error::Result;

/// Pairs of a list in the metadata, as it writes them: two parts with a space between. Those of which a part, or what they make, is
/// no token are left out, since the tokenizers library refuses them.
pub(super) fn listed(vocabulary: &Vocabulary<'_>, tokens: &HashMap<String, usize>) -> Result<Vec<String>> {
    let mut merges = Vec::new();
    for merge in vocabulary.metadata.require_array::<&str>("tokenizer.ggml.merges")? {
        let merge = merge?;
        // A part may begin with a space.
        let first = merge.chars().next().map_or(0, char::len_utf8);
        let Some(at) = merge.get(first..).and_then(|rest| rest.find(' ')).map(|at| first + at) else {
            continue;
        };
        let (left, right) = (&merge[..at], &merge[at + 1..]);
        let known = |token: &str| tokens.contains_key(token);
        if known(left) && known(right) && known(&format!("{left}{right}")) {
            merges.push(merge.to_owned());
        }
    }
    Ok(merges)
}

/// The longest token that is taken for one made of others: none that is in use is near it.
const MAX_BYTES: usize = 512;

/// Pairs of tokens that make a token, the greater its score the sooner: what llama.cpp and SentencePiece merge first. Where scores
/// are the same, the token with the smaller id comes first.
pub(super) fn by_score(vocabulary: &Vocabulary<'_>, scores: &[f32]) -> Vec<String> {
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
    let written = |(id, at): (usize, usize)| {
        let (left, right) = vocabulary.tokens[id].split_at(at);
        format!("{left} {right}")
    };
    pairs.into_iter().map(written).collect()
}
