//! The GGUF converted from a model of Hugging Face: names, order of rows, types, parameters.

use gguf_codec::model::hf::{Description, Import, NameMap, Renamed};
use gguf_codec::safetensors::Dtype;
use gguf_codec::{Error, GgmlType, Gguf, Metadata, Value};

use super::{checkpoint, completed, floats, imported, tensors};

const LLAMA: &str = r#"{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "_name_or_path": "org/tiny-llama-v1",
    "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
    "max_position_embeddings": 64, "rms_norm_eps": 1e-05, "rope_theta": 500000.0, "vocab_size": 3}"#;

/// Each row consists of one number, which identifies its original position.
fn rows(rows: usize, len: usize) -> Vec<u8> {
    floats((0..rows).flat_map(|row| std::iter::repeat_n(row as f32, len)))
}

fn llama() -> Vec<u8> {
    let layer = "model.layers.0";
    completed(
        LLAMA,
        &[
            ("model.embed_tokens.weight", &[3, 8], Dtype::F32, rows(3, 8)),
            (&format!("{layer}.self_attn.q_proj.weight"), &[8, 8], Dtype::F32, rows(8, 8)),
            (&format!("{layer}.self_attn.q_proj.bias"), &[8], Dtype::F32, rows(8, 1)),
            (&format!("{layer}.self_attn.k_proj.weight"), &[4, 8], Dtype::F32, rows(4, 8)),
            (&format!("{layer}.self_attn.v_proj.weight"), &[4, 8], Dtype::F32, rows(4, 8)),
            (&format!("{layer}.self_attn.rotary_emb.inv_freq"), &[2], Dtype::F32, rows(2, 1)),
            (&format!("{layer}.input_layernorm.weight"), &[8], Dtype::F16, vec![0; 16]),
            (&format!("{layer}.mlp.up_proj.weight"), &[12, 8], Dtype::BF16, vec![0; 192]),
            (&format!("{layer}.self_attn.k_proj.bias"), &[4], Dtype::F32, rows(4, 1)),
            (&format!("{layer}.self_attn.v_proj.bias"), &[4], Dtype::F32, rows(4, 1)),
        ],
    )
}

fn first_of_rows(model: &Gguf<Vec<u8>>, name: &str) -> Vec<f32> {
    let tensor = model.tensor(name).unwrap();
    let mut values = vec![0.0; tensor.row_len() * tensor.row_count()];
    tensor.dequantize_into(&mut values).unwrap();
    let step = if tensor.shape().dims().len() == 1 { 1 } else { tensor.row_len() };
    values.into_iter().step_by(step).collect()
}

fn string<'a>(metadata: Metadata<'a>, key: &str) -> &'a str {
    metadata.require(key).unwrap()
}

