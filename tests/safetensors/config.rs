//! `config.json` of an exported model agrees with its tensors, and is read back to the same parameters.

use gguf_codec::model::Input;
use gguf_codec::model::hf::{Description, Export, Import, ToSafetensors};
use gguf_codec::{ByteOrder, GgmlType, Gguf, Value, Writer};
use serde_json::{Value as Json, json};

use super::{checkpoint, completed, imported};

type Tensors<'a> = &'a [(&'a str, &'a [u64], GgmlType)];

const EMBEDDING: (&str, &[u64], GgmlType) = ("token_embd.weight", &[32, 8], GgmlType::F32);

/// A model of no layers with these keys of its architecture and these tensors, all zeros except `rope_freqs.weight`.
fn model(architecture: &str, keys: &[(&str, Value)], tensors: Tensors<'_>, factors: &[f32]) -> Vec<u8> {
    in_order(ByteOrder::Little, architecture, keys, tensors, factors)
}

fn in_order(
    order: ByteOrder,
    architecture: &str,
    keys: &[(&str, Value)],
    tensors: Tensors<'_>,
    factors: &[f32],
) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    writer.set_byte_order(order);
    writer.set_metadata("general.architecture", architecture).unwrap();
    let needed = [
        ("attention.head_count", 2),
        ("embedding_length", 32),
        ("feed_forward_length", 64),
        ("block_count", 0),
        ("context_length", 128),
    ];
    for (key, value) in needed {
        writer.set_metadata(&format!("{architecture}.{key}"), Value::U32(value)).unwrap();
    }
    writer.set_metadata(&format!("{architecture}.attention.layer_norm_rms_epsilon"), 1e-5f32).unwrap();
    for (key, value) in keys {
        writer.set_metadata(&format!("{architecture}.{key}"), value.clone()).unwrap();
    }
    for (name, dims, ty) in tensors {
        writer.declare_tensor(name, dims, *ty).unwrap();
    }
    let mut data = writer.write_header().unwrap();
    for (name, ..) in tensors {
        let mut out = data.begin(name).unwrap();
        match *name {
            "rope_freqs.weight" => out.write_values(factors, None).unwrap(),
            _ => out.write_bytes(&vec![0; out.remaining() as usize]).unwrap(),
        }
        out.finish().unwrap();
    }
    data.finish().unwrap()
}

/// The file and what it lacks, if blocks become F16.
fn config(gguf: &Vec<u8>) -> (Json, Vec<String>) {
    let model = Gguf::parse(gguf).unwrap();
    let plan = Export::new(&model, gguf).plan().unwrap();
    (serde_json::from_str(plan.config_json().unwrap()).unwrap(), plan.notes().to_vec())
}

/// The GGUF that the file gives for a model without tensors.
fn back(config: &Json) -> Vec<u8> {
    let files = checkpoint([completed(&config.to_string(), &[])]).unwrap();
    let description = Description::from_config(&config.to_string()).unwrap();
    imported(Import::new(&files, &description)).unwrap()
}

#[test]
fn the_dtype_is_that_of_most_bytes_of_matrices() {
    use GgmlType::{BF16, F16, F32, F64, Q8_0};
    for (embedding, up, dtype) in [
        (BF16, BF16, "bfloat16"),
        (F32, BF16, "bfloat16"),
        (F32, Q8_0, "float16"),
        (F16, F32, "float32"),
        (F64, F16, "float64"),
    ] {
        // The second has four times as many values; the vector does not count.
        let tensors: Tensors<'_> = &[
            ("token_embd.weight", &[32, if up == F16 { 64 } else { 8 }], embedding),
            ("blk.0.ffn_up.weight", &[32, 32], up),
            ("output_norm.weight", &[1 << 14], F32),
        ];
        let (config, notes) = config(&model("llama", &[], tensors, &[]));
        assert_eq!(config["torch_dtype"], dtype, "{embedding} {up}");
        assert!(notes.is_empty() && config.get("rope_scaling").is_none(), "{config}");
        assert!(config.get("attention_bias").is_none() && config.get("mlp_bias").is_none(), "{config}");
    }
}

