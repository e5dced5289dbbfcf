//! Unsupported quantized checkpoints and adapters are refused with their names.

use gguf_codec::model::hf::{Description, Import, Renamed};
use gguf_codec::safetensors::Dtype;

use super::{checkpoint, tensors};

type Listed<'a> = &'a [(&'a str, &'a [u64], Dtype)];

/// The error of planning these tensors.
fn refused(config: &str, listed: Listed<'_>) -> String {
    let own: Vec<_> = listed
        .iter()
        .map(|&(name, shape, dtype)| {
            (name, shape, dtype, vec![0; (shape.iter().product::<u64>() * dtype.bits() / 8) as usize])
        })
        .collect();
    let (files, description) =
        (checkpoint([tensors(&own)]).unwrap(), Description::from_config(config).unwrap());
    Import::new(&files, &description).plan().unwrap_err().to_string()
}

const UNKNOWN: &str = "{}";
const LLAMA: &str = r#"{"architectures": ["LlamaForCausalLM"]}"#;

#[test]
fn tensors_say_what_quantized_them() {
    use Dtype::{BF16, F8_E4M3, F16, F32, I8, I32, I64, U8, U32};
    let q = |end: &str| format!("model.layers.0.mlp.up_proj{end}");
    type Stored = (&'static str, &'static [u64], Dtype);
    let cases: &[(&str, &[Stored])] = &[
        ("GPTQ", &[(".qweight", &[1, 8], I32)]),
        ("GPTQ", &[(".qweight", &[1, 8], I32), (".scales", &[1, 8], F16)]),
        ("GPTQ", &[(".g_idx", &[8], I32)]),
        ("AWQ", &[(".qweight", &[8, 1], I32), (".qzeros", &[2, 1], I32), (".scales", &[1, 8], F16)]),
        ("bitsandbytes 4 bit", &[(".weight", &[8, 1], U8), (".weight.absmax", &[1], F32)]),
        ("bitsandbytes 4 bit (NF4)", &[(".weight.quant_state.bitsandbytes__nf4", &[8], U8)]),
        ("bitsandbytes 4 bit (FP4)", &[(".weight.quant_state.bitsandbytes__fp4", &[8], U8)]),
        ("bitsandbytes 8 bit", &[(".weight", &[8, 8], I8), (".SCB", &[7], F32)]),
        (
            "compressed-tensors, pack-quantized",
            &[(".weight_packed", &[8, 1], I32), (".weight_scale", &[8, 1], BF16)],
        ),
        ("compressed-tensors, mxfp4-pack-quantized", &[(".weight_packed", &[8, 16], U8)]),
        (
            "compressed-tensors, nvfp4-pack-quantized",
            &[(".weight_packed", &[8, 8], U8), (".weight_scale", &[8, 1], F8_E4M3)],
        ),
        ("compressed-tensors", &[(".weight_shape", &[2], I64)]),
        ("compressed-tensors, int-quantized", &[(".weight", &[8, 8], I8), (".weight_scale", &[8, 3], BF16)]),
        ("FP8", &[(".weight", &[8, 8], F8_E4M3), (".weight_scale", &[8, 3], BF16)]),
        ("FP8 in blocks", &[(".weight_scale_inv", &[1, 1], F32)]),
        (
            "ModelOpt, NVFP4",
            &[(".weight", &[8, 8], U8), (".weight_scale", &[8, 2], F8_E4M3), (".weight_scale_2", &[], F32)],
        ),
        ("BitNet", &[(".weight", &[2, 8], U8), (".weight_scale", &[1], BF16)]),
        ("quanto", &[(".weight._data", &[8, 8], I8)]),
        ("quanto", &[(".weight._scale", &[1], F32)]),
        ("torchao", &[("._weight_qdata", &[8, 8], I8)]),
        ("HQQ", &[(".W_q", &[8, 4], U8)]),
        ("MXFP4", &[("_blocks", &[8, 1, 15], U8), ("_scales", &[8, 1], U8)]),
        ("MLX", &[(".weight", &[8, 1], U32), (".scales", &[8, 1], F16), (".biases", &[8, 1], F16)]),
    ];
    for (method, listed) in cases {
        let named: Vec<_> = listed.iter().map(|(end, shape, dtype)| (q(end), *shape, *dtype)).collect();
        let listed: Vec<_> =
            named.iter().map(|(name, shape, dtype)| (name.as_str(), *shape, *dtype)).collect();
        for config in [UNKNOWN, LLAMA] {
            let error = refused(config, &listed);
            assert!(error.contains(&format!("quantized by {method}")), "{method}: {error}");
            assert!(error.contains("up_proj"), "{error}");
        }
    }
    // Integers without any indication of their meaning.
    let listed: Listed<'_> = &[("model.embed_tokens.weight", &[2, 8], I8)];
    let config = r#"{"architectures": ["LlamaForCausalLM"], "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8,
        "max_position_embeddings": 8, "num_hidden_layers": 0}"#;
    assert!(refused(config, listed).contains("'model.embed_tokens.weight' is I8, and must be F16"));
    assert!(
        refused(UNKNOWN, &[("x.weight", &[2, 8], F8_E4M3)]).contains("dequantize the model with its scales")
    );
}

