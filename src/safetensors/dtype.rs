//! [`Dtype`]: the types of safetensors, and the corresponding types of GGUF.

use std::fmt;

use crate::ggml_type::GgmlType;

macro_rules! dtypes {
    ($($(#[$doc:meta])* $name:ident = $bits:literal bits, $ty:expr;)*) => {
        /// The storage type of a tensor in a safetensors file, with the format's names.
        #[allow(non_camel_case_types, reason = "the format writes F8_E4M3, and so do we")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Dtype {
            $($(#[$doc])* $name,)*
        }

        impl Dtype {
            /// All types.
            pub const ALL: &'static [Dtype] = &[$(Dtype::$name),*];

            /// Returns the name in the file, such as `BF16`.
            pub const fn name(self) -> &'static str {
                match self { $(Dtype::$name => stringify!($name),)* }
            }

            /// Returns the number of bits of a value, which for some types is less than a byte.
            pub const fn bits(self) -> u64 {
                match self { $(Dtype::$name => $bits,)* }
            }

            /// Returns the GGUF type with the same values, if there is one.
            pub const fn ggml_type(self) -> Option<GgmlType> {
                match self { $(Dtype::$name => $ty,)* }
            }
        }
    };
}

dtypes! {
    /// A Boolean in a byte.
    BOOL = 8 bits, None;
    /// 4-bit float.
    F4 = 4 bits, None;
    /// 6-bit float with 3 bits of mantissa.
    F6_E2M3 = 6 bits, None;
    /// 6-bit float with 2 bits of mantissa.
    F6_E3M2 = 6 bits, None;
    /// Unsigned 8-bit integer.
    U8 = 8 bits, None;
    /// Signed 8-bit integer.
    I8 = 8 bits, Some(GgmlType::I8);
    /// 8-bit float with 2 bits of mantissa.
    F8_E5M2 = 8 bits, None;
    /// 8-bit float with 3 bits of mantissa.
    F8_E4M3 = 8 bits, None;
    /// 8-bit float with 2 bits of mantissa, without infinity or negative zero.
    F8_E5M2FNUZ = 8 bits, None;
    /// 8-bit float with 3 bits of mantissa, without infinity or negative zero.
    F8_E4M3FNUZ = 8 bits, None;
    /// An 8-bit power of two.
    F8_E8M0 = 8 bits, None;
    /// Signed 16-bit integer.
    I16 = 16 bits, Some(GgmlType::I16);
    /// Unsigned 16-bit integer.
    U16 = 16 bits, None;
    /// IEEE half precision.
    F16 = 16 bits, Some(GgmlType::F16);
    /// The upper half of an IEEE single.
    BF16 = 16 bits, Some(GgmlType::BF16);
    /// Signed 32-bit integer.
    I32 = 32 bits, Some(GgmlType::I32);
    /// Unsigned 32-bit integer.
    U32 = 32 bits, None;
    /// IEEE single precision.
    F32 = 32 bits, Some(GgmlType::F32);
    /// A complex number of two singles.
    C64 = 64 bits, None;
    /// IEEE double precision.
    F64 = 64 bits, Some(GgmlType::F64);
    /// Signed 64-bit integer.
    I64 = 64 bits, Some(GgmlType::I64);
    /// Unsigned 64-bit integer.
    U64 = 64 bits, None;
}

impl Dtype {
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|dtype| dtype.name() == name)
    }

    /// Returns the type that stores the values of a plain GGUF type, or `None` for block formats.
    pub fn from_ggml_type(ty: GgmlType) -> Option<Self> {
        Self::ALL.iter().copied().find(|dtype| dtype.ggml_type() == Some(ty))
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plain_type_has_a_dtype_of_its_size_and_no_block_has() {
        for &ty in GgmlType::ALL {
            let dtype = Dtype::from_ggml_type(ty);
            assert_eq!(
                dtype.map(Dtype::bits),
                (!ty.is_quantized()).then(|| ty.block_bytes() as u64 * 8),
                "{ty}"
            );
            assert!(dtype.is_none_or(|dtype| Dtype::from_name(ty.name()) == Some(dtype)));
        }
    }
}
