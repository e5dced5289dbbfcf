//! `tokenizer.json` and its like from the metadata of a GGUF.

use gguf_codec::model::Input;
use gguf_codec::model::hf::{ToSafetensors, tokenizer_config_json, tokenizer_json};
use gguf_codec::{Array, Gguf, Result, Value, Writer};
use serde_json::{Value as Json, json};

use super::tokenizer::{BPE, CONFIG, TOKENIZER_CONFIG, import, import_folder, piece};

/// The tokenizer's keys and values, as text.
fn keys(model: &Gguf<Vec<u8>>) -> Vec<(String, String)> {
    let mut keys: Vec<_> = model
        .metadata()
        .iter()
        .filter(|(key, _)| key.starts_with("tokenizer."))
        .map(|(key, value)| (key.to_owned(), format!("{value:?}")))
        .collect();
    keys.sort();
    keys
}

/// What is written is read again as the same tokenizer, whose files are the same again.
fn comes_back(model: &Gguf<Vec<u8>>, config: &str) -> Json {
    let metadata = model.metadata();
    let (tokenizer, settings) =
        (tokenizer_json(&metadata).unwrap(), tokenizer_config_json(&metadata).unwrap());
    let again = import(config, &tokenizer, &settings).unwrap();
    assert_eq!(keys(&again), keys(model));
    assert_eq!(tokenizer_json(&again.metadata()).unwrap(), tokenizer);
    serde_json::from_str(&tokenizer).unwrap()
}

#[test]
fn byte_pairs_come_back() {
    let config = CONFIG.replace(", \"eos_token_id\": 5", "");
    // A merge of what is no token does nothing, and is refused by the tokenizers library.
    let model = import(&config, &BPE.replace(r#", ["\u0120", "a "]"#, ""), TOKENIZER_CONFIG).unwrap();
    let json = comes_back(&model, &config);
    assert_eq!(json["model"]["merges"], json!(["a b.c"]));
    assert_eq!(
        json["model"]["vocab"],
        json!({"a": 0, "b.c": 1, "ab.c": 2, "\u{120}a": 3, "<s>": 4, " x": 5})
    );
    let added: Vec<_> = json["added_tokens"]
        .as_array()
        .unwrap()
        .iter()
        .map(|token| (&token["content"], &token["special"]))
        .collect();
    assert_eq!(added, [(&json!("<s>"), &json!(true)), (&json!(" x"), &json!(false))]);
    let model = import(&config, BPE, TOKENIZER_CONFIG).unwrap();
    let json: Json = serde_json::from_str(&tokenizer_json(&model.metadata()).unwrap()).unwrap();
    assert_eq!(json["model"]["merges"], json!(["a b.c"]));
}

#[test]
fn word_pieces_come_back() {
    let tokenizer = r#"{"added_tokens": [{"id": 0, "content": "[CLS]", "special": true}, {"id": 1, "content": "[SEP]", "special": true},
            {"id": 2, "content": "[UNK]", "special": true}],
        "normalizer": {"type": "BertNormalizer", "lowercase": false, "strip_accents": true},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]"}}, {"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "[SEP]"}}],
            "pair": [{"SpecialToken": {"id": "[CLS]"}}, {"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "[SEP]"}}, {"Sequence": {"id": "B"}}, {"SpecialToken": {"id": "[SEP]"}}]},
        "model": {"type": "WordPiece", "vocab": {"[CLS]": 0, "[SEP]": 1, "[UNK]": 2, "the": 3, "\u0023\u0023ing": 4}}}"#;
    let config =
        CONFIG.replace("\"eos_token_id\": 5, ", "").replace("{\"arch", "{\"type_vocab_size\": 2, \"arch");
    let settings = r#"{"cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}"#;
    let model = import(&config, tokenizer, settings).unwrap();
    let json = comes_back(&model, &config);
    assert_eq!(json["model"]["vocab"], json!({"[CLS]": 0, "[SEP]": 1, "[UNK]": 2, "the": 3, "##ing": 4}));
    assert_eq!(json["model"]["unk_token"], "[UNK]");
    assert_eq!(json["normalizer"]["lowercase"], false);
    let settings: Json = serde_json::from_str(&tokenizer_config_json(&model.metadata()).unwrap()).unwrap();
    assert_eq!((&settings["cls_token"], &settings["bos_token"]), (&json!("[CLS]"), &Json::Null));
    assert_eq!(settings["model_input_names"], json!(["input_ids", "token_type_ids", "attention_mask"]));
}

