//! Floats of 4 bits: MXFP4 and NVFP4.

use super::config::Config;
use super::grid::{Layout, Number};
use super::matrix::{Columns, Factors, Groups, Last, Matrix};
use super::parts::{Weighed, count};
use super::scales::{Division, MX, division, extents, powers_of_two};
use super::{Codes, Found};
use crate::codec::affine::Packing;
use crate::codec::small_floats::E2M1;
use crate::error::Result;
use crate::safetensors::{CheckpointTensor, Dtype};

/// Values of NVFP4 that share a scale.
const NV: u64 = 16;

/// E2M1 codes, the first in the low bits of a byte, whose last extent counts bytes.
fn codes<'a>(part: &Weighed<'_, 'a>, tensor: &CheckpointTensor<'a>) -> Result<(Vec<u64>, Matrix<'a>)> {
    let mut shape = tensor.info().shape().to_vec();
    if shape.len() < 2 || tensor.info().dtype() != Dtype::U8 {
        return Err(part.wrong_shape(tensor, "a matrix of U8"));
    }
    let last = shape.len() - 1;
    let doubled = shape[last].checked_mul(2).ok_or_else(|| part.wrong_shape(tensor, "shorter"))?;
    shape[last] = doubled;
    let Some([rows, cols]) = extents(&shape) else { return Err(part.wrong_shape(tensor, "smaller")) };
    let number = Number::of_table(|code| E2M1[code & 15]);
    let grid =
        part.codes(tensor, [rows, cols], (4, Packing::LowFirst), Layout::Rows { stride: cols }, number);
    Ok((shape, Matrix::new(grid, Groups::Flat(1))))
}

/// gpt-oss: blocks of 16 bytes, which are an extent of their own.
pub(super) fn gpt_oss<'a>(
    part: Weighed<'_, 'a>,
    config: &Config<'_>,
    tensor: &CheckpointTensor<'a>,
) -> Result<Found<'a>> {
    let scale = part.require("_scales")?;
    let [leading @ .., blocks, 16] = tensor.info().shape() else {
        return Err(part.wrong_shape(tensor, "blocks of 16 bytes"));
    };
    let mut shape = leading.to_vec();
    shape.push(*blocks);
    part.expect_shape(&scale, &shape)?;
    let (Some(rows), Some(cols)) = (count(leading), blocks.checked_mul(MX)) else {
        return Err(part.wrong_shape(tensor, "smaller"));
    };
    shape.pop();
    shape.push(cols);
    let number = Number::of_table(|code| E2M1[code & 15]);
    let grid =
        part.codes(tensor, [rows, cols], (4, Packing::LowFirst), Layout::Rows { stride: cols }, number);
    let mut matrix = Matrix::new(grid, Groups::Flat(1));
    powers_of_two(&part, &mut matrix, &shape, &scale)?;
    Ok(Found { name: part.stem.to_owned(), shape, dtype: config.dtype, matrix, codes: Codes::Mxfp4 })
}

/// MXFP4 in a matrix of bytes.
pub(super) fn mxfp4<'a>(
    part: Weighed<'_, 'a>,
    config: &Config<'_>,
    tensor: &CheckpointTensor<'a>,
) -> Result<Found<'a>> {
    let (shape, mut matrix) = codes(&part, tensor)?;
    let scale = part.require("_scale")?;
    powers_of_two(&part, &mut matrix, &shape, &scale)?;
    Ok(Found { name: part.stem.to_owned(), shape, dtype: config.dtype, matrix, codes: Codes::Mxfp4 })
}

/// NVFP4 in a matrix of bytes, with a factor or a divisor for all.
pub(super) fn nvfp4<'a>(
    part: Weighed<'_, 'a>,
    config: &Config<'_>,
    tensor: &CheckpointTensor<'a>,
) -> Result<Found<'a>> {
    let (shape, mut matrix) = codes(&part, tensor)?;
    let scale = part.require("_scale")?;
    match division(&shape, scale.info().shape(), &[NV], None) {
        Some(Division::Groups {
            rows,
            cols,
            groups: groups @ Groups::Grid { columns: Columns::Width(NV), .. },
        }) if scale.info().dtype() == Dtype::F8_E4M3 => {
            matrix.scales = Some(Factors::Stored(part.plain(&scale, rows, cols)?));
            matrix.groups = groups;
        }
        _ => return Err(part.wrong_shape(&scale, "of F8_E4M3, a scale for each 16 values of a row")),
    }
    // The libraries multiply scales first, which rounds otherwise than multiplying values.
    matrix.of_scales = Some(match part.get("_global_scale") {
        Some(divisor) => Last::Divide(positive(&part, &divisor)?),
        None => Last::Multiply(positive(&part, &part.require("_scale_2")?)?),
    });
    Ok(Found { name: part.stem.to_owned(), shape, dtype: config.dtype, matrix, codes: Codes::Nvfp4 })
}

fn positive<'a>(part: &Weighed<'_, 'a>, tensor: &CheckpointTensor<'a>) -> Result<f32> {
    match part.scalar(tensor)? {
        0.0 => Err(part.wrong_shape(tensor, "another number than 0")),
        factor => Ok(factor),
    }
}
