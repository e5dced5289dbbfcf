//! GPTQ and AWQ: codes in 32-bit words, rows and columns exchanged.

use super::config::Config;
use super::grid::{Layout, Number};
use super::matrix::{Columns, Factors, Groups, Matrix};
use super::parts::{Parts, Weighed};
use super::{Codes, Found};
use crate::codec::affine::Packing;
use crate::error::{Result, Shown};
use crate::safetensors::{CheckpointTensor, Dtype};

const FLOATS: &[Dtype] = &[Dtype::F16, Dtype::BF16, Dtype::F32];

/// Which of both a weight is: AWQ packs outputs, so that a row of scales is eight times as long; GPTQ packs inputs.
pub(super) fn method(
    parts: &Parts<'_>,
    config: &Config<'_>,
    stem: &str,
    tensor: &CheckpointTensor<'_>,
) -> &'static str {
    let scales = parts.get(&format!("{stem}.scales"));
    let across = scales.as_ref().and_then(|scales| scales.info().shape().last().copied());
    let packed = tensor.info().shape().last().copied();
    match across.zip(packed) {
        Some((across, packed)) if packed < across && parts.get(&format!("{stem}.g_idx")).is_none() => "AWQ",
        None if config.is_method("awq") => "AWQ",
        _ => "GPTQ",
    }
}

pub(super) fn read<'a>(
    part: Weighed<'_, 'a>,
    config: &Config<'_>,
    tensor: &CheckpointTensor<'a>,
    method: &str,
) -> Result<Found<'a>> {
    let order = config.text("packing_format");
    if let Some(order) = order.filter(|order| !order.contains("auto_gptq") && !order.contains("auto_awq")) {
        return Err(part.wrong(&format!(
            "its packing_format is '{}', and auto_round:auto_gptq and auto_round:auto_awq are read",
            Shown(order)
        )));
    }
    let found = if method == "AWQ" { awq(&part, config, tensor)? } else { gptq(&part, config, tensor)? };
    Ok(found)
}

/// Checks bits, groups and columns; gives the width of a group.
fn width(
    part: &Weighed<'_, '_>,
    config: &Config<'_>,
    scales: &CheckpointTensor<'_>,
    cols: u64,
    groups: u64,
) -> Result<u64> {
    let wrong = |wanted: String| Err(part.wrong_shape(scales, &wanted));
    if groups == 0 || groups > cols {
        return wrong(format!("of 1 to {cols} rows, one for each group of columns"));
    }
    let is_own = config.get("dynamic").is_some() || config.get("extra_config").is_some();
    match config.integer("group_size").filter(|_| !is_own) {
        Some(-1 | 0) if groups == 1 => Ok(cols),
        Some(width) if width > 0 && cols.div_ceil(width as u64) == groups => Ok(width as u64),
        Some(width) => wrong(format!("of the rows that {cols} columns in groups of {width} have")),
        None if cols.is_multiple_of(groups) => Ok(cols / groups),
        None => {
            wrong(format!("of a number of rows that divides {cols} columns, where no group_size is given"))
        }
    }
}

fn dtype_of(scales: &CheckpointTensor<'_>, config: &Config<'_>) -> Dtype {
    match scales.info().dtype() {
        Dtype::F32 => config.dtype,
        dtype => dtype,
    }
}