#[test]
fn unigrams_come_back() {
    let tokenizer = r#"{"added_tokens": [{"id": 0, "content": "<s>", "special": true}, {"id": 4, "content": "<mask>", "special": true},
            {"id": 5, "content": "</s>", "special": true}],
        "normalizer": {"type": "Precompiled", "precompiled_charsmap": "BAAAAAAAAABBAA=="},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "</s>"}}],
            "pair": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "</s>"}}, {"SpecialToken": {"id": "</s>"}}, {"Sequence": {"id": "B"}}, {"SpecialToken": {"id": "</s>"}}]},
        "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always"},
        "model": {"type": "Unigram", "unk_id": 1, "vocab": [["<s>", 0.0], ["<unk>", 0.0], ["\u2581a", -1.5], ["b", -2.25]]}}"#;
    let settings = r#"{"bos_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "mask_token": "<mask>", "unk_token": "<unk>", "clean_up_tokenization_spaces": true}"#;
    let config = CONFIG.replace("\"eos_token_id\": 5, ", "");
    let model = import(&config, tokenizer, settings).unwrap();
    assert!(model.metadata().require::<bool>("tokenizer.ggml.add_sep_token").unwrap());
    let json = comes_back(&model, &config);
    // Rows beyond the tokens are none.
    let vocab = json!([
        ["<s>", 0.0],
        ["<unk>", 0.0],
        ["\u{2581}a", -1.5],
        ["b", -2.25],
        ["<mask>", 0.0],
        ["</s>", 0.0]
    ]);
    assert_eq!((&json["model"]["vocab"], &json["model"]["unk_id"]), (&vocab, &json!(1)));
    assert_eq!(
        json["normalizer"],
        json!({"type": "Precompiled", "precompiled_charsmap": "BAAAAAAAAABBAA=="})
    );
}

/// A piece that comes of two others is merged the sooner the greater its score.
#[test]
fn scores_become_merges() {
    let pieces = [
        piece("<unk>", 0.0, 2),
        piece("<0x0A>", 0.0, 6),
        piece("a", -9.0, 1),
        piece("b", -9.0, 1),
        piece("ab", -2.0, 1),
        piece("ba", -1.0, 1),
        piece("aba", -2.0, 1),
        piece("<s>", 0.0, 3),
    ];
    let file = [pieces.concat(), vec![0x12, 2, 0x18, 2]].concat();
    let settings = br#"{"bos_token": "<s>", "add_prefix_space": true}"#;
    let model = import_folder(&[("tokenizer.model", &file), ("tokenizer_config.json", settings)]).unwrap();
    let text = tokenizer_json(&model.metadata()).unwrap();
    let json: Json = serde_json::from_str(&text).unwrap();
    assert_eq!(json["model"]["merges"], json!(["b a", "a b", "a ba", "ab a"]));
    assert_eq!(
        (&json["model"]["byte_fallback"], &json["model"]["unk_token"]),
        (&json!(true), &json!("<unk>"))
    );
    assert_eq!(json["normalizer"]["normalizers"][0], json!({"type": "Prepend", "prepend": "\u{2581}"}));
    // llama.cpp begins such texts with a token where no key forbids it.
    assert_eq!(json["post_processor"]["single"][0]["SpecialToken"]["id"], "<0x0A>");
    // Scores are those of places then, and the merges the same.
    let again = import(CONFIG, &text, &tokenizer_config_json(&model.metadata()).unwrap()).unwrap();
    let again: Json = serde_json::from_str(&tokenizer_json(&again.metadata()).unwrap()).unwrap();
    assert_eq!(again["model"], json["model"]);
}