#[test]
fn rope_scaling_comes_back_as_it_was() {
    let text = |text: &str| Value::String(text.into());
    let yarn = [
        ("rope.scaling.type", text("yarn")),
        ("rope.scaling.factor", Value::F32(4.5)),
        ("rope.scaling.original_context_length", Value::U32(4096)),
        ("rope.scaling.yarn_ext_factor", Value::F32(1.25)),
        ("rope.scaling.yarn_attn_factor", Value::F32(0.1)),
        ("rope.scaling.yarn_beta_fast", Value::F32(32.0)),
        ("rope.scaling.yarn_beta_slow", Value::F32(1.0)),
    ];
    let linear = [("rope.scaling.type", text("linear")), ("rope.scaling.factor", Value::F32(0.1))];
    for architecture in ["llama", "qwen2"] {
        for keys in [&yarn[..], &yarn[..2], &linear] {
            let (config, notes) = config(&model(architecture, keys, &[EMBEDDING], &[]));
            assert!(notes.is_empty(), "{notes:?}");
            let back = Gguf::parse(back(&config)).unwrap();
            let found = back.metadata().iter().filter(|(key, _)| key.contains(".rope.scaling."));
            let found: Vec<_> = found.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            let wanted = keys.iter().map(|(key, value)| (format!("{architecture}.{key}"), value.clone()));
            assert_eq!(found, wanted.collect::<Vec<_>>());
        }
    }
    let (config, _) = config(&model("llama", &yarn[..3], &[EMBEDDING], &[]));
    let wanted = json!({ "rope_type": "yarn", "type": "yarn", "factor": 4.5, "original_max_position_embeddings": 4096 });
    assert_eq!(config["rope_scaling"], wanted);
}

#[test]
fn rope_scaling_that_is_not_named_is_linear_and_what_has_no_name_is_noted() {
    let scaled = |keys: &[(&str, Value)]| {
        let (mut config, notes) = config(&model("llama", keys, &[EMBEDDING], &[]));
        (config["rope_scaling"].take(), notes)
    };
    let linear = json!({ "rope_type": "linear", "type": "linear", "factor": 2.0 });
    for key in ["rope.scaling.factor", "rope.scale_linear"] {
        assert_eq!(scaled(&[(key, Value::F32(2.0))]), (linear.clone(), vec![]));
    }
    let kind = |kind: &str| ("rope.scaling.type", Value::String(kind.into()));
    let factor = |factor| ("rope.scaling.factor", Value::F32(factor));
    assert_eq!(scaled(&[kind("none"), factor(2.0)]), (Json::Null, vec![]));
    // llama.cpp treats 0 as unset.
    assert_eq!(scaled(&[kind("linear"), factor(0.0)]), (Json::Null, vec![]));
    let (scaling, notes) = scaled(&[kind("longrope"), factor(2.0)]);
    assert!(scaling.is_null() && notes.len() == 1 && notes[0].contains("'longrope'"), "{notes:?}");
}

