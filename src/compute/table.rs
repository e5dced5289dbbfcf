//! Looks up a format's functions by type.

use super::Grain;
use super::decode::{Decode, Shape, Small, Super, decode};
use super::dot::{Dot, Dots, dot};
use crate::codec::BlockFormat;
use crate::codec::formats::*;
use crate::ggml_type::GgmlType;
use crate::simd::Range;

// Kernels are compiled for a range by its number.
pub(super) const FOUR: u8 = Range::Four as u8;
pub(super) const SIX: u8 = Range::Six as u8;
pub(super) const SEVEN: u8 = Range::Seven as u8;
pub(super) const SIGNED: u8 = Range::Signed as u8;

/// The range that has a number.
pub(super) const fn range_of(number: u8) -> Range {
    match number {
        FOUR => Range::Four,
        SIX => Range::Six,
        SEVEN => Range::Seven,
        SIGNED => Range::Signed,
        _ => panic!("a format has a range that no kernel is for"),
    }
}

/// A format's functions.
#[derive(Clone, Copy)]
pub(super) struct Products {
    pub(super) block_len: usize,
    pub(super) block_bytes: usize,
    pub(super) shape: Shape,
    pub(super) dot: Dot,
    pub(super) decode: Decode,
}

fn of<K: Dots>() -> Products {
    let ty = <K::Format as BlockFormat>::TYPE;
    Products {
        block_len: ty.block_len(),
        block_bytes: ty.block_bytes(),
        shape: K::SHAPE,
        dot: dot::<K>,
        decode: decode::<K>,
    }
}

macro_rules! products {
    (small: $($small:ident)*; super: $($super:ident)*;) => {
        /// Returns the functions of a format that has integers. Never inlined, because a crate that inlines it would compile
        /// every kernel again.
        #[inline(never)]
        pub(super) fn products(ty: GgmlType) -> Option<Products> {
            match ty {
                $(GgmlType::$small => Some(of::<Small<$small>>()),)*
                $(GgmlType::$super => Some(of::<Super<$super>>()),)*
                _ => None,
            }
        }

        /// Returns how activations are quantized for weights of a type, or `None` if such weights cannot be multiplied.
        pub(crate) fn grain(ty: GgmlType) -> Option<Grain> {
            match ty {
                $(GgmlType::$small)|* => Some(Grain::Units),
                $(GgmlType::$super)|* => Some(Grain::SuperBlocks),
                GgmlType::F32 | GgmlType::F16 | GgmlType::BF16 | GgmlType::F64 => Some(Grain::Floats),
                _ => None,
            }
        }
    };
}

products! {
    small: Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q8_1 IQ4_NL MXFP4 NVFP4 Q1_0 Q2_0;
    super: Q2_K Q3_K Q4_K Q5_K Q6_K Q8_K IQ1_S IQ1_M IQ2_XXS IQ2_XS IQ2_S IQ3_XXS IQ3_S IQ4_XS TQ1_0 TQ2_0;
}
