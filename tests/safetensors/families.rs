//! Compares each family with the output of llama.cpp's converter for a small model: names, types, shapes, values and keys.
//!
//! A file of `families/` contains a model's `config.json`, its tensors, and the converter's GGUF: each tensor, with the source of
//! its values and the steps applied to them, and each key except those of the tokenizer.

use std::collections::BTreeMap;

use gguf_codec::model::hf::{Description, Export, Import};
use gguf_codec::safetensors::Dtype;
use gguf_codec::{GgmlType, Gguf, Value, ValueRef};
use serde_json::Value as Json;

use super::{checkpoint, exported, imported, tensors};

const FAMILIES: &[(&str, &str)] = &[
    ("bert", include_str!("families/bert.json")),
    ("gemma2", include_str!("families/gemma2.json")),
    ("gemma3", include_str!("families/gemma3.json")),
    ("gpt_oss", include_str!("families/gpt_oss.json")),
    ("llama3-rope", include_str!("families/llama3-rope.json")),
    ("mixtral", include_str!("families/mixtral.json")),
    ("modernbert", include_str!("families/modernbert.json")),
    ("phi3", include_str!("families/phi3.json")),
    ("qwen3", include_str!("families/qwen3.json")),
    ("qwen3moe", include_str!("families/qwen3moe.json")),
    ("smollm3", include_str!("families/smollm3.json")),
    ("starcoder2", include_str!("families/starcoder2.json")),
    ("xlm-roberta", include_str!("families/xlm-roberta.json")),
];

/// Tensors of a checkpoint, by name, with values that identify rows and tensors.
type Checkpoint = BTreeMap<String, (Dtype, Vec<u64>, Vec<u8>)>;

fn extents(shape: &Json) -> Vec<u64> {
    shape.as_array().unwrap().iter().map(|extent| extent.as_u64().unwrap()).collect()
}

fn source(family: &Json) -> Checkpoint {
    let mut seed = 1u32;
    let mut next = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        seed >> 16
    };
    let mut tensor = |tensor: &Json| {
        let name = tensor[0].as_str().unwrap().to_owned();
        let dtype = match tensor[1].as_str().unwrap() {
            "BF16" => Dtype::BF16,
            "F32" => Dtype::F32,
            "I64" => Dtype::I64,
            _ => Dtype::U8,
        };
        let shape = extents(&tensor[2]);
        let count = shape.iter().product::<u64>() as usize;
        let bytes = match dtype {
            // Near 0: a scale, or a pair of codes.
            Dtype::U8 => (0..count)
                .map(|_| (next() % 256) as u8 % if name.ends_with("scales") { 128 } else { 255 })
                .collect(),
            Dtype::I64 => vec![0; 8 * count],
            dtype => {
                let values = (0..count).map(|_| (next() % 251) as f32 / 128.0 - 1.0);
                values
                    .flat_map(|value| match dtype {
                        Dtype::BF16 => value.to_le_bytes()[2..].to_vec(),
                        _ => value.to_le_bytes().to_vec(),
                    })
                    .collect()
            }
        };
        (name, (dtype, shape, bytes))
    };
    family["checkpoint"].as_array().unwrap().iter().map(&mut tensor).collect()
}

fn files(source: &Checkpoint) -> gguf_codec::safetensors::Checkpoint {
    let own: Vec<_> = source
        .iter()
        .map(|(name, (dtype, shape, bytes))| (name.as_str(), shape.as_slice(), *dtype, bytes.clone()))
        .collect();
    checkpoint([tensors(&own)]).unwrap()
}

fn gguf(family: &Json, source: &Checkpoint, ty: Option<GgmlType>) -> Vec<u8> {
    let files = files(source);
    let description = Description::from_config(&family["config"].to_string()).unwrap();
    let import = Import::new(&files, &description);
    imported(ty.into_iter().fold(import, Import::ggml_type)).unwrap()
}

