//! `inspect`: its output, in words and in JSON.

use std::process::Stdio;

use gguf_codec::{ByteOrder, GgmlType, Writer};

use crate::common::layout;
use crate::common::raw::{F32, F64, Raw, STRING, U32};
use crate::support::*;

#[test]
fn every_type_is_checked_and_shown_in_both_byte_orders() {
    let folder = Folder::new();
    for (&ty, order) in GgmlType::ALL.iter().flat_map(|ty| [(ty, ByteOrder::Little), (ty, ByteOrder::Big)]) {
        let (row, size) = (2 * ty.block_len(), ty.block_bytes());
        let mut bytes = vec![0; 6 * size];
        let write = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            if order == ByteOrder::Big {
                layout::swap(ty, &mut bytes);
            }
            let dims = [row as u64, 3];
            folder.file(
                "t.gguf",
                model(order, &[("good", &dims, ty, &vec![0; bytes.len()]), ("w", &dims, ty, &bytes)]),
            )
        };
        let input = write(&bytes);
        let checked = works("inspect", &[&input, "--check"]);
        assert!(checked.contains("Check: no NaN and no infinity in 2 tensors"), "{checked}");
        // Every type in both forms, which quantize it to all others each time.
        match order {
            ByteOrder::Little => {
                let shown = works("inspect", &[&input, "--tensor", "w"]);
                assert!(shown.contains("values are "), "{shown}");
            }
            ByteOrder::Big => {
                let json = works("inspect", &[&input, "--tensor", "w", "--json"]);
                let json: serde_json::Value = serde_json::from_str(&json).unwrap();
                assert_eq!((&json["bytes"], &json["not_finite"]), (&(6 * size).into(), &0.into()));
            }
        }
        bytes[3 * size..4 * size].fill(0xff);
        let input = write(&bytes);
        // Integers have no scale, and every scale code of NVFP4 is a valid number.
        if (ty.name().starts_with('I') && !ty.is_quantized()) || ty == GgmlType::NVFP4 {
            works("inspect", &[&input, "--check"]);
        } else {
            let line = fails("inspect", &[&input, "--check"]);
            assert!(line.contains(&format!("tensor 'w': block 3 of {ty}, in row 1: ")), "{line}");
        }
    }
}

#[test]
fn further_bad_tensors_are_counted() {
    let folder = Folder::new();
    let bad = floats(&[f32::INFINITY]);
    let one = model(ByteOrder::Little, &[("a", &[1], GgmlType::F32, &bad), ("b", &[1], GgmlType::F32, &bad)]);
    let line = fails("inspect", &[&folder.file("two.gguf", one), "--check"]);
    assert!(
        line.ends_with(
            "tensor 'a': block 0 of F32, in row 0: the value is infinite; 1 tensor more not valid"
        ),
        "{line}"
    );
}

#[test]
fn bytes_behind_the_data_are_told_and_not_lost() {
    let folder = Folder::new();
    let file = model(ByteOrder::Little, &[("w", &[4], GgmlType::F32, &[0; 16])]);
    let input = folder.file("in.gguf", [&file[..], b"signature"].concat());
    assert!(works("inspect", &[&input]).contains("\n9 bytes behind the data belong to no tensor\n"));
    assert!(works("inspect", &[&input, "--json"]).contains("\"trailing_bytes\": 9"));
    assert!(works("diff", &[&input, &input]).contains("9 bytes behind the data belong to no tensor"));
    let out = folder.path("out.gguf");
    let line = fails("edit", &[&input, &out, "--add", "k=u8:1"]);
    assert!(
        line.contains("9 bytes follow the data") && line.ends_with("--drop-trailing leaves them out"),
        "{line}"
    );
    works("edit", &[&input, &out, "--add", "k=u8:1", "--drop-trailing"]);
    assert!(!works("inspect", &[&out]).contains("behind the data"));
    let joined = folder.file("joined.gguf", [&file[..], &file[..]].concat());
    assert!(works("inspect", &[&joined]).contains("Another GGUF begins there"));
}

/// A single very long key does not widen all rows.
#[test]
fn long_names_are_cut_in_tables() {
    let folder = Folder::new();
    let mut writer = Writer::new(Vec::new());
    writer.set_metadata(&"k".repeat(60_000), 1u8).unwrap();
    for key in 0..2_000 {
        writer.set_metadata(&format!("key.{key}"), 1u8).unwrap();
    }
    let input = folder.file("in.gguf", writer.write_header().unwrap().finish().unwrap());
    let text = works("inspect", &[&input]);
    assert!(text.contains("kkk… (60,000 bytes)") && text.len() < 500_000, "{} bytes", text.len());
}

