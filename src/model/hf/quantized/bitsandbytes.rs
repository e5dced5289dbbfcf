//! bitsandbytes: a table of 16 values with a scale for each block, and rows of 8-bit integers.

use serde_json::Value;

use super::config::Config;
use super::grid::{Layout, Number};
use super::matrix::{Columns, Factors, Groups, Last, Matrix};
use super::parts::{Weighed, count};
use super::{Codes, Found};
use crate::codec::affine::Packing;
use crate::error::Result;
use crate::safetensors::{CheckpointTensor, Dtype};

/// The most values of a block that are believed.
const MAX_BLOCK: u64 = 1 << 20;

pub(super) fn four_bits<'a>(part: Weighed<'_, 'a>, tensor: &CheckpointTensor<'a>) -> Result<Found<'a>> {
    let state = match part.get(".quant_state.bitsandbytes__nf4") {
        Some(state) => state,
        None => match part.get(".quant_state.bitsandbytes__fp4") {
            Some(state) => state,
            None => part.require(".quant_state.bitsandbytes__nf4")?,
        },
    };
    let about: Value = serde_json::from_slice(&part.bytes(&state)?)
        .map_err(|error| part.wrong_shape(&state, &format!("JSON ({error})")))?;
    let wrong = |key: &str, wanted: &str| part.wrong_shape(&state, &format!("JSON with '{key}', {wanted}"));
    let extents =
        about.get("shape").and_then(Value::as_array).map(|shape| shape.iter().map(Value::as_u64).collect());
    let shape: Option<Vec<u64>> = extents.flatten();
    let shape =
        shape.filter(|shape| !shape.is_empty()).ok_or_else(|| wrong("shape", "the weight's extents"))?;
    let values = count(&shape)
        .filter(|&values| values > 0)
        .ok_or_else(|| wrong("shape", "extents of at least a value"))?;
    let block_of =
        |key: &str| about.get(key).and_then(Value::as_u64).filter(|block| (1..=MAX_BLOCK).contains(block));
    let block = block_of("blocksize").ok_or_else(|| wrong("blocksize", "from 1 to 1048576"))?;
    if tensor.info().byte_len() != values.div_ceil(2) {
        return Err(part
            .wrong_shape(tensor, &format!("{} bytes, two of {values} values in each", values.div_ceil(2))));
    }
    let map = part.require(".quant_map")?;
    if map.info().dtype() != Dtype::F32 {
        return Err(part.wrong_shape(&map, "16 values of F32"));
    }
    part.expect_shape(&map, &[16])?;
    let table: Vec<f32> =
        part.bytes(&map)?.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    let cols = shape[shape.len() - 1];
    let rows = values / cols;
    let number = Number::of_table(|code| table[code & 15]);
    let codes =
        part.codes(tensor, [rows, cols], (4, Packing::HighFirst), Layout::Rows { stride: cols }, number);
    let mut matrix = Matrix::new(codes, Groups::Flat(block));
    let absmax = part.require(".absmax")?;
    let blocks = values.div_ceil(block);
    let stored = part.plain(&absmax, 1, blocks)?;
    matrix.scales = Some(match absmax.info().dtype() {
        Dtype::U8 => {
            let map = part.require(".nested_quant_map")?;
            if map.info().dtype() != Dtype::F32 {
                return Err(part.wrong_shape(&map, "256 values of F32"));
            }
            part.expect_shape(&map, &[256])?;
            let map: Vec<f32> =
                part.bytes(&map)?.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
            let nested =
                block_of("nested_blocksize").ok_or_else(|| wrong("nested_blocksize", "from 1 to 1048576"))?;
            let offset = about.get("nested_offset").and_then(Value::as_f64);
            let offset = offset.ok_or_else(|| wrong("nested_offset", "a number"))? as f32;
            let factors = part.require(".nested_absmax")?;
            let factors = part.plain(&factors, 1, blocks.div_ceil(nested))?;
            let mut codes = stored;
            codes.number = Number::of_table(|code| map[code]);
            Factors::Nested { codes, factors, block: nested, offset }
        }
        Dtype::F32 | Dtype::F16 | Dtype::BF16 => Factors::Stored(stored),
        _ => return Err(part.wrong_shape(&absmax, "floats, or U8 with a table")),
    });
    let dtype = match about.get("dtype").and_then(Value::as_str) {
        Some("float16" | "torch.float16") => Dtype::F16,
        Some("float32" | "torch.float32") => Dtype::F32,
        _ => Dtype::BF16,
    };
    Ok(Found { name: part.stem.to_owned(), shape, dtype, matrix, codes: Codes::Others })
}

pub(super) fn eight_bits<'a>(
    part: Weighed<'_, 'a>,
    config: &Config<'_>,
    tensor: &CheckpointTensor<'a>,
) -> Result<Found<'a>> {
    let (rows, cols) = part.matrix(tensor, &[Dtype::I8])?;
    if let Some(format) = part.get(".weight_format")
        && part.integers(&format)? != [0]
    {
        return Err(part.wrong_shape(&format, "0, for rows that follow each other"));
    }
    let scale = part.require(".SCB")?;
    let codes = part.codes(
        tensor,
        [rows, cols],
        (8, Packing::LowFirst),
        Layout::Rows { stride: cols },
        Number::signed_bytes(),
    );
    let mut matrix = Matrix::new(codes, Groups::by_row(rows, Columns::Width(cols)));
    matrix.scales = Some(Factors::Stored(part.plain(&scale, rows, 1)?));
    matrix.of_scales = Some(Last::Divide(127.0));
    Ok(Found {
        name: format!("{}.weight", part.stem),
        shape: vec![rows, cols],
        dtype: config.dtype,
        matrix,
        codes: Codes::Integers { bits: 8, offset: 256 },
    })
}
