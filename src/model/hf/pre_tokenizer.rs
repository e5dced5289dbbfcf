//! The name that llama.cpp has for the rules by which a tokenizer cuts text before it merges bytes.
//!
//! llama.cpp's converter runs the tokenizer over a text and looks up a hash of the result. The rules themselves say as
//! much: here they are recognized by the expressions in `tokenizer.json`.

use serde_json::{Value as Json, json};

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
const SPARK: &str = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+"##;
/// By threes from the end of each run.
const DIGIT_GROUPS: &str = r"\p{N}{1,2}(?=(?:\p{N}{3})*(?!\p{N}))|\p{N}{3}";
/// Scripts of East and Southeast Asia, as llama.cpp has them: from U+8C48 on instead of U+F900, which looks alike.
const AFMOE_SCRIPTS: &str = r"[\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{8C48}-\x{FAFF}\x{3040}-\x{30FF}\x{FF65}-\x{FF9F}\x{2F00}-\x{2FDF}\x{0E40}-\x{0EFF}\x{1780}-\x{17FF}\x{1000}-\x{109F}\x{AA60}-\x{AA7F}\x{A9E0}-\x{A9FF}\x{AC00}-\x{D7AF}\x{1100}-\x{11FF}]+";
const LINE_ENDS: &str = "[\r\n]";
const DEEPSEEK_SCRIPTS: &str = "[一-龥ࠀ-一가-퟿]+";
const PORO: &str = r" ?[^(\s|.,!?…。，、।۔،)]+";
const BAILING: &str = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+";
const SEED_CODER: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+";
const SUPERBPE: &str = r"(?=(\d{3})+(?!\d))";
const JAIS_2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}";
const YOUTU_SCRIPTS: &str = "[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-ゟ゠-ヿ]+";
const YOUTU: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TINY_AYA_NUMBERS: &str = r"\d{1,3}(?=(?:\d{3})*\b)";
const MINICPM_5: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const EXAONE_MOE: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+";
const UFAKZEKA: &str = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT_2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const FALCON: &str = r"[\p{P}\$\+<=>\^~\|`]+";
const DEFAULT: &str = r"[\p{P}\$\+<=>\^~\|]+";
const THREE_DIGITS: &str = "[0-9][0-9][0-9]";
const LINES: &str = r"[^\n]+|[\n]+";

const KIMI_2: &str = r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const DEEPSEEK_LLM_LETTERS: &str = r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+";

