//! The quantization that the files beside a model state, whatever its tensors are.

use crate::model::hf::description::Description;
use crate::model::hf::json::Node;

/// Keys of `config.json`, at any level, under which a quantization is described. The last is MLX's.
const KEYS: [&str; 3] = ["quantization_config", "compression_config", "quantization"];
/// Levels of objects of `config.json` that are searched: multimodal models have theirs in `text_config`.
const LEVELS: usize = 4;

/// What the files that describe the model say of a quantization.
pub(super) fn of_files(description: &Description) -> Option<(Node<'_>, String)> {
    let config = description.config.as_ref().map(|config| config.root());
    if let Some(node) = config.and_then(|config| nested(config, LEVELS)) {
        let method = method(&node).unwrap_or_else(|| "an unknown method".to_owned());
        return Some((node, method));
    }
    for (file, document) in &description.quantization {
        let root = document.root();
        if *file == "hf_quant_config.json" {
            // A file of one that was not quantized has nulls.
            let quantization = root.get("quantization").unwrap_or_else(|| root.clone());
            if let Some(algo) = quantization.any(&["quant_algo", "kv_cache_quant_algo"]) {
                let method = format!("ModelOpt, {}", algo.value.as_str().unwrap_or("an unknown method"));
                return Some((algo, method));
            }
            continue;
        }
        let usual = match *file {
            "quantize_config.json" => "GPTQ",
            "quant_config.json" => "AWQ or HQQ",
            _ => "quanto",
        };
        let method = method(&root).unwrap_or_else(|| usual.to_owned());
        return Some((root, method));
    }
    None
}

fn nested(node: Node<'_>, levels: usize) -> Option<Node<'_>> {
    let object = node.value.as_object()?;
    let is_there = |found: &Node<'_>| found.value.as_object().is_some_and(|found| !found.is_empty());
    if let Some(found) = KEYS.iter().find_map(|key| node.get(key).filter(is_there)) {
        return Some(found);
    }
    let levels = levels.checked_sub(1)?;
    object.keys().filter_map(|key| node.get(key)).find_map(|inner| nested(inner, levels))
}

/// The method that a `quantization_config` speaks of.
fn method(node: &Node<'_>) -> Option<String> {
    let text = |key: &str| node.get(key).and_then(|value| value.value.as_str()).map(str::to_owned);
    let flag = |key: &str| node.get(key).and_then(|value| value.value.as_bool()) == Some(true);
    let bits = || match node.any(&["bits", "w_bit"]).and_then(|bits| bits.value.as_u64()) {
        Some(bits) => format!(", {bits} bit"),
        None => String::new(),
    };
    let Some(name) = text("quant_method") else {
        return match () {
            () if flag("load_in_4bit") => Some("bitsandbytes 4 bit".to_owned()),
            () if flag("load_in_8bit") => Some("bitsandbytes 8 bit".to_owned()),
            () if node.get("config_groups").is_some() => Some("compressed-tensors".to_owned()),
            () if node.get("desc_act").is_some() => Some(format!("GPTQ{}", bits())),
            () if node.get("zero_point").is_some() => Some(format!("AWQ{}", bits())),
            () if node.get("group_size").is_some() && node.get("bits").is_some() => {
                Some(format!("MLX{}", bits()))
            }
            () => text("quant_algo").map(|algo| format!("ModelOpt, {algo}")),
        };
    };
    let with = |name: &str, more: Option<String>| match more {
        Some(more) => format!("{name}, {more}"),
        None => name.to_owned(),
    };
    Some(match name.to_ascii_lowercase().as_str() {
        "gptq" => format!("GPTQ{}", bits()),
        "awq" => format!("AWQ{}", bits()),
        "auto-round" | "intel/auto-round" => with(&format!("AutoRound{}", bits()), text("packing_format")),
        "bitsandbytes" | "bitsandbytes_4bit" | "bitsandbytes_8bit" => {
            let is_8 = flag("load_in_8bit") || flag("_load_in_8bit") || name.ends_with("8bit");
            if is_8 {
                "bitsandbytes 8 bit".to_owned()
            } else {
                match text("bnb_4bit_quant_type") {
                    Some(kind) => format!("bitsandbytes 4 bit ({})", kind.to_uppercase()),
                    None => "bitsandbytes 4 bit".to_owned(),
                }
            }
        }
        "compressed-tensors" | "compressed_tensors" => {
            let of_group = || {
                let groups = node.get("config_groups")?;
                let groups = groups.value.as_object()?;
                groups.values().find_map(|group| Some(group.get("format")?.as_str()?.to_owned()))
            };
            with("compressed-tensors", text("format").or_else(of_group))
        }
        "fp8" => match node.get("weight_block_size") {
            Some(_) => "FP8 in blocks".to_owned(),
            None => "FP8".to_owned(),
        },
        "fbgemm_fp8" => "FP8 (FBGEMM)".to_owned(),
        "mxfp4" => "MXFP4".to_owned(),
        "modelopt" | "modelopt_fp4" | "modelopt_fp8" => with("ModelOpt", text("quant_algo")),
        "bitnet" => "BitNet".to_owned(),
        "torchao" => "torchao".to_owned(),
        "hqq" => "HQQ".to_owned(),
        "quanto" => "quanto".to_owned(),
        "aqlm" => "AQLM".to_owned(),
        "eetq" => "EETQ".to_owned(),
        "exl2" => "EXL2".to_owned(),
        "exl3" => "EXL3".to_owned(),
        _ => name,
    })
}
