//! Compares each family with the output of llama.cpp's converter for a small model: names, types, shapes, values and keys.
//!
//! A file of `families/` contains a model's `config.json`, its tensors, and the converter's GGUF: each tensor, with the source of
//! its values and the steps applied to them, and each key except those of the tokenizer.

mod classifiers;
mod deepseek;
mod experts;
mod mistral3;
mod newer;
mod silent;

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
    ("granite", include_str!("families/granite.json")),
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

/// A tokenizer by which a model is told to be XLM-RoBERTa.
const UNIGRAM: &str = r#"{"normalizer": {"type": "Precompiled", "precompiled_charsmap": "BAAAAAAAAABBAA=="}, "model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0]]}}"#;

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
    let description =
        Description::from_config(&family["config"].to_string()).unwrap().with_tokenizer(UNIGRAM).unwrap();
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

/// A text model inside a vision model.
#[test]
fn text_models_are_found_inside_others() {
    for (name, class, own_class) in [
        ("gemma3", "Gemma3ForConditionalGeneration", "Gemma3ForCausalLM"),
        ("llama3-rope", "Mistral3ForConditionalGeneration", "Ministral3ForCausalLM"),
    ] {
        let mut family = family(name);
        family["config"]["architectures"][0] = own_class.into();
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

/// llama.cpp takes 10000 without a key, and its converter writes none.
#[test]
fn a_gemma_2_with_a_base_of_its_own_keeps_it() {
    let mut gemma = family("gemma2");
    let files = files(&source(&gemma));
    for (base, kept) in [(10_000, None), (20_000, Some(20_000.0))] {
        gemma["config"]["rope_theta"] = base.into();
        let description = Description::from_config(&gemma["config"].to_string()).unwrap();
        let model = Gguf::parse(imported(Import::new(&files, &description)).unwrap()).unwrap();
        assert_eq!(model.metadata().optional::<f32>("gemma2.rope.freq_base").unwrap(), kept);
    }
}

/// llama.cpp loads it beside the embedding, unlike that of a Gemma 2.
#[test]
fn a_gemma_3_keeps_a_head_of_its_own() {
    let mut gemma = family("gemma3");
    let mut source = source(&gemma);
    let (dtype, shape, embedding) = source["model.embed_tokens.weight"].clone();
    let head: Vec<u8> = embedding.iter().rev().copied().collect();
    source.insert("lm_head.weight".to_owned(), (dtype, shape, head.clone()));
    let whole = files(&source);
    for (tied, is_kept) in [(Json::Null, false), (true.into(), false), (false.into(), true)] {
        gemma["config"]["tie_word_embeddings"] = tied.clone();
        let description = Description::from_config(&gemma["config"].to_string()).unwrap();
        let plan = Import::new(&whole, &description).plan().unwrap();
        assert_eq!(plan.left_out().contains(&"lm_head.weight"), !is_kept, "{tied}");
        let bytes = imported(Import::new(&whole, &description)).unwrap();
        let model = Gguf::parse(&bytes).unwrap();
        let found = model.tensor("output.weight").ok().map(|tensor| tensor.bytes().unwrap().to_vec());
        assert_eq!(found, is_kept.then(|| head.clone()), "{tied}");
        let plan = Export::new(&model, &bytes).plan().unwrap();
        let config: Json = serde_json::from_str(plan.config_json().unwrap()).unwrap();
        assert_eq!(config["tie_word_embeddings"], !is_kept, "{tied}");
        let back = checkpoint(exported(&bytes, None).unwrap()).unwrap();
        assert_eq!(back.tensor("lm_head.weight").is_some(), is_kept, "{tied}");
    }
    source.remove("lm_head.weight");
    let without = files(&source);
    let description = Description::from_config(&gemma["config"].to_string()).unwrap();
    let error = Import::new(&without, &description).plan().unwrap_err().to_string();
    assert!(error.contains("'lm_head.weight' is missing, and 'tie_word_embeddings' is false"), "{error}");
}
