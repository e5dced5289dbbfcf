//! `report`: a well-formed page that shows the file's contents and runs nothing from the file.
//!
//! `tests/browser/report.mjs` tests the page in a browser.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use gguf_codec::{ByteOrder, GgmlType, QuantError, Writer, quantize};

use crate::support::*;

/// A start tag, or an end tag with an empty set of attributes.
#[derive(Debug)]
struct Tag {
    name: String,
    end: bool,
    attributes: BTreeMap<String, String>,
}

/// The page's tags, parsed as strictly as XML: attributes are quoted, and `<` occurs only at the start of a tag. Styles and the
/// script are skipped.
fn tags(page: &str) -> Vec<Tag> {
    let mut tags = Vec::new();
    let mut rest = page.strip_prefix("<!DOCTYPE html>").unwrap();
    while let Some(at) = rest.find('<') {
        let (tag, behind) = rest[at + 1..].split_once('>').unwrap();
        rest = behind;
        let (end, tag) = tag.strip_prefix('/').map_or((false, tag), |tag| (true, tag));
        let name: String = tag.chars().take_while(|character| character.is_ascii_alphanumeric()).collect();
        assert!(!name.is_empty(), "no tag: <{tag}>");
        let mut attributes = BTreeMap::new();
        let mut left = tag[name.len()..].trim_start();
        while !left.is_empty() {
            let cut = left.find(['=', ' ']).unwrap_or(left.len());
            let (key, value) = left.split_at(cut);
            let value = match value.strip_prefix("=\"") {
                Some(value) => {
                    let (value, behind) = value.split_once('"').unwrap_or_else(|| panic!("<{tag}>"));
                    left = behind.trim_start();
                    value
                }
                None => {
                    left = value.trim_start();
                    assert!(!left.starts_with('='), "<{tag}>");
                    ""
                }
            };
            assert!(attributes.insert(key.to_owned(), value.to_owned()).is_none(), "{key} twice: <{tag}>");
        }
        let raw = ["style", "script"].contains(&name.as_str()) && !end;
        if raw {
            rest = &rest[rest.find(&format!("</{name}>")).unwrap()..];
        }
        tags.push(Tag { name, end, attributes });
    }
    tags
}

/// Fails if elements are not closed in order, an id is used twice, a reference leads nowhere, something would be loaded,
/// or a picture has no text.
fn check(page: &str) {
    let tags = tags(page);
    let mut open: Vec<&str> = Vec::new();
    let (mut ids, mut links, mut names) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut level = 0;
    for tag in &tags {
        let name = tag.name.as_str();
        if tag.end {
            assert_eq!(open.pop(), Some(name));
            continue;
        }
        if !["meta", "link", "input", "br"].contains(&name) {
            open.push(name);
        }
        for (key, value) in &tag.attributes {
            assert!(!key.starts_with("on"), "{tag:?}");
            match key.as_str() {
                "id" => assert!(ids.insert(value.clone()), "{value} twice"),
                "href" if value == "data:," => {}
                "href" => {
                    links.insert(value.strip_prefix('#').unwrap_or_else(|| panic!("{tag:?}")).to_owned());
                }
                "src" | "srcset" | "action" => panic!("{tag:?}"),
                "aria-labelledby" | "for" => names.extend(value.split(' ').map(str::to_owned)),
                _ => {}
            }
        }
        if let Some(heading @ 1..=6) = name.strip_prefix('h').and_then(|level| level.parse().ok()) {
            assert!(heading <= level + 1, "h{heading} under h{level}");
            level = heading;
        }
        let has = |key: &str| tag.attributes.get(key).is_some_and(|value| !value.is_empty());
        match name {
            "svg" => assert!(has("aria-labelledby") || has("aria-hidden"), "{tag:?}"),
            "th" => assert!(has("scope"), "{tag:?}"),
            "a" if tag.attributes.get("class").is_some_and(|class| class == "tile") => {
                assert!(has("aria-label"));
            }
            _ => {}
        }
    }
    assert!(open.is_empty(), "{open:?}");
    assert!(links.is_subset(&ids), "{:?}", links.difference(&ids).collect::<Vec<_>>());
    assert!(names.is_subset(&ids), "{:?}", names.difference(&ids).collect::<Vec<_>>());
    let count = |name: &str| tags.iter().filter(|tag| tag.name == name && !tag.end).count();
    for one in ["h1", "main", "nav", "header", "footer", "script", "style"] {
        assert_eq!(count(one), 1, "{one}");
    }
    assert_eq!(count("figure"), count("figcaption"));
    // A table for every picture.
    for figure in page.split("<figure").skip(1) {
        let figure = figure.split_once("</figure>").unwrap().0;
        assert!(figure.contains("<details>") && figure.contains("<tbody>"), "{figure}");
    }
    let style = &page[page.find("<style>").unwrap()..page.find("</style>").unwrap()];
    assert!(!style.contains("@import") && !style.replace("url(#pattern", "").contains("url("));
    assert!(page.contains("default-src 'none'") && !page.contains("http://") && !page.contains("https://"));
}