/// The plain values of a tensor of the checkpoint.
fn values(source: &Checkpoint, name: &str) -> Vec<f32> {
    let (dtype, _, bytes) = &source[name];
    match dtype {
        Dtype::BF16 => bytes.chunks(2).map(|two| f32::from_le_bytes([0, 0, two[0], two[1]])).collect(),
        Dtype::F32 => bytes.as_chunks().0.iter().map(|four| f32::from_le_bytes(*four)).collect(),
        dtype => panic!("{name} is {dtype}"),
    }
}

/// The MXFP4 blocks of a tensor of gpt-oss: a scale, and 16 pairs of codes, which are neighbours there and halves here.
fn blocks(source: &Checkpoint, name: &str) -> Vec<u8> {
    let ((.., codes), (.., scales)) =
        (&source[&format!("{name}_blocks")], &source[&format!("{name}_scales")]);
    let block = |(codes, scale): (&[u8], &u8)| {
        let code = |at: usize| codes[at / 2] >> (4 * (at % 2)) & 15;
        std::iter::once(*scale)
            .chain((0..16).map(move |at| code(at) | code(at + 16) << 4))
            .collect::<Vec<_>>()
    };
    codes.chunks(16).zip(scales).flat_map(block).collect()
}

/// Every second row, each of a given number of elements, from `first` on.
fn every_second<T: Copy>(elements: &[T], len: usize, first: usize) -> Vec<T> {
    elements.chunks(len).skip(first).step_by(2).flatten().copied().collect()
}

/// The expected values of a tensor of the GGUF.
fn wanted(source: &Checkpoint, shape: &[u64], how: &str, from: &str) -> Vec<f32> {
    let len = *shape.last().unwrap() as usize;
    if let Some((before, after)) = from.split_once('*') {
        assert_eq!(how, "stacked");
        return (0..shape[0])
            .flat_map(|expert| values(source, &format!("{before}{expert}{after}")))
            .collect();
    }
    let values = values(source, from);
    if let Some(heads) = how.strip_prefix("heads ") {
        let heads: usize = heads.parse().unwrap();
        let half = values.len() / heads / 2;
        let turned = values.chunks(2 * half).flat_map(|head| {
            let (left, right) = head.split_at(half);
            let rows = left.chunks(len).zip(right.chunks(len));
            rows.flat_map(|(left, right)| [left, right].concat()).collect::<Vec<_>>()
        });
        return turned.collect();
    }
    if let Some(first) = how.strip_prefix("from ") {
        return values[first.parse::<usize>().unwrap() * len..].to_vec();
    }
    match how {
        "same" => values,
        "plus one" => values.iter().map(|value| value + 1.0).collect(),
        "even columns" => every_second(&values, 1, 0),
        "odd columns" => every_second(&values, 1, 1),
        how => panic!("{how}"),
    }
}

fn check(name: &str, family: &Json, source: &Checkpoint, model: &Gguf<Vec<u8>>) {
    let expected = family["gguf"].as_array().unwrap();
    assert_eq!(model.tensors().count(), expected.len(), "{name}");
    for expected in expected {
        let [gguf_name, ty, shape, how, from] = &expected.as_array().unwrap()[..] else {
            panic!("{expected}")
        };
        let (shape, how, from) = (extents(shape), how.as_str().unwrap(), from.as_str().unwrap());
        let tensor = model.tensor(gguf_name.as_str().unwrap()).unwrap();
        let found: Vec<u64> = tensor.shape().dims().iter().rev().copied().collect();
        assert_eq!(
            (tensor.ggml_type().name(), &found),
            (ty.as_str().unwrap(), &shape),
            "{name}: {gguf_name}"
        );
        if let Some(from) = from.strip_suffix(" (MXFP4)") {
            let blocks = blocks(source, from);
            let row = *shape.last().unwrap() as usize / 32 * 17;
            let wanted = match how {
                "same" => blocks,
                "even rows" => every_second(&blocks, row, 0),
                "odd rows" => every_second(&blocks, row, 1),
                how => panic!("{how}"),
            };
            assert!(tensor.bytes().unwrap() == wanted, "{name}: {gguf_name}");
        } else if how != "made" {
            let found: Vec<f32> = tensor.dequantize().unwrap();
            assert!(found == wanted(source, &shape, how, from), "{name}: {gguf_name}");
        }
    }
}

