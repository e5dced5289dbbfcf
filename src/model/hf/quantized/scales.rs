//! Scales of any granularity beside codes that lie row by row, and floats of 8 bits with them.

use super::config::Config;
use super::grid::{Layout, Number};
use super::matrix::{Columns, Factors, Groups, Last, Matrix};
use super::parts::{Weighed, count};
use super::{Codes, Found};
use crate::codec::affine::Packing;
use crate::codec::small_floats::{E4M3, E5M2, E8M0};
use crate::error::Result;
use crate::safetensors::{CheckpointTensor, Dtype};

/// The block of checkpoints that say nothing of it.
const USUAL_BLOCK: (u64, u64) = (128, 128);

/// Values that share a scale that is a power of two.
pub(super) const MX: u64 = 32;

/// How the shape of scales divides a weight.
pub(super) enum Division {
    /// One for all.
    Whole,
    /// So many rows and columns of factors, and whose they are.
    Groups { rows: u64, cols: u64, groups: Groups },
}

/// How scales of this shape divide a weight of that one. Groups are as wide as one of `widths`, where that fits.
pub(super) fn division(
    shape: &[u64],
    scales: &[u64],
    widths: &[u64],
    block: Option<(u64, u64)>,
) -> Option<Division> {
    let (&cols, leading) = shape.split_last()?;
    let rows = count(leading)?;
    if count(scales)? == 1 {
        return Some(Division::Whole);
    }
    // ModelOpt has extents of 1 beside those of blocks, which may be 1 as well.
    let squeezed: Vec<u64> = match scales {
        [stacked @ .., down, 1, across, 1] if scales.len() == shape.len() + 2 => {
            stacked.iter().chain([down, across]).copied().collect()
        }
        _ if scales.len() > shape.len() => scales.iter().copied().filter(|&extent| extent != 1).collect(),
        _ => scales.to_vec(),
    };
    let in_blocks = |(block_rows, block_cols): (u64, u64)| {
        let (&matrix_rows, stacked) = leading.split_last()?;
        if block_rows == 0 || block_cols == 0 {
            return None;
        }
        let (down, across) = (matrix_rows.div_ceil(block_rows), cols.div_ceil(block_cols));
        let fits = squeezed.strip_prefix(stacked).is_some_and(|own| own == [down, across]);
        let groups = Groups::Grid {
            matrix_rows: matrix_rows.max(1),
            matrix_factors: down,
            block: block_rows,
            columns: Columns::Width(block_cols),
        };
        fits.then_some(Division::Groups { rows: count(stacked)?.checked_mul(down)?, cols: across, groups })
    };
    if let Some(found) = block.and_then(in_blocks) {
        return Some(found);
    }
    let by_row = |across: u64, width: u64| Division::Groups {
        rows,
        cols: across,
        groups: Groups::by_row(rows, Columns::Width(width.max(1))),
    };
    match squeezed.strip_prefix(leading) {
        Some([] | [1]) => return Some(by_row(1, cols)),
        Some(&[across]) if across > 0 => {
            let width = widths.iter().copied().find(|&width| width > 0 && cols.div_ceil(width) == across);
            let width = width.or_else(|| cols.is_multiple_of(across).then(|| cols / across))?;
            return Some(by_row(across, width));
        }
        _ => {}
    }
    // One for each of stacked matrices.
    let (&matrix_rows, stacked) = leading.split_last()?;
    if !stacked.is_empty()
        && squeezed.strip_prefix(stacked).is_some_and(|rest| rest.iter().all(|&extent| extent == 1))
    {
        let groups = Groups::Grid {
            matrix_rows: matrix_rows.max(1),
            matrix_factors: 1,
            block: matrix_rows.max(1),
            columns: Columns::Width(cols.max(1)),
        };
        return Some(Division::Groups { rows: count(stacked)?, cols: 1, groups });
    }
    in_blocks(USUAL_BLOCK)
}

