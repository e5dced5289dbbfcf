//! [`GgmlType`]: the tensor types a GGUF file can name, and the one table of their ids, names and sizes.

mod parse;
mod whole_blocks;

use core::fmt;

use crate::arithmetic;

macro_rules! ggml_types {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $block_len:literal values in $block_bytes:literal bytes;)*) => {
        /// The storage type of a tensor's values, with ggml's names and ids.
        ///
        /// Every type is a sequence of *blocks*: [`block_len`](Self::block_len) values in
        /// [`block_bytes`](Self::block_bytes) bytes. Plain types have blocks of one value.
        ///
        /// ```
        /// use gguf_codec::GgmlType;
        /// let ty: GgmlType = "q4_k".parse()?;
        /// assert_eq!((ty, ty.id(), ty.name()), (GgmlType::Q4_K, 12, "Q4_K"));
        /// assert_eq!((ty.block_len(), ty.block_bytes(), ty.bits_per_weight()), (256, 144, 4.5));
        /// assert_eq!(ty.bytes_for(4096 * 4096), Some(9_437_184));
        /// # Ok::<(), gguf_codec::Error>(())
        /// ```
        #[allow(non_camel_case_types, reason = "the field writes Q4_K, and so do we")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        #[repr(u32)]
        pub enum GgmlType {
            $($(#[$doc])* $name = $id,)*
        }

        impl GgmlType {
            /// All types, by ascending id.
            pub const ALL: &'static [GgmlType] = &[$(GgmlType::$name),*];

            /// Returns ggml's name of the type, such as `Q4_K`.
            #[doc(alias = "ggml_type_name")]
            pub const fn name(self) -> &'static str {
                match self { $(GgmlType::$name => stringify!($name),)* }
            }

            /// Returns the number of values in a block: 1 for plain types, 32 to 256 for quantized ones.
            #[doc(alias = "ggml_blck_size")]
            pub const fn block_len(self) -> usize {
                match self { $(GgmlType::$name => $block_len,)* }
            }

            /// Returns the size of a block in bytes.
            #[doc(alias = "ggml_type_size")]
            pub const fn block_bytes(self) -> usize {
                match self { $(GgmlType::$name => $block_bytes,)* }
            }

            const fn from_id(id: u32) -> Option<Self> {
                match id { $($id => Some(GgmlType::$name),)* _ => None }
            }
        }
    };
}

ggml_types! {
    /// IEEE single precision.
    F32 = 0, 1 values in 4 bytes;
    /// IEEE half precision.
    F16 = 1, 1 values in 2 bytes;
    /// 4-bit quants with a scale.
    Q4_0 = 2, 32 values in 18 bytes;
    /// 4-bit quants with a scale and a min.
    Q4_1 = 3, 32 values in 20 bytes;
    /// 5-bit quants with a scale.
    Q5_0 = 6, 32 values in 22 bytes;
    /// 5-bit quants with a scale and a min.
    Q5_1 = 7, 32 values in 24 bytes;
    /// 8-bit quants with a scale.
    Q8_0 = 8, 32 values in 34 bytes;
    /// 8-bit quants with a scale and the scaled sum; activations only.
    Q8_1 = 9, 32 values in 36 bytes;
    /// 2-bit super-blocks with scales and mins.
    Q2_K = 10, 256 values in 84 bytes;
    /// 3-bit super-blocks with scales.
    Q3_K = 11, 256 values in 110 bytes;
    /// 4-bit super-blocks with scales and mins.
    Q4_K = 12, 256 values in 144 bytes;
    /// 5-bit super-blocks with scales and mins.
    Q5_K = 13, 256 values in 176 bytes;
    /// 6-bit super-blocks with scales.
    Q6_K = 14, 256 values in 210 bytes;
    /// 8-bit super-blocks with a single-precision scale; activations only.
    Q8_K = 15, 256 values in 292 bytes;
    /// Grid-coded, about 2.06 bits per weight.
    IQ2_XXS = 16, 256 values in 66 bytes;
    /// Grid-coded, about 2.31 bits per weight.
    IQ2_XS = 17, 256 values in 74 bytes;
    /// Grid-coded, about 3.06 bits per weight.
    IQ3_XXS = 18, 256 values in 98 bytes;
    /// Grid-coded, about 1.56 bits per weight.
    IQ1_S = 19, 256 values in 50 bytes;
    /// 4-bit codes into a non-linear table.
    IQ4_NL = 20, 32 values in 18 bytes;
    /// Grid-coded, about 3.44 bits per weight.
    IQ3_S = 21, 256 values in 110 bytes;
    /// Grid-coded, about 2.56 bits per weight.
    IQ2_S = 22, 256 values in 82 bytes;
    /// 4-bit codes into a non-linear table, in super-blocks.
    IQ4_XS = 23, 256 values in 136 bytes;
    /// 8-bit integers.
    I8 = 24, 1 values in 1 bytes;
    /// 16-bit integers.
    I16 = 25, 1 values in 2 bytes;
    /// 32-bit integers.
    I32 = 26, 1 values in 4 bytes;
    /// 64-bit integers.
    I64 = 27, 1 values in 8 bytes;
    /// IEEE double precision.
    F64 = 28, 1 values in 8 bytes;
    /// Grid-coded, about 1.75 bits per weight.
    IQ1_M = 29, 256 values in 56 bytes;
    /// The upper half of an IEEE single.
    BF16 = 30, 1 values in 2 bytes;
    /// Ternary, five values to a byte.
    TQ1_0 = 34, 256 values in 54 bytes;
    /// Ternary, four values to a byte.
    TQ2_0 = 35, 256 values in 66 bytes;
    /// 4-bit floats (E2M1) with a power-of-two scale.
    MXFP4 = 39, 32 values in 17 bytes;
    /// 4-bit floats (E2M1) with an 8-bit float scale for each 16.
    NVFP4 = 40, 64 values in 36 bytes;
    /// 1-bit quants with a scale.
    Q1_0 = 41, 128 values in 18 bytes;
    /// 2-bit quants with a scale.
    Q2_0 = 42, 64 values in 18 bytes;
}

