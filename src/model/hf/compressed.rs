//! Tensors of a GGUF as those of a compressed-tensors checkpoint: the same codes, packed as vLLM and the transformers library
//! read them.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::planned::{Planned, Source};
use crate::error::{Error, Result};
use crate::file::read_at::{ReadAt, Units};
use crate::ggml_type::GgmlType;
use crate::model::scaled::Blocks as _;
use crate::safetensors::Dtype;
use crate::simd::f16_to_f32;
use crate::tensor::Shape;

/// Rows of zero points that share a word.
const ROWS_OF_WORD: u64 = 8;
/// How far a minimum over a scale may be from an integer: further than f16 rounds the two, and no more.
const MAX_FRACTION: f32 = 1.0 / 32.0;

#[derive(Clone, Copy, PartialEq)]
enum Part {
    /// Two codes to a byte, the first in the low bits.
    Nibbles,
    /// Integers of 8 bits, and 128.
    Bytes,
    /// Scales, in f16 or in bytes.
    Scales,
    /// Zero points of 4 bits, those of eight rows in a word.
    ZeroPoints,
}

/// A part of a weight, made of its blocks when it is read.
struct PartOf<'a> {
    blocks: Arc<Source<'a>>,
    part: Part,
}

/// The tensors that take the place of a weight, or the weight itself where its codes are not a checkpoint's.
pub(super) fn parts<'a>(
    name: &str,
    source: Source<'a>,
    factor: Option<f32>,
) -> Result<std::result::Result<Vec<Planned<'a>>, Source<'a>>> {
    let (ty, shape) = (source.ggml_type(), source.shape());
    let &[cols, rows] = shape.dims() else { return Ok(Err(source)) };
    let is_layers =
        [".layers.", ".layer.", "blk."].iter().any(|part| name.contains(part) || name.starts_with(part));
    let known =
        matches!(ty, GgmlType::Q4_0 | GgmlType::Q4_1 | GgmlType::Q8_0 | GgmlType::MXFP4 | GgmlType::NVFP4);
    let is_usual = factor.is_none() || ty == GgmlType::NVFP4;
    let fits = known && is_usual && is_layers && name.ends_with(".weight") && rows > 0 && cols > 0;
    if !fits || ty == GgmlType::Q4_1 && !has_zero_points(&source)? {
        return Ok(Err(source));
    }
    let blocks = Arc::new(source);
    let planned = |end: &str, part: Part, shape: [u64; 2], ty: GgmlType, dtype: Dtype| {
        let original = Some(vec![shape[0], shape[1]]);
        let bytes = Box::new(PartOf { blocks: blocks.clone(), part });
        let shape = Shape::new(&[shape[1], shape[0]])
            .ok_or_else(|| Error::write(format!("tensor '{}' has too many elements", name.escape_debug())))?;
        Ok(Planned {
            name: format!("{name}{end}"),
            source: Source::Computed { bytes, shape, ty },
            ty,
            original,
            dtype: Some(dtype),
        })
    };
    let of_shape = || {
        let extents = [rows, cols].iter().flat_map(|extent| extent.to_le_bytes()).collect::<Vec<u8>>();
        let shape = Shape::new(&[2]);
        shape.map(|shape| Planned {
            name: format!("{name}_shape"),
            source: Source::Computed { bytes: Box::new(extents), shape, ty: GgmlType::I64 },
            ty: GgmlType::I64,
            original: None,
            dtype: Some(Dtype::I64),
        })
    };
    let mut all: Vec<Planned<'a>> = Vec::new();
    match ty {
        GgmlType::Q4_0 | GgmlType::Q4_1 | GgmlType::Q8_0 => {
            let (per, part) = if ty == GgmlType::Q8_0 { (4, Part::Bytes) } else { (8, Part::Nibbles) };
            all.push(planned("_packed", part, [rows, cols / per], GgmlType::I32, Dtype::I32)?);
            all.push(planned("_scale", Part::Scales, [rows, cols / 32], GgmlType::F16, Dtype::F16)?);
            if ty == GgmlType::Q4_1 {
                let down = rows.div_ceil(ROWS_OF_WORD);
                all.push(planned(
                    "_zero_point",
                    Part::ZeroPoints,
                    [down, cols / 32],
                    GgmlType::I32,
                    Dtype::I32,
                )?);
            }
            all.extend(of_shape());
        }
        _ => {
            let (width, dtype) = if ty == GgmlType::MXFP4 { (32, Dtype::U8) } else { (16, Dtype::F8_E4M3) };
            all.push(planned("_packed", Part::Nibbles, [rows, cols / 2], GgmlType::I8, Dtype::U8)?);
            all.push(planned("_scale", Part::Scales, [rows, cols / width], GgmlType::I8, dtype)?);
            if let Some(shape) = Shape::new(&[1]).filter(|_| ty == GgmlType::NVFP4) {
                // A divisor there, and a factor here.
                let divisor = 1.0 / factor.unwrap_or(1.0);
                all.push(Planned {
                    name: format!("{name}_global_scale"),
                    source: Source::Made(divisor.to_le_bytes().to_vec(), shape),
                    ty: GgmlType::F32,
                    original: None,
                    dtype: None,
                });
            }
        }
    }
    Ok(Ok(all))
}

