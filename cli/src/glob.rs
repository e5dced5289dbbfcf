//! Patterns of names: `*` for any characters, `?` for one.

use std::collections::BTreeSet;

use gguf_codec::model::nearest_names;

/// Whether an argument is a pattern rather than a name.
pub(crate) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// Whether the whole name matches the pattern.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<_>, Vec<_>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut reached) = (0, 0);
    // The position after the last `*`, and the first character that it has not consumed.
    let mut again: Option<(usize, usize)> = None;
    while reached < name.len() {
        match pattern.get(at) {
            Some('*') => {
                at += 1;
                again = Some((at, reached));
            }
            Some(&character) if character == '?' || character == name[reached] => {
                at += 1;
                reached += 1;
            }
            _ => {
                let Some((star, taken)) = again else { return false };
                again = Some((star, taken + 1));
                (at, reached) = (star, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(|&character| character == '*')
}

/// A suggestion for a pattern or a name without a match: the end of a message, or an empty string.
pub(crate) fn is_it<'a>(pattern: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    // Layers are alike, so one of them represents all.
    let alike = |name: &str| {
        let parts = name.split('.').map(|part| if part.parse::<u32>().is_ok() { "*" } else { part });
        parts.collect::<Vec<_>>().join(".")
    };
    let tail = |name: &str| name.rsplit_once("*.").map_or(name, |(_, tail)| tail).to_owned();
    let names: Vec<&str> = names.into_iter().collect();
    let mut near = Vec::new();
    let is_long = pattern.trim_matches('*').len() > 3;
    if is_pattern(pattern) && is_long {
        let patterns: BTreeSet<String> = names.iter().map(|name| alike(name)).collect();
        let tails: Vec<String> = patterns.iter().map(|pattern| tail(pattern)).collect();
        near = nearest_names(&tail(pattern), tails.iter().map(String::as_str));
        near.dedup();
        let whole =
            |near: &String| patterns.iter().zip(&tails).find(|(_, tail)| *tail == near).map(|(name, _)| name);
        near = near.iter().filter_map(whole).cloned().collect();
    }
    // The beginning of a name, or a part of names, is no name itself.
    let begins = |name: &&&str| name.strip_prefix(pattern).is_some_and(|rest| rest.starts_with('.'));
    let beginning: Vec<_> = names.iter().filter(begins).collect();
    if near.is_empty() && !pattern.is_empty() && !beginning.is_empty() {
        near = match beginning.as_slice() {
            [one] => vec![(**one).to_owned()],
            _ => vec![format!("{pattern}.*")],
        };
    }
    if near.is_empty() {
        near.extend(having(pattern, &names));
    }
    if near.is_empty() {
        near = nearest_names(pattern, names.iter().copied());
    }
    if near.is_empty() && is_long && !pattern.contains('.') {
        let parts: BTreeSet<&str> = names.iter().flat_map(|name| name.split('.')).collect();
        let parts = nearest_names(pattern.trim_matches('*'), parts);
        near.extend(parts.iter().filter_map(|part| having(part, &names)));
    }
    suggested(&near)
}

/// [`is_it`] for an expression that matches parts of names.
pub(crate) fn is_it_within<'a>(pattern: &str, names: impl IntoIterator<Item = &'a str> + Clone) -> String {
    let parts: BTreeSet<&str> = names.clone().into_iter().flat_map(|name| name.split('.')).collect();
    match nearest_names(pattern, parts) {
        near if near.is_empty() || pattern.len() <= 3 => is_it(pattern, names),
        near => suggested(&near),
    }
}

fn suggested(near: &[String]) -> String {
    let near: Vec<_> = near.iter().map(|name| format!("'{}'", name.escape_debug())).collect();
    if near.is_empty() { String::new() } else { format!("; is it {}?", near.join(" or ")) }
}

/// The only name with this part between its dots, or a pattern that matches those that have it.
fn having(part: &str, names: &[&str]) -> Option<String> {
    let having: Vec<_> = names.iter().filter(|name| name.split('.').any(|one| one == part)).collect();
    let dotted = format!(".{part}");
    match having.as_slice() {
        [] => None,
        [one] => Some((**one).to_owned()),
        several if several.iter().all(|name| name.ends_with(&dotted)) => Some(format!("*{dotted}")),
        _ => Some(format!("*{dotted}.*")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_found_by_layers_that_are_alike() {
        let names = ["blk.0.attn_q.weight", "blk.1.attn_q.weight", "blk.0.ffn_up.weight", "output.weight"];
        assert_eq!(is_it("*.atn_q.weight", names), "; is it 'blk.*.attn_q.weight'?");
        assert_eq!(is_it("blk.*.ffn_pu.weight", names), "; is it 'blk.*.ffn_up.weight'?");
        assert_eq!(is_it("ffn_pu", names), "; is it 'blk.0.ffn_up.weight'?");
        assert_eq!(is_it("output.wieght", names), "; is it 'output.weight'?");
        assert_eq!(is_it("attn_q", names), "; is it '*.attn_q.*'?");
        assert_eq!(is_it("blk.0", names), "; is it 'blk.0.*'?");
        assert_eq!(is_it("output", names), "; is it 'output.weight'?");
        assert_eq!(is_it_within("ffn_pu", names), "; is it 'ffn_up'?");
        assert_eq!(is_it_within("output.wieght", names), "; is it 'output.weight'?");
        assert_eq!(is_it("ffn_up", names), "; is it 'blk.0.ffn_up.weight'?");
        assert_eq!(is_it("weight", names), "; is it '*.weight'?");
        assert_eq!(is_it("*.nothing_like_it.at_all", names), "");
    }

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name, expected) in [
            ("", "", true),
            ("*", "", true),
            ("a", "ab", false),
            ("a*", "ab", true),
            ("*.attn_?.weight", "blk.10.attn_q.weight", true),
            ("*.attn_?.weight", "blk.10.attn_qkv.weight", false),
            ("a*b*c", "abbbcbc", true),
            ("a*b*c", "abbbcb", false),
            ("?", "é", true),
            ("?", "", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