#[test]
fn the_configuration_says_what_quantized_the_tensors() {
    let norm: Listed<'_> = &[("model.norm.weight", &[2], Dtype::F32)];
    for (quantization, method) in [
        (r#"{"quant_method": "gptq", "bits": 4}"#, "GPTQ, 4 bit"),
        (r#"{"quant_method": "awq", "bits": 4}"#, "AWQ, 4 bit"),
        (
            r#"{"quant_method": "bitsandbytes", "load_in_4bit": true, "bnb_4bit_quant_type": "nf4"}"#,
            "bitsandbytes 4 bit (NF4)",
        ),
        (
            r#"{"quant_method": "bitsandbytes", "_load_in_8bit": true, "bnb_4bit_quant_type": "fp4"}"#,
            "bitsandbytes 8 bit",
        ),
        (r#"{"load_in_8bit": true}"#, "bitsandbytes 8 bit"),
        (
            r#"{"quant_method": "compressed-tensors", "format": "pack-quantized"}"#,
            "compressed-tensors, pack-quantized",
        ),
        (
            r#"{"quant_method": "compressed-tensors", "config_groups": {"a": {"format": "int-quantized"}}}"#,
            "compressed-tensors, int-quantized",
        ),
        (r#"{"quant_method": "fp8", "weight_block_size": [128, 128]}"#, "FP8 in blocks"),
        (r#"{"quant_method": "mxfp4"}"#, "MXFP4"),
        (r#"{"quant_method": "modelopt", "quant_algo": "NVFP4"}"#, "ModelOpt, NVFP4"),
        (r#"{"quant_method": "bitnet"}"#, "BitNet"),
        (r#"{"quant_method": "torchao"}"#, "torchao"),
        (r#"{"quant_method": "hqq"}"#, "HQQ"),
        (r#"{"quant_method": "quanto"}"#, "quanto"),
        (r#"{"quant_method": "next\u001b"}"#, "next\\u{1b}"),
        (r#"{"group_size": 64, "bits": 4}"#, "MLX, 4 bit"),
        (r#"{"what": 1}"#, "an unknown method"),
    ] {
        for config in [
            format!(r#"{{"architectures": ["LlamaForCausalLM"], "quantization_config": {quantization}}}"#),
            format!(
                r#"{{"architectures": ["Other"], "text_config": {{"quantization_config": {quantization}}}}}"#
            ),
            format!(r#"{{"a": {{"b": {{"compression_config": {quantization}}}}}}}"#),
        ] {
            let error = refused(&config, norm);
            assert!(
                error.contains("'config.json'") && error.contains(&format!("quantized by {method},")),
                "{error}"
            );
        }
    }
    // An empty `quantization_config` is ignored.
    for nothing in ["null", "{}"] {
        let config = format!(r#"{{"quantization_config": {nothing}}}"#);
        let files = checkpoint([tensors(&[("w.weight", &[1], Dtype::F32, vec![0; 4])])]).unwrap();
        let description = Description::from_config(&config).unwrap();
        Import::new(&files, &description).plan().unwrap();
    }
}

#[test]
fn names_of_other_models_that_look_alike_are_taken() {
    // Only floats, in an unknown model.
    let own: Vec<_> =
        ["a.scale", "a.scales", "b_scales", "a.biases", "a.codes", "a.zero", "data", "model.alora_A"]
            .map(|name| (name, &[1u64][..], Dtype::F32, vec![0; 4]))
            .into();
    let (files, description) = (checkpoint([tensors(&own)]).unwrap(), Description::default());
    Import::new(&files, &description).plan().unwrap();
    // The same for tensors that the user names.
    let own =
        tensors(&[("a.qweight", &[1, 8], Dtype::I32, vec![0; 32]), ("b.w", &[1], Dtype::F32, vec![0; 4])]);
    let files = checkpoint([own]).unwrap();
    assert!(Import::new(&files, &description).plan().is_err());
    let import =
        Import::new(&files, &description).names(|name| (name == "a.qweight").then_some(Renamed::LeftOut));
    assert_eq!(import.plan().unwrap().left_out(), ["a.qweight"]);
}

#[test]
fn adapters_are_no_models() {
    let shape: &[u64] = &[1, 2];
    for name in [
        "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight",
        "model.layers.0.self_attn.q_proj.lora_B.default.weight",
        "model.layers.0.self_attn.q_proj.base_layer.weight",
        "lora_unet_down_blocks_0.lora_down.weight",
        "base_model.model.lm_head.weight",
    ] {
        for config in [UNKNOWN, LLAMA] {
            let error =
                refused(config, &[("model.norm.weight", &[2], Dtype::F32), (name, shape, Dtype::F32)]);
            assert!(
                error.contains(&format!("'{name}' is of a")) && error.contains("merge it into its model"),
                "{error}"
            );
        }
    }
    let error = refused(UNKNOWN, &[("layers.0.attention.wq.weight", shape, Dtype::F32)]);
    assert!(error.contains("Mistral's and Meta's own format"), "{error}");
}
