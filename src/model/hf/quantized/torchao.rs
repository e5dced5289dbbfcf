//! torchao: 8-bit integers and floats, described in a file's metadata.

use serde_json::Value;

use super::config::Config;
use super::grid::{Layout, Number};
use super::matrix::{Factors, Groups, Matrix};
use super::parts::Weighed;
use super::scales::scaled;
use super::{Codes, Found};
use crate::codec::affine::Packing;
use crate::codec::small_floats::E4M3;
use crate::error::{Result, Shown};
use crate::safetensors::{CheckpointTensor, Dtype};

pub(super) fn read<'a>(
    part: Weighed<'_, 'a>,
    config: &Config<'_>,
    tensor: &CheckpointTensor<'a>,
    about: Option<&str>,
) -> Result<Found<'a>> {
    let about: Value = about.and_then(|about| serde_json::from_str(about).ok()).unwrap_or_default();
    let kind = about.get("_type").and_then(Value::as_str);
    let number = match (kind, tensor.info().dtype()) {
        (Some("Int8Tensor") | None, Dtype::I8) => Number::signed_bytes(),
        (Some("Float8Tensor") | None, Dtype::F8_E4M3) => Number::of_table(|code| E4M3[code]),
        (kind, _) => {
            return Err(part.wrong(&format!(
                "it is stored as '{}' of {}, and Int8Tensor of I8 and Float8Tensor of F8_E4M3 are read",
                Shown(kind.unwrap_or("a tensor of unknown type")),
                tensor.info().dtype()
            )));
        }
    };
    let (rows, cols) = part.matrix(tensor, &[Dtype::I8, Dtype::F8_E4M3])?;
    let block = about
        .get("_data")
        .and_then(|data| data.get("block_size")?.as_array())
        .map(|block| block.iter().map(Value::as_u64).collect::<Option<Vec<_>>>());
    let block = match block {
        Some(Some(block)) if block.len() == 2 && block.iter().all(|&extent| extent > 0) => {
            Some((block[0], block[1]))
        }
        None => None,
        Some(_) => return Err(part.wrong("its block_size in the metadata must be two extents above 0")),
    };
    let codes =
        part.codes(tensor, [rows, cols], (8, Packing::LowFirst), Layout::Rows { stride: cols }, number);
    let mut matrix = Matrix::new(codes, Groups::Flat(1));
    let scale = part.require("._weight_scale")?;
    let widths: Vec<u64> = block.iter().map(|&(_, width)| width).collect();
    scaled(&part, &mut matrix, &[rows, cols], &scale, &widths, block)?;
    let mut kept = match tensor.info().dtype() {
        Dtype::I8 => Codes::Integers { bits: 8, offset: 256 },
        _ => Codes::Others,
    };
    if let Some(zeros) = part.get("._weight_zero_point") {
        match &matrix.scales {
            Some(Factors::Stored(scales)) => {
                matrix.zeros = Some(Factors::Stored(part.plain(&zeros, scales.rows, scales.cols)?));
            }
            _ => {
                let zero = part.scalar(&zeros)?;
                matrix.codes.number = Number::of_table(|code| f32::from(code as u8 as i8) - zero);
                if zero != 0.0 {
                    kept = Codes::Others;
                }
            }
        }
    }
    let dtype = match about.get("_data").and_then(|data| data.get("dtype")?.get("_data")?.as_str()) {
        Some("float16") => Dtype::F16,
        Some("float32") => Dtype::F32,
        Some(_) => Dtype::BF16,
        None => config.dtype,
    };
    Ok(Found { name: format!("{}.weight", part.stem), shape: vec![rows, cols], dtype, matrix, codes: kept })
}