fn gptq<'a>(part: &Weighed<'_, 'a>, config: &Config<'_>, tensor: &CheckpointTensor<'a>) -> Result<Found<'a>> {
    let (words, rows) = part.matrix(tensor, &[Dtype::I32])?;
    let scales = part.require(".scales")?;
    let (groups, _) = part.matrix(&scales, FLOATS)?;
    part.expect_shape(&scales, &[groups, rows])?;
    let zeros = part.get(".qzeros");
    let is_own = config.get("dynamic").is_some() || config.get("extra_config").is_some();
    let stated = config.integer("bits").and_then(|bits| u32::try_from(bits).ok());
    let bits = match (&zeros, stated) {
        // A row of zero points says it of this tensor, whatever overrides there are.
        (Some(zeros), stated) => {
            let (_, packed) = part.matrix(zeros, &[Dtype::I32])?;
            let fits =
                |bits: u32| rows.checked_mul(bits.into()).is_some_and(|bits| bits.div_ceil(32) == packed);
            let bits = stated.filter(|&bits| fits(bits)).or_else(|| {
                [4, 8, 2, 3].into_iter().find(|&bits| fits(bits) && (is_own || stated.is_none()))
            });
            part.expect_shape(zeros, &[groups, packed])?;
            bits.ok_or_else(|| {
                part.wrong_shape(
                    zeros,
                    &format!("{rows} zero points of the bits that the configuration says"),
                )
            })?
        }
        (None, Some(bits)) => bits,
        (None, None) => {
            return Err(
                part.wrong("tensor '.qzeros' is missing, and no configuration says how many bits a code has")
            );
        }
    };
    if ![2, 3, 4, 8].contains(&bits) {
        return Err(part.wrong(&format!("a code has {bits} bits, and 2, 3, 4 and 8 are read")));
    }
    if let Some(format) = config
        .text("checkpoint_format")
        .or(config.text("format"))
        .filter(|format| !["gptq", "gptq_v2"].contains(format))
    {
        return Err(part
            .wrong(&format!("its checkpoint_format is '{}', and gptq and gptq_v2 are read", Shown(format))));
    }
    let is_v2 = config.text("checkpoint_format").or(config.text("format")) == Some("gptq_v2");
    let cols = words.checked_mul(32).map(|all| all / u64::from(bits));
    let Some(cols) = cols.filter(|cols| (cols * u64::from(bits)).div_ceil(32) == words) else {
        return Err(part.wrong_shape(tensor, &format!("whole words of codes of {bits} bits")));
    };
    let columns = match part.get(".g_idx") {
        // An index that is empty stands for none.
        Some(index) if index.info().byte_len() > 0 => Columns::Index(part.group_index(&index, cols, groups)?),
        _ if config.flag("desc_act") == Some(true) && groups > 1 => {
            return Err(part
                .require(".g_idx")
                .err()
                .unwrap_or_else(|| part.wrong("'g_idx' is empty, and desc_act is true")));
        }
        _ => Columns::Width(width(part, config, &scales, cols, groups)?),
    };
    let offset = if zeros.is_some() { 0 } else { 1 << (bits - 1) };
    let number = Number::Integers(offset as f32);
    let codes = part.codes(tensor, [rows, cols], (bits, Packing::LowFirst), Layout::WordsDown, number);
    let mut matrix = Matrix::new(codes, Groups::by_row(rows, columns));
    let element = scales.info().dtype().bits() / 8;
    let layout = Layout::Columns { width: rows * element };
    matrix.scales = Some(Factors::Stored(part.numbers(&scales, [rows, groups], layout)?));
    if let Some(zeros) = zeros {
        let layout = Layout::Columns { width: zeros.info().shape()[1] * 4 };
        let grid =
            part.codes(&zeros, [rows, groups], (bits, Packing::LowFirst), layout, Number::Integers(0.0));
        matrix.zeros = Some(Factors::Stored(grid));
        matrix.zero_offset = if is_v2 { 0.0 } else { 1.0 };
    }
    Ok(Found {
        name: format!("{}.weight", part.stem),
        shape: vec![rows, cols],
        dtype: dtype_of(&scales, config),
        matrix,
        codes: Codes::Integers { bits, offset },
    })
}

fn awq<'a>(part: &Weighed<'_, 'a>, config: &Config<'_>, tensor: &CheckpointTensor<'a>) -> Result<Found<'a>> {
    if let Some(version) = config.text("version").filter(|version| !version.eq_ignore_ascii_case("gemm")) {
        return Err(part.wrong(&format!("its version is '{}', and gemm is read", Shown(version))));
    }
    if let Some(bits) = config.integer("bits").or(config.integer("w_bit")).filter(|&bits| bits != 4) {
        return Err(part.wrong(&format!("a code has {bits} bits, and 4 are read")));
    }
    let (cols, packed) = part.matrix(tensor, &[Dtype::I32])?;
    let scales = part.require(".scales")?;
    let (groups, rows) = part.matrix(&scales, FLOATS)?;
    if packed.checked_mul(8) != Some(rows) {
        return Err(part.wrong_shape(
            tensor,
            &format!("{} words in a row, eight codes in each, as there are scales in a row", rows / 8),
        ));
    }
    let width = width(part, config, &scales, cols, groups)?;
    let zeros = match config.flag("zero_point") {
        Some(true) => Some(part.require(".qzeros")?),
        _ => part.get(".qzeros"),
    };
    let offset = if zeros.is_some() { 0 } else { 8 };
    let layout = Layout::Columns { width: packed * 4 };
    let codes = part.codes(tensor, [rows, cols], (4, Packing::Awq), layout, Number::Integers(offset as f32));
    let mut matrix = Matrix::new(codes, Groups::by_row(rows, Columns::Width(width)));
    let element = scales.info().dtype().bits() / 8;
    let of_scales = Layout::Columns { width: rows * element };
    matrix.scales = Some(Factors::Stored(part.numbers(&scales, [rows, groups], of_scales)?));
    if let Some(zeros) = zeros {
        part.matrix(&zeros, &[Dtype::I32])?;
        part.expect_shape(&zeros, &[groups, packed])?;
        let grid = part.codes(&zeros, [rows, groups], (4, Packing::Awq), layout, Number::Integers(0.0));
        matrix.zeros = Some(Factors::Stored(grid));
    }
    Ok(Found {
        name: format!("{}.weight", part.stem),
        shape: vec![rows, cols],
        dtype: dtype_of(&scales, config),
        matrix,
        codes: Codes::Integers { bits: 4, offset },
    })
}
