//! `edit`: how its arguments change a file, and what other readers find in the result.

use std::fs;
use std::process::Command;

use gguf_codec::{Array, ByteOrder, GgmlType, Gguf, Value};

use crate::common::needs;
use crate::support::*;

fn small(folder: &Folder, name: &str) -> String {
    let bytes = floats(&wave(64));
    let tensors = [("w", &[32, 2][..], GgmlType::F32, &bytes[..]), ("v", &[5], GgmlType::F32, &bytes[..20])];
    folder.file(name, model(ByteOrder::Little, &tensors))
}

fn value(path: &str, key: &str) -> Value {
    let file = fs::read(path).unwrap();
    Gguf::parse(&file).unwrap().metadata().get(key).unwrap_or_else(|| panic!("no {key}")).to_owned()
}

#[test]
fn every_type_of_value_can_be_set() {
    let folder = Folder::new();
    let input = small(&folder, "in.gguf");
    let out = folder.path("out.gguf");
    let strings =
        |strings: &[&str]| Array::String(strings.iter().map(|text| text.as_bytes().to_vec()).collect());
    let cases: [(&str, Value); 28] = [
        ("u8:255", Value::U8(255)),
        ("i8:-128", Value::I8(-128)),
        ("u16:65535", Value::U16(65535)),
        ("i16:-32768", Value::I16(-32768)),
        ("u32:4294967295", Value::U32(u32::MAX)),
        ("i32:-2147483648", Value::I32(i32::MIN)),
        ("u64:18446744073709551615", Value::U64(u64::MAX)),
        ("i64:-9223372036854775808", Value::I64(i64::MIN)),
        ("f32:0.1", Value::F32(0.1)),
        ("f32:-inf", Value::F32(f32::NEG_INFINITY)),
        ("f32:1e-45", Value::F32(1e-45)),
        ("f64:0.1", Value::F64(0.1)),
        ("bool:true", Value::Bool(true)),
        ("str:größe: 模型=1", Value::from("größe: 模型=1")),
        ("string:", Value::from("")),
        ("[str]:[\"a\\n\",\"模\", \"\"]", Value::Array(strings(&["a\n", "模", ""]))),
        ("[str]:[]", Value::Array(strings(&[]))),
        ("[u8]:[1, 255]", Value::Array(Array::U8(vec![1, 255]))),
        ("[i8]:[-1]", Value::Array(Array::I8(vec![-1]))),
        ("[u16]:[1]", Value::Array(Array::U16(vec![1]))),
        ("[i16]:[-1]", Value::Array(Array::I16(vec![-1]))),
        ("[i32]:[-1,2]", Value::Array(Array::I32(vec![-1, 2]))),
        ("[u64]:[18446744073709551615]", Value::Array(Array::U64(vec![u64::MAX]))),
        ("[i64]:[]", Value::Array(Array::I64(vec![]))),
        // One digit more than half way between two floats; a detour through a double would lose it.
        ("[f32]:[1.00000005960464477540, 0.5]", Value::Array(Array::F32(vec![1.0 + f32::EPSILON, 0.5]))),
        ("[f64]:[0.1]", Value::Array(Array::F64(vec![0.1]))),
        ("[bool]:[true,false]", Value::Array(Array::Bool(vec![true, false]))),
        ("[[str]]:[[\"x\"],[]]", Value::Array(Array::Array(vec![strings(&["x"]), strings(&[])]))),
    ];
    for (text, expected) in cases {
        works("edit", &[&input, &out, "--add", &format!("a.key={text}")]);
        assert_eq!(value(&out, "a.key"), expected, "{text}");
    }
}