/// Puts scales to codes that lie row by row.
pub(super) fn scaled<'a>(
    part: &Weighed<'_, 'a>,
    matrix: &mut Matrix<'a>,
    shape: &[u64],
    scale: &CheckpointTensor<'a>,
    widths: &[u64],
    block: Option<(u64, u64)>,
) -> Result<()> {
    match division(shape, scale.info().shape(), widths, block) {
        Some(Division::Whole) => matrix.last = Some(Last::Multiply(part.scalar(scale)?)),
        Some(Division::Groups { rows, cols, groups }) => {
            matrix.scales = Some(Factors::Stored(part.plain(scale, rows, cols)?));
            matrix.groups = groups;
        }
        None => {
            return Err(part.wrong_shape(
                scale,
                "one scale, one for each row, for each group of a row or for each block of the weight's shape, and agree with what \
                 the configuration says of these",
            ));
        }
    }
    Ok(())
}

/// Rows and columns of a weight of this shape.
pub(super) fn extents(shape: &[u64]) -> Option<[u64; 2]> {
    let (&cols, leading) = shape.split_last()?;
    Some([count(leading)?, cols])
}

/// Floats of 8 bits with scales.
pub(super) fn floats<'a>(
    part: Weighed<'_, 'a>,
    config: &Config<'_>,
    tensor: &CheckpointTensor<'a>,
    module: Option<&str>,
) -> Result<Found<'a>> {
    let info = tensor.info();
    let table = if info.dtype() == Dtype::F8_E5M2 { &E5M2 } else { &E4M3 };
    let Some([rows, cols]) = extents(info.shape()) else {
        return Err(part.wrong_shape(tensor, "a vector or a matrix"));
    };
    let number = Number::of_table(|code| table[code]);
    let codes =
        part.codes(tensor, [rows, cols], (8, Packing::LowFirst), Layout::Rows { stride: cols }, number);
    let mut matrix = Matrix::new(codes, Groups::Flat(1));
    let of_module = module.map(|module| Weighed { stem: module, ..part });
    let scale = match part.get("_scale_inv").or_else(|| of_module.as_ref()?.get(".qscale_weight")) {
        Some(scale) => scale,
        None => part.require("_scale")?,
    };
    let is_mx = matches!(scale.info().dtype(), Dtype::U8 | Dtype::F8_E8M0);
    if is_mx && scale.info().dtype() == Dtype::U8 {
        powers_of_two(&part, &mut matrix, info.shape(), &scale)?;
    } else {
        let widths: Vec<u64> = config
            .groups(part.module())
            .iter()
            .filter(|group| group.is_float)
            .filter_map(|group| group.width)
            .collect();
        scaled(&part, &mut matrix, info.shape(), &scale, &widths, config.block(part.module()))?;
    }
    let dtype = match scale.info().dtype() {
        Dtype::F16 => Dtype::F16,
        _ => config.dtype,
    };
    if let Some(_zero) = part.get("_zero_point") {
        return Err(part.wrong("floats of 8 bits with zero points are not read"));
    }
    Ok(Found {
        name: info.name().to_owned(),
        shape: info.shape().to_vec(),
        dtype,
        matrix,
        codes: Codes::Others,
    })
}

/// Scales of eight bits that are powers of two, each for 32 values.
pub(super) fn powers_of_two<'a>(
    part: &Weighed<'_, 'a>,
    matrix: &mut Matrix<'a>,
    shape: &[u64],
    scale: &CheckpointTensor<'a>,
) -> Result<()> {
    let (cols, rows) = (matrix.codes.cols, matrix.codes.rows);
    let mut wanted = shape.to_vec();
    wanted.pop();
    wanted.push(cols.div_ceil(MX));
    if !matches!(scale.info().dtype(), Dtype::U8 | Dtype::F8_E8M0) {
        return Err(part.wrong_shape(scale, "of U8 or F8_E8M0, powers of two"));
    }
    part.expect_shape(scale, &wanted)?;
    let across = cols.div_ceil(MX);
    let mut grid = part.plain(scale, rows, across)?;
    grid.number = Number::of_table(|code| E8M0[code]);
    matrix.scales = Some(Factors::Stored(grid));
    matrix.groups = Groups::by_row(rows, Columns::Width(MX));
    Ok(())
}
