//! A model of a known family is complete and fits its configuration, or nothing is planned.

use gguf_codec::model::hf::{Description, Import};
use gguf_codec::safetensors::Dtype;
use gguf_codec::{Gguf, Result, Value, ValueRef};
use serde_json::{Value as Json, json};

use super::{checkpoint, imported, needed, tensors};

pub(super) fn config(class: &str) -> Json {
    json!({"architectures": [class], "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": if class.starts_with("Bert") { 2 } else { 1 }, "vocab_size": 6,
        "max_position_embeddings": 16, "type_vocab_size": 2, "tie_word_embeddings": false})
}

/// A vocabulary of a given number of tokens.
fn tokenizer(tokens: usize) -> String {
    let vocab: serde_json::Map<_, _> = (0..tokens).map(|id| (format!("t{id}"), id.into())).collect();
    json!({"pre_tokenizer": {"type": "ByteLevel"}, "model": {"type": "BPE", "vocab": vocab, "merges": []}})
        .to_string()
}

type Tensors = Vec<(String, Vec<u64>)>;

fn import(config: &Json, all: &Tensors, dtype: Dtype, tokens: usize) -> Result<Gguf<Vec<u8>>> {
    let bytes = dtype.bits() as usize / 8;
    let own: Vec<_> = all
        .iter()
        .map(|(name, shape)| {
            let zeros = vec![0; bytes * shape.iter().product::<u64>() as usize];
            (name.as_str(), shape.as_slice(), dtype, zeros)
        })
        .collect();
    let files = checkpoint([tensors(&own)])?;
    let description = Description::from_config(&config.to_string())?.with_tokenizer(&tokenizer(tokens))?;
    Gguf::parse(imported(Import::new(&files, &description))?)
}

fn all(class: &str) -> Tensors {
    needed(&config(class).to_string())
}

pub(super) const CLASSES: [&str; 8] = [
    "LlamaForCausalLM",
    "MistralForCausalLM",
    "Qwen2ForCausalLM",
    "Qwen3ForCausalLM",
    "SmolLM3ForCausalLM",
    "GraniteForCausalLM",
    "Starcoder2ForCausalLM",
    "BertModel",
];

#[test]
fn each_tensor_of_each_family_is_missed_and_its_shape_checked() {
    for class in CLASSES {
        let (config, all) = (config(class), all(class));
        for dtype in [Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::F64] {
            import(&config, &all, dtype, 6).unwrap();
        }
        for at in 0..all.len() {
            let name = &all[at].0;
            let mut missing = all.clone();
            missing.remove(at);
            let error = import(&config, &missing, Dtype::F16, 6).unwrap_err().to_string();
            assert!(error.contains(&format!("tensor '{name}' is missing")), "{class}: {error}");
            for extent in 0..all[at].1.len() {
                let mut other = all.clone();
                other[at].1[extent] += 2;
                let error = import(&config, &other, Dtype::F16, 6).unwrap_err().to_string();
                // The embedding's rows give the vocabulary size, with which everything else is compared.
                assert!(error.contains("shape") || error.contains("rows"), "{class} {name}: {error}");
            }
            let mut more = all.clone();
            more[at].1.push(1);
            let error = import(&config, &more, Dtype::F16, 6).unwrap_err().to_string();
            assert!(error.contains("dimensions"), "{class} {name}: {error}");
        }
    }
}

#[test]
fn a_configuration_of_another_model_is_refused_with_its_numbers() {
    let cases: &[(&str, Json, &str)] = &[
        ("hidden_size", json!(16), "'hidden_size' is 16, and would have to be 8"),
        ("intermediate_size", json!(16), "'intermediate_size' is 16, and would have to be 12"),
        ("intermediate_size", Json::Null, "has no 'intermediate_size'"),
        ("num_attention_heads", json!(4), "'num_key_value_heads' is 1, 'num_attention_heads' is 4"),
        ("num_attention_heads", json!(3), "3, does not divide"),
        ("num_key_value_heads", json!(2), "'num_key_value_heads' is 2"),
        ("num_key_value_heads", json!(0), "must not be 0"),
        ("head_dim", json!(2), "'head_dim' is 2"),
        (
            "vocab_size",
            json!(8),
            "'vocab_size' is 8, and tensor 'model.embed_tokens.weight' has 6 rows: set it to 6",
        ),
        (
            "vocab_size",
            json!(5),
            "'vocab_size' is 5, and tensor 'model.embed_tokens.weight' has 6 rows: set it to 6",
        ),
        ("max_position_embeddings", Json::Null, "has no 'max_position_embeddings'"),
        ("num_hidden_layers", json!(1), "'num_hidden_layers' is 1, and tensor 'model.layers.1."),
        ("num_hidden_layers", json!(3), "'num_hidden_layers' is 3, and layer 2 has no tensors"),
    ];
    for (key, value, part) in cases {
        for class in &CLASSES[..3] {
            let mut config = config(class);
            config[*key] = value.clone();
            let error = import(&config, &all(class), Dtype::BF16, 6).unwrap_err().to_string();
            let part = match *key {
                "head_dim" if class.starts_with("Qwen2") => "only where they make 'hidden_size', 8",
                _ => part,
            };
            assert!(error.contains("'config.json'") && error.contains(part), "{class}, {key}: {error}");
        }
    }
}