/// Whether each minimum is a whole multiple of its scale, from 0 to −15 of them.
fn has_zero_points(source: &Source<'_>) -> Result<bool> {
    let shape = source.shape();
    for row in 0..shape.row_count() {
        let blocks =
            rows_of(source, row, 1).map_err(|error| Error::io("read the scales of a tensor", error))?;
        if !blocks.chunks(GgmlType::Q4_1.block_bytes()).all(|block| zero_point(block).is_some()) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The integer that a block of Q4_1 has at 0.
fn zero_point(block: &[u8]) -> Option<u8> {
    let half = |at: usize| f16_to_f32(u16::from_le_bytes([block[at], block[at + 1]]));
    let (scale, minimum) = (half(0), half(2));
    if minimum == 0.0 {
        return Some(0);
    }
    let zero = -minimum / scale;
    let whole = (zero + 0.5).floor();
    ((0.0..=15.0).contains(&whole) && (zero - whole).abs() <= MAX_FRACTION).then_some(whole as u8)
}

/// The little-endian blocks of rows.
fn rows_of(source: &Source<'_>, first: u64, count: u64) -> io::Result<Vec<u8>> {
    let origin = source.origin().map_err(io::Error::other)?;
    let row_bytes = origin.ggml_type().bytes_for(origin.shape().row_len()).unwrap_or(0);
    let mut bytes = vec![0; (count * row_bytes) as usize];
    origin.fill_little_endian(&mut bytes, first * row_bytes)?;
    Ok(bytes)
}

impl PartOf<'_> {
    /// Rows of the weight that make a row here, and its bytes.
    fn row(&self) -> (u64, u64) {
        let (ty, cols) = (self.blocks.ggml_type(), self.blocks.shape().row_len());
        match self.part {
            Part::Nibbles => (1, cols / 2),
            Part::Bytes => (1, cols),
            Part::Scales if ty == GgmlType::MXFP4 => (1, cols / 32),
            // Two bytes for 32 values, and one for 16.
            Part::Scales => (1, cols / 16),
            Part::ZeroPoints => (ROWS_OF_WORD, cols / 32 * 4),
        }
    }

    fn write(&self, blocks: &[u8], rows: u64, out: &mut [u8]) {
        let ty = self.blocks.ggml_type();
        let (len, bytes) = (ty.block_len(), ty.block_bytes());
        if self.part == Part::ZeroPoints {
            let of_row = blocks.len() / bytes / rows as usize;
            for (column, word) in out.chunks_mut(4).enumerate() {
                let zeros = (0..rows as usize).map(|row| {
                    let block = &blocks[(row * of_row + column) * bytes..][..bytes];
                    u32::from(zero_point(block).unwrap_or(0)) << (4 * row)
                });
                word.copy_from_slice(&zeros.sum::<u32>().to_le_bytes());
            }
            return;
        }
        let (scales, half) = match ty {
            GgmlType::MXFP4 => (1, 16),
            GgmlType::NVFP4 => (4, 8),
            GgmlType::Q4_1 => (4, 16),
            _ => (2, 16),
        };
        let of_block = out.len() / (blocks.len() / bytes).max(1);
        for (block, out) in blocks.chunks(bytes).zip(out.chunks_mut(of_block.max(1))) {
            match self.part {
                // The minimum is no scale.
                Part::Scales if ty == GgmlType::Q4_1 => out.copy_from_slice(&block[..2]),
                Part::Scales if ty == GgmlType::NVFP4 => {
                    out.iter_mut().zip(&block[..4]).for_each(|(out, code)| *out = code & 0x7f);
                }
                Part::Scales => out.copy_from_slice(&block[..scales]),
                Part::Bytes => out.iter_mut().zip(&block[2..]).for_each(|(out, code)| *out = code ^ 0x80),
                _ => {
                    let mut codes = [0; 64];
                    for (codes, stored) in codes.chunks_mut(2 * half).zip(block[scales..].chunks(half)) {
                        let (low, high) = codes.split_at_mut(half);
                        for ((low, high), byte) in low.iter_mut().zip(high).zip(stored) {
                            (*low, *high) = (byte & 15, byte >> 4);
                        }
                    }
                    for (out, pair) in out.iter_mut().zip(codes[..len].chunks(2)) {
                        *out = pair[0] | pair[1] << 4;
                    }
                }
            }
        }
    }
}

impl ReadAt for PartOf<'_> {
    fn fill_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let (of_row, bytes) = self.row();
        let rows = self.blocks.shape().row_count();
        Units { bytes, count: rows.div_ceil(of_row), at_once: 1 }.fill(buffer, offset, |index, out| {
            let first = index * of_row;
            let count = of_row.min(rows - first);
            self.write(&rows_of(&self.blocks, first, count)?, count, out);
            Ok(())
        })
    }
}

