//! What `inspect` shows of whole models: screens, layers that are alike, what is asked for, memory, and names.

use gguf_codec::{GgmlType, Writer};

use crate::support::*;

/// The expected screens, which `GGUF_WRITE_SCREENS=1` rewrites.
fn is_screen(name: &str, text: &str) {
    let path = format!("{}/tests/program/screens/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("GGUF_WRITE_SCREENS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap();
    assert!(text == wanted, "{path} is another screen now:\n{text}");
}

#[test]
fn screens_are_as_wide_as_the_terminal() {
    for columns in [40, 80, 120] {
        let text = works("inspect", &["--width", &columns.to_string()]);
        assert!(text.lines().all(|line| line.chars().count() <= columns), "{text}");
        assert!(!text.lines().any(|line| line.ends_with(' ')), "{text}");
        is_screen(&format!("inspect-{columns}"), &text);
    }
    let piped = works("inspect", &[]);
    assert!(!piped.lines().any(|line| line.ends_with(' ')), "{piped}");
    is_screen("inspect-piped", &piped);
    // Full values, and every tensor by name.
    assert!(piped.contains("add_generation_prompt") && piped.contains("\nblk.1.ffn_up.weight "), "{piped}");
}

/// A model with four layers, one of which differs.
fn four_layers() -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    writer.set_metadata("general.architecture", "llama").unwrap();
    let names: Vec<_> = (0..4).flat_map(|i| [format!("blk.{i}.b"), format!("blk.{i}.a")]).collect();
    for (i, name) in names.iter().enumerate() {
        writer.declare_tensor(name, &[32], if i == 5 { GgmlType::F16 } else { GgmlType::F32 }).unwrap();
    }
    let mut data = writer.write_header().unwrap();
    for (i, name) in names.iter().enumerate() {
        data.write_tensor(name, &vec![0; if i == 5 { 64 } else { 128 }]).unwrap();
    }
    data.finish().unwrap()
}

#[test]
fn layers_that_are_alike_are_told_together() {
    let folder = Folder::new();
    let file = four_layers();
    let input = folder.file("m.gguf", &file);
    let text = works("inspect", &[&input, "--width", "80"]);
    let words: Vec<_> =
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let wanted = [
        "blk.0, 1, 3 (3 alike, 256 B each)",
        "a F32 32 128 B",
        "b F32 32 128 B",
        "blk.2 (192 B)",
        "a F16 32 64 B",
    ];
    assert!(words.windows(wanted.len()).any(|lines| lines == wanted), "{text}");
    for more in [&["--width", "80", "--all"][..], &[]] {
        let text = works("inspect", &[&[input.as_str()], more].concat());
        assert!(text.contains("\nblk.3.b ") && !text.contains("alike"), "{text}");
    }
    // For an incomplete file, layers with data are distinguished from those without.
    let part = folder.file("part.gguf", &file[..file.len() - 200]);
    let output = finish(forced("inspect", &[&part, "--width", "80"]));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.code() == Some(1) && text.contains("6 of 8 tensors whole"), "{text}");
    assert!(
        text.contains("blk.0, 1 (2 alike") && text.contains("missing") && text.contains("cut off"),
        "{text}"
    );
}

#[test]
fn several_files_are_shown_one_after_the_other() {
    let folder = Folder::new();
    let one = folder.file("one.gguf", four_layers());
    let junk = folder.file("junk.gguf", b"PK\x03\x04....");
    let text = works("inspect", &[&one, SAMPLE]);
    assert!(
        text.starts_with(&format!("{one}\n")) && text.contains("\n\n/") && text.contains("Sample Llama"),
        "{text}"
    );
    let json: serde_json::Value = serde_json::from_str(&works("inspect", &[&one, SAMPLE, "--json"])).unwrap();
    assert_eq!((&json[0]["summary"]["layers"], &json[1]["summary"]["layers"]), (&().into(), &2.into()));
    assert_eq!(json[1]["summary"]["kv_heads"], serde_json::json!([2, 2]));
    let output = finish(forced("inspect", &[&junk, &one, &folder.path("none.gguf")]));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), errors.lines().count()), (Some(1), 2), "{errors}");
    assert!(errors.contains("zip archive") && String::from_utf8(output.stdout).unwrap().starts_with(&one));
    let lines = works("inspect", &[&one, SAMPLE, "--key", "general.architecture"]);
    assert_eq!(lines, format!("{one}: llama\n{SAMPLE}: llama\n"));

    works("split", &[&one, &folder.path("m"), "--max-tensors", "3"]);
    let shards = [1, 2, 3].map(|i| folder.path(&format!("m-0000{i}-of-00003.gguf")));
    let shards: Vec<_> = shards.iter().rev().map(String::as_str).collect();
    let text = works("inspect", &shards);
    assert!(text.contains(" · 3 shards\n") && text.matches("\ntensors (").count() == 1, "{text}");
}

#[test]
fn keys_and_tensors_are_asked_for_by_patterns() {
    let text = works("inspect", &["--key", "llama.*_length"]);
    assert_eq!(
        text,
        "llama.context_length = 2048\nllama.embedding_length = 64\nllama.feed_forward_length = 256\n"
    );
    let json: serde_json::Value =
        serde_json::from_str(&works("inspect", &["--key", "*.tokens", "--json"])).unwrap();
    assert_eq!(json["tokenizer.ggml.tokens"].as_array().unwrap().len(), 64);
    assert!(fails("inspect", &["--key", "nothing.*"]).ends_with("no key matches 'nothing.*'"));
    let text = works("inspect", &["--tensor", "blk.*.attn_q.*"]);
    assert!(
        text.starts_with("blk.0.attn_q.weight: Q8_0") && text.contains("\n\nblk.1.attn_q.weight: Q4_0"),
        "{text}"
    );
    let json: serde_json::Value =
        serde_json::from_str(&works("inspect", &["--tensor", "*norm*", "--json"])).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 5);
    assert!(fails("inspect", &["--tensor", "x*"]).ends_with("no tensor matches 'x*'"));
    let whole: serde_json::Value = serde_json::from_str(&works("inspect", &["--json", "--all"])).unwrap();
    assert_eq!(whole["metadata"]["tokenizer.ggml.tokens"].as_array().unwrap().len(), 64);
}