/// A key's value in the form of the files.
fn value(expected: &Json) -> Value {
    let value = &expected[1];
    match expected[0].as_str().unwrap() {
        "string" => value.as_str().unwrap().into(),
        "uint32" => Value::U32(value.as_u64().unwrap() as u32),
        "int32" => Value::I32(value.as_i64().unwrap() as i32),
        "float32" => Value::F32(value.as_f64().unwrap() as f32),
        "bool" => Value::Bool(value.as_bool().unwrap()),
        ty => panic!("{ty}"),
    }
}

#[test]
fn tensors_and_keys_are_those_of_the_converter() {
    for (name, json) in FAMILIES {
        let family: Json = serde_json::from_str(json).unwrap();
        let source = source(&family);
        let is_encoder = family["keys"].get("general.file_type").is_some_and(|ty| ty[1] == 0);
        let ty = if is_encoder { GgmlType::F32 } else { GgmlType::BF16 };
        let bytes = gguf(&family, &source, Some(ty));
        let model = Gguf::parse(bytes.clone()).unwrap();
        check(name, &family, &source, &model);
        // Keys from files other than config.json are tested elsewhere.
        let elsewhere = |key: &str| key.starts_with("general.sampling.") || key.ends_with(".pooling_type");
        let keys: BTreeMap<&str, Value> = family["keys"]
            .as_object()
            .unwrap()
            .iter()
            .filter(|(key, _)| !elsewhere(key))
            .map(|(key, expected)| (key.as_str(), value(expected)))
            .collect();
        let found: BTreeMap<&str, Value> =
            model.metadata().iter().map(|(key, value)| (key, Value::from(value))).collect();
        assert_eq!(found, keys, "{name}");
        // Exporting it to safetensors and importing that gives the same, except that blocks become floats.
        if *name != "gpt_oss" {
            let files = checkpoint(exported(&bytes, None).unwrap()).unwrap();
            let again = imported(Import::new(&files, &Description::default())).unwrap();
            assert!(again == bytes, "{name}");
        }
    }
}

/// The exported model has the checkpoint's tensors, wherever possible.
#[test]
fn exported_tensors_have_their_names_and_values_again() {
    for (name, json) in FAMILIES {
        let family: Json = serde_json::from_str(json).unwrap();
        // The experts of one are kept as GGUF has them, and the other is told from BERT by its tokenizer.
        if matches!(*name, "gpt_oss" | "xlm-roberta") {
            continue;
        }
        let source = source(&family);
        let bytes = gguf(&family, &source, None);
        let back = checkpoint(exported(&bytes, None).unwrap()).unwrap();
        let config = family["config"].to_string();
        let description = Description::from_config(&config).unwrap();
        let model = Gguf::parse(&bytes).unwrap();
        let plan = Export::new(&model, &bytes).plan().unwrap();
        for (tensor, (_, shape, _)) in &source {
            let left_out = tensor.contains("pooler") || tensor.contains("position_ids");
            match back.tensor(tensor) {
                Some(there) => assert_eq!(there.info().shape(), shape, "{name}: {tensor}"),
                None => assert!(left_out, "{name}: {tensor} is missing"),
            }
        }
        // Its own configuration makes the same model as the first one.
        let own = plan.config_json().unwrap_or_else(|| panic!("{name}: {:?}", plan.notes()));
        let files = files(&source);
        let own = Description::from_config(own).unwrap();
        let model_of =
            |description| Gguf::parse(imported(Import::new(&files, description)).unwrap()).unwrap();
        let (first, second) = (model_of(&description), model_of(&own));
        for (key, value) in first.metadata().iter() {
            assert_eq!(second.metadata().require::<ValueRef>(key).unwrap(), value, "{name}: {key}");
        }
    }
}

