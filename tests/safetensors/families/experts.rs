//! Experts: stacked, fused, transposed, shared, and counted.

use gguf_codec::Gguf;
use gguf_codec::model::hf::{Description, Export, Import};
use gguf_codec::safetensors::Dtype;

use super::super::{checkpoint, exported, imported};
use super::{Checkpoint, family, files, gguf, source, values};

/// Makes one tensor of the gates and ups of a layer's experts, and one of the downs.
pub(super) fn fuse(source: &mut Checkpoint, layer: u32, count: u64, module: &str, parts: [&str; 3]) {
    let at = |module: &str| format!("model.layers.{layer}.{module}");
    let mut take = |part: &str| -> Vec<(Dtype, Vec<u64>, Vec<u8>)> {
        let name = |expert: u64| format!("{}.experts.{expert}.{part}.weight", at(module));
        (0..count).map(|expert| source.remove(&name(expert)).unwrap()).collect()
    };
    let [gate, up, down] = parts.map(&mut take);
    let (dtype, rows, len) = (gate[0].0, gate[0].1[0], gate[0].1[1]);
    let both = gate.into_iter().zip(up).flat_map(|(gate, up)| [gate.2, up.2].concat()).collect();
    source.insert(at("mlp.experts.gate_up_proj"), (dtype, vec![count, 2 * rows, len], both));
    let down = down.into_iter().flat_map(|(.., bytes)| bytes).collect();
    source.insert(at("mlp.experts.down_proj"), (dtype, vec![count, len, rows], down));
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
        (0..2).for_each(|layer| fuse(&mut source, layer, 4, module, parts));
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