#[test]
fn the_memory_of_a_context_is_told() {
    let memory = |args: &[&str]| -> serde_json::Value {
        let json: serde_json::Value =
            serde_json::from_str(&works("inspect", &[&[SAMPLE, "--json"], args].concat())).unwrap();
        json["memory"].clone()
    };
    let found = memory(&[]);
    assert_eq!((&found["context"], &found["kv_cache"]), (&2048.into(), &(2048 * 2 * 2 * 64).into()));
    let found = memory(&["--context", "1000", "--kv-type", "q8_0"]);
    assert_eq!((&found["kv_type"], &found["kv_cache"]), (&"Q8_0".into(), &(1024 * 2 * 2 * 34).into()));
    let text = works("inspect", &[SAMPLE, "--kv-type", "q4_0", "--context", "4096"]);
    assert!(
        text.contains("\nmemory at 4,096 tokens: 402 kB = 107 kB weights + 295 kB KV cache (q4_0)\n"),
        "{text}"
    );
    assert_eq!(memory(&["--context", "4k", "--kv-type", "q4_0"])["context"], 4096);
    for (option, value, said) in [
        ("--kv-type", "q4_k", "[possible values: F32, F16, BF16, Q8_0, Q4_0, Q4_1, IQ4_NL, Q5_0, Q5_1]"),
        ("--context", "0k", "such as 32768 or 32k"),
        ("--context", "4kB", "such as 32768 or 32k"),
    ] {
        let line = fails("inspect", &[SAMPLE, option, value]);
        assert!(line.contains(said), "{line}");
    }
    let folder = Folder::new();
    let unknown = folder.path("unknown.gguf");
    works(
        "edit",
        &[
            SAMPLE,
            &unknown,
            "--set",
            "general.architecture=other",
            "--rename-key",
            "llama.context_length=other.context_length",
        ],
    );
    assert!(!works("inspect", &[&unknown]).contains("memory"));
    let text = works("inspect", &[&unknown, "--context", "512"]);
    assert!(
        text.contains(
            "\nmemory: unknown (how much memory a context of architecture 'other' takes is not known)\n"
        ),
        "{text}"
    );
}

#[test]
fn models_in_other_programs_stores_have_their_names() {
    let folder = Folder::new();
    let write = |name: &str, bytes: &[u8]| {
        let path = std::path::PathBuf::from(folder.path(name));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    let sample = std::fs::read(SAMPLE).unwrap();
    let manifest = |digest: &str| {
        format!(
            r#"{{"layers": [{{"mediaType": "x", "digest": "sha256:00"}}, {{"mediaType": "application/vnd.ollama.image.model", "digest": "{digest}"}}]}}"#
        )
    };
    write("ollama/blobs/sha256-ab12", &sample);
    write("ollama/manifests/registry.ollama.ai/library/tiny/latest", manifest("sha256:ab12").as_bytes());
    write("ollama/manifests/registry.ollama.ai/me/tiny/7b", manifest("sha256:ab12").as_bytes());
    write("ollama/manifests/registry.ollama.ai/library/bad/latest", manifest("sha256:../../etc").as_bytes());
    write("hub/models--org--repo/refs/main", b"c0ffee\n");
    write("hub/models--org--repo/snapshots/c0ffee/sub/m.gguf", &sample);
    let run = |name: &str| {
        let mut command = gguf("inspect");
        command.arg(name).env("OLLAMA_MODELS", folder.path("ollama")).env("HF_HUB_CACHE", folder.path("hub"));
        // The hub is asked for files that are not in the cache: nothing listens at this port.
        command.env("HF_ENDPOINT", "http://127.0.0.1:1").env_remove("HTTP_PROXY").env_remove("http_proxy");
        let output = finish(command);
        let (text, errors) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        if output.status.success() { Ok(text) } else { Err(errors) }
    };
    for name in ["ollama:tiny", "ollama:tiny:latest", "ollama:me/tiny:7b", "hf:org/repo/sub/m.gguf"] {
        assert!(run(name).unwrap().starts_with(&format!("{name}   Sample Llama 2 layers\n")));
    }
    for (name, message) in [
        ("ollama:none", "Ollama's store has no such model"),
        ("ollama:a/b/c/d", "is called [HOST/][NAMESPACE/]MODEL[:TAG]"),
        ("ollama:../x", "a part of the name is none"),
        ("ollama:bad", "has a digest that is none"),
        (
            "hf:org/repo/other.gguf",
            "is not in the cache of Hugging Face's programs, and 'http://127.0.0.1:1/org/repo/resolve/main/other.gguf'",
        ),
        ("hf:org/repo/../../x", "a part of the name is none"),
        ("hf:org", "a file is called hf:ORG/REPO/FILE"),
    ] {
        let line = run(name).unwrap_err();
        assert!(line.starts_with(&format!("gguf inspect: '{name}'")) && line.contains(message), "{line}");
    }
}
