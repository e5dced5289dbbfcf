//! What the table of formats says of a type without a kernel.

use super::format::Codec;
use super::formats::look_up;
use super::number::Number;
use super::table::Lookup;
use crate::ggml_type::GgmlType;

/// The properties of a format that need no kernel.
pub(super) struct Properties {
    pub(super) numbers: &'static [Number],
    pub(super) quantizes: bool,
    pub(super) needs_importance: bool,
}

/// Returns the properties of the format of `ty`.
#[inline(never)]
pub(super) fn properties(ty: GgmlType) -> Properties {
    look_up::<Properties>(ty)
}

impl Lookup for Properties {
    type Output = Properties;
    #[inline(always)]
    fn of<C: Codec>() -> Properties {
        Properties { numbers: C::NUMBERS, quantizes: C::QUANTIZES, needs_importance: C::NEEDS_IMPORTANCE }
    }
}

impl GgmlType {
    /// Returns `true` if [`quantize`](crate::quantize) supports this type. Integers have no scale, so floats cannot be
    /// converted to them.
    pub fn can_quantize(self) -> bool {
        properties(self).quantizes
    }

    /// Returns `true` if [`quantize`](crate::quantize) to this type requires importance weights. This applies to IQ2_XXS,
    /// IQ2_XS and IQ1_S, which have too few bits to treat all values alike.
    #[doc(alias = "ggml_quantize_requires_imatrix")]
    pub fn needs_importance(self) -> bool {
        properties(self).needs_importance
    }
}

/// Converts blocks of `ty` from one byte order to the other, in place. Reverses each multi-byte number (scales, plain
/// values) and leaves packed quants alone. `bytes` must be whole blocks.
pub(crate) fn swap_byte_order(ty: GgmlType, bytes: &mut [u8]) {
    let Properties { numbers, .. } = properties(ty);
    for block in bytes.chunks_exact_mut(ty.block_bytes()) {
        for number in numbers {
            number.swap_byte_order(block);
        }
    }
}
