//! Adapters of PEFT, as GGUF.

use gguf_codec::model::hf::{Description, FromSafetensors, Import};
use gguf_codec::safetensors::Dtype;
use gguf_codec::{GgmlType, Gguf, Result};

use super::{Own, checkpoint, floats, imported, tensors};

const CONFIG: &str = r#"{"architectures": ["LlamaForCausalLM"], "hidden_size": 8, "intermediate_size": 6, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 16}"#;
const ADAPTER: &str =
    r#"{"peft_type": "LORA", "r": 2, "lora_alpha": 16, "use_dora": false, "alpha_pattern": {}}"#;
const LAYER: &str = "base_model.model.model.layers.1.";

fn import(config: &str, adapter: &str, own: &[Own<'_>]) -> Result<Gguf<Vec<u8>>> {
    let description = Description::from_config(config)?.with_adapter(adapter)?;
    let files = checkpoint([tensors(own)])?;
    Gguf::parse(imported(Import::new(&files, &description))?)
}

/// The factors of a weight, with values that count up.
fn pair<'a>(names: &'a [String; 2], rows: u64, columns: u64) -> [Own<'a>; 2] {
    let count = |len: u64, first: f32| floats((0..len).map(|at| first + at as f32));
    // Shapes live as long as the test.
    let shape = |dims: [u64; 2]| -> &'static [u64] { Box::leak(Box::new(dims)) };
    [
        (&names[0], shape([2, columns]), Dtype::F32, count(2 * columns, 0.0)),
        (&names[1], shape([rows, 2]), Dtype::F32, count(2 * rows, 100.0)),
    ]
}

fn names(weight: &str) -> [String; 2] {
    ["A", "B"].map(|side| format!("{LAYER}{weight}.lora_{side}.weight"))
}

fn values(model: &Gguf<Vec<u8>>, name: &str) -> Vec<f32> {
    let tensor = model.tensor(name).unwrap();
    let mut values = vec![0.0; tensor.shape().element_count() as usize];
    tensor.dequantize_into(&mut values).unwrap();
    values
}

#[test]
fn factors_get_the_names_and_rows_of_their_weights() {
    let (q, down) = (names("self_attn.q_proj"), names("mlp.down_proj"));
    let own = [pair(&q, 8, 8), pair(&down, 8, 6)].concat();
    let model = import(CONFIG, ADAPTER, &own).unwrap();
    let names: Vec<_> =
        model.tensors().map(|tensor| (tensor.name().to_owned(), tensor.shape().dims().to_vec())).collect();
    let wanted = [
        ("blk.1.attn_q.weight.lora_a", vec![8, 2]),
        ("blk.1.attn_q.weight.lora_b", vec![2, 8]),
        ("blk.1.ffn_down.weight.lora_a", vec![6, 2]),
        ("blk.1.ffn_down.weight.lora_b", vec![2, 8]),
    ];
    assert_eq!(names, wanted.map(|(name, dims)| (name.to_owned(), dims)));
    // The rows of queries in two heads of four are those of B.
    let rows = [0, 2, 1, 3, 4, 6, 5, 7]
        .into_iter()
        .flat_map(|row| [100.0 + 2.0 * row as f32, 101.0 + 2.0 * row as f32]);
    assert_eq!(values(&model, "blk.1.attn_q.weight.lora_b"), rows.collect::<Vec<_>>());
    assert_eq!(values(&model, "blk.1.attn_q.weight.lora_a"), (0..16).map(|at| at as f32).collect::<Vec<_>>());
    let metadata = model.metadata();
    let keys: Vec<_> = metadata.keys().collect();
    let wanted = [
        "general.architecture",
        "general.type",
        "adapter.type",
        "adapter.lora.alpha",
        "general.quantization_version",
    ];
    assert_eq!(keys, wanted);
    assert_eq!(metadata.require::<&str>("general.type").unwrap(), "adapter");
    assert_eq!(metadata.require::<&str>("adapter.type").unwrap(), "lora");
    assert_eq!(metadata.require::<f32>("adapter.lora.alpha").unwrap(), 16.0);
}

