//! `diff`: its report on two models, in words and in JSON, and its exit code.

use gguf_codec::{ByteOrder, GgmlType};
use serde_json::{Value as Json, json};

use crate::support::*;

fn file(folder: &Folder, name: &str, ty: GgmlType, values: &[f32]) -> String {
    let bytes: Vec<u8> = match ty {
        GgmlType::F16 => values.iter().flat_map(|&value| half::f16::from_f32(value).to_le_bytes()).collect(),
        _ => floats(values),
    };
    let first = floats(&values[..8]);
    let tensors = [("w", &[32, 2][..], ty, &bytes[..]), ("norm", &[8], GgmlType::F32, &first[..])];
    folder.file(name, model(ByteOrder::Little, &tensors))
}

fn exit_code(args: &[&str]) -> Option<i32> {
    let mut command = gguf("diff");
    command.args(args);
    finish(command).status.code()
}

#[test]
fn a_model_and_its_copy_are_the_same() {
    let folder = Folder::new();
    let a = file(&folder, "a.gguf", GgmlType::F32, &wave(64));
    let b = folder.path("b.gguf");
    // Every offset changes.
    works("edit", &[&a, &b, "--add", "general.alignment=u32:1024"]);
    let text = works("diff", &[&a, &a]);
    assert_eq!(text, "0 keys different, 0 the same\n0 tensors different, 2 the same\n");
    assert_eq!(exit_code(&[&a, &a, "--exit-code"]), Some(0));
    let text = works("diff", &[&a, &b]);
    assert_eq!(
        text,
        "1 key different, 0 the same\n  only in B: general.alignment = 1024\n0 tensors different, 2 the same\n"
    );
    assert_eq!(exit_code(&[&a, &b, "--exit-code"]), Some(2));
    assert_eq!(exit_code(&[&a, &b]), Some(0));
}

#[test]
fn differences_are_told_in_words_and_in_json() {
    let folder = Folder::new();
    let values = wave(64);
    let first = file(&folder, "first.gguf", GgmlType::F32, &values);
    let second = file(&folder, "second.gguf", GgmlType::F16, &values);
    let (a, b) = (folder.path("a.gguf"), folder.path("b.gguf"));
    works("edit", &[&first, &a, "--add", "list=[u8]:[1,2,3]", "--add", "n=u8:1", "--add", "gone=bool:true"]);
    works(
        "edit",
        &[&second, &b, "--add", "list=[u8]:[1,9,3]", "--add", "n=u16:1", "--rename-tensor", "norm=other"],
    );

    let text = works("diff", &[&a, &b]);
    for part in [
        "3 keys different, 0 the same\n",
        "  list: [1, 2, 3], in B [1, 9, 3]\n    different: 1 element, the first at 1\n",
        "  n: 1 (u8), in B 1 (u16)\n",
        "  only in A: gone = true\n",
        "3 tensors different, 0 the same\n",
        "  only in A: norm, F32 [8]\n",
        "  only in B: other, F32 [8]\n",
        "values that differ",
        "F16 [32, 2]",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }

    let report: Json = serde_json::from_str(&works("diff", &[&a, &b, "--json"])).unwrap();
    assert_eq!(report["same"], false);
    let keys = &report["metadata"]["different"];
    assert_eq!(
        keys[0],
        json!({ "key": "list", "a": { "type": "[u8]", "value": [1, 2, 3] },
            "b": { "type": "[u8]", "value": [1, 9, 3] }, "array": { "first": 1, "differing": 1 } })
    );
    assert_eq!(keys[2]["b"], Json::Null);
    let tensors = &report["tensors"]["different"];
    assert_eq!(tensors[0]["name"], "w");
    assert_eq!(tensors[0]["b"], json!({ "type": "F16", "shape": [32, 2], "bytes": 128 }));
    assert_eq!(tensors[0]["values"]["count"], 64);
    assert!(tensors[0]["values"]["rmse"].as_f64().unwrap() > 0.0);
    assert!(tensors[0]["values"]["snr_db"].as_f64().unwrap() > 60.0);
    assert_eq!(tensors[1]["values"], Json::Null);
    let same: Json = serde_json::from_str(&works("diff", &[&a, &a, "--json"])).unwrap();
    assert_eq!((&same["same"], &same["tensors"]["same"]), (&json!(true), &json!(2)));
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = Folder::new();
    let a = file(&folder, "a.gguf", GgmlType::F32, &wave(64));
    let junk = folder.file("junk.gguf", "junk");
    for args in [[&a, &junk], [&junk, &a]] {
        assert!(fails("diff", &[args[0], args[1], "--exit-code"]).contains("junk.gguf': byte 0"));
    }
    assert!(fails("diff", &[&a]).contains("<B>"));
}