#[test]
fn invisible_characters_are_escaped() {
    let folder = Folder::new();
    let missing = folder.path("a\u{202e}b\u{2028}c\u{200b}d\u{7}.gguf");
    let line = fails("inspect", &[&missing]);
    assert!(line.contains("a\\u{202e}b\\u{2028}c\\u{200b}d\\u{7}.gguf"), "{line}");
}

#[test]
fn what_is_no_gguf_is_named() {
    let folder = Folder::new();
    for (bytes, name) in [
        (&b"PK\x03\x04...."[..], "zip archive"),
        (b"\x80\x02}q\x00", "Python pickle"),
        (b"tjgg\x03\0\0\0", "before GGUF"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<!DOCTYPE html>", "web page"),
        (b"\x1f\x8b\x08\0", "gzip"),
        (&[0; 64], "has not ended"),
        (b"\x40\x02\0\0\0\0\0\0{", "safetensors"),
        (b"{\"a\": 1}", "JSON"),
    ] {
        let line = fails("inspect", &[&folder.file("in.gguf", bytes)]);
        assert!(line.contains("not 'GGUF'") && line.contains(name), "{line}");
    }
}

#[test]
fn numbers_in_json_are_the_files_own() {
    let folder = Folder::new();
    let values = [1e-5f32, 0.1, f32::MAX, f32::NAN, f32::NEG_INFINITY, 3.0];
    let raw = Raw::new(LITTLE, 1, 4)
        .key("eps", F32)
        .f32(1e-5)
        .key("nan", F32)
        .f32(f32::NAN)
        .key("inf", F64)
        .f64(f64::INFINITY)
        .key("tenth", F64)
        .f64(0.1);
    let raw = raw.tensor("t", &[6], 0, 0).pad(32).raw(&floats(&values));
    let input = folder.file("in.gguf", raw.bytes);
    let json = works("inspect", &[&input, "--json"]);
    for part in ["\"eps\": 0.00001,", "\"nan\": \"NaN\"", "\"inf\": \"inf\"", "\"tenth\": 0.1"] {
        assert!(json.contains(part), "{part} in {json}");
    }
    let json = works("inspect", &[&input, "--tensor", "t", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["first"], serde_json::json!([1e-5, 0.1, 3.4028235e38, "NaN", "-inf", 3.0]));
    assert_eq!((json["min"].as_f64(), json["max"].as_f64()), (Some(1e-5), Some(3.4028235e38)));
    assert_eq!(json["not_finite"], 2);
}

#[test]
fn statistics_are_readable_at_every_magnitude() {
    let folder = Folder::new();
    let shown = |values: &[f32]| {
        let file = model(ByteOrder::Little, &[("t", &[values.len() as u64], GgmlType::F32, &floats(values))]);
        works("inspect", &[&folder.file("t.gguf", file), "--tensor", "t"])
    };
    let text = shown(&[3e38, -3e38, 1.5, 0.25]);
    assert!(
        text.contains("min -3e38  max 3e38  mean") && text.contains("first values: 3e38, -3e38, 1.5, 0.25"),
        "{text}"
    );
    assert!(text.lines().all(|line| line.chars().count() < 110), "{text}");
    let text = shown(&[1e-9, 3e-9]);
    assert!(text.contains("min 1e-9  max 3e-9  mean 2e-9\nstandard deviation 1e-9"), "{text}");
    let text = shown(&[0.5; 40]);
    assert!(text.contains("all values are 0.5\n") && !text.contains('█'), "{text}");
    let text = shown(&[0.5, f32::NAN, 0.5]);
    assert!(text.contains("not finite 1") && text.contains("all finite values are 0.5\n"), "{text}");
    assert!(shown(&[f32::NAN; 3]).contains("not finite 3: all values"));
    assert!(shown(&[]).ends_with("no values\n"));
    // A few outliers do not push all other values into two bars.
    let mut values = wave(25_700);
    (values[0], values[1]) = (500.0, -500.0);
    let text = shown(&values);
    assert!(text.contains("2 values farther out\n") && text.matches('█').count() > 16 * 16, "{text}");
    let text = shown(&wave(257));
    assert!(text.contains("min -1.28  max 1.28  mean 0") && text.matches('█').count() > 16, "{text}");
}

#[test]
fn one_of_anything_is_not_many() {
    let folder = Folder::new();
    let raw = Raw::new(LITTLE, 1, 1).key("k", U32).u32(1).tensor("t", &[8], 0, 0).pad(32).zeros(32);
    let text = works("inspect", &[&folder.file("one.gguf", raw.bytes), "--check"]);
    for part in ["metadata (1)", "\ntensors (1)\n", "in 1 tensor\n"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    for args in [&["--json"][..], &[], &["--key", "tokenizer.ggml.tokens"]] {
        let mut command = gguf("inspect");
        let mut child = command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]), "{args:?}");
    }
}

