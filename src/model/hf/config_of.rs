//! What `config.json` of an exported model says that only some families have.

use serde_json::{Map, Value as Json, json};

use super::config::Parameters;
use super::families::Family;

/// More classes than any model tells apart.
const MAX_CLASSES: u64 = 1 << 16;

/// The names of the classes that a head of so many rows tells apart, or numbers.
pub(super) fn name_classes(config: &mut Json, rows: u64, parameters: &Parameters<'_>) {
    let named = parameters.strings("classifier.output_labels").filter(|names| names.len() as u64 == rows);
    let names: Vec<String> = match named {
        Some(names) => names.into_iter().map(str::to_owned).collect(),
        None => (0..rows.min(MAX_CLASSES)).map(|id| format!("LABEL_{id}")).collect(),
    };
    let by_id = names.iter().enumerate().map(|(id, name)| (id.to_string(), Json::from(name.as_str())));
    config["id2label"] = by_id.collect::<Map<_, _>>().into();
    let by_name = names.iter().enumerate().map(|(id, name)| (name.clone(), Json::from(id)));
    config["label2id"] = by_name.collect::<Map<_, _>>().into();
}

/// Says how queries grow after the first positions; the class of those whose queries do not is Llama's.
pub(super) fn growing_queries(config: &mut Json, parameters: &Parameters<'_>) {
    let scale = parameters.number("rope.scaling.yarn_log_multiplier");
    let Some(beta) = parameters.number("attention.temperature_scale") else {
        (config["architectures"], config["model_type"]) = (json!(["LlamaForCausalLM"]), "llama".into());
        put_scale(config, scale);
        return;
    };
    put_scale(config, scale);
    let Some(object) = config.as_object_mut() else { return };
    let mut rope = object.remove("rope_scaling").unwrap_or_else(|| json!({ "rope_type": "default" }));
    if let Some(theta) = object.remove("rope_theta") {
        rope["rope_theta"] = theta;
    }
    rope["llama_4_scaling_beta"] = beta.into();
    if rope.get("original_max_position_embeddings").is_none()
        && let Some(context) = object.get("max_position_embeddings")
    {
        rope["original_max_position_embeddings"] = context.clone();
    }
    object.insert("rope_parameters".to_owned(), rope);
}

/// What YaRN multiplies attention by. llama.cpp knows the one number, of which the library divides the other by it.
fn put_scale(config: &mut Json, scale: Option<f64>) {
    if let Some((scaling, scale)) = config.get_mut("rope_scaling").zip(scale) {
        (scaling["mscale"], scaling["mscale_all_dim"]) = (scale.into(), scale.into());
    }
}

/// DeepSeek's sizes of heads, and how its experts are chosen, whether or not by chances that are corrected: `None`, with a note, where
/// the file is of an older form.
pub(super) fn compressed_context(
    config: &mut Json,
    family: &Family,
    parameters: &Parameters<'_>,
    is_corrected: bool,
    notes: &mut Vec<String>,
) -> Option<()> {
    let plain = family.number_of("qk_nope_head_dim", |key| parameters.u32(key));
    let Some((plain, object)) = plain.zip(config.as_object_mut()) else {
        notes.push(
            "there is no config.json: the file is older than the keys of heads of a compressed context, such as \
             'deepseek2.attention.key_length_mla'"
                .to_owned(),
        );
        return None;
    };
    object.remove("head_dim");
    let mut set = |name: &str, value: Json| object.insert(name.to_owned(), value);
    set("qk_nope_head_dim", plain.into());
    set("num_key_value_heads", parameters.u32("attention.head_count")?.into());
    // Without these, the class has those of a larger model.
    set("q_lora_rank", parameters.u32("attention.q_lora_rank").into());
    set("norm_topk_prob", parameters.bool("expert_weights_norm").unwrap_or(false).into());
    set("routed_scaling_factor", parameters.number("expert_weights_scale").unwrap_or(1.0).into());
    let groups = parameters.u32("expert_group_count");
    let is_third = parameters.u32("expert_gating_func").map_or(is_corrected, |function| function == 2);
    let (class, model_type, scoring, method) = match (is_third, groups) {
        (true, _) => ("DeepseekV3ForCausalLM", "deepseek_v3", "sigmoid", "noaux_tc"),
        (false, Some(2..)) => ("DeepseekV2ForCausalLM", "deepseek_v2", "softmax", "group_limited_greedy"),
        (false, _) => ("DeepseekV2ForCausalLM", "deepseek_v2", "softmax", "greedy"),
    };
    for (name, value) in [("model_type", model_type), ("scoring_func", scoring), ("topk_method", method)] {
        set(name, value.into());
    }
    set("architectures", json!([class]));
    if is_third && groups.is_none() {
        set("n_group", 1.into());
        set("topk_group", 1.into());
    }
    // A tenth of what the library has.
    let scale = parameters.f32("rope.scaling.yarn_log_multiplier").map(|scale| format!("{:?}", scale * 10.0));
    put_scale(config, scale.and_then(|scale| scale.parse().ok()));
    Some(())
}