/// A GGUF of these keys.
fn with(pairs: &[(&str, Value)]) -> Gguf<Vec<u8>> {
    let mut writer = Writer::new(Vec::new());
    for (key, value) in pairs {
        writer.set_metadata(key, value.clone()).unwrap();
    }
    Gguf::parse(writer.write_header().unwrap().finish().unwrap()).unwrap()
}

fn texts(texts: &[&str]) -> Value {
    Value::Array(Array::String(texts.iter().map(|text| text.as_bytes().to_vec()).collect()))
}

fn error(pairs: &[(&str, Value)]) -> String {
    tokenizer_json(&with(pairs).metadata()).unwrap_err().to_string()
}

#[test]
fn what_such_a_file_cannot_have_is_an_error() {
    let (model, pre) = ("tokenizer.ggml.model", "tokenizer.ggml.pre");
    let (tokens, kinds, scores) =
        ("tokenizer.ggml.tokens", "tokenizer.ggml.token_type", "tokenizer.ggml.scores");
    let two = || (tokens, texts(&["a", "b"]));
    let of = |name: &str| (model, Value::from(name));
    assert_eq!(error(&[]), "the metadata has no key 'tokenizer.ggml.model'");
    assert_eq!(error(&[of("gpt2")]), "the metadata has no key 'tokenizer.ggml.tokens'");
    for (pairs, wanted) in [
        (vec![of("rwkv"), two()], "'tokenizer.ggml.model' is 'rwkv', not one that tokenizer.json has"),
        (
            vec![of("gpt2"), (pre, Value::from("afmoe2")), two()],
            "'tokenizer.ggml.pre' is 'afmoe2', not the name",
        ),
        // llama.cpp ends the process where a text has two spaces.
        (vec![of("gpt2"), (pre, Value::from("whitespace")), two()], "is 'whitespace', not the name"),
        (vec![of("whitespace"), two()], "'tokenizer.ggml.model' is 'whitespace', not one"),
        (vec![of("gpt2"), two()], "no key 'tokenizer.ggml.merges'"),
        (
            vec![of("gpt2"), (tokens, texts(&["a", "a"]))],
            "element 1 of key 'tokenizer.ggml.tokens' is 'a', as element 0 is",
        ),
        (vec![of("llama"), two()], "is 'llama' without 'tokenizer.ggml.scores'"),
        (
            vec![of("llama"), two(), (kinds, Value::from(vec![1i32]))],
            "'tokenizer.ggml.token_type' is an array of 1, not one of 2",
        ),
        (
            vec![of("t5"), two(), (scores, Value::from(vec![0.0f32]))],
            "'tokenizer.ggml.scores' is an array of 1, not one of 2",
        ),
        (
            vec![of("t5"), two(), (scores, Value::from(vec![0.0, f32::NAN]))],
            "element 1 of key 'tokenizer.ggml.scores' is NaN, not a finite score",
        ),
    ] {
        let found = error(&pairs);
        assert!(found.contains(wanted), "{found}");
    }
}

/// Merges of Gemma 4 are of characters, and spaces are marked.
#[test]
fn characters_merge_by_a_list_too() -> Result<()> {
    let model = with(&[
        ("tokenizer.ggml.model", "gemma4".into()),
        ("tokenizer.ggml.tokens", texts(&["<unk>", "<0x0A>", "\u{2581}", "a", "\u{2581}a"])),
        ("tokenizer.ggml.merges", texts(&["\u{2581} a", "a a"])),
        ("tokenizer.ggml.unknown_token_id", Value::U32(0)),
    ]);
    let json: Json = serde_json::from_str(&tokenizer_json(&model.metadata())?).unwrap();
    assert_eq!(json["model"]["merges"], json!(["\u{2581} a"]));
    assert_eq!(
        (&json["model"]["byte_fallback"], &json["model"]["unk_token"]),
        (&json!(true), &json!("<unk>"))
    );
    assert_eq!(
        json["normalizer"],
        json!({"type": "Replace", "pattern": {"String": " "}, "content": "\u{2581}"})
    );
    Ok(())
}

