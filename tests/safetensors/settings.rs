//! Settings of `config.json` that llama.cpp computes otherwise, or not at all, are refused before anything is planned.

use gguf_codec::model::hf::{Description, Import};
use serde_json::{Value as Json, json};

use super::required::{CLASSES, config};
use super::{checkpoint, tensors};

/// The error of a configuration, or of the tensors that are missing beside it.
fn refused(config: &Json) -> String {
    let description = Description::from_config(&config.to_string()).unwrap();
    let files = checkpoint([tensors(&[])]).unwrap();
    Import::new(&files, &description).plan().unwrap_err().to_string()
}

/// llama.cpp computes one function in every model of a family, and no key tells it of another.
#[test]
fn another_activation_than_llama_cpp_computes_is_refused() {
    const SILU: &[&str] = &["silu", "swish"];
    const GELU: &[&str] = &["gelu", "gelu_pytorch_tanh", "gelu_new", "gelu_fast"];
    const BOTH: &[&str] = &["gelu", "gelu_pytorch_tanh", "gelu_new", "gelu_fast", "silu", "swish"];
    let classes = [
        ("LlamaForCausalLM", "hidden_act", SILU),
        ("MistralForCausalLM", "hidden_act", SILU),
        ("Qwen2ForCausalLM", "hidden_act", SILU),
        ("Qwen3ForCausalLM", "hidden_act", SILU),
        ("Qwen3ForSequenceClassification", "hidden_act", SILU),
        ("Qwen2MoeForCausalLM", "hidden_act", SILU),
        ("Qwen3MoeForCausalLM", "hidden_act", SILU),
        ("MixtralForCausalLM", "hidden_act", SILU),
        ("Phi3ForCausalLM", "hidden_act", SILU),
        ("GptOssForCausalLM", "hidden_act", SILU),
        ("SmolLM3ForCausalLM", "hidden_act", SILU),
        ("GraniteForCausalLM", "hidden_act", SILU),
        ("Mistral3ForConditionalGeneration", "hidden_act", SILU),
        ("DeepseekV2ForCausalLM", "hidden_act", SILU),
        ("DeepseekV3ForCausalLM", "hidden_act", SILU),
        ("Gemma2ForCausalLM", "hidden_activation", GELU),
        ("Gemma3ForCausalLM", "hidden_activation", GELU),
        ("Gemma3ForConditionalGeneration", "hidden_act", GELU),
        ("Starcoder2ForCausalLM", "hidden_act", GELU),
        ("BertModel", "hidden_act", GELU),
        ("XLMRobertaModel", "hidden_act", GELU),
        ("BertForSequenceClassification", "hidden_act", GELU),
        ("ModernBertModel", "hidden_activation", BOTH),
        ("ModernBertForSequenceClassification", "hidden_activation", BOTH),
        ("ModernBertForSequenceClassification", "classifier_activation", GELU),
    ];
    for (class, key, accepted) in classes {
        for inside in [false, class.ends_with("ConditionalGeneration")] {
            for activation in BOTH.iter().chain(&["relu", "relu2", "quick_gelu", "tanh", "x\u{1b}[31m"]) {
                let mut config = config(class);
                match inside {
                    true => {
                        config["text_config"] = config.clone();
                        config["text_config"][key] = (*activation).into();
                    }
                    false => config[key] = (*activation).into(),
                }
                let error = refused(&config);
                let path = if inside { format!("text_config.{key}") } else { key.to_owned() };
                match accepted.contains(activation) {
                    true => assert!(!error.contains(key), "{class} {activation}: {error}"),
                    false => {
                        let start = format!("'config.json': '{path}' is '");
                        assert!(error.contains(&start), "{class} {activation}: {error}");
                        assert!(
                            error.contains(&format!("they have {}", accepted[0])) || accepted == GELU,
                            "{error}"
                        );
                        assert!(!error.contains('\u{1b}'), "{error}");
                    }
                }
            }
        }
        let mut config = config(class);
        config[key] = 1.into();
        assert!(refused(&config).contains(&format!("'{key}' must be a string")), "{class}");
    }
}