/// Positions of XLM-RoBERTa begin behind that of padding: rows that no text has are zeros, and go again.
#[test]
fn positions_that_were_cut_off_come_back() {
    let family = family("xlm-roberta");
    let source = source(&family);
    let files = files(&source);
    let unigram = r#"{"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAEC/w=="}, "model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0]]}}"#;
    let description =
        Description::from_config(&family["config"].to_string()).unwrap().with_tokenizer(unigram).unwrap();
    let bytes = imported(Import::new(&files, &description)).unwrap();
    let model = Gguf::parse(&bytes).unwrap();
    let back = checkpoint(exported(&bytes, None).unwrap()).unwrap();
    let name = "embeddings.position_embeddings.weight";
    let tensor = back.tensor(name).unwrap();
    let (_, shape, values) = &source[name];
    assert_eq!(tensor.info().shape(), shape);
    let mut found = vec![1; values.len()];
    tensor.read_at(&mut found, 0).unwrap();
    let cut = 2 * 4 * shape[1] as usize;
    assert!(found[..cut].iter().all(|&byte| byte == 0) && found[cut..] == values[cut..]);
    let plan = Export::new(&model, &bytes).plan().unwrap();
    let config: Json = serde_json::from_str(plan.config_json().unwrap()).unwrap();
    let said = ["architectures", "model_type", "max_position_embeddings", "type_vocab_size", "vocab_size"];
    let of = |config: &Json| said.map(|key| config[key].clone());
    assert_eq!(of(&config), of(&family["config"]));
    // Whether or not its configuration is there.
    for description in
        [Description::default(), Description::from_config(plan.config_json().unwrap()).unwrap()]
    {
        assert!(imported(Import::new(&back, &description)).unwrap() == bytes);
    }
}

fn family(name: &str) -> Json {
    let (_, json) = FAMILIES.iter().find(|(known, _)| *known == name).unwrap();
    serde_json::from_str(json).unwrap()
}

/// Experts in the form of newer versions of the transformers library, in one tensor.
#[test]
fn experts_may_be_one_tensor_already() {
    for (name, module, parts) in [
        ("qwen3moe", "mlp", ["gate_proj", "up_proj", "down_proj"]),
        ("mixtral", "block_sparse_moe", ["w1", "w3", "w2"]),
    ] {
        let family = family(name);
        let mut source = source(&family);
        let before = gguf(&family, &source, None);
        for layer in 0..2 {
            let at = |module: &str| format!("model.layers.{layer}.{module}");
            let mut take = |part: &str| -> Vec<(Vec<u64>, Vec<u8>)> {
                let name = |expert: u64| format!("{}.experts.{expert}.{part}.weight", at(module));
                (0..4)
                    .map(|expert| source.remove(&name(expert)).unwrap())
                    .map(|(_, shape, bytes)| (shape, bytes))
                    .collect()
            };
            let [gate, up, down] = parts.map(&mut take);
            let (rows, len) = (gate[0].0[0], gate[0].0[1]);
            let both = gate.into_iter().zip(up).flat_map(|(gate, up)| [gate.1, up.1].concat()).collect();
            source.insert(at("mlp.experts.gate_up_proj"), (Dtype::BF16, vec![4, 2 * rows, len], both));
            let down = down.into_iter().flat_map(|(_, bytes)| bytes).collect();
            source.insert(at("mlp.experts.down_proj"), (Dtype::BF16, vec![4, len, rows], down));
        }
        let (before, after) =
            (Gguf::parse(before).unwrap(), Gguf::parse(gguf(&family, &source, None)).unwrap());
        for tensor in before.tensors() {
            let other = after.tensor(tensor.name()).unwrap();
            assert_eq!(tensor.shape(), other.shape(), "{}", tensor.name());
            assert!(
                before.tensor(tensor.name()).unwrap().bytes().unwrap() == other.bytes().unwrap(),
                "{}",
                tensor.name()
            );
        }
    }
}