#[test]
fn the_page_holds_together_and_needs_nothing() {
    let folder = Folder::new();
    let out = folder.path("report.html");
    let said = works("report", &[SAMPLE, "-o", &out]);
    assert!(said.contains("report.html: 20 tensors"), "{said}");
    let page = fs::read_to_string(&out).unwrap();
    check(&page);
    for part in ["id=\"treemap\"", "id=\"by-type\"", "id=\"by-layer\"", "id=\"bits\"", "id=\"histogram-0\""] {
        assert!(page.contains(part), "{part}");
    }
    // Optional parts are absent.
    assert!(!page.contains("id=\"errors\"") && !page.contains("Other type"));
    for part in ["general.architecture", "blk.1.ffn_down.weight", "token_embd.weight"] {
        assert!(page.contains(part), "{part}");
    }
    assert_eq!(page.matches("<tr id=\"tensor-").count(), 20);
}

#[test]
fn a_budget_is_a_picture_of_many_sizes() {
    let folder = Folder::new();
    let out = folder.path("report.html");
    works("report", &[SAMPLE, "-o", &out, "--budget"]);
    let page = fs::read_to_string(&out).unwrap();
    check(&page);
    for part in [
        "href=\"#budget\"",
        "id=\"budget-curve\"",
        "id=\"budget-size\"",
        "<g class=\"choice\">",
        "Q4_K_M",
        "predicted damage",
    ] {
        assert!(page.contains(part), "{part}");
    }
    let sensitivity = folder.file("sensitivity", "token_embd.weight\t0\n");
    let other = folder.path("other.html");
    works("report", &[SAMPLE, "-o", &other, "--budget", "--sensitivity", &sensitivity]);
    assert_ne!(fs::read_to_string(&other).unwrap(), page);
    let bad = folder.file("bad", "x");
    let line = fails("report", &[SAMPLE, "-o", &out, "--budget", "--sensitivity", &bad]);
    assert!(line.contains("bad': line 1 of the sensitivities"), "{line}");
}

#[test]
fn the_same_model_gives_the_same_page() {
    let folder = Folder::new();
    let pages = ["a.html", "b.html"].map(|name| {
        let out = folder.path(name);
        works("report", &[SAMPLE, "--output", &out, "--against", SAMPLE]);
        fs::read_to_string(&out).unwrap()
    });
    check(&pages[0]);
    assert!(pages[0] == pages[1]);
    assert!(pages[0].contains("Every tensor is exactly equal."));
}

