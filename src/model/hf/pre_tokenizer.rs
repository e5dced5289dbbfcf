//! The name that llama.cpp has for the rules by which a tokenizer cuts text before it merges bytes.
//!
//! llama.cpp's converter runs the tokenizer over a text and looks up a hash of the result. The rules themselves say as
//! much: here they are recognized by the expressions in `tokenizer.json`.

use super::json::Node;
use crate::error::Result;

const LLAMA_3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
pub(super) const QWEN_2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const GPT_4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN_3_5: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const UP_TO_3_NUMBERS: &str = r"\p{N}{1,3}";
const DEEPSEEK_3_SCRIPTS: &str = "[一-龥぀-ゟ゠-ヿ]+";
const DEEPSEEK_3: &str = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##;
const LINE_ENDS: &str = "[\r\n]";
const DEEPSEEK_SCRIPTS: &str = "[一-龥ࠀ-一가-퟿]+";
const PORO: &str = r" ?[^(\s|.,!?…。，、।۔،)]+";
const BAILING: &str = r"'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+";
const SEED_CODER: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{L}{1}|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+";
const SUPERBPE: &str = r"(?=(\d{3})+(?!\d))";

/// Steps, and the name that llama.cpp has for them.
const KNOWN: &[(&[Step<'_>], &str)] = &[
    (&[Step::Gpt2], "gpt-2"),
    (&[Step::Digits, Step::Gpt2], "smollm"),
    (&[Step::Split(LLAMA_3)], "llama-bpe"),
    (&[Step::Split(QWEN_2)], "qwen2"),
    (&[Step::Split(QWEN_3_5)], "qwen35"),
    (&[Step::Split(TEKKEN)], "tekken"),
    (&[Step::Split(GPT_4O)], "gpt-4o"),
    (
        &[Step::Split(UP_TO_3_NUMBERS), Step::Split(DEEPSEEK_3_SCRIPTS), Step::Split(DEEPSEEK_3)],
        "deepseek-v3",
    ),
    (
        &[
            Step::Split(LINE_ENDS),
            Step::Split(r"\s?\p{L}+"),
            Step::Split(r"\s?\p{P}+"),
            Step::Split(DEEPSEEK_SCRIPTS),
            Step::Digits,
        ],
        "deepseek-coder",
    ),
    (&[Step::Punctuation, Step::Gpt2, Step::DigitRuns, Step::Split("[0-9][0-9][0-9]")], "falcon"),
    (&[Step::Split(PORO)], "poro-chat"),
    (&[Step::Split(BAILING)], "bailingmoe"),
    (&[Step::Split(SEED_CODER)], "seed-coder"),
    (&[Step::Split(r"\p{N}+"), Step::Split(SUPERBPE)], "superbpe"),
];

/// A step of cutting text.
#[derive(Debug, PartialEq)]
enum Step<'a> {
    /// Runs of punctuation.
    Punctuation,
    /// Runs of digits.
    DigitRuns,
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
    let steps = steps.unwrap_or_default();
    Ok(KNOWN.iter().find(|(known, _)| *known == steps).map(|(_, name)| *name))
}

/// Adds a step, or forgets them all where it is unknown.
fn add<'a>(pre: &Node<'a>, steps: &mut Option<Vec<Step<'a>>>) -> Result<()> {
    let flag = |key: &str, default: bool| pre.get(key).map_or(Ok(default), |flag| flag.bool());
    let step = match pre.required("type")?.str()? {
        // It only writes bytes as characters then.
        "ByteLevel" if !flag("use_regex", true)? => return Ok(()),
        "ByteLevel" => Some(Step::Gpt2),
        "Digits" if flag("individual_digits", false)? => Some(Step::Digits),
        "Digits" => Some(Step::DigitRuns),
        "Punctuation" => Some(Step::Punctuation),
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
        for (expression, wanted) in [
            (LLAMA_3, Some("llama-bpe")),
            (QWEN_2, Some("qwen2")),
            (TEKKEN, Some("tekken")),
            (GPT_4O, Some("gpt-4o")),
            (QWEN_3_5, Some("qwen35")),
            ("x", None),
        ] {
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
        let split = |expression: &str| serde_json::json!({"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated"});
        let several = |steps: Vec<serde_json::Value>| {
            let steps = serde_json::json!({"type": "Sequence", "pretokenizers": steps});
            name(&steps.to_string())
        };
        let bytes = || serde_json::json!({"type": "ByteLevel", "use_regex": false});
        let deepseek = [UP_TO_3_NUMBERS, DEEPSEEK_3_SCRIPTS, DEEPSEEK_3].map(split);
        assert_eq!(several(deepseek.into_iter().chain([bytes()]).collect()), Some("deepseek-v3"));
        let falcon = vec![
            serde_json::json!({"type": "Punctuation", "behavior": "Contiguous"}),
            serde_json::json!({"type": "ByteLevel"}),
            serde_json::json!({"type": "Digits", "individual_digits": false}),
            split("[0-9][0-9][0-9]"),
        ];
        assert_eq!(several(falcon), Some("falcon"));
        assert_eq!(name(r#"{"type": "Whitespace"}"#), None);
        assert_eq!(name("null"), None);
    }
}