/// Experts of gpt-oss that are not quantized are stored transposed.
#[test]
fn plain_experts_of_gpt_oss_are_transposed() {
    let family = family("gpt_oss");
    let mut source = source(&family);
    let (experts, width, middle) = (4, 64, 96);
    let of = |part: &str| format!("model.layers.0.mlp.experts.{part}");
    for layer in 0..2 {
        for (part, shape) in
            [("gate_up_proj", [experts, width, 2 * middle]), ("down_proj", [experts, middle, width])]
        {
            let name = format!("model.layers.{layer}.mlp.experts.{part}");
            source.remove(&format!("{name}_blocks"));
            source.remove(&format!("{name}_scales"));
            let count = shape.iter().product::<u64>();
            let bytes = (0..count).flat_map(|at| (at as f32).to_le_bytes()).collect();
            source.insert(name, (Dtype::F32, shape.to_vec(), bytes));
        }
    }
    let mut config = family.clone();
    config["config"].as_object_mut().unwrap().remove("quantization_config");
    let model = Gguf::parse(gguf(&config, &source, None)).unwrap();
    // And back: each has its rows, or values, in turn again.
    let bytes = gguf(&config, &source, None);
    let plan = Export::new(&model, &bytes).plan().unwrap();
    assert!(plan.config_json().is_some() && plan.notes().is_empty(), "{:?}", plan.notes());
    let back = checkpoint(exported(&bytes, None).unwrap()).unwrap();
    for (name, (dtype, shape, values)) in &source {
        let tensor = back.tensor(name).unwrap();
        assert_eq!(tensor.info().shape(), shape, "{name}");
        if tensor.info().dtype() == *dtype {
            let mut found = vec![0; values.len()];
            tensor.read_at(&mut found, 0).unwrap();
            assert!(found == *values, "{name}");
        }
    }
    assert!(imported(Import::new(&back, &Description::default())).unwrap() == bytes);
    let (gate_up, down) = (values(&source, &of("gate_up_proj")), values(&source, &of("down_proj")));
    let of_gate_up =
        |expert, row, col, odd| gate_up[((expert * width + col) * 2 * middle + 2 * row + odd) as usize];
    for (name, rows, cols) in [("gate", middle, width), ("up", middle, width), ("down", width, middle)] {
        let at = |expert: u64, row: u64, col: u64| match name {
            "gate" => of_gate_up(expert, row, col, 0),
            "up" => of_gate_up(expert, row, col, 1),
            _ => down[((expert * middle + col) * width + row) as usize],
        };
        let tensor = model.tensor(&format!("blk.0.ffn_{name}_exps.weight")).unwrap();
        assert_eq!(tensor.shape().dims(), [cols, rows, experts]);
        let found: Vec<f32> = tensor.dequantize().unwrap();
        let wanted = (0..experts).flat_map(|expert| (0..rows).map(move |row| (expert, row)));
        let at = &at;
        let wanted: Vec<f32> =
            wanted.flat_map(|(expert, row)| (0..cols).map(move |col| at(expert, row, col))).collect();
        assert!(found == wanted, "{name}");
    }
}

