//! [`GgmlType::validate`]: checks that a block's scales are finite.

use alloc::format;

use crate::error::Measured;
use crate::{ByteOrder, Error, GgmlType, Result};

/// How a number that multiplies values is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stored {
    Half,
    /// The upper half of a single.
    BFloat,
    Single,
    Double,
    /// A power of two, stored as the exponent of a single. 255 is NaN.
    E8M0,
    /// A half in the top nibbles of four 16-bit numbers, the lowest nibble first.
    HalfInNibbles,
}

/// What is wrong with a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nan,
    Infinite,
}

/// Returns where the blocks of `ty` store the numbers that multiply or shift their values. Integers have none, and
/// any bytes are valid.
const fn numbers(ty: GgmlType) -> &'static [(Stored, usize)] {
    use GgmlType::*;
    use Stored::*;
    match ty {
        I8 | I16 | I32 | I64 => &[],
        // Every scale code is a number, as in ggml.
        NVFP4 => &[],
        F64 => &[(Double, 0)],
        F32 | Q8_K => &[(Single, 0)],
        BF16 => &[(BFloat, 0)],
        F16 | Q1_0 | Q2_0 | Q4_0 | Q5_0 | Q8_0 => &[(Half, 0)],
        IQ1_S | IQ2_XXS | IQ2_XS | IQ2_S | IQ3_XXS | IQ3_S | IQ4_NL | IQ4_XS => &[(Half, 0)],
        Q4_1 | Q5_1 | Q8_1 | Q4_K | Q5_K => &[(Half, 0), (Half, 2)],
        Q2_K => &[(Half, 80), (Half, 82)],
        Q3_K => &[(Half, 108)],
        Q6_K => &[(Half, 208)],
        TQ1_0 => &[(Half, 52)],
        TQ2_0 => &[(Half, 64)],
        IQ1_M => &[(HalfInNibbles, 48)],
        MXFP4 => &[(E8M0, 0)],
    }
}

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
    let first = |&(stored, at): &(Stored, usize)| stored.first_fault(bytes, ty.block_bytes(), at, order);
    match numbers(ty).iter().filter_map(first).min_by_key(|(block, _)| *block) {
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

impl Stored {
    /// Returns the first block whose number at byte `at` is not finite.
    fn first_fault(
        self,
        bytes: &[u8],
        block_bytes: usize,
        at: usize,
        order: ByteOrder,
    ) -> Option<(usize, Fault)> {
        let numbers = bytes.chunks_exact(block_bytes).map(|block| &block[at..]);
        // There is one loop for each representation, so that none is selected per block.
        match self {
            Stored::Half => first(numbers, |bytes| of_f16(u16_at(bytes, 0, order))),
            Stored::BFloat => first(numbers, |bytes| of_f32(u32::from(u16_at(bytes, 0, order)) << 16)),
            Stored::Single => first(numbers, |bytes| of_f32(u32_at(bytes, order))),
            Stored::Double => first(numbers, |bytes| of_f64(u64_at(bytes, order))),
            Stored::E8M0 => first(numbers, |bytes| (bytes[0] == 0xff).then_some(Fault::Nan)),
            Stored::HalfInNibbles => first(numbers, |bytes| {
                of_f16((0..4).fold(0, |bits, i| bits | u16_at(bytes, 2 * i, order) >> 12 << (4 * i)))
            }),
        }
    }
}

#[inline(always)]
fn first<'a>(
    mut numbers: impl Iterator<Item = &'a [u8]>,
    fault: impl Fn(&[u8]) -> Option<Fault>,
) -> Option<(usize, Fault)> {
    let mut block = 0;
    numbers.find_map(|number| {
        block += 1;
        fault(number).map(|fault| (block - 1, fault))
    })
}

fn of_f16(bits: u16) -> Option<Fault> {
    fault(u64::from(bits & 0x7fff), 0x7c00)
}

fn of_f32(bits: u32) -> Option<Fault> {
    fault(u64::from(bits & 0x7fff_ffff), 0x7f80_0000)
}

fn of_f64(bits: u64) -> Option<Fault> {
    fault(bits & !(1 << 63), 0x7ff0_0000_0000_0000)
}

/// Classifies a float's bits without the sign. `infinity` is the bits of infinity.
fn fault(magnitude: u64, infinity: u64) -> Option<Fault> {
    match magnitude.cmp(&infinity) {
        core::cmp::Ordering::Less => None,
        core::cmp::Ordering::Equal => Some(Fault::Infinite),
        core::cmp::Ordering::Greater => Some(Fault::Nan),
    }
}

fn u16_at(bytes: &[u8], at: usize, order: ByteOrder) -> u16 {
    let bytes = [bytes[at], bytes[at + 1]];
    if order == ByteOrder::Little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) }
}

fn u32_at(bytes: &[u8], order: ByteOrder) -> u32 {
    let bytes = [bytes[0], bytes[1], bytes[2], bytes[3]];
    if order == ByteOrder::Little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) }
}

fn u64_at(bytes: &[u8], order: ByteOrder) -> u64 {
    let bytes = bytes.first_chunk().copied().unwrap_or_default();
    if order == ByteOrder::Little { u64::from_le_bytes(bytes) } else { u64::from_be_bytes(bytes) }
}