#[test]
fn values_that_are_none_are_explained_in_a_line() {
    let folder = Folder::new();
    let input = small(&folder, "in.gguf");
    let out = folder.file("out.gguf", "what was there");
    for (argument, message) in [
        ("k", "no '='"),
        ("k=5", "no value type is named '5'"),
        ("k=u8", "no ':'"),
        ("k=u8:256", "256 is out of the range of u8, 0 to 255"),
        ("k=i8:-129", "-129 is out of the range of i8, -128 to 127"),
        ("k=u64:-1", "-1 is out of the range of u64, 0 to 18446744073709551615"),
        (
            "k=i64:99999999999999999999999999999999999999999999",
            "out of the range of i64, -9223372036854775808 to",
        ),
        ("k=u32:1.5", "'1.5' is not a whole number"),
        ("k=u32:", "'' is not a whole number"),
        ("k=f32:1e39", "1e39 is out of the range of f32"),
        ("k=f64:1e999", "1e999 is out of the range of f64"),
        ("k=f32:x", "'x' is not a number"),
        ("k=bool:1", "'1' is not true or false"),
        ("k=u128:1", "no value type is named 'u128'; there are u8, i8"),
        ("k=[u8]:[1,300]", "element 1: 300 is out of the range of u8"),
        ("k=[str]:[1]", "element 0: 1 is not a string"),
        ("k=[str]:a", "this is not a JSON array"),
        ("k=[[[[u8:1", "no value type is named"),
        ("k=[[i8]]:[[1],[200]]", "element 1: element 0: 200 is out of"),
        ("=u8:1", "the key before '=' is empty"),
        ("general.alignment=u32:12", "must be a u32 that is a power of two"),
    ] {
        let line = fails("edit", &[&input, &out, "--add", argument]);
        assert!(line.contains(message), "{argument}: {line}");
        assert_eq!(fs::read(&out).unwrap(), b"what was there");
    }
    for (arguments, message) in [
        (&["--remove", "no.such"][..], "no key 'no.such'"),
        (&["--rename-tensor", "no=x"], "no tensor 'no'"),
        (&["--rename-tensor", "w=v"], "tensor 'w' cannot become 'v', which is another tensor's name"),
        (&["--rename-key", "x"], "no '='"),
        (&["--in-place"], "cannot be used with"),
    ] {
        let line = fails("edit", &[&[input.as_str(), out.as_str()], arguments].concat());
        assert!(line.contains(message), "{arguments:?}: {line}");
    }
    assert!(fails("edit", &[&input]).contains("OUT is missing"));
    assert!(fails("edit", &[&folder.path("none.gguf"), &out]).contains("none.gguf"));
    assert!(fails("edit", &[&folder.path("none.gguf"), "--in-place"]).contains("none.gguf"));
    let junk = folder.file("junk.gguf", "junk");
    assert!(fails("edit", &[&junk, "--in-place"]).contains("junk.gguf': byte 0"));
    assert_eq!((fs::read(&out).unwrap(), folder.names().len()), (b"what was there".to_vec(), 3));
}

#[test]
fn a_file_is_edited_in_its_place() {
    let folder = Folder::new();
    let (input, apart) = (small(&folder, "in.gguf"), folder.path("apart.gguf"));
    for (arguments, patched) in [
        (&["--add", "a.name=str:one two"][..], false),
        (&["--set", "a.name=one TWO"], true),
        (&["--add", "general.alignment=u32:4096"], false),
        (&["--add", "room=str:there is room for it now"], true),
        (&["--rename-tensor", "w=token_embd.weight", "--rename-key", "a.name=general.name"], true),
        (&["--remove", "general.alignment"], false),
    ] {
        works("edit", &[&[input.as_str(), apart.as_str()], arguments].concat());
        let report = works("edit", &[&[input.as_str(), "--in-place", "--json"], arguments].concat());
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        assert_eq!(report["patched"], patched, "{arguments:?}: {report}");
        assert!(report[if patched { "bytes_changed" } else { "bytes" }].as_u64().unwrap() > 0);
        assert!(fs::read(&input).unwrap() == fs::read(&apart).unwrap(), "{arguments:?}");
        assert_eq!(folder.names().len(), 2);
    }
    assert_eq!(value(&input, "general.name"), Value::from("one TWO"));
    let text = works("edit", &[&input, "--in-place", "--set", "general.name=TWO one"]);
    assert!(text.ends_with("in.gguf: 6 bytes changed in place\n"), "{text}");
}

/// What gguf-py reads: the keys with their values, and each tensor's name, type, shape and checksum.
const READ: &str = "
import sys, hashlib
from gguf import GGUFReader
reader = GGUFReader(sys.argv[1])
for name, field in reader.fields.items():
    if not name.startswith('GGUF.'):
        print('key', name, repr(field.contents()))
