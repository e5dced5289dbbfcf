//! Tensors that are no weights of a model as they are: those of another quantization, and those of an adapter.
//!
//! Both are told from `config.json` and the files beside it, and from what tensors are called and stored as, since either may be
//! without the other.

use super::config::Config;
use super::stated::of_files;
use crate::error::{Error, Result, Shown};
use crate::model::hf::description::Description;
use crate::safetensors::{Checkpoint, CheckpointTensor, Dtype};

/// What the end of a tensor's name says of its quantization.
#[derive(Clone, Copy)]
enum Sign {
    /// GPTQ's or AWQ's, by the tensors beside it.
    Packed,
    /// compressed-tensors, in a format that follows from the tensors beside it.
    Compressed,
    /// A scale beside a weight, whose type says more.
    Scaled,
    /// A scale of many formats, which only counts beside the tensor of this end.
    Beside(&'static str, &'static str),
    /// This one.
    Of(&'static str),
}

/// Ends of names, and what they are signs of. The first that fits decides.
const ENDS: &[(&str, Sign)] = &[
    (".qweight", Sign::Packed),
    (".qzeros", Sign::Packed),
    (".g_idx", Sign::Of("GPTQ")),
    (".weight.absmax", Sign::Of("bitsandbytes 4 bit")),
    (".weight.quant_map", Sign::Of("bitsandbytes 4 bit")),
    (".weight.nested_absmax", Sign::Of("bitsandbytes 4 bit")),
    (".weight.nested_quant_map", Sign::Of("bitsandbytes 4 bit")),
    (".quant_state.bitsandbytes__nf4", Sign::Of("bitsandbytes 4 bit (NF4)")),
    (".quant_state.bitsandbytes__fp4", Sign::Of("bitsandbytes 4 bit (FP4)")),
    (".SCB", Sign::Of("bitsandbytes 8 bit")),
    (".weight_format", Sign::Of("bitsandbytes 8 bit")),
    (".weight_packed", Sign::Compressed),
    (".weight_global_scale", Sign::Compressed),
    (".input_global_scale", Sign::Compressed),
    (".weight_shape", Sign::Compressed),
    (".weight_zero_point", Sign::Compressed),
    (".weight_g_idx", Sign::Compressed),
    ("._weight_qdata", Sign::Of("torchao")),
    ("._weight_scale", Sign::Of("torchao")),
    ("._weight_zero_point", Sign::Of("torchao")),
    (".weight_scale_inv", Sign::Of("FP8 in blocks")),
    (".weight_scale_2", Sign::Of("NVFP4 (ModelOpt)")),
    (".weight_scale", Sign::Scaled),
    (".pre_quant_scale", Sign::Of("ModelOpt")),
    (".input_scale", Sign::Of("FP8 or NVFP4 (ModelOpt)")),
    (".activation_scale", Sign::Of("FP8")),
    (".qscale_weight", Sign::Of("FP8 (Mistral)")),
    (".qscale_act", Sign::Of("FP8 (Mistral)")),
    (".k_scale", Sign::Of("FP8 (of keys and values)")),
    (".v_scale", Sign::Of("FP8 (of keys and values)")),
    ("._data", Sign::Of("quanto")),
    ("._scale", Sign::Of("quanto")),
    ("._shift", Sign::Of("quanto")),
    (".W_q", Sign::Of("HQQ")),
    (".trellis", Sign::Of("EXL3")),
    (".q_weight", Sign::Of("EXL2")),
    (".codebooks", Sign::Of("AQLM")),
    ("_blocks", Sign::Beside("_scales", "MXFP4")),
    ("_scales", Sign::Beside("_blocks", "MXFP4")),
    (".scales", Sign::Packed),
    (".biases", Sign::Packed),
];

/// Parts of names that tensors of adapters have, and no other.
const OF_ADAPTERS: [&str; 12] = [
    ".lora_A",
    ".lora_B",
    ".lora_embedding_",
    ".lora_magnitude_vector",
    ".base_layer.",
    ".lora_up.",
    ".lora_down.",
    ".hada_w1",
    ".lokr_w",
    ".ia3_l",
    ".oft_",
    ".vera_lambda_",
];

/// What is read, for messages.
const READ: &str = "bitsandbytes, GPTQ, AWQ, compressed-tensors, FP8, MXFP4, NVFP4, ModelOpt, BitNet, torchao, HQQ and quanto";

/// Refuses a model some of whose tensors are quantized in a way that is not read, or are those of an adapter. `is_taken` is what
/// the user has a name for, or leaves out, or belongs to a weight; `any` is whether there is such a weight.
pub(super) fn refuse_others(
    checkpoint: &Checkpoint,
    description: &Description,
    is_taken: impl Fn(&str) -> bool,
    any: bool,
) -> Result<()> {
    let tensors = || checkpoint.tensors().filter(|tensor| !is_taken(tensor.info().name()));
    adapter(tensors(), description)?;
    foreign_names(tensors())?;
    let sign = tensors().find_map(|tensor| Some((tensor.info().name(), of_tensor(checkpoint, &tensor)?)));
    let sign = sign.or_else(|| of_metadata(checkpoint).filter(|_| !any));
    let is_read = Config::of(description).may_be_read();
    let (file, method) = match of_files(description) {
        Some((node, method)) => (Some(node), method),
        None => match &sign {
            Some((_, method)) => (None, method.clone()),
            None => return Ok(()),
        },
    };
    let message = match &sign {
        // Of what is read, something is missing.
        Some((name, of_sign)) if is_read && any => format!(
            "tensor '{}' looks like a part of a weight that is quantized by {}, and the part with the codes is missing or in a form \
             that is not read. Read are {READ}",
            Shown(name),
            Shown(of_sign)
        ),
        None if any => return Ok(()),
        sign => {
            let first = match sign {
                Some((name, _)) => format!("; tensor '{}' is the first of it", Shown(name)),
                None => "; no tensor looks like it, and where the weights are floating point, remove the key or the file".to_owned(),
            };
            format!(
                "the weights are quantized by {}, which is not read in this form{first}. Read are {READ}. Dequantize the model and save \
                 it in BF16 (model.dequantize() and save_pretrained() of the transformers library), or take the model that was quantized",
                Shown(&method)
            )
        }
    };
    Err(match file {
        Some(node) => node.about(&message),
        None => Error::Safetensors { file: None, offset: None, message },
    })
}

/// What a tensor's name and type, and those of the tensors beside it, say of a quantization.
fn of_tensor(checkpoint: &Checkpoint, tensor: &CheckpointTensor<'_>) -> Option<String> {
    let name = tensor.info().name();
    let (start, sign) = ENDS.iter().find_map(|(end, sign)| Some((name.strip_suffix(end)?, *sign)))?;
    let other = |end: &str| checkpoint.tensor(&format!("{start}{end}")).map(|other| other.info());
    let dtype = |end: &str| other(end).map(|other| other.dtype());
    let method = match sign {
        Sign::Of(method) => method,
        Sign::Beside(end, method) => other(end).map(|_| method)?,
        Sign::Packed => match (other(".qweight"), other(".scales")) {
            // AWQ packs outputs, so that a row of scales is eight times as long; GPTQ packs inputs.
            (Some(weight), Some(scales)) => match (weight.shape().last(), scales.shape().last()) {
                (Some(packed), Some(scales)) if other(".g_idx").is_none() && packed < scales => "AWQ",
                _ => "GPTQ",
            },
            (Some(_), None) => "GPTQ or AWQ",
            (None, _) if name.ends_with(".qzeros") => "GPTQ or AWQ",
            (None, _) if dtype(".weight") == Some(Dtype::U32) => "MLX",
            (None, _) => return None,
        },
        Sign::Compressed => match (dtype(".weight_packed"), dtype(".weight_scale")) {
            (Some(Dtype::I32), _) => "compressed-tensors, pack-quantized",
            (Some(_), Some(Dtype::U8)) => "compressed-tensors, mxfp4-pack-quantized",
            (Some(_), _) => "compressed-tensors, nvfp4-pack-quantized",
            (None, _) => "compressed-tensors",
        },
        Sign::Scaled => match (dtype(".weight_packed"), dtype(".weight"), other(".weight_scale_2")) {
            (Some(Dtype::I32), ..) => "compressed-tensors, pack-quantized",
            (Some(_), ..) => match tensor.info().dtype() {
                Dtype::U8 => "compressed-tensors, mxfp4-pack-quantized",
                _ => "compressed-tensors, nvfp4-pack-quantized",
            },
            (.., Some(_)) => "NVFP4 (ModelOpt)",
            (None, Some(Dtype::I8), None) => "compressed-tensors, int-quantized",
            (None, Some(Dtype::F8_E4M3 | Dtype::F8_E5M2), None) => match tensor.info().dtype() {
                Dtype::U8 => "compressed-tensors, mxfp8-quantized",
                _ => "FP8 (compressed-tensors, float-quantized, or ModelOpt)",
            },
            (None, Some(Dtype::U8), None) => "BitNet or ModelOpt",
            _ => "another scheme (compressed-tensors, FP8 or ModelOpt)",
        },
    };
    Some(method.to_owned())
}

/// What torchao says of a tensor in a file's metadata.
fn of_metadata(checkpoint: &Checkpoint) -> Option<(&str, String)> {
    checkpoint.metadata().into_iter().find_map(|(name, text)| {
        let described: serde_json::Value =
            text.contains("\"_type\"").then(|| serde_json::from_str(text).ok())??;
        let kind = described.get("_type")?.as_str().filter(|kind| *kind != "Tensor")?;
        Some((name, format!("torchao, {kind}")))
    })
}

/// Refuses what is no model but what another becomes by it.
fn adapter<'a>(
    mut tensors: impl Iterator<Item = CheckpointTensor<'a>>,
    description: &Description,
) -> Result<()> {
    let is_of_one = |name: &str| {
        name.starts_with("base_model.model.")
            || name.starts_with("lora_unet_")
            || name.starts_with("lora_te")
            || name == "prompt_embeddings"
            || OF_ADAPTERS.iter().any(|part| name.contains(part))
    };
    let found = tensors.find(|tensor| is_of_one(tensor.info().name()));
    let alone = description.adapter.as_ref().filter(|_| description.config.is_none());
    let peft = description.adapter.as_ref().map(|adapter| adapter.root());
    let kind = peft.as_ref().and_then(|peft| peft.get("peft_type")?.value.as_str());
    let kind = match (kind, &found) {
        (Some(kind), _) => format!("a PEFT adapter of the kind {}", Shown(kind)),
        (None, Some(tensor)) if tensor.info().name().to_ascii_lowercase().contains("lora") => {
            "a LoRA adapter".to_owned()
        }
        _ => "an adapter".to_owned(),
    };
    let what = match (&found, alone) {
        (Some(tensor), _) => format!("tensor '{}' is of {kind}", Shown(tensor.info().name())),
        (None, Some(_)) => format!("there is {kind}, as adapter_config.json says"),
        (None, None) => return Ok(()),
    };
    let message = format!(
        "{what}, which is not a model: merge it into its model first (merge_and_unload() of PEFT), and save that"
    );
    Err(Error::Safetensors { file: None, offset: None, message })
}

/// Refuses the files that Mistral and Meta publish beside those of the transformers library: other names, other rows.
fn foreign_names<'a>(mut tensors: impl Iterator<Item = CheckpointTensor<'a>>) -> Result<()> {
    let is_foreign = |name: &str| {
        let layer = name.strip_prefix("layers.").and_then(|rest| rest.split_once('.'));
        name == "tok_embeddings.weight" || layer.is_some_and(|(_, part)| part.starts_with("attention.wq."))
    };
    match tensors.find(|tensor| is_foreign(tensor.info().name())) {
        Some(tensor) => Err(Error::Safetensors {
            file: None,
            offset: None,
            message: format!(
                "tensor '{}' has the name of Mistral's and Meta's own format (consolidated.safetensors), which is not read: take the \
                 files of the transformers library, model.safetensors",
                Shown(tensor.info().name())
            ),
        }),
        None => Ok(()),
    }
}