#[test]
fn llama_gets_llama_cpps_names_rows_and_parameters() {
    let (files, description) = (checkpoint([llama()]).unwrap(), Description::from_config(LLAMA).unwrap());
    let plan = Import::new(&files, &description).plan().unwrap();
    assert_eq!(plan.left_out(), ["model.layers.0.self_attn.rotary_emb.inv_freq"]);
    assert!(plan.notes().iter().any(|note| note.contains("no tokenizer.json")), "{plan:?}");
    let model = Gguf::parse(imported(Import::new(&files, &description)).unwrap()).unwrap();
    let found: Vec<_> = model.tensors().take(7).map(|tensor| (tensor.name(), tensor.ggml_type())).collect();
    use GgmlType::{BF16, F32};
    let wanted = [
        ("token_embd.weight", F32),
        ("blk.0.attn_q.weight", F32),
        ("blk.0.attn_q.bias", F32),
        ("blk.0.attn_k.weight", F32),
        ("blk.0.attn_v.weight", F32),
        ("blk.0.attn_norm.weight", F32),
        ("blk.0.ffn_up.weight", BF16),
    ];
    assert_eq!(found, wanted);
    assert_eq!(model.tensor("blk.0.ffn_up.weight").unwrap().shape().dims(), [8, 12]);
    // Two heads of four rows: halves become neighbours.
    let turned = [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0];
    assert_eq!(first_of_rows(&model, "blk.0.attn_q.weight"), turned);
    assert_eq!(first_of_rows(&model, "blk.0.attn_q.bias"), turned);
    assert_eq!(first_of_rows(&model, "blk.0.attn_k.weight"), turned[..4]);
    assert_eq!(first_of_rows(&model, "blk.0.attn_v.weight"), [0.0, 1.0, 2.0, 3.0]);

    let metadata = model.metadata();
    assert_eq!(string(metadata, "general.architecture"), "llama");
    assert_eq!(string(metadata, "general.name"), "Tiny Llama v1");
    let number = |key: &str| metadata.require::<u32>(key).unwrap();
    for (key, value) in [
        ("block_count", 1),
        ("context_length", 64),
        ("embedding_length", 8),
        ("feed_forward_length", 12),
        ("attention.head_count", 2),
        ("attention.head_count_kv", 1),
        ("attention.key_length", 4),
        ("rope.dimension_count", 4),
        ("vocab_size", 3),
    ] {
        assert_eq!(number(&format!("llama.{key}")), value, "{key}");
    }
    assert_eq!(metadata.require::<f32>("llama.rope.freq_base").unwrap(), 500_000.0);
    assert_eq!(metadata.require::<f32>("llama.attention.layer_norm_rms_epsilon").unwrap(), 1e-5);
}

