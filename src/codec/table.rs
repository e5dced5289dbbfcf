//! The table of formats: looks up properties of a format by type. The functions in `values/kernels.rs` are columns of the same
//! table.

use super::format::Codec;

/// Declares the formats: re-exports the names in each row and looks up a type's codec.
macro_rules! formats {
    ($($module:ident: $format:ident $(as $block:ident)?;)*) => {
        // Every format's marker and block.
        $(pub use $module::{$format $(, $block)?};)*

        /// Returns what `L` takes from the codec of `ty`. A type without a row does not compile.
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
/// Each direction is a column of its own, so that a program that only dequantizes does not link the quantizers. Functions that
/// look up a column are neither generic nor inlined. Otherwise every crate that uses them would compile every kernel again.
pub(crate) trait Lookup {
    type Output;
    fn of<C: Codec>() -> Self::Output;
}
