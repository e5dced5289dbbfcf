//! Weights that another program quantized: which tensors they are made of, and what their values are.
//!
//! A weight is told by the names, types and shapes of its parts, and `quantization_config` must agree with them. So it does not
//! matter which of several groups of a configuration a module belongs to, and a part that is missing is missed. [`Weight`]s take
//! the place of the parts in the rest of the import.

mod bitsandbytes;
mod compressed;
mod config;
mod fp4;
mod gather;
mod gptq;
mod grid;
mod group;
mod hqq;
mod kept;
mod matrix;
mod parts;
mod quanto;
mod refused;
mod scales;
mod stated;
mod torchao;

use std::collections::HashMap;

use self::config::Config;
pub(super) use self::kept::Kept;
use self::matrix::Matrix;
use self::parts::{Parts, count};
use super::description::Description;
use crate::error::{Error, Result, Shown};
use crate::safetensors::{Checkpoint, CheckpointTensor, Dtype};

/// A tensor of the model as it was before it was quantized.
pub(super) struct Weight<'a> {
    pub(super) name: String,
    /// Outermost extent first.
    pub(super) shape: Vec<u64>,
    /// That of the values: of quantized ones, the type that the model had or is used in.
    pub(super) dtype: Dtype,
    /// Itself, or the part with the codes.
    pub(super) tensor: CheckpointTensor<'a>,
    pub(super) quantized: Option<Quantized<'a>>,
}

pub(super) struct Quantized<'a> {
    /// The scheme, as messages call it.
    pub(super) method: String,
    pub(in crate::model::hf) matrix: Matrix<'a>,
    pub(super) codes: Codes,
}

/// What the codes of a matrix are, as far as a format of GGUF may have the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Codes {
    /// Of so many bits, each an integer after this was subtracted from it (256 is subtracted where a byte is in two's complement).
    Integers {
        bits: u32,
        offset: u32,
    },
    /// E2M1 with a power of two for each 32.
    Mxfp4,
    /// E2M1 with an E4M3 for each 16, and a factor for all.
    Nvfp4,
    /// −1, 0 and 1.
    Ternary,
    Others,
}

/// What a scheme's reader gives.
struct Found<'a> {
    /// What the weight is called.
    name: String,
    shape: Vec<u64>,
    dtype: Dtype,
    matrix: Matrix<'a>,
    codes: Codes,
}

/// Columns that are computed at once, at least: a row.
const MAX_COLUMNS: u64 = 1 << 24;

/// Ends of names of what concerns activations, caches or kernels, and no weight.
const BESIDE: &[&str] = &[
    ".input_scale",
    ".output_scale",
    ".activation_scale",
    ".qscale_act",
    ".input_global_scale",
    ".output_global_scale",
    ".input_zero_point",
    ".output_zero_point",
    ".k_scale",
    ".v_scale",
    ".q_scale",
    ".prob_scale",
    ".weight_format",
];

impl<'a> Weight<'a> {
    pub(super) fn plain(tensor: CheckpointTensor<'a>) -> Self {
        let info = tensor.info();
        Weight {
            name: info.name().to_owned(),
            shape: info.shape().to_vec(),
            dtype: info.dtype(),
            tensor,
            quantized: None,
        }
    }
}

/// Whether the files that describe a model speak of a quantization.
pub(super) fn is_quantized(description: &Description) -> bool {
    stated::of_files(description).is_some()
}

/// The tensors of a model, those that are quantized as what they were. `is_left_out` is what the user leaves out, and `is_taken`
/// what there is a name for.
pub(super) fn weights<'a>(
    checkpoint: &'a Checkpoint,
    description: &'a Description,
    is_left_out: impl Fn(&str) -> bool,
    is_taken: impl Fn(&str) -> bool,
) -> Result<(Vec<Weight<'a>>, Vec<&'a str>)> {
    let config = Config::of(description);
    let named = || checkpoint.tensors().filter(|tensor| !is_left_out(tensor.info().name()));
    let parts = Parts::new(named());
    let metadata = checkpoint.metadata();
    let mut found: HashMap<&str, Weight<'a>> = HashMap::new();
    if config.may_be_read() {
        for tensor in named() {
            let Some((method, mut of)) = find(&parts, &config, &metadata, &tensor)? else { continue };
            parts.take(&tensor);
            check(&of.name, &method, &of.shape, &of.matrix)?;
            smooth(&parts, &method, &mut of)?;
            let Found { name, shape, dtype, matrix, codes } = of;
            let quantized = Some(Quantized { method, matrix, codes });
            found.insert(tensor.info().name(), Weight { name, shape, dtype, tensor, quantized });
        }
    }
    let (mut weights, mut beside) = (Vec::new(), Vec::new());
    let any = !found.is_empty();
    for tensor in checkpoint.tensors() {
        let name = tensor.info().name();
        match found.remove(name) {
            Some(weight) => weights.push(weight),
            None if parts.is_taken(name) => {}
            None if any && BESIDE.iter().any(|end| name.ends_with(end)) => beside.push(name),
            None => weights.push(Weight::plain(tensor)),
        }
    }
    let is_read = |name: &str| is_taken(name) || parts.is_taken(name) || beside.contains(&name);
    refused::refuse_others(checkpoint, description, is_read, any)?;
    for weight in &weights {
        let twice = weight.quantized.is_some()
            && checkpoint.tensor(&weight.name).is_some_and(|other| {
                other.info().name() != weight.tensor.info().name() && !is_left_out(&weight.name)
            });
        if twice {
            let message = format!(
                "tensor '{}' is there beside '{}', which is the same weight quantized",
                Shown(&weight.name),
                Shown(weight.tensor.info().name())
            );
            return Err(Error::Safetensors { file: None, offset: None, message });
        }
    }
    Ok((weights, beside))
}

