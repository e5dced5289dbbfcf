//! DeepSeek: a compressed context, and what becomes of it.

use gguf_codec::model::hf::{Description, Export, Import};
use gguf_codec::safetensors::Dtype;
use gguf_codec::{Gguf, Value, ValueRef};
use serde_json::Value as Json;

use super::super::{checkpoint, exported, imported};
use super::experts::fuse;
use super::{Checkpoint, files, gguf};

/// A model of two layers, of which the second has experts.
pub(super) fn model() -> (Json, Checkpoint) {
    let (heads, plain, turned, values, rank, width) = (2, 6, 2, 4, 5, 8);
    let config = serde_json::json!({"architectures": ["DeepseekV3ForCausalLM"], "hidden_size": width, "intermediate_size": 12,
        "num_hidden_layers": 2, "num_attention_heads": heads, "max_position_embeddings": 16, "vocab_size": 6,
        "q_lora_rank": 7, "kv_lora_rank": rank, "qk_nope_head_dim": plain, "qk_rope_head_dim": turned,
        "v_head_dim": values, "n_routed_experts": 3, "n_shared_experts": 2, "moe_intermediate_size": 4,
        "first_k_dense_replace": 1, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1, "rope_theta": 10000.0,
        "scoring_func": "sigmoid", "routed_scaling_factor": 2.5, "norm_topk_prob": true,
        "rope_scaling": {"type": "yarn", "factor": 40, "mscale_all_dim": 1.0, "original_max_position_embeddings": 8}});
    let mut own: Vec<(String, Vec<u64>)> = vec![
        ("model.embed_tokens.weight".into(), vec![6, width]),
        ("model.norm.weight".into(), vec![width]),
        ("lm_head.weight".into(), vec![6, width]),
        // A layer that predicts another token.
        ("model.layers.2.eh_proj.weight".into(), vec![width, 2 * width]),
    ];
    for layer in 0..2 {
        let mut add =
            |name: &str, shape: &[u64]| own.push((format!("model.layers.{layer}.{name}"), shape.to_vec()));
        add("input_layernorm.weight", &[width]);
        add("post_attention_layernorm.weight", &[width]);
        add("self_attn.q_a_proj.weight", &[7, width]);
        add("self_attn.q_a_layernorm.weight", &[7]);
        add("self_attn.q_b_proj.weight", &[heads * (plain + turned), 7]);
        add("self_attn.kv_a_proj_with_mqa.weight", &[rank + turned, width]);
        add("self_attn.kv_a_layernorm.weight", &[rank]);
        add("self_attn.kv_b_proj.weight", &[heads * (plain + values), rank]);
        add("self_attn.o_proj.weight", &[width, heads * values]);
        let mut network = |of: &str, middle: u64| {
            add(&format!("mlp.{of}gate_proj.weight"), &[middle, width]);
            add(&format!("mlp.{of}up_proj.weight"), &[middle, width]);
            add(&format!("mlp.{of}down_proj.weight"), &[width, middle]);
        };
        if layer == 0 {
            network("", 12);
        } else {
            (0..3).for_each(|expert| network(&format!("experts.{expert}."), 4));
            network("shared_experts.", 8);
            add("mlp.gate.weight", &[3, width]);
            add("mlp.gate.e_score_correction_bias", &[3]);
        }
    }
    let source: Checkpoint = own
        .into_iter()
        .map(|(name, shape)| {
            let bytes = (0..shape.iter().product::<u64>()).flat_map(|at| (at as f32).to_le_bytes()).collect();
            (name, (Dtype::F32, shape, bytes))
        })
        .collect();
    (config, source)
}

/// The tensor that makes keys and values from DeepSeek's compressed context is divided by heads, and the keys' part is transposed.
#[test]
fn the_compressed_context_of_deepseek_is_parted_by_heads() {
    let (heads, plain, values, rank, width) = (2, 6, 4, 5, 8);
    let (config, source) = model();
    let family = serde_json::json!({ "config": config });
    let model = Gguf::parse(gguf(&family, &source, None)).unwrap();
    let both = super::values(&source, "model.layers.1.self_attn.kv_b_proj.weight");
    let at = |head: u64, row: u64, col: u64| both[((head * (plain + values) + row) * rank + col) as usize];
    let keys = model.tensor("blk.1.attn_k_b.weight").unwrap();
    assert_eq!(keys.shape().dims(), [plain, rank, heads]);
    let mut wanted = Vec::new();
    for head in 0..heads {
        (0..rank).for_each(|col| wanted.extend((0..plain).map(|row| at(head, row, col))));
    }
    assert_eq!(keys.dequantize::<f32>().unwrap(), wanted);
    let of_values = model.tensor("blk.1.attn_v_b.weight").unwrap();
    assert_eq!(of_values.shape().dims(), [rank, values, heads]);
    let mut wanted = Vec::new();
    for head in 0..heads {
        (plain..plain + values).for_each(|row| wanted.extend((0..rank).map(|col| at(head, row, col))));
    }
    assert_eq!(of_values.dequantize::<f32>().unwrap(), wanted);
    assert_eq!(model.tensor("blk.1.ffn_up_exps.weight").unwrap().shape().dims(), [width, 4, 3]);
    assert!(model.tensors().all(|tensor| !tensor.name().starts_with("blk.2.")));
    for (key, wanted) in [
        ("block_count", Value::U32(2)),
        ("attention.head_count_kv", Value::U32(1)),
        ("attention.key_length", Value::U32(7)),
        ("attention.value_length", Value::U32(5)),
        ("attention.key_length_mla", Value::U32(8)),
        ("attention.value_length_mla", Value::U32(4)),
        ("expert_gating_func", Value::U32(2)),
        ("expert_weights_norm", Value::Bool(true)),
        ("leading_dense_block_count", Value::U32(1)),
        ("rope.dimension_count", Value::U32(2)),
        ("rope.scaling.yarn_log_multiplier", Value::F32(0.1)),
    ] {
        let found = model.metadata().require::<ValueRef>(&format!("deepseek2.{key}")).unwrap();
        assert_eq!(Value::from(found), wanted, "{key}");
    }
}

