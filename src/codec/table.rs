//! The table's machinery: finds by type what a format says of itself. The functions that `values/kernels.rs` finds are columns of the
//! same table.

use super::format::{Codec, Number};
use crate::GgmlType;

/// Declares the formats: re-exports each row's names and finds what a type's codec has.
macro_rules! formats {
    ($($module:ident: $format:ident $(as $block:ident)?;)*) => {
        // Every format's marker and block.
        $(pub use $module::{$format $(, $block)?};)*

        /// What `L` takes from the codec of `ty`. A type without its row does not compile.
        #[inline(always)]
        pub(in crate::codec) fn look_up<L: table::Lookup>(ty: $crate::GgmlType) -> L::Output {
            match ty {
                $(<$format as crate::codec::BlockFormat>::TYPE => L::of::<$format>(),)*
            }
        }
    };
}
pub(crate) use formats;

/// One column of the table of formats.
///
/// Each direction is a column of its own, so that a program that only dequantizes links no quantizer. Functions that look
/// one up are not generic and never inlined: a crate that they are inlined into compiles every kernel again.
pub(crate) trait Lookup {
    type Output;
    fn of<C: Codec>() -> Self::Output;
}

/// What a format says of itself without doing anything.
pub(super) struct Properties {
    pub(super) numbers: &'static [Number],
    pub(super) quantizes: bool,
    pub(super) needs_importance: bool,
}

/// The properties of the format of `ty`.
#[inline(never)]
pub(super) fn properties(ty: GgmlType) -> Properties {
    super::formats::look_up::<Properties>(ty)
}

impl Lookup for Properties {
    type Output = Properties;
    #[inline(always)]
    fn of<C: Codec>() -> Properties {
        Properties { numbers: C::NUMBERS, quantizes: C::QUANTIZES, needs_importance: C::NEEDS_IMPORTANCE }
    }
}

impl GgmlType {
    /// Whether [`quantize`](crate::quantize) can make this type. Integers have no scale, so floats cannot become integers.
    pub fn can_quantize(self) -> bool {
        properties(self).quantizes
    }

    /// Whether [`quantize`](crate::quantize) to this type needs importance weights: true of IQ2_XXS, IQ2_XS and IQ1_S, which
    /// have too few bits to treat all values alike.
    #[doc(alias = "ggml_quantize_requires_imatrix")]
    pub fn needs_importance(self) -> bool {
        properties(self).needs_importance
    }
}

/// Turns blocks of `ty` from one byte order into the other, in place: reverses each number of several bytes
/// (scales, plain values) and leaves packed quants alone. `bytes` holds whole blocks.
pub(crate) fn swap_byte_order(ty: GgmlType, bytes: &mut [u8]) {
    let Properties { numbers, .. } = properties(ty);
    for block in bytes.chunks_exact_mut(ty.block_bytes()) {
        for number in numbers {
            block[number.at..number.at + number.width].reverse();
        }
    }
}