/// The `quantization_config` of weights of these types, by their modules.
pub(super) fn config(modules: &BTreeMap<&'static str, (GgmlType, Vec<String>)>) -> Json {
    let mut groups = serde_json::Map::new();
    let mut formats = Vec::new();
    for (index, (ty, targets)) in modules.values().enumerate() {
        let (format, weights) = match ty {
            GgmlType::MXFP4 => (
                "mxfp4-pack-quantized",
                json!({ "num_bits": 4, "type": "float", "symmetric": true, "strategy": "group", "group_size": 32,
                    "dynamic": false, "scale_dtype": "torch.uint8" }),
            ),
            GgmlType::NVFP4 => (
                "nvfp4-pack-quantized",
                json!({ "num_bits": 4, "type": "float", "symmetric": true, "strategy": "tensor_group", "group_size": 16,
                    "dynamic": false, "scale_dtype": "torch.float8_e4m3fn" }),
            ),
            ty => (
                "pack-quantized",
                json!({ "num_bits": if *ty == GgmlType::Q8_0 { 8 } else { 4 }, "type": "int", "symmetric": *ty != GgmlType::Q4_1,
                    "strategy": "group", "group_size": 32, "dynamic": false }),
            ),
        };
        formats.push(format);
        let group = json!({ "targets": targets, "weights": weights, "input_activations": null, "output_activations": null,
            "format": format });
        groups.insert(format!("group_{index}"), group);
    }
    formats.dedup();
    let format = if let [only] = formats[..] { only } else { "mixed-precision" };
    json!({ "quant_method": "compressed-tensors", "quantization_status": "compressed", "format": format,
        "config_groups": groups, "ignore": ["lm_head"], "kv_cache_scheme": null })
}