#[test]
fn strings_that_are_no_text_come_out_and_go_in_again() {
    let folder = Folder::new();
    let strings = [&b"\xff"[..], b"\xfe", "\u{10fffe}\u{1ff} \"\n".as_bytes(), b"a\xe4\xb8b", b""];
    let raw = Raw::new((3, false), 0, 3).array("tokens", STRING, 5);
    let raw =
        strings.iter().fold(raw, |raw, string| raw.string(string)).key("blob", STRING).string(b"\xf0\n\x9f");
    let input = folder.file("m.gguf", raw.key("n", U32).u32(1).bytes);

    let lines = works("inspect", &[&input, "--key", "tokens"]);
    let wanted =
        ["\"\\udcff\"", "\"\\udcfe\"", "\"\u{10fffe}\u{1ff} \\\"\\n\"", "\"a\\udce4\\udcb8b\"", "\"\"", ""];
    assert_eq!(lines.split('\n').collect::<Vec<_>>(), wanted);
    let json = works("inspect", &[&input, "--json"]);
    assert!(json.contains(r#""blob": "\udcf0\n\udc9f""#) && json.contains(r#""tokens": "[str]""#), "{json}");

    // `edit` accepts both forms.
    let tokens =
        folder.file("tokens.json", works("inspect", &[&input, "--key", "tokens", "--json"]).into_bytes());
    let mut command = gguf("inspect");
    command.args([&input, "--key", "blob"]);
    let blob = finish(command).stdout;
    assert_eq!(blob, b"\xf0\n\x9f");
    let blob = folder.file("blob", blob);
    let (emptied, again) = (folder.path("emptied.gguf"), folder.path("again.gguf"));
    works("edit", &[&input, &emptied, "--set", "tokens=[]", "--set", "blob="]);
    let sets = [format!("tokens={tokens}"), format!("blob={blob}")];
    works("edit", &[&emptied, &again, "--set-file", &sets[0], "--set-file", &sets[1]]);
    assert_eq!(std::fs::read(&again).unwrap(), std::fs::read(&input).unwrap());
}

#[test]
fn a_file_of_a_fork_is_shown_and_its_keys_edited() {
    let folder = Folder::new();
    let file = |value| {
        let raw = Raw::new((3, false), 3, 1).key("k", U32).u32(value).tensor("a", &[4], 24, 0);
        let raw = raw.tensor("forked", &[256, 2], 139, 32).tensor("folded", &[1, 2, 1, 2, 2], 24, 128);
        raw.pad(32).u8(1).pad(32).zeros(96).zeros(8).bytes
    };
    let input = folder.file("fork.gguf", file(1));
    let text = works("inspect", &[&input, "--check"]);
    for part in [
        "tensors (3)",
        "type 139",
        "1 × 2 × 1 × 2 × 2",
        "Tensor 'forked' cannot be read here, and so 1 other: tensor type 139 is unknown: ggml has 0 to 42, and ik_llama.cpp \
         others from 97 on",
        "no infinity in 1 tensor; 2 tensors could not be read",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let json: serde_json::Value = serde_json::from_str(&works("inspect", &[&input, "--json"])).unwrap();
    assert_eq!(json["tensors"][1]["type"], "type 139");
    assert_eq!(
        (&json["tensors"][0]["readable"], &json["tensors"][2]["readable"]),
        (&().into(), &false.into())
    );
    assert_eq!(json["types"]["k"], "u32");
    let line = fails("inspect", &[&input, "--tensor", "forked"]);
    assert!(line.ends_with("tensor 'forked' cannot be read: tensor type 139 is unknown: ggml has 0 to 42, and ik_llama.cpp others from 97 on"), "{line}");
    let output = folder.path("edited.gguf");
    works("edit", &[&input, &output, "--set", "k=7"]);
    assert_eq!(std::fs::read(&output).unwrap(), file(7));
    works("edit", &[&input, "--in-place", "--set", "k=8"]);
    assert_eq!(std::fs::read(&input).unwrap(), file(8));
    assert!(fails("quantize", &[&input, &output, "--recipe", "Q8_0"]).contains("type 139"));
}

#[test]
fn the_byte_order_is_turned_and_turned_back() {
    let folder = Folder::new();
    let (big, little) = (folder.path("big.gguf"), folder.path("little.gguf"));
    let text = works("edit", &[SAMPLE, &big, "--byte-order", "big"]);
    assert!(text.starts_with("byte order: little-endian → big-endian\n"), "{text}");
    let text = works("diff", &[SAMPLE, &big]);
    assert!(
        text.contains("0 tensors different") && works("inspect", &[&big]).contains(" · GGUF 3, big-endian"),
        "{text}"
    );
    works("edit", &[&big, &little, "--byte-order", "little"]);
    assert_eq!(std::fs::read(&little).unwrap(), std::fs::read(SAMPLE).unwrap());
}

#[test]
fn values_of_nvfp4_are_times_the_factor_beside_them() {
    let folder = Folder::new();
    let blocks: Vec<u8> = (0..4 * 36).map(|i| (i * 37 % 97) as u8).collect();
    let mut plain = vec![0.0f32; 256];
    gguf_codec::dequantize(GgmlType::NVFP4, &blocks, &mut plain).unwrap();
    let factor = |experts: &[f32]| floats(experts);
    let dims = [64, 2, 2];
    let weight = ("w.weight", &dims[..], GgmlType::NVFP4, &blocks[..]);
    let file = |scales: &[f32]| {
        model(
            ByteOrder::Little,
            &[weight, ("w.scale", &[scales.len() as u64], GgmlType::F32, &factor(scales))],
        )
    };
    let wide = |scales: [f32; 2]| {
        let times: Vec<f32> = plain.iter().enumerate().map(|(i, value)| value * scales[i / 128]).collect();
        model(ByteOrder::Little, &[("w.weight", &dims, GgmlType::F32, &floats(&times))])
    };
    for (scales, each) in [(&[0.3f32][..], [0.3f32, 0.3]), (&[0.5, 7.0], [0.5, 7.0])] {
        let (input, wide) = (folder.file("nvfp4.gguf", file(scales)), folder.file("f32.gguf", wide(each)));
        let json = |path: &str| -> serde_json::Value {
            serde_json::from_str(&works("inspect", &[path, "--tensor", "w.weight", "--json"])).unwrap()
        };
        let (scaled, wanted) = (json(&input), json(&wide));
        for key in ["min", "max", "mean", "first", "histogram", "quantization_error"] {
            assert_eq!(scaled[key], wanted[key], "{key}");
        }
        assert_eq!(
            (scaled["type"].as_str(), scaled["scales"].as_array().unwrap().len()),
            (Some("NVFP4"), scales.len())
        );
        assert!(works("inspect", &[&input, "--tensor", "w.weight"]).contains("beside them"));
        let diff = works("diff", &[&input, &wide, "--json"]);
        let diff: serde_json::Value = serde_json::from_str(&diff).unwrap();
        assert_eq!(diff["tensors"]["different"][0]["values"]["differing"], 0, "{diff}");
        // The same bytes with another factor are other values.
        let other = folder.file("other.gguf", file(&[0.25]));
        let diff: serde_json::Value =
            serde_json::from_str(&works("diff", &[&input, &other, "--json"])).unwrap();
        assert_eq!(diff["tensors"]["different"][0]["name"], "w.weight");
        assert!(diff["tensors"]["different"][0]["values"]["differing"].as_u64().unwrap() > 100);
    }
    // The factor also applies to a tensor of another type.
    let (input, q8) = (folder.file("nvfp4.gguf", file(&[0.3])), folder.path("q8.gguf"));
    works("convert", &[&input, &q8, "--type", "Q8_0", "--allow-requantize"]);
    let diff: serde_json::Value = serde_json::from_str(&works("diff", &[&input, &q8, "--json"])).unwrap();
    assert_eq!(diff["tensors"]["different"][0]["name"], "w.weight");
    assert!(diff["tensors"]["different"][0]["values"]["snr_db"].as_f64().unwrap() > 30.0, "{diff}");

    let odd = folder.file("odd.gguf", file(&[1.0, 2.0, 3.0]));
    let line = fails("inspect", &[&odd, "--tensor", "w.weight"]);
    assert!(
        line.ends_with(
            "tensor 'w.scale' has 3 values of F32, and the factors of 'w.weight' are 1 or 2 of F32"
        ),
        "{line}"
    );
}

#[test]
fn values_beyond_f32_are_no_clean_bill() {
    let folder = Folder::new();
    let mut mxfp4 = vec![0u8; 2 * 17];
    (mxfp4[17], mxfp4[18]) = (0xfe, 0x07);
    let mut q8_k = vec![0u8; 292];
    q8_k[..4].copy_from_slice(&3e38f32.to_le_bytes());
    q8_k[4 + 9] = 100;
    for (ty, dims, bytes, place) in [
        (GgmlType::MXFP4, &[32, 2][..], mxfp4, "value 0 of row 1, in MXFP4"),
        (GgmlType::Q8_K, &[256], q8_k, "value 9 of row 0, in Q8_K"),
        (GgmlType::F64, &[2], doubles(&[1.0, 1e39]), "value 1 of row 0, in F64"),
    ] {
        let input = folder.file("t.gguf", model(ByteOrder::Little, &[("w", dims, ty, &bytes)]));
        let line = fails("inspect", &[&input, "--check"]);
        assert!(line.ends_with(&format!("tensor 'w': {place}, is beyond what f32 can hold")), "{line}");
    }
}

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
