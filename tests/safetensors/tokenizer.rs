//! `tokenizer.json`, as far as llama.cpp uses it.

use gguf_codec::model::hf::{Description, Import};
use gguf_codec::safetensors::Dtype;
use gguf_codec::{Gguf, Result};

use super::{checkpoint, completed, floats, imported, tensors};

pub(super) const CONFIG: &str = r#"{"architectures": ["LlamaForCausalLM"], "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 0, "max_position_embeddings": 8,
    "num_attention_heads": 2, "vocab_size": 8, "eos_token_id": 5, "pad_token_id": [1]}"#;

pub(super) const BPE: &str = r#"{"added_tokens": [{"id": 4, "content": "<s>", "special": true}, {"id": 5, "content": "\u2581x", "special": false}],
    "normalizer": null, "pre_tokenizer": {"type": "ByteLevel"},
    "post_processor": {"type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}]},
    "model": {"type": "BPE", "vocab": {"a": 0, "b.c": 1, "ab.c": 2, "\u0120a": 3}, "merges": ["a b.c", ["\u0120", "a "]]}}"#;

pub(super) const TOKENIZER_CONFIG: &str =
    r#"{"bos_token": {"content": "<s>"}, "add_eos_token": false, "chat_template": "{{ x }}"}"#;

pub(super) fn import(config: &str, tokenizer: &str, tokenizer_config: &str) -> Result<Gguf<Vec<u8>>> {
    let description = Description::from_config(config)?
        .with_tokenizer(tokenizer)?
        .with_tokenizer_config(tokenizer_config)?;
    // As many rows as the configuration says, if that is a number of rows.
    let rows = serde_json::from_str::<serde_json::Value>(config).unwrap()["vocab_size"].as_u64();
    let rows = rows.filter(|rows| *rows < 100_000).unwrap_or(8);
    let file = [
        ("model.embed_tokens.weight", vec![rows, 8]),
        ("model.norm.weight", vec![8]),
        ("lm_head.weight", vec![rows, 8]),
    ];
    let file = file.each_ref().map(|(name, shape)| {
        (*name, &shape[..], Dtype::F32, floats(vec![0.0; shape.iter().product::<u64>() as usize]))
    });
    let files = checkpoint([tensors(&file)])?;
    Gguf::parse(imported(Import::new(&files, &description))?)
}

pub(super) fn strings(model: &Gguf<Vec<u8>>, key: &str) -> Vec<String> {
    model.metadata().require_array(key).unwrap().map(Result::unwrap).collect()
}

fn kinds(model: &Gguf<Vec<u8>>) -> Vec<i32> {
    model.metadata().require_array("tokenizer.ggml.token_type").unwrap().map(Result::unwrap).collect()
}

#[test]
fn byte_pairs_keep_tokens_merges_and_what_they_mean() {
    let model = import(CONFIG, BPE, TOKENIZER_CONFIG).unwrap();
    let metadata = model.metadata();
    let wanted = ["a", "b.c", "ab.c", "\u{120}a", "<s>", " x", "[PAD6]", "[PAD7]"];
    assert_eq!(strings(&model, "tokenizer.ggml.tokens"), wanted);
    assert_eq!(kinds(&model), [1, 1, 1, 1, 3, 4, 5, 5]);
    assert_eq!(strings(&model, "tokenizer.ggml.merges"), ["a b.c", "\u{120} a\u{120}"]);
    assert_eq!(metadata.require::<&str>("tokenizer.ggml.model").unwrap(), "gpt2");
    assert_eq!(metadata.require::<&str>("tokenizer.ggml.pre").unwrap(), "gpt-2");
    assert_eq!(metadata.require::<u32>("tokenizer.ggml.bos_token_id").unwrap(), 4);
    assert_eq!(metadata.require::<u32>("tokenizer.ggml.eos_token_id").unwrap(), 5);
    assert!(!metadata.contains("tokenizer.ggml.padding_token_id"));
    assert!(metadata.require::<bool>("tokenizer.ggml.add_bos_token").unwrap());
    assert!(!metadata.require::<bool>("tokenizer.ggml.add_eos_token").unwrap());
    assert_eq!(metadata.require::<&str>("tokenizer.chat_template").unwrap(), "{{ x }}");
}