#[test]
fn rows_may_be_padded_beyond_the_tokens_and_not_be_fewer() {
    let (config, all) = (config("LlamaForCausalLM"), all("LlamaForCausalLM"));
    for tokens in [6, 4, 1] {
        let model = import(&config, &all, Dtype::F32, tokens).unwrap();
        let found: Vec<String> =
            model.metadata().require_array("tokenizer.ggml.tokens").unwrap().map(Result::unwrap).collect();
        assert_eq!((found.len(), found.contains(&"[PAD5]".to_owned())), (6, tokens < 6));
    }
    // Also without a `vocab_size`.
    let mut silent = config.clone();
    silent["vocab_size"] = Json::Null;
    assert_eq!(
        import(&silent, &all, Dtype::F32, 4).unwrap().metadata().require::<u32>("llama.vocab_size").unwrap(),
        6
    );
    // Whatever the configuration says about it.
    for size in [6, 8] {
        let mut config = config.clone();
        config["vocab_size"] = size.into();
        let error = import(&config, &all, Dtype::F32, 8).unwrap_err().to_string();
        let wanted = format!(
            "ids up to 7, and tensor 'model.embed_tokens.weight' has 6 rows ('vocab_size' of config.json is {size})"
        );
        assert!(error.contains("'tokenizer.json'") && error.contains(&wanted), "{error}");
    }
}

#[test]
fn a_head_may_be_missing_where_the_embedding_takes_its_place() {
    let without = |class: &str, change: &dyn Fn(&mut Json)| {
        let mut config = config(class);
        change(&mut config);
        let mut all = all(class);
        all.retain(|(name, _)| name != "lm_head.weight");
        import(&config, &all, Dtype::F32, 6).map(|_| ()).map_err(|error| error.to_string())
    };
    let error = without("LlamaForCausalLM", &|_| {}).unwrap_err();
    assert!(error.contains("'lm_head.weight' is missing, and 'tie_word_embeddings' is false"), "{error}");
    let error =
        without("Qwen2ForCausalLM", &|config| config["tie_word_embeddings"] = Json::Null).unwrap_err();
    assert!(error.contains("there is no 'tie_word_embeddings'"), "{error}");
    without("LlamaForCausalLM", &|config| config["tie_word_embeddings"] = true.into()).unwrap();
    without("Qwen2Model", &|config| config["tie_word_embeddings"] = Json::Null).unwrap();
}

#[test]
fn a_tensor_that_the_family_does_not_have_is_refused() {
    for (class, name) in [
        ("LlamaForCausalLM", "model.layers.0.self_attn.q_proj.extra"),
        ("LlamaForCausalLM", "model.norm.bias"),
        ("LlamaForCausalLM", "lm_head.bias"),
        ("LlamaForCausalLM", "model.layers.0.input_layernorm.bias"),
        ("Qwen2ForCausalLM", "model.layers.0.self_attn.o_proj.bias"),
        ("Qwen2ForCausalLM", "model.layers.1.mlp.up_proj.bias"),
        ("BertModel", "embeddings.word_embeddings.bias"),
    ] {
        let mut all = all(class);
        all.push((name.to_owned(), vec![8]));
        let error = import(&config(class), &all, Dtype::F32, 6).unwrap_err().to_string();
        assert!(error.contains(&format!("tensor '{name}' has no name in the ")), "{error}");
    }
    // A Llama may have biases.
    let mut all = all("LlamaForCausalLM");
    for (name, len) in
        [("self_attn.q_proj", 8), ("self_attn.k_proj", 4), ("self_attn.v_proj", 4), ("mlp.up_proj", 12)]
    {
        all.extend((0..2).map(|layer| (format!("model.layers.{layer}.{name}.bias"), vec![len])));
    }
    import(&config("LlamaForCausalLM"), &all, Dtype::F32, 6).unwrap();
    all.last_mut().unwrap().1[0] = 8;
    assert!(
        import(&config("LlamaForCausalLM"), &all, Dtype::F32, 6)
            .unwrap_err()
            .to_string()
            .contains("must have [12]")
    );
}

