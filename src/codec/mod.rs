//! The block formats, one file each, and the table that maps [`GgmlType`] to them.

use crate::{GgmlType, Result};

/// STUB
pub trait Float: Copy {}
impl Float for f32 {}

/// A way to store values in blocks, known at compile time.
pub trait BlockFormat {
    /// One block, as its little-endian bytes: alignment 1, no padding.
    type Block: bytemuck::Pod;
    /// The format's entry in the table of types.
    const TYPE: GgmlType;
}

/// STUB
pub fn dequantize<T: Float>(ty: GgmlType, blocks: &[u8], out: &mut [T]) -> Result<()> {
    let _ = (ty, blocks, out);
    Ok(())
}

/// STUB
pub fn quantize(
    ty: GgmlType,
    values: &[f32],
    row_len: usize,
    importance: Option<&[f32]>,
    out: &mut [u8],
) -> Result<()> {
    let _ = (ty, values, row_len, importance, out);
    Ok(())
}

/// Turns blocks of `ty` from one byte order into the other, in place: reverses each number of several bytes
/// (scales, plain values) and leaves packed quants alone. `bytes` holds whole blocks.
#[allow(dead_code)]
pub(crate) fn swap_byte_order(ty: GgmlType, bytes: &mut [u8]) {
    let _ = (ty, bytes);
}