#[test]
fn embeddings_are_looked_up_and_experts_are_stacked() {
    let shapes: [&[u64]; 2] = [&[2, 5], &[8, 2]];
    let count = |len: u64| floats((0..len).map(|at| at as f32));
    let own: [Own<'_>; 2] = [
        ("base_model.model.model.embed_tokens.lora_embedding_A", shapes[0], Dtype::F32, count(10)),
        ("base_model.model.model.embed_tokens.lora_embedding_B", shapes[1], Dtype::F32, count(16)),
    ];
    let model = import(CONFIG, ADAPTER, &own).unwrap();
    let wanted: Vec<f32> = (0..5).flat_map(|token| [token as f32, 5.0 + token as f32]).collect();
    assert_eq!(values(&model, "token_embd.weight.lora_a"), wanted);
    assert_eq!(model.tensor("token_embd.weight.lora_b").unwrap().shape().dims(), [2, 8]);

    let mixtral = CONFIG
        .replace("LlamaFor", "MixtralFor")
        .replace("\"hidden_size\"", "\"num_local_experts\": 2, \"num_experts_per_tok\": 1, \"hidden_size\"");
    let experts: Vec<_> =
        (0..2).map(|expert| names(&format!("block_sparse_moe.experts.{expert}.w2"))).collect();
    let own: Vec<_> = experts.iter().flat_map(|names| pair(names, 8, 6)).collect();
    let model = import(&mixtral, ADAPTER, &own).unwrap();
    assert_eq!(model.tensor("blk.1.ffn_down_exps.weight.lora_a").unwrap().shape().dims(), [6, 2, 2]);
    assert_eq!(model.tensor("blk.1.ffn_down_exps.weight.lora_b").unwrap().shape().dims(), [2, 8, 2]);
    let error = import(&mixtral, ADAPTER, &own[..2]).unwrap_err().to_string();
    assert!(error.contains("has 2 experts, of which number 1 is not adapted"), "{error}");
}

#[test]
fn alpha_is_that_of_the_scale() {
    let q = names("self_attn.q_proj");
    let own = pair(&q, 8, 8);
    let stabilized = ADAPTER.replace("\"use_dora\": false", "\"use_rslora\": true");
    let model = import(CONFIG, &stabilized, &own).unwrap();
    // 16 / √2 is what it is over 2.
    assert_eq!(model.metadata().require::<f32>("adapter.lora.alpha").unwrap(), 16.0 * 2f32.sqrt());
}

