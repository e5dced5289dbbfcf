//! Finds a format's functions by type.

use super::Grain;
use super::decode::{Decode, decode_small, decode_super};
use super::dot::{Dot, dot_small, dot_super};
use crate::GgmlType;
use crate::codec::formats::*;
use crate::codec::operand::{SmallBlocks, SuperBlocks, Terms};
use crate::simd::Range;

/// What a format's integers are, for the kernels that do not know formats.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    Small { range: Range, bias: i32, terms: Terms },
    Super { range: Range, group: usize, has_mins: bool },
}

impl Shape {
    #[inline(always)]
    pub(super) const fn small<F: SmallBlocks>() -> Shape {
        Shape::Small { range: F::RANGE, bias: F::BIAS, terms: F::TERMS }
    }

    #[inline(always)]
    pub(super) const fn super_<F: SuperBlocks>() -> Shape {
        Shape::Super { range: F::RANGE, group: F::GROUP, has_mins: F::HAS_MINS }
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

fn small<F: SmallBlocks>() -> Products {
    Products {
        block_len: F::TYPE.block_len(),
        block_bytes: F::TYPE.block_bytes(),
        shape: Shape::small::<F>(),
        dot: dot_small::<F>,
        decode: decode_small::<F>,
    }
}

fn super_<F: SuperBlocks>() -> Products {
    Products {
        block_len: F::TYPE.block_len(),
        block_bytes: F::TYPE.block_bytes(),
        shape: Shape::super_::<F>(),
        dot: dot_super::<F>,
        decode: decode_super::<F>,
    }
}

macro_rules! products {
    (small: $($small:ident)*; super: $($super:ident)*;) => {
        /// The functions of a format that has integers. Never inlined: a crate that it is inlined into compiles every kernel
        /// again.
        #[inline(never)]
        pub(super) fn products(ty: GgmlType) -> Option<Products> {
            match ty {
                $(GgmlType::$small => Some(small::<$small>()),)*
                $(GgmlType::$super => Some(super_::<$super>()),)*
                _ => None,
            }
        }

        /// How activations are quantized for weights of a type; `None` where there are no such weights.
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