/// What is between spaces is merged of characters.
#[test]
fn words_between_spaces_come_back() {
    let tokenizer = r#"{"normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "WhitespaceSplit"}, "added_tokens": [
            {"id": 0, "content": "<s>", "special": true}, {"id": 1, "content": "</s>", "special": true},
            {"id": 2, "content": "<unk>", "special": true}],
        "model": {"type": "BPE", "unk_token": "<unk>", "vocab": {"<s>": 0, "</s>": 1, "<unk>": 2, "\u4e2d": 3, "\u6587": 4, "\u4e2d\u6587": 5},
            "merges": ["\u4e2d \u6587"]}}"#;
    let config = CONFIG.replace(", \"eos_token_id\": 5", "");
    let settings = r#"{"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}"#;
    let model = import(&config, tokenizer, settings).unwrap();
    let json = comes_back(&model, &config);
    assert_eq!(json["model"]["merges"], json!(["\u{4e2d} \u{6587}"]));
    assert_eq!((&json["model"]["unk_token"], &json["model"]["fuse_unk"]), (&json!("<unk>"), &json!(false)));
    assert_eq!(json["normalizer"]["type"], "Lowercase");
    let text = |key: &str| model.metadata().require::<&str>(key).map(str::to_owned).unwrap();
    assert_eq!(
        (text("tokenizer.ggml.model"), text("tokenizer.ggml.pre")),
        ("whitespace".to_owned(), "whitespace".to_owned())
    );
    // llama.cpp's converter takes one that cuts around punctuation for the same.
    let cuts_more = tokenizer.replace("WhitespaceSplit", "Whitespace");
    assert_eq!(keys(&import(&config, &cuts_more, settings).unwrap()), keys(&model));
}

/// `tokenizer.json`, `tokenizer_config.json` and `generation_config.json` of a model, and the notes.
fn folder(model: Gguf<Vec<u8>>) -> ([Option<Vec<u8>>; 3], Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("model.gguf"), model.into_inner()).unwrap();
    let report = ToSafetensors::new(&Input::open(path("model.gguf")).unwrap()).run(path("folder")).unwrap();
    let read = |name: &str| std::fs::read(path("folder").join(name)).ok();
    (["tokenizer.json", "tokenizer_config.json", "generation_config.json"].map(read), report.notes)
}

