//! compressed-tensors, and bytes of ModelOpt and BitNet that look like it.

use super::config::Config;
use super::grid::{Layout, Number};
use super::group::Group;
use super::matrix::{Columns, Factors, Groups, Last, Matrix};
use super::parts::{Parts, Weighed};
use super::scales::{extents, scaled};
use super::{Codes, Found, fp4};
use crate::codec::affine::Packing;
use crate::error::{Result, Shown};
use crate::safetensors::{CheckpointTensor, Dtype};

pub(super) fn method_of_packed(parts: &Parts<'_>, stem: &str, tensor: &CheckpointTensor<'_>) -> &'static str {
    match tensor.info().dtype() {
        Dtype::U8 if parts.get(&format!("{stem}_global_scale")).is_some() => {
            "compressed-tensors, nvfp4-pack-quantized"
        }
        Dtype::U8 => match parts.get(&format!("{stem}_scale")).map(|scale| scale.info().dtype()) {
            Some(Dtype::F8_E4M3) => "compressed-tensors, nvfp4-pack-quantized",
            _ => "compressed-tensors, mxfp4-pack-quantized",
        },
        _ => "compressed-tensors, pack-quantized",
    }
}

/// What no format of compressed-tensors that is read has.
fn check(part: &Weighed<'_, '_>, config: &Config<'_>) -> Result<()> {
    if !config.is_method("compressed") {
        return Ok(());
    }
    let sparse = config.get("sparsity_config").and_then(|config| config.get("format")?.value.as_str());
    if let Some(format) = sparse.filter(|format| *format != "dense") {
        return Err(part.wrong(&format!("it is sparse ('{}'), which is not read", Shown(format))));
    }
    let transforms = config.get("transform_config").and_then(|config| config.value.as_object());
    if transforms.is_some_and(|transforms| !transforms.is_empty()) {
        return Err(part.wrong("it has transforms (transform_config), which are not read"));
    }
    const FORMATS: &[&str] = &[
        "pack-quantized",
        "int-quantized",
        "naive-quantized",
        "float-quantized",
        "nvfp4-pack-quantized",
        "mxfp4-pack-quantized",
        "mxfp8-quantized",
        "mixed-precision",
        "dense",
    ];
    match config.text("format").filter(|format| !FORMATS.contains(format)) {
        Some(format) => Err(part.wrong(&format!(
            "its format is '{}', and {} are read",
            Shown(format),
            FORMATS[..7].join(", ")
        ))),
        None => Ok(()),
    }
}

pub(super) fn packed<'a>(
    part: Weighed<'_, 'a>,
    config: &Config<'_>,
    tensor: &CheckpointTensor<'a>,
) -> Result<Found<'a>> {
    check(&part, config)?;
    match (tensor.info().dtype(), part.method.contains("nvfp4")) {
        (Dtype::I32, _) => pack_quantized(&part, config, tensor),
        (Dtype::U8, true) => {
            part.require("_global_scale")?;
            fp4::nvfp4(part, config, tensor)
        }
        (Dtype::U8, false) => fp4::mxfp4(part, config, tensor),
        _ => Err(part.wrong_shape(tensor, "of I32 or U8")),
    }
}

/// The configuration's group that a weight can be of: with these bits, and as wide groups.
fn group_of(groups: &[Group], bits: u32, cols: u64, across: u64) -> Option<Group> {
    let fits = |group: &&Group| {
        let width = group.width.filter(|&width| width > 0).unwrap_or(cols);
        !group.is_float && group.bits == Some(bits.into()) && cols.div_ceil(width.max(1)) == across
    };
    groups.iter().find(fits).copied()
}