/// What llama.cpp computes in every model of a family, no key tells it to compute otherwise.
#[test]
fn other_settings_than_llama_cpp_computes_are_refused() {
    const SLIDING: &str = "sliding_attention";
    const FULL: &str = "full_attention";
    let layers = |kinds: &[&str]| Json::from(kinds);
    let of_gemma3 =
        |count: usize| (1..=count).map(|n| if n % 6 == 0 { FULL } else { SLIDING }).collect::<Vec<_>>();
    /// What it must not be, with the part of the error that says what would be right.
    type Wrong<'a> = &'a [(Json, &'a str)];
    // Class, key, and what it may be.
    let cases: &[(&str, &str, &[Json], Wrong<'_>)] = &[
        ("GptOssForCausalLM", "swiglu_limit", &[json!(7.0), json!(7)], &[(json!(6.5), "must be 7 in")]),
        (
            "GptOssForCausalLM",
            "layer_types",
            &[layers(&[SLIDING, FULL, SLIDING])],
            &[
                (layers(&[FULL, SLIDING]), "'layer_types[0]' must be 'sliding_attention'"),
                (layers(&[SLIDING, SLIDING]), "'layer_types[1]' must be 'full_attention'"),
                (json!("all"), "'layer_types' must be an array"),
            ],
        ),
        (
            "Gemma2ForCausalLM",
            "layer_types",
            &[layers(&[SLIDING, FULL])],
            &[(layers(&[FULL, FULL]), "'layer_types[0]' must be 'sliding_attention'")],
        ),
        (
            "Gemma2ForCausalLM",
            "attn_logit_softcapping",
            &[json!(30.0)],
            &[(Json::Null, "must be a number in gemma2")],
        ),
        (
            "Gemma2ForCausalLM",
            "final_logit_softcapping",
            &[json!(20.0)],
            &[(Json::Null, "must be a number in gemma2")],
        ),
        (
            "Gemma2ForCausalLM",
            "query_pre_attn_scalar",
            &[json!(256)],
            &[(json!(224), "must be 256, a head's length")],
        ),
        ("Gemma3ForCausalLM", "attn_logit_softcapping", &[Json::Null], &[(json!(50.0), "must be null")]),
        ("Gemma3ForCausalLM", "sliding_window_pattern", &[json!(6)], &[(json!(2), "must be 6")]),
        ("Gemma3ForCausalLM", "_sliding_window_pattern", &[json!(6)], &[(json!(5), "must be 6")]),
        (
            "Gemma3ForCausalLM",
            "layer_types",
            &[layers(&of_gemma3(13)), layers(&[])],
            &[(layers(&[SLIDING, FULL]), "'layer_types[1]' must be 'sliding_attention'")],
        ),
        ("Qwen2MoeForCausalLM", "norm_topk_prob", &[json!(false)], &[(json!(true), "must be false")]),
        (
            "Qwen3MoeForCausalLM",
            "norm_topk_prob",
            &[json!(true)],
            &[
                (json!(false), "must be true"),
                (json!(1), "must be true or false"),
                (Json::Null, "must be true in qwen3moe"),
            ],
        ),
        (
            "Qwen3MoeForCausalLM",
            "mlp_only_layers",
            &[json!([]), Json::Null],
            &[(json!([1]), "must be an empty list in qwen3moe"), (json!(1), "must be an array")],
        ),
        ("Qwen2MoeForCausalLM", "mlp_only_layers", &[json!([])], &[(json!([0, 3]), "must be an empty list")]),
        ("Qwen3MoeForCausalLM", "decoder_sparse_step", &[json!(1)], &[(json!(2), "must be 1 in qwen3moe")]),
        ("Qwen2MoeForCausalLM", "decoder_sparse_step", &[json!(1)], &[(json!(0), "must be 1 in qwen2moe")]),
        (
            "Gemma3TextModel",
            "use_bidirectional_attention",
            &[json!(false), Json::Null],
            &[(json!(true), "must be false in gemma3")],
        ),
        (
            "Gemma2ForCausalLM",
            "use_bidirectional_attention",
            &[json!(false)],
            &[(json!(true), "must be false in gemma2")],
        ),
        (
            "Gemma2ForCausalLM",
            "tie_word_embeddings",
            &[json!(true)],
            &[(json!(false), "must be true in gemma2")],
        ),
        ("Gemma3ForCausalLM", "is_causal", &[json!(true)], &[(json!(false), "must be true in gemma3")]),
        ("GptOssForCausalLM", "is_causal", &[json!(true)], &[(json!(false), "must be true in gpt-oss")]),
        (
            "Phi3ForCausalLM",
            "use_bidirectional_attention",
            &[json!(false), Json::Null],
            &[(json!(true), "must be false in phi3")],
        ),
        (
            "DeepseekV3ForCausalLM",
            "is_causal",
            &[json!(true)],
            &[(json!(false), "must be true in deepseek2")],
        ),
        ("BertModel", "is_decoder", &[json!(false)], &[(json!(true), "must be false in bert")]),
        ("DeepseekV3ForCausalLM", "rope_interleave", &[json!(true)], &[(json!(false), "must be true")]),
        ("DeepseekV2ForCausalLM", "moe_layer_freq", &[json!(1)], &[(json!(2), "must be 1")]),
        (
            "SmolLM3ForCausalLM",
            "no_rope_layers",
            &[json!([1, 1, 1, 0, 1])],
            &[
                (json!([1, 1, 0, 1]), "'no_rope_layers[2]' must be 1"),
                (json!([1, 1, 1, 1]), "'no_rope_layers[3]' must be 0"),
            ],
        ),
        ("SmolLM3ForCausalLM", "no_rope_layer_interval", &[json!(4)], &[(json!(3), "must be 4")]),
    ];
    for &(class, key, right, wrong) in cases {
        for value in right {
            let mut config = config(class);
            // Which its class takes for false.
            config["norm_topk_prob"] = (class == "Qwen3MoeForCausalLM").into();
            config[key] = value.clone();
            let error = refused(&config);
            assert!(!error.contains(key), "{class} {value}: {error}");
        }
        for (value, problem) in wrong {
            let mut config = config(class);
            config["norm_topk_prob"] = (class == "Qwen3MoeForCausalLM").into();
            config[key] = value.clone();
            let error = refused(&config);
            assert!(error.contains("'config.json': ") && error.contains(key), "{class} {value}: {error}");
            assert!(error.contains(problem), "{class} {value}: {error}");
        }
    }
    // The largest models divide by the root of a head's share of the width.
    for (class, layers) in [("Gemma2ForCausalLM", 46), ("Gemma3ForCausalLM", 62)] {
        let mut config = config(class);
        config["num_hidden_layers"] = layers.into();
        config["head_dim"] = 128.into();
        let share = config["hidden_size"].as_u64().unwrap() / config["num_attention_heads"].as_u64().unwrap();
        config["query_pre_attn_scalar"] = share.into();
        assert!(!refused(&config).contains("query_pre_attn_scalar"), "{class}");
        config["query_pre_attn_scalar"] = 128.into();
        assert!(refused(&config).contains(&format!("must be {share}, a head's length")), "{class}");
    }
}

#[test]
fn rotary_embeddings_that_no_model_has_are_refused() {
    for class in CLASSES.into_iter().chain(["Gemma3ForCausalLM", "Phi3ForCausalLM", "ModernBertModel"]) {
        for key in ["rope_scaling", "rope_parameters"] {
            for wrong in [json!("yarn"), json!(4.0), json!([{"factor": 2.0}]), json!(true)] {
                let mut config = config(class);
                config[key] = wrong.clone();
                assert!(refused(&config).contains(&format!("'{key}' must be an object")), "{class} {wrong}");
                config[key] = json!({"full_attention": wrong});
                let error = refused(&config);
                assert!(error.contains(&format!("'{key}.full_attention' must be an object")), "{error}");
            }
            let mut config = config(class);
            config[key] = Json::Null;
            assert!(!refused(&config).contains(key), "{class}");
        }
        for wrong in ["-0.0", "0", "-10000.0", "1e-60", "NaN", "-Infinity", "\"10000\""] {
            for part in [
                "{\"rope_theta\": X}",
                "{\"rope_scaling\": {\"rope_theta\": X}}",
                "{\"rope_parameters\": {\"sliding_attention\": {\"rope_theta\": X}}}",
                "{\"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": X}}",
            ] {
                let config = config(class).to_string();
                // As Python writes it, which is no JSON.
                let config = format!("{},{}", &config[..config.len() - 1], &part.replace('X', wrong)[1..]);
                let description = Description::from_config(&config).unwrap();
                let files = checkpoint([tensors(&[])]).unwrap();
                let error = Import::new(&files, &description).plan().unwrap_err().to_string();
                assert!(
                    error.contains("'config.json': 'rope_") && error.contains("must be"),
                    "{class} {part} {wrong}: {error}"
                );
            }
        }
    }
}

/// llama.cpp ends where a token goes to no expert, or to more than there are, and where norms divide by 0.
#[test]
fn numbers_with_which_llama_cpp_ends_are_refused() {
    const USED: &str = "num_experts_per_tok";
    for (class, key) in [
        ("Qwen2MoeForCausalLM", "num_experts"),
        ("Qwen3MoeForCausalLM", "num_local_experts"),
        ("MixtralForCausalLM", "num_local_experts"),
        ("GptOssForCausalLM", "num_local_experts"),
        ("DeepseekV2ForCausalLM", "n_routed_experts"),
        ("DeepseekV3ForCausalLM", "n_routed_experts"),
    ] {
        let mut config = config(class);
        config["norm_topk_prob"] = (class == "Qwen3MoeForCausalLM").into();
        config["rope_parameters"] = json!({});
        config[key] = 3.into();
        config[USED] = 3.into();
        assert!(!refused(&config).contains(USED), "{class}");
        config[USED] = 4.into();
        let error = refused(&config);
        assert!(
            error.contains("'num_experts_per_tok' is 4, and must be at most the number of experts, 3"),
            "{class}: {error}"
        );
        config[USED] = 0.into();
        let error = refused(&config);
        assert!(error.contains("is 0, and must be from 1 to the number of experts, 3"), "{class}: {error}");
        // What the class has then, or none.
        config.as_object_mut().unwrap().remove(USED);
        config[key] = 1.into();
        let error = refused(&config);
        let wanted = match class {
            "DeepseekV2ForCausalLM" => "has no 'num_experts_per_tok', which says how many experts of 1",
            _ => "must be at most the number of experts, 1",
        };
        assert!(error.contains(USED) && error.contains(wanted), "{class}: {error}");
    }
    for (class, key) in [
        ("LlamaForCausalLM", "rms_norm_eps"),
        ("Gemma3ForCausalLM", "rms_norm_eps"),
        ("Starcoder2ForCausalLM", "norm_epsilon"),
        ("BertModel", "layer_norm_eps"),
        ("ModernBertModel", "norm_eps"),
    ] {
        let mut config = config(class);
        config[key] = json!(1e-30);
        assert!(!refused(&config).contains(key), "{class}");
        for (wrong, shown) in [(json!(0), "0.0"), (json!(-1e-5), "-1e-5"), (json!(1e-60), "1e-60")] {
            config[key] = wrong;
            let error = refused(&config);
            let wanted = format!("'{key}' is {shown}, and must be more than 0");
            assert!(error.contains(&wanted), "{class}: {error}");
        }
    }
}
