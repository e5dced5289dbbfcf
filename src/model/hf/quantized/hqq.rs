//! HQQ: planes of codes of a matrix whose rows or columns are groups.

use super::config::Config;
use super::grid::{Layout, Number};
use super::matrix::{Columns, Factors, Groups, Matrix};
use super::parts::{Weighed, count};
use super::{Codes, Found};
use crate::codec::affine::Packing;
use crate::error::{Result, Shown};
use crate::safetensors::{CheckpointTensor, Dtype};

/// What else is stored beside a weight and does not concern its values.
const BESIDE: &[&str] = &[
    ".compute_dtype",
    ".view_as_float",
    ".unpack_view_dtype",
    ".offload_meta",
    ".channel_wise",
    ".optimize",
    ".round_zero",
    ".stores_quant_config",
    ".encoded_state_dict",
    ".in_features",
    ".out_features",
];

/// Packings by their names: bits, the bytes of a unit, and where the first plane is in it.
const PACKINGS: &[(&str, u32, u32, u32)] = &[
    ("8bit_u8", 8, 1, 0),
    ("4bit_u8", 4, 1, 4),
    ("3bit_32", 3, 4, 27),
    ("2bit_u8", 2, 1, 6),
    ("1bit_u8", 1, 1, 7),
];

pub(super) fn read<'a>(
    part: Weighed<'_, 'a>,
    config: &Config<'_>,
    tensor: &CheckpointTensor<'a>,
) -> Result<Found<'a>> {
    let whole = |end: &str| match part.get(end) {
        Some(tensor) => match part.integers(&tensor)?.as_slice() {
            &[number] => Ok(Some(number)),
            _ => Err(part.wrong_shape(&tensor, "one integer")),
        },
        None => Ok(None),
    };
    for end in [".quant_scale", ".quant_zero"] {
        if whole(end)?.is_some_and(|flag| flag != 0) {
            return Err(part.wrong("its scales or zero points are quantized themselves, which is not read"));
        }
    }
    for end in BESIDE {
        let _ = part.get(end);
    }
    let bits = whole(".nbits")?;
    let name = match part.get(".packing") {
        Some(packing) => String::from_utf8_lossy(&part.bytes(&packing)?).into_owned(),
        None => match bits {
            Some(3) => "3bit_32".to_owned(),
            Some(bits) => format!("{bits}bit_u8"),
            None => {
                return Err(part.require(".nbits").err().unwrap_or_else(|| part.wrong("'nbits' is missing")));
            }
        },
    };
    let known = PACKINGS.iter().find(|(known, ..)| *known == name);
    let Some(&(_, bits, unit, from)) =
        known.filter(|(_, own, ..)| bits.is_none_or(|bits| bits == i64::from(*own)))
    else {
        let known: Vec<_> = PACKINGS.iter().map(|(name, ..)| *name).collect();
        return Err(part.wrong(&format!(
            "its packing is '{}', and {} are read",
            Shown(&name),
            known.join(", ")
        )));
    };
    let of_shape = part.require(".shape")?;
    let shape: Option<Vec<u64>> =
        part.integers(&of_shape)?.into_iter().map(|extent| u64::try_from(extent).ok()).collect();
    let shape = shape.filter(|shape| shape.len() == 2 && count(shape).is_some_and(|values| values > 0));
    let shape = shape.ok_or_else(|| part.wrong_shape(&of_shape, "two extents of at least a value"))?;
    let values = shape[0] * shape[1];
    let axis = whole(".axis")?.unwrap_or(1);
    let width = whole(".group_size")?.and_then(|width| u64::try_from(width).ok()).filter(|&width| width > 0);
    let [rows, cols] = match (axis, width) {
        (0 | 1, None) => [shape[0], shape[1]],
        (1, Some(width)) if values.is_multiple_of(width) => [values / width, width],
        (0, Some(width)) if values.is_multiple_of(width) => [width, values / width],
        _ => {
            return Err(part.wrong(&format!(
                "its axis is {axis} and its groups have {} values, of {values}",
                width.unwrap_or(values)
            )));
        }
    };
    let per = u64::from(if unit == 4 { 10 } else { 8 / bits });
    let planes = rows.div_ceil(per);
    if u128::from(tensor.info().byte_len()) != u128::from(planes) * u128::from(cols) * u128::from(unit) {
        return Err(part.wrong_shape(tensor, &format!("{planes} · {cols} units of {unit} bytes")));
    }
    let layout = Layout::Planes { unit, planes, from: Some(from) };
    let codes = part.codes(tensor, [rows, cols], (bits, Packing::LowFirst), layout, Number::Integers(0.0));
    let (down, across, groups) = match axis {
        1 => (rows, 1, Groups::by_row(rows, Columns::Width(cols))),
        _ => (1, cols, Groups::by_column(rows)),
    };
    let mut matrix = Matrix::new(codes, groups);
    let (scale, zero) = (part.require(".scale")?, part.require(".zero")?);
    matrix.scales = Some(Factors::Stored(part.plain(&scale, down, across)?));
    matrix.zeros = Some(Factors::Stored(part.plain(&zero, down, across)?));
    let dtype = match scale.info().dtype() {
        dtype @ (Dtype::F16 | Dtype::BF16) => dtype,
        _ => config.dtype,
    };
    Ok(Found { name: format!("{}.weight", part.stem), shape, dtype, matrix, codes: Codes::Others })
}