#[test]
fn a_folder_has_the_tokenizer_and_what_is_advised() {
    let write = |pairs: &[(&str, Value)]| folder(with(pairs));
    let model = |name: &str| ("tokenizer.ggml.model", Value::from(name));
    let tokens = ("tokenizer.ggml.tokens", texts(&["a", "<s>"]));
    let merges = ("tokenizer.ggml.merges", texts(&[]));
    let ids =
        [("tokenizer.ggml.eos_token_id", Value::U32(1)), ("tokenizer.ggml.eot_token_id", Value::U32(0))];
    let sampling = [("general.sampling.temp", Value::F32(0.6)), ("general.sampling.top_k", Value::I32(20))];
    let templates = [
        ("tokenizer.chat_template", Value::from("{{ a }}")),
        ("tokenizer.chat_template.tools", Value::from("{{ b }}")),
        ("tokenizer.chat_templates", texts(&["tools"])),
    ];
    let all: Vec<_> =
        [model("gpt2"), tokens, merges].into_iter().chain(ids).chain(sampling).chain(templates).collect();
    let ([tokenizer, settings, generation], notes) = write(&all);
    let read = |file: Option<Vec<u8>>| serde_json::from_slice::<Json>(&file.unwrap()).unwrap();
    assert_eq!(read(tokenizer)["model"]["type"], "BPE");
    let settings = read(settings);
    assert_eq!(settings["eos_token"], "<s>");
    let templates =
        json!([{"name": "default", "template": "{{ a }}"}, {"name": "tools", "template": "{{ b }}"}]);
    assert_eq!(settings["chat_template"], templates);
    assert_eq!(settings["model_input_names"], json!(["input_ids", "attention_mask"]));
    let advised = json!({"temperature": 0.6, "top_k": 20, "do_sample": true, "eos_token_id": [1, 0]});
    assert_eq!(read(generation), advised);
    assert!(notes.is_empty(), "{notes:?}");

    let ([tokenizer, _, generation], notes) = write(&[model("rwkv")]);
    assert_eq!((tokenizer, generation), (None, None));
    assert!(
        notes[0].starts_with("there is no tokenizer.json: key 'tokenizer.ggml.model' is 'rwkv'"),
        "{notes:?}"
    );
    assert_eq!(write(&[]), ([None, None, None], Vec::new()));
}

/// What the tokenizers library would not load, or take for something else.
#[test]
fn merges_are_told_apart_and_come_once() {
    let of = |tokens: &[&str], merges: &[&str]| {
        let model = with(&[
            ("tokenizer.ggml.model", "gpt2".into()),
            ("tokenizer.ggml.tokens", texts(tokens)),
            (
                "tokenizer.ggml.token_type",
                Value::from((0..tokens.len()).map(|at| if at == 1 { 99 } else { 1 }).collect::<Vec<i32>>()),
            ),
            ("tokenizer.ggml.merges", texts(merges)),
        ]);
        let ([tokenizer, ..], notes) = folder(model);
        (serde_json::from_slice::<Json>(&tokenizer.unwrap()).unwrap()["model"]["merges"].clone(), notes)
    };
    let (merges, notes) = of(&["a", "b", "ab", "ba"], &["b a", "a b", "b a", "x y", "a", "b b"]);
    assert_eq!(merges, json!(["b a", "a b"]));
    assert!(notes[0].starts_with("1 token has a type in 'tokenizer.ggml.token_type'"), "{notes:?}");
    assert!(notes[1].starts_with("3 merges are not in tokenizer.json"), "{notes:?}");
    let (merges, notes) = of(&["a", " a", "b c", " ab c", "aa"], &[" a b c", "a a"]);
    assert_eq!(merges, json!([[" a", "b c"], ["a", "a"]]));
    assert_eq!(notes.len(), 1, "{notes:?}");
}

#[test]
fn no_file_names_a_token_that_it_does_not_have() {
    let (tokens, kinds, scores) =
        ("tokenizer.ggml.tokens", "tokenizer.ggml.token_type", "tokenizer.ggml.scores");
    let model = |name: &str| ("tokenizer.ggml.model", Value::from(name));
    let padded = || {
        [
            (tokens, texts(&["a", "b", "c", "[PAD3]"])),
            (kinds, Value::from(vec![1, 1, 1, 5])),
            (scores, Value::from(vec![0.0f32; 4])),
        ]
    };
    let id = |key: &'static str, id: u32| (key, Value::U32(id));
    let unknown = "tokenizer.ggml.unknown_token_id";
    let empty = || vec![model("t5"), (tokens, texts(&[])), (scores, Value::from(Vec::<f32>::new()))];
    for pairs in [
        empty(),
        [vec![model("t5"), id(unknown, 3)], padded().to_vec()].concat(),
        [vec![model("bert")], padded().to_vec()].concat(),
        [vec![model("bert"), id(unknown, 3)], padded().to_vec()].concat(),
    ] {
        let ([tokenizer, ..], notes) = folder(with(&pairs));
        assert!(tokenizer.is_none() && notes[0].contains("'tokenizer.ggml.tokens' is without "), "{notes:?}");
    }
    let (bos, adds) = ("tokenizer.ggml.bos_token_id", "tokenizer.ggml.add_bos_token");
    for at in [3, 99] {
        let pairs = [
            vec![
                model("gpt2"),
                ("tokenizer.ggml.merges", texts(&[])),
                id(bos, at),
                (adds, Value::Bool(true)),
            ],
            padded().to_vec(),
        ]
        .concat();
        let ([tokenizer, settings, _], notes) = folder(with(&pairs));
        let read = |file: Option<Vec<u8>>| serde_json::from_slice::<Json>(&file.unwrap()).unwrap();
        assert_eq!(read(tokenizer)["post_processor"], Json::Null);
        let settings = read(settings);
        assert_eq!((&settings["bos_token"], settings.get("add_bos_token")), (&Json::Null, None));
        assert!(notes[0].starts_with("tokenizer_config.json has no 'add_bos_token'"), "{notes:?}");
    }
}