#[test]
fn llama_3_1_is_known_by_its_factors() {
    let scaling = json!({ "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192 });
    let of_config = json!({ "architectures": ["LlamaForCausalLM"], "hidden_size": 128, "num_attention_heads": 2,
        "num_hidden_layers": 0, "intermediate_size": 8, "max_position_embeddings": 8, "vocab_size": 8, "rope_theta": 500_000.0, "rope_scaling": scaling });
    let made = back(&of_config);
    let made = Gguf::parse(&made).unwrap();
    let mut factors = vec![0.0; 32];
    made.tensor("rope_freqs.weight").unwrap().dequantize_into(&mut factors).unwrap();
    let theta = [("rope.freq_base", Value::F32(500_000.0))];
    let exported = |factors: &[f32], ty, order| {
        let freqs: (&str, &[u64], GgmlType) = ("rope_freqs.weight", &[factors.len() as u64], ty);
        config(&in_order(order, "llama", &theta, &[EMBEDDING, freqs], factors))
    };
    for order in [ByteOrder::Little, ByteOrder::Big] {
        let (config, notes) = exported(&factors, GgmlType::F32, order);
        assert_eq!((&config["rope_scaling"], notes), (&scaling, vec![]));
    }
    factors[20] *= 1.1;
    for (factors, ty) in
        [(&factors[..], GgmlType::F32), (&[0.0; 0], GgmlType::F32), (&[0.0; 0], GgmlType::F16)]
    {
        let (config, notes) = exported(factors, ty, ByteOrder::Little);
        assert!(config.get("rope_scaling").is_none(), "{config}");
        assert!(notes.len() == 1 && notes[0].contains("rope_freqs.weight"), "{notes:?}");
    }
}

#[test]
fn biases_that_the_class_leaves_out_are_asked_for() {
    let tensors: Tensors<'_> = &[
        EMBEDDING,
        ("blk.0.attn_q.bias", &[32], GgmlType::F32),
        ("blk.0.ffn_up.bias", &[64], GgmlType::F32),
    ];
    let (config, _) = config(&model("llama", &[], tensors, &[]));
    assert_eq!((&config["attention_bias"], &config["mlp_bias"]), (&true.into(), &true.into()));
    let (config, _) = self::config(&model("qwen2", &[], tensors, &[]));
    assert!(config.get("attention_bias").is_none(), "{config}");
}

/// Models of embeddings of a decoder's class see all of a text, which llama.cpp does where the key says so.
#[test]
fn decoders_that_see_all_of_a_text_stay_so() {
    for architecture in ["llama", "qwen2", "qwen3", "granite"] {
        let seen = |gguf: Vec<u8>| {
            let model = Gguf::parse(gguf).unwrap();
            model.metadata().optional::<bool>(&format!("{architecture}.attention.causal")).unwrap()
        };
        let (mut config, notes) =
            config(&model(architecture, &[("attention.causal", Value::Bool(false))], &[EMBEDDING], &[]));
        assert!(config["is_causal"] == false && notes.is_empty(), "{architecture}: {notes:?}");
        assert_eq!(seen(back(&config)), Some(false), "{architecture}");
        config["is_causal"] = true.into();
        assert_eq!(seen(back(&config)), None, "{architecture}");
        config["use_bidirectional_attention"] = true.into();
        assert_eq!(seen(back(&config)), Some(false), "{architecture}");
    }
    assert!(config(&model("llama", &[], &[EMBEDDING], &[])).0.get("is_causal").is_none());
}

/// Without these files sentence transformers takes the mean of all tokens.
#[test]
fn sentence_transformers_find_the_pooling() {
    let folder = tempfile::tempdir().unwrap();
    for (kind, mode) in [
        (Some(0), None),
        (Some(1), Some("pooling_mode_mean_tokens")),
        (Some(2), Some("pooling_mode_cls_token")),
        (Some(3), Some("pooling_mode_lasttoken")),
        (Some(4), None),
        (None, None),
    ] {
        let keys: Vec<_> = kind.iter().map(|&kind| ("pooling_type", Value::U32(kind))).collect();
        let bytes = model("qwen2", &keys, &[EMBEDDING], &[]);
        let len = bytes.len() as u64;
        let input = Input::from(Gguf::read_at(bytes, len).unwrap());
        let out = folder.path().join(format!("{kind:?}"));
        let report = ToSafetensors::new(&input).run(&out).unwrap();
        let read = |name: &str| serde_json::from_slice::<Json>(&std::fs::read(out.join(name)).ok()?).ok();
        let modules = read("modules.json");
        assert_eq!(modules.is_some(), mode.is_some(), "{kind:?}");
        assert_eq!(out.join("1_Pooling").exists(), mode.is_some(), "{kind:?}");
        assert_eq!(report.paths.contains(&out.join("1_Pooling/config.json")), mode.is_some(), "{kind:?}");
        let Some(mode) = mode else { continue };
        let wanted = json!([
            { "idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer" },
            { "idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling" },
        ]);
        assert_eq!(modules, Some(wanted));
        let pooling = read("1_Pooling/config.json").unwrap();
        assert_eq!(pooling["word_embedding_dimension"], 32);
        let members = pooling.as_object().unwrap().iter();
        let modes: Vec<_> = members.filter(|(key, _)| key.starts_with("pooling_mode_")).collect();
        assert_eq!(modes.len(), 6);
        assert!(modes.iter().all(|(key, value)| **value == (*key == mode)), "{pooling}");
        // And it is read again.
        let config = read("config.json").unwrap();
        let files = checkpoint([completed(&config.to_string(), &[])]).unwrap();
        let description = Description::read(&out).unwrap();
        let again = Gguf::parse(imported(Import::new(&files, &description)).unwrap()).unwrap();
        assert_eq!(again.metadata().optional::<u32>("qwen2.pooling_type").unwrap(), kind);
    }
}
