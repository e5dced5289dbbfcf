//! Ministral: Llama whose queries grow behind the first positions.

use gguf_codec::model::hf::{Description, Export, Import};
use gguf_codec::{Gguf, Value, ValueRef};
use serde_json::json;

use super::super::imported;
use super::{family, files, source};

#[test]
fn growing_queries_are_a_key_and_come_back() {
    let mut family = family("llama3-rope");
    let config = &mut family["config"];
    config["architectures"][0] = "Ministral3ForCausalLM".into();
    config["model_type"] = "ministral3".into();
    for key in ["rope_scaling", "rope_theta"] {
        config.as_object_mut().unwrap().remove(key);
    }
    config["rope_parameters"] = json!({"rope_type": "yarn", "type": "yarn", "rope_theta": 1e6, "factor": 16.0, "beta_fast": 32.0,
        "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.1,
        "original_max_position_embeddings": 16384});
    let source = source(&family);
    let files = files(&source);
    let import = |config: &str| {
        let description = Description::from_config(config).unwrap();
        imported(Import::new(&files, &description)).unwrap()
    };
    let bytes = import(&family["config"].to_string());
    let model = Gguf::parse(&bytes).unwrap();
    for (key, wanted) in [
        ("attention.temperature_scale", Value::F32(0.1)),
        ("rope.scaling.yarn_log_multiplier", Value::F32(1.0)),
        ("rope.scaling.type", "yarn".into()),
        ("rope.scaling.factor", Value::F32(16.0)),
        ("rope.scaling.original_context_length", Value::U32(16384)),
        ("rope.scaling.yarn_beta_fast", Value::F32(32.0)),
        ("rope.freq_base", Value::F32(1e6)),
        ("rope.dimension_count", Value::U32(32)),
    ] {
        let found = model.metadata().require::<ValueRef>(&format!("mistral3.{key}")).unwrap();
        assert_eq!(Value::from(found), wanted, "{key}");
    }
    assert!(model.tensor("rope_freqs.weight").is_err());
    let plan = Export::new(&model, &bytes).plan().unwrap();
    let config: serde_json::Value = serde_json::from_str(plan.config_json().unwrap()).unwrap();
    assert_eq!(config["architectures"], json!(["Ministral3ForCausalLM"]));
    assert_eq!(config["rope_parameters"], family["config"]["rope_parameters"]);
    assert!(import(plan.config_json().unwrap()) == bytes);
}

/// One whose queries do not grow is a Llama to the transformers library.
#[test]
fn without_them_the_class_is_that_of_llama() {
    let mut family = family("llama3-rope");
    family["config"]["architectures"][0] = "Ministral3ForCausalLM".into();
    let files = files(&source(&family));
    let description = Description::from_config(&family["config"].to_string()).unwrap();
    let bytes = imported(Import::new(&files, &description)).unwrap();
    let model = Gguf::parse(&bytes).unwrap();
    let plan = Export::new(&model, &bytes).plan().unwrap();
    let config: serde_json::Value = serde_json::from_str(plan.config_json().unwrap()).unwrap();
    assert_eq!(
        (&config["architectures"], &config["model_type"]),
        (&json!(["LlamaForCausalLM"]), &json!("llama"))
    );
    assert_eq!(config["rope_scaling"]["rope_type"], "llama3");
}
