//! Types for tensors by patterns of their names: `PATTERN=TYPE`, as in llama.cpp's `--tensor-type`.

use std::fmt;

use anyhow::{Context, Result, anyhow, bail};
use gguf_codec::GgmlType;
use regex_lite::Regex;

use crate::glob;

/// A pattern of names.
#[derive(Debug, Clone)]
enum Pattern {
    /// A regular expression that is found anywhere in the name, as llama.cpp has it.
    Regex(Regex),
    /// A pattern of the whole name with `*` and `?`, as elsewhere in this program. It begins with one of them, which no regular
    /// expression does.
    Glob(String),
}

impl Pattern {
    fn matches(&self, name: &str) -> bool {
        match self {
            Pattern::Regex(regex) => regex.is_match(name),
            Pattern::Glob(pattern) => glob::matches(pattern, name),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::Regex(regex) => f.write_str(regex.as_str()),
            Pattern::Glob(pattern) => f.write_str(pattern),
        }
    }
}

/// A pattern and the type of what matches it.
#[derive(Debug, Clone)]
pub(crate) struct TensorType {
    pattern: Pattern,
    ty: GgmlType,
}

/// Parses `PATTERN=TYPE`.
pub(crate) fn tensor_type(argument: &str) -> Result<TensorType> {
    let (text, ty) = argument.rsplit_once('=').context("write it as PATTERN=TYPE")?;
    let pattern = match text.starts_with(['*', '?']) {
        true => Pattern::Glob(text.to_owned()),
        false => Pattern::Regex(Regex::new(text).map_err(|error| {
            anyhow!("'{text}' is no regular expression, as attn_v and ffn_.*_exps are: {error}")
        })?),
    };
    Ok(TensorType { pattern, ty: ty.parse()? })
}

/// The type for a name: that of the first pattern that matches.
pub(crate) fn by_name(types: &[TensorType]) -> impl Fn(&str) -> Option<GgmlType> + Sync {
    |name| types.iter().find(|one| one.pattern.matches(name)).map(|one| one.ty)
}

/// Fails where a pattern matches no tensor, with what was probably meant.
pub(crate) fn check<'n>(
    option: &str,
    types: &[TensorType],
    names: impl Iterator<Item = &'n str> + Clone,
) -> Result<()> {
    for TensorType { pattern, .. } in types {
        if names.clone().any(|name| pattern.matches(name)) {
            continue;
        }
        let text = pattern.to_string();
        let is_it = match names.clone().any(|name| glob::matches(&text, name)) {
            true => format!(
                "; is it '{}'? A pattern is a regular expression here, unless it begins with *",
                as_regex(&text)
            ),
            false => glob::is_it_within(&text, names),
        };
        bail!("{option} '{pattern}' matches no tensor{is_it}");
    }
    Ok(())
}

/// The regular expression for what a pattern of whole names matches.
fn as_regex(glob: &str) -> String {
    let mut regex = String::from("^");
    for character in glob.chars() {
        match character {
            '*' => regex.push_str(".*"),
            '?' => regex.push('.'),
            '_' | '-' => regex.push(character),
            other if other.is_alphanumeric() => regex.push(other),
            other => regex.extend(['\\', other]),
        }
    }
    regex + "$"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_llama_cpp_or_of_whole_names() {
        let names = ["blk.0.attn_v.weight", "blk.10.attn_v.weight", "output.weight"];
        for (pattern, matching) in [
            ("attn_v", &[0, 1][..]),
            (r"blk\.\d\.attn", &[0]),
            ("blk.*.attn_v.weight", &[0, 1]),
            ("*.attn_v.weight", &[0, 1]),
            ("*attn_v", &[]),
            ("?utput.weight", &[2]),
            ("^output", &[2]),
        ] {
            let types = [tensor_type(&format!("{pattern}=Q4_0")).unwrap()];
            let by_name = by_name(&types);
            let found: Vec<_> = (0..3).filter(|&index| by_name(names[index]).is_some()).collect();
            assert_eq!(found, matching, "{pattern}");
        }
    }

    #[test]
    fn a_pattern_that_was_meant_for_whole_names_is_told_as_an_expression() {
        let types = [tensor_type("blk.?.attn_v.weight=Q4_0").unwrap()];
        let names = ["blk.0.attn_v.weight"];
        let error = check("--fix", &types, names.into_iter()).unwrap_err().to_string();
        let regex = r"^blk\..\.attn_v\.weight$";
        assert!(error.contains(&format!("matches no tensor; is it '{regex}'?")), "{error}");
        check("--fix", &[tensor_type(&format!("{regex}=Q4_0")).unwrap()], names.into_iter()).unwrap();
    }
}