fn pack_quantized<'a>(
    part: &Weighed<'_, 'a>,
    config: &Config<'_>,
    tensor: &CheckpointTensor<'a>,
) -> Result<Found<'a>> {
    let (packed_rows, words) = part.matrix(tensor, &[Dtype::I32])?;
    let of_shape = part.require("_shape")?;
    let shape = part.integers(&of_shape)?;
    let (rows, cols) = match shape.as_slice() {
        &[rows, cols] if rows > 0 && cols > 0 && rows as u64 == packed_rows => (rows as u64, cols as u64),
        _ => {
            return Err(part.wrong_shape(&of_shape, &format!("two extents, the first of them {packed_rows}")));
        }
    };
    let scale = part.require("_scale")?;
    let (scale_rows, across) = part.matrix(&scale, &[Dtype::BF16, Dtype::F16, Dtype::F32])?;
    if scale_rows != rows && (scale_rows, across) != (1, 1) {
        return Err(part.wrong_shape(&scale, &format!("of {rows} rows")));
    }
    // The width of a row says how many bits a code has, where the configuration does not.
    let groups = config.groups(part.module());
    let stream = |bits: u32| cols.checked_mul(bits.into()).is_some_and(|all| all.div_ceil(32) == words);
    let whole = |bits: u32| cols.div_ceil(u64::from(32 / bits)) == words;
    let fits = |bits: u32| stream(bits) || whole(bits);
    let known = (2..=8).find(|&bits| fits(bits) && group_of(&groups, bits, cols, across).is_some());
    let bits = known.or_else(|| (2..=8).rev().find(|&bits| groups.is_empty() && fits(bits)));
    let Some(bits) = bits else {
        return Err(part.wrong_shape(
            tensor,
            &format!(
                "as many words in a row as {cols} codes take in a group of the configuration, of 2 to 8 bits"
            ),
        ));
    };
    let group = group_of(&groups, bits, cols, across);
    let packing = if stream(bits) { Packing::LowFirst } else { Packing::Words };
    let layout = Layout::Padded { row_bytes: words * 4 };
    let offset = 1 << (bits - 1);
    let codes = part.codes(tensor, [rows, cols], (bits, packing), layout, Number::Integers(offset as f32));
    let mut matrix = Matrix::new(codes, Groups::Flat(1));
    let width = match group.and_then(|group| group.width).filter(|&width| width > 0) {
        Some(width) => width,
        None if cols.is_multiple_of(across.max(1)) => cols / across.max(1),
        None => return Err(part.wrong_shape(&scale, "of a number of groups that divides the columns")),
    };
    let index = part.get("_g_idx").filter(|index| index.info().byte_len() > 0);
    let index = match index {
        // Minus one, in each column, says that there is no order.
        Some(index) if part.integers(&index)?.iter().any(|&group| group != -1) => Some(index),
        _ => None,
    };
    let columns = match index {
        Some(index) => Columns::Index(part.group_index(&index, cols, across)?),
        None if group.is_some_and(|group| group.by_group && across > 1) && part.get("_g_idx").is_none() => {
            return Err(part
                .require("_g_idx")
                .err()
                .unwrap_or_else(|| part.wrong("it has no order of columns")));
        }
        None => Columns::Width(width),
    };
    if scale_rows == rows {
        matrix.scales = Some(Factors::Stored(part.plain(&scale, rows, across)?));
        matrix.groups = Groups::by_row(rows, columns);
    } else {
        matrix.last = Some(Last::Multiply(part.scalar(&scale)?));
    }
    let zeros = match group.is_some_and(|group| !group.symmetric) {
        true => Some(part.require("_zero_point")?),
        false => part.get("_zero_point"),
    };
    if let Some(zeros) = zeros {
        let number = Number::Integers(offset as f32);
        let grid = match zeros.info().dtype() {
            Dtype::I8 => part.plain(&zeros, rows, across)?,
            Dtype::I32 if packing == Packing::LowFirst => {
                part.expect_shape(&zeros, &[(rows * u64::from(bits)).div_ceil(32), across])?;
                part.codes(&zeros, [rows, across], (bits, Packing::LowFirst), Layout::StreamDown, number)
            }
            _ => return Err(part.wrong_shape(&zeros, "of I32, packed along the first extent, or of I8")),
        };
        if matrix.scales.is_none() {
            return Err(part.wrong_shape(&scale, "a scale for each zero point"));
        }
        matrix.zeros = Some(Factors::Stored(grid));
    }
    let dtype = match scale.info().dtype() {
        Dtype::F32 => config.dtype,
        dtype => dtype,
    };
    Ok(Found {
        name: part.stem.to_owned(),
        shape: vec![rows, cols],
        dtype,
        matrix,
        codes: Codes::Integers { bits, offset },
    })
}

/// `int-quantized` and `naive-quantized`: a byte for each value.
pub(super) fn integers<'a>(
    part: Weighed<'_, 'a>,
    config: &Config<'_>,
    tensor: &CheckpointTensor<'a>,
) -> Result<Found<'a>> {
    check(&part, config)?;
    let shape = tensor.info().shape();
    let Some([rows, cols]) = extents(shape).filter(|_| shape.len() >= 2) else {
        return Err(part.wrong_shape(tensor, "a matrix"));
    };
    let scale = part.require("_scale")?;
    let codes = part.codes(
        tensor,
        [rows, cols],
        (8, Packing::LowFirst),
        Layout::Rows { stride: cols },
        Number::signed_bytes(),
    );
    let mut matrix = Matrix::new(codes, Groups::Flat(1));
    let groups = config.groups(part.module());
    let widths: Vec<u64> =
        groups.iter().filter(|group| !group.is_float).filter_map(|group| group.width).collect();
    scaled(&part, &mut matrix, shape, &scale, &widths, config.block(part.module()))?;
    let zeros = match !groups.is_empty() && groups.iter().all(|group| !group.symmetric) {
        true => Some(part.require("_zero_point")?),
        false => part.get("_zero_point"),
    };
    if let Some(zeros) = zeros {
        match &matrix.scales {
            Some(Factors::Stored(scales)) => {
                matrix.zeros = Some(Factors::Stored(part.plain(&zeros, scales.rows, scales.cols)?));
            }
            // One for all goes into what codes stand for.
            _ => {
                let zero = part.scalar(&zeros)?;
                matrix.codes.number = Number::of_table(|code| f32::from(code as u8 as i8) - zero);
            }
        }
    }
    let dtype = match scale.info().dtype() {
        Dtype::F16 => Dtype::F16,
        _ => config.dtype,
    };
    let codes = match matrix.zeros.is_none() && part.get("_zero_point").is_none() {
        true => Codes::Integers { bits: 8, offset: 256 },
        false => Codes::Others,
    };
    Ok(Found { name: part.stem.to_owned(), shape: shape.to_vec(), dtype, matrix, codes })
}

