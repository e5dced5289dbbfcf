//! [`GgmlType::validate`]: checks that a block's scales are finite.

use alloc::format;

use super::number::Fault;
use super::properties::properties;
use crate::byte_order::ByteOrder;
use crate::error::{Error, Measured, Result};
use crate::ggml_type::GgmlType;

impl GgmlType {
    /// Checks whole blocks of this type, in the bytes of a little-endian file, for NaN and infinite scales, and the
    /// values of plain types for NaN and infinity. Integers are always valid.
    /// [`Tensor::validate`](crate::Tensor::validate) does the same in both byte orders.
    ///
    /// Finds the same as ggml's `ggml_validate_row_data`, except for two types. F64 is checked as it is, not as the f32
    /// that it would become. Q8_1 is checked, while ggml rejects the type. In NVFP4 any bytes are valid, as in ggml: the
    /// scale codes that UE4M3 defines as NaN are read as numbers, 0x7f as 0 and 0xff as 480, here and by
    /// [`dequantize`](crate::dequantize).
    ///
    /// ```
    /// use gguf_codec::GgmlType;
    /// let mut blocks = [0; 3 * GgmlType::Q5_K.block_bytes()];
    /// GgmlType::Q5_K.validate(&blocks)?;
    /// blocks[2 * 176..][..2].copy_from_slice(&[0x00, 0x7c]);
    /// let error = GgmlType::Q5_K.validate(&blocks).unwrap_err();
    /// assert_eq!(error.to_string(), "block 2 of Q5_K: a scale is infinite");
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Length`] if `bytes` is not whole blocks; [`Error::InvalidBlock`] names the first invalid block.
    #[doc(alias = "ggml_validate_row_data")]
    pub fn validate(self, bytes: &[u8]) -> Result<()> {
        validate(self, ByteOrder::Little, bytes)
    }
}

/// Like [`GgmlType::validate`], in either byte order.
pub(crate) fn validate(ty: GgmlType, order: ByteOrder, bytes: &[u8]) -> Result<()> {
    if !bytes.len().is_multiple_of(ty.block_bytes()) {
        return Err(Error::Length {
            what: Measured::Blocks,
            found: bytes.len() as u64,
            wanted: format!("a multiple of {}, the bytes in a block of {ty}", ty.block_bytes()),
        });
    }
    let numbers = properties(ty).numbers.iter();
    let faults = numbers.filter_map(|number| number.first_fault(bytes, ty.block_bytes(), order));
    match faults.min_by_key(|(block, _)| *block) {
        None => Ok(()),
        Some((block, fault)) => Err(Error::InvalidBlock {
            ty,
            block: block as u64,
            what: match (ty.is_quantized(), fault) {
                (true, Fault::Nan) => "a scale is NaN",
                (true, Fault::Infinite) => "a scale is infinite",
                (false, Fault::Nan) => "the value is NaN",
                (false, Fault::Infinite) => "the value is infinite",
            },
        }),
    }
}
