//! Checks whether a chat template can be Jinja, by its brackets and blocks.

/// Blocks that end with `end` and their name. `set` is one only without a value.
const BLOCKS: [&str; 9] =
    ["if", "for", "macro", "call", "filter", "block", "generation", "with", "autoescape"];

/// Returns the problem with a template, if there is one.
pub(super) fn problem(template: &[u8]) -> Option<String> {
    let Ok(text) = std::str::from_utf8(template) else { return Some("it is not UTF-8".to_owned()) };
    let mut blocks: Vec<(&str, usize)> = Vec::new();
    let mut at = 0;
    while let Some(open) = text[at..].find('{').map(|found| at + found) {
        let (end, is_block) = match text.as_bytes().get(open + 1) {
            Some(b'{') => (closing(&text[open + 2..], "}}"), false),
            Some(b'%') => (closing(&text[open + 2..], "%}"), true),
            Some(b'#') => (text[open + 2..].find("#}"), false),
            _ => {
                at = open + 1;
                continue;
            }
        };
        let bracket = &text[open..open + 2];
        let Some(len) = end else { return Some(format!("'{bracket}' at byte {open} is not closed")) };
        let inside = &text[open + 2..open + 2 + len];
        at = open + 2 + len + 2;
        if !is_block {
            continue;
        }
        let inside = inside.trim_matches(['-', '+']).trim();
        let name = inside.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or("");
        if name == "raw" {
            // The contents are plain text.
            let rest = text[at..].find("endraw")?;
            at += rest + text[at + rest..].find("%}").map_or(0, |end| end + 2);
        } else if let Some(ended) =
            name.strip_prefix("end").filter(|name| BLOCKS.contains(name) || *name == "set")
        {
            match blocks.pop() {
                Some((begun, _)) if begun == ended => {}
                Some((begun, byte)) => {
                    return Some(format!(
                        "'{name}' at byte {open} comes before the 'end{begun}' of '{begun}' at byte {byte}"
                    ));
                }
                None => return Some(format!("'{name}' at byte {open} ends nothing")),
            }
        } else if BLOCKS.contains(&name) || name == "set" && !inside.contains('=') {
            blocks.push((name, open));
        }
    }
    blocks.last().map(|(name, byte)| format!("'{name}' at byte {byte} has no 'end{name}'"))
}

/// Returns the distance to what closes an expression, ignoring its strings.
fn closing(text: &str, close: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut at, mut quote) = (0, None);
    // Within braces, as in a dictionary, `}}` may be two closing braces.
    let mut depth = 0usize;
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (Some(_), b'\\') => at += 1,
            (Some(open), byte) if byte == open => quote = None,
            (Some(_), _) => {}
            (None, byte @ (b'\'' | b'"')) => quote = Some(byte),
            (None, _) if depth == 0 && bytes[at..].starts_with(close.as_bytes()) => return Some(at),
            (None, b'{') => depth += 1,
            (None, b'}') => depth = depth.saturating_sub(1),
            (None, _) => {}
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_taken_by_their_brackets() {
        for good in [
            "",
            "plain } text { with braces",
            "{% for m in messages %}{{ '<|' + m['role'] + '|>\\n' }}{% endfor %}{% if x %}{{ 'a' }}{% endif %}",
            "{%- set x = {'a': {'b': 1}} -%}{{ {'a': {}} }}{# {% if #}",
            "{% set x %}text{% endset %}{{ \"%}\" ~ '}}' }}",
            "{% raw %}{{ not closed {% endraw %}",
            "{% macro f(a) %}{% call g() %}{% endcall %}{% endmacro %}{%- else_ -%}",
        ] {
            assert_eq!(problem(good.as_bytes()), None, "{good}");
        }
        for (bad, why) in [
            ("{{ x", "'{{' at byte 0 is not closed"),
            ("a{% if x %", "'{%' at byte 1 is not closed"),
            ("{% if x %}", "'if' at byte 0 has no 'endif'"),
            ("{% endif %}", "'endif' at byte 0 ends nothing"),
            (
                "{% for a in b %}{% if a %}{% endfor %}",
                "'endfor' at byte 26 comes before the 'endif' of 'if' at byte 16",
            ),
            ("{{ 'unclosed }}", "'{{' at byte 0 is not closed"),
            ("{# comment", "'{#' at byte 0 is not closed"),
        ] {
            assert_eq!(problem(bad.as_bytes()).as_deref(), Some(why), "{bad}");
        }
        assert_eq!(problem(b"\xff").as_deref(), Some("it is not UTF-8"));
    }
}
