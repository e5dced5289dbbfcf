//! The types of values, and values that are not what programs take for granted.

use std::fs;

use gguf_codec::model::{Edit, Edited};
use gguf_codec::{Array, ByteOrder, Gguf, Value, ValueKind, ValueType, Writer};

use super::{File, model, pairs};
use crate::common::raw::{BOOL, FORMATS, Raw, U32, everything};

#[test]
fn a_key_keeps_its_type_unless_another_is_asked_for() {
    let tokens = Value::from(["<s>", "</s>", "a"]);
    let metadata = [Value::U32(8192), Value::F32(0.5), tokens, Value::from([1i32, 2])];
    let file = File::new(&model(&metadata, &[1], None, ByteOrder::Little, true));
    let mut edit = Edit::new();
    edit.set("key.0", 16384).set("key.1", 1e-5).set_element("key.2", 1, "<end>").set("key.3", [3u8, 4, 5]);
    let changes = edit.plan(&file.path).unwrap().changes;
    let changes: Vec<_> = changes.iter().map(ToString::to_string).collect();
    assert_eq!(
        changes,
        [
            "key.0: 8192 → 16384 (u32)",
            "key.1: 0.5 → 1e-5 (f32)",
            "key.2[1]: \"</s>\" → \"<end>\" (string)",
            "key.3: [1, 2] → [3, 4, 5] ([i32])",
        ]
    );
    let found: Vec<_> = pairs(&file.edited(&edit).unwrap()).into_iter().map(|(_, value)| value).collect();
    let tokens = Value::from(["<s>", "<end>", "a"]);
    assert_eq!(found, [Value::U32(16384), Value::F32(1e-5), tokens, Value::from([3i32, 4, 5])]);

    let mut edit = Edit::new();
    edit.retype("key.0", ValueType::U64)
        .replace("key.1", "half")
        .retype("key.3", ValueKind::array(ValueType::U8));
    edit.set_element_bytes("key.2", 0, *b"\xff\n").set_element_text("key.2", 2, "b");
    let found: Vec<_> = pairs(&file.edited(&edit).unwrap()).into_iter().map(|(_, value)| value).collect();
    let tokens = Value::Array(Array::String(vec![b"\xff\n".to_vec(), b"</s>".to_vec(), b"b".to_vec()]));
    assert_eq!(found, [Value::U64(8192), Value::from("half"), tokens, Value::from([1u8, 2])]);
    for (index, message) in
        [(3, "there is no element 3: they are numbered from 0 to 2"), (usize::MAX, "no element")]
    {
        let mut edit = Edit::new();
        edit.set_element("key.2", index, "x");
        assert!(file.edited(&edit).unwrap_err().to_string().contains(message));
    }
}

#[test]
fn keys_of_an_architecture_that_is_no_more_are_noted() {
    let mut writer = Writer::new(Vec::new());
    writer
        .set_metadata("general.architecture", "llama")
        .unwrap()
        .set_metadata("llama.block_count", 1u32)
        .unwrap();
    let file = File::new(&writer.write_header().unwrap().finish().unwrap());
    let mut edit = Edit::new();
    edit.set("general.architecture", "qwen2");
    let notes = edit.plan(&file.path).unwrap().notes;
    assert!(notes.len() == 1 && notes[0].contains("1 key is still called 'llama.…'"), "{notes:?}");
    edit.rename_key("llama.block_count", "qwen2.block_count");
    assert!(edit.plan(&file.path).unwrap().notes.is_empty());
}

#[test]
fn the_byte_order_changes_there_and_back() {
    let sample = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/sample.gguf")).unwrap();
    let every_number = everything((3, false)).bytes;
    for bytes in [sample, every_number] {
        let file = File::new(&bytes);
        let (mut big, mut little) = (Edit::new(), Edit::new());
        big.byte_order(ByteOrder::Big);
        little.byte_order(ByteOrder::Little);
        let turned = file.edited(&big).unwrap();
        assert_ne!(turned, bytes);
        let (before, after) = (Gguf::parse(&bytes).unwrap(), Gguf::parse(&turned).unwrap());
        assert_eq!(after.byte_order(), ByteOrder::Big);
        assert!(before.metadata().iter().eq(after.metadata().iter()));
        for (a, b) in before.tensors().zip(after.tensors()) {
            let values = |tensor: gguf_codec::Tensor<'_>| tensor.dequantize::<f32>().unwrap();
            assert_eq!(values(a.tensor().unwrap()), values(b.tensor().unwrap()), "{}", a.name());
        }
        let plan = big.plan(&file.path).unwrap();
        let changes: Vec<_> = plan.changes.iter().map(ToString::to_string).collect();
        assert_eq!(changes, ["byte order: little-endian → big-endian"]);
        let edited = big.in_place(&file.path).unwrap();
        assert!(matches!(edited, Edited::Written { .. }), "{edited:?}");
        assert_eq!(file.bytes(), turned);
        little.in_place(&file.path).unwrap();
        assert_eq!(file.bytes(), bytes);
    }
}