/// Bytes with scales: BitNet's four rows, ModelOpt's two rows or 4-bit floats.
pub(super) fn bytes<'a>(
    parts: &Parts<'a>,
    config: &Config<'_>,
    tensor: &CheckpointTensor<'a>,
) -> Result<Option<(String, Found<'a>)>> {
    let name = tensor.info().name();
    let part = parts.of(name, "BitNet or ModelOpt");
    let scale = part.require("_scale")?;
    let method = match scale.info().dtype() {
        Dtype::U8 | Dtype::F8_E8M0 => "MXFP4",
        Dtype::F8_E4M3 => "ModelOpt, NVFP4",
        _ if scale.info().byte_len() * 8 == scale.info().dtype().bits() => "BitNet",
        _ => "ModelOpt, INT4",
    };
    let part = parts.of(name, method);
    let found = match method {
        "MXFP4" => fp4::mxfp4(part, config, tensor)?,
        "ModelOpt, NVFP4" => fp4::nvfp4(part, config, tensor)?,
        "BitNet" => bitnet(&part, config, tensor, &scale)?,
        _ => two_rows(&part, config, tensor, &scale)?,
    };
    Ok(Some((method.to_owned(), found)))
}

/// Four planes of rows, 2 bits each, less 1. The scale is a divisor, except of the layers that transformers calls
/// `autobitlinear`.
fn bitnet<'a>(
    part: &Weighed<'_, 'a>,
    config: &Config<'_>,
    tensor: &CheckpointTensor<'a>,
    scale: &CheckpointTensor<'a>,
) -> Result<Found<'a>> {
    if !config.is_method("bitnet") {
        return Err(part.wrong("bytes with one scale are read where quant_method is bitnet"));
    }
    let (planes, cols) = part.matrix(tensor, &[Dtype::U8])?;
    let rows = planes.checked_mul(4).ok_or_else(|| part.wrong_shape(tensor, "smaller"))?;
    let layout = Layout::Planes { unit: 1, planes, from: None };
    let codes = part.codes(tensor, [rows, cols], (2, Packing::LowFirst), layout, Number::Integers(1.0));
    let mut matrix = Matrix::new(codes, Groups::Flat(1));
    let factor = part.scalar(scale)?;
    matrix.last = Some(match config.text("linear_class") {
        Some("autobitlinear") => Last::Multiply(factor),
        _ if factor == 0.0 => {
            return Err(part.wrong_shape(scale, "another number than 0, which is divided by"));
        }
        _ => Last::Divide(factor),
    });
    Ok(Found {
        name: part.stem.to_owned(),
        shape: vec![rows, cols],
        dtype: config.dtype,
        matrix,
        codes: Codes::Ternary,
    })
}

/// Two rows in each row of bytes, in two's complement of 4 bits.
fn two_rows<'a>(
    part: &Weighed<'_, 'a>,
    config: &Config<'_>,
    tensor: &CheckpointTensor<'a>,
    scale: &CheckpointTensor<'a>,
) -> Result<Found<'a>> {
    if !config.is_method("modelopt") {
        return Err(part.wrong("bytes with scales are read where quant_method is modelopt"));
    }
    let (pairs, cols) = part.matrix(tensor, &[Dtype::U8])?;
    let rows = pairs.checked_mul(2).ok_or_else(|| part.wrong_shape(tensor, "smaller"))?;
    let number = Number::of_table(|code| (((code as u8) << 4) as i8 >> 4).into());
    let codes = part.codes(tensor, [rows, cols], (4, Packing::LowFirst), Layout::Stacked { per: 2 }, number);
    let mut matrix = Matrix::new(codes, Groups::Flat(1));
    let width = config.integer("group_size").and_then(|width| u64::try_from(width).ok());
    scaled(part, &mut matrix, &[rows, cols], scale, width.as_slice(), None)?;
    Ok(Found {
        name: tensor.info().name().to_owned(),
        shape: vec![rows, cols],
        dtype: config.dtype,
        matrix,
        codes: Codes::Others,
    })
}