/// Returns the old name of a type that ggml has removed.
const fn removed_name(id: u32) -> Option<&'static str> {
    Some(match id {
        4 => "Q4_2",
        5 => "Q4_3",
        31 => "Q4_0_4_4",
        32 => "Q4_0_4_8",
        33 => "Q4_0_8_8",
        36 => "IQ4_NL_4_4",
        37 => "IQ4_NL_4_8",
        38 => "IQ4_NL_8_8",
        _ => return None,
    })
}

impl GgmlType {
    /// Returns the id of this type in a file.
    pub const fn id(self) -> u32 {
        self as u32
    }

    /// Returns `true` if a block contains more than one value.
    #[doc(alias = "ggml_is_quantized")]
    pub const fn is_quantized(self) -> bool {
        self.block_len() > 1
    }

    /// Returns `true` if values are integers. Floats cannot be converted to these, because GGUF stores no scale for them.
    pub const fn is_integer(self) -> bool {
        matches!(self, GgmlType::I8 | GgmlType::I16 | GgmlType::I32 | GgmlType::I64)
    }

    /// Returns the storage cost in bits per value, including scales.
    pub fn bits_per_weight(self) -> f64 {
        (self.block_bytes() * 8) as f64 / self.block_len() as f64
    }

    /// Returns `true` if rows of this many values are whole blocks, as those of a tensor of this type must be.
    ///
    /// ```
    /// use gguf_codec::GgmlType;
    /// assert!(GgmlType::Q8_0.fits_rows(576) && !GgmlType::Q4_K.fits_rows(576));
    /// ```
    pub const fn fits_rows(self, row_len: u64) -> bool {
        row_len.is_multiple_of(self.block_len() as u64)
    }

    /// Returns the size in bytes of `values` values, or `None` if they are not whole blocks or the product overflows.
    #[doc(alias = "ggml_row_size")]
    pub const fn bytes_for(self, values: u64) -> Option<u64> {
        arithmetic::bytes_of(values, self.block_len() as u64, self.block_bytes() as u64)
    }
}

impl fmt::Display for GgmlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_checked() {
        assert_eq!(GgmlType::Q4_K.bytes_for(512), Some(288));
        assert_eq!(GgmlType::Q4_K.bytes_for(500), None);
        assert_eq!(GgmlType::F64.bytes_for(u64::MAX), None);
        assert_eq!(GgmlType::Q4_0.bits_per_weight(), 4.5);
    }
}
