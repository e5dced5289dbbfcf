//! `inspect`: its output, in words and in JSON.

use std::fs;
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
    assert!(works("inspect", &[&input]).contains("\n9 bytes after the data belong to no tensor\n"));
    assert!(works("inspect", &[&input, "--json"]).contains("\"trailing_bytes\": 9"));
    assert!(works("diff", &[&input, &input]).contains("9 bytes after the data belong to no tensor"));
    let out = folder.path("out.gguf");
    let line = fails("edit", &[&input, &out, "--add", "k=u8:1"]);
    assert!(
        line.contains("9 bytes follow the data") && line.ends_with("--drop-trailing leaves them out"),
        "{line}"
    );
    works("edit", &[&input, &out, "--add", "k=u8:1", "--drop-trailing"]);
    assert!(!works("inspect", &[&out]).contains("after the data"));
    let joined = folder.file("joined.gguf", [&file[..], &file[..]].concat());
    assert!(works("inspect", &[&joined]).contains("Another GGUF begins there"));
}

#[test]
fn files_are_given_by_a_pattern_of_their_names() {
    let folder = Folder::new();
    let names = ["b.gguf", "a.gguf", "c.txt"].map(|name| folder.file(name, fs::read(SAMPLE).unwrap()));
    let key = ["--key", "general.architecture"];
    let told = works("inspect", &[&[&*folder.path("*.gguf")], &key[..]].concat());
    assert_eq!(told, format!("{}: llama\n{}: llama\n", names[1], names[0]));
    let line = fails("inspect", &[&folder.path("x*.gguf")]);
    assert!(line.contains("x*.gguf"), "{line}");
    if cfg!(unix) {
        // What is a file is that file.
        let own = folder.file("*.gguf", fs::read(SAMPLE).unwrap());
        assert_eq!(works("inspect", &[&[&*own], &key[..]].concat()), "llama");
    }
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