#[test]
fn the_first_shard_stands_for_all() {
    let folder = Folder::new();
    let out = folder.path("report.html");
    works("split", &[SAMPLE, &folder.path("m"), "--max-tensors", "6"]);
    let first = folder.path("m-00001-of-00004.gguf");
    let json = works("report", &[&first, "-o", &out, "--against", SAMPLE, "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["tensors"].as_array().unwrap().len(), 20);
    let page = fs::read_to_string(&out).unwrap();
    check(&page);
    assert!(page.contains("Every tensor is exactly equal.") && page.contains("<dt>Files</dt><dd>4</dd>"));
    assert!(works("report", &[&folder.path("m-00002-of-00004.gguf"), "-o", &out]).contains("6 tensors"));
}

/// A model of these tensors, as floats or quantized to a type.
fn written(tensors: &[(&str, &[u64])], ty: GgmlType, values: &[f32]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (name, dims) in tensors {
        writer.declare_tensor(name, dims, ty).unwrap();
    }
    let mut data = writer.write_header().unwrap();
    for (name, dims) in tensors {
        let mut tensor = data.begin(name).unwrap();
        tensor.write_values(&values[..dims.iter().product::<u64>() as usize], None).unwrap();
        tensor.finish().unwrap();
    }
    data.finish().unwrap()
}

#[test]
fn numbers_are_those_of_the_library() {
    let folder = Folder::new();
    let values = wave(64 * 40);
    let mine = [
        ("blk.0.ffn_up.weight", &[64, 40][..]),
        ("blk.1.ffn_up.weight", &[64, 40]),
        ("new", &[64]),
        ("turned", &[64, 2]),
    ];
    let theirs =
        [("blk.0.ffn_up.weight", &[64, 40][..]), ("blk.1.ffn_up.weight", &[64, 40]), ("turned", &[128])];
    let a = folder.file("a.gguf", written(&mine, GgmlType::Q4_0, &values));
    let b = folder.file("b.gguf", written(&theirs, GgmlType::F32, &values));
    let out = folder.path("report.html");
    let json = works("report", &[&a, "-o", &out, "--against", &b, "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();

    let mut blocks = vec![0; values.len() / 32 * 18];
    quantize(GgmlType::Q4_0, &values, 64, None, &mut blocks).unwrap();
    let error = QuantError::of(GgmlType::Q4_0, &values, 64, None).unwrap();
    let tensor = &json["tensors"][1];
    assert_eq!(tensor["name"], "blk.1.ffn_up.weight");
    assert!((tensor["error"]["rmse"].as_f64().unwrap() - error.rmse()).abs() < 1e-12);
    assert!((tensor["error"]["snr_db"].as_f64().unwrap() - error.snr_db()).abs() < 1e-9);
    assert_eq!(tensor["values_looked_at"], 64 * 40);
    assert!(json["tensors"][2]["error"].is_null() && json["tensors"][3]["error"].is_null());
    assert_eq!(json["by_layer"][1]["bytes"], blocks.len());
    assert_eq!(json["by_type"]["Q4_0"]["tensors"], 4);
    assert_eq!(json["totals"]["bits_per_weight"], 4.5);

    let page = fs::read_to_string(&out).unwrap();
    check(&page);
    let shown = format!("{:.1} dB", error.snr_db());
    assert!(page.contains(&format!("blk.1.ffn_up.weight: {shown}")), "{shown}");
    for part in ["1 tensor not there. ", "1 tensor of another shape there. ", "shape 128", "id=\"errors\""] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn what_a_model_says_is_text() {
    let folder = Folder::new();
    let attack = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;";
    let mut writer = Writer::new(Vec::new());
    writer.set_metadata("general.name", attack).unwrap();
    writer.set_metadata("general.architecture", attack).unwrap();
    writer.set_metadata("<script>alert(2)</script>", "\u{202e}\u{0}\u{7}").unwrap();
    writer.set_metadata("long", attack.repeat(40).as_str()).unwrap();
    writer.set_metadata("lines", "</pre></details>\n<script>").unwrap();
    writer.set_metadata("array", vec![attack.to_owned(), "]]>-->".into()]).unwrap();
    let names = [
        "<script>alert(3)</script>",
        "blk.0.\" onfocus=\"alert(4)",
        "<b>.blk.1.</title></svg>",
        "a\u{202e}\nb",
    ];
    for name in names {
        writer.declare_tensor(name, &[32, 2], GgmlType::F32).unwrap();
    }
    let mut data = writer.write_header().unwrap();
    for name in names {
        data.write_tensor(name, &floats(&wave(64))).unwrap();
    }
    let input = folder.file("<b>&\".gguf", data.finish().unwrap());
    let out = folder.path("report.html");
    works("report", &[&input, "-o", &out, "--against", &input]);
    let page = fs::read_to_string(&out).unwrap();
    // Fails on tags and attributes that do not belong to the page.
    check(&page);
    assert_eq!(page.matches("<script").count(), 1);
    assert_eq!(page.matches("<img").count(), 0);
    assert!(page.contains("&lt;script&gt;alert(2)&lt;/script&gt;") && page.contains("a\\u{202e}\\nb"));
    assert!(!page.contains(['\u{202e}', '\u{0}', '\u{7}']));
}

#[test]
fn odd_models_are_drawn() {
    let folder = Folder::new();
    let out = folder.path("report.html");
    let nan = floats(&[f32::NAN; 64]);
    let mut zeros = Writer::new(Vec::new());
    zeros.declare_tensor("blk.0.empty", &[0, 2], GgmlType::F32).unwrap();
    let big: Vec<u8> = wave(64).iter().flat_map(|value| value.to_be_bytes()).collect();
    let of = |order, name: &str, dims: &[u64], ty, bytes: &[u8]| model(order, &[(name, dims, ty, bytes)]);
    let models = [
        Writer::new(Vec::new()).write_header().unwrap().finish().unwrap(),
        zeros
            .write_header()
            .map(|mut data| {
                data.write_tensor("blk.0.empty", &[]).unwrap();
                data
            })
            .unwrap()
            .finish()
            .unwrap(),
        of(ByteOrder::Little, "w", &[32, 2], GgmlType::F32, &nan),
        of(ByteOrder::Little, "blk.0.w", &[32, 2], GgmlType::F32, &[0; 256]),
        of(ByteOrder::Little, "blk.4294967295.w", &[32, 2], GgmlType::F32, &floats(&[f32::MAX; 64])),
        of(ByteOrder::Little, "blk.0.ids", &[32, 2], GgmlType::I32, &[1; 256]),
        of(ByteOrder::Little, "blk.0.denormal", &[32, 2], GgmlType::F32, &floats(&[1e-45; 64])),
        of(ByteOrder::Big, "blk.0.big", &[32, 2], GgmlType::F32, &big),
    ];
    for (i, bytes) in models.into_iter().enumerate() {
        let input = folder.file("m.gguf", bytes);
        works("report", &[&input, "-o", &out]);
        let page = fs::read_to_string(&out).unwrap();
        check(&page);
        // NaN from drawings; `data-by` may be NaN, which means that there is no value.
        assert!(!page.replace("data-by=\"NaN\"", "").contains("\"NaN"), "model {i}");
        assert!(i == 0 || i == 1 || page.contains("<rect"), "model {i}");
        if i > 1 {
            works("report", &[&input, "-o", &out, "--against", &input, "--json"]);
            check(&fs::read_to_string(&out).unwrap());
        }
    }
    assert!(fs::read_to_string(&out).unwrap().contains("big-endian"));
}

#[test]
fn what_fails_leaves_what_was_there() {
    let folder = Folder::new();
    let bad = folder.file("bad.gguf", b"GGUF\x03");
    let other = folder.file("other.gguf", model(ByteOrder::Little, &[("w", &[4], GgmlType::F32, &[0; 16])]));
    works("split", &[SAMPLE, &folder.path("m"), "--max-tensors", "10"]);
    let shard = |number: u16| folder.path(&format!("m-{number:05}-of-00002.gguf"));
    let out = folder.file("report.html", "what was there");
    let before = folder.names();
    let missing = folder.path("none.gguf");
    for (args, said) in [
        (vec![bad.as_str(), "-o", &out], "bad.gguf': "),
        (vec![missing.as_str(), "-o", &out], "none.gguf'"),
        (vec![SAMPLE, "-o", &out, "--against", &bad], "bad.gguf': "),
        (vec![SAMPLE, "-o", &out, "--against", &other], "other.gguf' has no tensor"),
        (vec![SAMPLE], "--output <FILE.html>"),
        (vec![&other, "-o", &other], "no input is overwritten"),
        (vec![&shard(1), "-o", &shard(2)], "no input is overwritten"),
        (vec![&shard(2), "-o", &shard(2)], "no input is overwritten"),
        (vec![SAMPLE, "-o", &shard(2), "--against", &shard(1)], "no input is overwritten"),
        (vec![SAMPLE, "-o", &other, "--against", &other], "no input is overwritten"),
        (vec![SAMPLE, "-o", "/no/such/folder/report.html"], "/no/such/folder/report.html"),
    ] {
        let line = fails("report", &args);
        assert!(line.contains(said), "{line}");
        assert_eq!(
            (fs::read(&out).unwrap().as_slice(), folder.names()),
            (&b"what was there"[..], before.clone())
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_interruption_leaves_no_page() {
    use std::process::Stdio;

    let folder = Folder::new();
    // Long enough to be interrupted at work.
    let len = 1u64 << 33;
    let raw = crate::common::raw::Raw::new(LITTLE, 1, 0).tensor("w", &[1 << 20, len >> 20], 24, 0);
    let input = sparse(&folder, "sparse.gguf", raw, len);
    let out = folder.file("report.html", "what was there");
    let before = folder.names();
    let mut command = gguf("report");
    command
        .args([&input, "-o", &out, "--sample", "0", "--force"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    interrupt("INT", &mut child);
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.ends_with(&format!("interrupted: '{out}' is as it was\n")), "{errors}");
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert_eq!((fs::read(&out).unwrap().as_slice(), folder.names()), (&b"what was there"[..], before));
}
