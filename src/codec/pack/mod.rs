//! Bit packing shared by formats.

pub(in crate::codec) mod bits2;
pub(in crate::codec) mod bits4;
pub(in crate::codec) mod bits5;
pub(in crate::codec) mod fp4;
pub(in crate::codec) mod k_scales;
pub(in crate::codec) mod ternary;