/// Steps, and the name that llama.cpp has for them.
const KNOWN: &[(&[Step<'_>], &str)] = &[
    (&[Step::Gpt2], "gpt-2"),
    (&[Step::Digits, Step::Gpt2], "smollm"),
    (&[Step::Split(LLAMA_3)], "llama-bpe"),
    (&[Step::Split(QWEN_2)], "qwen2"),
    (&[Step::Split(QWEN_3_5)], "qwen35"),
    (&[Step::Split(TEKKEN)], "tekken"),
    (&[Step::Split(GPT_4O)], "gpt-4o"),
    (&[Step::Split(KIMI_2)], "kimi-k2"),
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
    (
        &[
            Step::Split(LINE_ENDS),
            Step::Split(DEEPSEEK_LLM_LETTERS),
            Step::Split("\\s?[!-/:-~！-／：-～‘-‟\u{3000}-。]+"),
            Step::Split(r"\s+$"),
            Step::Split(DEEPSEEK_SCRIPTS),
            Step::Split(r"\p{N}+"),
        ],
        "deepseek-llm",
    ),
    (
        &[
            Step::Split("<sentinel:[0-9]+>"),
            Step::Split("(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z"),
            Step::Split(r"([\t\n]|    |  )"),
            Step::Split(r"\p{N}"),
            Step::Split(r"[\p{P}!-/:-@\[-`{-~]"),
            Step::Gpt2,
        ],
        "chameleon",
    ),
    (&[Step::Split(DIGIT_GROUPS), Step::Split(AFMOE_SCRIPTS), Step::Split(DEEPSEEK_3)], "afmoe"),
    (
        &[
            Step::Split(UP_TO_3_NUMBERS),
            Step::Split(DEEPSEEK_3_SCRIPTS),
            Step::Split(SPARK),
            Step::Split(r"\p{N}"),
        ],
        "spark2_5",
    ),
    (&[Step::Split(FALCON), Step::Split(GPT_2), Step::Split(THREE_DIGITS)], "falcon"),
    // As its authors wrote it, which parts the bytes of some characters.
    (&[Step::Punctuation, Step::Gpt2, Step::DigitRuns, Step::Split(THREE_DIGITS)], "falcon"),
    (&[Step::Split(PORO)], "poro-chat"),
    (&[Step::Split(PORO), Step::Digits], "viking"),
    (&[Step::Split(BAILING)], "bailingmoe"),
    (&[Step::Split(SEED_CODER)], "seed-coder"),
    (&[Step::Split(r"\p{N}+"), Step::Split(SUPERBPE)], "superbpe"),
    (&[Step::Split(JAIS_2)], "jais-2"),
    (&[Step::Split(YOUTU_SCRIPTS), Step::Split(YOUTU)], "youtu"),
    (&[Step::Split(TINY_AYA_NUMBERS), Step::Split(GPT_4O)], "tiny_aya"),
    (&[Step::Split(UP_TO_3_NUMBERS), Step::Split(MINICPM_5)], "minicpm5"),
    (&[Step::Split(EXAONE_MOE)], "exaone-moe"),
    (&[Step::Split(UFAKZEKA)], "ufakzeka"),
    (&[Step::Split(LINES), Step::Split(QWEN_2)], "laguna"),
    // What llama.cpp does where it has no name.
    (
        &[Step::Split(DEFAULT), Step::Split(GPT_2), Step::Split(r"\p{N}+"), Step::Split(THREE_DIGITS)],
        "default",
    ),
];

/// Other names that llama.cpp has for the same steps.
const ALIASES: &[(&str, &[&str])] = &[
    (
        "gpt-2",
        &[
            "a.x-4.0",
            "exaone4",
            "gigachat",
            "granite-docling",
            "jais",
            "jina-de",
            "jina-es",
            "jina-v1-en",
            "jina-v2-code",
            "jina-v2-de",
            "jina-v2-es",
            "mellum",
            "modern-bert",
            "mpt",
            "olmo",
            "phi-2",
            "roberta-bpe",
            "trillion",
        ],
    ),
    ("smollm", &["codeshell", "command-r", "exaone", "mellum2", "minerva-7b", "refact", "starcoder"]),
    (
        "llama-bpe",
        &[
            "chatglm-bpe",
            "dbrx",
            "falcon-h1",
            "falcon3",
            "glm4",
            "jina-v5-nano",
            "lfm2",
            "llama-v3",
            "llama3",
            "midm-2.0",
            "pixtral",
            "smaug-bpe",
        ],
    ),
    (
        "qwen2",
        &["deepseek-r1-qwen", "f2llmv2", "grok-2", "hunyuan", "kormo", "megrez", "solar-open", "stablelm2"],
    ),
    ("gpt-4o", &["granite-embed-multi-97m", "kanana2", "llama4", "minimax-m2", "talkie"]),
    ("deepseek-v3", &["hunyuan-dense", "hy_v4", "joyai-llm"]),
    ("poro-chat", &["bloom", "gpt3-finnish"]),
    ("bailingmoe", &["bailingmoe2", "llada-moe"]),
    ("tiny_aya", &["cohere2moe"]),
];

/// Those of the names with which llama.cpp takes a word that is a token as it is, without merging.
const WHOLE_WORDS: &[&str] = &[
    "falcon-h1",
    "falcon3",
    "granite-embed-multi-97m",
    "jina-v5-nano",
    "lfm2",
    "llama-bpe",
    "llama-v3",
    "llama3",
    "midm-2.0",
    "minicpm5",
    "pixtral",
    "tekken",
    "youtu",
];

/// Those with which it begins a text with the first token where no key says whether.
const BEGINS: &[&str] = &[
    "chameleon",
    "falcon-h1",
    "falcon3",
    "jina-v5-nano",
    "lfm2",
    "llama-bpe",
    "llama-v3",
    "llama3",
    "midm-2.0",
    "pixtral",
    "tekken",
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

/// What a name of llama.cpp stands for.
pub(super) struct Named {
    /// The value of `pre_tokenizer`.
    pub(super) pre_tokenizer: Json,
    /// Whether a word that is a token is taken as it is.
    pub(super) ignores_merges: bool,
    /// Whether a text begins with the first token, where no key says.
    pub(super) adds_bos: bool,
}

/// The rules that have this name; `None` where `tokenizer.json` has no such rules, or they are unknown.
pub(super) fn named(name: &str) -> Option<Named> {
    let usual = ALIASES.iter().find(|(_, others)| others.contains(&name)).map_or(name, |(usual, _)| usual);
    let (steps, _) = KNOWN.iter().find(|(_, known)| *known == usual)?;
    let cuts_as_gpt2 = |step: &Step<'_>| matches!(step, Step::Gpt2);
    let mut parts: Vec<Json> = steps.iter().map(Step::json).collect();
    if !steps.iter().any(cuts_as_gpt2) {
        parts.push(bytes(false));
    }
    let pre_tokenizer = match parts.len() {
        1 => parts.remove(0),
        _ => json!({"type": "Sequence", "pretokenizers": parts}),
    };
    let (ignores_merges, adds_bos) = (WHOLE_WORDS.contains(&name), BEGINS.contains(&name));
    Some(Named { pre_tokenizer, ignores_merges, adds_bos })
}

impl Step<'_> {
    fn json(&self) -> Json {
        match self {
            Step::Punctuation => json!({"type": "Punctuation", "behavior": "Contiguous"}),
            Step::DigitRuns => json!({"type": "Digits", "individual_digits": false}),
            Step::Digits => json!({"type": "Digits", "individual_digits": true}),
            Step::Split(expression) => split(expression),
            Step::Gpt2 => bytes(true),
        }
    }
}

/// A step that writes bytes as characters, after it has cut as GPT-2 does where asked.
fn bytes(cuts: bool) -> Json {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": cuts})
}

/// A step that cuts around what an expression matches.
fn split(expression: &str) -> Json {
    json!({"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": false})
}

/// Text is cut where lines end.
pub(super) fn lines() -> Json {
    split(LINES)
}

/// Whether words of characters are merged, not of bytes. What `Whitespace` cuts around punctuation as well, its merges do not join either.
pub(super) fn is_of_words(root: &Node<'_>) -> Result<bool> {
    let kind = root.get("pre_tokenizer").map(|pre| pre.required("type")).transpose()?;
    let kind = kind.as_ref().map(|kind| kind.str()).transpose()?;
    Ok(matches!(kind, Some("WhitespaceSplit" | "Whitespace")))
}

#[cfg(test)]
mod tests {
    use super::super::json::Document;
    use super::*;

    fn name(pre: &str) -> Option<&'static str> {
        let json = format!(r#"{{"pre_tokenizer": {pre}}}"#);
        pre_tokenizer(&Document::parse("tokenizer.json", json.as_bytes()).unwrap().root()).unwrap()
    }

    /// A file that is written by a name has the rules that are recognized as that, or as the usual name of the same.
    #[test]
    fn rules_that_are_written_have_their_name_again() {
        let others =
            ALIASES.iter().flat_map(|(usual, others)| others.iter().map(move |other| (other, usual)));
        for (other, usual) in KNOWN.iter().map(|(_, name)| (name, name)).chain(others) {
            let written = named(other).unwrap();
            assert_eq!(name(&written.pre_tokenizer.to_string()), Some(*usual), "{other}");
        }
        assert!(WHOLE_WORDS.iter().chain(BEGINS).all(|name| named(name).is_some()));
        assert!(named("llama-bpe").unwrap().ignores_merges && !named("gpt-4o").unwrap().ignores_merges);
        assert!(named("tekken").unwrap().adds_bos && !named("qwen2").unwrap().adds_bos);
        assert!(named("whitespace").is_none() && named("afmoe2").is_none());
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