/// A class, additional configuration, keys that the GGUF then has, and keys that it does not have.
type Case<'a> = (&'a str, Json, &'a [(&'a str, Value)], &'a [&'a str]);

/// Keys that only one family has, in addition to those of Llama.
#[test]
fn families_get_the_keys_that_llama_cpp_asks_for() {
    let cases: [Case<'_>; 5] = [
        (
            "Qwen3ForCausalLM",
            json!({"head_dim": 6, "rms_norm_eps": 1e-5}),
            &[
                ("qwen3.attention.key_length", 6u32.into()),
                ("qwen3.attention.value_length", 6u32.into()),
                ("qwen3.attention.layer_norm_rms_epsilon", 1e-5f32.into()),
            ],
            &["qwen3.vocab_size", "qwen3.rope.dimension_count", "qwen3.attention.layer_norm_epsilon"],
        ),
        ("Qwen3ForCausalLM", json!({}), &[("qwen3.attention.key_length", 128u32.into())], &[]),
        (
            "SmolLM3ForCausalLM",
            json!({}),
            &[("smollm3.vocab_size", 6u32.into()), ("smollm3.rope.dimension_count", 4u32.into())],
            &["smollm3.attention.key_length"],
        ),
        (
            "GraniteForCausalLM",
            json!({"attention_multiplier": 0.5, "embedding_multiplier": 12.0, "residual_multiplier": 0.25,
                "logits_scaling": 8}),
            &[
                ("granite.attention.scale", 0.5f32.into()),
                ("granite.embedding_scale", 12.0f32.into()),
                ("granite.residual_scale", 0.25f32.into()),
                ("granite.logit_scale", 8.0f32.into()),
                ("granite.rope.dimension_count", 4u32.into()),
            ],
            &["granite.attention.key_length"],
        ),
        (
            "Starcoder2ForCausalLM",
            json!({"norm_epsilon": 1e-4}),
            &[("starcoder2.attention.layer_norm_epsilon", 1e-4f32.into())],
            &["starcoder2.vocab_size", "starcoder2.attention.layer_norm_rms_epsilon"],
        ),
    ];
    for (class, more, there, missing) in cases {
        let mut config = config(class);
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let model = import(&config, &needed(&config.to_string()), Dtype::BF16, 6).unwrap();
        for (key, value) in there {
            assert_eq!(
                Value::from(model.metadata().require::<ValueRef>(key).unwrap()),
                *value,
                "{class}: {key}"
            );
        }
        for key in missing {
            assert!(!model.metadata().contains(key), "{class}: {key}");
        }
    }
}

/// The rows of q and k are in llama.cpp's order if and only if the family needs it.
#[test]
fn rows_of_heads_are_in_the_order_of_the_family() {
    for (class, expected) in [
        ("SmolLM3ForCausalLM", [0.0f32, 2.0, 1.0, 3.0]),
        ("GraniteForCausalLM", [0.0, 2.0, 1.0, 3.0]),
        ("Qwen3ForCausalLM", [0.0, 1.0, 2.0, 3.0]),
        ("Starcoder2ForCausalLM", [0.0, 1.0, 2.0, 3.0]),
    ] {
        let mut config = config(class);
        config["head_dim"] = 4.into();
        let all = needed(&config.to_string());
        let rows = |shape: &[u64]| -> Vec<u8> {
            let len = shape.iter().skip(1).product::<u64>();
            let values = (0..shape[0]).flat_map(|row| std::iter::repeat_n(row as f32, len as usize));
            values.flat_map(f32::to_le_bytes).collect()
        };
        let own: Vec<_> = all
            .iter()
            .map(|(name, shape)| (name.as_str(), shape.as_slice(), Dtype::F32, rows(shape)))
            .collect();
        let files = checkpoint([tensors(&own)]).unwrap();
        let description = Description::from_config(&config.to_string()).unwrap();
        let model = Gguf::parse(imported(Import::new(&files, &description)).unwrap()).unwrap();
        let q = model.tensor("blk.1.attn_q.weight").unwrap();
        let values: Vec<f32> = q.dequantize().unwrap();
        let first: Vec<f32> = values.iter().step_by(q.row_len()).take(4).copied().collect();
        assert_eq!(first, expected, "{class}");
    }
}
