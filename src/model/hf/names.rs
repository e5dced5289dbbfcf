//! [`NameMap`]: what tensors are called here and there.

use std::str::FromStr;

use crate::error::{Error, Result, Shown};

/// What becomes of a tensor's name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a tensor is there or not")]
pub enum Renamed {
    /// It is called this in the other file.
    To(String),
    /// It has no place in the other file.
    LeftOut,
}

/// Names of tensors in models of Hugging Face beside those in GGUF, to be read in both directions.
///
/// As text a line holds two patterns, the name in safetensors and the name in GGUF. `{}` stands for a number, `*` at the end
/// for the rest of the name, whatever it is; both are the same on both sides. `-` on the right leaves the tensor out. The
/// first line that fits decides. `#` begins a comment.
///
/// ```
/// use gguf_codec::model::hf::{NameMap, Renamed};
/// let map: NameMap = "
///     model.layers.{}.mlp.up_proj.*   blk.{}.ffn_up.*   # weight and bias
///     model.layers.{}.rotary_emb.*    -
/// ".parse()?;
/// assert_eq!(map.to_gguf("model.layers.7.mlp.up_proj.bias"), Some(Renamed::To("blk.7.ffn_up.bias".into())));
/// assert_eq!(map.to_gguf("model.layers.7.rotary_emb.inv_freq"), Some(Renamed::LeftOut));
/// assert_eq!(map.to_hf("blk.12.ffn_up.weight").as_deref(), Some("model.layers.12.mlp.up_proj.weight"));
/// # Ok::<(), gguf_codec::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameMap {
    rules: Vec<(String, String)>,
}

const LEFT_OUT: &str = "-";

impl NameMap {
    /// The name in GGUF, or `None` where no line fits.
    pub fn to_gguf(&self, name: &str) -> Option<Renamed> {
        self.rules.iter().find_map(|(hf, gguf)| {
            let parts = matches(hf, name)?;
            Some(if gguf == LEFT_OUT { Renamed::LeftOut } else { Renamed::To(fill(gguf, &parts)) })
        })
    }

    /// The name in safetensors, or `None` where no line fits.
    pub fn to_hf(&self, name: &str) -> Option<String> {
        let mut rules = self.rules.iter().filter(|(_, gguf)| gguf != LEFT_OUT);
        rules.find_map(|(hf, gguf)| matches(gguf, name).map(|parts| fill(hf, &parts)))
    }
}

impl FromStr for NameMap {
    type Err = Error;

    /// # Errors
    /// [`Error::Write`], naming the line, where it does not hold two patterns with the same placeholders.
    fn from_str(text: &str) -> Result<Self> {
        let mut rules = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            let wrong = |problem: &str| {
                let shown = line.trim().chars().take(100).collect::<String>();
                Error::write(format!("line {} of the names, '{}', {problem}", index + 1, Shown(&shown)))
            };
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                [] => {}
                [hf, gguf] => {
                    let placeholders =
                        |pattern: &str| (pattern.matches("{}").count(), pattern.ends_with('*'));
                    let has_star_inside =
                        |pattern: &str| pattern.strip_suffix('*').unwrap_or(pattern).contains('*');
                    if [hf, gguf].into_iter().any(has_star_inside) {
                        return Err(wrong("may have one '*' in a name, at its end"));
                    }
                    if gguf != LEFT_OUT && placeholders(hf) != placeholders(gguf) {
                        return Err(wrong("must have the same placeholders, '{}' and '*', on both sides"));
                    }
                    rules.push((hf.to_owned(), gguf.to_owned()));
                }
                _ => return Err(wrong("must be two names: that in safetensors, and that in GGUF or '-'")),
            }
        }
        Ok(NameMap { rules })
    }
}

/// What the placeholders of a pattern stand for in a name that fits it.
pub(super) fn matches<'a>(pattern: &str, name: &'a str) -> Option<Vec<&'a str>> {
    let mut parts = Vec::new();
    let mut left = name;
    let (pattern, open) = pattern.strip_suffix('*').map_or((pattern, false), |pattern| (pattern, true));
    for (index, literal) in pattern.split("{}").enumerate() {
        if index > 0 {
            let digits = left.len() - left.trim_start_matches(|digit: char| digit.is_ascii_digit()).len();
            if digits == 0 {
                return None;
            }
            parts.push(&left[..digits]);
            left = &left[digits..];
        }
        left = left.strip_prefix(literal)?;
    }
    if open {
        parts.push(left);
        left = "";
    }
    left.is_empty().then_some(parts)
}

pub(super) fn fill(pattern: &str, parts: &[&str]) -> String {
    let (pattern, open) = pattern.strip_suffix('*').map_or((pattern, false), |pattern| (pattern, true));
    let mut parts = parts.iter().copied();
    let mut name = String::new();
    for (index, literal) in pattern.split("{}").enumerate() {
        if index > 0 {
            name.push_str(parts.next().unwrap_or_default());
        }
        name.push_str(literal);
    }
    if open {
        name.push_str(parts.next().unwrap_or_default());
    }
    name
}

/// The name with placeholders beyond those parts left as they are.
pub(super) fn fill_some(pattern: &str, parts: &[&str]) -> String {
    let more = pattern.matches("{}").count().saturating_sub(parts.len());
    let parts: Vec<&str> = parts.iter().copied().chain(std::iter::repeat_n("{}", more)).collect();
    fill(pattern, &parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_fits_decides_and_others_do_not_fit() {
        let map: NameMap = "a.{}.b x.{}.y\na.* z.*\n# c d\n".parse().unwrap();
        let to = |name: &str| Some(Renamed::To(name.to_owned()));
        assert_eq!(map.to_gguf("a.10.b"), to("x.10.y"));
        assert_eq!(map.to_gguf("a.10.bc"), to("z.10.bc"));
        assert_eq!(map.to_gguf("a."), to("z."));
        assert_eq!(map.to_gguf("c"), None);
        assert_eq!(map.to_hf("x.10.y").as_deref(), Some("a.10.b"));
        assert_eq!(map.to_hf("x.-1.y"), None);
        assert_eq!(map.to_hf("x..y"), None);
    }

    #[test]
    fn lines_that_cannot_be_read_both_ways_are_refused() {
        for (text, part) in [
            ("a", "line 1 of the names, 'a', must be two names"),
            ("a b\n a b c", "line 2"),
            ("a.{} b", "the same placeholders"),
            ("a* b", "the same placeholders"),
            ("a*b c*d", "at its end"),
            ("a** b**", "at its end"),
        ] {
            let error = text.parse::<NameMap>().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        // Names are text, and not all letters are one byte.
        "\u{485} \u{e9}".parse::<NameMap>().unwrap();
        assert_eq!("* *".parse::<NameMap>().unwrap().to_hf("as it is").as_deref(), Some("as it is"));
        "a.{}.* -".parse::<NameMap>().unwrap();
    }
}
