//! Tests of `model::Memory`: llama.cpp's figures, without guesses. tests/memory_estimate.py compares with llama.cpp itself, for
//! every architecture; the figures here are those that it reported.

#![cfg(feature = "std")]

use gguf_codec::model::{Memory, MemoryEstimate};
use gguf_codec::{Error, GgmlType, Gguf, Result, Value, Writer};

fn file(architecture: &str, keys: &[(&str, Value)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    writer.set_metadata("general.architecture", architecture).unwrap();
    for (key, value) in keys {
        writer.set_metadata(&format!("{architecture}.{key}"), value.clone()).unwrap();
    }
    writer.declare_tensor("t", &[32], GgmlType::Q8_0).unwrap();
    let mut data = writer.write_header().unwrap();
    data.write_tensor("t", &[0; 34]).unwrap();
    data.finish().unwrap()
}

fn estimate(memory: Memory, architecture: &str, keys: &[(&str, Value)]) -> Result<MemoryEstimate> {
    let file = file(architecture, keys);
    let model = Gguf::parse(&file).unwrap();
    memory.estimate(model.metadata(), model.tensors())
}

fn plain() -> Vec<(&'static str, Value)> {
    vec![
        ("block_count", 8u32.into()),
        ("embedding_length", 64u32.into()),
        ("attention.head_count", 4u32.into()),
        ("attention.head_count_kv", 2u32.into()),
    ]
}

const MIB: u64 = 1 << 20;

#[test]
fn keys_and_values_of_grouped_heads() {
    let found = estimate(Memory::at(4096), "llama", &plain()).unwrap();
    assert_eq!((found.weights, found.kv_cache, found.state, found.context), (34, 4 * MIB, 0, 4096));
    assert_eq!(found.total(), 34 + 4 * MIB);
    // Rounded up, in other types.
    let found =
        estimate(Memory::at(1000).key_type(GgmlType::Q8_0).value_type(GgmlType::F32), "qwen2", &plain());
    assert_eq!(found.unwrap().kv_cache, 1024 * 8 * (34 + 128));
    let mut keys = plain();
    keys.extend([("attention.key_length", 24u32.into()), ("attention.value_length", 8u32.into())]);
    assert_eq!(estimate(Memory::at(4096), "qwen3", &keys).unwrap().kv_cache, 4 * MIB);
    // One number for each layer, and layers that predict further tokens.
    keys[3].1 = [2u32, 1, 2, 4, 2, 1, 1, 1].into();
    keys.push(("nextn_predict_layers", 1u32.into()));
    assert_eq!(estimate(Memory::at(256), "deci", &keys).unwrap().kv_cache, 256 * 13 * 32 * 2);
}

#[test]
fn layers_with_windows_keep_those_alone() {
    let mut keys = plain();
    keys.push(("attention.sliding_window", 20u32.into()));
    // 1 layer of 4096 tokens and 7 of 768.
    let found = estimate(Memory::at(4096), "gemma3", &keys).unwrap();
    assert_eq!(found.kv_cache, MIB / 2 + 7 * 768 * 128);
    let found = estimate(Memory::at(4096).full_windows(true), "gemma3", &keys).unwrap();
    assert_eq!(found.kv_cache, 4 * MIB);
    let found = estimate(Memory::at(4096).batch(1), "gemma3", &keys).unwrap();
    assert_eq!(found.kv_cache, MIB / 2 + 7 * 256 * 128);
    assert_eq!(estimate(Memory::at(4096), "gpt-oss", &keys).unwrap().kv_cache, 2 * MIB + 4 * 768 * 128);
    // A Llama's windows are not used, and Gemma 2 has a window of 4096 if the key is missing.
    assert_eq!(estimate(Memory::at(4096), "llama", &keys).unwrap().kv_cache, 4 * MIB);
    assert_eq!(estimate(Memory::at(8192), "gemma2", &plain()).unwrap().kv_cache, 4 * MIB + 4 * 4608 * 128);
    let flags = [true, false, true, false, false, false, false, false];
    keys.push(("attention.sliding_window_pattern", flags.into()));
    assert_eq!(estimate(Memory::at(4096), "gemma3", &keys).unwrap().kv_cache, 3 * MIB + 2 * 768 * 128);
}

#[test]
fn latent_attention_and_states() {
    let mut keys = plain();
    keys[3].1 = 1u32.into();
    keys.extend([
        ("attention.key_length", Value::from(80u32)),
        ("attention.value_length", 64u32.into()),
        ("attention.key_length_mla", 48u32.into()),
        ("attention.value_length_mla", 32u32.into()),
    ]);
    assert_eq!(estimate(Memory::at(4096), "deepseek2", &keys).unwrap().kv_cache, 5 * MIB);
    let state = |groups: u32| {
        vec![
            ("block_count", Value::from(8u32)),
            ("embedding_length", 640u32.into()),
            ("attention.head_count", 4u32.into()),
            ("attention.head_count_kv", [0u32, 0, 2, 0, 0, 2, 0, 0].into()),
            ("ssm.conv_kernel", 4u32.into()),
            ("ssm.inner_size", 1280u32.into()),
            ("ssm.state_size", 160u32.into()),
            ("ssm.group_count", groups.into()),
        ]
    };
    let found = estimate(Memory::at(4096), "mamba", &state(0)).unwrap();
    assert_eq!((found.kv_cache, found.state), (0, 8 * 4 * (3 * 1280 + 160 * 1280)));
    let found = estimate(Memory::at(4096), "jamba", &state(0)).unwrap();
    assert_eq!((found.kv_cache, found.state), (10 * MIB, 6 * 4 * (3 * 1280 + 160 * 1280)));
    let found = estimate(Memory::at(4096), "falcon-h1", &state(2)).unwrap();
    assert_eq!((found.kv_cache, found.state), (10 * MIB, 8 * 4 * (3 * 1920 + 160 * 1280)));
    assert_eq!(estimate(Memory::at(4096), "bert", &[]).unwrap().kv_cache, 0);
}

#[test]
fn what_is_not_known_is_not_guessed() {
    let error = estimate(Memory::at(4096), "llama9", &plain()).unwrap_err();
    assert!(matches!(&error, Error::UnknownArchitecture { architecture } if architecture == "llama9"));
    assert_eq!(error.to_string(), "how much memory a context of architecture 'llama9' takes is not known");
    assert!(matches!(estimate(Memory::at(1), "llama", &[]), Err(Error::MissingKey { .. })));
    let error = estimate(Memory::at(1).kv_type(GgmlType::Q4_K), "llama", &plain()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a key of a layer is 32 long, and must be a multiple of 256, for blocks of Q4_K"
    );
    // Nothing overflows, and nothing large is reserved.
    let mut keys = plain();
    keys[0].1 = u32::MAX.into();
    assert!(matches!(estimate(Memory::at(1), "llama", &keys), Err(Error::Length { .. })));
    keys[0].1 = 512u32.into();
    keys[1].1 = u64::MAX.into();
    keys[3].1 = u64::MAX.into();
    assert!(estimate(Memory::at(u64::MAX), "llama", &keys).is_err());
    keys[1].1 = 64u32.into();
    keys[3].1 = u32::MAX.into();
    assert_eq!(estimate(Memory::at(u64::MAX), "llama", &keys).unwrap().total(), u64::MAX);
}