#[test]
fn the_type_asked_for_is_that_of_matrices_whose_rows_fit() {
    let config = LLAMA.replace(r#""hidden_size": 8"#, r#""hidden_size": 64"#);
    let wide = completed(
        &config,
        &[
            ("model.layers.0.mlp.up_proj.weight", &[12, 64], Dtype::F32, rows(12, 64)),
            ("model.layers.0.mlp.down_proj.weight", &[64, 12], Dtype::F32, rows(64, 12)),
            ("model.norm.weight", &[64], Dtype::BF16, vec![0; 128]),
        ],
    );
    let (files, description) = (checkpoint([wide]).unwrap(), Description::from_config(&config).unwrap());
    let import = Import::new(&files, &description).ggml_type(GgmlType::Q8_0);
    let model = Gguf::parse(imported(import).unwrap()).unwrap();
    let types: Vec<_> = model.tensors().take(3).map(|tensor| tensor.ggml_type()).collect();
    assert_eq!(types, [GgmlType::Q8_0, GgmlType::F16, GgmlType::F32]);
    assert_eq!(model.metadata().require::<u32>("general.file_type").unwrap(), 7);
}

#[test]
fn matrices_that_cannot_have_the_type_are_noted_and_counted() {
    let description = Description::default();
    let file = |down: u64| {
        tensors(&[
            ("model.layers.0.mlp.up_proj.weight", &[2, 64], Dtype::F32, rows(2, 64)),
            ("model.layers.0.mlp.down_proj.weight", &[down, 8], Dtype::F32, rows(down as usize, 8)),
            ("model.layers.0.mlp.gate_proj.weight", &[2, 8], Dtype::F32, rows(2, 8)),
            ("model.norm.weight", &[8], Dtype::BF16, vec![0; 16]),
        ])
    };
    // 136 bytes of Q8_0, against 64 or 512 plus 32 bytes of F16.
    for (down, file_type) in [(4, 7), (32, 1)] {
        let files = checkpoint([file(down)]).unwrap();
        {
            let name = "model.layers.0.mlp.down_proj.weight";
            let plan = Import::new(&files, &description).ggml_type(GgmlType::Q8_0).plan().unwrap();
            let note = format!(
                "2 tensors are F16 instead of Q8_0, since rows are not whole blocks of 32 values: the first is '{name}'"
            );
            assert!(plan.notes().contains(&note), "{:?}", plan.notes());
            let found = plan.metadata().iter().find(|(key, _)| key == "general.file_type");
            assert_eq!(found.map(|(_, value)| value), Some(&Value::U32(file_type)));
        }
        let plan = Import::new(&files, &description).ggml_type(GgmlType::F16).plan().unwrap();
        assert!(!plan.notes().iter().any(|note| note.contains("instead of")), "{:?}", plan.notes());
    }
}

#[test]
fn a_layer_without_tensors_is_missed() {
    let files = checkpoint([llama()]).unwrap();
    for count in ["2", "4294967295"] {
        let config = LLAMA.replace(r#""num_hidden_layers": 1"#, &format!(r#""num_hidden_layers": {count}"#));
        let description = Description::from_config(&config).unwrap();
        let error = Import::new(&files, &description).plan().unwrap_err().to_string();
        let wanted = format!("'config.json': 'num_hidden_layers' is {count}, and layer 1 has no tensors");
        assert_eq!(error, wanted);
    }
    // Tensors that the user drops are not reported as missing.
    let description = Description::from_config(LLAMA).unwrap();
    let import = Import::new(&files, &description)
        .names(|name| name.starts_with("model.layers.0.").then_some(Renamed::LeftOut));
    assert_eq!(import.plan().unwrap().left_out().len(), 13);
}

#[test]
fn rope_scaling_that_llama_cpp_has_not_is_noted() {
    let files = checkpoint([llama()]).unwrap();
    let notes = |class: &str, scaling: &str| {
        let config = LLAMA.replace("LlamaForCausalLM", class);
        let config = config.replace(r#""vocab_size": 3"#, &format!(r#""rope_scaling": {scaling}"#));
        let description = Description::from_config(&config).unwrap();
        let plan = Import::new(&files, &description).plan().unwrap();
        let has_scaling = plan.metadata().iter().any(|(key, _)| key.contains("rope.scaling"));
        let notes = plan.notes().iter().filter(|note| note.contains("rope scaling"));
        (has_scaling, notes.cloned().collect::<Vec<_>>())
    };
    for (class, scaling, part) in [
        (
            "LlamaForCausalLM",
            r#"{"type": "dynamic", "factor": 2.0}"#,
            "'dynamic' of config.json is left out: ",
        ),
        (
            "Qwen2ForCausalLM",
            r#"{"rope_type": "longrope", "factor": 2.0}"#,
            "'longrope' of config.json is left out: ",
        ),
        ("LlamaForCausalLM", r#"{"type": "su"}"#, "'su' of config.json is left out: "),
        (
            "Qwen2ForCausalLM",
            r#"{"rope_type": "llama3", "factor": 8.0}"#,
            "'llama3' of config.json is left out: ",
        ),
        ("LlamaForCausalLM", r#"{"type": "linear"}"#, "'linear' of config.json is left out: it needs"),
        ("LlamaForCausalLM", r#"{"factor": 2.0}"#, "without a type of config.json is left out: it needs"),
    ] {
        let (has_scaling, notes) = notes(class, scaling);
        assert!(!has_scaling && notes.len() == 1 && notes[0].contains(part), "{scaling}: {notes:?}");
    }
    for (scaling, wanted) in [
        (r#"{"type": "linear", "factor": 2.0}"#, true),
        (r#"{"rope_type": "yarn", "factor": 2.0}"#, true),
        (
            r#"{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8}"#,
            false,
        ),
        (r#"{"rope_type": "default"}"#, false),
        ("null", false),
    ] {
        assert_eq!(notes("LlamaForCausalLM", scaling), (wanted, vec![]), "{scaling}");
    }
}

/// Of YaRN llama.cpp reads the factor; what else it reads depends on the family.
#[test]
fn numbers_of_yarn_that_llama_cpp_does_not_read_are_noted() {
    let files = checkpoint([llama()]).unwrap();
    let notes = |class: &str, more: &str| {
        let scaling =
            format!(r#""rope_scaling": {{"rope_type": "yarn", "factor": 4.0{more}}}, "rms_norm_eps": 1e-5"#);
        let config = LLAMA.replace("LlamaForCausalLM", class).replace(r#""vocab_size": 3"#, &scaling);
        let description = Description::from_config(&config).unwrap();
        let plan = Import::new(&files, &description).plan().unwrap();
        plan.notes().iter().filter(|note| note.contains("'yarn'")).cloned().collect::<Vec<_>>()
    };
    const QUARTER: &str = r#", "mscale": 0.25, "mscale_all_dim": 0.25"#;
    for (class, more, wanted) in [
        ("LlamaForCausalLM", "", None),
        ("LlamaForCausalLM", r#", "beta_fast": 32.0, "beta_slow": 1, "attention_factor": 1.1386294"#, None),
        ("LlamaForCausalLM", r#", "beta_fast": 16.0"#, Some("'beta_fast' 16, and llama.cpp takes 32")),
        ("LlamaForCausalLM", r#", "beta_slow": 2"#, Some("'beta_slow' 2, and llama.cpp takes 1")),
        ("LlamaForCausalLM", r#", "attention_factor": 1"#, Some("by 1.0000 ('attention_factor'")),
        ("LlamaForCausalLM", QUARTER, Some("and llama.cpp by 1.1386")),
        ("Ministral3ForCausalLM", r#", "beta_fast": 16.0"#, None),
        ("Ministral3ForCausalLM", r#", "mscale": 1.0, "mscale_all_dim": 1.0"#, None),
        (
            "Ministral3ForCausalLM",
            QUARTER,
            Some("by 1.0000 ('attention_factor', 'mscale', 'mscale_all_dim'), and llama.cpp by 1.1005"),
        ),
    ] {
        let notes = notes(class, more);
        assert_eq!(notes.len(), usize::from(wanted.is_some()), "{class} {more}: {notes:?}");
        assert!(wanted.is_none_or(|wanted| notes[0].contains(wanted)), "{class} {more}: {notes:?}");
    }
}

#[test]
fn llama_3_1_gets_its_factors() {
    let config = LLAMA.replace(
        r#""vocab_size": 3"#,
        r#""head_dim": 8, "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192}"#,
    );
    let config = config.replace(r#""num_hidden_layers": 1"#, r#""num_hidden_layers": 0"#);
    let files =
        checkpoint([completed(&config.replace(r#""head_dim""#, r#""vocab_size": 3, "head_dim""#), &[])])
            .unwrap();
    let description = Description::from_config(&config).unwrap();
    let model = Gguf::parse(imported(Import::new(&files, &description)).unwrap()).unwrap();
    let factors = first_of_rows(&model, "rope_freqs.weight");
    // Wavelengths of 6, 167 and 4443, within and between the bounds of 2048 and 8192, and of 118,127, above them.
    assert_eq!((factors[0], factors[1], factors[3]), (1.0, 1.0, 8.0));
    let smooth = (8192.0 / 4442.882 - 1.0) / 3.0;
    assert!((factors[2] - 1.0 / ((1.0 - smooth) / 8.0 + smooth)).abs() < 1e-4, "{factors:?}");
    assert_eq!(model.tensors().next().unwrap().name(), "rope_freqs.weight");
}

#[test]
fn bert_gets_its_names_whatever_it_is_a_part_of() {
    let config = r#"{"architectures": ["BertForMaskedLM"], "hidden_size": 4, "vocab_size": 3, "type_vocab_size": 2, "intermediate_size": 8, "num_hidden_layers": 1,
        "num_attention_heads": 2, "max_position_embeddings": 2, "layer_norm_eps": 1e-12}"#;
    let file = completed(
        config,
        &[
            ("bert.embeddings.LayerNorm.gamma", &[4], Dtype::F32, rows(4, 1)),
            ("bert.embeddings.LayerNorm.beta", &[4], Dtype::F32, rows(4, 1)),
            ("bert.embeddings.position_embeddings.weight", &[2, 4], Dtype::F16, vec![0; 16]),
            ("bert.embeddings.position_ids", &[1, 2], Dtype::I64, vec![0; 16]),
            ("bert.encoder.layer.0.attention.self.query.weight", &[4, 4], Dtype::F16, vec![0; 32]),
            ("cls.predictions.bias", &[4], Dtype::F32, rows(4, 1)),
        ],
    );
    let (files, description) = (checkpoint([file]).unwrap(), Description::from_config(config).unwrap());
    let plan = Import::new(&files, &description).plan().unwrap();
    assert_eq!(plan.left_out(), ["bert.embeddings.position_ids", "cls.predictions.bias"]);
    let model = Gguf::parse(imported(Import::new(&files, &description)).unwrap()).unwrap();
    let found: Vec<_> = model.tensors().take(4).map(|tensor| (tensor.name(), tensor.ggml_type())).collect();
    use GgmlType::{F16, F32};
    let wanted = [
        ("token_embd_norm.weight", F32),
        ("token_embd_norm.bias", F32),
        ("position_embd.weight", F32),
        ("blk.0.attn_q.weight", F16),
    ];
    assert_eq!(found, wanted);
    assert!(!model.metadata().require::<bool>("bert.attention.causal").unwrap());
    assert_eq!(model.metadata().require::<f32>("bert.attention.layer_norm_epsilon").unwrap(), 1e-12);
}

#[test]
fn names_that_the_user_gives_come_first() {
    let config = LLAMA.replace(r#""num_hidden_layers": 1"#, r#""num_hidden_layers": 0"#);
    let file = completed(
        &config,
        &[
            ("model.norm.weight", &[8], Dtype::F32, rows(8, 1)),
            ("vision.7.weight", &[2, 2], Dtype::F32, rows(2, 2)),
            ("vision.7.extra", &[2], Dtype::BOOL, vec![0; 2]),
        ],
    );
    let (files, description) = (checkpoint([file]).unwrap(), Description::from_config(&config).unwrap());
    let error = Import::new(&files, &description).plan().unwrap_err().to_string();
    assert!(error.contains("tensor 'vision.7.weight' has no name in the llama family"), "{error}");
    let map: NameMap = "vision.{}.extra -\nvision.{}.* v.{}.*".parse().unwrap();
    let import = Import::new(&files, &description).names(|name| map.to_gguf(name));
    let model = Gguf::parse(imported(import).unwrap()).unwrap();
    assert!(model.tensors().take(2).map(|tensor| tensor.name()).eq(["output_norm.weight", "v.7.weight"]));
    let import = Import::new(&files, &description).names(|_| Some(Renamed::To("same".into())));
    let import = import.plan().and(Ok(()));
    // The type comes first: GGUF has no boolean tensors.
    assert!(import.unwrap_err().to_string().contains("tensor 'vision.7.extra' is BOOL"));
}

#[test]
fn other_models_keep_their_names_and_types() {
    let file = tensors(&[
        ("some.weight", &[2, 2], Dtype::F64, vec![0; 32]),
        ("some.ids", &[2], Dtype::I64, vec![0; 16]),
        ("some.scale", &[], Dtype::F16, vec![0; 2]),
    ]);
    let files = checkpoint([file]).unwrap();
    let description =
        Description::from_config(r#"{"architectures": ["Other"], "model_type": "other"}"#).unwrap();
    let plan = Import::new(&files, &description).plan().unwrap();
    assert!(plan.notes()[0].contains("Other is none of the families"), "{plan:?}");
    let model = Gguf::parse(imported(Import::new(&files, &description)).unwrap()).unwrap();
    let types: Vec<_> = model.tensors().map(|tensor| (tensor.name(), tensor.ggml_type())).collect();
    assert_eq!(
        types,
        [("some.weight", GgmlType::F64), ("some.ids", GgmlType::I64), ("some.scale", GgmlType::F16)]
    );
    assert_eq!(string(model.metadata(), "general.architecture"), "other");
    let empty = Description::default();
    assert!(Import::new(&files, &empty).plan().unwrap().notes()[0].contains("no config.json"));
}

#[test]
fn a_configuration_that_is_wrong_is_told_by_key() {
    let files = checkpoint([llama()]).unwrap();
    for (old, new, part) in [
        (r#""hidden_size": 8,"#, "", "'config.json': the file has no 'hidden_size'"),
        (r#""num_attention_heads": 2"#, r#""num_attention_heads": 0"#, "must not be 0"),
        (r#""num_attention_heads": 2"#, r#""num_attention_heads": 3"#, "3, does not divide"),
        (r#""num_attention_heads": 2"#, r#""num_attention_heads": 8"#, "'num_attention_heads' is 8"),
        (
            r#""num_attention_heads": 2"#,
            r#""num_attention_heads": -1"#,
            "'num_attention_heads' must be an integer from 0",
        ),
        (r#""hidden_size": 8"#, r#""hidden_size": "8""#, "'hidden_size' must be an integer"),
        (r#""rms_norm_eps": 1e-05"#, r#""rms_norm_eps": []"#, "'rms_norm_eps' must be a number"),
        (
            r#""rms_norm_eps": 1e-05"#,
            r#""rms_norm_eps": 1e308"#,
            "'rms_norm_eps' is 1e308, beyond the range of single precision",
        ),
        (r#"["LlamaForCausalLM"]"#, "[7]", "'architectures[0]' must be a string"),
        (r#"["LlamaForCausalLM"]"#, "7", "'architectures' must be an array"),
    ] {
        let description = Description::from_config(&LLAMA.replace(old, new)).unwrap();
        let error = Import::new(&files, &description).plan().unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let error = Description::from_config("{").unwrap_err();
    assert!(
        matches!(error, Error::Safetensors { .. }) && error.to_string().contains("'config.json': not JSON"),
        "{error}"
    );
}

#[test]
fn the_folder_gives_a_name_and_advice_for_choosing_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gpt_oss3moe-v2-20b");
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("config.json"), r#"{"model_type": "other"}"#).unwrap();
    let write = |text: &str| std::fs::write(path.join("generation_config.json"), text).unwrap();
    let matrix = [("a.weight", &[2u64, 4][..], Dtype::F32, floats([0.0; 8]))];
    let files = checkpoint([tensors(&matrix)]).unwrap();
    let plan = || {
        let description = Description::read(&path)?;
        imported(Import::new(&files, &description))
    };
    write(r#"{"top_k": 20, "top_p": 0.95, "temperature": 0.6}"#);
    let model = Gguf::parse(plan().unwrap()).unwrap();
    let metadata = model.metadata();
    assert_eq!(string(metadata, "general.name"), "Gpt_Oss3Moe v2 20b");
    assert_eq!(metadata.require::<i32>("general.sampling.top_k").unwrap(), 20);
    assert_eq!(metadata.require::<f32>("general.sampling.top_p").unwrap(), 0.95);
    assert_eq!(metadata.require::<f32>("general.sampling.temp").unwrap(), 0.6);
    // All tokens, as others than the transformers library write it.
    write(r#"{"top_k": -1, "top_p": null}"#);
    let model = Gguf::parse(plan().unwrap()).unwrap();
    assert_eq!(model.metadata().require::<i32>("general.sampling.top_k").unwrap(), -1);
    // Advice that cannot be kept does not end the conversion.
    for (key, value) in [
        ("top_k", "4294967295"),
        ("top_k", "2.5"),
        ("top_p", "\"all\""),
        ("temperature", "1e300"),
        ("temperature", "NaN"),
    ] {
        write(&format!("{{\"{key}\": {value}}}"));
        let description = Description::read(&path).unwrap();
        let plan = Import::new(&files, &description).plan().unwrap();
        let is_noted = |note: &String| {
            note.contains("generation_config.json': ") && note.contains(&format!("'{key}' must be"))
        };
        assert!(plan.notes().iter().any(is_noted), "{:?}", plan.notes());
        let model = Gguf::parse(imported(Import::new(&files, &description)).unwrap()).unwrap();
        assert!(model.metadata().iter().all(|(key, _)| !key.starts_with("general.sampling.")), "{value}");
    }
}