for t in reader.tensors:
    print('tensor', t.name, t.tensor_type.name, list(map(int, t.shape)), hashlib.sha256(t.data.tobytes()).hexdigest())
";

#[test]
fn gguf_py_reads_the_same_tensors_in_an_edited_model() {
    let (Some(python), Some(model)) =
        (needs("GGUF_PY_PYTHON", "edit with gguf-py"), needs("GGUF_CODEC_SMOLLM2", "edit of a real model"))
    else {
        return;
    };
    let read = |path: &str| {
        let mut command = Command::new(&python);
        command.args(["-c", READ, path]);
        let output = finish(command);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = String::from_utf8(output.stdout).unwrap();
        lines.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let folder = Folder::new();
    let out = folder.path("out.gguf");
    let edits = [
        "--set",
        "general.name=Größe",
        "--add",
        "general.alignment=u32:256",
        "--add",
        "own.list=[f32]:[0.5,-2]",
        "--remove",
        "tokenizer.chat_template",
        "--rename-key",
        "general.architecture=general.family",
        "--rename-tensor",
        "output_norm.weight=a.norm",
    ];
    works("edit", &[&[model.as_str(), out.as_str()], &edits[..]].concat());
    let mut expected = Vec::new();
    for line in read(&model) {
        let (kind, rest) = line.split_once(' ').unwrap();
        let (name, rest) = rest.split_once(' ').unwrap();
        match name {
            "tokenizer.chat_template" => {}
            "general.name" => expected.push("key general.name 'Größe'".to_owned()),
            "general.architecture" => expected.push(format!("key general.family {rest}")),
            "output_norm.weight" => expected.push(format!("tensor a.norm {rest}")),
            _ => expected.push(format!("{kind} {name} {rest}")),
        }
    }
    let keys = expected.iter().filter(|line| line.starts_with("key")).count();
    expected.insert(keys, "key general.alignment 256".into());
    expected.insert(keys + 1, "key own.list [0.5, -2.0]".into());
    let found = read(&out);
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len());
}

#[test]
fn set_takes_the_type_from_the_file_and_says_what_changes() {
    let folder = Folder::new();
    let input = small(&folder, "in.gguf");
    let file = folder.file("template.txt", b"line\n\xff");
    let list = folder.file("list.json", "[\"\\udcfe\", \"b\"]\n");
    let edit = |args: &[&str]| works("edit", &[&[input.as_str(), "--in-place"], args].concat());
    edit(&["--add", "n=u32:8192", "--add", "text=str:old", "--add-file", &format!("list=[str]:{list}")]);
    assert!(edit(&["--set", "n=16384"]).starts_with("n: 8192 → 16384 (u32)\n"));
    assert_eq!(value(&input, "n"), Value::U32(16384));
    assert_eq!(value(&input, "list"), Value::Array(Array::String(vec![vec![0xfe], b"b".to_vec()])));
    edit(&["--set-file", &format!("text={file}"), "--set", "list[1]=c"]);
    assert_eq!(value(&input, "text"), Value::String(b"line\n\xff".to_vec()));
    assert_eq!(value(&input, "list"), Value::Array(Array::String(vec![vec![0xfe], b"c".to_vec()])));
    let literal = edit(&["--set", "text=@t.jinja"]);
    assert!(
        literal.contains("→ \"@t.jinja\" (string)\nnote: ") && literal.contains("--set-file"),
        "{literal}"
    );
    assert!(edit(&["--set", "text=str:x"]).contains("note: text begins with 'string:'"));
    assert_eq!(value(&input, "text"), Value::from("str:x"));
    assert!(edit(&["--retype", "n=u64"]).starts_with("n: 16384 (u32) → 16384 (u64)\n"));
    let before = fs::read(&input).unwrap();
    let dry = works("edit", &[&input, "--dry-run", "--remove", "n", "--rename-tensor", "w=x"]);
    assert_eq!(dry, "n: removed, was 16384 (u64)\ntensor w: renamed to x\n");
    for (args, message) in [
        (
            ["--set", "n=u64:1"],
            "is not a whole number (--set keeps the key's type: --set 'n=1', or --retype 'n=u64:1')",
        ),
        (["--set", "texts=x"], "no key 'texts'; is it 'text'? (--add KEY=TYPE:VALUE adds one)"),
        (["--set", "list[2]=x"], "there is no element 2: they are numbered from 0 to 1"),
        (["--add", "n=u64:1"], "key 'n' is there already: 16384 (u64)"),
        (["--set-file", "text=/no/such/file"], "cannot read '/no/such/file'"),
    ] {
        let line = fails("edit", &[&[input.as_str(), "--in-place"], &args[..]].concat());
        assert!(line.contains(message), "{line}");
    }
    assert!(fs::read(&input).unwrap() == before);
}