#[test]
fn byte_fallback_merges_in_the_order_that_was_learnt() {
    let tokenizer = r#"{"added_tokens": [{"id": 0, "content": "<unk>", "special": true}], "model": {"type": "BPE", "byte_fallback": true,
        "unk_token": "<unk>", "vocab": {"<unk>": 0, "<0x0A>": 1, "ab": 2, "abc": 3, "a": 4}, "merges": ["ab c", "a b"]}}"#;
    let model = import(&CONFIG.replace("\"vocab_size\": 8", "\"vocab_size\": 5"), tokenizer, "{}").unwrap();
    assert_eq!(model.metadata().require::<&str>("tokenizer.ggml.model").unwrap(), "llama");
    assert_eq!(kinds(&model), [3, 6, 1, 1, 1]);
    let scores: Vec<f32> =
        model.metadata().require_array("tokenizer.ggml.scores").unwrap().map(Result::unwrap).collect();
    assert_eq!(scores, [-2.0, -2.0, -1.0, 0.0, -2.0]);
}

#[test]
fn word_pieces_are_marked_where_words_begin() {
    let tokenizer = r#"{"added_tokens": [{"id": 0, "content": "[CLS]", "special": true}, {"id": 1, "content": "[SEP]", "special": true}],
        "normalizer": {"type": "BertNormalizer", "lowercase": true, "strip_accents": null},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]"}}, {"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "[SEP]"}}],
            "pair": [{"SpecialToken": {"id": "[CLS]"}}, {"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "[SEP]"}}, {"Sequence": {"id": "B"}}, {"SpecialToken": {"id": "[SEP]"}}]},
        "model": {"type": "WordPiece", "vocab": {"[CLS]": 0, "[SEP]": 1, "the": 2, "\u0023\u0023ing": 3}}}"#;
    let config = r#"{"architectures": ["BertModel"], "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 0, "max_position_embeddings": 8, "num_attention_heads": 2, "type_vocab_size": 2}"#;
    let description = Description::from_config(config).unwrap().with_tokenizer(tokenizer).unwrap();
    let description =
        description.with_tokenizer_config(r#"{"cls_token": "[CLS]", "sep_token": "[SEP]"}"#).unwrap();
    let whole = config.replace(r#""hidden_size""#, r#""vocab_size": 4, "hidden_size""#);
    let files = checkpoint([completed(&whole, &[])]).unwrap();
    let model = Gguf::parse(imported(Import::new(&files, &description)).unwrap()).unwrap();
    let metadata = model.metadata();
    assert_eq!(strings(&model, "tokenizer.ggml.tokens"), ["[CLS]", "[SEP]", "\u{2581}the", "ing"]);
    assert_eq!(metadata.require::<&str>("tokenizer.ggml.model").unwrap(), "bert");
    assert_eq!(metadata.require::<&str>("tokenizer.ggml.pre").unwrap(), "bert-bge");
    for (key, id) in [("bos", 0), ("eos", 1), ("seperator", 1)] {
        assert_eq!(metadata.require::<u32>(&format!("tokenizer.ggml.{key}_token_id")).unwrap(), id, "{key}");
    }
    for (key, adds) in [
        ("add_bos_token", true),
        ("add_eos_token", true),
        ("add_sep_token", false),
        ("normalizer.lowercase", true),
    ] {
        assert_eq!(metadata.require::<bool>(&format!("tokenizer.ggml.{key}")).unwrap(), adds, "{key}");
    }
    assert_eq!(metadata.require::<u32>("tokenizer.ggml.token_type_count").unwrap(), 2);
}

#[test]
fn what_cannot_be_carried_over_is_noted_and_what_is_wrong_refused() {
    let other = r#"{"model": {"type": "WordLevel", "vocab": {}}}"#;
    assert!(!import(CONFIG, other, "{}").unwrap().metadata().contains("tokenizer.ggml.model"));
    let split = BPE.replace(r#"{"type": "ByteLevel"}"#, r#"{"type": "UnicodeScripts"}"#);
    let model = import(CONFIG, &split, "{}").unwrap();
    assert_eq!(model.metadata().require::<&str>("tokenizer.ggml.pre").unwrap(), "default");
    for (old, new, part) in [
        (r#""b.c": 1"#, r#""b.c": 0"#, "'model.vocab' gives the id 0 to"),
        (r#""b.c": 1"#, r#""b.c": "1""#, r#"'model.vocab[\"b.c\"]' must be an integer"#),
        (r#""b.c": 1"#, r#""b.c": 9"#, "ids up to 9"),
        (r#""a b.c","#, r#""ab.c","#, "'model.merges[0]' must be two parts"),
        (r#"["\u0120", "a "]"#, r#"["a"]"#, "'model.merges[1]' must be two parts"),
        (r#""content": "<s>""#, r#""content": "a""#, "'model.vocab': the token 'a' has the ids 0 and 4"),
        (r#""id": 4, "content": "<s>""#, r#""id": 4"#, "'added_tokens[0]' has no 'content'"),
        (r#""model": {"#, r#""other": {"#, "the file has no 'model'"),
    ] {
        let error = import(CONFIG, &BPE.replace(old, new), TOKENIZER_CONFIG).unwrap_err().to_string();
        assert!(error.contains(part) && error.contains(".json'"), "{error}");
    }
    // Whatever the kind: words get their mark before.
    for (model, token) in [
        (r#"{"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["b", -1.0], ["b", -2.0]]}"#, "b"),
        (r###"{"type": "WordPiece", "vocab": {"[UNK]": 0, "##\u2581a": 1, "a": 2}}"###, "\u{2581}a"),
    ] {
        let error = import(CONFIG, &format!(r#"{{"model": {model}}}"#), "{}").unwrap_err().to_string();
        assert!(error.contains(&format!("the token '{token}' has the ids 1 and 2")), "{error}");
    }
    // Ids that a file claims do not take memory.
    let error =
        import(&CONFIG.replace("\"vocab_size\": 8", "\"vocab_size\": 4294967295"), BPE, "{}").unwrap_err();
    assert!(
        error.to_string().contains(
            "'vocab_size' is 4294967295, and tensor 'model.embed_tokens.weight' has 8 rows: set it to 8"
        ),
        "{error}"
    );
    let far = BPE.replace(r#""b.c": 1"#, r#""b.c": 4294967294"#);
    let error = import(&CONFIG.replace("\"vocab_size\": 8, ", ""), &far, "{}").unwrap_err();
    assert!(error.to_string().contains("ids up to 4294967294"), "{error}");
}

/// Llama 3 and similar models begin the second of two texts like the first, without a separator.
#[test]
fn only_separators_separate() {
    let template = |between: &str, last: &str| {
        let token = |id: &str| format!(r#"{{"SpecialToken": {{"id": "{id}", "type_id": 0}}}}"#);
        let text = |id: &str| format!(r#"{{"Sequence": {{"id": "{id}", "type_id": 0}}}}"#);
        let list = |parts: &[String]| {
            let parts: Vec<_> = parts.iter().filter(|part| !part.is_empty()).cloned().collect();
            parts.join(",")
        };
        let end = if last.is_empty() { String::new() } else { token(last) };
        let between = between.split_whitespace().map(token).collect::<Vec<_>>().join(",");
        let single = list(&[token("<s>"), text("A"), end.clone()]);
        let pair = list(&[token("<s>"), text("A"), between, text("B"), end]);
        let post = format!(r#"{{"type": "TemplateProcessing", "single": [{single}], "pair": [{pair}]}}"#);
        let mut tokenizer: serde_json::Value = serde_json::from_str(BPE).unwrap();
        tokenizer["post_processor"] = serde_json::from_str(&post).unwrap();
        let config = r#"{"bos_token": "<s>", "eos_token": "</s>"}"#;
        let model = import(CONFIG, &tokenizer.to_string(), config).unwrap();
        model.metadata().optional::<bool>("tokenizer.ggml.add_sep_token").unwrap()
    };
    assert_eq!(template("<s>", ""), Some(false));
    assert_eq!(template("</s>", ""), Some(true));
    assert_eq!(template("</s> </s>", "</s>"), Some(true));
    assert_eq!(template("</s>", "</s>"), Some(false));
    assert_eq!(template("", ""), None);
}

/// The tokenizer of XLM-RoBERTa and similar models: pieces with their scores, and a table of character replacements.
#[test]
fn unigrams_keep_their_scores_and_characters() {
    let tokenizer = r#"{"added_tokens": [{"id": 0, "content": "<s>", "special": true}, {"id": 4, "content": "<mask>", "special": true}],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Precompiled", "precompiled_charsmap": "BAAAAAAAAABBAA=="},
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]},
        "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always"},
        "model": {"type": "Unigram", "unk_id": 1, "vocab": [["<s>", 0.0], ["<unk>", 0.0], ["\u2581a", -1.5], ["b", -2.25]]}}"#;
    let model = import(CONFIG, tokenizer, r#"{"clean_up_tokenization_spaces": true}"#).unwrap();
    let metadata = model.metadata();
    assert_eq!(metadata.require::<&str>("tokenizer.ggml.model").unwrap(), "t5");
    let wanted = ["<s>", "<unk>", "\u{2581}a", "b", "<mask>", "[PAD5]", "[PAD6]", "[PAD7]"];
    assert_eq!(strings(&model, "tokenizer.ggml.tokens"), wanted);
    assert_eq!(kinds(&model), [3, 2, 1, 1, 3, 5, 5, 5]);
    let scores: Vec<f32> =
        metadata.require_array("tokenizer.ggml.scores").unwrap().map(Result::unwrap).collect();
    assert_eq!(scores, [0.0, 0.0, -1.5, -2.25, 0.0, -1e4, -1e4, -1e4]);
    let map: Vec<u8> =
        metadata.require_array("tokenizer.ggml.precompiled_charsmap").unwrap().map(Result::unwrap).collect();
    assert_eq!(map, [4, 0, 0, 0, 0, 0, 0, 0, b'A', 0]);
    for (key, wanted) in [("add_space_prefix", true), ("remove_extra_whitespaces", true)] {
        assert_eq!(metadata.require::<bool>(&format!("tokenizer.ggml.{key}")).unwrap(), wanted, "{key}");
    }
    let never = tokenizer.replace("always", "never");
    let model = import(CONFIG, &never, "{}").unwrap();
    assert!(!model.metadata().require::<bool>("tokenizer.ggml.add_space_prefix").unwrap());
    for (old, new, part) in [
        ("BAAAAAAAAABBAA==", "A", "'normalizer.normalizers[0].precompiled_charsmap' is no base64"),
        (
            "BAAAAAAAAABBAA==",
            "BAAAAAAAAABBQQ==",
            "charsmap of the tokenizer must have texts that end with a zero",
        ),
        (r#"["b", -2.25]"#, r#"["b"]"#, "'model.vocab[3]' must be a piece and its score"),
        (r#""id": 4"#, r#""id": 8"#, "ids up to 8"),
    ] {
        let error = import(CONFIG, &tokenizer.replace(old, new), "{}").unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

/// Files of a folder with a model of no layers.
pub(super) fn import_folder(files: &[(&str, &[u8])]) -> Result<Gguf<Vec<u8>>> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("additional_chat_templates")).unwrap();
    for (name, bytes) in files.iter().chain(&[("config.json", CONFIG.as_bytes())]) {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let description = Description::read(folder.path())?;
    let checkpoint = checkpoint([completed(CONFIG, &[])])?;
    Gguf::parse(imported(Import::new(&checkpoint, &description))?)
}

/// A piece of a `tokenizer.model`.
pub(super) fn piece(text: &str, score: f32, kind: u8) -> Vec<u8> {
    let mut message = [&[0x0a, text.len() as u8], text.as_bytes(), &[0x15], &score.to_le_bytes()].concat();
    if kind != 1 {
        message.extend([0x18, kind]);
    }
    [&[0x0a, message.len() as u8], &message[..]].concat()
}

/// `tokenizer.model` has the scores that tokenizer.json lacks.
#[test]
fn pieces_keep_their_scores_and_kinds() {
    let pieces =
        [piece("<unk>", 0.0, 2), piece("<s>", 0.0, 3), piece("<0x0A>", 0.0, 6), piece("\u{2581}a", -0.5, 1)];
    // Byte-pair encoding.
    let model = [pieces.concat(), vec![0x12, 2, 0x18, 2]].concat();
    let settings = r#"{"bos_token": "<s>", "add_bos_token": true, "added_tokens_decoder": {"0": {"content": "<unk>", "special": true},
        "1": {"content": "<s>", "special": true}, "4": {"content": "\u2581\u2581", "special": false}}}"#;
    let json = r#"{"model": {"type": "BPE", "byte_fallback": true, "vocab": {"<unk>": 0, "<s>": 1, "<0x0A>": 2, "\u2581a": 3}, "merges": []}}"#;
    let both: &[(&str, &[u8])] = &[
        ("tokenizer.model", &model),
        ("tokenizer_config.json", settings.as_bytes()),
        ("tokenizer.json", json.as_bytes()),
    ];
    for files in [both, &both[..2]] {
        let model = import_folder(files).unwrap();
        let metadata = model.metadata();
        assert_eq!(metadata.require::<&str>("tokenizer.ggml.model").unwrap(), "llama");
        let wanted = ["<unk>", "<s>", "<0x0A>", "\u{2581}a", "  ", "[PAD5]", "[PAD6]", "[PAD7]"];
        assert_eq!(strings(&model, "tokenizer.ggml.tokens"), wanted);
        assert_eq!(kinds(&model), [3, 3, 6, 1, 4, 5, 5, 5]);
        let scores: Vec<f32> =
            metadata.require_array("tokenizer.ggml.scores").unwrap().map(Result::unwrap).collect();
        assert_eq!(scores, [-1e3, -1e3, 0.0, -0.5, -1e3, -1e4, -1e4, -1e4]);
        assert_eq!(metadata.require::<u32>("tokenizer.ggml.bos_token_id").unwrap(), 1);
    }
    let unigram = pieces.concat();
    let model = import_folder(&[("tokenizer.model", &unigram)]).unwrap();
    assert_eq!(model.metadata().require::<&str>("tokenizer.ggml.model").unwrap(), "t5");
    let error = import_folder(&[("tokenizer.model", b"\x0a\x05ab")]).unwrap_err().to_string();
    assert!(error.contains("tokenizer.model': not a model of SentencePiece"), "{error}");
}

/// The files that byte-level tokenizers had before `tokenizer.json`.
#[test]
fn vocabularies_and_merges_may_be_files_of_their_own() {
    let files: &[(&str, &[u8])] = &[
        ("vocab.json", br#"{"a": 0, "b": 1, "ab": 2}"#),
        ("merges.txt", b"#version: 0.2\na b\n"),
        (
            "tokenizer_config.json",
            br#"{"tokenizer_class": "Qwen2Tokenizer",
            "added_tokens_decoder": {"3": {"content": "<|end|>", "special": true}}}"#,
        ),
    ];
    let model = import_folder(files).unwrap();
    assert_eq!(model.metadata().require::<&str>("tokenizer.ggml.pre").unwrap(), "qwen2");
    let tokens = ["a", "b", "ab", "<|end|>", "[PAD4]", "[PAD5]", "[PAD6]", "[PAD7]"];
    assert_eq!(strings(&model, "tokenizer.ggml.tokens"), tokens);
    assert_eq!(strings(&model, "tokenizer.ggml.merges"), ["a b"]);
    // Without merges they do not form a tokenizer.
    let model = import_folder(&files[..1]).unwrap();
    assert!(!model.metadata().contains("tokenizer.ggml.model"));
}

/// Chat templates are found where the transformers library looks for them.
#[test]
fn chat_templates_are_found_in_files() {
    let with = |files: &[(&str, &[u8])]| {
        let all: Vec<_> =
            [("tokenizer.json", BPE.as_bytes())].into_iter().chain(files.iter().copied()).collect();
        import_folder(&all).unwrap()
    };
    let template = |model: &Gguf<Vec<u8>>, name: &str| {
        model
            .metadata()
            .optional::<&str>(&format!("tokenizer.chat_template{name}"))
            .unwrap()
            .map(str::to_owned)
    };
    let json = with(&[("chat_template.json", br#"{"chat_template": "{{ json }}"}"#)]);
    assert_eq!(template(&json, "").as_deref(), Some("{{ json }}"));
    let several = with(&[
        ("chat_template.jinja", b"{{ one }}"),
        ("additional_chat_templates/tools.jinja", b"{{ tools }}"),
        ("additional_chat_templates/notes.txt", b"none"),
    ]);
    assert_eq!(template(&several, "").as_deref(), Some("{{ one }}"));
    assert_eq!(template(&several, ".tools").as_deref(), Some("{{ tools }}"));
    assert_eq!(strings(&several, "tokenizer.chat_templates"), ["tools"]);
}