/// The weight whose codes a tensor holds, if it holds any, and the method.
fn find<'a>(
    parts: &Parts<'a>,
    config: &Config<'_>,
    metadata: &std::collections::BTreeMap<&str, &str>,
    tensor: &CheckpointTensor<'a>,
) -> Result<Option<(String, Found<'a>)>> {
    let (name, dtype) = (tensor.info().name(), tensor.info().dtype());
    let has = |name: &str| parts.get(name).is_some();
    let with = |end: &str| has(&format!("{name}{end}"));
    let found = |method: &str, found: Result<Found<'a>>| Ok(Some((method.to_owned(), found?)));
    if let Some(stem) = name.strip_suffix(".qweight") {
        let method = gptq::method(parts, config, stem, tensor);
        let part = parts.of(stem, method);
        return found(method, gptq::read(part, config, tensor, method));
    }
    if let Some(stem) = name.strip_suffix("_packed") {
        let method = compressed::method_of_packed(parts, stem, tensor);
        return found(method, compressed::packed(parts.of(stem, method), config, tensor));
    }
    if let Some(stem) = name.strip_suffix("._data._data") {
        return found("quanto", quanto::packed(parts.of(stem, "quanto"), config, tensor));
    }
    if let Some(stem) = name.strip_suffix("._data") {
        return found("quanto", quanto::bytes(parts.of(stem, "quanto"), config, tensor));
    }
    if let Some(module) = name.strip_suffix("._weight_qdata") {
        let about = metadata.get(format!("{module}.weight").as_str()).copied();
        return found("torchao", torchao::read(parts.of(module, "torchao"), config, tensor, about));
    }
    if let Some(stem) = name.strip_suffix(".W_q") {
        return found("HQQ", hqq::read(parts.of(stem, "HQQ"), config, tensor));
    }
    if let Some(stem) =
        name.strip_suffix("_blocks").filter(|stem| dtype == Dtype::U8 && has(&format!("{stem}_scales")))
    {
        return found("MXFP4", fp4::gpt_oss(parts.of(stem, "MXFP4"), config, tensor));
    }
    if with(".absmax") || with(".quant_state.bitsandbytes__nf4") || with(".quant_state.bitsandbytes__fp4") {
        let method = "bitsandbytes 4 bit";
        return found(method, bitsandbytes::four_bits(parts.of(name, method), tensor));
    }
    let module = name.strip_suffix(".weight");
    let beside = |end: &str| module.is_some_and(|module| has(&format!("{module}{end}")));
    match dtype {
        Dtype::I8 if beside(".SCB") || module.is_some() && config.is_method("bitsandbytes") => {
            let method = "bitsandbytes 8 bit";
            found(method, bitsandbytes::eight_bits(parts.of(module.unwrap_or(name), method), config, tensor))
        }
        Dtype::I8 if with("_scale") || module.is_some() && config.is_method("compressed") => {
            let method = "compressed-tensors, int-quantized";
            found(method, compressed::integers(parts.of(name, method), config, tensor))
        }
        // Integers, with scales of scales.
        Dtype::U8 if with("_scale_2") && config.is_method("modelopt, w4a8_awq") => Err(parts
            .of(name, "ModelOpt, W4A8_AWQ")
            .wrong("this variant is not read; W4A16_AWQ and NVFP4 are")),
        Dtype::U8 if with("_scale_2") => {
            let method = "ModelOpt, NVFP4";
            found(method, fp4::nvfp4(parts.of(name, method), config, tensor))
        }
        Dtype::U8 if with("_scale") => compressed::bytes(parts, config, tensor),
        Dtype::F8_E4M3 | Dtype::F8_E5M2
            if with("_scale")
                || with("_scale_inv")
                || beside(".qscale_weight")
                || config.has_fp8() && module.is_some() =>
        {
            let method = if with("_scale_inv") { "FP8 in blocks" } else { "FP8" };
            found(method, scales::floats(parts.of(name, method), config, tensor, module))
        }
        _ => Ok(None),
    }
}

/// Multiplies columns by what ModelOpt multiplies the inputs of a module by, whatever its weight is quantized to.
fn smooth(parts: &Parts<'_>, method: &str, of: &mut Found<'_>) -> Result<()> {
    let Some(module) = of.name.strip_suffix(".weight") else { return Ok(()) };
    let part = parts.of(module, method);
    let Some(factors) = part.get(".pre_quant_scale") else { return Ok(()) };
    let cols = of.matrix.codes.cols;
    let mut by_column = vec![0.0; usize::try_from(cols).unwrap_or(0)];
    let reading = |error| Error::io("read the scales of columns", error);
    part.plain(&factors, 1, cols)?.values(0, &mut by_column).map_err(reading)?;
    of.matrix.by_column = Some(by_column);
    of.codes = Codes::Others;
    Ok(())
}

/// What holds of every scheme.
fn check(name: &str, method: &str, shape: &[u64], matrix: &Matrix<'_>) -> Result<()> {
    let (rows, cols) = (matrix.codes.rows, matrix.codes.cols);
    let problem = match () {
        () if rows == 0 || cols == 0 => "has no values".to_owned(),
        () if cols > MAX_COLUMNS => format!("has rows of {cols} codes, and may have {MAX_COLUMNS}"),
        () if rows.checked_mul(cols).is_none_or(|codes| count(shape) != Some(codes)) => {
            format!("has {rows} · {cols} codes, which its shape does not have")
        }
        () => return Ok(()),
    };
    let message = format!("the weight '{}', quantized by {}, {problem}", Shown(name), Shown(method));
    Err(Error::Safetensors { file: None, offset: None, message })
}