#[test]
fn layers_are_left_out() {
    let folder = Folder::new();
    let out = folder.path("out.gguf");
    let text = works("edit", &[SAMPLE, &out, "--drop-layers", "0"]);
    assert!(text.starts_with("llama.block_count: 2 → 1 (u32)\n9 tensors removed, 9 renamed\n"), "{text}");
    let text = works("inspect", &[&out]);
    assert!(
        text.contains("\n1 layer · ") && text.contains("\nblk.0.ffn_down.weight ") && !text.contains("blk.1"),
        "{text}"
    );
    assert!(
        fails("edit", &[SAMPLE, &out, "--drop-layers", "1,2-3"])
            .ends_with("there is no layer 3: the model has 2, numbered from 0")
    );
    for layers in ["", "a", "3-1", "1-", "-1", "1..2", "4294967296"] {
        let line = fails("edit", &[SAMPLE, &out, &format!("--drop-layers={layers}")]);
        assert!(line.contains("layers are numbers from 0 or ranges of them"), "{line}");
    }
}

#[test]
fn patterns_take_away_what_they_match() {
    let folder = Folder::new();
    let out = folder.path("out.gguf");
    let text = works(
        "edit",
        &[SAMPLE, &out, "--remove", "tokenizer.*", "--remove-tensor", "blk.1.*", "--remove-tensor", "*norm*"],
    );
    let before = std::fs::read(SAMPLE).unwrap();
    let (before, after) = (Gguf::parse(&before).unwrap(), Gguf::read(&out).unwrap());
    let stays = |name: &&str| !name.starts_with("blk.1.") && !name.contains("norm");
    let names: Vec<_> = before.tensors().map(|tensor| tensor.name()).filter(stays).collect();
    assert!(
        after.tensors().map(|tensor| tensor.name()).eq(names.iter().copied()) && names.len() < 15,
        "{text}"
    );
    assert!(!after.metadata().iter().any(|(key, _)| key.starts_with("tokenizer.")));
    assert!(after.metadata().len() < before.metadata().len());
    for (option, pattern, said) in [
        ("--remove", "tokeniser.*", "no key matches 'tokeniser.*'"),
        ("--remove", "general.nmae", "the metadata has no key 'general.nmae'; is it 'general.name'?"),
        (
            "--remove-tensor",
            "*.ffn_pu.weight",
            "no tensor matches '*.ffn_pu.weight'; is it 'blk.*.ffn_up.weight'?",
        ),
    ] {
        let line = fails("edit", &[SAMPLE, &out, option, pattern]);
        assert!(line.contains(said), "{line}");
    }
}

#[test]
fn names_that_were_meant_are_told() {
    for (option, name, said) in [
        ("--key", "general.nmae", "the metadata has no key 'general.nmae'; is it 'general.name'?"),
        ("--key", "block_cuont*", "no key matches 'block_cuont*'; is it 'llama.block_count'?"),
        (
            "--tensor",
            "output_nrom.weight",
            "there is no tensor 'output_nrom.weight'; is it 'output_norm.weight'?",
        ),
        ("--tensor", "*.atn_q.weight", "no tensor matches '*.atn_q.weight'; is it 'blk.*.attn_q.weight'"),
    ] {
        let line = fails("inspect", &[SAMPLE, option, name]);
        assert!(line.contains(said), "{line}");
    }
}