/// A text model inside a vision model.
#[test]
fn text_models_are_found_inside_others() {
    for (name, class) in
        [("gemma3", "Gemma3ForConditionalGeneration"), ("llama3-rope", "Mistral3ForConditionalGeneration")]
    {
        let family = family(name);
        let own = source(&family);
        let alone = Gguf::parse(gguf(&family, &own, None)).unwrap();
        let mut text = family["config"].clone();
        text.as_object_mut().unwrap().remove("architectures");
        let config = serde_json::json!({"architectures": [class], "model_type": "outer", "text_config": text,
            "vision_config": {"hidden_size": 3}});
        for start in ["language_model.model.", "model.language_model."] {
            let renamed =
                own.iter().map(|(name, tensor)| (name.replacen("model.", start, 1), tensor.clone()));
            let mut inside: Checkpoint = renamed.collect();
            let seen = "vision_tower.vision_model.encoder.layers.0.self_attn.out_proj_of_many_heads.weight";
            inside.insert(seen.to_owned(), (Dtype::F32, vec![1], vec![0; 4]));
            let files = files(&inside);
            let description = Description::from_config(&config.to_string()).unwrap();
            let model = Gguf::parse(imported(Import::new(&files, &description)).unwrap()).unwrap();
            assert!(model.metadata().iter().eq(alone.metadata().iter()), "{class}");
            assert_eq!(model.tensors().count(), alone.tensors().count());
            for tensor in model.tensors() {
                let name = tensor.name();
                assert!(
                    model.tensor(name).unwrap().bytes().unwrap()
                        == alone.tensor(name).unwrap().bytes().unwrap(),
                    "{name}"
                );
            }
        }
    }
}

/// An error names a missing or extra tensor, together with the key that gives their number.
#[test]
fn experts_are_counted() {
    let family = family("qwen3moe");
    let whole = source(&family);
    let error = |source: &Checkpoint| {
        let files = files(source);
        let description = Description::from_config(&family["config"].to_string()).unwrap();
        imported(Import::new(&files, &description)).unwrap_err().to_string()
    };
    let expert = |number: u32| format!("model.layers.1.mlp.experts.{number}.up_proj.weight");
    let mut fewer = whole.clone();
    fewer.remove(&expert(2));
    assert!(
        error(&fewer).contains("'num_experts' is 4, and the tensor of number 2 beside"),
        "{}",
        error(&fewer)
    );
    let mut more = whole.clone();
    more.insert(expert(4), whole[&expert(3)].clone());
    assert!(error(&more).contains("'num_experts' is 4, and tensor"), "{}", error(&more));
    let mut other = whole.clone();
    other.get_mut(&expert(1)).unwrap().1 = vec![32, 128];
    assert!(error(&other).contains("has the shape [32, 128], and must have [64, 64]"), "{}", error(&other));
    let mut none = whole;
    none.retain(|name, _| !name.contains("layers.1.mlp.experts") || !name.contains("up_proj"));
    assert!(
        error(&none).contains("'model.layers.1.mlp.experts.{}.up_proj.weight' is missing"),
        "{}",
        error(&none)
    );
}

