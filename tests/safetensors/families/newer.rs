//! The same models as version 5 of the transformers library saves them.

use gguf_codec::Gguf;
use serde_json::{Map, Value as Json, json};

use super::{Checkpoint, FAMILIES, gguf, source};

/// The configuration with the names and places that newer versions have.
fn newer(name: &str, config: &Json) -> Json {
    let mut config = config.as_object().unwrap().clone();
    let mut take = |key: &str| config.remove(key).filter(|value| !value.is_null());
    let dtype = take("torch_dtype");
    let (scaling, theta) = (take("rope_scaling"), take("rope_theta"));
    let of = |theta: Json| json!({"rope_type": "default", "rope_theta": theta});
    let mut rope = scaling.map_or_else(Map::new, |scaling| scaling.as_object().unwrap().clone());
    let kind = rope.get("rope_type").or(rope.get("type")).cloned().unwrap_or("default".into());
    rope.insert("rope_type".to_owned(), kind);
    rope.extend(theta.map(|theta| ("rope_theta".to_owned(), theta)));
    let layers = config["num_hidden_layers"].as_u64().unwrap();
    match name {
        "gemma3" => {
            let local = of(config.remove("rope_local_base_freq").unwrap());
            config.insert(
                "rope_parameters".into(),
                json!({"full_attention": rope, "sliding_attention": local}),
            );
            let pattern = config.remove("sliding_window_pattern").unwrap_or(6.into());
            config.insert("_sliding_window_pattern".into(), pattern);
        }
        "modernbert" => {
            let (global, local) = (config.remove("global_rope_theta"), config.remove("local_rope_theta"));
            let of_layers =
                json!({"full_attention": of(global.unwrap()), "sliding_attention": of(local.unwrap())});
            config.insert("rope_parameters".into(), of_layers);
            // What layers there are is said of each.
            let every = config.remove("global_attn_every_n_layers").unwrap().as_u64().unwrap();
            let kind =
                |layer: u64| if layer.is_multiple_of(every) { "full_attention" } else { "sliding_attention" };
            config.insert("layer_types".into(), (0..layers).map(kind).collect());
        }
        "bert" | "xlm-roberta" => {}
        _ => {
            config.insert("rope_parameters".into(), rope.into());
        }
    }
    config.extend(dtype.map(|dtype| ("dtype".to_owned(), dtype)));
    config.into()
}

#[test]
fn newer_configurations_make_the_same_model() {
    for (name, json) in FAMILIES {
        let mut family: Json = serde_json::from_str(json).unwrap();
        let source = source(&family);
        let before = gguf(&family, &source, None);
        family["config"] = newer(name, &family["config"]);
        assert!(gguf(&family, &source, None) == before, "{name}: {}", family["config"]);
    }
}

/// Of all of a model that sees, the outer part says whether its embedding is its head.
#[test]
fn the_outer_part_says_that_the_head_is_the_embedding() {
    let json: Json =
        serde_json::from_str(FAMILIES.iter().find(|(name, _)| *name == "llama3-rope").unwrap().1).unwrap();
    let mut text = newer("llama3-rope", &json["config"]);
    // As the library writes it for the part alone.
    text["tie_word_embeddings"] = false.into();
    let outer = json!({"config": {"architectures": ["Mistral3ForConditionalGeneration"], "tie_word_embeddings": true, "text_config": text}});
    let inside: Checkpoint = source(&json)
        .into_iter()
        .map(|(name, tensor)| (name.replacen("model.", "model.language_model.", 1), tensor))
        .collect();
    let model = Gguf::parse(gguf(&outer, &inside, None)).unwrap();
    assert!(model.tensor("output.weight").is_err());
    assert_eq!(model.metadata().require::<&str>("general.architecture").unwrap(), "mistral3");
}
