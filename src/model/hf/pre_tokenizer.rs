//! The name that llama.cpp has for the rules by which a tokenizer cuts text before it merges bytes.
//!
//! llama.cpp's converter runs the tokenizer over a text and looks up a hash of the result. The rules themselves say as
//! much: here they are recognized by the expressions in `tokenizer.json`.

use super::json::Node;
use crate::error::Result;

const LLAMA_3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN_2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// A step of cutting text.
#[derive(Debug, PartialEq)]
enum Step<'a> {
    /// By an expression.
    Split(&'a str),
    /// Each digit by itself.
    Digits,
    /// By GPT-2's expression.
    Gpt2,
}

/// The value of `tokenizer.ggml.pre`, where llama.cpp has one.
pub(super) fn pre_tokenizer(root: &Node<'_>) -> Result<Option<&'static str>> {
    let mut steps = Some(Vec::new());
    if let Some(pre) = root.get("pre_tokenizer") {
        let sequence = pre.get("pretokenizers");
        match sequence {
            Some(sequence) => {
                for pre in sequence.array()? {
                    add(&pre, &mut steps)?;
                }
            }
            None => add(&pre, &mut steps)?,
        }
    }
    Ok(match steps.unwrap_or_default()[..] {
        [Step::Gpt2] => Some("gpt-2"),
        [Step::Digits, Step::Gpt2] => Some("smollm"),
        [Step::Split(LLAMA_3)] => Some("llama-bpe"),
        [Step::Split(QWEN_2)] => Some("qwen2"),
        [Step::Split(TEKKEN)] => Some("tekken"),
        _ => None,
    })
}

/// Adds a step, or forgets them all where it is unknown.
fn add<'a>(pre: &Node<'a>, steps: &mut Option<Vec<Step<'a>>>) -> Result<()> {
    let flag = |key: &str, default: bool| pre.get(key).map_or(Ok(default), |flag| flag.bool());
    let step = match pre.required("type")?.str()? {
        // It only writes bytes as characters then.
        "ByteLevel" if !flag("use_regex", true)? => return Ok(()),
        "ByteLevel" => Some(Step::Gpt2),
        "Digits" if flag("individual_digits", false)? => Some(Step::Digits),
        "Split" if !flag("invert", false)? => {
            let expression = pre.required("pattern")?.get("Regex");
            expression.map(|expression| expression.str()).transpose()?.map(Step::Split)
        }
        _ => None,
    };
    *steps = steps.take().zip(step).map(|(mut steps, step)| {
        steps.push(step);
        steps
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::json::Document;
    use super::*;

    fn name(pre: &str) -> Option<&'static str> {
        let json = format!(r#"{{"pre_tokenizer": {pre}}}"#);
        pre_tokenizer(&Document::parse("tokenizer.json", json.as_bytes()).unwrap().root()).unwrap()
    }

    #[test]
    fn rules_have_the_name_of_the_model_that_llama_cpp_knows_them_by() {
        assert_eq!(name(r#"{"type": "ByteLevel"}"#), Some("gpt-2"));
        let digits = r#"{"type": "Digits", "individual_digits": true}"#;
        let both = format!(r#"{{"type": "Sequence", "pretokenizers": [{digits}, {{"type": "ByteLevel"}}]}}"#);
        assert_eq!(name(&both), Some("smollm"));
        for (expression, wanted) in
            [(LLAMA_3, Some("llama-bpe")), (QWEN_2, Some("qwen2")), (TEKKEN, Some("tekken")), ("x", None)]
        {
            let expression = serde_json::Value::from(expression);
            let split = format!(
                r#"{{"type": "Split", "pattern": {{"Regex": {expression}}}, "behavior": "Isolated", "invert": false}}"#
            );
            let bytes = r#"{"type": "ByteLevel", "use_regex": false}"#;
            assert_eq!(
                name(&format!(r#"{{"type": "Sequence", "pretokenizers": [{split}, {bytes}]}}"#)),
                wanted
            );
        }
        assert_eq!(name(r#"{"type": "Whitespace"}"#), None);
        assert_eq!(name("null"), None);
    }
}