#[test]
fn bools_keep_the_byte_that_they_have() {
    for format in FORMATS.into_iter().filter(|(version, _)| *version > 1) {
        let raw = Raw::new(format, 0, 3).key("odd", BOOL).u8(2).array("odds", BOOL, 2).u8(0).u8(255);
        let file = File::new(&raw.key("n", U32).u32(1).bytes);
        let edited = file.edited(Edit::new().set("n", 2)).unwrap();
        let wanted = Raw::new(format, 0, 3).key("odd", BOOL).u8(2).array("odds", BOOL, 2).u8(0).u8(255);
        let wanted = wanted.key("n", U32).u32(2).bytes;
        assert!(edited.starts_with(&wanted), "{edited:?}");
        let mut set = Edit::new();
        set.set("odd", true).rename_key("odd", "even").rename_key("odds", "evens");
        assert!(file.edited(&set).is_err());
        let mut set = Edit::new();
        set.set("even", true).rename_key("odd", "even");
        let edited = file.edited(&set).unwrap();
        assert!(edited.windows(9).any(|bytes| bytes.starts_with(b"even") && bytes[8] == 1), "{edited:?}");
    }
}

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/sample.gguf");

#[test]
fn values_that_no_model_has_are_told_of() {
    let note = |key: &str, value: Value| {
        let mut edit = Edit::new();
        edit.replace(key, value);
        edit.plan(SAMPLE).unwrap().notes
    };
    for (key, value, why) in [
        ("llama.block_count", 7u32.into(), "it becomes 7, and there are tensors of 2 layers"),
        ("llama.embedding_length", 63u32.into(), "it becomes 63, and token_embd.weight has rows of 64"),
        ("llama.context_length", 0u32.into(), "0 is not greater than 0, as programs take for granted"),
        (
            "llama.rope.freq_base",
            Value::F32(f32::NAN),
            "NaN is not greater than 0, as programs take for granted",
        ),
        (
            "llama.attention.layer_norm_rms_epsilon",
            1e5f32.into(),
            "100000 is not between 0 and 1, as programs take for granted",
        ),
        ("llama.rope.dimension_count", 15u32.into(), "15 is not even and greater than 0: rope turns pairs"),
        ("tokenizer.ggml.bos_token_id", 64u32.into(), "there are 64 tokens, and none is 64, the bos token's"),
        ("tokenizer.chat_template", "{% if x %}".into(), "'if' at byte 0 has no 'endif'"),
        ("llama.vocab_size", 12u32.into(), "it becomes 12, and token_embd.weight has 64 rows"),
        (
            "llama.attention.head_count",
            7u32.into(),
            "it becomes 7, and the 64 rows of blk.0.attn_q.weight are no whole heads",
        ),
        ("llama.feed_forward_length", 1u32.into(), "it becomes 1, and blk.0.ffn_up.weight has 256 rows"),
        (
            "llama.context_length",
            64u64.into(),
            "llama.cpp reads it as u32, and loads no model in which it is u64",
        ),
    ] {
        assert_eq!(note(key, value), [format!("{key}: {why}")]);
    }
    for (key, value) in [
        ("llama.block_count", Value::U32(2)),
        ("llama.context_length", 16384u32.into()),
        ("llama.rope.freq_base", 1e6f32.into()),
        ("tokenizer.ggml.bos_token_id", 63u32.into()),
        ("tokenizer.chat_template", "{{ messages }}".into()),
        ("general.name", "{{".into()),
    ] {
        assert!(note(key, value).is_empty(), "{key}");
    }
    let noted = |edit: &mut Edit| edit.plan(SAMPLE).unwrap().notes;
    for (notes, why) in [
        (noted(Edit::new().remove("general.architecture")), "without it no program knows what the model is"),
        (noted(Edit::new().remove("tokenizer.ggml.tokens")), "without it the tokenizer has no tokens"),
        (noted(Edit::new().rename_tensor("token_embd.weight", "x")), "no model is without it"),
        (noted(Edit::new().remove_tensor("token_embd.weight")), "no model is without it"),
        (noted(Edit::new().set_element("tokenizer.ggml.token_type", 3, 77)), "77 is no kind of token"),
    ] {
        assert!(notes.len() == 1 && notes[0].contains(why), "{notes:?}");
    }
    let model = Gguf::read(SAMPLE).unwrap();
    let tokens: Vec<&str> = model.metadata().require("tokenizer.ggml.tokens").unwrap();
    let notes = noted(Edit::new().set_element("tokenizer.ggml.tokens", 3, tokens[5]));
    assert!(notes.len() == 1 && notes[0].contains("tokens 5 and 3 are both '"), "{notes:?}");
    let mut twice = tokens.clone();
    twice[7] = tokens[2];
    let notes = noted(Edit::new().set("tokenizer.ggml.tokens", twice));
    assert!(notes.len() == 1 && notes[0].contains("tokens 2 and 7 are both '"), "{notes:?}");
    // A layer without its tensors.
    let mut edit = Edit::new();
    for tensor in model.tensors().filter(|tensor| tensor.name().starts_with("blk.1.")) {
        edit.remove_tensor(tensor.name());
    }
    assert_eq!(noted(&mut edit), ["llama.block_count: it is 2, and there are tensors of 1 layers"]);
    // The count is dropped together with its layers.
    let mut edit = Edit::new();
    edit.drop_layers(&Gguf::read(SAMPLE).unwrap(), [0]).unwrap();
    assert!(edit.plan(SAMPLE).unwrap().notes.is_empty());
}
