//! What `config.json` does not say is what the class of the transformers library has then.

use std::collections::BTreeMap;

use gguf_codec::model::hf::{Description, Export, Import};
use gguf_codec::{Gguf, ValueRef};
use serde_json::{Value as Json, json};

use super::super::imported;
use super::{Checkpoint, FAMILIES, deepseek, files, source};

/// A family of `FAMILIES`, keys that are set first, a key, and the default of the transformers library, read from its classes.
const DEFAULTS: &[(&str, &str, &str, &str)] = &[
    ("bert", "{}", "layer_norm_eps", "1e-12"),
    ("bert", "{}", "type_vocab_size", "2"),
    ("bert", "{}", "is_decoder", "false"),
    ("xlm-roberta", "{}", "layer_norm_eps", "1e-12"),
    ("xlm-roberta", "{}", "pad_token_id", "1"),
    ("xlm-roberta", "{}", "type_vocab_size", "2"),
    ("modernbert", "{}", "norm_eps", "1e-5"),
    ("modernbert", "{}", "local_attention", "128"),
    ("modernbert", "{}", "global_attn_every_n_layers", "3"),
    ("modernbert", "{}", "global_rope_theta", "160000"),
    ("modernbert", "{}", "local_rope_theta", "10000"),
    ("modernbert", "{}", "hidden_activation", "\"gelu\""),
    ("gemma2", "{}", "attn_logit_softcapping", "50"),
    ("gemma2", "{}", "final_logit_softcapping", "30"),
    ("gemma2", "{}", "sliding_window", "4096"),
    ("gemma2", "{}", "rms_norm_eps", "1e-6"),
    ("gemma2", "{}", "rope_theta", "10000"),
    ("gemma2", "{}", "query_pre_attn_scalar", "256"),
    ("gemma2", "{}", "head_dim", "256"),
    ("gemma2", "{}", "tie_word_embeddings", "true"),
    ("gemma2", "{}", "use_bidirectional_attention", "false"),
    ("gemma3", "{}", "attn_logit_softcapping", "null"),
    ("gemma3", "{}", "final_logit_softcapping", "null"),
    ("gemma3", "{}", "sliding_window", "4096"),
    ("gemma3", "{}", "rope_theta", "1000000"),
    ("gemma3", "{}", "rope_local_base_freq", "10000"),
    ("gemma3", "{}", "query_pre_attn_scalar", "256"),
    ("gemma3", "{}", "use_bidirectional_attention", "false"),
    ("gpt_oss", "{}", "rms_norm_eps", "1e-5"),
    ("gpt_oss", "{}", "rope_theta", "150000"),
    ("gpt_oss", "{}", "sliding_window", "128"),
    ("gpt_oss", "{}", "num_experts_per_tok", "4"),
    ("gpt_oss", "{}", "num_local_experts", "128"),
    ("gpt_oss", "{}", "num_key_value_heads", "8"),
    ("gpt_oss", "{}", "head_dim", "64"),
    ("llama3-rope", "{}", "rms_norm_eps", "1e-6"),
    ("llama3-rope", "{}", "rope_theta", "10000"),
    ("llama3-rope", "{}", "head_dim", "32"),
    ("llama3-rope", "{}", "num_key_value_heads", "4"),
    ("llama3-rope", r#"{"architectures": ["MistralForCausalLM"]}"#, "num_key_value_heads", "8"),
    ("granite", "{}", "attention_multiplier", "1.0"),
    ("granite", "{}", "embedding_multiplier", "1.0"),
    ("granite", "{}", "residual_multiplier", "1.0"),
    ("granite", "{}", "logits_scaling", "1.0"),
    ("mixtral", "{}", "rms_norm_eps", "1e-5"),
    ("mixtral", "{}", "rope_theta", "1000000"),
    ("mixtral", "{}", "num_experts_per_tok", "2"),
    ("mixtral", "{}", "num_local_experts", "8"),
    ("mixtral", "{}", "num_key_value_heads", "8"),
    ("phi3", "{}", "original_max_position_embeddings", "4096"),
    ("phi3", "{}", "rms_norm_eps", "1e-5"),
    ("phi3", "{}", "rope_theta", "10000"),
    ("phi3", "{}", "partial_rotary_factor", "1.0"),
    ("phi3", "{}", "sliding_window", "null"),
    ("phi3", "{}", "num_key_value_heads", "3"),
    ("qwen3", "{}", "rms_norm_eps", "1e-6"),
    ("qwen3", "{}", "rope_theta", "10000"),
    ("qwen3", "{}", "head_dim", "128"),
    ("qwen3", "{}", "num_key_value_heads", "32"),
    ("qwen3moe", "{}", "rms_norm_eps", "1e-6"),
    ("qwen3moe", "{}", "rope_theta", "10000"),
    ("qwen3moe", "{}", "norm_topk_prob", "false"),
    ("qwen3moe", "{}", "decoder_sparse_step", "1"),
    ("qwen3moe", "{}", "mlp_only_layers", "[]"),
    ("qwen3moe", "{}", "num_experts", "128"),
    ("qwen3moe", "{}", "num_experts_per_tok", "8"),
    ("qwen3moe", "{}", "moe_intermediate_size", "768"),
    ("qwen3moe", "{}", "num_key_value_heads", "4"),
    ("smollm3", "{}", "rope_theta", "2000000"),
    ("smollm3", "{}", "rms_norm_eps", "1e-6"),
    ("smollm3", "{}", "num_key_value_heads", "4"),
    ("smollm3", "{}", "no_rope_layer_interval", "4"),
    ("smollm3", "{}", "tie_word_embeddings", "true"),
    ("starcoder2", "{}", "norm_epsilon", "1e-5"),
    ("starcoder2", "{}", "rope_theta", "10000"),
    ("starcoder2", "{}", "num_key_value_heads", "2"),
    ("starcoder2", "{}", "tie_word_embeddings", "true"),
    ("deepseek", "{}", "first_k_dense_replace", "3"),
    ("deepseek", "{}", "kv_lora_rank", "512"),
    ("deepseek", "{}", "q_lora_rank", "1536"),
    ("deepseek", "{}", "moe_intermediate_size", "2048"),
    ("deepseek", "{}", "n_group", "8"),
    ("deepseek", "{}", "topk_group", "4"),
    ("deepseek", "{}", "n_routed_experts", "256"),
    ("deepseek", "{}", "n_shared_experts", "1"),
    ("deepseek", "{}", "norm_topk_prob", "true"),
    ("deepseek", "{}", "num_experts_per_tok", "8"),
    ("deepseek", "{}", "routed_scaling_factor", "2.5"),
    ("deepseek", "{}", "scoring_func", "\"sigmoid\""),
    ("deepseek", "{}", "rope_interleave", "true"),
    ("deepseek", V2, "n_routed_experts", "64"),
    ("deepseek", V2, "n_shared_experts", "2"),
    ("deepseek", V2, "norm_topk_prob", "false"),
    ("deepseek", V2, "scoring_func", "\"softmax\""),
    ("deepseek", V2, "routed_scaling_factor", "1.0"),
    ("deepseek", V2, "n_group", "null"),
    ("deepseek", V2, "first_k_dense_replace", "0"),
];

const V2: &str = r#"{"architectures": ["DeepseekV2ForCausalLM"], "scoring_func": "softmax"}"#;

fn family(name: &str) -> (Json, Checkpoint) {
    if name == "deepseek" {
        return deepseek::model();
    }
    let (_, family) = FAMILIES.iter().find(|(known, _)| *known == name).unwrap();
    let family: Json = serde_json::from_str(family).unwrap();
    (family["config"].clone(), source(&family))
}

/// The file, or why there is none.
fn converted(config: &Json, source: &Checkpoint) -> Result<Vec<u8>, String> {
    let files = files(source);
    let description = Description::from_config(&config.to_string()).unwrap();
    imported(Import::new(&files, &description)).map_err(|error| error.to_string())
}

fn with(config: &Json, keys: &str) -> Json {
    let mut config = config.clone();
    let keys: Json = serde_json::from_str(keys).unwrap();
    config.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    config
}

/// A file without a key becomes what one with the class's default becomes, or is refused as that is.
#[test]
fn what_is_not_said_is_the_default_of_the_class() {
    // What llama.cpp takes where there is no key.
    const WITHOUT_A_KEY: &[&str] = &[
        "llama.rope.freq_base F32(10000.0)",
        "qwen3.rope.freq_base F32(10000.0)",
        "qwen3moe.rope.freq_base F32(10000.0)",
        "starcoder2.rope.freq_base F32(10000.0)",
        "llama.attention.head_count_kv U32(4)",
        "deepseek2.expert_weights_scale F32(1.0)",
        "deepseek2.expert_gating_func U32(1)",
    ];
    for (name, first, key, default) in DEFAULTS {
        let (config, source) = family(name);
        let config = with(&config, first);
        let said = with(&config, &format!("{{\"{key}\": {default}}}"));
        let mut silent = config.clone();
        silent.as_object_mut().unwrap().remove(*key);
        let what = format!("{name} {key}");
        match (converted(&silent, &source), converted(&said, &source)) {
            (Ok(silent), Ok(said)) => {
                let (silent, said) = (Gguf::parse(silent).unwrap(), Gguf::parse(said).unwrap());
                let keys = |model: &Gguf<Vec<u8>>| -> BTreeMap<String, String> {
                    let shown = |(key, value): (&str, ValueRef<'_>)| (key.to_owned(), format!("{value:?}"));
                    model.metadata().iter().map(shown).collect()
                };
                let (silent_keys, mut said_keys) = (keys(&silent), keys(&said));
                said_keys.retain(|key, value| {
                    silent_keys.contains_key(key)
                        || !WITHOUT_A_KEY.contains(&format!("{key} {value}").as_str())
                });
                assert_eq!(silent_keys, said_keys, "{what}");
                let tensors = |model: &Gguf<Vec<u8>>| -> Vec<Vec<u8>> {
                    let bytes = |name: &str| model.tensor(name).unwrap().bytes().unwrap().to_vec();
                    model.tensors().map(|tensor| bytes(tensor.name())).collect()
                };
                assert!(tensors(&silent) == tensors(&said), "{what}");
            }
            (Err(silent), Err(said)) => {
                assert!(silent.contains(key) || said == silent, "{what}: {silent}");
                let lacks = format!(", which the file lacks and the class takes for {default} then,");
                let said = said
                    .replace("and 'head_dim' is 128", "and there is no 'head_dim', which is 128 by default");
                assert_eq!(silent.replace(&lacks, ""), said, "{what}");
            }
            (silent, said) => {
                let shown = |result: Result<Vec<u8>, String>| result.map(|bytes| bytes.len());
                panic!("{what}: {:?} without it, and {:?} with {default}", shown(silent), shown(said));
            }
        }
    }
}

/// Where the class's default is not what llama.cpp computes, or not known, the key must be there.
#[test]
fn what_is_not_said_is_refused_where_llama_cpp_computes_something_else() {
    let nothing_said = "and what the class takes then is not known";
    for (name, first, key, problem) in [
        (
            "qwen3moe",
            "{}",
            "norm_topk_prob",
            "which the file lacks and the class takes for false then, must be true",
        ),
        (
            "gemma2",
            "{}",
            "query_pre_attn_scalar",
            "the class takes for 256 then, must be 32, a head's length",
        ),
        ("gpt_oss", "{}", "rope_scaling", nothing_said),
        ("llama3-rope", r#"{"architectures": ["Ministral3ForCausalLM"]}"#, "rms_norm_eps", nothing_said),
        ("deepseek", V2, "num_experts_per_tok", "has no 'num_experts_per_tok'"),
        ("llama3-rope", "{}", "rope_scaling.factor", "'rope_scaling' has no 'factor'"),
        ("llama3-rope", "{}", "rope_scaling.low_freq_factor", "'rope_scaling' has no 'low_freq_factor'"),
        ("llama3-rope", "{}", "rope_scaling.high_freq_factor", "'rope_scaling' has no 'high_freq_factor'"),
        (
            "llama3-rope",
            "{}",
            "rope_scaling.original_max_position_embeddings",
            "'rope_scaling' has no 'original_max_position_embeddings'",
        ),
    ] {
        let (config, source) = family(name);
        let mut config = with(&config, first);
        let (object, last) = match key.split_once('.') {
            Some((object, last)) => (&mut config[object], last),
            None => (&mut config, key),
        };
        object.as_object_mut().unwrap().remove(last).unwrap();
        let error = converted(&config, &source).unwrap_err();
        assert!(error.contains("'config.json': ") && error.contains(problem), "{name} {key}: {error}");
    }
}

/// Version 5 of the library saves the number of Qwen3's experts under another name.
#[test]
fn experts_are_counted_by_either_name() {
    let (config, source) = family("qwen3moe");
    let wanted = converted(&config, &source).unwrap();
    let mut newer = config.clone();
    let count = newer.as_object_mut().unwrap().remove("num_experts").unwrap();
    newer["num_local_experts"] = count;
    assert!(converted(&newer, &source).unwrap() == wanted);
    newer["num_local_experts"] = 5.into();
    let error = converted(&newer, &source).unwrap_err();
    assert!(error.contains("'num_experts' is 5, and would have to be 4"), "{error}");
}

/// Both scales of YaRN are one in DeepSeek, and only one of them is another factor.
#[test]
fn scales_of_yarn_that_llama_cpp_takes_for_the_same_are_noted() {
    let (mut config, source) = deepseek::model();
    let files = files(&source);
    for (own, all, is_noted) in [
        (Some(1.0), Some(1.0), false),
        (Some(0.707), Some(0.707), false),
        (Some(1.0), Some(0.5), true),
        (None, Some(1.0), true),
    ] {
        (config["rope_scaling"]["mscale"], config["rope_scaling"]["mscale_all_dim"]) =
            (own.into(), all.into());
        let description = Description::from_config(&config.to_string()).unwrap();
        let plan = Import::new(&files, &description).plan().unwrap();
        assert_eq!(plan.notes().iter().any(|note| note.contains("'yarn'")), is_noted, "{own:?} {all:?}");
    }
}

/// llama.cpp chooses among groups of experts by the best two of each; the class of DeepSeek V2 has none, or goes by the best.
#[test]
fn groups_of_experts_that_llama_cpp_chooses_otherwise_are_told() {
    let (config, source) = deepseek::model();
    let files = files(&source);
    let plan = |keys: &str| {
        let description = Description::from_config(&with(&with(&config, V2), keys).to_string()).unwrap();
        let plan = Import::new(&files, &description).plan().map_err(|error| error.to_string())?;
        Ok::<_, String>(plan.notes().iter().any(|note| note.contains("'n_group' 3")))
    };
    assert_eq!(plan("{}"), Ok(false));
    assert_eq!(plan(r#"{"n_group": 3, "topk_method": "group_limited_greedy"}"#), Ok(true));
    for method in [json!("greedy"), Json::Null] {
        let error = plan(&json!({"n_group": 3, "topk_method": method}).to_string()).unwrap_err();
        assert!(error.contains("'config.json': 'n_group' is 3, and 'topk_method' is 'greedy'"), "{error}");
    }
}

/// What the class would have by default is said where the GGUF means something else.
#[test]
fn an_exported_configuration_says_what_llama_cpp_computes_without_a_key() {
    for (name, keys, key, wanted) in [
        // Without a factor it divides by the root of a head's length, 16.
        ("granite", json!({"attention_multiplier": 0}), "attention_multiplier", json!(0.25)),
        (
            "gpt_oss",
            json!({"rope_scaling": {"rope_type": "default"}}),
            "rope_scaling",
            json!({"rope_type": "default"}),
        ),
        ("qwen3moe", json!({}), "norm_topk_prob", json!(true)),
        ("gemma3", json!({}), "use_bidirectional_attention", json!(false)),
    ] {
        let (config, source) = family(name);
        let bytes = converted(&with(&config, &keys.to_string()), &source).unwrap();
        let model = Gguf::parse(&bytes).unwrap();
        let plan = Export::new(&model, &bytes).plan().unwrap();
        let exported: Json = serde_json::from_str(plan.config_json().unwrap()).unwrap();
        assert_eq!(exported[key], wanted, "{name}");
    }
}