#[test]
fn what_no_adapter_of_gguf_has_is_refused_by_name() {
    let (q, v, far, other) = (
        names("self_attn.q_proj"),
        names("self_attn.v_proj"),
        ["A", "B"].map(|side| format!("base_model.model.model.layers.7.mlp.up_proj.lora_{side}.weight")),
        names("mlp.other"),
    );
    let good = pair(&q, 8, 8);
    let whole: Own<'_> = ("base_model.model.lm_head.weight", &[5, 8], Dtype::F32, floats([0.0; 40]));
    let whole = [good.to_vec(), vec![whole]].concat();
    let head = ["A", "B"].map(|side| format!("base_model.model.lm_head.lora_{side}.weight"));
    let tied = CONFIG.replace("\"hidden_size\"", "\"tie_word_embeddings\": true, \"hidden_size\"");
    for (config, adapter, own, wanted) in [
        (
            CONFIG,
            &ADAPTER.replace("\"use_dora\": false", "\"use_dora\": true"),
            good.to_vec(),
            "'use_dora' is true, and DoRA",
        ),
        (
            CONFIG,
            &ADAPTER.replace("\"alpha_pattern\": {}", "\"alpha_pattern\": {\"q\": 2}"),
            good.to_vec(),
            "'alpha_pattern'",
        ),
        (CONFIG, &ADAPTER.replace("\"lora_alpha\": 16,", ""), good.to_vec(), "has no 'lora_alpha'"),
        (
            CONFIG,
            &ADAPTER.to_owned(),
            whole,
            "tensor 'base_model.model.lm_head.weight' is none of the factors",
        ),
        (CONFIG, &ADAPTER.to_owned(), good[..1].to_vec(), "q_proj.weight' has no lora_B"),
        (
            CONFIG,
            &ADAPTER.to_owned(),
            pair(&v, 6, 8).to_vec(),
            "v_proj.weight' is of 6 rows and 8 columns, and the weight has 4 rows and 8 columns",
        ),
        (
            CONFIG,
            &ADAPTER.to_owned(),
            pair(&far, 6, 8).to_vec(),
            "is of a layer that the model does not have",
        ),
        (
            CONFIG,
            &ADAPTER.to_owned(),
            pair(&other, 6, 8).to_vec(),
            "mlp.other.weight', which the adapter changes, has no name",
        ),
        (&tied, &ADAPTER.to_owned(), pair(&head, 5, 8).to_vec(), "'tie_word_embeddings'"),
        (
            r#"{"architectures": ["OtherModel"]}"#,
            &ADAPTER.to_owned(),
            good.to_vec(),
            "the base model is a OtherModel",
        ),
    ] {
        let error = import(config, adapter, &own).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
    let magnitude = format!("{LAYER}self_attn.q_proj.lora_magnitude_vector");
    let magnitude: Own<'_> = (&magnitude, &[8], Dtype::F32, floats([1.0; 8]));
    let error = import(CONFIG, ADAPTER, &[good.to_vec(), vec![magnitude]].concat()).unwrap_err().to_string();
    assert!(error.contains("q_proj.lora_magnitude_vector' is a magnitude of DoRA"), "{error}");
    let saved = ADAPTER.replace("\"r\": 2", r#""r": 2, "modules_to_save": ["lm_head"]"#);
    let error = import(CONFIG, &saved, &good).unwrap_err().to_string();
    assert!(error.contains("'modules_to_save[0]': 'lm_head' was trained as a whole"), "{error}");
    for (alpha, wanted) in
        [("0", "'lora_alpha' is 0, with which"), ("1e300", "beyond the range"), ("NaN", "must be a number")]
    {
        let adapter = ADAPTER.replace("16", alpha);
        let error = import(CONFIG, &adapter, &good).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
    let (a, b) = (names("self_attn.q_proj"), good[1].clone());
    let rank: Own<'_> = (&a[0], &[3, 8], Dtype::F32, floats([0.0; 24]));
    let error = import(CONFIG, ADAPTER, &[rank, b]).unwrap_err().to_string();
    assert!(error.contains("must be the rank"), "{error}");
    let files = checkpoint([tensors(&good)]).unwrap();
    let alone = Description::default().with_adapter(ADAPTER).unwrap();
    let error = Import::new(&files, &alone).plan().unwrap_err().to_string();
    assert!(error.contains("the configuration of the base model is missing"), "{error}");
}

/// Settings with which an adapter is no sum of the base model's weights and factors.
#[test]
fn what_is_no_sum_is_refused_by_its_key() {
    let q = names("self_attn.q_proj");
    let good = pair(&q, 8, 8);
    let with = |key: &str, value: &str| format!("{},\"{key}\": {value}}}", &ADAPTER[..ADAPTER.len() - 1]);
    for (key, right, wrong) in [
        ("fan_in_fan_out", "false", "true"),
        ("use_qalora", "false", "true"),
        ("use_bdlora", "null", "{\"nblocks\": 2}"),
        ("target_parameters", "[]", "[\"mlp.experts.down_proj\"]"),
        ("trainable_token_indices", "null", "[1, 2]"),
        ("layer_replication", "null", "[[0, 1], [0, 2]]"),
        ("arrow_config", "null", "{\"top_k\": 2}"),
        ("init_lora_weights", "\"gaussian\"", "\"pissa_niter_4\""),
        ("init_lora_weights", "true", "\"olora\""),
        ("init_lora_weights", "\"eva\"", "\"corda\""),
        ("init_lora_weights", "\"orthogonal\"", "\"loftq\""),
        ("invocation_string", "null", "\"<go>\""),
    ] {
        import(CONFIG, &with(key, right), &good).unwrap();
        let error = import(CONFIG, &with(key, wrong), &good).unwrap_err().to_string();
        assert!(error.contains(&format!("'{key}'")), "{key}: {error}");
    }
    // With its tokens it is an activated one, which a GGUF can be.
    let tokens = with("invocation_string", "\"<go>\", \"alora_invocation_tokens\": [1, 2]");
    let model = import(CONFIG, &tokens, &good).unwrap();
    assert!(model.metadata().contains("adapter.alora.invocation_tokens"));
    // Biases of norms are biases.
    let bias = format!("{LAYER}input_layernorm.bias");
    let bias: Own<'_> = (&bias, &[8], Dtype::F32, floats([0.0; 8]));
    let error = import(CONFIG, ADAPTER, &[good.to_vec(), vec![bias]].concat()).unwrap_err().to_string();
    assert!(error.contains("input_layernorm.bias' is none of the factors"), "{error}");
}

#[test]
fn ranks_are_those_of_the_configuration() {
    let (q, down) = (names("self_attn.q_proj"), names("mlp.down_proj"));
    // Both are of rank 2.
    let own = [pair(&q, 8, 8), pair(&down, 8, 6)].concat();
    for (ranks, wanted) in [
        (r#""r": 2, "rank_pattern": {}"#, None),
        (r#""r": 4, "rank_pattern": {"q_proj": 2, "layers.1.mlp.*": 2}"#, None),
        // As PEFT has it: a pattern is of the end of a name, from behind a dot.
        (
            r#""r": 4, "rank_pattern": {"proj": 2}"#,
            Some("'r' is 4, and the factors of 'model.layers.1.self_attn.q_proj.weight'"),
        ),
        (
            r#""r": 4, "rank_pattern": {"q_proj": 2}"#,
            Some("'r' is 4, and the factors of 'model.layers.1.mlp.down_proj.weight' are of rank 2"),
        ),
        (
            r#""r": 2, "rank_pattern": {"q_proj": 4}"#,
            Some(
                "'r' is 4 for it by 'rank_pattern', and the factors of 'model.layers.1.self_attn.q_proj.weight'",
            ),
        ),
        (r#""r": "2""#, Some("'r' must be an integer")),
        (r#""r": 2, "rank_pattern": 4"#, Some("'rank_pattern' must be an object")),
    ] {
        let adapter = ADAPTER.replace("\"r\": 2", ranks);
        match (import(CONFIG, &adapter, &own), wanted) {
            (Ok(_), None) => {}
            (Err(error), Some(wanted)) => assert!(error.to_string().contains(wanted), "{error}"),
            (result, _) => panic!("{ranks}: {:?}", result.map(drop)),
        }
    }
}

/// An error that reading causes is in another, which names the tensor as well.
#[test]
fn values_that_are_not_finite_are_refused_with_their_place() {
    let q = names("self_attn.q_proj");
    for (value, shown) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf")] {
        for side in 0..2 {
            let mut own = pair(&q, 8, 8);
            own[side].3[4 * 5..4 * 6].copy_from_slice(&value.to_le_bytes());
            let error = format!("{:?}", import(CONFIG, ADAPTER, &own).unwrap_err());
            let wanted = format!("tensor '{}' has {shown} as value 5, and all must be finite", q[side]);
            assert!(error.contains(&wanted), "{error}");
        }
    }
}

#[test]
fn each_weight_is_there_once_and_in_the_model() {
    let named = |weight: &str| ["A", "B"].map(|side| format!("{weight}.lora_{side}.weight"));
    let q = names("self_attn.q_proj");
    let good = pair(&q, 8, 8);
    let default = q.clone().map(|name| name.replace(".weight", ".default.weight"));
    let short = q.clone().map(|name| name.replace("base_model.model.", ""));
    let both = |names| [good.to_vec(), pair(names, 8, 8).to_vec()].concat();
    let integers: Vec<Own<'_>> =
        good.iter().map(|(name, shape, _, bytes)| (*name, *shape, Dtype::I32, bytes.clone())).collect();
    let (zeros, huge) = (
        named("base_model.model.model.layers.00.mlp.up_proj"),
        named("base_model.model.model.layers.99999999999.mlp.up_proj"),
    );
    let none: [Own<'_>; 2] =
        [(&q[0], &[0, 8], Dtype::F32, Vec::new()), (&q[1], &[8, 0], Dtype::F32, Vec::new())];
    let norm: Own<'_> =
        ("base_model.model.model.layers.1.input_layernorm.weight", &[7], Dtype::F32, floats([0.0; 7]));
    let norms: Vec<Own<'_>> = ["model.norm.weight", "base_model.model.model.norm.weight"]
        .map(|name| (name, &[8u64][..], Dtype::F32, floats([0.0; 8])))
        .to_vec();
    let mixtral = CONFIG
        .replace("LlamaFor", "MixtralFor")
        .replace("\"hidden_size\"", "\"num_local_experts\": 2, \"num_experts_per_tok\": 1, \"hidden_size\"");
    let experts: Vec<_> = ["0", "1", "2", "01"]
        .iter()
        .map(|expert| names(&format!("block_sparse_moe.experts.{expert}.w2")))
        .collect();
    let of_experts =
        |which: &[usize]| which.iter().flat_map(|&at| pair(&experts[at], 8, 6)).collect::<Vec<_>>();
    for (config, own, wanted) in [
        (
            CONFIG,
            both(&default),
            "q_proj.lora_A.weight' and 'base_model.model.model.layers.1.self_attn.q_proj.lora_A.default.weight' are of the same",
        ),
        (
            CONFIG,
            both(&short),
            "q_proj.lora_A.weight' and 'model.layers.1.self_attn.q_proj.lora_A.weight' are of the same",
        ),
        (CONFIG, integers, "q_proj.lora_A.weight' is I32, and adapters are of floats"),
        (CONFIG, pair(&zeros, 6, 8).to_vec(), "has the number '00', and numbers"),
        (CONFIG, pair(&huge, 6, 8).to_vec(), "has the number '99999999999', and numbers"),
        (CONFIG, none.to_vec(), "has factors of rank 0"),
        (
            CONFIG,
            [good.to_vec(), vec![norm]].concat(),
            "input_layernorm.weight' is of the shape [7], and the model has 8 values",
        ),
        (
            CONFIG,
            [good.to_vec(), norms].concat(),
            "'model.norm.weight' and 'base_model.model.model.norm.weight' are of the same",
        ),
        (&mixtral, of_experts(&[0, 1, 2]), "experts.2.w2.weight' is of expert 2, and the model has 2"),
        (&mixtral, of_experts(&[0, 1, 3]), "has the number '01', and numbers"),
    ] {
        let error = import(config, ADAPTER, &own).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn only_adapters_have_a_base() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = tensors(&[("model.norm.weight", &[8], Dtype::F32, floats([0.0; 8]))]);
    std::fs::write(folder.path().join("model.safetensors"), bytes).unwrap();
    std::fs::write(folder.path().join("config.json"), CONFIG).unwrap();
    let error =
        FromSafetensors::open(folder.path()).unwrap().base(folder.path()).map(drop).unwrap_err().to_string();
    assert!(error.contains("is for LoRA adapters, and this is none"), "{error}");
}

#[test]
fn types_are_those_that_are_asked_for() {
    let q = names("self_attn.q_proj");
    let own = pair(&q, 8, 8);
    let description = Description::from_config(CONFIG).unwrap().with_adapter(ADAPTER).unwrap();
    let files = checkpoint([tensors(&own)]).unwrap();
    for (ty, wanted) in [(GgmlType::BF16, GgmlType::BF16), (GgmlType::Q8_0, GgmlType::F16)] {
        let bytes = imported(Import::new(&files, &description).ggml_type(ty)).unwrap();
        assert!(Gguf::parse(bytes).unwrap().tensors().all(|tensor| tensor.ggml_type() == wanted));
    }
}