/// The two parts are one tensor again, and config.json says what the class needs.
#[test]
fn the_compressed_context_becomes_one_tensor_again() {
    let (config, source) = model();
    let bytes = gguf(&serde_json::json!({ "config": config }), &source, None);
    let model = Gguf::parse(&bytes).unwrap();
    let plan = Export::new(&model, &bytes).plan().unwrap();
    assert!(plan.notes().is_empty(), "{:?}", plan.notes());
    let back = checkpoint(exported(&bytes, None).unwrap()).unwrap();
    for (name, (_, shape, values)) in source.iter().filter(|(name, _)| !name.contains("layers.2.")) {
        let tensor = back.tensor(name).unwrap();
        assert_eq!(tensor.info().shape(), shape, "{name}");
        let mut found = vec![0; values.len()];
        tensor.read_at(&mut found, 0).unwrap();
        assert!(found == *values, "{name}");
    }
    // The library leaves out the function that its class knows.
    let mut silent = config.clone();
    silent.as_object_mut().unwrap().remove("scoring_func");
    assert!(gguf(&serde_json::json!({ "config": silent }), &source, None) == bytes);
    let own: Json = serde_json::from_str(plan.config_json().unwrap()).unwrap();
    for (key, value) in config.as_object().unwrap().iter().filter(|(key, _)| *key != "rope_scaling") {
        assert_eq!(&own[key], value, "{key}");
    }
    let said = ["factor", "mscale_all_dim", "mscale", "original_max_position_embeddings"];
    assert_eq!(
        said.map(|key| own["rope_scaling"][key].as_f64()),
        [Some(40.0), Some(1.0), Some(1.0), Some(8.0)]
    );
    assert_eq!((&own["topk_method"], &own["head_dim"]), (&"noaux_tc".into(), &Json::Null));
    // With its own configuration, the one that it carries, or both.
    let own = Description::from_config(plan.config_json().unwrap()).unwrap();
    assert!(imported(Import::new(&files(&source), &own)).unwrap() == bytes);
    for description in [Description::default(), own] {
        assert!(imported(Import::new(&back, &description)).unwrap() == bytes);
    }
}

/// Where keys and tensors disagree, both parts keep their names, and there is no config.json.
#[test]
fn parts_that_do_not_fit_keep_their_names() {
    let (config, source) = model();
    let bytes = gguf(&serde_json::json!({ "config": config }), &source, None);
    let model = Gguf::parse(&bytes).unwrap();
    let mut writer = gguf_codec::Writer::new(Vec::new());
    for (key, value) in model.metadata().iter() {
        let value = if key == "deepseek2.attention.value_length_mla" { Value::U32(3) } else { value.into() };
        writer.set_metadata(key, value).unwrap();
    }
    for tensor in model.tensors() {
        writer.declare_tensor(tensor.name(), tensor.shape().dims(), tensor.ggml_type()).unwrap();
    }
    let mut data = writer.write_header().unwrap();
    for tensor in model.tensors() {
        data.write_tensor(tensor.name(), model.tensor(tensor.name()).unwrap().bytes().unwrap()).unwrap();
    }
    let bytes = data.finish().unwrap();
    let model = Gguf::parse(&bytes).unwrap();
    assert!(Export::new(&model, &bytes).plan().unwrap().config_json().is_none());
    let back = checkpoint(exported(&bytes, None).unwrap()).unwrap();
    assert!(back.tensor("blk.1.attn_k_b.weight").is_some() && back.tensor("blk.0.attn_v_b.weight").is_some());
    assert!(imported(Import::new(&back, &Description::default())).unwrap() == bytes);
}

/// Experts in the form of newer versions of the transformers library.
#[test]
fn experts_of_deepseek_may_be_one_tensor_already() {
    let (config, mut source) = model();
    let family = serde_json::json!({ "config": config });
    let before = Gguf::parse(gguf(&family, &source, None)).unwrap();
    fuse(&mut source, 1, 3, "mlp", ["gate_proj", "up_proj", "down_proj"]);
    let after = Gguf::parse(gguf(&family, &source, None)).unwrap();
    for tensor in before.tensors() {
        let [one, other] = [&before, &after].map(|model| model.tensor(tensor.name()).unwrap());
        assert_eq!(one.shape(), other.shape(), "{}", tensor.name());
        assert!(one.bytes().unwrap() == other.bytes().unwrap(), "{}", tensor.name());
    }
}