/// The tensor that makes keys and values from DeepSeek's compressed context is divided by heads, and the keys' part is transposed.
#[test]
fn the_compressed_context_of_deepseek_is_parted_by_heads() {
    let (heads, plain, turned, values, rank, width) = (2, 6, 2, 4, 5, 8);
    let config = serde_json::json!({"architectures": ["DeepseekV3ForCausalLM"], "hidden_size": width, "intermediate_size": 12,
        "num_hidden_layers": 2, "num_attention_heads": heads, "max_position_embeddings": 16, "vocab_size": 6,
        "q_lora_rank": 7, "kv_lora_rank": rank, "qk_nope_head_dim": plain, "qk_rope_head_dim": turned,
        "v_head_dim": values, "n_routed_experts": 3, "n_shared_experts": 2, "moe_intermediate_size": 4,
        "first_k_dense_replace": 1, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1,
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
    let family = serde_json::json!({ "config": config });
    let model = Gguf::parse(gguf(&family, &source, None)).unwrap();
    let both = self::values(&source, "model.layers.1.self_attn.kv_b_proj.weight");
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

/// Qwen2 with experts has a shared expert, whose gate is a row there and a vector here.
#[test]
fn the_gate_of_a_shared_expert_is_a_vector_and_a_row_again() {
    let width = 8;
    let config = serde_json::json!({"architectures": ["Qwen2MoeForCausalLM"], "hidden_size": width, "intermediate_size": 12,
        "moe_intermediate_size": 4, "shared_expert_intermediate_size": 6, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 16, "vocab_size": 6,
        "num_experts": 2, "num_experts_per_tok": 1, "tie_word_embeddings": true});
    let mut own: Vec<(String, Vec<u64>)> =
        vec![("model.embed_tokens.weight".into(), vec![6, width]), ("model.norm.weight".into(), vec![width])];
    let mut add = |name: &str, shape: &[u64]| own.push((format!("model.layers.0.{name}"), shape.to_vec()));
    add("input_layernorm.weight", &[width]);
    add("post_attention_layernorm.weight", &[width]);
    for (part, rows) in [("q", 8), ("k", 4), ("v", 4)] {
        add(&format!("self_attn.{part}_proj.weight"), &[rows, width]);
        add(&format!("self_attn.{part}_proj.bias"), &[rows]);
    }
    add("self_attn.o_proj.weight", &[width, 8]);
    add("mlp.gate.weight", &[2, width]);
    add("mlp.shared_expert_gate.weight", &[1, width]);
    for (of, middle) in [("experts.0", 4), ("experts.1", 4), ("shared_expert", 6)] {
        add(&format!("mlp.{of}.gate_proj.weight"), &[middle, width]);
        add(&format!("mlp.{of}.up_proj.weight"), &[middle, width]);
        add(&format!("mlp.{of}.down_proj.weight"), &[width, middle]);
    }
    let source: Checkpoint = own
        .into_iter()
        .map(|(name, shape)| {
            let zeros = vec![0; 4 * shape.iter().product::<u64>() as usize];
            (name, (Dtype::F32, shape, zeros))
        })
        .collect();
    let bytes = gguf(&serde_json::json!({ "config": config }), &source, None);
    let model = Gguf::parse(&bytes).unwrap();
    assert_eq!(model.tensor("blk.0.ffn_gate_inp_shexp.weight").unwrap().shape().dims(), [width]);
    assert_eq!(model.metadata().require::<u32>("qwen2moe.expert_shared_feed_forward_length").unwrap(), 6);
    let back = checkpoint(exported(&bytes, None).unwrap()).unwrap();
    for (name, (_, shape, _)) in &source {
        assert_eq!(
            back.tensor(name).map(|tensor| tensor.info().shape().to_vec()).as_ref(),
            Some(shape),
            "{name}"
        );
    }
    assert!(imported(Import::new(&back, &Description::default())).unwrap() == bytes);
}

/// Where one cannot be subtracted exactly, and where a stack is malformed, tensors keep their names, and are still restored.
#[test]
fn what_does_not_lead_back_keeps_its_name() {
    let mut writer = gguf_codec::Writer::new(Vec::new());
    writer.set_metadata("general.architecture", "gemma2").unwrap();
    for norm in ["output_norm.weight", "blk.0.attn_norm.weight"] {
        writer.declare_tensor(norm, &[2], GgmlType::F32).unwrap();
    }
    let mut data = writer.write_header().unwrap();
    for values in [[0.1f32, 1.0], [1.0625, 3.0]] {
        let bytes: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
        let name = if values[0] < 1.0 { "output_norm.weight" } else { "blk.0.attn_norm.weight" };
        data.write_tensor(name, &bytes).unwrap();
    }
    let bytes = data.finish().unwrap();
    let model = Gguf::parse(&bytes).unwrap();
    let plan = Export::new(&model, &bytes).plan().unwrap();
    assert!(plan.config_json().is_none());
    assert!(
        plan.notes().iter().any(|note| note.contains("1 tensor keeps its name in GGUF")),
        "{:?}",
        plan.notes()
    );
    let back = checkpoint(exported(&bytes, None).unwrap()).unwrap();
    assert!(back.tensor("output_norm.weight").is_some());
    assert!(back.tensor("model.layers.0.input_layernorm.weight").is_some());
    assert!(imported(Import::new(&back, &Description::default())).unwrap() == bytes);
}
