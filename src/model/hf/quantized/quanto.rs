//! quanto: bytes with a scale for each row, and planes of codes with a scale and a shift for each group.

use super::config::Config;
use super::grid::{Layout, Number};
use super::matrix::{Columns, Factors, Groups, Matrix};
use super::parts::Weighed;
use super::scales::{extents, scaled};
use super::{Codes, Found};
use crate::codec::affine::Packing;
use crate::codec::small_floats::{E4M3, E5M2};
use crate::error::Result;
use crate::safetensors::{CheckpointTensor, Dtype};

pub(super) fn bytes<'a>(
    part: Weighed<'_, 'a>,
    config: &Config<'_>,
    tensor: &CheckpointTensor<'a>,
) -> Result<Found<'a>> {
    let shape = tensor.info().shape();
    let (number, kept) = match tensor.info().dtype() {
        Dtype::I8 => (Number::signed_bytes(), Codes::Integers { bits: 8, offset: 256 }),
        Dtype::F8_E4M3 => (Number::of_table(|code| E4M3[code]), Codes::Others),
        Dtype::F8_E5M2 => (Number::of_table(|code| E5M2[code]), Codes::Others),
        _ => return Err(part.wrong_shape(tensor, "of I8, F8_E4M3 or F8_E5M2")),
    };
    let Some([rows, cols]) = extents(shape).filter(|_| shape.len() >= 2) else {
        return Err(part.wrong_shape(tensor, "a matrix"));
    };
    let codes =
        part.codes(tensor, [rows, cols], (8, Packing::LowFirst), Layout::Rows { stride: cols }, number);
    let mut matrix = Matrix::new(codes, Groups::Flat(1));
    let scale = part.require("._scale")?;
    scaled(&part, &mut matrix, shape, &scale, &[], None)?;
    Ok(Found {
        name: part.stem.to_owned(),
        shape: shape.to_vec(),
        dtype: dtype_of(&scale, config),
        matrix,
        codes: kept,
    })
}

pub(super) fn packed<'a>(
    part: Weighed<'_, 'a>,
    config: &Config<'_>,
    tensor: &CheckpointTensor<'a>,
) -> Result<Found<'a>> {
    let (planes, cols) = part.matrix(tensor, &[Dtype::U8])?;
    let (scale, shift) = (part.require("._scale")?, part.require("._shift")?);
    let rows = scale.info().shape().iter().try_fold(1u64, |count, &extent| count.checked_mul(extent));
    let rows = rows
        .filter(|&rows| rows > 0)
        .ok_or_else(|| part.wrong_shape(&scale, "a scale for each row of codes"))?;
    let fits = |bits: u32| rows.div_ceil(u64::from(8 / bits)) == planes;
    let Some(bits) = [4, 2].into_iter().find(|&bits| fits(bits)) else {
        return Err(
            part.wrong_shape(tensor, &format!("{rows} rows of codes of 4 or 2 bits, as there are scales"))
        );
    };
    let layout = Layout::Planes { unit: 1, planes, from: None };
    let codes = part.codes(tensor, [rows, cols], (bits, Packing::LowFirst), layout, Number::Integers(0.0));
    let mut matrix = Matrix::new(codes, Groups::by_row(rows, Columns::Width(cols)));
    matrix.scales = Some(Factors::Stored(part.plain(&scale, rows, 1)?));
    matrix.zeros_are_scaled = matches!(shift.info().dtype(), Dtype::F32 | Dtype::F16 | Dtype::BF16);
    matrix.zeros = Some(Factors::Stored(part.plain(&shift, rows, 1)?));
    let values = rows.checked_mul(cols).ok_or_else(|| part.wrong_shape(tensor, "smaller"))?;
    let row_len = row_len(part.stem, config).filter(|&row_len| row_len > 0 && values.is_multiple_of(row_len));
    let Some(row_len) = row_len else {
        return Err(part.wrong(
            "the file does not say how long its rows are, and neither does config.json of a module of that name (hidden_size, \
             intermediate_size, num_attention_heads, head_dim)",
        ));
    };
    let shape = vec![values / row_len, row_len];
    Ok(Found {
        name: part.stem.to_owned(),
        shape,
        dtype: dtype_of(&scale, config),
        matrix,
        codes: Codes::Others,
    })
}

fn dtype_of(scale: &CheckpointTensor<'_>, config: &Config<'_>) -> Dtype {
    match scale.info().dtype() {
        dtype @ (Dtype::F16 | Dtype::BF16) => dtype,
        _ => config.dtype,
    }
}

/// The inputs of a module, by what transformer models call it.
fn row_len(weight: &str, config: &Config<'_>) -> Option<u64> {
    let module = weight.strip_suffix(".weight")?.rsplit('.').next()?;
    let hidden = config.of_model("hidden_size");
    match module {
        "q_proj" | "k_proj" | "v_proj" | "gate_proj" | "up_proj" | "lm_head" | "embed_tokens"
        | "gate_up_proj" | "qkv_proj" => hidden,
        "o_proj" => match (config.of_model("num_attention_heads"), config.of_model("head_dim")) {
            (Some(heads), Some(dim)) => heads.checked_mul(dim),
            _ => hidden,
        },
        "down_proj" => config.of_model("intermediate_size"),
        _ => None,
    }
}