#[test]
fn no_file_advises_what_cannot_be() {
    let sampling = |[temp, top_p, min_p, penalty]: [f32; 4], top_k: i32| {
        let mut writer = Writer::new(Vec::new());
        let keys = [("temp", temp), ("top_p", top_p), ("min_p", min_p), ("penalty_repeat", penalty)];
        for (key, value) in keys {
            writer.set_metadata(&format!("general.sampling.{key}"), Value::F32(value)).unwrap();
        }
        writer.set_metadata("general.sampling.top_k", Value::I32(top_k)).unwrap();
        for (key, id) in [
            ("general.architecture", Value::from("llama")),
            ("llama.embedding_length", Value::U32(4)),
            ("llama.feed_forward_length", Value::U32(4)),
            ("llama.block_count", Value::U32(0)),
            ("llama.attention.head_count", Value::U32(1)),
            ("llama.context_length", Value::U32(8)),
            ("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
            ("tokenizer.ggml.bos_token_id", Value::U32(3)),
            ("tokenizer.ggml.eos_token_id", Value::U32(2)),
        ] {
            writer.set_metadata(key, id).unwrap();
        }
        writer.declare_tensor("token_embd.weight", &[4, 3], gguf_codec::GgmlType::F32).unwrap();
        let mut data = writer.write_header().unwrap();
        data.write_tensor("token_embd.weight", &[0; 48]).unwrap();
        let ([_, _, generation], notes) = folder(Gguf::parse(data.finish().unwrap()).unwrap());
        (serde_json::from_slice::<Json>(&generation.unwrap()).unwrap(), notes)
    };
    let note = "'tokenizer.ggml.bos_token_id' is 3, and left out: the vocabulary has 3 rows";
    for (single, top_k) in [(f32::NAN, -1), (f32::INFINITY, i32::MIN), (-5.0, -2)] {
        let (generation, notes) = sampling([single; 4], top_k);
        assert_eq!(generation, json!({"eos_token_id": 2}));
        let of = |key: &str| {
            notes.iter().filter(|note| note.starts_with(&format!("'general.sampling.{key}' is "))).count()
        };
        assert_eq!(["temp", "top_p", "min_p", "penalty_repeat", "top_k"].map(of), [1; 5], "{notes:?}");
        // Of both files.
        assert_eq!(notes.iter().filter(|other| *other == note).count(), 1, "{notes:?}");
    }
    let (generation, notes) = sampling([0.0, 1.0, 0.0, 1.5], 0);
    let wanted = json!({"do_sample": false, "top_p": 1.0, "min_p": 0.0, "repetition_penalty": 1.5, "top_k": 0, "eos_token_id": 2});
    assert_eq!(generation, wanted);
    assert!(!notes.iter().any(|note| note.contains("sampling")), "{notes:?}");
}
